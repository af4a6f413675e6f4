"""The grid, supply points and meter types, and finding anything of the fleet."""

import re
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from sqlalchemy import Connection, Row, bindparam, select

from headend.access import areas
from headend.access.permissions import ADMIN, PERSONS, READ
from headend.fleet import csv_lines, exporting, grid, importing, points, search, tree, types
from headend.fleet.import_lines import Given
from headend.fleet.importing import Undone
from headend.store.schema_fleet import grid_node
from headend.web import bodies_json, tariff_json, wire
from headend.web.bodies_json import LimitsBody
from headend.web.exceptions_api import Title
from headend.web.operations import Answer, Call, Nothing, Operation, ok
from headend.web.orders import MAX_ID
from headend.web.people import PSEUDONYM
from headend.web.tariff_json import TariffBody
from headend.web.wire import MeterNumber, Moment

MAX_TEXT = 1_000_000
MAX_PAGE = 500

Code = Annotated[str, Meta(pattern="^[a-z0-9._-]{1,40}$", examples=["feeder-3"])]
PointCode = Annotated[str, Meta(pattern="^[A-Z0-9][A-Z0-9-]{0,39}$", examples=["GP-0017"])]
TypeName = Annotated[str, Meta(pattern="^[a-z][a-z0-9._-]{0,39}$", examples=["op-1p"])]
Name = Annotated[str, Meta(max_length=types.MAX_TITLE)]
Kind = Literal["substation", "feeder", "transformer"]
FileKind = Literal["grid", "types", "points", "meters"]
Phases = Annotated[int, Meta(ge=1, le=3, description="1 or 3.")]
Watts = Annotated[int, Meta(ge=0, le=types.MAX_W)]
NodeId = Annotated[int, Meta(ge=1, le=MAX_ID)]

areas.OF["node"] = select(grid_node.c.path).where(grid_node.c.id == bindparam("id"))


class NodeRequest(msgspec.Struct, forbid_unknown_fields=True):
    """A part of the grid."""

    kind: Kind
    code: Annotated[Code, Meta(description="The last part of its path.")]
    parent: Annotated[NodeId | None, Meta(description="What it is below; null: a substation.")] = None
    title: Annotated[Title | None, Meta(description="What people call it.")] = None


class NodeMove(msgspec.Struct, forbid_unknown_fields=True):
    """Where it is from now on."""

    code: Code
    parent: NodeId | None = None


class NodeTitle(msgspec.Struct, forbid_unknown_fields=True):
    """What people call it."""

    title: Title


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


class PointRequest(msgspec.Struct, forbid_unknown_fields=True):
    """What a supply point is. Its address is personal data, and kept of the person."""

    transformer: NodeId
    phases: Phases = 1
    limit_w: Annotated[Watts, Meta(description="Contracted power; 0: none.")] = 0
    households: Annotated[
        int, Meta(ge=0, le=points.MAX_HOUSEHOLDS, description="Behind it; with more than 50 its meter is excluded.")
    ] = 1


class SupplyPoint(msgspec.Struct):
    """A supply point."""

    supply_point: str
    transformer: int
    path: Annotated[str, Meta(description="Of its transformer.")]
    phases: int
    limit_w: int
    households: int
    meter: Annotated[MeterNumber | None, Meta(description="That stands there.")]


class PointPage(msgspec.Struct):
    """Supply points by code."""

    supply_points: list[SupplyPoint]
    next_after: Annotated[str | None, Meta(description="`after` of the next page; null on the last one.")]


class PointsQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Which supply points, in the areas of whoever asks."""

    transformer: Annotated[int, Meta(ge=0, le=MAX_ID, description="0: all.")] = 0
    after: Annotated[str, Meta(max_length=40)] = ""
    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE)] = 50


class TypeRequest(msgspec.Struct, forbid_unknown_fields=True):
    """What meters of a type can do."""

    title: Title
    carriers: Annotated[list[Literal["mqtt", "modbus"]], Meta(min_length=1, max_length=2)]
    limit_w: Annotated[int, Meta(ge=1, le=types.MAX_W, description="The most power that it is built for.")]
    firmware: Annotated[str, Meta(min_length=1, max_length=40, description="Family of images.")]
    phases: Phases = 1
    relay: Annotated[bool, Meta(description="It can disconnect.")] = True
    intervals: Annotated[
        list[Annotated[int, Meta(ge=1, le=60)]], Meta(min_length=1, max_length=12, description="Minutes.")
    ] = msgspec.field(default_factory=lambda: [15])
    tariff: Annotated[
        list[Literal["steps", "rates", "time_charges", "export", "remote", "typed"]], Meta(max_length=6)
    ] = []


class MeterType(TypeRequest):
    """A meter type."""

    type: str = ""


class MeterTypes(msgspec.Struct):
    """All meter types, by name."""

    types: list[MeterType]


class FleetFile(msgspec.Struct, forbid_unknown_fields=True):
    """A file of the fleet, CSV with a header. Longer ones are for `openprepay fleet import`."""

    file: FileKind
    text: Annotated[str, Meta(max_length=MAX_TEXT)]
    dry_run: Annotated[bool, Meta(description="Try every line, store nothing.")] = True
    skip_bad: Annotated[bool, Meta(description="Store the lines that fit where others do not.")] = False
    tariff: Annotated[TariffBody | None, Meta(description="Of new meters whose line has none.")] = None
    limits: LimitsBody | None = None


class BadLine(msgspec.Struct):
    """What is wrong with a line."""

    line: Annotated[int, Meta(description="The header is line 1.")]
    field: str
    value: str
    expected: str


class LineCounts(msgspec.Struct):
    """What became of the lines."""

    new: int
    changed: int
    same: int
    problem: int


class FleetFileReport(msgspec.Struct):
    """What an import found, and whether anything was stored."""

    stored: bool
    counts: LineCounts
    problems: Annotated[list[BadLine], Meta(description="The first 1000.")]


class ExportQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Which part of which file."""

    file: FileKind
    after: Annotated[str, Meta(max_length=40, description="`next_after` of the page before.")] = ""
    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE)] = MAX_PAGE


class FleetFilePage(msgspec.Struct):
    """Lines of a file; the header is on the first page."""

    text: str
    next_after: str | None


class SearchQuery(msgspec.Struct, forbid_unknown_fields=True):
    """What somebody has of it."""

    q: Annotated[str, Meta(min_length=1, max_length=search.MAX_TEXT)]
    limit: Annotated[int, Meta(ge=1, le=search.MAX_HITS)] = 20


class SearchHit(msgspec.Struct):
    """What was found."""

    by: Annotated[
        Literal["meter", "pan", "serial", "label", "address", "supply_point", "node", "holder"],
        Meta(description="What of it fits."),
    ]
    text: str
    area: str
    meter: MeterNumber | None
    supply_point: str | None
    node: int | None
    label: str
    state: Annotated[str, Meta(description="Of a meter: where it is in its life.")]


class SearchResult(msgspec.Struct):
    """What was found, the best first."""

    hits: list[SearchHit]
    more: Annotated[bool, Meta(description="There is more; ask with more of it.")]
    partly: Annotated[bool, Meta(description="Not all labels were looked through; ask with more of it.")]


# --- the grid ---------------------------------------------------------------------------------------------------------


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
    await _hold_to_nodes(call, body.parent)
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
    await _hold_to_nodes(call, body.parent)
    arguments = (call.desk.clock.now_s(), _node(call), body.parent, body.code, call.caller.actor)
    answer = await call.desk.act(_move, *arguments, answer=lambda made: Answer(202, made))
    call.desk.wake()
    return answer


async def end_node(call: Call[Nothing, Nothing]) -> Answer:
    """Take a part out of the grid at which nothing is any more."""
    return await call.desk.act(_end_node, call.desk.clock.now_s(), _node(call), call.caller.actor, answer=ok)


# --- supply points ----------------------------------------------------------------------------------------------------


async def list_points(call: Call[Nothing, PointsQuery]) -> Answer:
    """Supply points by code."""
    query = call.query
    rows = await call.desk.read(points.page, query.after, query.limit, call.caller.areas, query.transformer or None)
    return ok(PointPage([_point(row) for row in rows], rows[-1].code if len(rows) == query.limit else None))


