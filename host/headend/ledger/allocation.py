"""Which bills a payment pays: the oldest debt first, of each bill its late fee before its principal.

A bill that is not due yet comes after those that are, by its date; what no bill takes is the rest, for the meter.
`allocate` finds out and changes nothing, so that a quote and the sale agree; `book` writes what was found.
"""

from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, bindparam, insert, select

from headend import audit
from headend.ledger import accounts, balances, bills, entries, late_fee, terms, zone
from headend.refusals import Refused
from headend.store import lock_meter
from headend.store.schema_money import allocation

_TO = insert(allocation).returning(allocation.c.id)
_OF_PAYMENT = (
    select(allocation)
    .where(allocation.c.channel == bindparam("of_channel"), allocation.c.payment_id == bindparam("named"))
    .order_by(allocation.c.id)
)
_HANDED = ("to_meter", "from_meter")
_OF_BILL = select(allocation).where(allocation.c.bill_id == bindparam("of_bill")).order_by(allocation.c.id)


class ToBill(NamedTuple):
    """What one bill gets. `fee`: its late fee up to the day · `due_uc`, `left_uc`: what was asked before."""

    bill: Row[Any]
    late_fee_uc: int
    principal_uc: int
    fee: late_fee.Accrued
    fee_due_uc: int
    left_uc: int

    @property
    def settles(self) -> bool:
        return (self.late_fee_uc, self.principal_uc) == (self.fee_due_uc, self.left_uc)


class Allocation(NamedTuple):
    """`lines`: every open bill that the head end collects, oldest first, those that get nothing too."""

    day: int
    lines: tuple[ToBill, ...]
    rest_uc: int
    share_ppm: int = terms.WHOLE

    @property
    def releases(self) -> bool:
        """Whether a customer who was stopped for arrears gets supply back: no bill whose due date has passed is left,
        or the policy lets debts be paid little by little.
        """
        left = any(line.bill.due_day < self.day and not line.settles for line in self.lines)
        return not left or self.share_ppm < terms.WHOLE


def allocate(
    conn: Connection, now_s: int, meter: int, epoch: int, amount_uc: int, *, whole: bool = False
) -> Allocation:
    """Split `amount_uc` (0..) over the open bills of an account, and the rest. `whole`: whatever the policy's share."""
    day = zone.day_of(zone.of(conn), now_s)
    found = bills.collected_here(conn, meter, epoch)
    if not found:
        return Allocation(day, (), amount_uc)
    tables = {name: late_fee.rates(conn, name) for name in {row._mapping["class"] for row in found}}
    share_ppm = terms.WHOLE if whole else terms.share_ppm(conn, now_s, meter, terms.class_of(conn, meter, epoch))
    for_debts_uc = amount_uc * share_ppm // terms.WHOLE
    rest_uc = amount_uc - for_debts_uc
    lines = []
    for row in found:
        fee = bills.fee_at(tables[row._mapping["class"]], row, day)
        fee_due_uc, left_uc = late_fee.due_uc(fee, row.fee_paid_uc), row.principal_uc - row.paid_uc
        late_fee_uc = min(for_debts_uc, fee_due_uc)
        principal_uc = min(for_debts_uc - late_fee_uc, left_uc)
        for_debts_uc -= late_fee_uc + principal_uc
        lines.append(ToBill(row, late_fee_uc, principal_uc, fee, fee_due_uc, left_uc))
    return Allocation(day, tuple(lines), rest_uc + for_debts_uc, share_ppm)


def book(
    conn: Connection, now_s: int, found: Allocation, payer: str, cause: str, payment: tuple[str, str] | None = None
) -> int:
    """Write what `allocate` found: rows, entries from `payer`, bills; returns how much it was.

    `cause` names what pays, `payment` is (channel, payment id) where that is one. The meter is locked.
    """
    channel, payment_id = payment or (None, None)
    total_uc = 0
    for line in found.lines:
        if not line.late_fee_uc + line.principal_uc:
            continue
        row = {"bill_id": line.bill.id, "cause": cause, "channel": channel, "payment_id": payment_id, "at_s": now_s}
        amounts = {"day": found.day, "late_fee_uc": line.late_fee_uc, "principal_uc": line.principal_uc}
        made = conn.execute(_TO, {**row, **amounts}).scalar_one()
        meter, to = line.bill.meter, f"allocation:{made}"
        if line.late_fee_uc:
            accounts.open_account(conn, accounts.INCOME_LATE_FEE)
            entries.post(conn, now_s, entries.LATE_FEE, payer, accounts.INCOME_LATE_FEE, line.late_fee_uc, meter, to)
        if line.principal_uc:
            debt = accounts.of_debt(meter, line.bill.account_epoch)
            entries.post(conn, now_s, entries.ALLOCATED, payer, debt, line.principal_uc, meter, to)
        facts: dict[str, Any] = {
            "paid_uc": line.bill.paid_uc + line.principal_uc,
            "fee_paid_uc": line.bill.fee_paid_uc + line.late_fee_uc,
            "fee_day": line.fee.day,
            "fee_uc": line.fee.fee_uc,
            "fee_rest": line.fee.rest,
        }
        if line.settles:
            facts |= {"state": bills.PAID, "settled_s": now_s}
            bills.remember(conn, now_s, line.bill.id, "paid", payer)
        bills.change(conn, line.bill.id, **facts)
        total_uc += line.late_fee_uc + line.principal_uc
    return total_uc


