"""Supply points: where meters stand, below which transformer."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta
from sqlalchemy import Connection

from headend.access.permissions import ADMIN, READ
from headend.fleet import points, types
from headend.web import wire
from headend.web.grid import NodeId, hold_to_nodes
from headend.web.meter_types import Phases
from headend.web.operations import Answer, Call, Nothing, Operation, ok
from headend.web.orders import MAX_ID
from headend.web.wire import MeterNumber

MAX_PAGE = 500

PointCode = Annotated[str, Meta(pattern="^[A-Z0-9][A-Z0-9-]{0,39}$", examples=["GP-0017"])]
Watts = Annotated[int, Meta(ge=0, le=types.MAX_W)]


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
    await hold_to_nodes(call, call.body.transformer)
    return await call.desk.act(_put_point, call.desk.clock.now_s(), call, answer=ok)


async def end_point(call: Call[Nothing, Nothing]) -> Answer:
    """Take a supply point out at which no meter stands."""
    return await call.desk.act(_end_point, call.desk.clock.now_s(), call, answer=ok)


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


_POINT, _NODE = "unknown_point", "unknown_node"

OPERATIONS: tuple[Operation[Any, Any], ...] = (
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
)
