"""Payments: taken once, answered when they are on disk, and followed until a report shows them on the meter."""

from functools import partial
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from sqlalchemy import Connection, Row, select

from headend.access.caller import Caller
from headend.access.permissions import PAYMENTS
from headend.ledger import allocation, floats, payments, receipts, tax
from headend.refusals import Refused
from headend.store import MONEY
from headend.store.schema import order
from headend.web import wire
from headend.web.operations import Answer, Call, Nothing, Operation
from headend.web.problems import Problem
from headend.web.wire import Amount, MeterNumber, Moment, PositiveAmount

PaymentId = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=payments.MAX_ID,
        description="The channel's own id: printable ASCII, no blank at either end.",
        examples=["2026-01-31/000017"],
    ),
]


_ORDER = (
    "The credit order that states it; a later one may carry it instead. Null: it has none of its own. Then it is on the"
    " meter already, posted again after a restore, or waits until the meter was read back, or is for a closed account."
)


class PaymentRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Money that a customer has paid for a meter."""

    payment_id: PaymentId
    meter: MeterNumber
    amount: PositiveAmount
    account_epoch: Annotated[
        Annotated[int, Meta(ge=1, le=0xFFFF)] | None,
        Meta(
            description="The account that the payer means, as on an old bill; null: the one in force. Money for an "
            "account that is closed goes to its former customer, never to the meter.",
        ),
    ] = None
    posted_again: Annotated[
        bool,
        Meta(
            description="The channel may have posted it before and has no record of an answer, as after a restore of "
            "this head end: then it is held against what was found on the meter, so that it counts once."
        ),
    ] = False
    purpose: Annotated[
        Literal["", "advance", "deposit"],
        Meta(
            description='"": for bills, oldest first; the rest is credit on the meter. `advance`: for bills, and the '
            "rest waits for bills to come. `deposit`: a guarantee, held apart."
        ),
    ] = ""
    quote: Annotated[
        Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")] | None,
        Meta(description="The quote that the payer was told; the payment is refused if it does not hold any more."),
    ] = None
    accept_changes: Annotated[bool, Meta(description="Take the payment even so.")] = False
    receipt: Annotated[bool, Meta(description="Make its receipt at once.")] = False


class PaidBill(msgspec.Struct):
    """What a payment paid of a bill."""

    bill: int
    late_fee: Amount
    principal: Amount


class PaidTax(msgspec.Struct):
    """What a payment paid of a tax."""

    name: str
    ppm: int
    amount: Amount


class Payment(msgspec.Struct):
    """A payment that was taken; the same for every repetition of the request."""

    channel: str
    payment_id: PaymentId
    meter: MeterNumber
    amount: Amount
    total: Annotated[Amount, Meta(description="All that this head end has sold for the meter, this payment included.")]
    order: Annotated[int | None, Meta(description=_ORDER)]
    taken: Moment
    bills: Annotated[list[PaidBill], Meta(description="What it paid of bills, oldest first.")]
    taxes: Annotated[list[PaidTax], Meta(description="What it paid of taxes, beside its credit.")]
    rest: Annotated[Amount, Meta(description="What is for neither: credit on the meter, where it is for that.")]
    receipt: Annotated[int | None, Meta(description="Its receipt, where that was asked for with it.")]


class PaymentState(msgspec.Struct):
    """A payment, and how far it has come."""

    channel: str
    payment_id: PaymentId
    meter: MeterNumber
    amount: Amount
    total: Amount
    order: Annotated[int | None, Meta(description=_ORDER)]
    order_state: Annotated[
        str | None, Meta(description="State of that order; `superseded` where a later one carries it.")
    ]
    taken: Moment
    on_meter: Annotated[bool, Meta(description="Whether an authenticated report of the meter has shown it.")]
    on_meter_since: Annotated[Moment | None, Meta(description="The meter's own time of the report that first did.")]


Outcome = tuple[payments.PaymentAnswer, list[Row[Any]], list[tax.Taxed], int | None]


async def take_payment(call: Call[PaymentRequest, Nothing]) -> Answer:
    """Take a payment.

    Idempotent by channel and `payment_id`: the first request is answered 201, the same again 200 with the same body,
    another payment under that id 409. It is on disk, with its ledger entry and its order to the meter, before it is
    answered. After a time-out or a 5xx repeat the same request.
    """
    body, desk = call.body, call.desk
    meter, amount_uc = wire.read_meter(body.meter), wire.read_amount("amount", body.amount)
    if not amount_uc:
        raise Refused("amount", body.amount, "more than 0")
    await call.hold_to_area(meter)
    arguments = (desk.clock.now_s(), call.caller.channel, body.payment_id, meter, amount_uc)
    try:
        take = partial(
            _take,
            receipt=body.receipt,
            account_epoch=body.account_epoch,
            again=body.posted_again,
            purpose=body.purpose,
            quote=bytes.fromhex(body.quote) if body.quote and not body.accept_changes else None,
        )
        answer = await desk.act(take, *arguments, lane=MONEY, answer=_answer)
    except Refused as refused:
        if refused.field != "amount_uc" or isinstance(refused, floats.OverLimit):
            raise
        raise in_their_words(call.caller, body.amount, amount_uc) from refused
    if answer.status == 201:
        desk.wake()
    return answer


def _answer(outcome: Outcome) -> Answer:
    taken, bills, taxes, receipt = outcome
    answer = Payment(
        channel=taken.channel,
        payment_id=taken.payment_id,
        meter=wire.meter_name(taken.meter),
        amount=wire.amount(taken.amount_uc),
        total=wire.amount(taken.total_uc),
        order=taken.order_id,
        taken=wire.moment(taken.taken_s),
        bills=[PaidBill(row.bill_id, wire.amount(row.late_fee_uc), wire.amount(row.principal_uc)) for row in bills],
        taxes=[PaidTax(one.name, one.ppm, wire.amount(one.tax_uc)) for one in taxes],
        rest=wire.amount(_rest_uc(taken, bills, taxes)),
        receipt=receipt,
    )
    return Answer(200 if taken.repeated else 201, answer)


def _take(
    conn: Connection,
    now_s: int,
    channel: str,
    payment_id: str,
    meter: int,
    amount_uc: int,
    *,
    receipt: bool,
    **how: Any,
) -> Outcome:
    """Take a payment; with what it paid, which is looked up where it paid anything, and its receipt."""
    taken = payments.take(conn, now_s, channel, payment_id, meter, amount_uc, **how)
    bills, taxes = [], []
    if taken.allocated_uc:
        bills = [row for row in allocation.of_payment(conn, channel, payment_id) if row.reverses is None]
        taxes = tax.of_payment(conn, channel, payment_id)
    made = receipts.issue(conn, now_s, channel, payment_id).id if receipt else None
    return taken, bills, taxes, made


def _rest_uc(taken: payments.PaymentAnswer, bills: list[Row[Any]], taxes: list[tax.Taxed]) -> int:
    paid_uc = sum(row.late_fee_uc + row.principal_uc for row in bills) + sum(one.tax_uc for one in taxes)
    return taken.amount_uc - int(paid_uc)


def in_their_words(caller: Caller, given: str, amount_uc: int) -> Refused:
    """A refusal of `amount_uc` by `payments.take`, as who gave `given` for it understands it."""
    expected = f"at most {wire.amount(caller.max_payment_uc)}, the channel's limit"
    if amount_uc <= caller.max_payment_uc:
        expected = "less: the meter cannot count as much in all"
    return Refused("amount", given, expected)


async def get_payment(call: Call[Nothing, Nothing]) -> Answer:
    """One of the channel's own payments.

    `on_meter` turns true when a report that the meter authenticated shows it; until then the credit is on its way.
    """
    payment_id = call.path["payment_id"]
    found = await call.desk.read(_find, call.caller.channel, payment_id)
    if found is None:
        raise Problem(
            "unknown_payment",
            f"payment_id: {payment_id!r} given, the id of a payment of channel {call.caller.channel} expected.",
            field="payment_id",
        )
    row, order_state = found
    state = PaymentState(
        channel=row.channel,
        payment_id=row.payment_id,
        meter=wire.meter_name(row.meter),
        amount=wire.amount(row.amount_uc),
        total=wire.amount(row.total_uc),
        order=row.order_id,
        order_state=order_state,
        taken=wire.moment(row.taken_s),
        on_meter=row.on_meter_s is not None,
        on_meter_since=wire.moment_or_none(row.on_meter_s),
    )
    return Answer(200, state)


def _find(conn: Connection, channel: str, payment_id: str) -> tuple[Row[Any], str | None] | None:
    row = payments.get(conn, channel, payment_id)
    if row is None:
        return None
    return row, conn.execute(select(order.c.state).where(order.c.id == row.order_id)).scalar_one_or_none()


OPERATIONS: tuple[Operation[Any, Any], ...] = (
    Operation(
        "POST",
        "/payments",
        take_payment,
        scope=PAYMENTS,
        answers={201: Payment, 200: Payment},
        body=PaymentRequest,
        query=Nothing,
        problems=("payment_conflict", "unknown_meter"),
        by_area=True,
    ),
    Operation(
        "GET",
        "/payments/{payment_id}",
        get_payment,
        scope=PAYMENTS,
        answers={200: PaymentState},
        body=Nothing,
        query=Nothing,
        problems=("unknown_payment",),
        by_area=True,
    ),
)
