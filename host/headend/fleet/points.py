"""Supply points: where a customer's supply begins, below a transformer.

A supply point has a code and no address: that is personal data, and kept of the person who holds its account.
"""

import re
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, bindparam, insert, select, update

from headend import audit
from headend.access import areas
from headend.fleet import grid, types
from headend.fleet.types import MAX_W
from headend.refusals import Refused
from headend.registry import exclusions
from headend.registry.evidence import Evidence
from headend.store import lock_meter
from headend.store.prepared import prepared
from headend.store.schema import meter
from headend.store.schema_fleet import grid_node, placement, supply_point
from headend.store.schema_registry import exclusion

MAX_HOUSEHOLDS = 100_000
MANY_HOUSEHOLDS = 50  # with more behind it, the authority is consulted before a stop
MANY = "many_households"

_CODE = re.compile(r"[A-Z0-9][A-Z0-9-]{0,39}")
_ROW = prepared(
    select(supply_point, grid_node.c.path)
    .join(grid_node, grid_node.c.id == supply_point.c.transformer)
    .where(supply_point.c.code == bindparam("of"))
)
_LOCKED = prepared(select(supply_point).where(supply_point.c.code == bindparam("of")).with_for_update())
_CHANGE = prepared(update(supply_point).where(supply_point.c.code == bindparam("of")))
_STANDING = prepared(
    select(placement).where(placement.c.supply_point == bindparam("of"), placement.c.until_s.is_(None))
)
_SEEN = (
    select(supply_point, grid_node.c.path, placement.c.meter)
    .join(grid_node, grid_node.c.id == supply_point.c.transformer)
    .outerjoin(placement, (placement.c.supply_point == supply_point.c.code) & placement.c.until_s.is_(None))
    .where(supply_point.c.ended_s.is_(None))
)
_AREA = prepared(update(meter).where(meter.c.meter == bindparam("of")))
_MANY = prepared(
    select(exclusion.c.id).where(
        exclusion.c.meter == bindparam("of"), exclusion.c.kind == MANY, exclusion.c.ended_s.is_(None)
    )
)


class UnknownPoint(Refused):
    """No supply point has this code."""

    def __init__(self, code: object) -> None:
        super().__init__("supply_point", code, "the code of a supply point")


def check(code: str, phases: int, limit_w: int, households: int) -> None:
    """Raise Refused for what does not fit: code 1..40 of A-Z 0-9 - · phases 1 | 3 · limit_w 0 (none)..10^8 · households
    0..100 000."""
    if not _CODE.fullmatch(code):
        raise Refused("supply_point", code, "1..40 of A-Z 0-9 -, no - first")
    if phases not in (1, 3):
        raise Refused("phases", phases, "1 or 3")
    if not 0 <= limit_w <= MAX_W:
        raise Refused("limit_w", limit_w, f"0..{MAX_W}")
    if not 0 <= households <= MAX_HOUSEHOLDS:
        raise Refused("households", households, f"0..{MAX_HOUSEHOLDS}")


def add(
    conn: Connection,
    now_s: int,
    code: str,
    transformer: int,
    actor: str,
    *,
    phases: int = 1,
    limit_w: int = 0,
    households: int = 1,
) -> None:
    """Add a supply point below a transformer. Raises Refused, UnknownNode."""
    check(code, phases, limit_w, households)
    node = grid.locked(conn, transformer, grid.TRANSFORMER)
    if _ROW(conn, {"of": code}).one_or_none() is not None:
        raise Refused("supply_point", code, "a code that is not taken yet")
    row = {"code": code, "transformer": transformer, "phases": phases, "limit_w": limit_w, "households": households}
    conn.execute(insert(supply_point), {**row, "added_s": now_s})
    audit.record(conn, now_s, actor, "point.add", f"point:{code}", {"path": node.path, "households": households})


