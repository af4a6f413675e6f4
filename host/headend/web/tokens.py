"""Typed tokens over HTTP: shown, printed again, taken back.

Digits are worth what was paid for them: they stand in answers to the channel that asked for them, and nowhere else;
never in a path, a query or a log.
"""

from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from sqlalchemy import Connection, Row

from headend.access.permissions import ADMIN, PAYMENTS, READ
from headend.fleet.meters import get_meter
from headend.ledger import accounts
from headend.store import MONEY
from headend.tokens import book, making, replacing
from headend.tokens.making import NotMade
from headend.web import wire
from headend.web.operations import Answer, Call, Nothing, Operation
from headend.web.orders import text_of
from headend.web.problems import Problem
from headend.web.wire import MeterNumber, Moment
from meterlink.sts.token import KEY_SECTIONS, MANAGE

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
Digits = Annotated[str, Meta(pattern=r"^[0-9]{20}$", examples=["59386323472137426967"])]
Note = Annotated[str, Meta(max_length=150, description="Why, in words; it stands in the token's history.")]


class TakeBackRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Why an unused token is taken back."""

    note: Note = ""


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


class TokenPage(msgspec.Struct):
    """The newest tokens of a meter, newest first."""

    tokens: list[TokenBrief]
    next_before: Annotated[int | None, Meta(description="`before` of the next page; null on the last one.")]


class TokensQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Which tokens."""

    before: Annotated[int, Meta(ge=1, le=MAX_ID, description="Only tokens with a smaller id.")] = MAX_ID
    limit: Annotated[int, Meta(ge=1, le=500)] = 200


async def get_token(call: Call[Nothing, Nothing]) -> Answer:
    """Print one of the channel's own tokens again. Each time stands in its history."""
    token_id = await _own(call)
    await call.desk.write(_reprint, call.desk.clock.now_s(), token_id, call.caller.actor)
    waits = await make(call, [token_id])
    return Answer(200, whole(*await call.desk.read(with_history, token_id), waits))


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


async def list_tokens(call: Call[Nothing, TokensQuery]) -> Answer:
    """The tokens of a meter, newest first, without their digits."""
    query = call.query
    rows = await call.desk.read(_of_meter, call.meter, query.before, query.limit)
    more = rows[-1].id if len(rows) == query.limit else None
    return Answer(200, TokenPage([TokenBrief(**_brief(row)) for row in rows], more))


async def answer_made(call: Call[Any, Nothing], row: Row[Any], repeated: bool) -> Answer:
    """Have a reserved token made, and answer with it."""
    waits = await make(call, [row.id])
    token = whole(*await call.desk.read(with_history, row.id), waits)
    if token.waits is not None:
        status = 202
    else:
        status = 200 if repeated else 201
    return Answer(status, token, {"Location": f"/api/v1/tokens/{row.id}"})


async def make(call: Call[Any, Nothing], token_ids: list[int]) -> str | None:
    """Have tokens made; why some are not, or None."""
    try:
        await call.desk.with_maker(making.make_many, token_ids)
    except NotMade as waits:
        call.desk.wake()
        return str(waits)
    return None


async def _take_back(call: Call[TakeBackRequest, Nothing], how: Callable[..., Row[Any]]) -> Answer:
    desk, token_id = call.desk, await _own(call)
    arguments = (desk.clock.now_s(), how, token_id, call.caller.actor, text_of(call.body.note))
    answer = await desk.act(_taken_back, *arguments, lane=MONEY, answer=lambda found: Answer(202, whole(*found, None)))
    desk.wake()
    return answer


async def _own(call: Call[Any, Nothing]) -> int:
    """The token of the path, where the caller may see it."""
    text = call.path["token"]
    number = wire.read_id(text)
    row = None if number is None else await call.desk.read(_find, number)
    if row is not None and (row.actor == accounts.of_channel(call.caller.channel) or ADMIN in call.caller.permissions):
        return int(row.id)
    raise Problem(
        "unknown_token",
        f"token: {text[:20]!r} given, the id of a token of channel {call.caller.channel} expected.",
        field="token",
    )


def _find(conn: Connection, token_id: int) -> Row[Any] | None:
    try:
        return book.get(conn, token_id)
    except book.UnknownToken:
        return None


def with_history(conn: Connection, token_id: int) -> tuple[Row[Any], list[Row[Any]]]:
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
    return with_history(conn, token_id)


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


OPERATIONS: tuple[Operation[Any, Any], ...] = (
    Operation(
        "GET",
        "/meters/{meter}/tokens",
        list_tokens,
        scope=READ,
        answers={200: TokenPage},
        body=Nothing,
        query=TokensQuery,
        problems=("unknown_meter",),
    ),
    Operation(
        "GET",
        "/tokens/{token}",
        get_token,
        scope=PAYMENTS,
        answers={200: Token},
        body=Nothing,
        query=Nothing,
        problems=("unknown_token",),
    ),
    Operation(
        "POST",
        "/tokens/{token}/void",
        void_token,
        scope=PAYMENTS,
        answers={202: Token},
        body=TakeBackRequest,
        query=Nothing,
        problems=("unknown_token",),
    ),
    Operation(
        "POST",
        "/tokens/{token}/replace",
        replace_token,
        scope=PAYMENTS,
        answers={202: Token},
        body=TakeBackRequest,
        query=Nothing,
        problems=("unknown_token",),
    ),
)
