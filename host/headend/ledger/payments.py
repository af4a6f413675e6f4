"""Taking payments: money, entry, unsigned credit statement and outbox row in one commit.

Idempotent by (channel, payment id): the same request again gets the same answer and changes nothing; the same id with
other content is a conflict. What a payment bought is on the meter when a report shows our source's total at or above
`total_uc`.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, bindparam, insert, select, update

from headend.ledger import accounts, entries
from headend.orders import statements
from headend.refusals import Refused
from headend.store import lock_meter
from headend.store.schema import channel, meter_state, payment
from meterlink.bodies import MAX_UC

MAX_ID = 64

# Built once: to put a statement together costs several times what it costs to run it.
_CHANNEL = select(channel.c.max_payment_uc).where(channel.c.channel == bindparam("named"))
_BY_ID = select(payment).where(payment.c.channel == bindparam("of"), payment.c.payment_id == bindparam("named"))
_TAKEN = insert(payment)
_SOLD = update(meter_state).where(meter_state.c.meter == bindparam("of")).values(sold_uc=bindparam("total"))
_SHOWN = (
    update(meter_state)
    .where(meter_state.c.meter == bindparam("of"), meter_state.c.on_meter_uc < bindparam("total"))
    .values(on_meter_uc=bindparam("total"))
)
_ARRIVED = (
    update(payment)
    .where(payment.c.meter == bindparam("of"), payment.c.total_uc <= bindparam("total"))
    .where(payment.c.on_meter_s.is_(None))
    .values(on_meter_s=bindparam("at_s"))
)


@dataclass(frozen=True)
class PaymentAnswer:
    """What a payment led to; `repeated` tells that it had been taken before."""

    channel: str
    payment_id: str
    meter: int
    amount_uc: int
    total_uc: int  # of our source after it
    order_id: int  # the credit statement that carries it; a later one may take its place
    taken_s: int
    repeated: bool


class PaymentConflict(Refused):
    """The id was used for another payment."""


class UnknownChannel(Refused):
    """No channel of that name."""


def take(conn: Connection, now_s: int, channel_name: str, payment_id: str, meter: int, amount_uc: int) -> PaymentAnswer:
    """Take a payment of `amount_uc` (1..the channel's limit) for a meter.

    `payment_id`: the channel's own, 1..64 printable ASCII characters without a blank at either end. Raises Refused
    (UnknownChannel, UnknownMeter, PaymentConflict); then nothing has changed.
    """
    limits = conn.execute(_CHANNEL, {"named": channel_name}).one_or_none()
    if limits is None:
        raise UnknownChannel("channel", channel_name, "a channel of this head end")
    _check(payment_id, meter, amount_uc)
    digest = hashlib.sha256(f"payment 1 {meter} {amount_uc}".encode()).digest()
    known = get(conn, channel_name, payment_id)
    if known is not None:
        if known.request_digest != digest:
            raise PaymentConflict("payment_id", payment_id, "a new id: it was used for another meter or amount")
        return PaymentAnswer(
            channel_name, payment_id, meter, amount_uc, known.total_uc, known.order_id, known.taken_s, repeated=True
        )
    if amount_uc > limits.max_payment_uc:
        raise Refused("amount_uc", amount_uc, f"1..{limits.max_payment_uc}, the channel's limit")
    state = lock_meter(conn, meter)
    total_uc = state.sold_uc + amount_uc
    if total_uc > MAX_UC:
        raise Refused("amount_uc", amount_uc, f"at most {MAX_UC - state.sold_uc}, what the meter can count")
    actor = accounts.of_channel(channel_name)
    entries.post(
        conn,
        now_s,
        entries.PAYMENT,
        debit=actor,
        credit=accounts.of_meter(meter),
        amount_uc=amount_uc,
        meter=meter,
        cause=f"payment:{channel_name}:{payment_id}",
    )
    order_id = statements.credit_statement(conn, now_s, state, total_uc, actor)
    row = {
        "channel": channel_name,
        "payment_id": payment_id,
        "meter": meter,
        "amount_uc": amount_uc,
        "request_digest": digest,
        "total_uc": total_uc,
        "order_id": order_id,
        "taken_s": now_s,
    }
    conn.execute(_TAKEN, row)
    conn.execute(_SOLD, {"of": meter, "total": total_uc})
    statements.release_arrears_if_stopped(conn, now_s, state, actor)
    return PaymentAnswer(channel_name, payment_id, meter, amount_uc, total_uc, order_id, now_s, repeated=False)


def get(conn: Connection, channel_name: str, payment_id: str) -> Row[Any] | None:
    """The `payment` row, or None."""
    return conn.execute(_BY_ID, {"of": channel_name, "named": payment_id}).one_or_none()


def of_meter(conn: Connection, meter: int, *, limit: int = 100) -> list[Row[Any]]:
    """The newest `limit` payments for a meter, newest first."""
    mine = select(payment).where(payment.c.meter == meter).order_by(payment.c.total_uc.desc())
    return list(conn.execute(mine.limit(limit)))


def shown(conn: Connection, meter: int, total_uc: int, meter_time_s: int) -> int:
    """An authenticated report showed our source's total: mark the payments that it covers, return how many are new.

    Call with the meter's row locked. A total below what was shown before changes nothing.
    """
    if not conn.execute(_SHOWN, {"of": meter, "total": total_uc}).rowcount:
        return 0
    return conn.execute(_ARRIVED, {"of": meter, "total": total_uc, "at_s": meter_time_s}).rowcount


def _check(payment_id: str, meter: int, amount_uc: int) -> None:
    whole = payment_id.isascii() and payment_id.isprintable() and payment_id == payment_id.strip(" ")
    if not (whole and 1 <= len(payment_id) <= MAX_ID):
        raise Refused("payment_id", payment_id, f"1..{MAX_ID} printable ASCII characters, no blank at either end")
    for field, value in (("meter", meter), ("amount_uc", amount_uc)):
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_UC:
            raise Refused(field, value, f"a whole number, 1..{MAX_UC}")
