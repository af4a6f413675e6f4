"""Approved orders on their way into the queue, at the pace that budgets allow.

An approved list says what may be done, not that it is done at once: its orders are stated one by one, as there is room
for them in every scope, and each is asked everything again when it is sent. A list that was proposed before a payment,
an exclusion or a freeze stops no customer whom these protect.
"""

from collections.abc import Callable
from typing import Any

from sqlalchemy import BigInteger, Connection, Row, bindparam, func, select, update

from headend.gate import budget, checks, policy, proposals
from headend.gate.budget import Budget
from headend.gate.checks import Asked
from headend.gate.policy import APPROVED, SCOPES
from headend.orders import lifecycle
from headend.store import lock_meter
from headend.store.prepared import prepared
from headend.store.schema import meter, order
from headend.store.schema_gate import proposal, proposal_item

WAITING, QUEUED, DROPPED, RELEASED = "waiting", "queued", "dropped", "released"
LIMIT = 25  # meters in one transaction: others wait for it
SCAN = 5_000  # meters that are looked at to find them,
PAGE = 200  # … so many at a time
AGAIN_S = 60  # until a list is looked at again that could not go on
MAX_NOTE = 200

StateOne = Callable[[Connection, int, Row[Any]], int]

_DUE = (
    select(proposal)
    .where(proposal.c.next_s <= bindparam("now"))
    .order_by(proposal.c.next_s, proposal.c.id)
    .limit(1)
    .with_for_update(skip_locked=True)
)
_NEXT = select(func.min(proposal.c.next_s))
_ITEMS = (
    select(proposal_item)
    .where(proposal_item.c.proposal == bindparam("of"), proposal_item.c.state == bindparam("how"))
    .order_by(proposal_item.c.meter)
    .limit(bindparam("at_most"))
)
_WAITING = (
    select(proposal_item, meter.c.area)
    .join(meter, meter.c.meter == proposal_item.c.meter)
    .where(
        proposal_item.c.proposal == bindparam("of"),
        proposal_item.c.state == WAITING,
        proposal_item.c.meter > bindparam("after", type_=BigInteger),
    )
    .order_by(proposal_item.c.meter)
    .limit(bindparam("at_most"))
)
# What a payment, a release or another account ended before it was approved.
_DEAD = (
    select(proposal.c.id)
    .join(proposal_item, proposal_item.c.proposal == proposal.c.id)
    .join(order, order.c.id == proposal_item.c.order_id)
    .where(proposal.c.state == proposals.OPEN, order.c.state.not_in(lifecycle.WAITING))
    .order_by(proposal.c.id)
    .limit(1)
    .with_for_update(skip_locked=True, of=proposal)
)
_SET = prepared(
    update(proposal_item).where(
        proposal_item.c.proposal == bindparam("of"), proposal_item.c.meter == bindparam("at_meter")
    )
)
_STATE = prepared(select(order.c.state).where(order.c.id == bindparam("of")))


def tick(conn: Connection, now_s: int) -> bool:
    """Carry on one proposal that wants attention: let it expire, queue some of it, recall some of it. False where none
    does. One in a transaction: each locks its meters in rising order."""
    dead = conn.execute(_DEAD).scalar_one_or_none()
    if dead is not None:
        proposals.change(conn, dead, state=proposals.VOID, next_s=None, note="its order ended before it was approved")
        return True
    row = conn.execute(_DUE, {"now": now_s}).one_or_none()
    if row is None:
        return False
    early = row.state in (proposals.PREPARING, proposals.APPROVED)
    if row.state == proposals.OPEN or (early and row.expires_s < now_s):
        proposals.expire(conn, now_s, row.id)
    else:
        go_on = proposals.kind_of(row.kind).go_on
        next_s = None if go_on is None else go_on(conn, now_s, row)
        proposals.change(conn, row.id, next_s=next_s)
    return True


def next_s(conn: Connection) -> int | None:
    """When `tick` has something to do at the earliest."""
    at_s: int | None = conn.execute(_NEXT).scalar_one()
    return at_s


def items(conn: Connection, proposal_id: int, state: str, limit: int) -> list[Row[Any]]:
    """Meters of a list in a state, by number."""
    return list(conn.execute(_ITEMS, {"of": proposal_id, "how": state, "at_most": limit}))


