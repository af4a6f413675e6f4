"""Where a meter stands in the utility: the area that says who may act on it, and what counts there."""

from sqlalchemy import Connection, bindparam, select, update

from headend import audit
from headend.access import areas
from headend.refusals import Refused
from headend.registry import words  # noqa: F401 - its actions
from headend.store import lock_meter
from headend.store.schema import meter
from headend.store.schema_fleet import placement

_AREA = select(meter.c.area).where(meter.c.meter == bindparam("of"))
_STANDS = select(placement.c.id).where(placement.c.meter == bindparam("of"), placement.c.until_s.is_(None))
_PLACE = update(meter).where(meter.c.meter == bindparam("of"))


def place(conn: Connection, now_s: int, meter_id: int, area: str, actor: str) -> None:
    """Say where a meter stands (`access.areas`); raises Refused, UnknownMeter.

    The area of one that stands at a place of the grid is that place's.
    """
    areas.check(area)
    lock_meter(conn, meter_id)
    before = conn.execute(_AREA, {"of": meter_id}).scalar_one()
    if before != area:
        if conn.execute(_STANDS, {"of": meter_id}).first() is not None:
            raise Refused("area", area, f"{before!r}, of the place in the grid where the meter stands: move it there")
        conn.execute(_PLACE, {"of": meter_id, "area": area})
        audit.record(conn, now_s, actor, "meter.area", f"meter:{meter_id}", {"from": before, "to": area})
