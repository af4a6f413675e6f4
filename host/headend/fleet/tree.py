"""The grid with counts of the meters in each part: how many, online, off, read."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Integer, Row, bindparam, case, func, select

from headend.access import areas
from headend.access.areas import EVERYWHERE
from headend.fleet import grid
from headend.ledger import zone
from headend.store.schema import meter, meter_state
from headend.store.schema_collection import collect_turn
from headend.store.schema_fleet import grid_node, supply_point
from meterlink.states import CONTACT_OPEN


class Counts(NamedTuple):
    """Meters of a part of the grid. online: with a session on the broker · off: by their newest report · read: whose
    records are whole up to the end of yesterday, local time."""

    meters: int = 0
    online: int = 0
    off: int = 0
    read: int = 0

    def plus(self, other: "Counts") -> "Counts":
        return Counts(*(mine + more for mine, more in zip(self, other, strict=True)))


class Branch(NamedTuple):
    """A node with its counts; `node` None: meters in no part of the grid."""

    node: Row[Any] | None
    counts: Counts
    points: int


def _many(condition: Any) -> Any:
    return func.sum(case((condition, 1), else_=0))


_COUNTS = (
    select(
        meter.c.area,
        func.count().label("meters"),
        func.sum(meter_state.c.online).label("online"),
        _many(meter_state.c.contact == CONTACT_OPEN).label("off"),
        _many(collect_turn.c.whole_day >= bindparam("yesterday", type_=Integer)).label("read"),
    )
    .join(meter_state, meter_state.c.meter == meter.c.meter)
    .outerjoin(collect_turn, collect_turn.c.meter == meter.c.meter)
    .group_by(meter.c.area)
)
_POINTS = (
    select(grid_node.c.path, func.count())
    .join(supply_point, supply_point.c.transformer == grid_node.c.id)
    .where(supply_point.c.ended_s.is_(None))
    .group_by(grid_node.c.path)
)


def read(
    conn: Connection, above: int | None, yesterday: int, within: Sequence[str] = (EVERYWHERE,)
) -> tuple[Counts, list[Branch]]:
    """All below a node (None: the whole fleet), and each node right below it that lies in the areas `within`.

    yesterday: the local day, counted from 1970-01-01. Of the whole fleet the last branch is what stands in no part of
    the grid. Raises UnknownNode.
    """
    here = "" if above is None else grid.get(conn, above).path
    narrowed = areas.narrowed(within, here)
    found = conn.execute(_COUNTS.where(areas.within(meter.c.area, narrowed)), {"yesterday": yesterday}).all()
    points = conn.execute(_POINTS.where(areas.within(grid_node.c.path, narrowed))).all()
    counts = [(row.area, Counts(row.meters, int(row.online), int(row.off), int(row.read))) for row in found]
    branches = []
    for node in grid.below(conn, above):
        if any(areas.covers(prefix, node.path) or areas.covers(node.path, prefix) for prefix in narrowed):
            mine = _sum([one for area, one in counts if areas.covers(node.path, area)])
            branches.append(Branch(node, mine, sum(n for path, n in points if areas.covers(node.path, path))))
    whole = _sum([one for _, one in counts])
    listed = _sum([branch.counts for branch in branches])
    if above is None and listed.meters < whole.meters:
        rest = Counts(*(all_of - some for all_of, some in zip(whole, listed, strict=True)))
        branches.append(Branch(None, rest, 0))
    return whole, branches


def yesterday(conn: Connection, now_s: int) -> int:
    """The local day before today, counted from 1970-01-01."""
    return zone.day_of(zone.of(conn), now_s) - 1


def _sum(counts: list[Counts]) -> Counts:
    whole = Counts()
    for one in counts:
        whole = whole.plus(one)
    return whole
