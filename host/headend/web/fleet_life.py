"""The life of meters: where they stand and stood, and what fitters do with them."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from sqlalchemy import Connection, Row

from headend.access import areas
from headend.access.permissions import ADMIN, READ
from headend.fleet import grid, life, lifecycle, placement, points
from headend.fleet.meters import get_meter
from headend.fleet.placement import Place, Readings
from headend.refusals import Refused
from headend.web import wire
from headend.web.grid import NodeId
from headend.web.meter_types import TypeName
from headend.web.operations import Answer, Call, Nothing, Operation, ok
from headend.web.orders import MAX_ID, Note, text_of
from headend.web.supply_points import PointCode
from headend.web.wire import MeterNumber, Moment

Register = Annotated[int, Meta(ge=0, le=2**53, description="Wh, as somebody read it.")]
Time = Annotated[int, Meta(ge=0, le=MAX_ID, description="Seconds since 1970 UTC.")]


class RegistersRead(msgspec.Struct, forbid_unknown_fields=True):
    """What somebody read on a meter; null: nobody did."""

    import_wh: Register | None = None
    export_wh: Register | None = None

    def readings(self) -> Readings:
        return Readings(self.import_wh, self.export_wh)


class CommissionRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Where a meter is put: a supply point, or a node of the grid whose flow it measures."""

    supply_point: PointCode | None = None
    node: NodeId | None = None
    since_s: Annotated[Time | None, Meta(description="When it came there; null: now.")] = None
    start: RegistersRead = msgspec.field(default_factory=RegistersRead)
    note: Note = ""


class RelocateRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Where a meter moves to, with its account."""

    supply_point: PointCode | None = None
    node: NodeId | None = None
    end: RegistersRead = msgspec.field(default_factory=RegistersRead)
    start: RegistersRead = msgspec.field(default_factory=RegistersRead)
    note: Note = ""


class RemoveRequest(msgspec.Struct, forbid_unknown_fields=True):
    """What was read when the meter was taken away."""

    end: RegistersRead = msgspec.field(default_factory=RegistersRead)
    note: Note = ""


class ScrapRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Why the meter comes back nowhere."""

    note: Note = ""


class DescribeRequest(msgspec.Struct, forbid_unknown_fields=True):
    """What a meter is."""

    type: TypeName | None = None
    serial: Annotated[str, Meta(max_length=40, description="The maker's.")] = ""


class RegistersTold(msgspec.Struct):
    """Registers at an end of a placement, Wh; null: not known."""

    import_wh: int | None
    export_wh: int | None


class PlacementState(msgspec.Struct):
    """Where a meter stood, and when."""

    meter: MeterNumber
    supply_point: str | None
    node: int | None
    path: Annotated[str, Meta(description="Of its transformer or node, as it is today.")]
    account_epoch: int
    since: Moment
    until: Annotated[Moment | None, Meta(description="null: it stands there.")]
    start: Annotated[RegistersTold, Meta(description="As somebody read them.")]
    end: Annotated[RegistersTold, Meta(description="As somebody read them.")]
    closing: Annotated[
        RegistersTold | None, Meta(description="As the closing of its account shows them; null: it was not closed.")
    ]
    closing_final: Annotated[bool, Meta(description="Whether the meter's own closing statement has told them.")]
    ended_by: str | None


class LifeEvent(msgspec.Struct):
    """What happened to a meter."""

    at: Moment
    event: str
    state: Annotated[str, Meta(description="From then on.")]
    actor: str
    note: str


class MeterLife(msgspec.Struct):
    """Where a meter is in its life, and where it stood."""

    meter: MeterNumber
    state: Literal["in_stock", "commissioned", "removed", "retired"]
    type: str | None
    serial: str
    area: str
    order: Annotated[int | None, Meta(description="That opens or closes an account with this act.")]
    placements: list[PlacementState]
    history: list[LifeEvent]


class PlacementList(msgspec.Struct):
    """The meter that stood there: none or one."""

    placements: list[PlacementState]


class AtQuery(msgspec.Struct, forbid_unknown_fields=True):
    """When."""

    at_s: Annotated[int, Meta(ge=0, le=MAX_ID, description="0: now.")] = 0


async def get_life(call: Call[Nothing, Nothing]) -> Answer:
    """Where a meter is in its life: its state, type and serial number, where it stood, and what happened to it."""
    return ok(await call.desk.read(_life, call.meter))


async def commission_meter(call: Call[CommissionRequest, Nothing]) -> Answer:
    """Put a meter in its place. Where its last account was closed the next one is opened."""
    body = call.body
    place = await _place(call, body.supply_point, body.node)
    options = {"since_s": body.since_s, "read": body.start.readings(), "note": text_of(body.note)}
    return await _act(call, life.commission, place, call.caller.actor, **options)


async def relocate_meter(call: Call[RelocateRequest, Nothing]) -> Answer:
    """Move a meter to another place, with its account."""
    body = call.body
    place = await _place(call, body.supply_point, body.node)
    options = {"end": body.end.readings(), "read": body.start.readings(), "note": text_of(body.note)}
    return await _act(call, life.relocate, place, call.caller.actor, **options)


