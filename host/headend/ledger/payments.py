"""Taking payments: money, entry, unsigned credit statement and outbox row in one commit.

Idempotent by (channel, payment id): the same request again gets the same answer and changes nothing; the same id with
other content is a conflict. What a payment bought is on the meter when a report shows the total of its `source` at or
above `total_uc`.

A payment pays what the customer owes first, as far as the head end collects it (`allocation`); the rest is the meter's.

A payment that leaves nothing for the meter has no statement of its own; nor have four others: one that is found to be a
sale which the meter has already (`recovered`), one that waits until a restored database has read its meter
(`withheld_uc`), one for an account that is closed, which goes to its former customer, and one that the customer carries
to the meter as a typed token (`tokens.vending`), which pays no bill.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, bindparam, exists, insert, select, update

from headend.ledger import accounts, allocation, bills, entries, floats, recovered, split, tax
from headend.ledger.words import PURPOSES
from headend.orders import credit, statements, writing
from headend.refusals import Refused
from headend.store import identity
from headend.store.locks import locked, to_lock
from headend.store.next_report import ask_by
from headend.store.prepared import prepared, together
from headend.store.schema import channel, closing, database, meter, meter_state, meter_trust, payment
from headend.store.schema import recovered as recovered_sale
from headend.store.schema_money import bill, channel_limit, tax_rate
from meterlink.bodies import MAX_UC

MAX_ID = 64

# Built once: to put a statement together costs several times what it costs to run it.
# The channel, and the payment where this id has come before.
_REQUEST = prepared(
    select(
        channel.c.max_payment_uc,
        payment.c.request_digest,
        payment.c.total_uc,
        payment.c.order_id,
        payment.c.taken_s,
        payment.c.allocated_uc,
        channel_limit.c.kind,
    )
    .outerjoin(channel_limit, channel_limit.c.channel == channel.c.channel)
    .outerjoin(payment, (payment.c.channel == channel.c.channel) & (payment.c.payment_id == bindparam("named")))
    .where(channel.c.channel == bindparam("of"))
)
_BY_ID = prepared(
    select(payment).where(payment.c.channel == bindparam("of"), payment.c.payment_id == bindparam("named"))
)
_TAKEN = prepared(insert(payment))
_SOLD = prepared(update(meter_state).where(meter_state.c.meter == bindparam("of")).values(sold_uc=bindparam("total")))
_SHOWN = prepared(
    update(meter_state)
    .where(meter_state.c.meter == bindparam("of"), meter_state.c.on_meter_uc < bindparam("total"))
    .values(on_meter_uc=bindparam("total"))
)
_ARRIVED = prepared(
    update(payment)
    .where(payment.c.meter == bindparam("of"), payment.c.total_uc <= bindparam("total"))
    .where(payment.c.source == bindparam("from_source"), payment.c.on_meter_s.is_(None))
    .where(
        payment.c.account_epoch
        == select(meter.c.account_epoch).where(meter.c.meter == bindparam("of")).scalar_subquery()
    )
    .values(on_meter_s=bindparam("at_s"))
)
_STANDING = prepared(
    select(
        meter.c.account_epoch,
        meter_trust.c.readback_source,
        meter_trust.c.withheld_uc,
        closing.c.moved_to,
        database.c.source,
        database.c.signing_epoch,
        statements.HAS_ARREARS.label("has_arrears"),
        exists()
        .where(recovered_sale.c.meter == meter.c.meter, recovered_sale.c.channel.is_(None))
        .label("has_recovered"),
        exists()
        .where(bill.c.meter == meter.c.meter, bill.c.state == bills.OPEN, bill.c.owner == bills.HEAD_END)
        .label("has_bills"),
        exists().where(tax_rate.c.mode == tax.ADDED).label("has_taxes"),
    )
    .join(meter_trust, meter_trust.c.meter == meter.c.meter)
    .join(database, database.c.one == 1)
    .outerjoin(closing, (closing.c.meter == meter.c.meter) & (closing.c.account_epoch == meter.c.account_epoch))
    .where(meter.c.meter == bindparam("of"))
)
_CLOSED = prepared(
    select(closing.c.moved_to).where(closing.c.meter == bindparam("of"), closing.c.account_epoch == bindparam("closed"))
)
_WITHHELD = prepared(
    update(meter_trust).where(meter_trust.c.meter == bindparam("of")).values(withheld_uc=bindparam("total"))
)


@dataclass(frozen=True)
class PaymentAnswer:
    """What a payment led to; `repeated` tells that it had been taken before."""

    channel: str
    payment_id: str
    meter: int
    amount_uc: int
    total_uc: int  # of its source after it; 0 where no source states it
    order_id: int | None  # the credit statement that carries it; a later one may take its place
    taken_s: int
    repeated: bool
    allocated_uc: int = 0  # of `amount_uc`: what is for bills, taxes, or kept; the rest is the meter's


class PaymentConflict(Refused):
    """The id was used for another payment."""


class QuoteChanged(Refused):
    """What was quoted does not hold any more: ask for another quote."""


class UnknownPayment(Refused):
    """The channel has not brought such a payment."""


class UnknownChannel(Refused):
    """No channel of that name."""


def take(
    conn: Connection,
    now_s: int,
    channel_name: str,
    payment_id: str,
    meter: int,
    amount_uc: int,
    *,
    account_epoch: int | None = None,
    again: bool = False,
    by_token: bool = False,
    purpose: str = split.CREDIT,
    quote: bytes | None = None,
) -> PaymentAnswer:
    """Take a payment of `amount_uc` (1..the channel's limit) for a meter.

    `payment_id`: the channel's own, 1..64 printable ASCII characters without a blank at either end · `account_epoch`:
    the account that the payer means, where that need not be the one in force · `again`: the channel may have posted it
    before, to a database that was lost since · `by_token`: the caller has it delivered
    as a typed token · `purpose`: one of `words.PURPOSES` · `quote`: the digest of the split that the payer was told.
    Raises Refused (UnknownChannel, UnknownMeter, PaymentConflict, QuoteChanged, OverLimit); then nothing has changed.
    """
    _check(payment_id, meter, amount_uc)
    request = _REQUEST(conn, {"of": channel_name, "named": payment_id}).one_or_none()
    if request is None:
        raise UnknownChannel("channel", channel_name, "a channel of this head end")
    of_account = "" if account_epoch is None else f" of {account_epoch}"
    wanted = f"payment 1 {meter} {amount_uc}{of_account}{' by token' * by_token}"
    wanted += (f" for {purpose}" if purpose else "") + (f" as {quote.hex()}" if quote else "")
    digest = hashlib.sha256(wanted.encode()).digest()
    if request.request_digest is not None:
        if request.request_digest != digest:
            raise PaymentConflict(
                "payment_id", payment_id, "a new id: it was used for another meter, amount or delivery"
            )
        return PaymentAnswer(
            channel_name,
            payment_id,
            meter,
            amount_uc,
            request.total_uc,
            request.order_id,
            request.taken_s,
            repeated=True,
            allocated_uc=request.allocated_uc,
        )
    if amount_uc > request.max_payment_uc:
        raise Refused("amount_uc", amount_uc, f"1..{request.max_payment_uc}, the channel's limit")
    held, stands = together(conn, to_lock(meter), (_STANDING, {"of": meter}))
    state = locked(held, meter)
    standing: Any = stands.one()
    if account_epoch is None and standing.moved_to is not None:
        raise Refused("meter", meter, f"a meter in service: its account was closed and went to {standing.moved_to}")
    epoch = standing.account_epoch if account_epoch is None else account_epoch
    former = _former(conn, meter, epoch, standing)
    grants = request.kind == floats.SUBSIDY
    account = _account(conn, meter, epoch, former, purpose, plain=by_token or grants)
    actor = accounts.of_channel(channel_name)
    row: dict[str, Any] = {
        "channel": channel_name,
        "payment_id": payment_id,
        "meter": meter,
        "amount_uc": amount_uc,
        "request_digest": digest,
        "account_epoch": epoch,
        "source": 0,
        "again": int(again),
        "total_uc": 0,
        "order_id": None,
        "taken_s": now_s,
        "on_meter_s": None,
        "allocated_uc": 0,
        "purpose": purpose,
    }
    parts = None
    plain = by_token or grants
    if quote is not None or purpose or (not plain and (standing.has_bills or standing.has_taxes)):
        known = {"has_bills": standing.has_bills and not plain, "has_taxes": not plain and former is None}
        parts = split.split(conn, now_s, meter, epoch, amount_uc, purpose=purpose, **known)
        row["allocated_uc"] = amount_uc - parts.credit_uc if former is None else parts.for_bills_uc
        if quote is not None and quote != parts.digest():
            raise QuoteChanged("quote", quote.hex(), "a quote of this amount that still holds")
    cause = f"payment:{channel_name}:{payment_id}"
    entries.post(
        conn,
        now_s,
        entries.GRANTED if grants else entries.PAYMENT,
        debit=accounts.of_subsidy(channel_name) if grants else actor,
        credit=account,
        amount_uc=amount_uc,
        meter=meter,
        cause=cause,
    )
    if former is None:
        if not by_token and row["allocated_uc"] < amount_uc:
            row.update(_give(conn, now_s, state, standing, row, actor))
        pays = not grants and purpose != split.DEPOSIT
        if standing.has_arrears and pays and (parts is None or parts.found.releases):
            statements.release_arrears_if_stopped(conn, now_s, state, actor)
    _TAKEN.later(conn, row)
    if parts is not None:
        allocation.book(conn, now_s, parts.found, account, cause, (channel_name, payment_id))
        tax.take(conn, now_s, parts.taxes, account, channel_name, payment_id, meter)
    if request.kind is not None:
        floats.spend(conn, now_s, channel_name, meter, amount_uc)
    return PaymentAnswer(
        channel_name,
        payment_id,
        meter,
        amount_uc,
        row["total_uc"],
        row["order_id"],
        now_s,
        repeated=False,
        allocated_uc=row["allocated_uc"],
    )


def _account(conn: Connection, meter: int, epoch: int, former: str | None, purpose: str, *, plain: bool) -> str:
    """The account that a payment is credited to; or Refused."""
    if purpose not in PURPOSES or (purpose and (plain or former is not None)):
        raise Refused("purpose", purpose, f"{', '.join(map(repr, PURPOSES))}; '' for tokens, grants, closed accounts")
    if not purpose:
        return former or accounts.of_meter(meter, epoch)
    kept = accounts.of_advance(meter, epoch) if purpose == split.ADVANCE else accounts.of_deposit(meter, epoch)
    accounts.open_account(conn, kept)
    return kept


def _former(conn: Connection, meter: int, epoch: int, standing: Any) -> str | None:
    """The account of the former customer where `epoch` is closed, None where it is the one in force; or Refused."""
    if epoch == standing.account_epoch and standing.moved_to is None:
        return None
    moved_to = _CLOSED(conn, {"of": meter, "closed": epoch}).scalar_one_or_none()
    if moved_to is None:
        raise Refused("account_epoch", epoch, f"{standing.account_epoch}, the account in force, or one that is closed")
    place = accounts.place_of(moved_to)
    if place is not None:
        raise Refused("meter", meter, f"meter {place[0]}, account epoch {place[1]}: this account went there")
    return str(moved_to)


def _give(
    conn: Connection, now_s: int, state: Row[Any], standing: Any, paid: dict[str, Any], actor: str
) -> dict[str, Any]:
    """What becomes of a payment for the account in force: the columns of `payment` that tell."""
    meter, amount_uc, epoch = state.meter, paid["amount_uc"] - paid["allocated_uc"], standing.account_epoch
    # While the meter is read back, a later source may still list this very sale: sums are not touched before.
    again = bool(paid["again"]) and standing.readback_source is None
    known_uc, sale = 0, None
    if standing.has_recovered:
        known_uc, sale = recovered.consume(
            conn, now_s, meter, epoch, amount_uc, paid["channel"], paid["payment_id"], again=again
        )
    if sale is not None:
        return {"source": sale.source, "total_uc": sale.total_uc, "on_meter_s": sale.found_s}
    source = standing.source
    if standing.readback_source is not None:
        total_uc = _sum_of(standing.withheld_uc, state.sold_uc, amount_uc - known_uc)
        _WITHHELD(conn, {"of": meter, "total": total_uc})
        ask_by(conn, meter, now_s)
        return {"source": source, "total_uc": total_uc}
    total_uc = _sum_of(state.sold_uc, 0, amount_uc - known_uc)
    place = writing.Place(epoch, standing.signing_epoch, source)
    order_id = credit.credit_statement(conn, now_s, state, total_uc, actor, place=place)
    _SOLD.later(conn, {"of": meter, "total": total_uc})
    return {"source": source, "total_uc": total_uc, "order_id": order_id}


def _sum_of(before_uc: int, besides_uc: int, amount_uc: int) -> int:
    room_uc = MAX_UC - before_uc - besides_uc
    if amount_uc > room_uc:
        raise Refused("amount_uc", amount_uc, f"at most {room_uc}, what the meter can count")
    return before_uc + amount_uc


def get(conn: Connection, channel_name: str, payment_id: str) -> Row[Any] | None:
    """The `payment` row, or None."""
    row: Row[Any] | None = _BY_ID(conn, {"of": channel_name, "named": payment_id}).one_or_none()
    return row


def of_meter(conn: Connection, meter: int, *, limit: int = 100) -> list[Row[Any]]:
    """The newest `limit` payments for a meter, newest first."""
    mine = select(payment).where(payment.c.meter == meter).order_by(payment.c.taken_s.desc(), payment.c.total_uc.desc())
    return list(conn.execute(mine.limit(limit)))


def shown(conn: Connection, meter: int, total_uc: int, meter_time_s: int) -> int:
    """An authenticated report showed the total of the meter's source (`identity.source_of`) in the account in force:
    mark the payments that it covers, return how many are new.

    Call with the meter's row locked. A total below what was shown before changes nothing.
    """
    if not _SHOWN(conn, {"of": meter, "total": total_uc}).rowcount:
        return 0
    source = identity.source_of(conn, meter)
    return arrived(conn, meter, source, total_uc, meter_time_s)


def arrived(conn: Connection, meter: int, source: int, total_uc: int, meter_time_s: int) -> int:
    """Mark the payments of a source that its total covers, return how many are new."""
    shown_now = {"of": meter, "from_source": source, "total": total_uc, "at_s": meter_time_s}
    return _ARRIVED(conn, shown_now).rowcount


def _check(payment_id: str, meter: int, amount_uc: int) -> None:
    whole = payment_id.isascii() and payment_id.isprintable() and payment_id == payment_id.strip(" ")
    if not (whole and 1 <= len(payment_id) <= MAX_ID):
        raise Refused("payment_id", payment_id, f"1..{MAX_ID} printable ASCII characters, no blank at either end")
    for field, value in (("meter", meter), ("amount_uc", amount_uc)):
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_UC:
            raise Refused(field, value, f"a whole number, 1..{MAX_UC}")
