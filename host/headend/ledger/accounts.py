"""Accounts: their kinds and their names."""

from sqlalchemy import Connection, insert, select

from headend.store.schema import account
from meterlink import topics

CHANNEL = "channel"  # who takes money for us
CUSTOMER = "customer"
INCOME = "income"
KINDS = (CHANNEL, CUSTOMER, INCOME)

INCOME_ENERGY = "income:energy"


def of_channel(channel: str) -> str:
    return f"channel:{channel}"


def of_meter(meter: int) -> str:
    """The customer account behind a meter."""
    return f"meter:{topics.meter_name(meter)}"


def open_account(conn: Connection, name: str, kind: str) -> None:
    """Open an account unless it is open already; ValueError where it is of another kind."""
    standing = conn.execute(select(account.c.kind).where(account.c.account == name)).scalar_one_or_none()
    if standing is None:
        conn.execute(insert(account).values(account=name, kind=kind))
    elif standing != kind:
        raise ValueError(f"account {name}: it is of kind {standing}, not {kind}")
