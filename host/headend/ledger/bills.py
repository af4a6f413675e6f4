"""Bills: what a customer owes for a period, from the notice until it is paid.

What was billed never changes. A bill is collected by exactly one owner: this head end, from payments (`allocation`), or
the meter, from its credit (`set_owner`). The account `debt:` of a customer is in the red by what is owed on bills.

Issuing is idempotent by the issuer's `reference`: the same bill again is the same bill, another one is refused.
"""

import hashlib
import json
from collections.abc import Sequence
from datetime import date
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, bindparam, func, insert, select, update

from headend import audit
from headend.access import areas
from headend.ledger import accounts, balances, entries, late_fee, terms, zone
from headend.ledger.words import BILL_EVENTS, BILL_KINDS, LINES
from headend.refusals import Refused
from headend.store import UnknownMeter, lock_meter
from headend.store.schema import meter as meter_table
from headend.store.schema_money import bill, bill_history
from meterlink import topics
from meterlink.bodies import MAX_UC

HEAD_END = "head_end"
METER = "meter"
OWNERS = (HEAD_END, METER)

OPEN = "open"
PAID = "paid"
CANCELLED = "cancelled"

MAX_REFERENCE = 64
MAX_LINES = 20

_EPOCH = select(meter_table.c.account_epoch).where(meter_table.c.meter == bindparam("of"))
_BY_REFERENCE = select(bill).where(bill.c.reference == bindparam("named"))
_BY_ID = select(bill).where(bill.c.id == bindparam("of_bill"))
_ALL_OF = (
    select(bill)
    .where(bill.c.meter == bindparam("of"), bill.c.account_epoch == bindparam("epoch"))
    .order_by(bill.c.due_s, bill.c.id)
)
_OPEN_OF = _ALL_OF.where(bill.c.state == OPEN)
_COLLECTED = _OPEN_OF.where(bill.c.owner == HEAD_END)
_ISSUE = insert(bill).returning(bill.c.id)
_CHANGE = update(bill).where(bill.c.id == bindparam("of_bill"))
_HISTORY = insert(bill_history)
_OWED = select(func.coalesce(func.sum(bill.c.principal_uc - bill.c.paid_uc), 0)).where(
    bill.c.meter == bindparam("of"), bill.c.account_epoch == bindparam("epoch"), bill.c.state == OPEN
)


areas.OF["bill"] = (
    select(meter_table.c.area).join(bill, bill.c.meter == meter_table.c.meter).where(bill.c.id == bindparam("id"))
)


class Line(NamedTuple):
    """One line of a bill: a kind of `words.LINES`, or `tax:<name>`; amount 1..2^63-1."""

    kind: str
    amount_uc: int
    note: str = ""


class UnknownBill(Refused):
    """There is no such bill."""

    def __init__(self, bill_id: object) -> None:
        super().__init__("bill", bill_id, "the id of a bill")


class BillConflict(Refused):
    """The reference was used for another bill."""


def issue(
    conn: Connection,
    now_s: int,
    meter: int,
    reference: str,
    lines: Sequence[Line],
    *,
    notice_s: int,
    due_s: int,
    actor: str,
    period: str = "",
    kind: str = "energy",
    customer_class: str | None = None,
    account_epoch: int | None = None,
    pseudonym: str | None = None,
    against: str = "",
    entry_kind: str = entries.BILLED,
) -> int:
    """Issue a bill; returns its id.

    `reference`: 1..64 printable ASCII characters · `notice_s` <= `due_s`: when the customer was told, and until when it
    can be paid without a late fee · `customer_class`, `account_epoch`: None: those of the account in force ·
    `against`: the account that stands against what is no tax ("": income), by entries of `entry_kind`.
    Raises Refused (UnknownMeter, BillConflict).
    """
    _check(reference, lines, notice_s, due_s, kind)
    in_force = epoch_of(conn, meter)
    epoch = in_force if account_epoch is None else account_epoch
    if not 1 <= epoch <= in_force:
        raise Refused("account_epoch", epoch, "an account that is, or was, open on the meter")
    its_class = terms.class_of(conn, meter, epoch) if customer_class is None else customer_class
    terms.check_class(its_class)
    due_day = zone.day_of(zone.of(conn), due_s)
    row = {
        "reference": reference,
        "kind": kind,
        "class": its_class,
        "period": period,
        "pseudonym": pseudonym,
        "notice_s": notice_s,
        "due_s": due_s,
        "due_day": due_day,
        "principal_uc": sum(line.amount_uc for line in lines),
        "lines": json.dumps([line._asdict() for line in lines], separators=(",", ":"), ensure_ascii=False),
    }
    digest = hashlib.sha256(repr((meter, epoch, sorted(row.items(), key=str))).encode()).digest()
    known = conn.execute(_BY_REFERENCE, {"named": reference}).one_or_none()
    if known is not None:
        if known.digest != digest:
            raise BillConflict("reference", reference, "a new one: it was used for another bill")
        return int(known.id)
    lock_meter(conn, meter)
    place = {"meter": meter, "account_epoch": epoch, "owner": HEAD_END, "state": OPEN, "fee_day": due_day}
    made = conn.execute(_ISSUE, {**row, **place, "digest": digest, "issued_s": now_s, "actor": actor}).scalar_one()
    _post(conn, now_s, made, lines, meter, epoch, against or accounts.INCOME_BILLED, entry_kind)
    remember(conn, now_s, made, "issued", actor)
    audit.record(conn, now_s, actor, "bill.issued", f"bill:{made}", {"meter": meter, "reference": reference})
    return int(made)


