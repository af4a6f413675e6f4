"""Finding a meter, a supply point or a part of the grid by whatever somebody has of it.

By the beginning, through indexes: meter number (as printed or without leading zeros), supply point, path, serial
number, label, Modbus address. Whole: the PAN of typed tokens. By any part: serial number, label, address and names of
the grid, through at most `SCANNED` of them. What was found by its beginning comes first. Persons are found by
pseudonym alone (`holder`), by whoever may see them, and that is audited; names are sought in `people`.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Integer, bindparam, select

from headend import audit
from headend.access import areas
from headend.fleet import identities
from headend.people import holdings
from headend.refusals import Refused
from headend.store.schema import decoder, meter
from headend.store.schema_fleet import grid_node, meter_identity, meter_life, placement, supply_point
from meterlink.orders import MAX_METER

MAX_TEXT = 60
MAX_HITS = 50
SCANNED = 200_000
SHORTEST = 3  # of a part that is sought within texts; of characters beyond ASCII 2

METER, PAN, POINT, NODE, HOLDER = "meter", "pan", "supply_point", "node", "holder"
PAN_DIGITS = 18
_PRINTED = 12  # digits of a meter number, at least
_LAST = "\U0010ffff"

_number = meter.c.meter
_BETWEEN = select(_number).where(_number >= bindparam("low"), _number < bindparam("high")).order_by(_number)
_PANS = select(decoder.c.meter).where(decoder.c.pan == bindparam("named"))
_TEXT = meter_identity.c.text
_BEGINS = (
    select(meter_identity.c.meter, meter_identity.c.kind, _TEXT)
    .where(_TEXT >= bindparam("low"), _TEXT < bindparam("high"))
    .order_by(_TEXT, meter_identity.c.meter)
)
_some = (
    select(meter_identity.c.meter, meter_identity.c.kind, _TEXT)
    .order_by(_TEXT, meter_identity.c.meter)
    .limit(bindparam("scanned", type_=Integer))
    .subquery()
)
_HOLDS = select(_some).where(_some.c.text.like(bindparam("like"), escape="\\")).order_by(_some.c.text, _some.c.meter)
_BEYOND = select(_TEXT).order_by(_TEXT, meter_identity.c.meter).offset(bindparam("scanned", type_=Integer)).limit(1)
_POINTS = (
    select(supply_point.c.code, grid_node.c.path, placement.c.meter)
    .join(grid_node, grid_node.c.id == supply_point.c.transformer)
    .outerjoin(placement, (placement.c.supply_point == supply_point.c.code) & placement.c.until_s.is_(None))
    .where(supply_point.c.code >= bindparam("low"), supply_point.c.code < bindparam("high"))
    .order_by(supply_point.c.code)
)
_NODES = select(grid_node).where(grid_node.c.ended_s.is_(None)).order_by(grid_node.c.path)
_ABOUT = (
    select(meter.c.meter, meter.c.area, meter.c.label, meter_life.c.state, placement.c.supply_point)
    .join(meter_life, meter_life.c.meter == meter.c.meter)
    .outerjoin(placement, (placement.c.meter == meter.c.meter) & placement.c.until_s.is_(None))
    .where(meter.c.meter.in_(bindparam("some", expanding=True)))
)


class Hit(NamedTuple):
    """What was found. by: one of `words.IDENTITIES` · text: what of it fits · meter, supply_point, node: none where it
    is no such thing, or none stands there · state: of the meter."""

    by: str
    text: str
    area: str
    meter: int | None = None
    supply_point: str | None = None
    node: int | None = None
    label: str = ""
    state: str = ""


class Found(NamedTuple):
    """Hits, best first. more: there are further ones · partly: not all texts were looked through."""

    hits: list[Hit]
    more: bool
    partly: bool


def find(conn: Connection, text: str, within: Sequence[str], limit: int = 20) -> Found:
    """What fits a text in the areas `within`. Raises Refused for a text of other than 1..60 characters."""
    text = text.strip()
    if not 1 <= len(text) <= MAX_TEXT or not text.isprintable():
        raise Refused("q", text, f"1..{MAX_TEXT} printable characters")
    if not 1 <= limit <= MAX_HITS:
        raise Refused("limit", limit, f"1..{MAX_HITS}")
    hits: dict[Any, Hit] = {}
    for hit in _by_beginning(conn, text, within, limit + 1):
        hits.setdefault(_key(hit), hit)
    partly = False
    sought = identities.folded(text)
    if len(hits) <= limit and len(sought.encode()) >= SHORTEST:
        for hit in _by_part(conn, sought, within, limit + 1):
            hits.setdefault(_key(hit), hit)
        partly = conn.execute(_BEYOND, {"scanned": SCANNED}).first() is not None
    found = list(hits.values())
    return Found(found[:limit], len(found) > limit, partly)


def holder(conn: Connection, now_s: int, pseudonym: str, within: Sequence[str], actor: str) -> list[Hit]:
    """The meters whose accounts a person holds; audited, so this runs in `Store.write`."""
    held = [(row.meter, HOLDER, pseudonym) for row in holdings.open_of(conn, pseudonym)][:MAX_HITS]
    hits = _about(conn, held, within)
    audit.record(conn, now_s, actor, "fleet.seek", f"person:{pseudonym}", {"found": len(hits)})
    return hits


def _by_beginning(conn: Connection, text: str, within: Sequence[str], limit: int) -> Iterator[Hit]:
    if text.isascii() and text.isdigit():
        yield from _about(conn, [(one, PAN, text) for one in _of_pan(conn, text)], within)
        here = areas.within(meter.c.area, within)
        for low, high in _ranges(text):
            numbers = conn.execute(_BETWEEN.where(here).limit(limit), {"low": low, "high": high}).scalars().all()
            yield from _about(conn, [(one, METER, f"{one:012d}") for one in numbers], within)
    code = text.upper()
    points = _POINTS.where(areas.within(grid_node.c.path, within)).limit(limit)
    for row in conn.execute(points, {"low": code, "high": code + _LAST}):
        yield Hit(POINT, row.code, row.path, row.meter, row.code)
    nodes = _NODES.where(areas.within(grid_node.c.path, within)).limit(SCANNED)
    begins, sought = [], identities.folded(text)
    for row in conn.execute(nodes):
        names = row.path, row.code, identities.folded(row.title_en), identities.folded(row.title_zh)
        if any(name.startswith(sought) for name in names) or any(sought in name for name in names[2:]):
            begins.append(row)
    yield from (Hit(NODE, row.path, row.path, node=row.id) for row in begins[:limit])
    yield from _texts(conn, _BEGINS, {"low": sought, "high": sought + _LAST}, within, limit)


def _by_part(conn: Connection, sought: str, within: Sequence[str], limit: int) -> list[Hit]:
    like = sought.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return _texts(conn, _HOLDS, {"like": f"%{like}%", "scanned": SCANNED}, within, limit)


def _texts(conn: Connection, query: Any, values: dict[str, Any], within: Sequence[str], limit: int) -> list[Hit]:
    """Hits of texts; of meters elsewhere the query brings more than are wanted, and they are left out."""
    rows = query.selected_columns
    chosen = query.join(meter, meter.c.meter == rows.meter).where(areas.within(meter.c.area, within)).limit(limit)
    return _about(conn, [(row.meter, row.kind, row.text) for row in conn.execute(chosen, values)], within)


def _of_pan(conn: Connection, text: str) -> list[int]:
    if len(text) != PAN_DIGITS:
        return []
    return list(conn.execute(_PANS.limit(MAX_HITS), {"named": text}).scalars().all())


def _ranges(text: str) -> list[tuple[int, int]]:
    """The numbers that are printed with these digits first, the one that they are before all."""
    value, length = int(text), len(text)
    exact = [(value, value + 1)] if 1 <= value <= MAX_METER else []
    digits = [_PRINTED] if text[0] == "0" else range(length + 1, len(str(MAX_METER)) + 1)
    wider = [(value * 10 ** (one - length), (value + 1) * 10 ** (one - length)) for one in digits if one > length]
    return exact + wider


def _about(conn: Connection, found: Sequence[tuple[int, str, str]], within: Sequence[str]) -> list[Hit]:
    if not found:
        return []
    rows: dict[int, Any] = {
        row.meter: row for row in conn.execute(_ABOUT, {"some": sorted({number for number, _, _ in found})})
    }
    return [
        Hit(by, text, row.area, number, row.supply_point, None, row.label, row.state)
        for number, by, text in found
        if (row := rows.get(number)) is not None and areas.covered(within, row.area)
    ]


def _key(hit: Hit) -> tuple[str, object]:
    if hit.node is not None:
        return "node", hit.node
    return ("meter", hit.meter) if hit.meter is not None else ("point", hit.supply_point)
