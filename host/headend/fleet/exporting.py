"""The fleet as files: what an import takes, in an order in which it can. What was and is over stays here."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, select

from headend.access import areas
from headend.access.areas import EVERYWHERE
from headend.fleet import columns, points, types
from headend.fleet.import_lines import utc
from headend.refusals import Refused
from headend.store.schema import meter
from headend.store.schema_fleet import grid_node, meter_life, placement
from meterlink.orders import MAX_METER

PAGE = 500

_STANDS = (placement.c.meter == meter.c.meter) & placement.c.until_s.is_(None)
_METERS = (
    select(
        meter,
        meter_life.c.state,
        meter_life.c.type,
        meter_life.c.serial,
        placement.c.id.label("stands"),
        placement.c.supply_point,
        placement.c.since_s,
        placement.c.start_import_wh,
        placement.c.start_export_wh,
        grid_node.c.path,
    )
    .join(meter_life, meter_life.c.meter == meter.c.meter)
    .outerjoin(placement, _STANDS)
    .outerjoin(grid_node, grid_node.c.id == placement.c.node)
    .where(meter.c.meter > bindparam("after"))
    .order_by(meter.c.meter)
)
_NODES = (
    select(grid_node)
    .where(grid_node.c.ended_s.is_(None))
    .order_by(func.length(grid_node.c.path) - func.length(func.replace(grid_node.c.path, "/", "")), grid_node.c.path)
)

Cells = dict[str, str]


def page(
    conn: Connection, kind: str, after: str = "", limit: int = PAGE, within: Sequence[str] = (EVERYWHERE,)
) -> tuple[list[Cells], str]:
    """Up to `limit` lines of a file behind the one with the key `after`, and the `after` of the next page ("": none).

    The grid and the types come in one page. Types are the same in all areas `within`. Raises Refused.
    """
    if kind not in columns.FILES:
        raise Refused("file", kind, f"one of {', '.join(columns.FILES)}")
    return _PAGES[kind](conn, after, limit, within)


def every(read: Callable[..., Any], kind: str) -> Iterator[Cells]:
    """All lines of a file, page by page; `read`: as `Store.read`."""
    after = ""
    while True:
        found, after = read(page, kind, after)
        yield from found
        if not after:
            return


def _nodes(conn: Connection, after: str, limit: int, within: Sequence[str]) -> tuple[list[Cells], str]:
    found = conn.execute(_NODES.where(areas.within(grid_node.c.path, within)))
    return [{name: getattr(row, name) for name in columns.names(columns.GRID)} for row in found], ""


def _types(conn: Connection, after: str, limit: int, within: Sequence[str]) -> tuple[list[Cells], str]:
    found = []
    for one in types.every(conn):
        cells = {name: getattr(one, name) for name in columns.names(columns.TYPES)}
        cells |= {name: " ".join(map(str, cells[name])) for name in ("carriers", "intervals", "tariff")}
        found.append({**cells, "relay": str(int(one.relay)), "phases": str(one.phases), "limit_w": str(one.limit_w)})
    return found, ""


def _points(conn: Connection, after: str, limit: int, within: Sequence[str]) -> tuple[list[Cells], str]:
    rows = points.page(conn, after, limit, within)
    found = [
        {
            "supply_point": row.code,
            "transformer": row.path,
            "phases": str(row.phases),
            "limit_w": str(row.limit_w),
            "households": str(row.households),
        }
        for row in rows
    ]
    return found, rows[-1].code if len(rows) == limit else ""


def _meters(conn: Connection, after: str, limit: int, within: Sequence[str]) -> tuple[list[Cells], str]:
    number = after or "0"
    if not (number.isascii() and number.isdigit() and len(number) <= len(str(MAX_METER))):
        raise Refused("after", after, "the number of a meter, as the page before told it")
    chosen = _METERS.where(areas.within(meter.c.area, within)).limit(limit)
    rows = conn.execute(chosen, {"after": int(number)}).all()
    return [_meter(row) for row in rows], str(rows[-1].meter) if len(rows) == limit else ""


def _meter(row: Row[Any]) -> Cells:
    return {
        "meter": f"{row.meter:012d}",
        "carrier": row.carrier,
        "address": row.address,
        "interval_minutes": str(row.interval_minutes),
        "account_epoch": str(row.account_epoch),
        "tag_key_version": str(row.tag_key_version),
        "label": row.label,
        "type": row.type or "",
        "serial": row.serial,
        "state": row.state,
        "supply_point": row.supply_point or "",
        "node": row.path or "",
        "since": "" if row.since_s is None else utc(row.since_s),
        "start_import_wh": "" if row.start_import_wh is None else str(row.start_import_wh),
        "start_export_wh": "" if row.start_export_wh is None else str(row.start_export_wh),
        "area": "" if row.stands is not None else row.area,
        "tariff": row.tariff.hex(),
        "limits": row.limits.hex(),
    }


_PAGES: Mapping[str, Callable[[Connection, str, int, Sequence[str]], tuple[list[Cells], str]]] = {
    columns.GRID: _nodes,
    columns.TYPES: _types,
    columns.POINTS: _points,
    columns.METERS: _meters,
}
