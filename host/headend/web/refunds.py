"""Money that goes back: refunds of credit, reversals of payments, transfers to another meter."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from sqlalchemy import Connection, Row

from headend.access.permissions import READ, REFUNDS
from headend.ledger import payments
from headend.ledger.payments import UnknownPayment
from headend.ledger.refunds import asking, deciding, life, listing, transferring, words
from headend.ledger.refunds.asking import Asked
from headend.refusals import Refused
from headend.store import MONEY, UnknownMeter
from headend.web import wire
from headend.web.operations import Answer, Call, Nothing, Operation, ok
from headend.web.payments import PaymentId
from headend.web.wire import Amount, MeterNumber, Moment, PositiveAmount

MAX_ID = 2**53
MAX_PAGE = 200

RequestId = Annotated[
    str, Meta(min_length=1, max_length=asking.MAX_ID, description="The asker's own: asked twice is asked once.")
]
Why = Annotated[str, Meta(min_length=1, max_length=life.MAX_NOTE, description="For who approves, and the record.")]
ChannelName = Annotated[str, Meta(min_length=1, max_length=40)]
OfChannel = Annotated[ChannelName | None, Meta(description="Whose payment it is; null: the caller's own.")]
State = Literal["proposed", "approved", "stated", "taken", "refused", "withdrawn", "written_off", "owed", "closed"]


class RefundRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Credit of a meter that is to be paid out."""

    request_id: RequestId
    amount: PositiveAmount
    why: Why
    channel: Annotated[ChannelName | None, Meta(description="Who pays it out; null: the caller's own.")] = None


class ReversalRequest(msgspec.Struct, forbid_unknown_fields=True):
    """A payment that is to be taken back."""

    request_id: RequestId
    payment_id: PaymentId
    why: Why
    channel: OfChannel = None


class TransferRequest(msgspec.Struct, forbid_unknown_fields=True):
    """A payment that was made for a wrong meter."""

    request_id: RequestId
    payment_id: PaymentId
    to_meter: MeterNumber
    why: Why
    channel: OfChannel = None


class RefundWithdrawRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Why."""

    note: Annotated[str, Meta(max_length=life.MAX_NOTE)] = ""


class RefundEvidenceRequest(msgspec.Struct, forbid_unknown_fields=True):
    """What a person has seen of a meter that will never answer."""

    evidence: Annotated[str, Meta(min_length=1, max_length=life.MAX_NOTE)]


class RefundEvent(msgspec.Struct):
    """One event in the life of a refund."""

    at: Moment
    event: str
    state: State
    actor: str
    note: str


class RefundBrief(msgspec.Struct):
    """Money that goes back, and how far it has come."""

    refund: int
    kind: Literal["refund", "reversal", "transfer"]
    meter: MeterNumber
    amount: Annotated[Amount, Meta(description="In all: off the meter, and what the payment had paid of bills.")]
    off_meter: Annotated[Amount, Meta(description="Of that, what the meter takes off.")]
    state: State
    meaning: Annotated[str, Meta(description="That state in words.")]
    channel: Annotated[str, Meta(description="Who pays it out, or whose payment it was.")]
    payment_id: str | None
    to_meter: Annotated[MeterNumber | None, Meta(description="Of a transfer.")]
    to_payment: Annotated[str | None, Meta(description="The payment that a transfer became there.")]
    order: Annotated[int | None, Meta(description="The statement that takes it off the meter.")]
    proposal: Annotated[int | None, Meta(description="Where a second person decides.")]
    asked_by: str
    request_id: str
    why: str
    asked: Moment
    changed: Moment


class RefundState(RefundBrief):
    """A refund with its whole life."""

    proved_at: Annotated[
        Moment | None, Meta(description="The meter's own time of the report that proves how it ended.")
    ]
    evidence: Annotated[str | None, Meta(description="That report, byte for byte, hexadecimal.")]
    history: list[RefundEvent]


class RefundPage(msgspec.Struct):
    """Refunds, newest first."""

    refunds: list[RefundBrief]
    next_before: Annotated[int | None, Meta(description="`before` of the next page; null on the last one.")]


class RefundsQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Which refunds."""

    before: Annotated[int, Meta(ge=1, le=MAX_ID, description="Only refunds with a smaller id.")] = MAX_ID
    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE)] = 50
    meter: MeterNumber | None = None
    state: State | None = None


class WriteOffProposed(msgspec.Struct):
    """The proposal that a second person decides."""

    proposal: int


