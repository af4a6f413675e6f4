"""Typed tokens that help a customer, or change something at a meter."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from sqlalchemy import Connection, Row

from headend.access.permissions import ADMIN, ORDERS
from headend.fleet.meters import get_meter
from headend.refusals import Refused
from headend.tokens import amounts, decoder, helping, key_change
from headend.web import wire
from headend.web.decoders import DecoderBody, read_decoder
from headend.web.operations import Answer, Call, Nothing, Operation
from headend.web.orders import text_of
from headend.web.payments import PaymentId
from headend.web.tokens import Energy, Token, answer_made, whole, with_history

Power = Annotated[int, Meta(ge=0, le=helping.MAX_POWER_W, description="Watts.")]


class HelpRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Help for a paid customer whose meter cannot be reached."""

    request_id: PaymentId
    kind: Annotated[
        Literal["release", "allowance"],
        Meta(description="`release`: the hold for arrears goes; `allowance`: some energy whatever the balance."),
    ]
    reason: Annotated[str, Meta(min_length=1, max_length=150, description="Why; it stands in the token's history.")]
    energy: Annotated[Energy | None, Meta(description="Of an allowance: 0.1 to 409.5 kWh.")] = None


class EngineeringRequest(msgspec.Struct, forbid_unknown_fields=True):
    """A token for a technician."""

    request_id: PaymentId
    kind: Annotated[
        Literal["clear_credit", "clear_tamper", "max_power", "key_change"],
        Meta(description="`key_change`: four tokens, typed in any order, that give the meter another decoder key."),
    ]
    reason: Annotated[str, Meta(min_length=1, max_length=150, description="Why; it stands in the token's history.")]
    power_w: Annotated[Power | None, Meta(description="Of `max_power`; 0 takes the limit away.")] = None
    key: Annotated[DecoderBody | None, Meta(description="Of `key_change`: the new key.")] = None
    lose_unused: Annotated[
        bool, Meta(description="Of `key_change`: tokens that were not typed before it may become worthless.")
    ] = False


class Tokens(msgspec.Struct):
    """Tokens that go together."""

    tokens: list[Token]


async def help_token(call: Call[HelpRequest, Nothing]) -> Answer:
    """Make a token that helps a paid customer whose meter cannot be reached.

    `release` where we want no stop for arrears and have said so, or where the account is positive; `allowance` where
    the account is positive. Idempotent by channel and `request_id`.
    """
    body = call.body
    units = 0
    if body.energy is not None:
        units, rest = divmod(wire.read_amount("energy", body.energy), amounts.UNIT_UC)
        if rest:
            raise Refused("energy", body.energy, "steps of 0.1 kWh")
    arguments = (call.caller.channel, body.request_id, call.meter, body.kind, units, text_of(body.reason))
    row, repeated = await call.desk.write(helping.help_token, call.desk.clock.now_s(), *arguments)
    return await answer_made(call, row, repeated)


async def engineering_tokens(call: Call[EngineeringRequest, Nothing]) -> Answer:
    """Make a token for a technician, or the four of a key change.

    After a key change all tokens are made under the new key, and tokens of the old one that were not typed before the
    four are worthless: they are listed, and the change is refused (409), unless `lose_unused` is set. Idempotent by
    channel and `request_id`.
    """
    body, desk = call.body, call.desk
    if (body.kind == "key_change") != (body.key is not None):
        raise Refused("key", None if body.key is None else "a key", "the new key with a key change, and with it alone")
    reason = text_of(body.reason)
    if body.key is not None:
        get = await desk.read(_decoder_of, call.meter)
        new = read_decoder(body.key, call.meter, get.pan)
        arguments = (call.caller.channel, body.request_id, call.meter, new, reason)
        rows = await desk.with_maker(_change_key, *arguments, body.lose_unused)
        found = [await desk.read(with_history, row.id) for row in rows]
        return Answer(201, Tokens([whole(row, history, None) for row, history in found]))
    row, repeated = await desk.write(
        helping.engineering_token,
        desk.clock.now_s(),
        call.caller.channel,
        body.request_id,
        call.meter,
        body.kind,
        body.power_w or 0,
        reason,
    )
    made = await answer_made(call, row, repeated)
    assert isinstance(made.body, Token)
    return Answer(made.status, Tokens([made.body]))


def _change_key(store: Any, maker: Any, now_s: int, *arguments: Any) -> list[Row[Any]]:
    *others, lose_unused = arguments
    return key_change.key_change(store, maker, now_s, *others, lose_unused=lose_unused)


def _decoder_of(conn: Connection, meter: int) -> Row[Any]:
    get_meter(conn, meter)
    return decoder.get(conn, meter)


OPERATIONS: tuple[Operation[Any, Any], ...] = (
    Operation(
        "POST",
        "/meters/{meter}/help-token",
        help_token,
        scope=ORDERS,
        answers=dict.fromkeys((201, 200, 202), Token),
        body=HelpRequest,
        query=Nothing,
        problems=("request_conflict", "unknown_meter"),
    ),
    Operation(
        "POST",
        "/meters/{meter}/engineering-tokens",
        engineering_tokens,
        scope=ADMIN,
        answers=dict.fromkeys((201, 200, 202), Tokens),
        body=EngineeringRequest,
        query=Nothing,
        problems=("request_conflict", "unused_tokens", "not_made", "unknown_meter"),
    ),
)
