"""The grid: substations, feeders, transformers, as nodes of the paths that areas are made of.

A node's path is its parent's and its own code ("north/feeder-3/t-17"); the area of each meter that stands below a
transformer, or measures a node, is that node's path: always, whatever is cut off when. A node that moves takes what
is below it along, in parts (`go_on`): each part is one transaction that writes the path of a node and the areas of its
meters. Until it is done a node may still have the path from before; no other move begins meanwhile.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Integer, Row, and_, bindparam, func, insert, select, update

from headend import audit
from headend.access import areas
from headend.fleet import words  # noqa: F401 - its actions
from headend.fleet.types import MAX_TITLE, is_code
from headend.refusals import Refused
from headend.store.prepared import prepared
from headend.store.schema import meter
from headend.store.schema_fleet import grid_event, grid_move, grid_node, placement, supply_point

SUBSTATION = "substation"
FEEDER = "feeder"
TRANSFORMER = "transformer"
# Kind -> what it stands below; "": nothing.
PARENT: Mapping[str, str] = {SUBSTATION: "", FEEDER: SUBSTATION, TRANSFORMER: FEEDER}
KINDS = tuple(PARENT)

AT_A_TIME = 500  # meters of a part of a move, beyond which no further node is taken into it

_parent = grid_node.alias("parent")
_BY_ID = select(grid_node).where(grid_node.c.id == bindparam("of"))
_LOCKED = prepared(_BY_ID.with_for_update())
_BY_PATH = prepared(select(grid_node).where(grid_node.c.path == bindparam("at"), grid_node.c.ended_s.is_(None)))
_CHILDREN = (
    select(grid_node)
    .where(grid_node.c.parent == bindparam("of"), grid_node.c.ended_s.is_(None))
    .order_by(grid_node.c.path)
)
_SIBLING = select(grid_node.c.id).where(
    grid_node.c.parent == bindparam("of"), grid_node.c.code == bindparam("named"), grid_node.c.ended_s.is_(None)
)
_ROOTS = select(grid_node).where(grid_node.c.parent.is_(None), grid_node.c.ended_s.is_(None)).order_by(grid_node.c.path)
_NEW = insert(grid_node).returning(grid_node.c.id)
_CHANGE = update(grid_node).where(grid_node.c.id == bindparam("of"))
_EVENT = insert(grid_event)
_HISTORY = select(grid_event).where(grid_event.c.node == bindparam("of")).order_by(grid_event.c.id)
_MOVING = select(grid_move).where(grid_move.c.one == 1)
# Nodes whose path is not what their parent's says, the upper ones first.
_BEHIND = (
    select(grid_node, (_parent.c.path + "/" + grid_node.c.code).label("wanted"))
    .join(_parent, _parent.c.id == grid_node.c.parent)
    .where(grid_node.c.ended_s.is_(None), grid_node.c.path != _parent.c.path + "/" + grid_node.c.code)
    .order_by(grid_node.c.kind, grid_node.c.id)  # feeders before transformers
    .limit(bindparam("at_most", type_=Integer))
)
_HERE = (
    select(placement.c.meter)
    .outerjoin(supply_point, supply_point.c.code == placement.c.supply_point)
    .where(placement.c.until_s.is_(None))
    .where((placement.c.node == bindparam("node")) | (supply_point.c.transformer == bindparam("node")))
)
_AREAS = update(meter).where(meter.c.meter.in_(_HERE)).values(area=bindparam("path"))
_POINTS = select(supply_point.c.code).where(
    supply_point.c.transformer == bindparam("of"), supply_point.c.ended_s.is_(None)
)
_MEASURED = select(placement.c.meter).where(placement.c.node == bindparam("of"), placement.c.until_s.is_(None))


class UnknownNode(Refused):
    """The grid has no such node."""

    def __init__(self, node: object) -> None:
        super().__init__("node", node, "the id of a node of the grid")


def add(
    conn: Connection, now_s: int, kind: str, parent: int | None, code: str, title: tuple[str, str], actor: str
) -> int:
    """Add a node and return its id. `title`: English, Chinese; each may be empty. Raises Refused, UnknownNode."""
    if kind not in PARENT:
        raise Refused("kind", kind, f"one of {', '.join(KINDS)}")
    _check_title(title)
    path = _path_below(conn, kind, parent, code)
    row = {"kind": kind, "parent": parent, "code": code, "path": path, "added_s": now_s}
    made = conn.execute(_NEW, {**row, "title_en": title[0], "title_zh": title[1]}).scalar_one()
    _record(conn, now_s, made, actor, "add", path)
    audit.record(conn, now_s, actor, "grid.add", f"node:{made}", {"kind": kind, "path": path})
    return int(made)


def rename(conn: Connection, now_s: int, node: int, title: tuple[str, str], actor: str) -> None:
    """Change what people call a node. Raises Refused, UnknownNode."""
    _check_title(title)
    row = locked(conn, node)
    if (row.title_en, row.title_zh) != title:
        conn.execute(_CHANGE, {"of": node, "title_en": title[0], "title_zh": title[1]})
        _record(conn, now_s, node, actor, "title", row.path)
        audit.record(conn, now_s, actor, "grid.title", f"node:{node}", {"en": title[0], "zh": title[1]})


def move(conn: Connection, now_s: int, node: int, parent: int | None, code: str, actor: str) -> bool:
    """Put a node below another one, or give it another code; True where what is below has still to follow (`go_on`).

    Raises Refused, UnknownNode.
    """
    row = locked(conn, node)
    if row.parent == parent and row.code == code:
        return False
    under_way = moving(conn)
    if under_way is not None:
        raise Refused("node", row.path, f"no other move at a time: {under_way.to_path} is not whole yet")
    path = _path_below(conn, row.kind, parent, code)
    conn.execute(_CHANGE, {"of": node, "parent": parent, "code": code})
    _put_path(conn, now_s, node, path, actor)
    whole = row.kind == TRANSFORMER or conn.execute(_CHILDREN, {"of": node}).first() is None
    told: dict[str, Any] = {"node": node, "from_path": row.path, "to_path": path, "actor": actor, "begun_s": now_s}
    conn.execute(insert(grid_move), {**told, "done_s": now_s if whole else None, "one": None if whole else 1})
    audit.record(conn, now_s, actor, "grid.move", f"node:{node}", {"from": row.path, "to": path})
    return not whole


def go_on(conn: Connection, now_s: int) -> bool:
    """Let a further part follow a node that moved; True where there is more to do."""
    under_way = moving(conn)
    if under_way is None:
        return False
    behind = conn.execute(_BEHIND, {"at_most": AT_A_TIME}).all()
    done = 0
    for row in behind:
        done += 1 + _put_path(conn, now_s, row.id, row.wanted, under_way.actor)
        if row.kind != TRANSFORMER or done >= AT_A_TIME:
            return True  # what is below a feeder is behind from now on
    if behind:
        return True
    conn.execute(update(grid_move).where(grid_move.c.id == under_way.id).values(done_s=now_s, one=None))
    return False


def moving(conn: Connection) -> Row[Any] | None:
    """The move that is under way."""
    return conn.execute(_MOVING).one_or_none()


def end(conn: Connection, now_s: int, node: int, actor: str) -> None:
    """Take a node out of the grid, on which nothing depends any more. Raises Refused, UnknownNode."""
    row = locked(conn, node)
    for what, query in (("node", _CHILDREN), ("supply point", _POINTS), ("meter", _MEASURED)):
        first = conn.execute(query, {"of": node}).first()
        if first is not None:
            name = first.path if query is _CHILDREN else first[0]
            raise Refused("node", row.path, f"one without anything at it or below ({what} {name} is)")
    conn.execute(_CHANGE, {"of": node, "ended_s": now_s})
    _record(conn, now_s, node, actor, "end", row.path)
    audit.record(conn, now_s, actor, "grid.end", f"node:{node}", {"path": row.path})


def get(conn: Connection, node: int) -> Row[Any]:
    """The `grid_node` row; raises UnknownNode."""
    row = conn.execute(_BY_ID, {"of": node}).one_or_none()
    if row is None:
        raise UnknownNode(node)
    return row


def at(conn: Connection, path: str) -> Row[Any] | None:
    """The node of a path, or None."""
    row: Row[Any] | None = _BY_PATH(conn, {"at": path}).one_or_none()
    return row


def below(conn: Connection, node: int | None) -> list[Row[Any]]:
    """The nodes right below one, by path; None: the substations."""
    found = conn.execute(_ROOTS) if node is None else conn.execute(_CHILDREN, {"of": node})
    return [*found]


def chain(conn: Connection, node: int) -> list[Row[Any]]:
    """A node with all above it, the substation first."""
    found = [get(conn, node)]
    while found[0].parent is not None:
        found.insert(0, get(conn, found[0].parent))
    return found


def page(conn: Connection, after: int, limit: int, within: Sequence[str]) -> list[Row[Any]]:
    """Up to `limit` nodes with ids above `after`, of the areas `within`."""
    chosen = select(grid_node).where(grid_node.c.id > after, grid_node.c.ended_s.is_(None))
    chosen = chosen.where(areas.within(grid_node.c.path, within))
    return list(conn.execute(chosen.order_by(grid_node.c.id).limit(limit)))


def history(conn: Connection, node: int) -> list[Row[Any]]:
    """What was done to a node, oldest first."""
    return list(conn.execute(_HISTORY, {"of": node}).all())


def misplaced(conn: Connection, *, limit: int = 100) -> list[Row[Any]]:
    """Meters whose area is not the path of the node that they stand at: there are none, ever."""
    at_node = and_(
        grid_node.c.id == func.coalesce(placement.c.node, supply_point.c.transformer), grid_node.c.path != meter.c.area
    )
    standing = (
        placement.outerjoin(supply_point, supply_point.c.code == placement.c.supply_point)
        .join(meter, meter.c.meter == placement.c.meter)
        .join(grid_node, at_node)
    )
    found = select(meter.c.meter, meter.c.area, grid_node.c.path).select_from(standing)
    return [*conn.execute(found.where(placement.c.until_s.is_(None)).limit(limit))]


def locked(conn: Connection, node: int, kind: str = "") -> Row[Any]:
    """A node of the grid (of this kind), whose path stays as it is until the transaction ends. Raises Refused."""
    row: Row[Any] | None = _LOCKED(conn, {"of": node}).one_or_none()
    if row is None or row.ended_s is not None:
        raise UnknownNode(node)
    if kind and row.kind != kind:
        raise Refused("node", row.path, f"a {kind}")
    return row


def _path_below(conn: Connection, kind: str, parent: int | None, code: str) -> str:
    if not is_code(code):
        raise Refused("code", code, "1..40 of a-z 0-9 . _ -")
    if (parent is None) != (not PARENT[kind]):
        raise Refused("parent", parent, f"a {PARENT[kind]}" if PARENT[kind] else f"none: a {kind} is at the top")
    path = code if parent is None else f"{locked(conn, parent, PARENT[kind]).path}/{code}"
    areas.check(path, "code")
    # During a move a sibling may have its path from before, and what moved away its path from here.
    sibling = conn.execute(_SIBLING, {"of": parent, "named": code}).first() if parent is not None else None
    if sibling is not None or at(conn, path) is not None:
        raise Refused("code", code, f"a code that is not taken there ({path})")
    return path


def _put_path(conn: Connection, now_s: int, node: int, path: str, actor: str) -> int:
    """Write a node's path, and the areas of the meters at it; returns how many."""
    locked(conn, node)  # a meter that is placed here meanwhile waits, or is there already
    if at(conn, path) is not None:
        raise Refused("code", path, "a path that is not taken")
    conn.execute(_CHANGE, {"of": node, "path": path})
    _record(conn, now_s, node, actor, "move", path)
    return conn.execute(_AREAS, {"node": node, "path": path}).rowcount


def _record(conn: Connection, now_s: int, node: int, actor: str, event: str, path: str) -> None:
    conn.execute(_EVENT, {"node": node, "at_s": now_s, "actor": actor, "event": event, "path": path})


def _check_title(title: tuple[str, str]) -> None:
    for field, text in zip(("title_en", "title_zh"), title, strict=True):
        if len(text) > MAX_TITLE or not text.isprintable():
            raise Refused(field, text, f"at most {MAX_TITLE} printable characters")