def _post(
    conn: Connection, now_s: int, made: int, lines: Sequence[Line], meter: int, epoch: int, against: str, kind: str
) -> None:
    """A bill's entries: one a line, from the debt to who gets it."""
    debt = accounts.of_debt(meter, epoch)
    accounts.open_account(conn, debt)
    for place, line in enumerate(lines):
        credit = line.kind if line.kind.startswith("tax:") else against
        accounts.open_account(conn, credit)
        entries.post(conn, now_s, kind, debt, credit, line.amount_uc, meter, f"bill:{made}:{place}")


def open_of(conn: Connection, meter: int, epoch: int) -> list[Row[Any]]:
    """The open bills of an account, oldest first, whoever collects them."""
    return list(conn.execute(_OPEN_OF, {"of": meter, "epoch": epoch}))


def collected_here(conn: Connection, meter: int, epoch: int) -> list[Row[Any]]:
    """Those that the head end collects."""
    return list(conn.execute(_COLLECTED, {"of": meter, "epoch": epoch}))


def owed_uc(conn: Connection, meter: int, epoch: int) -> int:
    """Principal that an account owes, whoever collects it."""
    return int(conn.execute(_OWED, {"of": meter, "epoch": epoch}).scalar_one())


def of_account(conn: Connection, meter: int, epoch: int) -> list[Row[Any]]:
    """All bills of an account (0: the one in force), whatever became of them. Raises UnknownMeter."""
    return list(conn.execute(_ALL_OF, {"of": meter, "epoch": epoch or epoch_of(conn, meter)}))


def epoch_of(conn: Connection, meter: int) -> int:
    """The account epoch in force; raises UnknownMeter."""
    epoch = conn.execute(_EPOCH, {"of": meter}).scalar_one_or_none()
    if epoch is None:
        raise UnknownMeter(meter)
    return int(epoch)


def get(conn: Connection, bill_id: int) -> Row[Any]:
    """The `bill` row; raises UnknownBill."""
    row = conn.execute(_BY_ID, {"of_bill": bill_id}).one_or_none()
    if row is None:
        raise UnknownBill(bill_id)
    return row


def fee_at(table: Sequence[late_fee.Rate], row: Row[Any], day: int) -> late_fee.Accrued:
    """The late fee of a bill up to a day; one that the meter collects bears none meanwhile."""
    before = late_fee.Accrued(row.fee_day, row.fee_uc, row.fee_rest)
    if row.owner == METER:
        return before
    return late_fee.accrue(table, row.due_day, row.principal_uc, row.principal_uc - row.paid_uc, before, day)


def set_owner(conn: Connection, now_s: int, bill_id: int, owner: str, actor: str, note: str = "") -> None:
    """Hand an open bill to its other owner (`HEAD_END`, `METER`). The meter that it is owed on is locked by the caller.

    What came to be due as a late fee stays due; while the meter collects, nothing is added.
    Raises Refused for a bill that is not open, or has that owner.
    """
    row = get(conn, bill_id)
    if owner not in OWNERS or row.owner == owner or row.state != OPEN:
        expected = f"the other owner of an open bill; {bill_id} is {row.state}, and {row.owner} collects it"
        raise Refused("owner", owner, expected)
    today = zone.day_of(zone.of(conn), now_s)
    fee = fee_at(late_fee.rates(conn, row._mapping["class"]), row, today)
    change(conn, bill_id, owner=owner, fee_day=max(today, fee.day), fee_uc=fee.fee_uc, fee_rest=fee.rest)
    remember(conn, now_s, bill_id, "to_meter" if owner == METER else "from_meter", actor, note)


