"""What people may end by hand: an order that was not sent, and one whose meter will never answer."""

from typing import Any

from sqlalchemy import Connection, Row, bindparam, select

from headend import audit
from headend.gate import proposals
from headend.orders import lifecycle
from headend.refusals import Refused
from headend.store import lock_meter
from headend.store.schema import order
from meterlink import bodies, reasons
from meterlink.orders import ASPECT_CLEAR, ASPECT_CLOCK, ASPECT_LIMITS, ASPECT_LOAD, ASPECT_SUPPLY, ASPECT_TARIFF

# What stands by itself: no books have moved with it, and no key waits for it.
WITHDRAWN = (ASPECT_SUPPLY, ASPECT_TARIFF, ASPECT_LIMITS, ASPECT_LOAD, ASPECT_CLOCK, ASPECT_CLEAR)

_ROW = select(order).where(order.c.id == bindparam("of"))


def cancel(
    conn: Connection, now_s: int, order_id: int, actor: str, why: str = "", *, as_approver: bool = False
) -> None:
    """Withdraw an order that was not sent: its author may, and `as_approver` whoever may approve orders.

    Not withdrawn is what gives supply back (a newer hold takes its place), a hold for safety (its release does), and
    what the books have moved with. Raises UnknownOrder, Refused.
    """
    row = _get(conn, order_id)
    _check_withdrawn(row)
    if actor != row.actor and not as_approver:
        raise Refused("actor", actor, f"{row.actor}, who stated it, or somebody who may approve it")
    if row.proposal is not None and row.state in lifecycle.WAITING:
        kept = proposals.locked(conn, row.proposal)  # before the meter
        if kept.kind == "order":
            proposals.withdraw(conn, now_s, row.proposal, actor, why, as_approver=as_approver)
            _audited(conn, now_s, actor, "order.cancelled", row, why)
            return
    lock_meter(conn, row.meter)
    lifecycle.move(conn, now_s, order_id, "cancel", f"withdrawn by {actor}: {why}")
    _audited(conn, now_s, actor, "order.cancelled", row, why)


def write_off(conn: Connection, now_s: int, order_id: int, actor: str, why: str) -> None:
    """Give up an order that its meter will never answer: one that is `unknown` or `accepted`. Raises UnknownOrder,
    Refused."""
    row = _get(conn, order_id)
    if not why.strip():
        raise Refused("why", why, "why the meter will never answer, in words")
    lock_meter(conn, row.meter)
    lifecycle.move(conn, now_s, order_id, "write_off", f"given up by {actor}: {why}")
    _audited(conn, now_s, actor, "order.written_off", row, why)


def _get(conn: Connection, order_id: int) -> Row[Any]:
    row: Row[Any] | None = conn.execute(_ROW, {"of": order_id}).one_or_none()
    if row is None:
        raise lifecycle.UnknownOrder(order_id)
    return row


def _check_withdrawn(row: Row[Any]) -> None:
    what = "an order that takes something away, or sets a tariff, limits, the clock or latches"
    if row.aspect not in WITHDRAWN:
        raise Refused("order", row.id, what)
    if row.aspect == ASPECT_SUPPLY:
        holds = bodies.decode_supply(row.body)[0] == bodies.HOLD
        if row.selector == reasons.HOLD_SAFETY or holds == (row.selector == reasons.HOLD_PROTECTION):
            raise Refused("order", row.id, f"{what}; not one for safety")


def _audited(conn: Connection, now_s: int, actor: str, action: str, row: Row[Any], why: str) -> None:
    audit.record(conn, now_s, actor, action, f"order:{row.id}", {"meter": row.meter, "why": why})
