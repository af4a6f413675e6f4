"""Typed tokens sold over HTTP, one by one and in batches.

Digits are worth what was paid for them: they stand in answers to the channel that asked for them, and nowhere else;
never in a path, a query or a log.
"""

from functools import partial
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from sqlalchemy import Row

from headend.access.permissions import PAYMENTS
from headend.refusals import Refused
from headend.store import MONEY
from headend.tokens import vending
from headend.web import problems, wire
from headend.web.operations import Answer, Call, Nothing, Operation
from headend.web.payments import PaymentId, in_their_words
from headend.web.problems import Problem, ProblemDetails
from headend.web.tokens import Energy, Token, answer_made, make, whole, with_history
from headend.web.wire import MeterNumber

MAX_LINES = 100
PostedAgain = Annotated[
    bool,
    Meta(
        description="The channel may have sold it before and has no record of an answer, as after a restore of this"
        " head end: then the token that was made for it, known by channel and worth, is given again."
    ),
]


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


class BatchResult(msgspec.Struct):
    """What became of a line: a token, or the problem for which nothing was taken."""

    payment_id: str
    token: Token | None
    problem: ProblemDetails | None


class BatchAnswer(msgspec.Struct):
    """One result for each line, in their order."""

    results: list[BatchResult]


async def vend_token(call: Call[TokenRequest, Nothing]) -> Answer:
    """Sell energy as a typed token.

    A payment like any other, delivered as 20 digits: idempotent by channel and `payment_id`, answered 201 the first
    time and 200 with the same digits when it is repeated. 202: the payment is taken, and the digits are not made yet
    (`waits`); repeat the same request later. A token is worth whole steps of 0.1 kWh, above 1 638.3 kWh of 1 kWh and
    more; an amount between two of them is refused with both.
    """
    body = call.body
    row, repeated = await _sell(call, body.payment_id, call.meter, body.amount, again=body.posted_again)
    return await answer_made(call, row, repeated)


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
    waits = await make(call, ids)
    results = []
    for line, row in zip(call.body.lines, rows, strict=True):
        if isinstance(row, Problem):
            results.append(BatchResult(line.payment_id, None, row.body()))
        else:
            token = whole(*await call.desk.read(with_history, row.id), waits)
            results.append(BatchResult(line.payment_id, token, None))
    return Answer(200, BatchAnswer(results))


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


OPERATIONS: tuple[Operation[Any, Any], ...] = (
    Operation(
        "POST",
        "/meters/{meter}/tokens",
        vend_token,
        scope=PAYMENTS,
        answers=dict.fromkeys((201, 200, 202), Token),
        body=TokenRequest,
        query=Nothing,
        problems=("payment_conflict", "unknown_meter"),
    ),
    Operation(
        "POST",
        "/tokens/batch",
        vend_batch,
        scope=PAYMENTS,
        answers={200: BatchAnswer},
        body=BatchRequest,
        query=Nothing,
        by_area=True,
        most_bytes=65_536,
    ),
)
