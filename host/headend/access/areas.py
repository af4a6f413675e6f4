"""Areas of the utility: paths from the whole to the part, such as "north/feeder-3/t-17"; "" is everything.

Who may act in an area may act in all below it. What has no area of its own ("") belongs to those who may act
everywhere.
"""

import re
from collections.abc import Iterable, Sequence

from sqlalchemy import ColumnElement, Connection, Select, bindparam, func, literal, or_, select, true

from headend.refusals import Refused
from headend.store.schema import meter, order, token

EVERYWHERE = ""
MAX_PARTS = 6
MAX_LENGTH = 120

_PATH = re.compile(rf"[a-z0-9_.-]{{1,40}}(/[a-z0-9_.-]{{1,40}}){{0,{MAX_PARTS - 1}}}")

# Part of a path in braces -> the area of the meter that it belongs to, by `id`. Each package adds what it has.
OF: dict[str, Select[str]] = {
    "meter": select(meter.c.area).where(meter.c.meter == bindparam("id")),
    "order": select(meter.c.area).join(order, order.c.meter == meter.c.meter).where(order.c.id == bindparam("id")),
    "token": select(meter.c.area).join(token, token.c.meter == meter.c.meter).where(token.c.id == bindparam("id")),
}


def check(area: str, field: str = "area") -> str:
    """The area, as it is; raises Refused unless it is "" or 1..6 parts of a-z 0-9 _ . - (1..40 each, 120 in all)."""
    if area and (len(area) > MAX_LENGTH or not _PATH.fullmatch(area)):
        raise Refused(field, area, f"1..{MAX_PARTS} parts of a-z 0-9 _ . - with / between them, {MAX_LENGTH} in all")
    return area


def covers(prefix: str, area: str) -> bool:
    """Whether `area` is `prefix` or lies below it."""
    return not prefix or area == prefix or area.startswith(prefix + "/")


def covered(prefixes: Iterable[str], area: str) -> bool:
    """Whether one of the prefixes covers the area."""
    return any(covers(prefix, area) for prefix in prefixes)


def narrowed(prefixes: Iterable[str], to: str) -> tuple[str, ...]:
    """What of the areas `prefixes` lies in the area `to`."""
    held = tuple(prefixes)
    return (to,) if covered(held, to) else tuple(prefix for prefix in held if covers(to, prefix))


def within(column: ColumnElement[str], prefixes: Sequence[str]) -> ColumnElement[bool]:
    """The same as a condition on a column. No LIKE: it folds cases on one database and not on the other."""
    if EVERYWHERE in prefixes:
        return true()
    tests = []
    for prefix in prefixes:
        below = prefix + "/"
        tests += [column == prefix, func.substr(column, 1, len(below)) == below]
    return or_(literal(1) == 0, *tests)


def area_of(conn: Connection, kind: str, number: int) -> str | None:
    """The area of a meter, or of the meter that an order or a token is for; None where there is no such thing."""
    return conn.execute(OF[kind], {"id": number}).scalar()
