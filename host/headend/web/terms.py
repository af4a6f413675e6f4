"""Debts that a meter collects, and limits of its load."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from headend.access.permissions import ORDERS
from headend.ledger import debts_on_meter
from headend.orders import terms
from headend.web import wire
from headend.web.operations import Answer, Call, Nothing, Operation
from headend.web.orders import Note, OrderState, state_order, text_of
from headend.web.wire import PositiveAmount
from meterlink import bodies

_PERIODS = {"day": bodies.PERIOD_DAY, "week": bodies.PERIOD_WEEK, "month": bodies.PERIOD_MONTH}


class DebtRequest(msgspec.Struct, forbid_unknown_fields=True):
    """A debt of the account in force: what was moved to the meter, and how the meter collects it.

    By time where `amount` is given, as a share of each top-up where `share` is. The meter owes what was placed, less
    what was withdrawn and collected.
    """

    placed: Annotated[PositiveAmount, Meta(description="Moved to the meter in all; never less than before.")]
    withdrawn: Annotated[PositiveAmount, Meta(description="Taken back in all; never less than before.")] = "0.00"
    amount: Annotated[PositiveAmount, Meta(description="Collected when a `period` begins.")] = "0.00"
    share: Annotated[int, Meta(ge=0, le=10_000, description="Of each top-up, in 1/10 000.")] = 0
    cap: Annotated[
        PositiveAmount, Meta(description="The most that is collected of top-ups in a `period`; 0: no cap.")
    ] = "0.00"
    period: Literal["day", "week", "month"] = "day"
    priority: Annotated[int, Meta(ge=0, le=255, description="The debt with the lowest is collected first.")] = 0
    note: Note = ""


class LoadStep(msgspec.Struct, forbid_unknown_fields=True):
    """From a moment on, at most so much power."""

    from_s: Annotated[int, Meta(ge=0, le=0xFFFFFFFF, description="Seconds since 1970 UTC.")]
    power_w: Annotated[int, Meta(ge=0, le=0xFFFFFFFF, description="0: no limit from then on.")]


class LoadRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Load control: steps by rising time, the last one an end; none: it ends now."""

    steps: Annotated[list[LoadStep], Meta(max_length=bodies.MAX_LOAD_STEPS)]
    note: Note = ""


async def put_debt(call: Call[DebtRequest, Nothing]) -> Answer:
    """State a debt (1..3) of the meter's account.

    The meter refuses totals below those that it holds. What it has collected stands in its charges; a new account owes
    nothing.
    """
    body = call.body
    shared = body.share > 0
    stated = bodies.DebtTerms(
        wire.read_amount("placed", body.placed),
        wire.read_amount("withdrawn", body.withdrawn),
        bodies.DEBT_SHARED if shared else bodies.DEBT_TIMED,
        body.share,
        wire.read_amount("amount", body.amount),
        _PERIODS[body.period],
        body.priority,
        wire.read_amount("cap", body.cap),
    )
    number = call.path["debt"]
    known = int(number) if number.isascii() and number.isdigit() and len(number) == 1 else 0
    return await state_order(call, debts_on_meter.state_freely, known, stated, reason_text=text_of(body.note))


async def put_load(call: Call[LoadRequest, Nothing]) -> Answer:
    """Limit the meter's load for a time. Above the limit supply goes off, and comes back by itself."""
    steps = tuple((step.from_s, step.power_w) for step in call.body.steps)
    return await state_order(call, terms.set_load, steps, reason_text=text_of(call.body.note))


OPERATIONS: tuple[Operation[Any, Any], ...] = (
    Operation(
        "PUT",
        "/meters/{meter}/debts/{debt}",
        put_debt,
        scope=ORDERS,
        answers={202: OrderState},
        body=DebtRequest,
        query=Nothing,
        problems=("unknown_meter",),
    ),
    Operation(
        "PUT",
        "/meters/{meter}/load",
        put_load,
        scope=ORDERS,
        answers={202: OrderState},
        body=LoadRequest,
        query=Nothing,
        problems=("unknown_meter",),
    ),
)
