"""Typed tokens over HTTP: sold and reprinted, taken back, and those that help or change something at a meter.

Digits are worth what was paid for them: they stand in answers to the channel that asked for them, and nowhere else;
never in a path, a query or a log.
"""

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from sqlalchemy import Connection, Row

from headend.fleet.meters import get_meter
from headend.ledger import accounts
from headend.refusals import Refused
from headend.store import MONEY
from headend.tokens import amounts, book, decoder, helping, key_change, making, replacing, vending
from headend.tokens.decoder import Decoder
from headend.tokens.making import NotMade
from headend.web import problems, wire
from headend.web.access import ADMIN
from headend.web.operations import Answer, Call, Nothing
from headend.web.payments import PaymentId, in_their_words
from headend.web.problems import Problem, ProblemDetails
from headend.web.wire import MeterNumber, Moment
from meterlink.sts.token import KEY_SECTIONS, MANAGE

MAX_LINES = 100
MAX_ID = 2**53

# (class, subclass) -> what the API calls such a token.
KINDS = {
    (0, 0): "credit",
    (2, 0): "max_power",
    (2, 1): "clear_credit",
    (2, 5): "clear_tamper",
    (2, 11): "help",
    **{(MANAGE, subclass): f"key_change_{number}" for number, subclass in enumerate(KEY_SECTIONS, 1)},
}

Energy = Annotated[
    str,
    Meta(
        pattern=wire.PAID_PATTERN,
        description="Kilowatt-hours, a decimal string in steps of 0.1.",
        examples=["12.5"],
    ),
]
Pan = Annotated[str, Meta(pattern=r"^[0-9]{18}$", description="With its check digit.", examples=["600727000000000009"])]
Digits = Annotated[str, Meta(pattern=r"^[0-9]{20}$", examples=["59386323472137426967"])]
Power = Annotated[int, Meta(ge=0, le=helping.MAX_POWER_W, description="Watts.")]
PostedAgain = Annotated[
    bool,
    Meta(
        description="The channel may have sold it before and has no record of an answer, as after a restore of this"
        " head end: then the token that was made for it, known by channel and worth, is given again."
    ),
]
Note = Annotated[str, Meta(max_length=150, description="Why, in words; it stands in the token's history.")]


class TokenRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Energy that a customer has paid for, to be typed at the meter."""

    payment_id: PaymentId
    amount: Energy
    posted_again: PostedAgain = False


class TokenLine(msgspec.Struct, forbid_unknown_fields=True):
    """One sale of a batch."""

    payment_id: PaymentId
    meter: MeterNumber
    amount: Energy
    posted_again: PostedAgain = False


class BatchRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Several sales at once."""

    lines: Annotated[list[TokenLine], Meta(min_length=1, max_length=MAX_LINES)]


class TakeBackRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Why an unused token is taken back."""

    note: Note = ""


class HelpRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Help for a paid customer whose meter cannot be reached."""

    request_id: PaymentId
    kind: Annotated[
        Literal["release", "allowance"],
        Meta(description="`release`: the hold for arrears goes; `allowance`: some energy whatever the balance."),
    ]
    reason: Annotated[str, Meta(min_length=1, max_length=150, description="Why; it stands in the token's history.")]
    energy: Annotated[Energy | None, Meta(description="Of an allowance: 0.1 to 409.5 kWh.")] = None


class DecoderBody(msgspec.Struct, forbid_unknown_fields=True):
    """Which decoder key a meter holds (IEC 62055-41)."""

    supply_group: Annotated[int, Meta(ge=0, le=999_999, description="SGC.")]
    key_revision: Annotated[int, Meta(ge=1, le=9, description="KRN.")] = 1
    tariff_index: Annotated[int, Meta(ge=0, le=99, description="TI.")] = 1
    key_type: Annotated[int, Meta(ge=0, le=3, description="KT: 0 initial, 1 default, 2 unique, 3 common.")] = 2
    key_expiry: Annotated[int, Meta(ge=0, le=255, description="KEN, in periods of 65 536 minutes.")] = 255
    base_date: Literal[1993, 2014, 2035] = 2014
    pan: Annotated[Pan | None, Meta(description="Null: made from the meter's number.")] = None


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


