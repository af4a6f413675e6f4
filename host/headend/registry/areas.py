"""Areas: where a meter stands in the utility, as a path from the whole to the part, such as `north/feeder-3/t-17`."""

import re

from sqlalchemy import ColumnElement, Connection, bindparam, or_, select, update

from headend import audit
from headend.refusals import Refused
from headend.registry import words  # noqa: F401 - its actions
from headend.store import lock_meter
from headend.store.schema import meter

MAX_LENGTH = 120
PATTERN = r"^([a-z0-9_.-]+(/[a-z0-9_.-]+){0,5})?$"

_FITS = re.compile(r"[a-z0-9_.-]+(?:/[a-z0-9_.-]+){0,5}")
_AREA = select(meter.c.area).where(meter.c.meter == bindparam("of"))
_PLACE = update(meter).where(meter.c.meter == bindparam("of"))


def check(area: str, field: str = "area") -> str:
    """The path itself: empty (the whole utility), or 1..6 parts of a-z 0-9 _ . - between slashes; raises Refused."""
    if area and (len(area) > MAX_LENGTH or not _FITS.fullmatch(area)):
        raise Refused(field, area, f"1..6 parts of a-z 0-9 _ . - between slashes, at most {MAX_LENGTH} characters")
    return area


def within(area: str, prefix: str) -> bool:
    """Whether an area is `prefix` or part of it; everything is part of the empty path."""
    return not prefix or area == prefix or area.startswith(prefix + "/")


def below(prefix: str) -> ColumnElement[bool]:
    """The same as a condition on `meter.area`; `prefix` is checked and not empty."""
    return or_(meter.c.area == prefix, meter.c.area.startswith(prefix + "/", autoescape=True))


def place(conn: Connection, now_s: int, meter_id: int, area: str, actor: str) -> None:
    """Say where a meter stands; raises Refused, UnknownMeter."""
    check(area)
    lock_meter(conn, meter_id)
    before = conn.execute(_AREA, {"of": meter_id}).scalar_one()
    if before != area:
        conn.execute(_PLACE, {"of": meter_id, "area": area})
        audit.record(conn, now_s, actor, "meter.area", f"meter:{meter_id}", {"from": before, "to": area})
