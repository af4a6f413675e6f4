"""The row of a meter is the lock of all that belongs to it."""

from typing import Any

from sqlalchemy import Connection, Row, bindparam, update

from headend.refusals import Refused
from headend.store.prepared import Asked, Result, prepared
from headend.store.schema import meter_state

_LOCK = prepared(
    update(meter_state)
    .where(meter_state.c.meter == bindparam("of"))
    .values(touched=meter_state.c.touched + 1)
    .returning(*meter_state.c)
)


class UnknownMeter(Refused):
    """No meter of that number is in the fleet."""

    def __init__(self, meter: object) -> None:
        super().__init__("meter", meter, "the number of a meter of this fleet")


def lock_meter(conn: Connection, meter: int) -> Row[Any]:
    """Lock a meter and return its `meter_state` row as it stands now.

    The first statement of every transaction that touches the meter's money or orders; holds until the transaction ends.
    Raises UnknownMeter.
    """
    return locked(_LOCK(conn, {"of": meter}), meter)


def to_lock(meter: int) -> Asked:
    """What locks a meter's row, for `prepared.together`; its result is for `locked`."""
    return _LOCK, {"of": meter}


def locked(result: Result, meter: int) -> Row[Any]:
    """The `meter_state` row that was locked; raises UnknownMeter."""
    row: Row[Any] | None = result.one_or_none()
    if row is None:
        raise UnknownMeter(meter)
    return row