class TokenBrief(msgspec.Struct):
    """A token, without its digits."""

    token: int
    meter: MeterNumber
    kind: Annotated[str, Meta(description="What it does.", examples=sorted(KINDS.values()))]
    state: Annotated[str, Meta(examples=list(book.STATES))]
    meaning: Annotated[str, Meta(description="That state in words.")]
    energy: Annotated[str | None, Meta(description="Of credit: kilowatt-hours.", examples=["12.50"])]
    channel: str | None
    payment_id: str | None
    key_revision: int
    issued: Moment
    used: Annotated[Moment | None, Meta(description="The meter's own time.")]


class TokenEvent(msgspec.Struct):
    """One event in the life of a token."""

    at: Moment
    event: str
    actor: str
    note: str


class Token(TokenBrief):
    """A token for the channel that asked for it."""

    digits: Annotated[Digits | None, Meta(description="What the customer types; null until they are made.")]
    waits: Annotated[str | None, Meta(description="Why they are not made yet: repeat the same request later.")]
    history: list[TokenEvent]


class Tokens(msgspec.Struct):
    """Tokens that go together."""

    tokens: list[Token]


class TokenPage(msgspec.Struct):
    """The newest tokens of a meter, newest first."""

    tokens: list[TokenBrief]
    next_before: Annotated[int | None, Meta(description="`before` of the next page; null on the last one.")]


class TokensQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Which tokens."""

    before: Annotated[int, Meta(ge=1, le=MAX_ID, description="Only tokens with a smaller id.")] = MAX_ID
    limit: Annotated[int, Meta(ge=1, le=500)] = 200


class BatchResult(msgspec.Struct):
    """What became of a line: a token, or the problem for which nothing was taken."""

    payment_id: str
    token: Token | None
    problem: ProblemDetails | None


class BatchAnswer(msgspec.Struct):
    """One result for each line, in their order."""

    results: list[BatchResult]


# --- selling ----------------------------------------------------------------------------------------------------------


async def vend_token(call: Call[TokenRequest, Nothing]) -> Answer:
    """Sell energy as a typed token.

    A payment like any other, delivered as 20 digits: idempotent by channel and `payment_id`, answered 201 the first
    time and 200 with the same digits when it is repeated. 202: the payment is taken, and the digits are not made yet
    (`waits`); repeat the same request later. A token is worth whole steps of 0.1 kWh, above 1 638.3 kWh of 1 kWh and
    more; an amount between two of them is refused with both.
    """
    body = call.body
    row, repeated = await _sell(call, body.payment_id, call.meter, body.amount, again=body.posted_again)
    return await _made(call, row, repeated)


async def vend_batch(call: Call[BatchRequest, Nothing]) -> Answer:
    """Sell several tokens.

    Each line is taken or refused by itself, and each is as durable and as idempotent as a sale of its own; so the same
    batch may be repeated as a whole.
    """
    rows: list[Row[Any] | Problem] = []
    for line in call.body.lines:
        try:
            meter, again = wire.read_meter(line.meter), line.posted_again
            await call.hold_to_area(meter)
            rows.append((await _sell(call, line.payment_id, meter, line.amount, again=again))[0])
        except Refused as refused:
            rows.append(problems.of_exception(refused))
    ids = [row.id for row in rows if isinstance(row, Row)]
    waits = await _make(call, ids)
    results = []
    for line, row in zip(call.body.lines, rows, strict=True):
        if isinstance(row, Problem):
            results.append(BatchResult(line.payment_id, None, row.body()))
        else:
            token = whole(*await call.desk.read(_with_history, row.id), waits)
            results.append(BatchResult(line.payment_id, token, None))
    return Answer(200, BatchAnswer(results))


async def get_token(call: Call[Nothing, Nothing]) -> Answer:
    """Print one of the channel's own tokens again. Each time stands in its history."""
    token_id = await _own(call)
    await call.desk.write(_reprint, call.desk.clock.now_s(), token_id, call.caller.actor)
    waits = await _make(call, [token_id])
    return Answer(200, whole(*await call.desk.read(_with_history, token_id), waits))


