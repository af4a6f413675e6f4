"""Accounts: their kinds and their names."""

from sqlalchemy import Connection, bindparam, insert, select

from headend.store.schema import account
from meterlink import topics

CHANNEL = "channel"  # who takes money for us
CUSTOMER = "customer"
INCOME = "income"

# What a name begins with -> the account's kind.
KINDS = {"channel:": CHANNEL, "meter:": CUSTOMER, "income:": INCOME}

INCOME_ENERGY = "income:energy"

_OPEN = select(account.c.account).where(account.c.account == bindparam("named"))


def of_channel(channel: str) -> str:
    return f"channel:{channel}"


def of_meter(meter: int) -> str:
    """The customer account behind a meter."""
    return f"meter:{topics.meter_name(meter)}"


def kind_of(name: str) -> str:
    """The kind of an account, by its name; ValueError for a name of no kind."""
    for prefix, kind in KINDS.items():
        if name.startswith(prefix):
            return kind
    raise ValueError(f"account: {name!r} given, a name that begins with one of {', '.join(KINDS)} expected")


def open_account(conn: Connection, name: str) -> None:
    """Open an account unless it is open already."""
    kind = kind_of(name)
    if conn.execute(_OPEN, {"named": name}).one_or_none() is None:
        conn.execute(insert(account).values(account=name, kind=kind))