async def ask_refund(call: Call[RefundRequest, Nothing]) -> Answer:
    """Ask that credit of a meter is paid out.

    A second person approves it. Then the meter is told to take it off, and it is paid out when the meter's own report
    shows that; a meter that does not hold as much refuses, and nothing is paid out.
    """
    body = call.body
    amount_uc = wire.read_amount("amount", body.amount)
    asked = Asked(call.caller.actor, body.request_id, body.why)
    channel = _channel(call, body.channel)
    now_s = call.desk.clock.now_s()
    return await _ask(call, asking.refund_credit, now_s, asked, call.meter, amount_uc, channel)


async def ask_reversal(call: Call[ReversalRequest, Nothing]) -> Answer:
    """Take a payment back: a cashier's error, a payment that its bank called back.

    The channel's own payment, soon and up to the policy's limit, needs nobody else; anything more a second person
    approves. What the payment had paid of bills is owed again; what its customer has spent is billed, or stays with the
    channel, as the policy says. No entry is ever changed.
    """
    body = call.body
    channel = _channel(call, body.channel)
    await _hold(call, channel, body.payment_id)
    asked = Asked(call.caller.actor, body.request_id, body.why)
    now_s = call.desk.clock.now_s()
    return await _ask(call, asking.reverse, now_s, asked, channel, body.payment_id)


async def ask_transfer(call: Call[TransferRequest, Nothing]) -> Answer:
    """Move a payment that was made for a wrong meter.

    A second person approves it. The right meter is credited in the moment in which the wrong one has proved that the
    money is off: never both, never neither. A typed token that was not used is void first.
    """
    body = call.body
    channel = _channel(call, body.channel)
    await _hold(call, channel, body.payment_id)
    to_meter = wire.read_meter(body.to_meter, "to_meter")
    await call.hold_to_area(to_meter)
    asked = Asked(call.caller.actor, body.request_id, body.why)
    arguments = (call.desk.clock.now_s(), asked, channel, body.payment_id, to_meter)
    return await _ask(call, asking.transfer, *arguments)


async def list_refunds(call: Call[Nothing, RefundsQuery]) -> Answer:
    """Refunds, reversals and transfers of meters that the caller may see, newest first."""
    query = call.query
    number = None if query.meter is None else wire.read_meter(query.meter)

    def read(conn: Connection) -> list[Row[Any]]:
        held = call.caller.areas
        return listing.page(conn, held, before=query.before, limit=query.limit + 1, number=number, state=query.state)

    rows = await call.desk.read(read)
    shown = rows[: query.limit]
    more = shown[-1].id if len(rows) > query.limit else None
    return Answer(200, RefundPage([_brief(row) for row in shown], more))


async def get_refund(call: Call[Nothing, Nothing]) -> Answer:
    """One refund, reversal or transfer, with all that happened to it and the meter's report that proves its end."""
    return Answer(200, await call.desk.read(_state, _id(call)))


async def withdraw_refund(call: Call[RefundWithdrawRequest, Nothing]) -> Answer:
    """Withdraw one that is approved, and not stated to its meter yet. One that waits is withdrawn as a proposal."""
    refund_id, now_s = _id(call), call.desk.clock.now_s()
    arguments = (now_s, refund_id, call.caller.actor, call.body.note)
    return await call.desk.act(_withdraw, *arguments, lane=MONEY, answer=ok)


def _withdraw(conn: Connection, now_s: int, refund_id: int, actor: str, note: str) -> RefundState:
    deciding.withdraw(conn, now_s, refund_id, actor, note)
    return _state(conn, refund_id)


async def write_off_refund(call: Call[RefundEvidenceRequest, Nothing]) -> Answer:
    """Propose to give up one that was stated to a meter that will never answer.

    When a second person has approved it, the money is the customer's again, by the books; nothing is paid out.
    """
    now_s, evidence = call.desk.clock.now_s(), call.body.evidence
    arguments = (now_s, _id(call), call.caller.actor, evidence)
    return await call.desk.act(
        deciding.write_off, *arguments, lane=MONEY, answer=lambda made: Answer(202, WriteOffProposed(made))
    )


def _channel(call: Call[Any, Any], named: str | None) -> str:
    """The channel that is meant: a channel speaks for itself alone."""
    own = call.caller.channel
    if named is not None and named != own and not call.caller.is_person:
        raise Refused("channel", named, f"{own}, which asks, or none")
    return named or own


