"""Bills that a meter collects: moved there, taken back, and paid by what its events tell.

A bill has one owner (`bills.set_owner`). Moving it raises the total that is placed on one of the meter's debts 1..3
(docs/credit.md); taking it back raises what is withdrawn, and the bill is the head end's again only when the meter has
proved that it holds that order and its log is whole up to there: until then the meter may have collected more. What an
order moved that was never sent goes back at once (`debts_unsent`).

What the meter collects is part of what it charged, so the books have it as consumption; its event turns that into a
payment of the bill (`collected`, and an allocation), once. Events state thousandths of the currency, cut off: what is
left of a bill within a thousandth for each event was cut off, and is taken as collected.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, bindparam, exists, func, insert, select, update

from headend import audit
from headend.epochs import findings
from headend.ledger import accounts, allocation, bills, debts_unsent, entries, late_fee, zone
from headend.ledger.allocation import Allocation, ToBill
from headend.orders import lifecycle, terms
from headend.refusals import Refused
from headend.store import lock_meter
from headend.store.prepared import prepared
from headend.store.schema import lost_range, meter, meter_event, order
from headend.store.schema_money import bill
from headend.store.schema_readings import meter_reads
from headend.store.schema_refunds import meter_debt, meter_debt_bill, meter_debt_event
from meterlink import bodies, events, topics
from meterlink.batches import KIND_EVENTS
from meterlink.orders import ASPECT_DEBT

MILLI_UC = 1000  # events state money in thousandths of the currency
PLACED, WITHDRAWN = "debt.place", "debt.withdraw"
_STANDING_BIT = 1 << bodies.DEBTS

lifecycle.ENDED[ASPECT_DEBT] = debts_unsent.ended

audit.ACTIONS.update(
    {
        PLACED: ("moved bills to a meter", "欠费转由电表扣收"),
        WITHDRAWN: ("took bills back from a meter", "欠费由电表转回"),
    }
)

_EPOCH = select(meter.c.account_epoch).where(meter.c.meter == bindparam("of"))
_DEBTS = select(meter_debt).where(
    meter_debt.c.meter == bindparam("of"), meter_debt.c.account_epoch == bindparam("epoch")
)
_DEBT = _DEBTS.where(meter_debt.c.number == bindparam("which"))
_ANY = prepared(select(meter_debt.c.meter).where(meter_debt.c.meter == bindparam("of")).limit(1))
_LATEST_BEFORE = select(func.max(meter_debt.c.account_epoch)).where(
    meter_debt.c.meter == bindparam("of"), meter_debt.c.account_epoch < bindparam("opened")
)
_HERE = (
    meter_debt.c.meter == bindparam("of"),
    meter_debt.c.account_epoch == bindparam("at_epoch"),
    meter_debt.c.number == bindparam("which"),
)
_RAISE = update(meter_debt).where(*_HERE)
_BILLS = (
    select(meter_debt_bill)
    .join(bill, bill.c.id == meter_debt_bill.c.bill_id)
    .where(meter_debt_bill.c.meter == bindparam("of"), meter_debt_bill.c.account_epoch == bindparam("epoch"))
    .where(meter_debt_bill.c.collected_uc < meter_debt_bill.c.moved_uc)
    .where(bill.c.owner == bills.METER, bill.c.state == bills.OPEN)
    .order_by(meter_debt_bill.c.id)
)
_TAKEN_BACK = (
    select(meter_debt_bill.c.id, meter_debt_bill.c.bill_id, meter_debt_bill.c.collected_uc, order.c.state)
    .join(bill, bill.c.id == meter_debt_bill.c.bill_id)
    .join(
        meter_debt,
        (meter_debt.c.meter == meter_debt_bill.c.meter)
        & (meter_debt.c.account_epoch == meter_debt_bill.c.account_epoch)
        & (meter_debt.c.number == meter_debt_bill.c.number),
    )
    .join(order, order.c.id == meter_debt.c.order_id)
    .where(meter_debt_bill.c.meter == bindparam("of"), meter_debt_bill.c.withdrawn_uc > 0)
    .where(meter_debt_bill.c.collected_uc < meter_debt_bill.c.moved_uc)
    .where(bill.c.owner == bills.METER, bill.c.state == bills.OPEN)
)
_OF_BILL = update(meter_debt_bill).where(meter_debt_bill.c.id == bindparam("which"))
_COUNT = select(func.count()).where(
    meter_debt_event.c.meter == bindparam("of"), meter_debt_event.c.account_epoch == bindparam("epoch")
)
_TOLD = prepared(
    select(meter_event)
    .where(meter_event.c.meter == bindparam("of"), meter_event.c.log_id == bindparam("log"))
    .where(meter_event.c.seq >= bindparam("first"), meter_event.c.code == events.DEBT_COLLECTED)
    .where(
        ~exists().where(
            meter_debt_event.c.meter == meter_event.c.meter,
            meter_debt_event.c.log_id == meter_event.c.log_id,
            meter_debt_event.c.seq == meter_event.c.seq,
        )
    )
    .order_by(meter_event.c.seq)
)
_OPENED_AFTER = (
    select(meter_event.c.argument)
    .where(meter_event.c.meter == bindparam("of"), meter_event.c.log_id == bindparam("log"))
    .where(meter_event.c.seq > bindparam("after"), meter_event.c.code == events.EPOCH_OPENED)
    .order_by(meter_event.c.seq)
    .limit(1)
)
_WHOLE = select(meter_reads.c.event_whole_to >= meter_reads.c.event_newest).where(
    meter_reads.c.meter == bindparam("of")
)
_LOST = select(func.count()).where(
    lost_range.c.meter == bindparam("of"),
    lost_range.c.kind == KIND_EVENTS,
    lost_range.c.declared_s >= bindparam("since"),
)


class Terms(NamedTuple):
    """How the meter collects, as `bodies.DebtTerms` has it."""

    kind: int
    share: int = 0
    amount_uc: int = 0
    period: int = bodies.PERIOD_DAY
    priority: int = 0
    cap_uc: int = 0


def place(conn: Connection, now_s: int, number: int, debt: int, bill_ids: Sequence[int], how: Terms, actor: str) -> int:
    """Move open bills of a meter's account in force to its debt 1..3, with what is due of their late fees.

    Returns the id of the order that says so. Raises Refused for bills that are not open, or not the head end's.
    """
    lock_meter(conn, number)
    epoch = conn.execute(_EPOCH, {"of": number}).scalar_one()
    moved_uc = 0
    for bill_id in bill_ids:
        row = bills.get(conn, bill_id)
        if (row.meter, row.account_epoch) != (number, epoch):
            raise Refused("bill", bill_id, f"a bill of meter {topics.meter_name(number)}, account {epoch}")
        bills.set_owner(conn, now_s, bill_id, bills.METER, actor)
        left_uc = sum(_due(bills.get(conn, bill_id)))
        place_of = {"meter": number, "account_epoch": epoch, "number": debt, "bill_id": bill_id}
        conn.execute(insert(meter_debt_bill), {**place_of, "moved_uc": left_uc, "moved_s": now_s})
        moved_uc += left_uc
    if not moved_uc:
        raise Refused("bills", list(bill_ids), "bills of which something is owed")
    audit.record(conn, now_s, actor, PLACED, f"meter:{number}", {"debt": debt, "amount_uc": moved_uc})
    return _state(conn, now_s, number, epoch, debt, moved_uc, 0, how, actor)


def state_freely(
    conn: Connection, now_s: int, number: int, debt: int, stated: bodies.DebtTerms, actor: str, *, reason_text: str = ""
) -> int:
    """State a debt that no bill stands behind; returns the order's id. Raises Refused where bills were moved to it."""
    lock_meter(conn, number)
    epoch = conn.execute(select(meter.c.account_epoch).where(meter.c.meter == number)).scalar_one()
    if any(row.number == debt for row in of_account(conn, number, epoch)):
        raise Refused("debt", debt, "one that no bill was moved to: its totals follow from bills alone")
    return terms.set_debt(conn, now_s, number, debt, stated, actor, reason_text=reason_text)


