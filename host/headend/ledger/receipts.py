"""Receipts: what a payment was made of, numbered without a gap for each channel and local day.

A receipt is made once and says the same for ever: its lines are canonical JSON, its digest their SHA-256. Printing it
again counts copies and is in the audit. `text` renders it for print, message or page.
"""

import hashlib
import json
from typing import Any

from sqlalchemy import Connection, Row, bindparam, insert, select, update

from headend import audit
from headend.access import areas
from headend.language import say
from headend.ledger import allocation, payments, split, tax, terms, words, zone
from headend.refusals import Refused
from headend.store import identity
from headend.store.schema import channel, payment
from headend.store.schema import meter as meter_table
from headend.store.schema_money import bill, receipt, receipt_counter
from headend.store.schema_refunds import refund
from meterlink import topics

_OF_PAYMENT = select(receipt).where(receipt.c.channel == bindparam("of"), receipt.c.payment_id == bindparam("named"))
_BY_ID = select(receipt).where(receipt.c.id == bindparam("of_receipt"))
# Not against payments, which refer to the channel's row: after the meter and `channel_limit`, before nothing else.
_LOCK = select(channel.c.channel).where(channel.c.channel == bindparam("of")).with_for_update(key_share=True)
_NEXT = (
    update(receipt_counter)
    .where(receipt_counter.c.channel == bindparam("of"), receipt_counter.c.day == bindparam("today"))
    .values(last=receipt_counter.c.last + 1)
    .returning(receipt_counter.c.last)
)
_MADE = insert(receipt).returning(*receipt.c)
_COPIED = (
    update(receipt)
    .where(receipt.c.id == bindparam("of_receipt"))
    .values(copies=receipt.c.copies + 1)
    .returning(*receipt.c)
)
_BILL = select(bill.c.reference, bill.c.period).where(bill.c.id == bindparam("of_bill"))
# Money that went back: the row of a reversal or transfer whose money is off the meter.
_TAKEN_BACK = (
    select(refund.c.changed_s)
    .where(refund.c.channel == bindparam("of"), refund.c.payment_id == bindparam("named"))
    .where(refund.c.state.in_(("taken", "owed")))
    .limit(1)
)
areas.OF["receipt"] = (
    select(meter_table.c.area)
    .join(payment, payment.c.meter == meter_table.c.meter)
    .join(receipt, (receipt.c.channel == payment.c.channel) & (receipt.c.payment_id == payment.c.payment_id))
    .where(receipt.c.id == bindparam("id"))
)


class UnknownReceipt(Refused):
    """There is no such receipt."""

    def __init__(self, receipt_id: object) -> None:
        super().__init__("receipt", receipt_id, "the id of a receipt")


