"""The grid: its parts, what is below each, and how they move."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from sqlalchemy import Connection, Row, bindparam, select

from headend.access import areas
from headend.access.permissions import ADMIN, READ
from headend.fleet import grid, tree
from headend.store.schema_fleet import grid_node
from headend.web import wire
from headend.web.exceptions_api import Title
from headend.web.operations import Answer, Call, Nothing, Operation, ok
from headend.web.orders import MAX_ID
from headend.web.wire import Moment, TitleBody

Code = Annotated[str, Meta(pattern="^[a-z0-9._-]{1,40}$", examples=["feeder-3"])]
Kind = Literal["substation", "feeder", "transformer"]
NodeId = Annotated[int, Meta(ge=1, le=MAX_ID)]

areas.OF["node"] = select(grid_node.c.path).where(grid_node.c.id == bindparam("id"))


class NodeRequest(msgspec.Struct, forbid_unknown_fields=True):
    """A part of the grid."""

    kind: Kind
    code: Annotated[Code, Meta(description="The last part of its path.")]
    parent: Annotated[NodeId | None, Meta(description="What it is below; null: a substation.")] = None
    title: TitleBody | None = None


class NodeMove(msgspec.Struct, forbid_unknown_fields=True):
    """Where it is from now on."""

    code: Code
    parent: NodeId | None = None


class NodeTitle(msgspec.Struct, forbid_unknown_fields=True):
    """What people call it."""

    title: TitleBody


class GridNode(msgspec.Struct):
    """A part of the grid; its path is the area of the meters below a transformer."""

    node: int
    kind: Kind
    code: str
    path: str
    parent: int | None
    title: Title
    added: Moment
    ended: Moment | None


class GridMove(msgspec.Struct):
    """A move: what is below a node follows in parts."""

    node: GridNode
    whole: Annotated[bool, Meta(description="Whether all that is below it stands under the new path.")]


class GridEvent(msgspec.Struct):
    """What was done to a part of the grid."""

    at: Moment
    actor: str
    event: str
    path: Annotated[str, Meta(description="From then on.")]


class NodeDetail(msgspec.Struct):
    """A part of the grid with its history."""

    node: GridNode
    history: list[GridEvent]


class FleetCounts(msgspec.Struct):
    """Meters of a part of the grid."""

    meters: int
    online: Annotated[int, Meta(description="With a session on the broker.")]
    off: Annotated[int, Meta(description="By their newest report.")]
    read: Annotated[int, Meta(description="Whose records are whole up to the end of yesterday.")]


class GridBranch(msgspec.Struct):
    """A part of the grid, with what is in it; null: in no part of the grid."""

    node: GridNode | None
    counts: FleetCounts
    supply_points: int


class GridTree(msgspec.Struct):
    """The parts right below one, by path."""

    counts: FleetCounts
    branches: list[GridBranch]
    moving: Annotated[str | None, Meta(description="The path of a node that is being moved, from before.")]


class TreeQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Below what."""

    below: Annotated[int, Meta(ge=0, le=MAX_ID, description="0: the substations.")] = 0


async def get_grid(call: Call[Nothing, TreeQuery]) -> Answer:
    """The parts of the grid right below one, with counts of their meters."""
    return ok(await call.desk.read(_tree, call.query.below or None, call.desk.clock.now_s(), call.caller.areas))


async def get_node(call: Call[Nothing, Nothing]) -> Answer:
    """A part of the grid, and what was done to it."""
    return ok(await call.desk.read(_detail, _node(call)))


async def post_node(call: Call[NodeRequest, Nothing]) -> Answer:
    """Add a part to the grid."""
    body = call.body
    title = (body.title.en, body.title.zh) if body.title else ("", "")
    arguments = (call.desk.clock.now_s(), body.kind, body.parent, body.code, title, call.caller.actor)
    await hold_to_nodes(call, body.parent)
    return await call.desk.act(_add_node, *arguments, answer=lambda made: Answer(201, made))


async def put_node(call: Call[NodeTitle, Nothing]) -> Answer:
    """Change what people call a part of the grid."""
    title = call.body.title.en, call.body.title.zh
    return await call.desk.act(_rename, call.desk.clock.now_s(), _node(call), title, call.caller.actor, answer=ok)


