"""Selling a typed token: the payment, its ledger entry and the token's TID are one commit; the digits come after it.

Idempotent as payments are, by (channel, payment id): the same request again finds the same token, and so the same
digits. Books in kWh alone: a token of another unit has no public known answers.
"""

from typing import Any

from sqlalchemy import Connection, Row, bindparam, select

from headend.ledger import accounts, payments
from headend.refusals import Refused
from headend.store import identity
from headend.store.schema import meter
from headend.tokens import amounts, book
from meterlink import bodies
from meterlink.provision import CURRENCY_ENERGY
from meterlink.sts.token import CREDIT

ELECTRICITY = 0  # subclass

_LIMITS = select(meter.c.limits).where(meter.c.meter == bindparam("of"))


def vend(
    conn: Connection,
    now_s: int,
    channel: str,
    payment_id: str,
    meter_id: int,
    amount_uc: int,
    *,
    again: bool = False,
) -> tuple[Row[Any], bool]:
    """Take a payment of `amount_uc` for a meter, to be delivered as a typed token.

    `again`: the channel may have posted it before, to a database that was lost since; then a token that the signer made
    for it is that token (`lost`). Returns the token's row, `reserved` until `making` has its digits made, and whether
    the request had come before.
    Raises Refused (UnknownChannel, UnknownMeter, PaymentConflict, NoDecoder, NotOneToken); then nothing has changed.
    """
    taken = payments.take(conn, now_s, channel, payment_id, meter_id, amount_uc, again=again, by_token=True)
    if taken.repeated:
        (known,) = [row for row in book.of_request(conn, channel, payment_id) if row.amount_uc]
        return known, True
    if identity.get(conn).currency != CURRENCY_ENERGY:
        raise Refused("delivery", "token", "books in kWh: typed tokens carry energy, and these books are in a currency")
    register = amounts.register_for(amount_uc)
    _fits_limits(conn, meter_id, amount_uc)
    token_id = book.reserve(
        conn,
        now_s,
        meter_id,
        token_class=CREDIT,
        subclass=ELECTRICITY,
        register=register,
        amount_uc=amount_uc,
        channel=channel,
        payment_id=payment_id,
        actor=accounts.of_channel(channel),
    )
    return book.get(conn, token_id), False


def _fits_limits(conn: Connection, meter_id: int, amount_uc: int) -> None:
    """Refuse what the meter's limits, as last ordered, would never let anybody type."""
    limits = bodies.decode_limits(conn.execute(_LIMITS, {"of": meter_id}).scalar_one())
    if not limits.typed_cap_uc:
        raise Refused("meter", meter_id, "a meter whose limits let typed tokens in (typed_cap is 0)")
    most_uc = min(limits.typed_cap_uc, limits.credit_limit_uc)
    if amount_uc > most_uc:
        raise Refused("amount", amounts.kwh(amount_uc), f"at most {amounts.kwh(most_uc)}, the limits of the meter")
