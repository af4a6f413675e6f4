"""Taking money off a meter: stated as a total, believed when the meter shows it.

A refund raises the *refunded* total of our credit source; the meter takes a statement as a whole or refuses it as a
whole (`refund_exceeds`, docs/credit.md), and a report or receipt shows its totals. Meanwhile the money stands in
`clearing:refund`: it is neither the customer's nor paid out.

Totals never fall, not even those that the meter has refused: an order that was signed can arrive at any time, and one
that states less could not keep it from being applied to what is paid later. So what was refused is credited again with
the same statement (credited + amount, refunded unchanged): such a statement never exceeds, a later payment rides on it,
and whichever copies arrive in whatever order, nothing is left but what the books say.

Money that gives is not held back by a refund: a payment that would have to wait for one at the gate goes ahead of it
(`orders.credit`), and the refund is stated again when a report has come.

One refund of a meter is under way at a time, so that a refusal names it; others wait their turn. Everything here is
called with the meter's row locked.
"""

from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, or_, select, update

from headend.ledger import accounts, balances, entries
from headend.ledger.refunds import life
from headend.orders import lifecycle
from headend.orders.credit import credit_statement
from headend.orders.stored import stored_report
from headend.store import identity, lock_meter
from headend.store.prepared import prepared
from headend.store.schema import meter, meter_state, meter_trust, order
from headend.store.schema_refunds import refund
from meterlink import bodies, topics
from meterlink.orders import ASPECT_CREDIT
from meterlink.reports import Report

ACTOR = "head-end:refunds"
METER = "meter"

_STATED = prepared(select(refund).where(refund.c.meter == bindparam("of"), refund.c.state == life.STATED))
_NEXT = (
    select(refund)
    .where(refund.c.meter == bindparam("of"), refund.c.state == life.APPROVED)
    .order_by(refund.c.id)
    .limit(1)
)
_STANDING = (
    select(meter.c.account_epoch, meter_trust.c.readback_source, meter_state)
    .join(meter_trust, meter_trust.c.meter == meter.c.meter)
    .join(meter_state, meter_state.c.meter == meter.c.meter)
    .where(meter.c.meter == bindparam("of"))
)
_TOTALS = (
    update(meter_state)
    .where(meter_state.c.meter == bindparam("of"))
    .values(
        sold_uc=meter_state.c.sold_uc + bindparam("credited"),
        refunded_uc=meter_state.c.refunded_uc + bindparam("taken"),
    )
    .returning(*meter_state.c)
)
_OF_ACCOUNT = refund.c.meter == bindparam("of"), refund.c.account_epoch == bindparam("epoch")
_ALL_CARRIED = select(func.coalesce(func.sum(refund.c.carried_uc), 0)).where(*_OF_ACCOUNT)
_CARRIED = prepared(_ALL_CARRIED)
_CARRIED_BY = _ALL_CARRIED.where(refund.c.source == bindparam("from_source"))
_UNDER_WAY = prepared(
    select(func.coalesce(func.sum(refund.c.amount_uc), 0)).where(*_OF_ACCOUNT, refund.c.state == life.STATED)
)
_OF_SOURCE = select(refund).where(
    *_OF_ACCOUNT, refund.c.source == bindparam("from_source"), refund.c.refunded_uc > bindparam("shown")
)
_NEWEST = (
    select(order.c.body, order.c.state)
    .where(
        order.c.meter == bindparam("of"),
        order.c.account_epoch == bindparam("epoch"),
        order.c.aspect == ASPECT_CREDIT,
        order.c.selector == bindparam("from_source"),
        or_(order.c.state == lifecycle.QUEUED, order.c.sent_s.is_not(None)),
    )
    .order_by(order.c.id.desc())
    .limit(1)
)
_BY_ORDER = update(refund).where(refund.c.id == bindparam("which")).values(order_id=bindparam("made"))
_CARRY = update(refund).where(refund.c.id == bindparam("which")).values(carried_uc=bindparam("left"))


def under_way_uc(conn: Connection, number: int, epoch: int) -> int:
    """What is stated as refunded and neither proved nor refused: it stands in `clearing:refund`."""
    return int(_UNDER_WAY(conn, {"of": number, "epoch": epoch}).scalar_one())


def carried_uc(conn: Connection, number: int, epoch: int) -> int:
    """How much of what the meter shows, or will show, as refunded is explained by refunds of these books."""
    account = accounts.of_meter(number, epoch)
    found_uc = balances.booked_uc(conn, entries.REFUND_FOUND, account)
    return int(_CARRIED(conn, {"of": number, "epoch": epoch}).scalar_one()) + found_uc


def taken_by_uc(conn: Connection, number: int, epoch: int, source: int) -> int:
    """What a source that is closed on the meter has taken back for refunds."""
    asked = {"of": number, "epoch": epoch, "from_source": source}
    found = entries.of_causes(conn, entries.REFUND_FOUND, [found_cause(number, epoch, source)])
    return int(conn.execute(_CARRIED_BY, asked).scalar_one()) + sum(int(row.amount_uc) for row in found)


def found_cause(number: int, epoch: int, source: int) -> str:
    """Names what a closed source had taken back that the books did not know."""
    return f"refund_found:{topics.meter_name(number)}:{epoch}:{source}"


