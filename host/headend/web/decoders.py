"""Which decoder keys meters hold (IEC 62055-41), for which their typed tokens are made."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from sqlalchemy import Connection, Row

from headend.access.permissions import ADMIN
from headend.tokens import decoder
from headend.tokens.decoder import Decoder
from headend.web import wire
from headend.web.operations import Answer, Call, Nothing, Operation
from headend.web.wire import MeterNumber

Pan = Annotated[str, Meta(pattern=r"^[0-9]{18}$", description="With its check digit.", examples=["600727000000000009"])]


class DecoderBody(msgspec.Struct, forbid_unknown_fields=True):
    """Which decoder key a meter holds (IEC 62055-41)."""

    supply_group: Annotated[int, Meta(ge=0, le=999_999, description="SGC.")]
    key_revision: Annotated[int, Meta(ge=1, le=9, description="KRN.")] = 1
    tariff_index: Annotated[int, Meta(ge=0, le=99, description="TI.")] = 1
    key_type: Annotated[int, Meta(ge=0, le=3, description="KT: 0 initial, 1 default, 2 unique, 3 common.")] = 2
    key_expiry: Annotated[int, Meta(ge=0, le=255, description="KEN, in periods of 65 536 minutes.")] = 255
    base_date: Literal[1993, 2014, 2035] = 2014
    pan: Annotated[Pan | None, Meta(description="Null: made from the meter's number.")] = None


class HeldDecoder(msgspec.Struct):
    """The attributes of the key that tokens for a meter are made under."""

    meter: MeterNumber
    pan: str
    supply_group: int
    key_revision: int
    tariff_index: int
    key_type: int
    key_expiry: int
    base_date: int


async def put_decoder(call: Call[DecoderBody, Nothing]) -> Answer:
    """State which decoder key a meter holds, as it was made or provisioned.

    Once tokens were made for it, its key is changed by a key change alone.
    """
    held = read_decoder(call.body, call.meter)
    return await call.desk.act(_put_decoder, call.meter, held, answer=lambda found: Answer(200, _held(found)))


def _put_decoder(conn: Connection, meter: int, held: Decoder) -> Row[Any]:
    decoder.put(conn, meter, held)
    return decoder.get(conn, meter)


def read_decoder(body: DecoderBody, meter: int, pan: str | None = None) -> Decoder:
    """What a body says of a meter's key; the PAN is `pan`, or follows from its number, unless it is given.

    Raises Refused.
    """
    read = Decoder(
        pan=body.pan or pan or decoder.pan_of(meter),
        supply_group=body.supply_group,
        key_type=body.key_type,
        tariff_index=body.tariff_index,
        key_revision=body.key_revision,
        key_expiry=body.key_expiry,
        base_date=body.base_date,
    )
    read.attributes()
    return read


def _held(row: Row[Any]) -> HeldDecoder:
    return HeldDecoder(
        meter=wire.meter_name(row.meter),
        pan=row.pan,
        supply_group=row.supply_group,
        key_revision=row.key_revision,
        tariff_index=row.tariff_index,
        key_type=row.key_type,
        key_expiry=row.key_expiry,
        base_date=row.base_date,
    )


OPERATIONS: tuple[Operation[Any, Any], ...] = (
    Operation(
        "PUT",
        "/meters/{meter}/decoder",
        put_decoder,
        scope=ADMIN,
        answers={200: HeldDecoder},
        body=DecoderBody,
        query=Nothing,
        problems=("unknown_meter",),
    ),
)