def cancel(conn: Connection, now_s: int, bill_id: int, actor: str, note: str) -> None:
    """Take back a bill on which nothing was paid, by entries that mirror its own. Raises Refused."""
    row = get(conn, bill_id)
    lock_meter(conn, row.meter)
    row = get(conn, bill_id)
    booked = entries.of_causes(conn, entries.BILLED, [f"bill:{bill_id}:{n}" for n in range(len(lines_of(row)))])
    if row.state != OPEN or row.owner != HEAD_END or row.paid_uc or row.fee_paid_uc or not booked:
        raise Refused("bill", bill_id, "an open bill of ours that the head end collects, on which nothing was paid")
    debt = accounts.of_debt(row.meter, row.account_epoch)
    for one in booked:
        entries.post(
            conn, now_s, entries.BILL_CANCELLED, one.credit, debt, one.amount_uc, row.meter, f"{one.cause}:cancelled"
        )
    change(conn, bill_id, state=CANCELLED, settled_s=now_s)
    remember(conn, now_s, bill_id, "cancelled", actor, note)
    audit.record(conn, now_s, actor, "bill.cancelled", f"bill:{bill_id}", {"meter": row.meter, "note": note[:200]})


def follow(conn: Connection, now_s: int, meter: int, epoch: int, heir: tuple[int, int], actor: str) -> None:
    """What an account owes, has paid in advance and deposited goes on to the account that takes its place.

    Both meters are locked.
    """
    for of in (accounts.of_advance, accounts.of_deposit):
        _carry(conn, now_s, of(meter, epoch), of(*heir), heir[0])
    debt, its_debt = accounts.of_debt(meter, epoch), accounts.of_debt(*heir)
    for row in open_of(conn, meter, epoch):
        left_uc = row.principal_uc - row.paid_uc
        accounts.open_account(conn, its_debt)
        if left_uc:
            cause = f"bill:{row.id}:{topics.meter_name(heir[0])}:{heir[1]}"
            entries.post(conn, now_s, entries.MOVED, its_debt, debt, left_uc, heir[0], cause)
        change(conn, row.id, meter=heir[0], account_epoch=heir[1])
        remember(conn, now_s, row.id, "followed", actor, f"from meter {topics.meter_name(meter)}, account {epoch}")


def _carry(conn: Connection, now_s: int, name: str, its_name: str, heir: int) -> None:
    """What stands on an account goes on to another of its kind."""
    held_uc = balances.balance_uc(conn, name)
    if held_uc > 0:
        accounts.open_account(conn, its_name)
        entries.post(conn, now_s, entries.MOVED, name, its_name, held_uc, heir, f"{name}:{its_name}")


def change(conn: Connection, bill_id: int, **facts: Any) -> None:
    """Write what became of a bill: columns behind `actor` in the table, no others (the database refuses them)."""
    conn.execute(_CHANGE, {"of_bill": bill_id, **facts})


def remember(conn: Connection, now_s: int, bill_id: int, event: str, actor: str, note: str = "") -> None:
    """Leave an event of `words.BILL_EVENTS` in a bill's history."""
    if event not in BILL_EVENTS:
        raise ValueError(f"event: {event!r} given, one of {', '.join(BILL_EVENTS)} expected")
    row = {"bill_id": bill_id, "at_s": now_s, "event": event, "actor": actor[:80], "note": note[:200]}
    conn.execute(_HISTORY, row)


def history(conn: Connection, bill_id: int) -> list[Row[Any]]:
    """What became of a bill, oldest first."""
    its = select(bill_history).where(bill_history.c.bill_id == bill_id).order_by(bill_history.c.id)
    return list(conn.execute(its))


def lines_of(row: Row[Any]) -> list[Line]:
    """The lines of a `bill` row."""
    return [Line(**line) for line in json.loads(row.lines)]


def _check(reference: str, lines: Sequence[Line], notice_s: int, due_s: int, kind: str) -> None:
    whole = reference.isascii() and reference.isprintable() and reference == reference.strip()
    if not (whole and 1 <= len(reference) <= MAX_REFERENCE):
        raise Refused("reference", reference, f"1..{MAX_REFERENCE} printable ASCII characters, no blank at either end")
    if kind not in BILL_KINDS:
        raise Refused("kind", kind, f"one of {', '.join(BILL_KINDS)}")
    if not 1 <= len(lines) <= MAX_LINES:
        raise Refused("lines", len(lines), f"1..{MAX_LINES} lines")
    for line in lines:
        if line.kind not in LINES and not line.kind.startswith("tax:"):
            raise Refused("line", line.kind, f"one of {', '.join(LINES)}, or tax: and its name")
        if not 1 <= line.amount_uc <= MAX_UC:
            raise Refused("amount_uc", line.amount_uc, f"1..{MAX_UC}")
    if sum(line.amount_uc for line in lines) > MAX_UC:
        raise Refused("lines", "their sum", f"at most {MAX_UC} micro-currency")
    if not 0 <= notice_s <= due_s <= _LAST_S:
        raise Refused("due_s", due_s, f"{notice_s}..{_LAST_S}: the bill is due after its notice")


_LAST_S = (date(2200, 1, 1) - date(1970, 1, 1)).days * 86_400
