"""One line of a file of the fleet, put into the database: fn(conn, now_s, cells, given) -> Done.

What stands already is compared: a line that says the same changes nothing, so a file can be imported again. What only
an order or a fitter's act may change is refused.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, bindparam, insert, select, update

from headend.fleet import columns, grid, identities, life, lifecycle, link, meters, placement, points, types
from headend.fleet.meters import MAX_LABEL, MeterRecord
from headend.fleet.placement import Place, Readings
from headend.refusals import Refused
from headend.registry import areas
from headend.store.prepared import prepared
from headend.store.schema import meter
from headend.store.schema_fleet import meter_life, meter_life_event
from meterlink.orders import MAX_METER

NEW, CHANGED, SAME = "new", "changed", "same"


class Done(NamedTuple):
    """`outcome`: NEW, CHANGED or SAME · `says`: of a meter that changed, what of it: "field: before -> after", with
    semicolons between them."""

    outcome: str
    says: str = ""


MAX_W = types.MAX_W

_TIME = "%Y-%m-%dT%H:%M:%SZ"
_DIGITS = re.compile(r"[0-9]{1,16}")
_METER = prepared(select(meter).where(meter.c.meter == bindparam("of")))
_LABEL = prepared(update(meter).where(meter.c.meter == bindparam("of")))
_LIFE = prepared(update(meter_life).where(meter_life.c.meter == bindparam("of")))
_EVENT = prepared(insert(meter_life_event))


@dataclass(frozen=True)
class Given:
    """What goes with a file. `tariff`, `limits`: bodies of new meters whose line has none; b"": there has to be one ·
    key_version: of the per-meter key that a new meter gets."""

    actor: str
    tariff: bytes = b""
    limits: bytes = b""
    key_version: int = 1


Cells = Mapping[str, str]


def node(conn: Connection, now_s: int, cells: Cells, given: Given) -> str:
    """A node of the grid; one that is there may be given another title."""
    above, _, code = cells["path"].rpartition("/")
    title = cells.get("title_en", ""), cells.get("title_zh", "")
    known = grid.at(conn, cells["path"])
    if known is not None:
        if known.kind != cells["kind"]:
            raise Refused("kind", cells["kind"], f"{known.kind}, as it stands")
        if (known.title_en, known.title_zh) == title:
            return SAME
        grid.rename(conn, now_s, known.id, title, given.actor)
        return CHANGED
    parent = grid.at(conn, above) if above else None
    if above and parent is None:
        raise Refused("path", cells["path"], f"one whose parent is there, or in a line before ({above})")
    grid.add(conn, now_s, cells["kind"], parent.id if parent else None, code, title, given.actor)
    return NEW


def meter_type(conn: Connection, now_s: int, cells: Cells, given: Given) -> str:
    """A meter type, new or described anew."""
    told = types.MeterType(
        cells["type"],
        cells["title_en"],
        cells["title_zh"],
        tuple(cells["carriers"].split()),
        _number(cells, "phases", 1, 3),
        bool(_number(cells, "relay", 0, 1)),
        _number(cells, "limit_w", 1, MAX_W),
        tuple(_number({"intervals": one}, "intervals", 1, 60) for one in cells["intervals"].split()),
        tuple(cells.get("tariff", "").split()),
        cells["firmware"],
    )
    return types.put(conn, now_s, told, given.actor)


def point(conn: Connection, now_s: int, cells: Cells, given: Given) -> str:
    """A supply point, new or as it is from now on."""
    code = cells["supply_point"]
    transformer = _node_at(conn, "transformer", cells["transformer"])
    told = {
        "phases": _number(cells, "phases", 1, 3, 1),
        "limit_w": _number(cells, "limit_w", 0, MAX_W, 0),
        "households": _number(cells, "households", 0, points.MAX_HOUSEHOLDS, 1),
    }
    points.check(code, **told)
    try:
        points.get(conn, code)
    except points.UnknownPoint:
        points.add(conn, now_s, code, transformer, given.actor, **told)
        return NEW
    return CHANGED if points.change(conn, now_s, code, transformer, given.actor, **told) else SAME


def meter_line(conn: Connection, now_s: int, cells: Cells, given: Given) -> Done:
    """A meter, new or with another carrier, address, label, type, serial number, or the place that it had not yet."""
    number = _number(cells, "meter", 1, MAX_METER)
    known = _METER(conn, {"of": number}).one_or_none()
    if known is None:
        _add(conn, now_s, number, cells, given)
        return Done(NEW)
    before = lifecycle.at(conn, number)
    _hold_to(known, cells)
    changed = [*_link(conn, now_s, known, cells, given), *_describe(conn, now_s, known, before, cells, given)]
    if _place(conn, now_s, known, before, cells, given):
        changed.append("place: none -> " + (cells.get("supply_point") or cells.get("node", "")))
    return Done(CHANGED, "; ".join(changed)) if changed else Done(SAME)


def _plain(put: Callable[[Connection, int, Cells, Given], str]) -> Callable[[Connection, int, Cells, Given], Done]:
    return lambda *given: Done(put(*given))


PUT: Mapping[str, Callable[[Connection, int, Cells, Given], Done]] = {
    columns.GRID: _plain(node),
    columns.TYPES: _plain(meter_type),
    columns.POINTS: _plain(point),
    columns.METERS: meter_line,
}


def _add(conn: Connection, now_s: int, number: int, cells: Cells, given: Given) -> None:
    record = MeterRecord(
        number,
        cells["carrier"],
        cells.get("address", ""),
        _body(cells, "tariff") or given.tariff,
        _body(cells, "limits") or given.limits,
        _number(cells, "account_epoch", 1, 0xFFFF, 1),
        _number(cells, "tag_key_version", 0, 0xFF, given.key_version),
        _number(cells, "interval_minutes", 1, 60, 15),
        cells.get("label", ""),
    )
    meters.add_meter(conn, now_s, record)
    if cells.get("type") or cells.get("serial"):
        _type_new(conn, now_s, record, cells)
    place = _place_of(conn, cells)
    state = cells.get("state", "") or (lifecycle.COMMISSIONED if place else lifecycle.IN_STOCK)
    if state not in lifecycle.STATES:
        raise Refused("state", state, f"one of {', '.join(lifecycle.STATES)}")
    if (state == lifecycle.COMMISSIONED) != (place is not None):
        raise Refused("state", state, "commissioned with a place, another state without one")
    if place is None and any(cells.get(name) for name in ("since", "start_import_wh", "start_export_wh")):
        raise Refused("since", cells.get("since", ""), "nothing: it stands nowhere")
    if cells.get("area"):
        if place is not None:
            raise Refused("area", cells["area"], "nothing: the place tells it")
        areas.place(conn, now_s, number, cells["area"], given.actor)
    if place is not None:
        _commission(conn, now_s, number, place, cells, given)
    elif state != lifecycle.IN_STOCK:
        _LIFE(conn, {"of": number, "state": state, "changed_s": now_s})
        told = {"meter": number, "at_s": now_s, "actor": given.actor, "event": "add", "state": state}
        _EVENT(conn, {**told, "note": "imported"})


def _type_new(conn: Connection, now_s: int, record: MeterRecord, cells: Cells) -> None:
    """Type and serial number of a meter that nobody knows yet."""
    kind = cells.get("type") or None
    if kind is not None:
        types.fits_meter(types.get(conn, kind), record.carrier, record.interval_minutes)
    serial = identities.check_serial(cells.get("serial", ""))
    identities.add_many(conn, [(record.meter, identities.SERIAL, serial)])
    _LIFE(conn, {"of": record.meter, "type": kind, "serial": serial, "changed_s": now_s})


def _hold_to(known: Row[Any], cells: Cells) -> None:
    """What an import does not change has to stand as the line says, or the line says nothing of it."""
    stands = {
        "interval_minutes": str(known.interval_minutes),
        "account_epoch": str(known.account_epoch),
        "tag_key_version": str(known.tag_key_version),
        "tariff": known.tariff.hex(),
        "limits": known.limits.hex(),
    }
    for name, value in stands.items():
        if cells.get(name) and cells[name].lower() != value.lower():
            raise Refused(name, cells[name], f"nothing, or {value}, as it stands: an import does not change it")


def _link(conn: Connection, now_s: int, known: Row[Any], cells: Cells, given: Given) -> list[str]:
    """Carrier and address, where the line has others; a bus may be new, as the file is the plan."""
    carrier = cells["carrier"]
    where = cells.get("address", "") or (known.address if carrier == known.carrier else "")
    if (carrier, where) == (known.carrier, known.address):
        return []
    return [link.change(conn, now_s, known.meter, carrier, where, given.actor, new_bus=True, note="imported")]


def _describe(conn: Connection, now_s: int, known: Row[Any], before: Row[Any], cells: Cells, given: Given) -> list[str]:
    kind, serial = cells.get("type") or before.type, cells.get("serial") or before.serial
    changed = [
        f"{name}: {was or 'none'} -> {now}"
        for name, was, now in (("type", before.type, kind), ("serial", before.serial, serial))
        if was != now
    ]
    if changed:
        life.describe(conn, now_s, known.meter, given.actor, kind=kind, serial=serial)
    label = cells.get("label") or known.label
    if label != known.label:
        if len(label) > MAX_LABEL or not label.isprintable():
            raise Refused("label", label, f"at most {MAX_LABEL} printable characters")
        _LABEL(conn, {"of": known.meter, "label": label})
        identities.put(conn, known.meter, identities.LABEL, label)
        changed.append(f"label: {known.label or 'none'} -> {label}")
    return changed


def _place(conn: Connection, now_s: int, known: Row[Any], before: Row[Any], cells: Cells, given: Given) -> bool:
    place, row = _place_of(conn, cells), placement.standing(conn, known.meter)
    state = cells.get("state", "") or (lifecycle.COMMISSIONED if place else before.state)
    if row is not None:
        if place is not None and (place.supply_point, place.node) != (row.supply_point, row.node):
            raise Refused("supply_point", cells.get("supply_point") or cells.get("node"), "the place where it stands")
        stands = {"since": utc(row.since_s), "state": before.state, "area": ""}
        stands |= {name: _text(getattr(row, name)) for name in ("start_import_wh", "start_export_wh")}
        for name, value in stands.items():
            if cells.get(name) and cells[name] != value:
                raise Refused(name, cells[name], f"nothing, or {value!r}, as it stands")
        return False
    if place is not None:
        if state != lifecycle.COMMISSIONED:
            raise Refused("state", state, "commissioned, with a place")
        _commission(conn, now_s, known.meter, place, cells, given)
        return True
    if state != before.state:
        raise Refused("state", state, f"nothing, or {before.state}, as it stands")
    if cells.get("area") and cells["area"] != known.area:
        areas.place(conn, now_s, known.meter, cells["area"], given.actor)
        return True
    return False


def _commission(conn: Connection, now_s: int, number: int, place: Place, cells: Cells, given: Given) -> None:
    read = Readings(
        _number(cells, "start_import_wh", 0, placement.MAX_WH, None),
        _number(cells, "start_export_wh", 0, placement.MAX_WH, None),
    )
    since_s = _since_s(cells, now_s)
    life.commission(conn, now_s, number, place, given.actor, since_s=since_s, read=read, note="imported")


def _place_of(conn: Connection, cells: Cells) -> Place | None:
    code, path = cells.get("supply_point", ""), cells.get("node", "")
    if code and path:
        raise Refused("node", path, "nothing where a supply point is given")
    if path:
        return Place(node=_node_at(conn, "node", path))
    return Place(supply_point=code) if code else None


def _node_at(conn: Connection, field: str, path: str) -> int:
    found = grid.at(conn, path)
    if found is None:
        raise Refused(field, path, "the path of a node of the grid")
    return int(found.id)


def _number(cells: Cells, name: str, low: int, high: int, default: int | None = -1) -> Any:
    text = cells.get(name, "")
    if not text and default != -1:
        return default
    if not (text.isascii() and _DIGITS.fullmatch(text)) or not low <= int(text) <= high:
        raise Refused(name, text, f"{low}..{high}")
    return int(text)


@lru_cache(maxsize=1024)
def _hex(text: str) -> bytes | None:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return None


def _body(cells: Cells, name: str) -> bytes:
    body = _hex(cells.get(name, ""))
    if body is None:
        raise Refused(name, cells[name], "bytes in hexadecimal")
    return body


def _since_s(cells: Cells, now_s: int) -> int:
    text = cells.get("since", "")
    if not text:
        return now_s
    try:
        return int(datetime.strptime(text, _TIME).replace(tzinfo=UTC).timestamp())
    except ValueError:
        raise Refused("since", text, "a time such as 2026-01-31T23:59:00Z") from None


def utc(unix_s: int) -> str:
    """A time as files have it."""
    return datetime.fromtimestamp(unix_s, UTC).strftime(_TIME)


def _text(value: int | None) -> str:
    return "" if value is None else str(value)