def change(
    conn: Connection,
    now_s: int,
    code: str,
    transformer: int,
    actor: str,
    *,
    phases: int,
    limit_w: int,
    households: int,
) -> bool:
    """Say anew what a supply point is, and below which transformer; whether anything changed.

    The meter that stands there goes along: its area, and with more than 50 households behind it its exclusion. Raises
    Refused, UnknownPoint, UnknownNode.
    """
    check(code, phases, limit_w, households)
    given = {"transformer": transformer, "phases": phases, "limit_w": limit_w, "households": households}
    if _is(get(conn, code), given):
        return False
    standing = _STANDING(conn, {"of": code}).one_or_none()
    if standing is not None:
        lock_meter(conn, standing.meter)  # before the places, as whoever places a meter does
    row = locked(conn, code)
    if _STANDING(conn, {"of": code}).one_or_none() != standing:
        raise Refused("supply_point", code, "one whose meter did not change this moment: try again")
    if _is(row, given):
        return False
    node = grid.locked(conn, transformer, grid.TRANSFORMER)
    _CHANGE(conn, {"of": code, **given})
    audit.record(conn, now_s, actor, "point.change", f"point:{code}", {"path": node.path, **given})
    if standing is not None:
        kind = types.of_meter(conn, standing.meter)
        if kind is not None:
            types.fits_point(kind, phases, limit_w)
        _AREA(conn, {"of": standing.meter, "area": node.path})
        protect_many(conn, now_s, standing.meter, code, households, actor)
    return True


def end(conn: Connection, now_s: int, code: str, actor: str) -> None:
    """Take a supply point out at which no meter stands. Raises Refused, UnknownPoint."""
    locked(conn, code)
    standing = _STANDING(conn, {"of": code}).one_or_none()
    if standing is not None:
        raise Refused("supply_point", code, f"one without a meter ({standing.meter} stands there)")
    _CHANGE(conn, {"of": code, "ended_s": now_s})
    audit.record(conn, now_s, actor, "point.end", f"point:{code}")


def get(conn: Connection, code: str) -> Row[Any]:
    """The `supply_point` row with the `path` of its transformer; raises UnknownPoint."""
    row: Row[Any] | None = _ROW(conn, {"of": code}).one_or_none()
    if row is None:
        raise UnknownPoint(code)
    return row


def page(conn: Connection, after: str, limit: int, within: Sequence[str], transformer: int | None = None) -> list[Any]:
    """Up to `limit` supply points with codes above `after`, of the areas `within`, with path and the meter there."""
    chosen = _SEEN.where(supply_point.c.code > after, areas.within(grid_node.c.path, within))
    if transformer is not None:
        chosen = chosen.where(supply_point.c.transformer == transformer)
    return list(conn.execute(chosen.order_by(supply_point.c.code).limit(limit)).all())


def seen(conn: Connection, code: str, within: Sequence[str]) -> Any:
    """A supply point of the areas `within`, as in `page`; None where there is none of this code."""
    chosen = _SEEN.where(supply_point.c.code == code, areas.within(grid_node.c.path, within))
    return conn.execute(chosen).one_or_none()


def locked(conn: Connection, code: str) -> Row[Any]:
    """A supply point that stays as it is until the transaction ends. Raises UnknownPoint."""
    row: Row[Any] | None = _LOCKED(conn, {"of": code}).one_or_none()
    if row is None or row.ended_s is not None:
        raise UnknownPoint(code)
    return row


def _is(row: Row[Any], given: dict[str, int]) -> bool:
    return row.ended_s is None and all(getattr(row, name) == value for name, value in given.items())


def protect_many(conn: Connection, now_s: int, meter_id: int, code: str, households: int, actor: str) -> None:
    """With more than 50 households behind a supply point, its meter is excluded as the registry has it."""
    if households > MANY_HOUSEHOLDS and _MANY(conn, {"of": meter_id}).one_or_none() is None:
        evidence = Evidence(f"supply point {code}: {households} households")
        exclusions.put(conn, now_s, meter_id, MANY, actor, evidence)
