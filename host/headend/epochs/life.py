"""The life of accounts: another tenant, another meter, a repair, the end.

An account epoch outranks every earlier one on its meter, for good: orders of the old account, wherever a copy of them
lies, can do nothing any more. The books close the old account in the same transaction that states the order, by the
newest report; the meter's own closing statement corrects that to the unit (`closing`).
"""

from typing import Any

from sqlalchemy import Connection, Row, bindparam, select, update

from headend.epochs import closing
from headend.fleet import placement
from headend.fleet.placement import UNREAD, Readings
from headend.ledger import accounts, bills
from headend.orders import account, lifecycle
from headend.people import holdings
from headend.refusals import Refused
from headend.registry import following, holds
from headend.store import lock_meter
from headend.store.schema import closing as closing_row
from headend.store.schema import entry, meter, meter_state, meter_trust, order
from meterlink import bodies_root, reasons
from meterlink.orders import (
    ASPECT_CREDIT,
    ASPECT_DEBT,
    ASPECT_KEYS,
    ASPECT_LIMITS,
    ASPECT_LOAD,
    ASPECT_SUPPLY,
    ASPECT_TARIFF,
)

TENANT = "tenant"
EXCHANGED = "exchanged"
REPAIRED = "repaired"
IMPORTED = "imported"
COMMISSIONED = "commissioned"

# Why an account is opened or retired -> the code on the wire.
CAUSES = {
    COMMISSIONED: bodies_root.EPOCH_COMMISSIONED,
    TENANT: bodies_root.EPOCH_TENANT,
    EXCHANGED: bodies_root.EPOCH_EXCHANGED,
    REPAIRED: bodies_root.EPOCH_REPAIRED,
    IMPORTED: bodies_root.EPOCH_IMPORTED,
}
_SAME_CUSTOMER = (REPAIRED, IMPORTED, EXCHANGED)
MAX_EPOCH = 0xFFFF
_SAFETY = 1 << reasons.HOLD_SAFETY  # stays in any case
ALL_HOLDS = (1 << reasons.HOLD_PROTECTION + 1) - 2

_STANDING = (
    select(meter.c.account_epoch, meter_trust.c.readback_source)
    .join(meter_trust, meter_trust.c.meter == meter.c.meter)
    .where(meter.c.meter == bindparam("of"))
)
_CLOSED = select(closing_row.c.moved_to).where(
    closing_row.c.meter == bindparam("of"), closing_row.c.account_epoch == bindparam("epoch")
)


def open_epoch(
    conn: Connection,
    now_s: int,
    number: int,
    cause: str,
    actor: str,
    *,
    kept_holds: int = 0,
    epoch: int | None = None,
    reason_text: str = "",
) -> int:
    """Open the next account on a meter, and close the one in force; returns the id of the order that says so.

    `cause`: one of `CAUSES`; what is left of the old account goes to the same customer's new one, but at a change of
    tenant (and at commissioning) to the former customer · `kept_holds`: bit n keeps the hold of reason n (safety stays
    in any case) · `epoch`: a later account than the next one, as after a restore. Raises Refused.
    """
    if cause not in CAUSES:
        raise Refused("cause", cause, f"one of {', '.join(CAUSES)}")
    if kept_holds & ~ALL_HOLDS or kept_holds < 0:
        raise Refused("kept_holds", kept_holds, f"bits of {ALL_HOLDS}")
    state, standing = _lock(conn, number)
    old = standing.account_epoch
    new = old + 1 if epoch is None else epoch
    if not old < new <= MAX_EPOCH:
        raise Refused("account_epoch", new, f"{old + 1}..{MAX_EPOCH}, later than the one in force")
    closed = conn.execute(_CLOSED, {"of": number, "epoch": old}).first() is not None
    heir = accounts.of_meter(number, new)
    accounts.open_account(conn, heir)
    if not closed:
        moved_to = heir if cause in _SAME_CUSTOMER else accounts.former_of(number, old)
        closing.begin(conn, now_s, state, old, cause, moved_to)
    conn.execute(update(meter).where(meter.c.meter == number).values(account_epoch=new))
    fresh = {"sold_uc": 0, "refunded_uc": 0, "on_meter_uc": 0, "booked_uc": 0, "replacing": None}
    conn.execute(update(meter_state).where(meter_state.c.meter == number).values(fresh))
    zeros = {"typed_uc": 0, "adjusted_uc": 0}
    conn.execute(update(meter_trust).where(meter_trust.c.meter == number).values(zeros))
    order_id = account.open_epoch(conn, now_s, number, new, CAUSES[cause], kept_holds, actor, reason_text)
    _carry_over(conn, now_s, number, old, new, kept_holds)
    holds.carry_safety(conn, now_s, number, number, actor, f"stands for account epoch {new} too")
    same_customer = cause in _SAME_CUSTOMER
    following.another_account(conn, now_s, number, old, new, actor, same_customer=same_customer)
    holdings.follow(conn, now_s, (number, old), (number, new) if same_customer else None, actor)
    if not closed:
        closing.sweep(conn, now_s, number, old, "opening")
    if cause in _SAME_CUSTOMER:
        bills.follow(conn, now_s, number, old, (number, new), actor)
    return order_id


