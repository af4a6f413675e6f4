"""The row of a meter is the lock of all that belongs to it."""

from typing import Any

from sqlalchemy import Connection, Row, bindparam, update

from headend.refusals import Refused
from headend.store.prepared import prepared
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
    row: Row[Any] | None = _LOCK(conn, {"of": meter}).one_or_none()
    if row is None:
        raise UnknownMeter(meter)
    return row