async def get_point(call: Call[Nothing, Nothing]) -> Answer:
    """A supply point."""
    return ok(await call.desk.read(_seen_point, call.path["point"], call.caller))


async def put_point(call: Call[PointRequest, Nothing]) -> Answer:
    """Say what a supply point is, and below which transformer: a new one, or one that is there, with its meter."""
    await _hold_to_nodes(call, call.body.transformer)
    return await call.desk.act(_put_point, call.desk.clock.now_s(), call, answer=ok)


async def end_point(call: Call[Nothing, Nothing]) -> Answer:
    """Take a supply point out at which no meter stands."""
    return await call.desk.act(_end_point, call.desk.clock.now_s(), call, answer=ok)


# --- types, files, search ---------------------------------------------------------------------------------------------


async def list_types(call: Call[Nothing, Nothing]) -> Answer:
    """Meter types: what meters can do."""
    return ok(MeterTypes([_type(one) for one in await call.desk.read(types.every)]))


async def put_type(call: Call[TypeRequest, Nothing]) -> Answer:
    """Describe a meter type."""
    body = call.body
    told = types.MeterType(
        call.path["type"],
        body.title.en,
        body.title.zh,
        tuple(body.carriers),
        body.phases,
        body.relay,
        body.limit_w,
        tuple(body.intervals),
        tuple(body.tariff),
        body.firmware,
    )
    arguments = (call.desk.clock.now_s(), told, call.caller.actor)
    return await call.desk.act(types.put, *arguments, answer=lambda _: ok(_type(told)))


async def import_file(call: Call[FleetFile, Nothing]) -> Answer:
    """Take in a file of the fleet, or try to: each line is told of; where one does not fit nothing is stored, unless
    those are to be left out."""
    body, desk = call.body, call.desk
    told = Given(
        call.caller.actor,
        tariff_json.read_tariff(body.tariff).encode() if body.tariff else b"",
        bodies_json.read_limits(body.limits).encode() if body.limits else b"",
        desk.new_key_version,
    )
    try:
        answer = await desk.act(_import, desk.clock.now_s(), body, told, answer=lambda made: ok(_report(made)))
    except Undone as undone:
        report = importing.Report()
        report.take(undone.outcomes)
        return ok(_report(report))
    desk.wake()
    return answer


async def export_file(call: Call[Nothing, ExportQuery]) -> Answer:
    """A page of a file of the fleet, as an import takes it, of the areas of whoever asks."""
    query = call.query
    lines, after = await call.desk.read(exporting.page, query.file, query.after, query.limit, call.caller.areas)
    text = "".join(csv_lines.write(query.file, lines, header=not query.after))
    return ok(FleetFilePage(text, after or None))


async def search_fleet(call: Call[Nothing, SearchQuery]) -> Answer:
    """Find a meter, a supply point or a part of the grid by whatever somebody has of it.

    A person's pseudonym finds the meters that the person holds, for whoever may see persons; it is audited.
    """
    query, caller = call.query, call.caller
    if re.fullmatch(PSEUDONYM, query.q) and caller.may(PERSONS):
        held = await call.desk.write(search.holder, call.desk.clock.now_s(), query.q, caller.areas, caller.actor)
        if held:
            return ok(SearchResult([_hit(one) for one in held], False, False))
    found = await call.desk.read(search.find, query.q, caller.areas, query.limit)
    return ok(SearchResult([_hit(one) for one in found.hits], found.more, found.partly))


# --- what they are made of --------------------------------------------------------------------------------------------


def _node(call: Call[Any, Any]) -> int:
    number = wire.read_id(call.path["node"])
    if number is None:
        raise grid.UnknownNode(call.path["node"])
    return number


async def _hold_to_nodes(call: Call[Any, Any], node: int | None) -> None:
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


def _seen_point(conn: Connection, code: str, caller: Any) -> SupplyPoint:
    """A supply point, of those that the caller sees."""
    row = points.seen(conn, code, caller.areas)
    if row is None:
        raise points.UnknownPoint(code)
    return _point(row)