def set_item(conn: Connection, proposal_id: int, meter_id: int, **columns: Any) -> None:
    _SET(conn, {"of": proposal_id, "at_meter": meter_id, **columns})


def queue_some(conn: Connection, now_s: int, row: Row[Any], state_one: StateOne) -> int | None:
    """Queue what there is room for; returns when to go on, or None where nothing waits any more.

    `state_one(conn, now_s, item)`: states or queues the order of an item, whose meter is locked, and returns its id.
    """
    rules = policy.get(conn)
    subject = proposals.kind_of(row.kind).subject
    aspect, selector = (0, 0) if subject is None else subject(row)
    room = Budget(conn, now_s, rules, APPROVED, with_queued=True)
    full: dict[tuple[str, str], int] = {}  # scopes without room, and when they have some again
    queued = seen = last = 0
    while seen < SCAN and queued < LIMIT and not any(scope in full for scope in _everywhere(row.author)):
        some = conn.execute(_WAITING, {"of": row.id, "after": last, "at_most": PAGE}).all()
        if not some:
            break
        for item in some:
            if queued >= LIMIT:
                break
            last, seen = item.meter, seen + 1
            place = budget.place(item.area, row.author, rules)
            if any((scope, place.name(scope)) in full for scope in SCOPES):
                continue
            left = room.room(place)
            if left.left < 1:
                full[left.scope, left.name] = left.free_s
                continue
            lock_meter(conn, item.meter)
            if item.order_id is not None and _state(conn, item.order_id) != lifecycle.APPROVED:
                set_item(conn, row.id, item.meter, state=DROPPED, note="its order ended before its turn")
                continue
            asked = Asked(item.meter, aspect, selector, APPROVED, row.author, row.proposed_s, now_s, row.id)
            no = next(checks.forbids(conn, now_s, asked, rules), None)
            if no is not None:
                if no.ends:
                    _drop(conn, now_s, row.id, item, no.say())
                continue
            room.take(place)
            queued += 1
            set_item(conn, row.id, item.meter, state=QUEUED, order_id=state_one(conn, now_s, item))
    if not conn.execute(_WAITING, {"of": row.id, "after": 0, "at_most": 1}).all():
        proposals.change(conn, row.id, state=proposals.DONE)
        return None
    if queued >= LIMIT:
        return now_s + 1
    expires_s: int = row.expires_s
    return max(now_s + 1, min([now_s + AGAIN_S, expires_s + 1, *full.values()]))


def _everywhere(author: str) -> tuple[tuple[str, str], ...]:
    return ("actor", author), ("utility", "")


def _drop(conn: Connection, now_s: int, proposal_id: int, item: Row[Any], why: str) -> None:
    if item.order_id is not None:
        lifecycle.move(conn, now_s, item.order_id, "cancel", why)
    set_item(conn, proposal_id, item.meter, state=DROPPED, note=why[:MAX_NOTE])


def give_up(conn: Connection, now_s: int, row: Row[Any], event: str, note: str) -> None:
    """A proposal ended without having been carried out to the end: what waits of it is dropped."""
    for item in conn.execute(_WITH_ORDERS, {"of": row.id}).all():
        lock_meter(conn, item.meter)
        state = _state(conn, item.order_id)
        if state in lifecycle.WAITING:
            known = (state, event) in lifecycle.SUPPLY
            lifecycle.move(conn, now_s, item.order_id, event if known else "cancel", note)
    conn.execute(_DROP_ALL, {"of": row.id, "note": note[:MAX_NOTE], "state": DROPPED})


_WITH_ORDERS = (
    select(proposal_item.c.meter, proposal_item.c.order_id)
    .where(
        proposal_item.c.proposal == bindparam("of"),
        proposal_item.c.state == WAITING,
        proposal_item.c.order_id.is_not(None),
    )
    .order_by(proposal_item.c.meter)
)
_DROP_ALL = update(proposal_item).where(proposal_item.c.proposal == bindparam("of"), proposal_item.c.state == WAITING)


def _state(conn: Connection, order_id: int) -> str:
    return str(_STATE(conn, {"of": order_id}).scalar_one())
