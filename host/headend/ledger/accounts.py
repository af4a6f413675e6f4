"""Accounts: their kinds and their names."""

from sqlalchemy import Connection, bindparam, insert, select

from headend.store.prepared import prepared
from headend.store.schema import account
from meterlink import topics

CHANNEL = "channel"  # who takes money for us
CUSTOMER = "customer"
INCOME = "income"
CLEARING = "clearing"  # money whose other side is still to be found
FORMER = "former"  # a customer whose account on a meter is closed: what we owe them, or they us
DEBT = "debt"  # what a customer owes on bills: in the red by it
OPENING = "opening"  # an import: what an earlier system's books had of the customers in it
TAX = "tax"  # collected for the state
ADVANCE = "advance"  # paid by a customer for bills to come
DEPOSIT = "deposit"  # a guarantee of a customer, held apart
SUBSIDY = "subsidy"  # who pays for a customer: a programme

# What a name begins with -> the account's kind.
KINDS = {
    "channel:": CHANNEL,
    "meter:": CUSTOMER,
    "income:": INCOME,
    "clearing:": CLEARING,
    "former:": FORMER,
    "debt:": DEBT,
    "opening:": OPENING,
    "tax:": TAX,
    "advance:": ADVANCE,
    "deposit:": DEPOSIT,
    "subsidy:": SUBSIDY,
}

INCOME_ENERGY = "income:energy"
INCOME_BILLED = "income:billed"
INCOME_LATE_FEE = "income:late_fee"
SETTLED = "clearing:settled"  # money that channels have handed over
RECOVERED = "clearing:recovered"  # sales found on meters that the books had lost; owed by the channel that made them
REFUNDS = "clearing:refund"  # stated to a meter as taken back, and not proved

_NEW = prepared(insert(account))
_OPEN = prepared(select(account.c.account).where(account.c.account == bindparam("named")))


def of_channel(channel: str) -> str:
    return f"channel:{channel}"


def of_meter(meter: int, epoch: int) -> str:
    """The customer's account of a meter's account epoch (1..65535)."""
    name = f"meter:{topics.meter_name(meter)}"
    return name if epoch == 1 else f"{name}/{epoch}"


def former_of(meter: int, epoch: int) -> str:
    """The account of who was the customer in a meter's account epoch that is closed."""
    return "former:" + of_meter(meter, epoch).removeprefix("meter:")


def of_opening(import_id: str) -> str:
    """What an earlier system's books had of the customers of an import."""
    return f"opening:{import_id}"


def of_debt(meter: int, epoch: int) -> str:
    """What the customer of a meter's account epoch owes on bills."""
    return "debt:" + of_meter(meter, epoch).removeprefix("meter:")


def of_advance(meter: int, epoch: int) -> str:
    """What that customer has paid for bills to come."""
    return "advance:" + of_meter(meter, epoch).removeprefix("meter:")


def of_deposit(meter: int, epoch: int) -> str:
    """The guarantee that is held of that customer."""
    return "deposit:" + of_meter(meter, epoch).removeprefix("meter:")


def of_tax(name: str) -> str:
    return f"tax:{name}"


def of_subsidy(channel: str) -> str:
    """The account of a programme, whose channel grants credit instead of bringing money."""
    return f"subsidy:{channel}"


def place_of(name: str) -> tuple[int, int] | None:
    """(meter, account epoch) of a customer's account, by its name; None for any other account."""
    if kind_of(name) != CUSTOMER:
        return None
    meter, _, epoch = name.removeprefix("meter:").partition("/")
    return int(meter), int(epoch or 1)


def kind_of(name: str) -> str:
    """The kind of an account, by its name; ValueError for a name of no kind."""
    for prefix, kind in KINDS.items():
        if name.startswith(prefix):
            return kind
    raise ValueError(f"account: {name!r} given, a name that begins with one of {', '.join(KINDS)} expected")


def open_account(conn: Connection, name: str) -> None:
    """Open an account unless it is open already."""
    kind = kind_of(name)
    if _OPEN(conn, {"named": name}).one_or_none() is None:
        _NEW(conn, {"account": name, "kind": kind})
