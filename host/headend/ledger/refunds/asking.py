"""Asking for money to go back. A refund and a transfer take a second person; a reversal that its own channel asks for
soon, up to the policy's limit, does not.

Idempotent by who asks and the id that it gives: the same request again is the same refund, another one is refused.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select

from headend import audit
from headend.ledger import accounts, entries, payments
from headend.ledger.refunds import deciding, following, life, parts, policy, stating, words
from headend.refusals import Refused
from headend.store import lock_meter
from headend.store.schema import channel, closing, entry
from headend.store.schema_refunds import refund
from headend.tokens import book
from meterlink.bodies import MAX_UC

MAX_ID = 64

_KNOWN = select(refund).where(refund.c.asked_by == bindparam("asker"), refund.c.request_id == bindparam("named"))
_OF_PAYMENT = (
    select(refund)
    .where(refund.c.channel == bindparam("of_channel"), refund.c.payment_id == bindparam("named"))
    .order_by(refund.c.id.desc())
    .limit(1)
)
_GRANTED = select(entry.c.id).where(entry.c.kind == entries.GRANTED, entry.c.cause == bindparam("named"))
_CHANNEL = select(channel.c.channel).where(channel.c.channel == bindparam("named"))
_CLOSED = select(closing.c.moved_to).where(
    closing.c.meter == bindparam("of"), closing.c.account_epoch == bindparam("epoch")
)


class RequestConflict(Refused):
    """The id was used for another request."""


@dataclass(frozen=True)
class Asked:
    """Who asks, under which id, and why. `asked_by`: an actor · `request_id`: 1..64 printable ASCII characters · `why`:
    1..200 characters."""

    asked_by: str
    request_id: str
    why: str


@dataclass(frozen=True)
class Answer:
    """What became of a request; `repeated` tells that it had been made before."""

    row: Row[Any]
    repeated: bool


def refund_credit(conn: Connection, now_s: int, asked: Asked, number: int, amount_uc: int, channel_name: str) -> Answer:
    """Ask that credit of a meter goes back: `channel_name` pays it out, once the meter proves that it is off.

    amount_uc: 1..what the meter is known to have. Raises Refused.
    """
    digest = _digest(words.REFUND, number, amount_uc, channel_name)
    known = _known(conn, asked, digest)
    if known is not None:
        return known
    if conn.execute(_CHANNEL, {"named": channel_name}).one_or_none() is None:
        raise Refused("channel", channel_name, "a channel of this head end, which pays it out")
    if isinstance(amount_uc, bool) or not 1 <= amount_uc <= MAX_UC:
        raise Refused("amount_uc", amount_uc, f"1..{MAX_UC}")
    epoch = _account(conn, number)
    left_uc = stating.available_uc(stating.standing_of(conn, number))
    if amount_uc > left_uc:
        raise Refused("amount_uc", amount_uc, f"at most {left_uc}, what the meter is known to have")
    place = {"meter": number, "account_epoch": epoch, "amount_uc": amount_uc, "whole_uc": amount_uc}
    return _start(conn, now_s, asked, words.REFUND, digest, {**place, "channel": channel_name}, alone=False)


def reverse(conn: Connection, now_s: int, asked: Asked, channel_name: str, payment_id: str) -> Answer:
    """Ask that a payment is taken back: a cashier's error, a payment that its bank called back. Raises Refused."""
    digest = _digest(words.REVERSAL, channel_name, payment_id)
    known = _known(conn, asked, digest)
    if known is not None:
        return known
    paid, place = _payment(conn, channel_name, payment_id)
    rule = policy.standing(conn)
    own = asked.asked_by == accounts.of_channel(channel_name)
    alone = own and now_s - paid.taken_s <= rule.window_s and paid.amount_uc <= rule.alone_uc
    return _start(conn, now_s, asked, words.REVERSAL, digest, place, alone=alone)


def transfer(conn: Connection, now_s: int, asked: Asked, channel_name: str, payment_id: str, to_meter: int) -> Answer:
    """Ask that a payment which was made for a wrong meter goes to `to_meter`. Raises Refused."""
    digest = _digest(words.TRANSFER, channel_name, payment_id, to_meter)
    known = _known(conn, asked, digest)
    if known is not None:
        return known
    paid, place = _payment(conn, channel_name, payment_id)
    if to_meter == paid.meter:
        raise Refused("to_meter", to_meter, "another meter than the one that it was paid for")
    lock_of = sorted((paid.meter, to_meter))
    for number in lock_of:
        lock_meter(conn, number)
    _account(conn, to_meter)
    return _start(conn, now_s, asked, words.TRANSFER, digest, {**place, "to_meter": to_meter}, alone=False)


