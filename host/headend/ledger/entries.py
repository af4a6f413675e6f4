"""Posting: one row moves one amount from one account to another, so every entry sums to zero by its shape.

The database refuses to change or delete an entry (triggers of the first migration), and to post the same cause twice.
"""

from typing import Any

from sqlalchemy import Connection, Row, bindparam, insert, select, update

from headend.ledger import accounts
from headend.store.prepared import prepared
from headend.store.schema import entry
from headend.store.schema_money import channel_limit
from meterlink.bodies import MAX_UC

PAYMENT = "payment"
CONSUMPTION = "consumption"
EARNED = "earned"  # for exported energy
ADJUSTED = "adjusted"  # charged by the head end, taken off at the meter by a mode order
RECOVERED = "recovered"  # a sale of ours, found on the meter, that the books had lost
REPOSTED = "reposted"  # a payment, posted again, that is such a sale: the meter has it already
REVERSAL = "reversal"  # a payment that was taken back
MOVED = "moved"  # what is left of an account that is closed, and what is owed on it
OPENING = "opening"  # what a customer had, or owed, before these books
COLLECTED = "collected"  # of what the meter charged, what paid bills that it collects
REFUND = "refund"  # stated to the meter as taken back
REFUND_PAID = "refund_paid"  # … which the meter has proved: it is handed on
REFUND_RETURNED = "refund_returned"  # … which the meter did not have, or was given up: the customer's again
REFUND_FOUND = "refund_found"  # taken back by a statement of ours that the books had lost
REVERSAL_OWED = "reversal_owed"  # a payment that was taken back, and spent before: its customer owes it
BILLED = "billed"
BILL_CANCELLED = "bill_cancelled"
ALLOCATED = "allocated"  # what a payment paid of a bill …
LATE_FEE = "late_fee"  # … and of its late fee
UNALLOCATED = "unallocated"  # either, taken back
TAX = "tax"  # taken from a payment, beside what is credit …
UNTAXED = "untaxed"  # … and given back
GRANTED = "granted"  # credit that a programme pays for
FLOAT = "float"  # money that a channel has handed over

# Whose money pays bills.
_PAYERS = (accounts.CUSTOMER, accounts.FORMER, accounts.ADVANCE, accounts.DEPOSIT)

# Kind of entry -> each (kind of the debited account, kind of the credited one) that it may have.
SIDES = {
    PAYMENT: (
        (accounts.CHANNEL, accounts.CUSTOMER),
        (accounts.CHANNEL, accounts.FORMER),
        (accounts.CHANNEL, accounts.ADVANCE),
        (accounts.CHANNEL, accounts.DEPOSIT),
    ),
    REVERSAL: ((accounts.CUSTOMER, accounts.CHANNEL),),
    CONSUMPTION: ((accounts.CUSTOMER, accounts.INCOME),),
    EARNED: ((accounts.INCOME, accounts.CUSTOMER),),
    ADJUSTED: ((accounts.CUSTOMER, accounts.INCOME),),
    RECOVERED: ((accounts.CLEARING, accounts.CUSTOMER),),
    REPOSTED: ((accounts.CUSTOMER, accounts.CLEARING),),
    OPENING: ((accounts.OPENING, accounts.CUSTOMER), (accounts.DEBT, accounts.OPENING)),
    COLLECTED: ((accounts.INCOME, accounts.CUSTOMER),),
    REFUND: ((accounts.CUSTOMER, accounts.CLEARING),),
    REFUND_PAID: ((accounts.CLEARING, accounts.CHANNEL),),
    REFUND_RETURNED: ((accounts.CLEARING, accounts.CUSTOMER),),
    REFUND_FOUND: ((accounts.CUSTOMER, accounts.CLEARING),),
    REVERSAL_OWED: ((accounts.DEBT, accounts.CHANNEL),),
    MOVED: (
        (accounts.CUSTOMER, accounts.CUSTOMER),
        (accounts.CUSTOMER, accounts.FORMER),
        (accounts.FORMER, accounts.CUSTOMER),
        (accounts.DEBT, accounts.DEBT),
        (accounts.ADVANCE, accounts.ADVANCE),
        (accounts.DEPOSIT, accounts.DEPOSIT),
    ),
    BILLED: ((accounts.DEBT, accounts.INCOME), (accounts.DEBT, accounts.TAX)),
    BILL_CANCELLED: ((accounts.INCOME, accounts.DEBT), (accounts.TAX, accounts.DEBT)),
    ALLOCATED: tuple((payer, accounts.DEBT) for payer in _PAYERS),
    LATE_FEE: tuple((payer, accounts.INCOME) for payer in _PAYERS),
    UNALLOCATED: tuple((of, payer) for of in (accounts.DEBT, accounts.INCOME) for payer in _PAYERS),
    TAX: ((accounts.CUSTOMER, accounts.TAX),),
    UNTAXED: ((accounts.TAX, accounts.CUSTOMER),),
    GRANTED: ((accounts.SUBSIDY, accounts.CUSTOMER),),
    FLOAT: ((accounts.CLEARING, accounts.CHANNEL),),
}

_POST = prepared(insert(entry))
_HELD = prepared(
    update(channel_limit)
    .where(channel_limit.c.channel == bindparam("of"))
    .values(held_uc=channel_limit.c.held_uc + bindparam("amount"))
)


def post(
    conn: Connection, now_s: int, kind: str, debit: str, credit: str, amount_uc: int, meter: int | None, cause: str
) -> None:
    """Write an entry.

    `kind` and the kinds of both accounts follow `SIDES`; `amount_uc` 1..2^63-1; `cause` (at most 120 characters) names
    what happened, once per kind. Raises ValueError; IntegrityError for a cause that is booked already, or an account
    that is not open.
    """
    if kind not in SIDES:
        raise ValueError(f"kind: {kind!r} given, one of {', '.join(SIDES)} expected")
    if isinstance(amount_uc, bool) or not 1 <= amount_uc <= MAX_UC:
        raise ValueError(f"amount_uc: {amount_uc} given, 1..{MAX_UC} expected")
    if not 1 <= len(cause) <= 120:
        raise ValueError(f"cause: {len(cause)} characters given, 1..120 expected")
    if (accounts.kind_of(debit), accounts.kind_of(credit)) not in SIDES[kind]:
        raise ValueError(f"{kind}: debit {debit} and credit {credit} given, accounts of kind {SIDES[kind]} expected")
    row = {
        "at_s": now_s,
        "kind": kind,
        "debit": debit,
        "credit": credit,
        "amount_uc": amount_uc,
        "meter": meter,
        "cause": cause,
    }
    if accounts.kind_of(credit) == accounts.CHANNEL:  # what payments take from it, `floats.spend` counts
        _HELD(conn, {"of": credit.removeprefix("channel:"), "amount": amount_uc})
    _POST.later(conn, row)


def of_causes(conn: Connection, kind: str, causes: list[str]) -> list[Row[Any]]:
    """The entries of a kind that have these causes."""
    its = select(entry).where(entry.c.kind == kind, entry.c.cause.in_(causes)).order_by(entry.c.id)
    return list(conn.execute(its))
