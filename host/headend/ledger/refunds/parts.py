"""How a payment was split: what paid bills, and the typed token that carries it."""

from typing import Any

from sqlalchemy import Connection, Row, bindparam, select

from headend.ledger import allocation
from headend.store.schema import token
from meterlink.sts.token import CREDIT

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