def available_uc(standing: Any) -> int:
    """What may be taken off, as far as is known: what the newest report shows, and what is on its way.

    `standing`: the columns of `meter_state` with the `account_epoch` in force.
    """
    newest = stored_report(standing.report)
    if newest is None or newest.account_epoch != standing.account_epoch:
        return int(standing.sold_uc - standing.refunded_uc)
    return max(0, newest.balance_uc + newest.waiting_uc) + int(standing.sold_uc - standing.on_meter_uc)


def standing_of(conn: Connection, number: int) -> Any:
    """The columns of `meter_state`, `account_epoch`, `readback_source`."""
    return conn.execute(_STANDING, {"of": number}).one()


def next_one(conn: Connection, number: int) -> Row[Any] | None:
    """The approved refund whose turn it is; None where there is none, or one is under way."""
    standing = standing_of(conn, number)
    if standing.readback_source is not None or _STATED(conn, {"of": number}).all():
        return None
    return conn.execute(_NEXT, {"of": number}).one_or_none()


def state(conn: Connection, now_s: int, row: Row[Any]) -> Row[Any] | None:
    """State an approved refund; its row then, or None where what is known already forbids it."""
    standing = standing_of(conn, row.meter)
    room_uc = standing.sold_uc - standing.refunded_uc  # a source cannot take back more than it gave
    if row.amount_uc > min(room_uc, available_uc(standing)):
        return None
    source = identity.get(conn).source
    raised = conn.execute(_TOTALS, {"of": row.meter, "credited": 0, "taken": row.amount_uc}).one()
    accounts.open_account(conn, accounts.REFUNDS)
    _post(conn, now_s, row, entries.REFUND, accounts.of_meter(row.meter, row.account_epoch), accounts.REFUNDS)
    order_id = credit_statement(conn, now_s, raised, raised.sold_uc, row.asked_by, taking_uc=row.amount_uc)
    facts = {"source": source, "refunded_uc": raised.refunded_uc, "carried_uc": row.amount_uc, "order_id": order_id}
    return life.move(conn, now_s, row, "state", ACTOR, f"order {order_id}", **facts)


def state_again(conn: Connection, now_s: int, row: Row[Any]) -> None:
    """State a refund that a payment went ahead of, once that is sent; where it is carried already, nothing changes."""
    newest = {"of": row.meter, "epoch": row.account_epoch, "from_source": row.source}
    last = None if row.source is None else conn.execute(_NEWEST, newest).one_or_none()
    if last is None or last.state == lifecycle.QUEUED or bodies.decode_credit(last.body)[1] >= row.refunded_uc:
        return
    if row.source != identity.get(conn).source or standing_of(conn, row.meter).readback_source is not None:
        return
    totals = lock_meter(conn, row.meter)
    order_id = credit_statement(conn, now_s, totals, totals.sold_uc, row.asked_by)
    conn.execute(_BY_ORDER, {"which": row.id, "made": order_id})


def stated(conn: Connection, number: int) -> Row[Any] | None:
    """The refund that is under way on a meter."""
    row: Row[Any] | None = _STATED(conn, {"of": number}).one_or_none()
    return row


def proves(row: Row[Any] | None, report: Report) -> bool:
    """Whether a report shows that the meter has taken a stated refund off."""
    if row is None or row.source is None or (row.source, row.account_epoch) != (report.selector, report.account_epoch):
        return False
    return bool(report.source_refunded_uc >= row.refunded_uc)


def is_refused(row: Row[Any] | None, order_source: int, body: bytes, report: Report) -> bool:
    """Whether an order that the meter refused with `refund_exceeds` carries a stated refund that it does not have."""
    if row is None or row.source != order_source or row.account_epoch != report.account_epoch:
        return False
    return bool(report.source_refunded_uc < row.refunded_uc <= bodies.decode_credit(body)[1])


def give_back(conn: Connection, now_s: int, row: Row[Any], *, restate: bool) -> None:
    """The money of a stated refund is the customer's again; `restate`: and credited again on the meter."""
    _post(conn, now_s, row, entries.REFUND_RETURNED, accounts.REFUNDS, accounts.of_meter(row.meter, row.account_epoch))
    raised = conn.execute(_TOTALS, {"of": row.meter, "credited": row.amount_uc, "taken": 0}).one()
    if restate:
        credit_statement(conn, now_s, raised, raised.sold_uc, ACTOR)


def pay_out(conn: Connection, now_s: int, row: Row[Any], account: str) -> None:
    """The meter has proved that the money is off it: it goes to `account`."""
    _post(conn, now_s, row, entries.REFUND_PAID, accounts.REFUNDS, account)


def forget_unshown(conn: Connection, number: int, epoch: int, source: int, shown_uc: int) -> None:
    """A source is closed on the meter, with `shown_uc` refunded: what its statements said beyond never happens."""
    asked = {"of": number, "epoch": epoch, "from_source": source, "shown": shown_uc}
    for row in conn.execute(_OF_SOURCE, asked).all():
        left_uc = max(0, row.carried_uc - (row.refunded_uc - shown_uc))
        conn.execute(_CARRY, {"which": row.id, "left": left_uc})


def _post(conn: Connection, now_s: int, row: Row[Any], kind: str, debit: str, credit: str) -> None:
    entries.post(conn, now_s, kind, debit, credit, row.amount_uc, meter=row.meter, cause=f"refund:{row.id}")
