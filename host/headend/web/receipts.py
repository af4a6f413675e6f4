"""Receipts of payments: made once, printed again with a count, never changed."""

from functools import partial
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from sqlalchemy import Connection, Row

from headend.access.caller import Caller
from headend.access.permissions import BOOKS, PAYMENTS
from headend.ledger import receipts
from headend.store import MONEY
from headend.web import wire
from headend.web.operations import Answer, Call, Nothing, Operation
from headend.web.payments import PaymentId
from headend.web.wire import Amount, Moment


class ReceiptRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Of which of the channel's own payments."""

    payment_id: PaymentId


class ReceiptQuery(msgspec.Struct, forbid_unknown_fields=True):
    """In which language its text is."""

    language: Literal["en", "zh"] = "en"


class InvoiceRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The number of the tax invoice."""

    invoice: Annotated[str, Meta(min_length=1, max_length=40)]


class ReceiptLine(msgspec.Struct, omit_defaults=True, kw_only=True):
    """A line: `bill`, `late_fee` name a bill, `tax` a tax; `credit` is for the meter, `advance` and `deposit` wait."""

    kind: Literal["bill", "late_fee", "tax", "credit", "advance", "deposit"]
    amount: Amount
    reference: str = ""
    period: str = ""
    name: str = ""
    ppm: int = 0


class Receipt(msgspec.Struct):
    """A receipt. Its lines add up to the payment; `included` are taxes within the credit."""

    receipt: int
    name: Annotated[str, Meta(examples=["pos-1/20260131/000017"])]
    channel: str
    payment_id: PaymentId
    meter: str
    amount: Amount
    lines: list[ReceiptLine]
    included: list[ReceiptLine]
    taken: Moment
    made: Moment
    copies: Annotated[int, Meta(description="How often it was printed again; this answer is that copy.")]
    invoice: str | None
    taken_back: Annotated[Moment | None, Meta(description="When the payment was taken back.")]
    digest: Annotated[str, Meta(description="SHA-256 of what it says, as stored.")]
    text: str


Found = tuple[Row[Any], int | None]  # a receipt, and when its payment was taken back


async def post_receipt(call: Call[ReceiptRequest, ReceiptQuery]) -> Answer:
    """The receipt of a payment, numbered and made if there is none yet; the same one every time."""
    arguments = (call.desk.clock.now_s(), call.caller.channel, call.body.payment_id)
    return await call.desk.act(_issue, *arguments, lane=MONEY, answer=partial(_answer, 201, call.query.language))


def _issue(conn: Connection, now_s: int, channel: str, payment_id: str) -> Found:
    row = receipts.issue(conn, now_s, channel, payment_id)
    return row, receipts.taken_back_s(conn, row)


async def get_receipt(call: Call[Nothing, ReceiptQuery]) -> Answer:
    """A receipt of the channel's own; who keeps the books sees all."""
    return _answer(200, call.query.language, await call.desk.read(_get, _number(call), call.caller))


def _get(conn: Connection, receipt_id: int, caller: Caller) -> Found:
    row = receipts.get(conn, receipt_id)
    if row.channel != caller.channel and not caller.may(BOOKS):
        raise receipts.UnknownReceipt(receipt_id)
    return row, receipts.taken_back_s(conn, row)


async def reprint_receipt(call: Call[Nothing, ReceiptQuery]) -> Answer:
    """Print a receipt again: the answer is marked as that copy, and the audit tells who printed it."""
    arguments = (call.desk.clock.now_s(), _number(call), call.caller)
    return await call.desk.act(_reprint, *arguments, lane=MONEY, answer=partial(_answer, 200, call.query.language))


def _reprint(conn: Connection, now_s: int, receipt_id: int, caller: Caller) -> Found:
    _get(conn, receipt_id, caller)
    row = receipts.reprint(conn, now_s, receipt_id, caller.actor)
    return row, receipts.taken_back_s(conn, row)


async def put_invoice(call: Call[InvoiceRequest, Nothing]) -> Answer:
    """Note the number of the tax invoice that was made out for a receipt; once."""
    arguments = (call.desk.clock.now_s(), _number(call), call.body.invoice, call.caller.actor)
    return await call.desk.act(_set_invoice, *arguments, lane=MONEY, answer=partial(_answer, 200, "en"))


def _set_invoice(conn: Connection, *arguments: Any) -> Found:
    row = receipts.set_invoice(conn, *arguments)
    return row, receipts.taken_back_s(conn, row)


def _answer(status: int, language: Literal["en", "zh"], found: Found) -> Answer:
    row, taken_back_s = found
    return Answer(status, shown(row, language, taken_back_s))


def _number(call: Call[Any, Any]) -> int:
    return call.number("receipt", receipts.UnknownReceipt)


def shown(row: Row[Any], language: str, taken_back_s: int | None) -> Receipt:
    """A receipt as the API shows it."""
    said = receipts.lines_of(row)
    return Receipt(
        receipt=row.id,
        name=receipts.name_of(row),
        channel=row.channel,
        payment_id=row.payment_id,
        meter=said["meter"],
        amount=wire.amount(said["amount_uc"]),
        lines=[_line(line) for line in said["lines"]],
        included=[_line({"kind": "tax", **line}) for line in said["included"]],
        taken=wire.moment(said["taken_s"]),
        made=wire.moment(row.made_s),
        copies=row.copies,
        invoice=row.invoice,
        taken_back=wire.moment_or_none(taken_back_s),
        digest=row.digest.hex(),
        text=receipts.text(row, language, taken_back=taken_back_s is not None),
    )


def _line(line: dict[str, Any]) -> ReceiptLine:
    about = {key: value for key, value in line.items() if key != "amount_uc"}
    return ReceiptLine(amount=wire.amount(line["amount_uc"]), **about)


OPERATIONS: tuple[Operation[Any, Any], ...] = (
    Operation(
        "POST",
        "/receipts",
        post_receipt,
        scope=PAYMENTS,
        answers={201: Receipt},
        body=ReceiptRequest,
        query=ReceiptQuery,
        by_area=True,
        problems=("unknown_payment",),
    ),
    Operation(
        "GET",
        "/receipts/{receipt}",
        get_receipt,
        scope=PAYMENTS,
        answers={200: Receipt},
        body=Nothing,
        query=ReceiptQuery,
        problems=("unknown_receipt",),
    ),
    Operation(
        "POST",
        "/receipts/{receipt}/reprint",
        reprint_receipt,
        scope=PAYMENTS,
        answers={200: Receipt},
        body=Nothing,
        query=ReceiptQuery,
        problems=("unknown_receipt",),
    ),
    Operation(
        "PUT",
        "/receipts/{receipt}/invoice",
        put_invoice,
        scope=BOOKS,
        answers={200: Receipt},
        body=InvoiceRequest,
        query=Nothing,
        problems=("unknown_receipt",),
    ),
)