def withdraw(conn: Connection, now_s: int, number: int, debt: int, actor: str) -> int:
    """Take back what the meter has not collected of a debt; returns the order's id. Raises Refused for nothing."""
    lock_meter(conn, number)
    epoch = conn.execute(_EPOCH, {"of": number}).scalar_one()
    row = conn.execute(_DEBT, {"of": number, "epoch": epoch, "which": debt}).one_or_none()
    known_bills = conn.execute(_BILLS, {"of": number, "epoch": epoch}).all()
    waiting = [one for one in known_bills if one.number == debt and not one.withdrawn_uc]
    if row is None or not waiting:
        raise Refused("debt", debt, "a debt of which bills are on the meter")
    back_uc = 0
    for one in waiting:
        left_uc = one.moved_uc - one.collected_uc
        conn.execute(_OF_BILL, {"which": one.id, "withdrawn_uc": left_uc})
        back_uc += left_uc
    known = bodies.decode_debt(row.terms)
    how = Terms(known.kind, known.share, known.amount_uc, known.period, known.priority, known.cap_uc)
    audit.record(conn, now_s, actor, WITHDRAWN, f"meter:{number}", {"debt": debt, "amount_uc": back_uc})
    return _state(conn, now_s, number, epoch, debt, 0, back_uc, how, actor)