async def _hold(call: Call[Any, Any], channel: str, payment_id: str) -> None:
    """To the areas of the caller, by the meter that a payment was for."""
    paid = await call.desk.read(payments.get, channel, payment_id)
    if paid is None:
        raise UnknownPayment("payment_id", payment_id, f"the id of a payment of channel {channel}")
    try:
        await call.hold_to_area(paid.meter)
    except UnknownMeter:
        raise UnknownPayment("payment_id", payment_id, f"the id of a payment of channel {channel}") from None


async def _ask(call: Call[Any, Any], ask: Callable[..., asking.Answer], *what: Any) -> Answer:
    def asked(conn: Connection) -> tuple[asking.Answer, RefundState]:
        made = ask(conn, *what)
        return made, _state(conn, made.row.id)

    answer = await call.desk.act(asked, lane=MONEY, answer=_made)
    if answer.status == 201:
        call.desk.wake()
    return answer


def _made(outcome: tuple[asking.Answer, RefundState]) -> Answer:
    made, shown = outcome
    return Answer(200 if made.repeated else 201, shown, {"Location": f"/api/v1/refunds/{made.row.id}"})


def _id(call: Call[Any, Any]) -> int:
    return call.number("refund", life.UnknownRefund)


def _state(conn: Connection, refund_id: int) -> RefundState:
    row = life.get(conn, refund_id)
    brief = _brief(row)
    fields = {name: getattr(brief, name) for name in brief.__struct_fields__}
    return RefundState(
        **fields,
        proved_at=wire.moment_or_none(row.evidence_time_s),
        evidence=None if row.evidence is None else row.evidence.hex(),
        history=[
            RefundEvent(wire.moment(one.at_s), one.event, one.state, one.actor, one.note)
            for one in life.history(conn, refund_id)
        ],
    )


def _brief(row: Row[Any]) -> RefundBrief:
    done = row.kind == words.TRANSFER and row.state == life.TAKEN
    return RefundBrief(
        refund=row.id,
        kind=row.kind,
        meter=wire.meter_name(row.meter),
        amount=wire.amount(row.whole_uc),
        off_meter=wire.amount(row.amount_uc),
        state=row.state,
        meaning=life.STATES[row.state][0],
        channel=row.channel,
        payment_id=row.payment_id,
        to_meter=None if row.to_meter is None else wire.meter_name(row.to_meter),
        to_payment=transferring.payment_of(row) if done else None,
        order=row.order_id,
        proposal=row.proposal,
        asked_by=row.asked_by,
        request_id=row.request_id,
        why=row.why,
        asked=wire.moment(row.asked_s),
        changed=wire.moment(row.changed_s),
    )


_ANSWERS = {201: RefundState, 200: RefundState}
_ASK: dict[str, Any] = {"scope": REFUNDS, "answers": _ANSWERS, "query": Nothing}

OPERATIONS: tuple[Operation[Any, Any], ...] = (
    Operation(
        "POST",
        "/meters/{meter}/refunds",
        ask_refund,
        body=RefundRequest,
        problems=("request_conflict", "unknown_meter"),
        **_ASK,
    ),
    Operation(
        "POST",
        "/reversals",
        ask_reversal,
        body=ReversalRequest,
        problems=("request_conflict", "unknown_payment"),
        by_area=True,
        **_ASK,
    ),
    Operation(
        "POST",
        "/transfers",
        ask_transfer,
        body=TransferRequest,
        problems=("request_conflict", "unknown_payment", "unknown_meter"),
        by_area=True,
        **_ASK,
    ),
    Operation(
        "GET",
        "/refunds",
        list_refunds,
        scope=READ,
        answers={200: RefundPage},
        body=Nothing,
        query=RefundsQuery,
        by_area=True,
    ),
    Operation(
        "GET",
        "/refunds/{refund}",
        get_refund,
        scope=READ,
        answers={200: RefundState},
        body=Nothing,
        query=Nothing,
        problems=("unknown_refund",),
    ),
    Operation(
        "POST",
        "/refunds/{refund}/withdraw",
        withdraw_refund,
        scope=REFUNDS,
        answers={200: RefundState},
        body=RefundWithdrawRequest,
        query=Nothing,
        problems=("unknown_refund",),
    ),
    Operation(
        "POST",
        "/refunds/{refund}/write-off",
        write_off_refund,
        scope=REFUNDS,
        answers={202: WriteOffProposed},
        body=RefundEvidenceRequest,
        query=Nothing,
        problems=("unknown_refund",),
    ),
)
