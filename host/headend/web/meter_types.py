"""Meter types: what meters can do."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from headend.access.permissions import ADMIN, READ
from headend.fleet import types
from headend.web.operations import Answer, Call, Nothing, Operation, ok
from headend.web.wire import TitleBody

TypeName = Annotated[str, Meta(pattern="^[a-z][a-z0-9._-]{0,39}$", examples=["op-1p"])]
Phases = Annotated[int, Meta(ge=1, le=3, description="1 or 3.")]


class TypeRequest(msgspec.Struct, forbid_unknown_fields=True):
    """What meters of a type can do."""

    title: TitleBody
    carriers: Annotated[list[Literal["mqtt", "modbus"]], Meta(min_length=1, max_length=2)]
    limit_w: Annotated[int, Meta(ge=1, le=types.MAX_W, description="The most power that it is built for.")]
    firmware: Annotated[str, Meta(min_length=1, max_length=40, description="The board that its images are for.")]
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


def _type(one: types.MeterType) -> MeterType:
    return MeterType(
        title=TitleBody(one.title_en, one.title_zh),
        carriers=list(one.carriers),  # type: ignore[arg-type]
        limit_w=one.limit_w,
        firmware=one.firmware,
        phases=one.phases,
        relay=one.relay,
        intervals=list(one.intervals),
        tariff=list(one.tariff),  # type: ignore[arg-type]
        type=one.type,
    )


OPERATIONS: tuple[Operation[Any, Any], ...] = (
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
)