def owed_uc(conn: Connection, number: int, epoch: int) -> int:
    """What the meter has still to collect, as far as its events have told."""
    rows = conn.execute(_BILLS, {"of": number, "epoch": epoch}).all()
    return sum(max(0, row.moved_uc - row.withdrawn_uc - row.collected_uc) for row in rows)


def of_account(conn: Connection, number: int, epoch: int) -> list[Row[Any]]:
    """The `meter_debt` rows of an account."""
    return sorted(conn.execute(_DEBTS, {"of": number, "epoch": epoch}).all(), key=lambda row: row.number)


def told(conn: Connection, now_s: int, number: int, log_id: int, first: int) -> None:
    """Events from `first` on are stored of a meter's log: book what they say was collected. Repeating changes nothing.

    Call with the meter's row locked.
    """
    if not _ANY(conn, {"of": number}).all():
        return
    for event in _TOLD(conn, {"of": number, "log": log_id, "first": first}):
        _collected(conn, now_s, event)
    follow(conn, now_s, number)


def follow(conn: Connection, now_s: int, number: int) -> None:
    """Hand back the bills whose withdrawal the meter holds, once its log is whole; tell of what its log has lost."""
    taken_back = conn.execute(_TAKEN_BACK, {"of": number}).all()
    if taken_back and conn.execute(_WHOLE, {"of": number}).scalar_one():
        for row in taken_back:
            if row.state == lifecycle.CONFIRMED:
                bills.set_owner(conn, now_s, row.bill_id, bills.HEAD_END, "meter")
                conn.execute(_OF_BILL, {"which": row.id, "moved_uc": row.collected_uc})
    epoch = conn.execute(_EPOCH, {"of": number}).scalar_one()
    waiting = conn.execute(_BILLS, {"of": number, "epoch": epoch}).all()
    if waiting and conn.execute(_LOST, {"of": number, "since": min(row.moved_s for row in waiting)}).scalar_one():
        owed = sum(row.moved_uc - row.collected_uc for row in waiting)
        sentence = f"A part of the log is lost: of {owed} on the meter some may be collected."
        findings.note(conn, now_s, number, findings.DEBT_UNSURE, sentence, owed)


def account_closed(conn: Connection, now_s: int, number: int, epoch: int) -> None:
    """A new account owes nothing on the meter: its bills are the head end's again."""
    for row in bills.open_of(conn, number, epoch):
        if row.owner == bills.METER:
            bills.set_owner(conn, now_s, row.id, bills.HEAD_END, "meter", f"account {epoch} was closed")


def _state(
    conn: Connection,
    now_s: int,
    number: int,
    epoch: int,
    debt: int,
    moved_uc: int,
    back_uc: int,
    how: Terms,
    actor: str,
) -> int:
    """State the totals of a debt."""
    row = conn.execute(_DEBT, {"of": number, "epoch": epoch, "which": debt}).one_or_none()
    placed_uc, withdrawn_uc = (0, 0) if row is None else (row.placed_uc, row.withdrawn_uc)
    if moved_uc and row is not None:  # what was collected before it could be taken back counts against what follows
        moved_uc += max(0, row.collected_uc + withdrawn_uc - placed_uc)
    stated = bodies.DebtTerms(
        placed_uc + moved_uc,
        withdrawn_uc + back_uc,
        how.kind,
        how.share,
        how.amount_uc,
        how.period,
        how.priority,
        how.cap_uc,
    )
    order_id = terms.set_debt(conn, now_s, number, debt, stated, actor)
    values = {"placed_uc": stated.placed_uc, "withdrawn_uc": stated.withdrawn_uc, "terms": stated.encode()}
    values |= {"order_id": order_id, "changed_s": now_s}
    if row is None:
        conn.execute(insert(meter_debt), {"meter": number, "account_epoch": epoch, "number": debt, **values})
    else:
        conn.execute(_RAISE, {"of": number, "at_epoch": epoch, "which": debt, **values})
    return order_id