def of_payment(conn: Connection, channel: str, payment_id: str) -> list[Row[Any]]:
    """The `allocation` rows of a payment, those that took some back among them."""
    return list(conn.execute(_OF_PAYMENT, {"of_channel": channel, "named": payment_id}))


def of_bill(conn: Connection, bill_id: int) -> list[Row[Any]]:
    """The `allocation` rows of a bill, oldest first."""
    return list(conn.execute(_OF_BILL, {"of_bill": bill_id}))


def undo(conn: Connection, now_s: int, row: Row[Any], payee: str, actor: str, note: str = "") -> int:
    """Take back one `allocation` row, to the account `payee`; returns how much it was. The meter is locked.

    The bill is open again as if the row had never been: its late fee is what the other payments leave. Raises Refused
    for a row that was taken back already, or takes one back, and IntegrityError where two would at once.
    """
    its = of_bill(conn, row.bill_id)
    undone = {one.reverses for one in its}
    if row.reverses is not None or row.id in undone:
        raise Refused("allocation", row.id, "one that stands")
    bill = bills.get(conn, row.bill_id)
    amounts = {"late_fee_uc": -row.late_fee_uc, "principal_uc": -row.principal_uc, "reverses": row.id}
    named = {"bill_id": row.bill_id, "cause": row.cause, "channel": row.channel, "payment_id": row.payment_id}
    today = zone.day_of(zone.of(conn), now_s)
    conn.execute(_TO, {**named, "at_s": now_s, "day": today, **amounts})
    cause = f"allocation:{row.id}:undone"
    if row.late_fee_uc:
        income = accounts.INCOME_LATE_FEE
        entries.post(conn, now_s, entries.UNALLOCATED, income, payee, row.late_fee_uc, bill.meter, f"{cause}:late_fee")
    if row.principal_uc:
        debt = accounts.of_debt(bill.meter, bill.account_epoch)
        entries.post(conn, now_s, entries.UNALLOCATED, debt, payee, row.principal_uc, bill.meter, cause)
    standing = [one for one in its if one.reverses is None and one.id not in undone and one.id != row.id]
    fee = _replay(conn, bill, standing)
    bills.change(
        conn,
        bill.id,
        paid_uc=bill.paid_uc - row.principal_uc,
        fee_paid_uc=bill.fee_paid_uc - row.late_fee_uc,
        fee_day=fee.day,
        fee_uc=fee.fee_uc,
        fee_rest=fee.rest,
        state=bills.OPEN,
        settled_s=None,
    )
    bills.remember(conn, now_s, bill.id, "reopened", actor, note)
    return int(row.late_fee_uc + row.principal_uc)


def _replay(conn: Connection, bill: Row[Any], standing: list[Row[Any]]) -> late_fee.Accrued:
    """The late fee of a bill up to the last of its payments, from the beginning."""
    table, local = late_fee.rates(conn, bill._mapping["class"]), zone.of(conn)
    moves = [one for one in bills.history(conn, bill.id) if one.event in _HANDED]
    steps = [(zone.day_of(local, one.at_s), one.event, 0) for one in moves]
    steps += [(one.day, "", one.principal_uc) for one in standing]
    fee, left_uc = late_fee.Accrued(bill.due_day, 0, 0), bill.principal_uc
    for day, event, principal_uc in sorted(steps, key=lambda step: step[0]):
        if event == "from_meter":  # while the meter collected, nothing was added
            fee = fee._replace(day=max(day, fee.day))
        fee = late_fee.accrue(table, bill.due_day, bill.principal_uc, left_uc, fee, day)
        left_uc -= principal_uc
    return fee


def use_advance(conn: Connection, now_s: int, meter: int, epoch: int, cause: str) -> int:
    """Pay open bills from what their customer has paid in advance; returns how much. The meter is locked."""
    return _use(conn, now_s, meter, epoch, accounts.of_advance(meter, epoch), cause)


def use_deposit(conn: Connection, now_s: int, meter: int, epoch: int, actor: str) -> int:
    """Pay open bills from the guarantee of their customer; returns how much. Locks the meter."""
    lock_meter(conn, meter)
    used_uc = _use(conn, now_s, meter, epoch, accounts.of_deposit(meter, epoch), f"deposit:{meter}/{epoch}")
    if used_uc:
        detail: dict[str, int | str | None] = {"account_epoch": epoch, "amount_uc": used_uc}
        audit.record(conn, now_s, actor, "deposit.used", f"meter:{meter}", detail)
    return used_uc


def _use(conn: Connection, now_s: int, meter: int, epoch: int, account: str, cause: str) -> int:
    held_uc = balances.balance_uc(conn, account)
    if held_uc <= 0:
        return 0
    return book(conn, now_s, allocate(conn, now_s, meter, epoch, held_uc, whole=True), account, cause)