async def move_node(call: Call[NodeMove, Nothing]) -> Answer:
    """Put a part of the grid below another one, or give it another code.

    The areas of all meters below follow, in parts; until that is whole no other move begins.
    """
    body = call.body
    await hold_to_nodes(call, body.parent)
    arguments = (call.desk.clock.now_s(), _node(call), body.parent, body.code, call.caller.actor)
    answer = await call.desk.act(_move, *arguments, answer=lambda made: Answer(202, made))
    call.desk.wake()
    return answer


async def end_node(call: Call[Nothing, Nothing]) -> Answer:
    """Take a part out of the grid at which nothing is any more."""
    return await call.desk.act(_end_node, call.desk.clock.now_s(), _node(call), call.caller.actor, answer=ok)


def _node(call: Call[Any, Any]) -> int:
    return call.number("node", grid.UnknownNode)


async def hold_to_nodes(call: Call[Any, Any], node: int | None) -> None:
    """Raise unless the caller may act where a node of the body stands; None: at the top of the grid."""
    if node is None:
        call.caller.need(ADMIN)
        return
    area = await call.desk.read(areas.area_of, "node", node)
    if area is None or not call.caller.sees(area):
        raise grid.UnknownNode(node)


def _tree(conn: Connection, below: int | None, now_s: int, within: tuple[str, ...]) -> GridTree:
    if below is not None and not areas.narrowed(within, grid.get(conn, below).path):
        raise grid.UnknownNode(below)
    whole, branches = tree.read(conn, below, tree.yesterday(conn, now_s), within)
    moving = grid.moving(conn)
    listed = [GridBranch(one.node and node_of(one.node), FleetCounts(*one.counts), one.points) for one in branches]
    return GridTree(FleetCounts(*whole), listed, moving.from_path if moving is not None else None)


def _detail(conn: Connection, node: int) -> NodeDetail:
    rows = grid.history(conn, node)
    events = [GridEvent(wire.moment(row.at_s), row.actor, row.event, row.path) for row in rows]
    return NodeDetail(node_of(grid.get(conn, node)), events)


def node_of(row: Row[Any]) -> GridNode:
    return GridNode(
        node=row.id,
        kind=row.kind,
        code=row.code,
        path=row.path,
        parent=row.parent,
        title=Title(row.title_en, row.title_zh),
        added=wire.moment(row.added_s),
        ended=wire.moment_or_none(row.ended_s),
    )


def _add_node(conn: Connection, *arguments: Any) -> GridNode:
    return node_of(grid.get(conn, grid.add(conn, *arguments)))


def _rename(conn: Connection, now_s: int, node: int, title: tuple[str, str], actor: str) -> GridNode:
    grid.rename(conn, now_s, node, title, actor)
    return node_of(grid.get(conn, node))


def _move(conn: Connection, now_s: int, node: int, *arguments: Any) -> GridMove:
    behind = grid.move(conn, now_s, node, *arguments)
    return GridMove(node_of(grid.get(conn, node)), not behind)


def _end_node(conn: Connection, now_s: int, node: int, actor: str) -> GridNode:
    grid.end(conn, now_s, node, actor)
    return node_of(grid.get(conn, node))


_NODE = "unknown_node"

OPERATIONS: tuple[Operation[Any, Any], ...] = (
    Operation(
        "GET",
        "/grid",
        get_grid,
        scope=READ,
        answers={200: GridTree},
        body=Nothing,
        query=TreeQuery,
        problems=(_NODE,),
        by_area=True,
    ),
    Operation(
        "POST",
        "/grid",
        post_node,
        scope=ADMIN,
        answers={201: GridNode},
        body=NodeRequest,
        query=Nothing,
        problems=(_NODE,),
        by_area=True,
    ),
    Operation(
        "GET",
        "/grid/{node}",
        get_node,
        scope=READ,
        answers={200: NodeDetail},
        body=Nothing,
        query=Nothing,
        problems=(_NODE,),
    ),
    Operation(
        "PUT",
        "/grid/{node}",
        put_node,
        scope=ADMIN,
        answers={200: GridNode},
        body=NodeTitle,
        query=Nothing,
        problems=(_NODE,),
    ),
    Operation(
        "POST",
        "/grid/{node}/move",
        move_node,
        scope=ADMIN,
        answers={202: GridMove},
        body=NodeMove,
        query=Nothing,
        problems=(_NODE,),
    ),
    Operation(
        "DELETE",
        "/grid/{node}",
        end_node,
        scope=ADMIN,
        answers={200: GridNode},
        body=Nothing,
        query=Nothing,
        problems=(_NODE,),
    ),
)