async def remove_meter(call: Call[RemoveRequest, Nothing]) -> Answer:
    """Take a meter away and close its account: what is left goes to its former customer's account in the books."""
    body = call.body
    return await _act(call, life.remove, call.caller.actor, end=body.end.readings(), note=text_of(body.note))


async def scrap_meter(call: Call[ScrapRequest, Nothing]) -> Answer:
    """Take a meter that stands nowhere out of the fleet for good."""
    return await _act(call, life.retire, call.caller.actor, note=text_of(call.body.note))


async def describe_meter(call: Call[DescribeRequest, Nothing]) -> Answer:
    """Say of which type a meter is, and its maker's serial number."""
    return await _act(call, life.describe, call.caller.actor, kind=call.body.type, serial=call.body.serial)


async def list_point_meters(call: Call[Nothing, AtQuery]) -> Answer:
    """The meter that stands at a supply point, or stood there at a time."""
    at_s = call.query.at_s or call.desk.clock.now_s()
    return ok(await call.desk.read(_at_point, call.path["point"], at_s, call.caller.areas))


async def _act(call: Call[Any, Any], fn: Any, *arguments: Any, **options: Any) -> Answer:
    def act(conn: Connection, now_s: int, number: int) -> MeterLife:
        done = fn(conn, now_s, number, *arguments, **options)
        return _life(conn, number, done if isinstance(done, int) and not isinstance(done, bool) else None)

    answer = await call.desk.act(act, call.desk.clock.now_s(), call.meter, answer=ok)
    call.desk.wake()
    return answer


async def _place(call: Call[Any, Any], code: str | None, node: int | None) -> Place:
    """The place of a body, in an area where the caller may act."""
    if (code is None) == (node is None):
        raise Refused("supply_point", code, "a supply point, or else a node")
    if node is not None:
        area = await call.desk.read(areas.area_of, "node", node)
        if area is None or not call.caller.sees(area):
            raise grid.UnknownNode(node)
    elif await call.desk.read(points.seen, code, call.caller.areas) is None:
        raise points.UnknownPoint(code)
    return Place(code, node)


def _life(conn: Connection, number: int, order: int | None = None) -> MeterLife:
    row = get_meter(conn, number)
    stands = lifecycle.at(conn, number)
    return MeterLife(
        meter=wire.meter_name(number),
        state=stands.state,
        type=stands.type,
        serial=stands.serial,
        area=row.area,
        order=order,
        placements=[_placement(one) for one in placement.history(conn, number)],
        history=[
            LifeEvent(wire.moment(one.at_s), one.event, one.state, one.actor, one.note)
            for one in lifecycle.history(conn, number)
        ],
    )


def _at_point(conn: Connection, code: str, at_s: int, within: tuple[str, ...]) -> PlacementList:
    if points.seen(conn, code, within) is None:
        raise points.UnknownPoint(code)
    return PlacementList([_placement(row) for row in placement.meters_at(conn, code, at_s)])


def _placement(row: Row[Any]) -> PlacementState:
    closed = row.provisional is not None and row.until_s is not None
    return PlacementState(
        meter=wire.meter_name(row.meter),
        supply_point=row.supply_point,
        node=row.node,
        path=row.path,
        account_epoch=row.account_epoch,
        since=wire.moment(row.since_s),
        until=wire.moment_or_none(row.until_s),
        start=RegistersTold(row.start_import_wh, row.start_export_wh),
        end=RegistersTold(row.end_import_wh, row.end_export_wh),
        closing=RegistersTold(row.closed_import_wh, row.closed_export_wh) if closed else None,
        closing_final=closed and not row.provisional,
        ended_by=row.ended_by,
    )


def _of_meter(method: str, path: str, handler: Any, body: Any, *problems: str) -> Operation[Any, Any]:
    return Operation(
        method,
        f"/meters/{{meter}}/{path}",
        handler,
        scope=READ if method == "GET" else ADMIN,
        answers={200: MeterLife},
        body=body,
        query=Nothing,
        problems=("unknown_meter", *problems),
    )


OPERATIONS: tuple[Operation[Any, Any], ...] = (
    _of_meter("GET", "life", get_life, Nothing),
    _of_meter("POST", "commission", commission_meter, CommissionRequest, "unknown_point", "unknown_node"),
    _of_meter("POST", "relocate", relocate_meter, RelocateRequest, "unknown_point", "unknown_node"),
    _of_meter("POST", "remove", remove_meter, RemoveRequest),
    _of_meter("POST", "scrap", scrap_meter, ScrapRequest),
    _of_meter("PUT", "description", describe_meter, DescribeRequest, "unknown_type"),
    Operation(
        "GET",
        "/supply-points/{point}/meters",
        list_point_meters,
        scope=READ,
        answers={200: PlacementList},
        body=Nothing,
        query=AtQuery,
        problems=("unknown_point",),
        by_area=True,
    ),
)
