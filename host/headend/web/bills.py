"""Bills of customers who pay later, what is paid of them, and what kind of customer an account belongs to."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from sqlalchemy import Connection, Row

from headend.access.permissions import BOOKS, READ
from headend.ledger import accounts, allocation, balances, billing, bills, late_fee, terms, words, zone
from headend.store import MONEY
from headend.web import wire
from headend.web.money_policies import CustomerClass, Noted, Seconds, noted
from headend.web.operations import Answer, Call, Nothing, Operation, ok
from headend.web.wire import Amount, MeterNumber, Moment, PositiveAmount


class BillLine(msgspec.Struct, forbid_unknown_fields=True):
    """A line of a bill: what it is for, or a tax (`tax:` and its name)."""

    kind: Annotated[
        str,
        Meta(pattern=rf"^({'|'.join(words.LINES)}|tax:[a-z0-9-]{{1,10}})$", examples=["energy", "standing", "tax:vat"]),
    ]
    amount: PositiveAmount
    note: Annotated[str, Meta(max_length=60)] = ""


class BillRequest(msgspec.Struct, forbid_unknown_fields=True):
    """A bill to be issued."""

    reference: Annotated[str, Meta(min_length=1, max_length=bills.MAX_REFERENCE, description="The issuer's own id.")]
    lines: Annotated[list[BillLine], Meta(min_length=1, max_length=bills.MAX_LINES)]
    notice_s: Annotated[Seconds, Meta(description="When the customer was told.")]
    due_s: Annotated[Seconds, Meta(description="Until when it can be paid without a late fee.")]
    period: Annotated[str, Meta(max_length=40, examples=["2026-01"])] = ""
    kind: Literal["energy", "other"] = "energy"
    customer_class: Annotated[CustomerClass | None, Meta(description="Null: that of the account, as it stands.")] = None
    account_epoch: Annotated[
        Annotated[int, Meta(ge=1, le=0xFFFF)] | None, Meta(description="Null: the account in force.")
    ] = None


class BillEvent(msgspec.Struct):
    """What happened to a bill."""

    at: Moment
    event: str
    meaning: str
    actor: str
    note: str


class BillPayment(msgspec.Struct):
    """What was paid of a bill; what was taken back has a minus."""

    cause: str
    late_fee: Amount
    principal: Amount
    at: Moment


class Bill(msgspec.Struct):
    """A bill as it stands."""

    bill: int
    reference: str
    kind: str
    customer_class: str
    period: str
    meter: MeterNumber
    account_epoch: int
    notice: Moment
    due: Moment
    principal: Amount
    paid: Annotated[Amount, Meta(description="Of the principal.")]
    late_fee_paid: Amount
    late_fee_due: Annotated[Amount, Meta(description="If it is paid today.")]
    owner: Annotated[Literal["head_end", "meter"], Meta(description="Who collects it.")]
    state: Literal["open", "paid", "cancelled"]
    lines: list[BillLine]


class BillDetail(Bill):
    """A bill with what was paid of it and what happened to it."""

    payments: list[BillPayment]
    history: list[BillEvent]


class Bills(msgspec.Struct):
    """Bills of a meter, oldest due date first. The sums are of the open ones, paid today."""

    bills: list[Bill]
    owed: Amount
    late_fees: Amount


class BillsQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Of which account."""

    account_epoch: Annotated[int, Meta(ge=0, le=0xFFFF, description="0: the account in force.")] = 0


class CancelRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Why a bill is taken back."""

    note: Annotated[str, Meta(min_length=1, max_length=200)]


class ClassRequest(msgspec.Struct, forbid_unknown_fields=True):
    """What kind of customer an account belongs to."""

    customer_class: CustomerClass


class DepositUsed(msgspec.Struct):
    """What bills were paid from the guarantee, and what is left of it."""

    used: Amount
    left: Amount


async def post_bill(call: Call[BillRequest, Nothing]) -> Answer:
    """Issue a bill.

    Idempotent by `reference`. What the customer has paid in advance pays the oldest open bills at once.
    """
    body = call.body
    lines = [bills.Line(line.kind, wire.read_amount("amount", line.amount), line.note) for line in body.lines]
    options: dict[str, Any] = {
        "notice_s": body.notice_s,
        "due_s": body.due_s,
        "period": body.period,
        "kind": body.kind,
        "customer_class": body.customer_class,
        "account_epoch": body.account_epoch,
        "actor": call.caller.actor,
    }
    now_s = call.desk.clock.now_s()
    arguments = (now_s, call.meter, body.reference, lines, options)
    return await call.desk.act(_issue, *arguments, lane=MONEY, answer=lambda detail: Answer(201, detail))


def _issue(
    conn: Connection, now_s: int, meter: int, reference: str, lines: list[bills.Line], options: dict[str, Any]
) -> BillDetail:
    return _detail(conn, now_s, billing.issue(conn, now_s, meter, reference, lines, **options))


async def list_bills(call: Call[Nothing, BillsQuery]) -> Answer:
    """Bills of an account, oldest due date first."""
    return Answer(200, await call.desk.read(_list, call.desk.clock.now_s(), call.meter, call.query.account_epoch))


def _list(conn: Connection, now_s: int, meter: int, epoch: int) -> Bills:
    rows = bills.of_account(conn, meter, epoch)
    today = zone.day_of(zone.of(conn), now_s)
    shown = [Bill(**_fields(conn, row, today)) for row in rows]
    owed_uc = sum(row.principal_uc - row.paid_uc for row in rows if row.state == bills.OPEN)
    fees_uc = sum(_fee_uc(conn, row, today) for row in rows)
    return Bills(shown, wire.amount(owed_uc), wire.amount(fees_uc))


async def get_bill(call: Call[Nothing, Nothing]) -> Answer:
    """One bill with its payments and its history."""
    return Answer(200, await call.desk.read(_detail, call.desk.clock.now_s(), _number(call)))


async def cancel_bill(call: Call[CancelRequest, Nothing]) -> Answer:
    """Take back a bill on which nothing was paid. What was billed stays on record, with entries that mirror it."""
    arguments = (call.desk.clock.now_s(), _number(call), call.caller.actor, call.body.note)
    return await call.desk.act(_cancel, *arguments, lane=MONEY, answer=ok)


def _cancel(conn: Connection, now_s: int, bill_id: int, actor: str, note: str) -> BillDetail:
    bills.cancel(conn, now_s, bill_id, actor, note)
    return _detail(conn, now_s, bill_id)


def _number(call: Call[Any, Any]) -> int:
    return call.number("bill", bills.UnknownBill)


def _detail(conn: Connection, now_s: int, bill_id: int) -> BillDetail:
    row = bills.get(conn, bill_id)
    return BillDetail(
        **_fields(conn, row, zone.day_of(zone.of(conn), now_s)),
        payments=[
            BillPayment(one.cause, wire.amount(one.late_fee_uc), wire.amount(one.principal_uc), wire.moment(one.at_s))
            for one in allocation.of_bill(conn, bill_id)
        ],
        history=[
            BillEvent(wire.moment(one.at_s), one.event, words.BILL_EVENTS[one.event][0], one.actor, one.note)
            for one in bills.history(conn, bill_id)
        ],
    )


def _fields(conn: Connection, row: Row[Any], today: int) -> dict[str, Any]:
    return {
        "bill": row.id,
        "reference": row.reference,
        "kind": row.kind,
        "customer_class": row._mapping["class"],
        "period": row.period,
        "meter": wire.meter_name(row.meter),
        "account_epoch": row.account_epoch,
        "notice": wire.moment(row.notice_s),
        "due": wire.moment(row.due_s),
        "principal": wire.amount(row.principal_uc),
        "paid": wire.amount(row.paid_uc),
        "late_fee_paid": wire.amount(row.fee_paid_uc),
        "late_fee_due": wire.amount(_fee_uc(conn, row, today)),
        "owner": row.owner,
        "state": row.state,
        "lines": [BillLine(line.kind, wire.amount(line.amount_uc), line.note) for line in bills.lines_of(row)],
    }


def _fee_uc(conn: Connection, row: Row[Any], today: int) -> int:
    if row.state != bills.OPEN:
        return 0
    rates = late_fee.rates(conn, row._mapping["class"])
    return late_fee.due_uc(bills.fee_at(rates, row, today), row.fee_paid_uc)


async def use_deposit(call: Call[Nothing, Nothing]) -> Answer:
    """Pay the open bills of the account in force from its guarantee, oldest first."""
    arguments = (call.desk.clock.now_s(), call.meter, call.caller.actor)
    return await call.desk.act(_use_deposit, *arguments, lane=MONEY, answer=ok)


def _use_deposit(conn: Connection, now_s: int, meter: int, actor: str) -> DepositUsed:
    epoch = bills.epoch_of(conn, meter)
    used_uc = allocation.use_deposit(conn, now_s, meter, epoch, actor)
    return DepositUsed(wire.amount(used_uc), wire.amount(balances.balance_uc(conn, accounts.of_deposit(meter, epoch))))


async def put_class(call: Call[ClassRequest, Nothing]) -> Answer:
    """Say what kind of customer the account in force belongs to, for what is billed and sold from now on."""
    arguments = (call.desk.clock.now_s(), call.meter, call.body.customer_class, call.caller.actor)
    return await call.desk.act(_set_class, *arguments, lane=MONEY, answer=noted)


def _set_class(conn: Connection, now_s: int, meter: int, customer_class: str, actor: str) -> None:
    terms.set_class(conn, now_s, meter, bills.epoch_of(conn, meter), customer_class, actor)


OPERATIONS: tuple[Operation[Any, Any], ...] = (
    Operation(
        "POST",
        "/meters/{meter}/bills",
        post_bill,
        scope=BOOKS,
        answers={201: BillDetail},
        body=BillRequest,
        query=Nothing,
        problems=("unknown_meter", "bill_conflict"),
    ),
    Operation(
        "GET",
        "/meters/{meter}/bills",
        list_bills,
        scope=READ,
        answers={200: Bills},
        body=Nothing,
        query=BillsQuery,
        problems=("unknown_meter",),
    ),
    Operation(
        "GET",
        "/bills/{bill}",
        get_bill,
        scope=READ,
        answers={200: BillDetail},
        body=Nothing,
        query=Nothing,
        problems=("unknown_bill",),
    ),
    Operation(
        "POST",
        "/bills/{bill}/cancel",
        cancel_bill,
        scope=BOOKS,
        answers={200: BillDetail},
        body=CancelRequest,
        query=Nothing,
        problems=("unknown_bill",),
    ),
    Operation(
        "POST",
        "/meters/{meter}/deposit/use",
        use_deposit,
        scope=BOOKS,
        answers={200: DepositUsed},
        body=Nothing,
        query=Nothing,
        problems=("unknown_meter",),
    ),
    Operation(
        "PUT",
        "/meters/{meter}/class",
        put_class,
        scope=BOOKS,
        answers={200: Noted},
        body=ClassRequest,
        query=Nothing,
        problems=("unknown_meter",),
    ),
)