def issue(conn: Connection, now_s: int, channel_name: str, payment_id: str) -> Row[Any]:
    """The receipt of a payment, made now if there is none yet. Raises Refused for a payment that is not there.

    Where payments run in parallel, receipts of one channel are made one after the other.
    """
    conn.execute(_LOCK, {"of": channel_name})
    known = of_payment(conn, channel_name, payment_id)
    if known is not None:
        return known
    paid = payments.get(conn, channel_name, payment_id)
    if paid is None:
        raise payments.UnknownPayment("payment_id", payment_id, f"the id of a payment of channel {channel_name}")
    today = zone.day_of(zone.of(conn), now_s)
    number = conn.execute(_NEXT, {"of": channel_name, "today": today}).scalar_one_or_none()
    if number is None:
        number = 1
        conn.execute(insert(receipt_counter).values(channel=channel_name, day=today, last=1))
    content = json.dumps(_content(conn, paid), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    key = {"channel": channel_name, "day": today, "number": number, "payment_id": payment_id}
    digest = hashlib.sha256(content.encode()).digest()
    return conn.execute(_MADE, {**key, "content": content, "digest": digest, "made_s": now_s}).one()


def _content(conn: Connection, paid: Row[Any]) -> dict[str, Any]:
    """What a receipt says: its lines add up to the payment."""
    lines: list[dict[str, Any]] = []
    for row in allocation.of_payment(conn, paid.channel, paid.payment_id):
        if row.reverses is not None:
            continue
        about = conn.execute(_BILL, {"of_bill": row.bill_id}).one()._asdict()
        parts = (("late_fee", row.late_fee_uc), ("bill", row.principal_uc))
        lines += [{"kind": kind, "amount_uc": amount_uc, **about} for kind, amount_uc in parts if amount_uc]
    lines += [
        {"kind": "tax", "name": one.name, "ppm": one.ppm, "amount_uc": one.tax_uc}
        for one in tax.of_payment(conn, paid.channel, paid.payment_id)
    ]
    left_uc = paid.amount_uc - sum(line["amount_uc"] for line in lines)
    included: list[dict[str, Any]] = []
    if left_uc:
        kind = paid.purpose or ("credit" if paid.allocated_uc < paid.amount_uc else "advance")
        lines.append({"kind": kind, "amount_uc": left_uc})
    if left_uc and paid.purpose == split.CREDIT:
        customer_class = terms.class_of(conn, paid.meter, paid.account_epoch)
        rates = tax.rates(conn, paid.taken_s, paid.meter, customer_class)
        parts_of = tax.split(left_uc, [rate for rate in rates if rate.mode == tax.INCLUDED])[1]
        included = [{"name": one.name, "ppm": one.ppm, "amount_uc": one.tax_uc} for one in parts_of]
    return {
        "channel": paid.channel,
        "payment_id": paid.payment_id,
        "meter": topics.meter_name(paid.meter),
        "account_epoch": paid.account_epoch,
        "amount_uc": paid.amount_uc,
        "currency": identity.get(conn).currency,
        "taken_s": paid.taken_s,
        "lines": lines,
        "included": included,
    }


def of_payment(conn: Connection, channel_name: str, payment_id: str) -> Row[Any] | None:
    """The receipt of a payment, if it was made."""
    return conn.execute(_OF_PAYMENT, {"of": channel_name, "named": payment_id}).one_or_none()


def get(conn: Connection, receipt_id: int) -> Row[Any]:
    """A receipt; raises UnknownReceipt."""
    row = conn.execute(_BY_ID, {"of_receipt": receipt_id}).one_or_none()
    if row is None:
        raise UnknownReceipt(receipt_id)
    return row


def reprint(conn: Connection, now_s: int, receipt_id: int, actor: str) -> Row[Any]:
    """Count a further copy: the row says which one this is. Raises UnknownReceipt."""
    row = conn.execute(_COPIED, {"of_receipt": receipt_id}).one_or_none()
    if row is None:
        raise UnknownReceipt(receipt_id)
    audit.record(conn, now_s, actor, "receipt.reprinted", f"receipt:{receipt_id}", {"copy": row.copies})
    return row


def set_invoice(conn: Connection, now_s: int, receipt_id: int, invoice: str, actor: str) -> Row[Any]:
    """Note the number of the tax invoice (发票) that was made out for a receipt; once. Raises Refused."""
    row = get(conn, receipt_id)
    if not (invoice.isascii() and invoice.isprintable() and 1 <= len(invoice) <= 40):
        raise Refused("invoice", invoice, "1..40 printable ASCII characters")
    if row.invoice not in (None, invoice):
        raise Refused("invoice", invoice, f"{row.invoice}, which this receipt has")
    if row.invoice is None:
        conn.execute(update(receipt).where(receipt.c.id == receipt_id).values(invoice=invoice))
        audit.record(conn, now_s, actor, "receipt.invoiced", f"receipt:{receipt_id}", {"invoice": invoice})
    return get(conn, receipt_id)


def name_of(row: Row[Any]) -> str:
    """How people name a receipt: channel, day, number."""
    return f"{row.channel}/{zone.date_of(row.day):%Y%m%d}/{row.number:06d}"


def lines_of(row: Row[Any]) -> dict[str, Any]:
    """What a receipt says, as `_content` made it."""
    return dict(json.loads(row.content))


def taken_back_s(conn: Connection, row: Row[Any]) -> int | None:
    """When the payment of a receipt was taken back; None while it stands."""
    return conn.execute(_TAKEN_BACK, {"of": row.channel, "named": row.payment_id}).scalar_one_or_none()


def text(row: Row[Any], language: str, unit: str = "", *, taken_back: bool = False) -> str:
    """A receipt in words, one line a row; `unit` goes behind amounts. English or Chinese."""
    said = lines_of(row)
    rows = [say(words.RECEIPT["title"], language, name=name_of(row))]
    if taken_back:
        rows.append(say(words.RECEIPT["reversed"], language))
    if row.copies:
        rows.append(say(words.RECEIPT["copy"], language, number=row.copies))
    rows.append(say(words.RECEIPT["meter"], language, meter=said["meter"]))
    for line in said["lines"]:
        about = {"period": "", "name": "", "reference": "", **line}
        percent = _percent(line.get("ppm", 0))
        rows.append(
            say(words.RECEIPT_LINES[line["kind"]], language, **{**about, "percent": percent})
            + f": {_money(line['amount_uc'])}{unit}"
        )
    for line in said["included"]:
        fields = {"name": line["name"], "percent": _percent(line["ppm"]), "amount": _money(line["amount_uc"]) + unit}
        rows.append(say(words.RECEIPT["included"], language, **fields))
    rows.append(say(words.RECEIPT["total"], language, amount=_money(said["amount_uc"]) + unit))
    if row.invoice:
        rows.append(say(words.RECEIPT["invoice"], language, invoice=row.invoice))
    rows.append(say(words.RECEIPT["digest"], language, digest=row.digest.hex()[:16]))
    return "\n".join(rows)


def _money(amount_uc: int) -> str:
    whole, rest = divmod(amount_uc, 1_000_000)
    return f"{whole}.{f'{rest:06d}'.rstrip('0').ljust(2, '0')}"


def _percent(ppm: int) -> str:
    return f"{ppm // 10_000}.{ppm % 10_000:04d}".rstrip("0").rstrip(".")
