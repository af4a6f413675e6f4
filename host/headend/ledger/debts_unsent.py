"""What becomes of bills that were moved to a meter by an order that was never sent: they are the head end's again.

Nobody approved it, the gate ended it, or it could not be signed. The meter goes on with what was sent to it before, so
the debt's totals are those again, and the bills that were moved since go back, in the transaction that ends the order.
"""

from sqlalchemy import Connection, bindparam, or_, select, update

from headend.ledger import bills
from headend.orders import lifecycle
from headend.store.schema import order
from headend.store.schema_money import bill
from headend.store.schema_refunds import meter_debt, meter_debt_bill
from meterlink import bodies
from meterlink.orders import ASPECT_DEBT

ACTOR = "head-end:debts"

_DEBT = select(meter_debt).where(meter_debt.c.order_id == bindparam("of"))
# The newest statement of that debt which its meter holds, or may come to hold.
_REACHES = (
    select(order.c.id, order.c.body)
    .where(
        order.c.meter == bindparam("of"),
        order.c.account_epoch == bindparam("epoch"),
        order.c.aspect == ASPECT_DEBT,
        order.c.selector == bindparam("which"),
        order.c.state != lifecycle.REFUSED,
        or_(order.c.state == lifecycle.QUEUED, order.c.sent_s.is_not(None)),
    )
    .order_by(order.c.signing_epoch.desc(), order.c.version.desc())
    .limit(1)
)
_MOVED = (
    select(meter_debt_bill, bill.c.owner, bill.c.state)
    .join(bill, bill.c.id == meter_debt_bill.c.bill_id)
    .where(
        meter_debt_bill.c.meter == bindparam("of"),
        meter_debt_bill.c.account_epoch == bindparam("epoch"),
        meter_debt_bill.c.number == bindparam("which"),
        meter_debt_bill.c.withdrawn_uc == 0,
    )
    .order_by(meter_debt_bill.c.id.desc())
)
_NOT_MOVED = update(meter_debt_bill).where(meter_debt_bill.c.id == bindparam("row_id"))
_AS_BEFORE = update(meter_debt).where(meter_debt.c.order_id == bindparam("of"))


def ended(conn: Connection, now_s: int, order_id: int, state: str) -> None:
    """An order on a debt has ended; its meter is locked. Only one that was never sent hands anything back."""
    if state not in (lifecycle.CANCELLED, lifecycle.EXPIRED, lifecycle.FAILED):
        return
    debt = conn.execute(_DEBT, {"of": order_id}).one_or_none()
    if debt is None:  # no bill stands behind it
        return
    place = {"of": debt.meter, "epoch": debt.account_epoch, "which": debt.number}
    known = conn.execute(_REACHES, place).one_or_none()
    stated = None if known is None else bodies.decode_debt(known.body)
    placed_uc, withdrawn_uc = (0, 0) if stated is None else (stated.placed_uc, stated.withdrawn_uc)
    left_uc = debt.placed_uc - placed_uc
    for row in conn.execute(_MOVED, place).all():  # what was moved last was never placed
        if left_uc <= 0:
            break
        left_uc -= row.moved_uc
        if (row.owner, row.state) == (bills.METER, bills.OPEN):
            bills.set_owner(conn, now_s, row.bill_id, bills.HEAD_END, ACTOR, f"order {order_id} was never sent")
            conn.execute(_NOT_MOVED, {"row_id": row.id, "moved_uc": row.collected_uc})
    as_before = {"placed_uc": placed_uc, "withdrawn_uc": withdrawn_uc, "changed_s": now_s}
    if known is not None:
        as_before |= {"order_id": known.id, "terms": known.body}
    conn.execute(_AS_BEFORE, {"of": order_id, **as_before})
