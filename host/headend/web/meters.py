"""Meters: the fleet, and each as it stands."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from sqlalchemy import Connection

from headend.access import areas
from headend.access.permissions import ADMIN, READ
from headend.fleet.meters import MAX_LABEL, MeterRecord, add_meter
from headend.orders import facts
from headend.orders.facts import Facts
from headend.tokens import decoder
from headend.tokens.decoder import Decoder
from headend.web import bodies_json, tariff_json, views, wire
from headend.web.bodies_json import LimitsBody
from headend.web.decoders import DecoderBody, read_decoder
from headend.web.operations import Answer, Call, Nothing, Operation
from headend.web.tariff_json import TariffBody
from headend.web.views import Meter, MeterDetail
from headend.web.wire import MeterNumber

MAX_METERS = 500


class MeterPage(msgspec.Struct):
    """Meters by rising number."""

    meters: list[Meter]
    next_after: Annotated[MeterNumber | None, Meta(description="`after` of the next page; null on the last one.")]


class MetersQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Which meters, in the areas of whoever asks."""

    area: Annotated[
        str, Meta(max_length=areas.MAX_LENGTH, description="Only meters of this area and below; empty: all.")
    ] = ""
    after: Annotated[MeterNumber, Meta(description="Only meters with a higher number.")] = "0"
    limit: Annotated[int, Meta(ge=1, le=MAX_METERS)] = 50


class MeterRequest(msgspec.Struct, forbid_unknown_fields=True):
    """A meter to be taken into the fleet."""

    meter: MeterNumber
    carrier: Literal["mqtt", "modbus"]
    tariff: TariffBody
    limits: LimitsBody
    address: Annotated[
        str,
        Meta(
            max_length=200,
            description="Modbus: where it is reached. MQTT: empty.",
            examples=["serial:/dev/ttyUSB0?unit=1&baud=9600&parity=E", "tcp://10.0.0.8:502?unit=1"],
        ),
    ] = ""
    label: Annotated[str, Meta(max_length=MAX_LABEL)] = ""
    interval_minutes: Annotated[int, Meta(ge=1, le=60, description="A divisor of 60.")] = 15
    account_epoch: Annotated[int, Meta(ge=1, le=0xFFFF)] = 1
    decoder: Annotated[
        DecoderBody | None, Meta(description="Which decoder key of typed tokens it holds; null: it takes none.")
    ] = None


async def list_meters(call: Call[Nothing, MetersQuery]) -> Answer:
    """Meters by rising number."""
    query = call.query
    after = 0 if not query.after.strip("0") else wire.read_meter(query.after, "after")
    chosen = areas.narrowed(call.caller.areas, areas.check(query.area))
    found = await call.desk.read(facts.of_fleet, after, query.limit, chosen)
    more = wire.meter_name(found[-1].number) if len(found) == query.limit else None
    return Answer(200, MeterPage([views.meter(one) for one in found], more))


async def get_meter(call: Call[Nothing, Nothing]) -> Answer:
    """A meter as it stands: wanted, intended and physical kept apart, with the meter's own time of the report."""
    return Answer(200, views.detail(await call.desk.read(facts.of_meter, call.meter)))


async def post_meter(call: Call[MeterRequest, Nothing]) -> Answer:
    """Take a meter into the fleet.

    It must have been provisioned for this head end, or be provisioned next (`openprepay keys provision`).
    """
    body, desk = call.body, call.desk
    record = MeterRecord(
        meter=wire.read_meter(body.meter),
        carrier=body.carrier,
        address=body.address,
        tariff=tariff_json.read_tariff(body.tariff).encode(),
        limits=bodies_json.read_limits(body.limits).encode(),
        account_epoch=body.account_epoch,
        tag_key_version=desk.new_key_version,
        interval_minutes=body.interval_minutes,
        label=body.label,
    )
    held = read_decoder(body.decoder, record.meter) if body.decoder else None
    answer = await desk.act(_add, desk.clock.now_s(), record, held, answer=_added)
    desk.wake()
    return answer


def _added(made: Facts) -> Answer:
    return Answer(201, views.detail(made), {"Location": f"/api/v1/meters/{wire.meter_name(made.number)}"})


def _add(conn: Connection, now_s: int, record: MeterRecord, held: Decoder | None) -> Facts:
    add_meter(conn, now_s, record)
    if held is not None:
        decoder.put(conn, record.meter, held)
    return facts.of_meter(conn, record.meter)


OPERATIONS: tuple[Operation[Any, Any], ...] = (
    Operation(
        "GET",
        "/meters",
        list_meters,
        scope=READ,
        answers={200: MeterPage},
        body=Nothing,
        query=MetersQuery,
        by_area=True,
    ),
    Operation(
        "POST",
        "/meters",
        post_meter,
        scope=ADMIN,
        answers={201: MeterDetail},
        body=MeterRequest,
        query=Nothing,
        problems=("meter_exists",),
    ),
    Operation(
        "GET",
        "/meters/{meter}",
        get_meter,
        scope=READ,
        answers={200: MeterDetail},
        body=Nothing,
        query=Nothing,
        problems=("unknown_meter",),
    ),
)