# --- taking back ------------------------------------------------------------------------------------------------------


async def void_token(call: Call[TakeBackRequest, Nothing]) -> Answer:
    """Take one of the channel's own tokens back, and its payment with it.

    Pending (`voiding`) until the meter has proved that it has stored the token's number and takes it no more; then it
    is `void` and the payment reversed. Had it been typed before, it ends as `used`, and nothing is reversed.
    """
    return await _take_back(call, replacing.void)


async def replace_token(call: Call[TakeBackRequest, Nothing]) -> Answer:
    """Deliver one of the channel's own tokens over the wire instead, as for a lost slip.

    The meter takes the worth and the token's number in one step, or neither where it was typed before.
    """
    return await _take_back(call, replacing.replace)


# --- at the meter -----------------------------------------------------------------------------------------------------


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
    arguments = (call.caller.channel, body.request_id, call.meter, body.kind, units, _text(body.reason))
    row, repeated = await call.desk.write(helping.help_token, call.desk.clock.now_s(), *arguments)
    return await _made(call, row, repeated)


async def engineering_tokens(call: Call[EngineeringRequest, Nothing]) -> Answer:
    """Make a token for a technician, or the four of a key change.

    After a key change all tokens are made under the new key, and tokens of the old one that were not typed before the
    four are worthless: they are listed, and the change is refused (409), unless `lose_unused` is set. Idempotent by
    channel and `request_id`.
    """
    body, desk = call.body, call.desk
    if (body.kind == "key_change") != (body.key is not None):
        raise Refused("key", None if body.key is None else "a key", "the new key with a key change, and with it alone")
    reason = _text(body.reason)
    if body.key is not None:
        get = await desk.read(_decoder_of, call.meter)
        new = _read_decoder(body.key, call.meter, get.pan)
        arguments = (call.caller.channel, body.request_id, call.meter, new, reason)
        rows = await desk.with_maker(_change_key, *arguments, body.lose_unused)
        found = [await desk.read(_with_history, row.id) for row in rows]
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
    made = await _made(call, row, repeated)
    assert isinstance(made.body, Token)
    return Answer(made.status, Tokens([made.body]))


async def put_decoder(call: Call[DecoderBody, Nothing]) -> Answer:
    """State which decoder key a meter holds, as it was made or provisioned.

    Once tokens were made for it, its key is changed by a key change alone.
    """
    held = _read_decoder(call.body, call.meter, None)
    return await call.desk.act(_put_decoder, call.meter, held, answer=lambda found: Answer(200, _held(found)))


async def list_tokens(call: Call[Nothing, TokensQuery]) -> Answer:
    """The tokens of a meter, newest first, without their digits."""
    query = call.query
    rows = await call.desk.read(_of_meter, call.meter, query.before, query.limit)
    more = rows[-1].id if len(rows) == query.limit else None
    return Answer(200, TokenPage([TokenBrief(**_brief(row)) for row in rows], more))


# --- parts ------------------------------------------------------------------------------------------------------------


async def _sell(
    call: Call[Any, Nothing], payment_id: str, meter: int, energy: str, *, again: bool
) -> tuple[Row[Any], bool]:
    amount_uc = wire.read_amount("amount", energy)
    if not amount_uc:
        raise Refused("amount", energy, "more than 0")
    arguments = (call.desk.clock.now_s(), call.caller.channel, payment_id, meter, amount_uc)
    try:
        return await call.desk.write(partial(vending.vend, again=again), *arguments, lane=MONEY)
    except Refused as refused:
        if refused.field != "amount_uc":
            raise
        raise in_their_words(call.caller, energy, amount_uc) from refused


async def _made(call: Call[Any, Nothing], row: Row[Any], repeated: bool) -> Answer:
    """Have a reserved token made, and answer with it."""
    waits = await _make(call, [row.id])
    token = whole(*await call.desk.read(_with_history, row.id), waits)
    if token.waits is not None:
        status = 202
    else:
        status = 200 if repeated else 201
    return Answer(status, token, {"Location": f"/api/v1/tokens/{row.id}"})