def _put_point(conn: Connection, now_s: int, call: Call[PointRequest, Nothing]) -> SupplyPoint:
    code, body = call.path["point"], call.body
    told = {"phases": body.phases, "limit_w": body.limit_w, "households": body.households}
    try:
        points.get(conn, code)
    except points.UnknownPoint:
        points.add(conn, now_s, code, body.transformer, call.caller.actor, **told)
    else:
        _seen_point(conn, code, call.caller)
        points.change(conn, now_s, code, body.transformer, call.caller.actor, **told)
    return _seen_point(conn, code, call.caller)


def _end_point(conn: Connection, now_s: int, call: Call[Nothing, Nothing]) -> SupplyPoint:
    found = _seen_point(conn, call.path["point"], call.caller)
    points.end(conn, now_s, found.supply_point, call.caller.actor)
    return found


def _point(row: Any) -> SupplyPoint:
    meter = None if row.meter is None else wire.meter_name(row.meter)
    return SupplyPoint(row.code, row.transformer, row.path, row.phases, row.limit_w, row.households, meter)


def _type(one: types.MeterType) -> MeterType:
    return MeterType(
        title=Title(one.title_en, one.title_zh),
        carriers=list(one.carriers),  # type: ignore[arg-type]
        limit_w=one.limit_w,
        firmware=one.firmware,
        phases=one.phases,
        relay=one.relay,
        intervals=list(one.intervals),
        tariff=list(one.tariff),  # type: ignore[arg-type]
        type=one.type,
    )


def _import(conn: Connection, now_s: int, body: FleetFile, told: Given) -> importing.Report:
    return importing.at_once(conn, now_s, body.file, body.text, told, dry_run=body.dry_run, skip_bad=body.skip_bad)


def _report(report: importing.Report) -> FleetFileReport:
    problems = [BadLine(one.line, one.field, one.value, one.expected) for one in report.problems]
    return FleetFileReport(report.stored, LineCounts(**report.counts), problems)


def _hit(one: search.Hit) -> SearchHit:
    meter = None if one.meter is None else wire.meter_name(one.meter)
    return SearchHit(one.by, one.text, one.area, meter, one.supply_point, one.node, one.label, one.state)  # type: ignore[arg-type]


_NODE, _POINT = "unknown_node", "unknown_point"

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
    Operation(
        "GET",
        "/supply-points",
        list_points,
        scope=READ,
        answers={200: PointPage},
        body=Nothing,
        query=PointsQuery,
        by_area=True,
    ),
    Operation(
        "GET",
        "/supply-points/{point}",
        get_point,
        scope=READ,
        answers={200: SupplyPoint},
        body=Nothing,
        query=Nothing,
        problems=(_POINT,),
        by_area=True,
    ),
    Operation(
        "PUT",
        "/supply-points/{point}",
        put_point,
        scope=ADMIN,
        answers={200: SupplyPoint},
        body=PointRequest,
        query=Nothing,
        problems=(_POINT, _NODE),
        by_area=True,
    ),
    Operation(
        "DELETE",
        "/supply-points/{point}",
        end_point,
        scope=ADMIN,
        answers={200: SupplyPoint},
        body=Nothing,
        query=Nothing,
        problems=(_POINT,),
        by_area=True,
    ),
    Operation(
        "GET",
        "/meter-types",
        list_types,
        scope=READ,
        answers={200: MeterTypes},
        body=Nothing,
        query=Nothing,
        by_area=True,
    ),
    Operation(
        "PUT",
        "/meter-types/{type}",
        put_type,
        scope=ADMIN,
        answers={200: MeterType},
        body=TypeRequest,
        query=Nothing,
    ),
    Operation(
        "POST",
        "/fleet/imports",
        import_file,
        scope=ADMIN,
        answers={200: FleetFileReport},
        body=FleetFile,
        query=Nothing,
        most_bytes=4 * MAX_TEXT,
    ),
    Operation(
        "GET",
        "/fleet/exports",
        export_file,
        scope=READ,
        answers={200: FleetFilePage},
        body=Nothing,
        query=ExportQuery,
        by_area=True,
    ),
    Operation(
        "GET",
        "/search",
        search_fleet,
        scope=READ,
        answers={200: SearchResult},
        body=Nothing,
        query=SearchQuery,
        by_area=True,
    ),
)
