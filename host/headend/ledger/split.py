"""What a payment is made of: bills with their late fees, taxes, and credit for the meter. Their sum is the payment.

A quote and the sale that follows are split by the same function, so that a quote can be held against the sale.
"""

import hashlib
from typing import NamedTuple

from sqlalchemy import Connection

from headend.ledger import allocation, tax, terms
from headend.ledger.allocation import Allocation
from headend.ledger.tax import Taxed

CREDIT = ""
ADVANCE = "advance"
DEPOSIT = "deposit"

_NO_BILLS = ()


class Split(NamedTuple):
    """`amount_uc` = what `found` gives to bills + `taxes` + `credit_uc` + `kept_uc`, which goes to no meter."""

    meter: int
    account_epoch: int
    amount_uc: int
    found: Allocation
    taxes: tuple[Taxed, ...]
    credit_uc: int
    kept_uc: int = 0

    @property
    def for_bills_uc(self) -> int:
        return self.amount_uc - self.found.rest_uc

    def digest(self) -> bytes:
        """SHA-256 of all that it says about money: two splits with one digest move the same amounts."""
        bills = [
            (line.bill.id, line.late_fee_uc, line.principal_uc)
            for line in self.found.lines
            if line.late_fee_uc or line.principal_uc
        ]
        taxes = [(one.name, one.tax_uc) for one in self.taxes]
        said = (self.meter, self.account_epoch, self.amount_uc, bills, taxes, self.credit_uc, self.kept_uc)
        return hashlib.sha256(f"split 1 {said}".encode()).digest()


def split(
    conn: Connection,
    now_s: int,
    meter: int,
    epoch: int,
    amount_uc: int,
    *,
    has_bills: bool = True,
    has_taxes: bool = True,
    purpose: str = CREDIT,
) -> Split:
    """Split `amount_uc` (1..) for an account. `has_bills`, `has_taxes`: False where it is known that there are none."""
    found = Allocation(0, _NO_BILLS, amount_uc)
    if has_bills and purpose != DEPOSIT:
        found = allocation.allocate(conn, now_s, meter, epoch, amount_uc, whole=purpose == ADVANCE)
    if purpose != CREDIT:
        return Split(meter, epoch, amount_uc, found, (), 0, found.rest_uc)
    credit_uc, taxes = found.rest_uc, tuple[Taxed, ...]()
    if has_taxes:
        in_force = tax.rates(conn, now_s, meter, terms.class_of(conn, meter, epoch))
        credit_uc, taxes = tax.split(found.rest_uc, [rate for rate in in_force if rate.mode == tax.ADDED])
    return Split(meter, epoch, amount_uc, found, taxes, credit_uc)
