"""Approved orders on their way into the queue, at the pace that budgets allow.

An approved list says what may be done, not that it is done at once: its orders are stated one by one, as there is room
for them in every scope, and each is asked everything again when it is sent. A list that was proposed before a payment,
an exclusion or a freeze stops no customer whom these protect.
"""

from collections.abc import Callable, Iterator
from typing import Any

from sqlalchemy import BigInteger, Connection, Row, bindparam, func, select, update

from headend.gate import budget, checks, policy, proposals
from headend.gate.budget import Budget
from headend.gate.checks import Asked, No
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
PART = 1_000  # meters of a list that are dropped in one transaction
AGAIN_S = 60  # until a list is looked at again that could not go on
MAX_NOTE = 200

StateOne = Callable[[Connection, int, Row[Any]], int]

_DUE = prepared(
    select(proposal)
    .where(proposal.c.next_s <= bindparam("now"))
    .order_by(proposal.c.next_s, proposal.c.id)
    .limit(1)
    .with_for_update(skip_locked=True)
)
_NEXT = prepared(select(func.min(proposal.c.next_s)))
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
_DEAD = prepared(
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
    dead = _DEAD(conn).scalar_one_or_none()
    if dead is not None:
        proposals.change(conn, dead, state=proposals.VOID, next_s=None, note="its order ended before it was approved")
        return True
    row = _DUE(conn, {"now": now_s}).one_or_none()
    if row is None:
        return False
    early = row.state in (proposals.PREPARING, proposals.APPROVED)
    if row.state == proposals.OPEN or (early and row.expires_s < now_s):
        proposals.expire(conn, now_s, row.id)
    elif row.state in proposals.GIVEN_UP:
        proposals.change(conn, row.id, next_s=now_s if drop_some(conn, row.id, row.note) else None)
    else:
        go_on = proposals.kind_of(row.kind).go_on
        next_s = None if go_on is None else go_on(conn, now_s, row)
        proposals.change(conn, row.id, next_s=next_s)
    return True


def next_s(conn: Connection) -> int | None:
    """When `tick` has something to do at the earliest."""
    at_s: int | None = _NEXT(conn).scalar_one()
    return at_s


def items(conn: Connection, proposal_id: int, state: str, limit: int) -> list[Row[Any]]:
    """Meters of a list in a state, by number."""
    return list(conn.execute(_ITEMS, {"of": proposal_id, "how": state, "at_most": limit}))


def set_item(conn: Connection, proposal_id: int, meter_id: int, **columns: Any) -> None:
    _SET(conn, {"of": proposal_id, "at_meter": meter_id, **columns})


class Round:
    """One look at a list, in one transaction: which of its meters have their turn. `gives`: its orders open nothing, so
    they have no budget and need no room."""

    def __init__(
        self, conn: Connection, now_s: int, row: Row[Any], state_one: StateOne, *, gives: bool = False
    ) -> None:
        self._conn = conn
        self._now_s = now_s
        self._row = row
        self._state_one = state_one
        self._gives = gives
        self._rules = policy.get(conn)
        subject = proposals.kind_of(row.kind).subject
        self._aspect, self._selector = (0, 0) if subject is None else subject(row)
        self._room = None if gives else Budget(conn, now_s, self._rules, APPROVED, with_queued=True)
        self.full: dict[tuple[str, str], int] = {}  # scopes without room, and when they have some again
        self.queued = 0

    @property
    def shut(self) -> bool:
        """Whether nothing more has room, whatever its meter."""
        return any(scope in self.full for scope in (("actor", self._row.author), ("utility", "")))

    def offer(self, item: Row[Any]) -> str:
        """Queue, drop or leave (`WAITING`) a meter that waits; returns its state from now on. `item`: with its area."""
        conn, row = self._conn, self._row
        place = budget.place(item.area, row.author, self._rules)
        if self._room is not None:
            if any((scope, place.name(scope)) in self.full for scope in SCOPES):
                return WAITING
            left = self._room.room(place)
            if left.left < 1:
                self.full[left.scope, left.name] = left.free_s
                return WAITING
        lock_meter(conn, item.meter)
        if item.order_id is not None and _state(conn, item.order_id) != lifecycle.APPROVED:
            set_item(conn, row.id, item.meter, state=DROPPED, note="its order ended before its turn")
            return DROPPED
        no = None if self._gives else next(self._forbids(item.meter), None)
        if no is not None:
            if not no.ends:
                return WAITING
            _drop(conn, self._now_s, row.id, item, no.say())
            return DROPPED
        if self._room is not None:
            self._room.take(place)
        self.queued += 1
        set_item(conn, row.id, item.meter, state=QUEUED, order_id=self._state_one(conn, self._now_s, item))
        return QUEUED

    def _forbids(self, number: int) -> Iterator[No]:
        row = self._row
        asked = Asked(number, self._aspect, self._selector, APPROVED, row.author, row.proposed_s, self._now_s, row.id)
        return checks.forbids(self._conn, self._now_s, asked, self._rules)


def queue_some(conn: Connection, now_s: int, row: Row[Any], state_one: StateOne, *, gives: bool = False) -> int | None:
    """Queue what there is room for; returns when to go on, or None where nothing waits any more.

    `state_one(conn, now_s, item)`: states or queues the order of an item, whose meter is locked, and returns its id.
    """
    turn = Round(conn, now_s, row, state_one, gives=gives)
    seen = last = 0
    while seen < SCAN and turn.queued < LIMIT and not turn.shut:
        some = conn.execute(_WAITING, {"of": row.id, "after": last, "at_most": PAGE}).all()
        if not some:
            break
        for item in some:
            if turn.queued >= LIMIT:
                break
            last, seen = item.meter, seen + 1
            turn.offer(item)
    if not waiting(conn, row.id):
        proposals.change(conn, row.id, state=proposals.DONE)
        return None
    if turn.queued >= LIMIT:
        return now_s
    expires_s: int = row.expires_s
    return max(now_s + 1, min([now_s + AGAIN_S, expires_s + 1, *turn.full.values()]))


def waiting(conn: Connection, proposal_id: int) -> bool:
    """Whether a meter of a list waits for its turn."""
    return bool(conn.execute(_WAITING, {"of": proposal_id, "after": 0, "at_most": 1}).all())


def _drop(conn: Connection, now_s: int, proposal_id: int, item: Row[Any], why: str) -> None:
    if item.order_id is not None:
        lifecycle.move(conn, now_s, item.order_id, "cancel", why)
    set_item(conn, proposal_id, item.meter, state=DROPPED, note=why[:MAX_NOTE])


def give_up(conn: Connection, now_s: int, row: Row[Any], event: str, note: str) -> None:
    """A proposal ended without having been carried out to the end: what waits of it is dropped, of a long list in
    parts (`tick`). None of it is queued any more: its proposal is not approved."""
    for item in conn.execute(_WITH_ORDERS, {"of": row.id}).all():
        lock_meter(conn, item.meter)
        state = _state(conn, item.order_id)
        if state in lifecycle.WAITING:
            known = (state, event) in lifecycle.SUPPLY
            lifecycle.move(conn, now_s, item.order_id, event if known else "cancel", note)
    if drop_some(conn, row.id, note):
        proposals.change(conn, row.id, next_s=now_s)


def drop_some(conn: Connection, proposal_id: int, note: str) -> bool:
    """Drop a part of what waits; whether there may be more."""
    some = conn.execute(_SOME_WAITING, {"of": proposal_id, "at_most": PART}).scalars().all()
    if some:
        conn.execute(_DROP, {"of": proposal_id, "some": some, "note": note[:MAX_NOTE], "state": DROPPED})
    return len(some) == PART


_WITH_ORDERS = (
    select(proposal_item.c.meter, proposal_item.c.order_id)
    .where(
        proposal_item.c.proposal == bindparam("of"),
        proposal_item.c.state == WAITING,
        proposal_item.c.order_id.is_not(None),
    )
    .order_by(proposal_item.c.meter)
)
_SOME_WAITING = (
    select(proposal_item.c.meter)
    .where(proposal_item.c.proposal == bindparam("of"), proposal_item.c.state == WAITING)
    .order_by(proposal_item.c.meter)
    .limit(bindparam("at_most"))
)
_DROP = update(proposal_item).where(
    proposal_item.c.proposal == bindparam("of"), proposal_item.c.meter.in_(bindparam("some", expanding=True))
)


def _state(conn: Connection, order_id: int) -> str:
    return str(_STATE(conn, {"of": order_id}).scalar_one())
