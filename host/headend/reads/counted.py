"""Up to which hour of arrival records are counted for read success (`collection.success`): they stay where they arrived
until then.
"""

from sqlalchemy import ColumnElement, Integer, func, select

from headend.store.schema_collection import read_counted


def hour() -> ColumnElement[int]:
    """The first hour that is not counted whole; 0 where counting has not begun."""
    known = select(read_counted.c.hour).where(read_counted.c.one == 1).scalar_subquery()
    return func.coalesce(known, 0, type_=Integer)