def _collected(conn: Connection, now_s: int, event: Row[Any]) -> None:
    """Book one event: what it collected, of which debts."""
    epoch = _epoch_of(conn, event)
    amount_uc = event.argument * MILLI_UC
    key = {"meter": event.meter, "log_id": event.log_id, "seq": event.seq, "account_epoch": epoch}
    conn.execute(
        insert(meter_debt_event), {**key, "amount_uc": amount_uc, "debts": event.detail, "time_s": event.time_s}
    )
    debts = [number for number in range(1, bodies.DEBTS + 1) if event.detail >> (number - 1) & 1]
    if event.detail & _STANDING_BIT or len(debts) > 1:
        sentence = f"Event {event.seq} at {event.time_s}: {amount_uc} for debts {debts} and others together."
        findings.note_each(conn, now_s, event.meter, findings.DEBT_UNSURE, sentence, amount_uc)
    if event.detail & _STANDING_BIT:
        return
    waiting = conn.execute(_BILLS, {"of": event.meter, "epoch": epoch}).all()
    slack_uc = MILLI_UC * int(conn.execute(_COUNT, {"of": event.meter, "epoch": epoch}).scalar_one())
    left_uc = amount_uc
    paid: list[tuple[Row[Any], int]] = []
    for row in [row for row in waiting if row.number in debts]:
        part_uc = min(left_uc, row.moved_uc - row.collected_uc)
        left_uc -= part_uc
        rest_uc = row.moved_uc - row.collected_uc - part_uc
        part_uc += rest_uc if rest_uc < slack_uc and rest_uc % MILLI_UC else 0  # what was cut off of each event
        paid.append((row, part_uc))
    _pay(conn, now_s, event, epoch, [one for one in paid if one[1]])
    if left_uc > slack_uc:
        sentence = f"Event {event.seq} at {event.time_s}: {left_uc} beyond what was owed."
        findings.note_each(conn, now_s, event.meter, findings.DEBT_OVER, sentence, left_uc)


def _pay(conn: Connection, now_s: int, event: Row[Any], epoch: int, paid: list[tuple[Row[Any], int]]) -> None:
    """The bills are paid with it: late fee before principal, as any payment does."""
    total_uc = sum(part_uc for _, part_uc in paid)
    if not total_uc:
        return
    number = event.meter
    account = accounts.of_meter(number, epoch)
    cause = f"collected:{topics.meter_name(number)}:{event.log_id}:{event.seq}"
    accounts.open_account(conn, accounts.INCOME_ENERGY)
    entries.post(conn, now_s, entries.COLLECTED, accounts.INCOME_ENERGY, account, total_uc, number, cause)
    lines = []
    for row, part_uc in paid:
        bill = bills.get(conn, row.bill_id)
        fee_due_uc, left_uc = _due(bill)
        fee_uc = min(part_uc, fee_due_uc)
        fee = late_fee.Accrued(bill.fee_day, bill.fee_uc, bill.fee_rest)
        lines.append(ToBill(bill, fee_uc, part_uc - fee_uc, fee, fee_due_uc, left_uc))
        conn.execute(_OF_BILL, {"which": row.id, "collected_uc": row.collected_uc + part_uc})
    day = zone.day_of(zone.of(conn), now_s)
    allocation.book(conn, now_s, Allocation(day, tuple(lines), 0), account, cause)
    for debt in {row.number for row, _ in paid}:
        sum_uc = sum(part_uc for row, part_uc in paid if row.number == debt)
        found = conn.execute(_DEBT, {"of": number, "epoch": epoch, "which": debt}).one()
        conn.execute(
            _RAISE, {"of": number, "at_epoch": epoch, "which": debt, "collected_uc": found.collected_uc + sum_uc}
        )


def _due(row: Row[Any]) -> tuple[int, int]:
    """What is due of a bill that the meter collects: (late fee, principal)."""
    fee = late_fee.Accrued(row.fee_day, row.fee_uc, row.fee_rest)
    return late_fee.due_uc(fee, row.fee_paid_uc), row.principal_uc - row.paid_uc


def _epoch_of(conn: Connection, event: Row[Any]) -> int:
    """The account that an event belongs to: the one before the next that the log tells was opened."""
    asked = {"of": event.meter, "log": event.log_id, "after": event.seq}
    opened = conn.execute(_OPENED_AFTER, asked).scalar_one_or_none()
    if opened is None:
        return int(conn.execute(_EPOCH, {"of": event.meter}).scalar_one())
    before = conn.execute(_LATEST_BEFORE, {"of": event.meter, "opened": opened}).scalar_one()
    return int(opened) - 1 if before is None else int(before)
