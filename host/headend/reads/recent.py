"""Runs of records in `reading_recent`, under the hour in which they came: writing them, and finding a meter's."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, and_, bindparam, insert, select

from headend.store import sql
from headend.store.prepared import prepared
from headend.store.schema_readings import reading_hour, reading_recent

HOUR_S = 3600

_THERE = prepared(select(reading_hour.c.hour).where(reading_hour.c.hour == bindparam("at")))
_OPEN = prepared(insert(reading_hour))


def of(meter: ColumnElement[int]) -> ColumnElement[bool]:
    """What finds the rows of a meter: a look into each hour that there is.

    Said as a list and not as a join, because SQLite, which has no statistics, would join the other way round: read all
    that came lately, of all meters, and ask of each row whether there is such an hour.
    """
    return and_(reading_recent.c.hour.in_(select(reading_hour.c.hour)), reading_recent.c.meter == meter)


Run = tuple[int, int, int, bytes]  # meter, log_id, number of the first record, records of 24 bytes without a gap


def put(conn: Connection, now_s: int, runs: Sequence[Run]) -> None:
    """Store runs of records that are stored nowhere yet."""
    if not runs:
        return
    hour = now_s // HOUR_S
    if not _THERE(conn, {"at": hour}).all():
        _OPEN(conn, {"hour": hour})
    sql.copy_in(conn, reading_recent, [(hour, *run) for run in runs])