async def _make(call: Call[Any, Nothing], token_ids: list[int]) -> str | None:
    """Have tokens made; why some are not, or None."""
    try:
        await call.desk.with_maker(making.make_many, token_ids)
    except NotMade as waits:
        call.desk.wake()
        return str(waits)
    return None


async def _take_back(call: Call[TakeBackRequest, Nothing], how: Callable[..., Row[Any]]) -> Answer:
    desk, token_id = call.desk, await _own(call)
    arguments = (desk.clock.now_s(), how, token_id, call.caller.actor, _text(call.body.note))
    answer = await desk.act(_taken_back, *arguments, lane=MONEY, answer=lambda found: Answer(202, whole(*found, None)))
    desk.wake()
    return answer


async def _own(call: Call[Any, Nothing]) -> int:
    """The token of the path, where the caller may see it."""
    text = call.path["token"]
    if text.isascii() and text.isdigit() and len(text) <= 16:
        row = await call.desk.read(_find, int(text))
        if row is not None and (
            row.actor == accounts.of_channel(call.caller.channel) or ADMIN in call.caller.permissions
        ):
            return int(row.id)
    raise Problem(
        "unknown_token",
        f"token: {text[:20]!r} given, the id of a token of channel {call.caller.channel} expected.",
        field="token",
    )


def _change_key(store: Any, maker: Any, now_s: int, *arguments: Any) -> list[Row[Any]]:
    *others, lose_unused = arguments
    return key_change.key_change(store, maker, now_s, *others, lose_unused=lose_unused)


def _find(conn: Connection, token_id: int) -> Row[Any] | None:
    try:
        return book.get(conn, token_id)
    except book.UnknownToken:
        return None


def _with_history(conn: Connection, token_id: int) -> tuple[Row[Any], list[Row[Any]]]:
    return book.get(conn, token_id), book.history(conn, token_id)


def _reprint(conn: Connection, now_s: int, token_id: int, actor: str) -> None:
    book.record(conn, now_s, token_id, "reprint", actor)


def _of_meter(conn: Connection, meter: int, before: int, limit: int) -> list[Row[Any]]:
    get_meter(conn, meter)
    return book.of_meter(conn, meter, before=before, limit=limit)


def _taken_back(
    conn: Connection, now_s: int, how: Callable[..., Row[Any]], token_id: int, actor: str, note: str
) -> tuple[Row[Any], list[Row[Any]]]:
    how(conn, now_s, token_id, actor, note)
    return _with_history(conn, token_id)


def _put_decoder(conn: Connection, meter: int, held: Decoder) -> Row[Any]:
    decoder.put(conn, meter, held)
    return decoder.get(conn, meter)


def _decoder_of(conn: Connection, meter: int) -> Row[Any]:
    get_meter(conn, meter)
    return decoder.get(conn, meter)


def _text(note: str) -> str:
    if not note.isprintable():
        raise Refused("note", note, "printable characters")
    return note


def read_decoder(body: DecoderBody, meter: int) -> Decoder:
    """What a body says of a meter's key; the PAN follows from its number unless it is given. Raises Refused."""
    return _read_decoder(body, meter, None)


def _read_decoder(body: DecoderBody, meter: int, pan: str | None) -> Decoder:
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


def whole(row: Row[Any], history: list[Row[Any]], waits: str | None) -> Token:
    """A token with its digits, and why it has none."""
    return Token(
        **_brief(row),
        digits=row.digits,
        waits=(waits or "The signer makes them next.") if row.state == book.RESERVED else None,
        history=[TokenEvent(wire.moment(one.at_s), one.event, one.actor, one.note) for one in history],
    )


def _brief(row: Row[Any]) -> dict[str, Any]:
    return {
        "token": row.id,
        "meter": wire.meter_name(row.meter),
        "kind": KINDS[row._mapping["class"], row.subclass],
        "state": row.state,
        "meaning": book.STATES[row.state],
        "energy": wire.amount(row.amount_uc) if row.amount_uc else None,
        "channel": row.channel,
        "payment_id": row.payment_id,
        "key_revision": row.key_revision,
        "issued": wire.moment(row.issued_s),
        "used": wire.moment_or_none(row.used_s),
    }
