"""Billing a customer: the bill, and what was paid in advance for it."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection

from headend.ledger import allocation, bills


def issue(conn: Connection, now_s: int, meter: int, reference: str, lines: Sequence[bills.Line], **options: Any) -> int:
    """`bills.issue`, then what the customer paid in advance pays the oldest bills. Returns the bill's id."""
    made = bills.issue(conn, now_s, meter, reference, lines, **options)
    row = bills.get(conn, made)
    if row.state == bills.OPEN:
        allocation.use_advance(conn, now_s, row.meter, row.account_epoch, f"advance:{made}")
    return made
