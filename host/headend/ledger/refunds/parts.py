"""How a payment was split: what went to the meter, what paid bills, and the typed token that carries it."""

from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, select

from headend.ledger import allocation, entries
from headend.store.schema import entry, token
from meterlink.sts.token import CREDIT

_TAKEN = select(func.coalesce(func.sum(entry.c.amount_uc), 0)).where(
    entry.c.cause == bindparam("named"), entry.c.kind != entries.PAYMENT
)
_TOKEN = (
    select(token)
    .where(token.c.channel == bindparam("of_channel"), token.c.payment_id == bindparam("named"))
    .where(token.c["class"] == CREDIT)
    .order_by(token.c.id.desc())
    .limit(1)
)


def paid_to_bills(conn: Connection, channel: str, payment_id: str) -> list[Row[Any]]:
    """The `allocation` rows of a payment that stand."""
    rows = allocation.of_payment(conn, channel, payment_id)
    undone = {row.reverses for row in rows if row.reverses is not None}
    return [row for row in rows if row.reverses is None and row.id not in undone]


def token_of(conn: Connection, channel: str, payment_id: str) -> Row[Any] | None:
    """The typed token that carries a payment to its meter."""
    return conn.execute(_TOKEN, {"of_channel": channel, "named": payment_id}).one_or_none()


def to_meter_uc(conn: Connection, paid: Row[Any]) -> int:
    """What of a payment is credit on its meter."""
    to_bills_uc = sum(row.late_fee_uc + row.principal_uc for row in paid_to_bills(conn, paid.channel, paid.payment_id))
    taken_uc = conn.execute(_TAKEN, {"named": f"payment:{paid.channel}:{paid.payment_id}"}).scalar_one()
    return int(paid.amount_uc - to_bills_uc - taken_uc)
