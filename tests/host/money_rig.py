"""Bills and their like for tests: books with short words for what people do at a counter."""

from typing import Any

from headend.keys.keystore import KeyStore
from headend.ledger import allocation, billing, bills, payments
from headend.ledger.payments import PaymentAnswer
from headend.store import Store
from tests.host.books import CHANNEL, METER, NOW_S

DAY = 86_400
YUAN = 1_000_000
KEYS = KeyStore.generate()
BOOKKEEPER = "user:books"


def bill(
    store: Store, reference: str, amount_uc: int, due_days: int, meter: int = METER, at_s: int = NOW_S, **others: Any
) -> int:
    """Issue a bill that is due so many days from `at_s` (in the past: less than 0); returns its id."""
    due_s = at_s + due_days * DAY
    options = {"notice_s": min(at_s, due_s), "due_s": due_s, "actor": BOOKKEEPER, **others}
    line = [bills.Line("energy", amount_uc)]
    return store.write(lambda conn: billing.issue(conn, at_s, meter, reference, line, **options)).result()


def pay(
    store: Store,
    payment_id: str,
    amount_uc: int,
    meter: int = METER,
    at_s: int = NOW_S,
    channel: str = CHANNEL,
    **how: Any,
) -> PaymentAnswer:
    """Take a payment."""
    take = payments.take
    return store.write(lambda conn: take(conn, at_s, channel, payment_id, meter, amount_uc, **how)).result()


def paid(store: Store, payment_id: str, channel: str = CHANNEL) -> list[tuple[str, int, int]]:
    """(reference, late fee, principal) of what a payment paid of bills, in that order."""

    def rows(conn: Any) -> list[tuple[str, int, int]]:
        found = allocation.of_payment(conn, channel, payment_id)
        return [(bills.get(conn, row.bill_id).reference, row.late_fee_uc, row.principal_uc) for row in found]

    return store.read(rows)