def _known(conn: Connection, asked: Asked, digest: bytes) -> Answer | None:
    for field, text, most in (("request_id", asked.request_id, MAX_ID), ("why", asked.why, life.MAX_NOTE)):
        if not (text.isprintable() and text == text.strip() and 1 <= len(text) <= most):
            raise Refused(field, text, f"1..{most} printable characters, no blank at either end")
    row = conn.execute(_KNOWN, {"asker": asked.asked_by, "named": asked.request_id}).one_or_none()
    if row is None:
        return None
    if row.request_digest != digest:
        raise RequestConflict("request_id", asked.request_id, "a new id: it was used for another request")
    return Answer(row, repeated=True)


def _payment(conn: Connection, channel_name: str, payment_id: str) -> tuple[Row[Any], dict[str, Any]]:
    """A payment that may go back, with the columns that follow from it; its meter is locked. Raises Refused."""
    paid = payments.get(conn, channel_name, payment_id)
    if paid is None:
        raise payments.UnknownPayment("payment_id", payment_id, f"the id of a payment of channel {channel_name}")
    if paid.purpose or conn.execute(_GRANTED, {"named": f"payment:{channel_name}:{payment_id}"}).first() is not None:
        raise Refused(
            "payment_id", payment_id, "a payment for credit: an advance, deposit or grant goes back elsewhere"
        )
    epoch = _account(conn, paid.meter)
    if paid.account_epoch != epoch:
        raise Refused("payment_id", payment_id, "a payment for the account in force: this one's was closed")
    before = conn.execute(_OF_PAYMENT, {"of_channel": channel_name, "named": payment_id}).one_or_none()
    if before is not None and before.state in life.GONE:
        raise Refused("payment_id", payment_id, f"a payment that stays: {before.kind} {before.id} is {before.state}")
    token = parts.token_of(conn, channel_name, payment_id)
    if token is not None and token.state in (book.VOID, book.VOIDING, book.REPLACING):
        raise Refused("payment_id", payment_id, f"a payment whose token is not being taken back: it is {token.state}")
    unused = token is not None and token.state in (book.RESERVED, book.VENDED)
    return paid, {
        "meter": paid.meter,
        "account_epoch": epoch,
        "amount_uc": paid.amount_uc - paid.allocated_uc,
        "whole_uc": paid.amount_uc,
        "channel": channel_name,
        "payment_id": payment_id,
        "token_id": token.id if token is not None and unused else None,
    }


def _account(conn: Connection, number: int) -> int:
    """The account in force of a meter in service, which is locked from then on. Raises Refused."""
    lock_meter(conn, number)
    epoch = stating.standing_of(conn, number).account_epoch
    moved_to = conn.execute(_CLOSED, {"of": number, "epoch": epoch}).scalar_one_or_none()
    if moved_to is not None:
        raise Refused("meter", number, f"a meter in service: its account was closed and went to {moved_to}")
    return int(epoch)


def _start(
    conn: Connection, now_s: int, asked: Asked, kind: str, digest: bytes, place: dict[str, Any], *, alone: bool
) -> Answer:
    values = {"kind": kind, "asked_by": asked.asked_by, "request_id": asked.request_id, "request_digest": digest}
    state = life.APPROVED if alone else life.PROPOSED
    row = life.start(conn, now_s, state, {**values, "why": asked.why, **place}, "by its channel, in time")
    detail = {"kind": kind, "meter": row.meter, "amount_uc": row.whole_uc, "why": asked.why[:100]}
    audit.record(conn, now_s, asked.asked_by, words.ASKED, f"refund:{row.id}", detail)
    if alone:
        following.go_on(conn, now_s, row.meter)
    else:
        deciding.propose(conn, now_s, row)
    return Answer(life.get(conn, row.id), repeated=False)


def _digest(*parts_of: object) -> bytes:
    return hashlib.sha256(f"refund 1 {parts_of!r}".encode()).digest()
