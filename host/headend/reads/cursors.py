"""The row of a meter in `meter_reads`: how far its logs are whole, and the lock of its records.

Taking intervals locks this row alone, so that no payment waits for a reading. Who needs a meter's money or orders as
well locks `meter_state` first (`store.lock_meter`).
"""

from typing import Any

from sqlalchemy import Connection, Row, bindparam, select

from headend.store import UnknownMeter
from headend.store.prepared import Prepared, prepared
from headend.store.schema_readings import meter_reads

_MINE = select(meter_reads).where(meter_reads.c.meter == bindparam("of"))
_OF = prepared(_MINE)
_LOCK = prepared(_MINE.with_for_update())


def of(conn: Connection, meter: int) -> Row[Any]:
    """The row as it stands; raises UnknownMeter."""
    return _one(conn, _OF, meter)


def lock(conn: Connection, meter: int) -> Row[Any]:
    """The row, locked until the transaction ends; raises UnknownMeter."""
    return _one(conn, _LOCK, meter)


def _one(conn: Connection, query: Prepared, meter: int) -> Row[Any]:
    row: Row[Any] | None = query(conn, {"of": meter}).one_or_none()
    if row is None:
        raise UnknownMeter(meter)
    return row
