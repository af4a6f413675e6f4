"""How many interval records are stored where, and what they take."""

from typing import NamedTuple

from sqlalchemy import Connection, Integer, LargeBinary, func, select

from headend.reads import packing
from headend.store.schema_readings import reading_day, reading_recent
from meterlink.records import RECORD_LENGTH

# Of each packed day its head alone is read; there are as many different ones as there are counts of records in a day.
_HEAD = func.substr(reading_day.c.packed, 1, packing.HEAD_LENGTH, type_=LargeBinary).label("head")
_BYTES = func.sum(func.length(reading_day.c.packed, type_=Integer))
_DAYS = select(_HEAD, func.count(), _BYTES).group_by(_HEAD)
_RECENT = select(func.coalesce(func.sum(func.length(reading_recent.c.records, type_=Integer)), 0))


class Stored(NamedTuple):
    """`…_bytes`: of the records alone, without keys and pages · `days`: rows of packed days."""

    recent: int
    recent_bytes: int
    packed: int
    packed_bytes: int
    days: int


def of(conn: Connection) -> Stored:
    """Count all that is stored; it looks at every row."""
    recent_bytes = int(conn.execute(_RECENT).scalar_one())
    heads = [(packing.count(head), days, int(size)) for head, days, size in conn.execute(_DAYS)]
    return Stored(
        recent_bytes // RECORD_LENGTH,
        recent_bytes,
        sum(count * days for count, days, _ in heads),
        sum(size for _, _, size in heads),
        sum(days for _, days, _ in heads),
    )