def retire(
    conn: Connection,
    now_s: int,
    number: int,
    actor: str,
    *,
    cause: str = REPAIRED,
    reason_text: str = "",
    read: Readings = UNREAD,
) -> int:
    """Close a meter's account for good: what is left goes to its former customer, and the meter stands nowhere any
    more. `read`: its registers, as somebody read them. Returns the order's id."""
    if CAUSES.get(cause, 0) not in range(bodies_root.EPOCH_TENANT, bodies_root.EPOCH_REPAIRED + 1):
        raise Refused("cause", cause, f"one of {', '.join((TENANT, EXCHANGED, REPAIRED))}")
    state, standing = _lock(conn, number)
    moved_to = accounts.former_of(number, standing.account_epoch)
    holdings.follow(conn, now_s, (number, standing.account_epoch), None, actor)
    placement.taken_away(conn, now_s, number, actor, read=read)
    return _retire(conn, now_s, state, standing.account_epoch, cause, moved_to, actor, reason_text)


def exchange(
    conn: Connection,
    now_s: int,
    old_meter: int,
    new_meter: int,
    actor: str,
    *,
    reason_text: str = "",
    old_read: Readings = UNREAD,
    new_read: Readings = UNREAD,
) -> int:
    """Another meter takes the place of one: its account goes on there, and the old meter is retired.

    The new meter is in the fleet, and nothing was booked on its account in force. Exclusions, a hold for safety and
    the supply point go on there. `old_read`, `new_read`: registers, as somebody read them. Returns the id of the order
    that retires the old one. Raises Refused.
    """
    if old_meter == new_meter:
        raise Refused("new_meter", new_meter, "another meter than the one that it takes the place of")
    # In the order of the meters, so that two at a time cannot wait for each other.
    locked = {number: _lock(conn, number) for number in sorted((old_meter, new_meter))}
    epoch = locked[new_meter][1].account_epoch
    heir = accounts.of_meter(new_meter, epoch)
    used = conn.execute(select(entry.c.id).where((entry.c.credit == heir) | (entry.c.debit == heir)).limit(1)).first()
    if used is not None or conn.execute(_CLOSED, {"of": new_meter, "epoch": epoch}).first() is not None:
        raise Refused("new_meter", new_meter, "a meter with a fresh account: open one on it first")
    state, standing = locked[old_meter]
    holds.carry_safety(conn, now_s, old_meter, new_meter, actor, f"stood on meter {old_meter}")
    old_account, new_account = (old_meter, standing.account_epoch), (new_meter, epoch)
    following.another_meter(conn, now_s, old_account, new_account, actor)
    holdings.follow(conn, now_s, old_account, new_account, actor)
    bills.follow(conn, now_s, old_meter, standing.account_epoch, (new_meter, epoch), actor)
    placement.exchanged(conn, now_s, old_meter, new_meter, actor, old_read=old_read, new_read=new_read)
    return _retire(conn, now_s, state, standing.account_epoch, EXCHANGED, heir, actor, reason_text)


def _retire(
    conn: Connection, now_s: int, state: Row[Any], epoch: int, cause: str, moved_to: str, actor: str, reason_text: str
) -> int:
    number = state.meter
    if conn.execute(_CLOSED, {"of": number, "epoch": epoch}).first() is not None:
        raise Refused("meter", number, f"a meter whose account epoch {epoch} is not closed yet")
    closing.begin(conn, now_s, state, epoch, cause, moved_to)
    order_id = account.retire(conn, now_s, number, epoch, CAUSES[cause], actor, reason_text)
    for row in _unsent(conn, number, epoch):
        if row.id != order_id and row.aspect != ASPECT_KEYS:
            lifecycle.move(conn, now_s, row.id, "supersede", "its account is closed for good")
    closing.sweep(conn, now_s, number, epoch, "retirement")
    return order_id


def _lock(conn: Connection, number: int) -> tuple[Row[Any], Any]:
    """The meter's locked row, and how its account stands."""
    state = lock_meter(conn, number)
    standing = conn.execute(_STANDING, {"of": number}).one()
    if standing.readback_source is not None:
        source = standing.readback_source
        raise Refused("meter", number, f"a meter that is read back: source {source} is not settled yet")
    return state, standing


def _carry_over(conn: Connection, now_s: int, number: int, old: int, new: int, kept_holds: int) -> None:
    """Statements that the meter has not seen go on for the new account, but for credit, debts and holds that go."""
    for row in _unsent(conn, number, old):
        dropped = row.aspect == ASPECT_SUPPLY and not (kept_holds | _SAFETY) >> row.selector & 1
        if row.aspect in (ASPECT_CREDIT, ASPECT_DEBT) or dropped:
            lifecycle.move(
                conn, now_s, row.id, "supersede", f"its account was closed before it was sent; {new} follows"
            )
        elif row.state != lifecycle.QUEUED:  # what was approved, or is to be, was meant for the account that is over
            lifecycle.move(conn, now_s, row.id, "supersede", f"its account was closed before it was approved; {new}")
        elif row.aspect in (ASPECT_TARIFF, ASPECT_LIMITS, ASPECT_LOAD, ASPECT_SUPPLY):
            # Never sent, so a signature under the old account is nobody's.
            values = {"account_epoch": new, "signed": None, "digest": None}
            conn.execute(update(order).where(order.c.id == row.id).values(values))
            lifecycle.remark(conn, now_s, row.id, "account", f"goes on for account epoch {new}")


def _unsent(conn: Connection, number: int, epoch: int) -> list[Row[Any]]:
    mine = order.c.meter == number, order.c.account_epoch == epoch, order.c.state.in_(lifecycle.UNSENT)
    columns = order.c.id, order.c.aspect, order.c.selector, order.c.state
    return list(conn.execute(select(*columns).where(*mine).order_by(order.c.id)))
