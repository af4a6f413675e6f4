"""What to do next for each order that is under way: deliver it, ask about it, or let it end.

One row of the table `outbox` is one queued order that has not ended; `next_s` says when it wants attention and `step`
for what. A row is taken under a lease, with its change of state, in one transaction on the meter's row; what was taken
is acted on after the commit. Everything is in the database: a worker that dies leaves a lease that runs out, nothing
else; one that wakes after its lease finds that its token counts no longer.

An order that may open a relay passes the gate in the transaction that makes it `sent`, and while a freeze stands it is
not delivered again either.
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    bindparam,
    exists,
    func,
    or_,
    select,
    update,
)

from headend import gate
from headend.campaigns import sending
from headend.gate import checks, freeze
from headend.gate.policy import SAFETY
from headend.orders import lifecycle, questions
from headend.orders.actions import Action, Deliver
from headend.orders.policy import Entropy, Policy
from headend.store import lock_meter, sql
from headend.store.prepared import prepared
from headend.store.schema import meter, meter_state, order, order_body, outbox
from headend.workers import mine
from meterlink import stating
from meterlink.batches import KIND_RECEIPT, KIND_REPORT
from meterlink.orders import ASPECT_CLOCK, ASPECT_CREDIT, ASPECT_EPOCH

DELIVER = "deliver"
ASK = "ask"
RECEIPT = "receipt"  # ask for the meter's receipt of its last verdict: it alone proves a refusal
CLOCK_VALID_S = 120
MQTT = "mqtt"  # the carrier whose meters say when they come and go
FREE = {"lease": None, "lease_until_s": None}


def due(conn: Connection, now_s: int, meter_id: int | None, limit: int) -> list[tuple[int, int]]:
    """(meter, order_id) of rows that want attention, longest waiting first; of one meter where `meter_id` is given."""
    return _due(conn, now_s, now_s, meter_id, limit, "")


def _due(
    conn: Connection, now_s: int, lease_now_s: int, meter_id: int | None, limit: int, holder: str
) -> list[tuple[int, int]]:
    wanted = {"now": now_s, "lease_now": lease_now_s, "at_most": limit}
    if meter_id is not None:
        found = _DUE_OF_METER(conn, {**wanted, "of": meter_id})
    elif holder:
        found = _DUE_OF_HOLDER(conn, {**wanted, **mine.values(conn, holder)})
    else:
        found = _DUE(conn, wanted)
    return [(meter_number, order_id) for meter_number, order_id in found]


def claim(
    conn: Connection,
    now_s: int,
    policy: Policy,
    entropy: Entropy,
    *,
    meter_id: int | None = None,
    limit: int | None = None,
    holder: str = "",
) -> list[Action]:
    """`claimed` without the number of rows."""
    return claimed(conn, now_s, policy, entropy, meter_id=meter_id, limit=limit, holder=holder)[0]


def claimed(
    conn: Connection,
    now_s: int,
    policy: Policy,
    entropy: Entropy,
    *,
    meter_id: int | None = None,
    limit: int | None = None,
    holder: str = "",
) -> tuple[list[Action], int]:
    """Take rows that want attention and return what to do for them, and how many there were; orders whose time has run
    out end here.

    `holder`: of meters alone whose shard or bus this worker holds (`workers.mine`); "": there is no other worker.
    Each delivery holds a lease of its own, a token of 16 random bytes in it; `finished` wants the same one.
    """
    actions: list[Action] = []
    lease_now_s = sql.now_s(conn) if policy.database_clock else now_s
    turn = gate.Turn(conn, now_s)
    rows = _due(conn, now_s, lease_now_s, meter_id, limit or policy.batch_actions, holder)
    # In the order of the meters, so that workers on one database cannot wait for each other in a circle.
    for meter_number, order_id in sorted(rows):
        lock_meter(conn, meter_number)
        row = _ROW(
            conn, {"of_order": order_id, "now": now_s, "soon": now_s + policy.lease_s, "lease_now": lease_now_s}
        ).one_or_none()
        if row is not None:
            action = _act(conn, now_s, row, lease_now_s + policy.lease_s, policy, entropy, turn)
            if action is not None:
                actions.append(action)
    return actions, len(rows)


def finished(
    conn: Connection, now_s: int, order_id: int, lease: str, ok: bool, note: str, policy: Policy, entropy: Entropy
) -> None:
    """The carrier is done with a delivery: ask soon where it took the order over, else try again later.

    `lease`: the token of the delivery. Where it holds no longer, this changes nothing.
    """
    held = {"of": order_id, "token": lease, "lease_now": sql.now_s(conn) if policy.database_clock else now_s}
    first = _LEASED(conn, held).one_or_none()
    if first is None:  # ended in the meantime, answered, or another worker's by now
        return
    lock_meter(conn, first.meter)
    row = _LEASED(conn, held).one_or_none()
    if row is None:
        return
    if note:
        lifecycle.remark(conn, now_s, order_id, "carrier", note)
    wait_s = policy.settle_s if ok else policy.wait_s(row.attempts, entropy)
    _schedule(conn, order_id, now_s + wait_s, step=ASK if ok else DELIVER, **FREE)


def wake(conn: Connection, now_s: int, meter_id: int) -> None:
    """Something happened at the meter: what waits for it wants attention now (what is in hand, when it is let go)."""
    _WAKE(conn, {"of": meter_id, "now": now_s})


def clock_went_back(conn: Connection, now_s: int, policy: Policy, by_s: int = 0) -> None:
    """The clock says less than before, by `by_s` seconds where that is known: waits and leases go back with it.

    None is longer than the longest that there is: what would be still wants attention now, or has run out.
    """
    if by_s >= policy.jump_s:
        conn.execute(_WAIT_LESS, {"now": now_s, "by": by_s})
        if not policy.database_clock:
            conn.execute(_LEASE_LESS, {"now": now_s, "by": by_s})
    conn.execute(_TOO_FAR, {"now": now_s, "far": now_s + policy.longest_s})
    if not policy.database_clock:
        conn.execute(_LEASED_TOO_FAR, {"far": now_s + 2 * policy.lease_s})


def next_in_line(conn: Connection, now_s: int, meter_id: int) -> None:
    """The meter has judged an order: what was never delivered to it need not wait any longer."""
    _NEXT_IN_LINE(conn, {"of": meter_id, "now": now_s})


def deliver_again(conn: Connection, now_s: int, order_id: int, policy: Policy, entropy: Entropy) -> None:
    """The meter lacked what the order names: deliver it all once more, ever more slowly."""
    attempts = conn.execute(select(outbox.c.attempts).where(outbox.c.order_id == order_id)).scalar_one()
    _schedule(conn, order_id, now_s + policy.wait_s(attempts, entropy), step=DELIVER, **FREE)


def ask_receipt(conn: Connection, order_id: int, next_s: int) -> None:
    """Ask at `next_s` for the receipt of what the meter last said to an order on this subject."""
    _schedule(conn, order_id, next_s, step=RECEIPT, **FREE)


def ask_at(conn: Connection, order_id: int, next_s: int, *, fresh: bool = False) -> None:
    """Ask about an order at `next_s`, and do not deliver it again. `fresh`: count its tries from the beginning."""
    _schedule(conn, order_id, next_s, step=ASK, **FREE, **({"attempts": 0} if fresh else {}))


_NOW = bindparam("now", type_=BigInteger)
_LEASE_NOW = bindparam("lease_now", type_=BigInteger)
_FAR = bindparam("far", type_=BigInteger)
_BY = bindparam("by", type_=BigInteger)
_WAIT_LESS = update(outbox).where(outbox.c.next_s > _NOW).values(next_s=outbox.c.next_s - _BY)
_LEASE_LESS = update(outbox).where(outbox.c.lease_until_s > _NOW).values(lease_until_s=outbox.c.lease_until_s - _BY)
_TOO_FAR = update(outbox).where(outbox.c.next_s > _FAR).values(next_s=_NOW)
_LEASED_TOO_FAR = update(outbox).where(outbox.c.lease_until_s > _FAR).values(FREE)
_LEASED = prepared(
    select(outbox.c.meter, outbox.c.attempts).where(
        outbox.c.order_id == bindparam("of"), outbox.c.lease == bindparam("token"), outbox.c.lease_until_s > _LEASE_NOW
    )
)
_SCHEDULED = prepared(update(outbox).where(outbox.c.order_id == bindparam("of")))

# Due, in nobody's hands, and signed; an unsigned one only to let it expire.
_WANTS_ATTENTION = and_(
    outbox.c.next_s <= _NOW,
    or_(outbox.c.lease.is_(None), outbox.c.lease_until_s <= _LEASE_NOW),
    or_(order.c.signed.is_not(None), and_(order.c.not_after_s > 0, order.c.not_after_s < _NOW)),
)
_WANTED = (
    select(outbox.c.meter, outbox.c.order_id)
    .join(order, order.c.id == outbox.c.order_id)
    .where(_WANTS_ATTENTION)
    .order_by(outbox.c.next_s, outbox.c.order_id)
    .limit(bindparam("at_most"))
)
_DUE = prepared(_WANTED)
_DUE_OF_METER = prepared(_WANTED.where(outbox.c.meter == bindparam("of")))
_DUE_OF_HOLDER = prepared(mine.alone(_WANTED, outbox.c.meter))
_NEXT_IN_LINE = prepared(
    update(outbox)
    .where(outbox.c.meter == bindparam("of"), outbox.c.attempts == 0, outbox.c.step == DELIVER, outbox.c.next_s > _NOW)
    .values(next_s=_NOW)
)
_WAKE = prepared(update(outbox).where(outbox.c.meter == bindparam("of"), outbox.c.next_s > _NOW).values(next_s=_NOW))


def _the_row() -> Select[Any]:
    """An order with all that decides on its next step."""
    newer = order.alias("newer")
    outranked = exists().where(
        newer.c.meter == order.c.meter,
        newer.c.aspect == order.c.aspect,
        newer.c.selector == order.c.selector,
        newer.c.id > order.c.id,
        or_(
            newer.c.state.in_((*lifecycle.ON_THE_WAY, lifecycle.CONFIRMED)),
            # A total that waits is no reason to hold back one that is signed; a release that waits holds back a stop.
            and_(newer.c.state == lifecycle.QUEUED, newer.c.aspect != ASPECT_CREDIT),
        ),
    )
    # A meter judges one order of a carrier at a time: while one was handed over and not asked about, others wait. A
    # newer one on the same subject does not, nor does a hold for safety: it takes the older one's place at the meter.
    other, its_row = order.alias("other"), outbox.alias("its_row")
    busy_until_s = (
        select(func.min(its_row.c.next_s))
        .join(other, other.c.id == its_row.c.order_id)
        .where(
            its_row.c.meter == order.c.meter,
            or_(other.c.aspect != order.c.aspect, other.c.selector != order.c.selector),
            its_row.c.step == ASK,
            its_row.c.next_s > _NOW,
            its_row.c.next_s <= bindparam("soon", type_=BigInteger),  # one that is asked about slowly was asked about
            other.c.state.in_((lifecycle.SENT, lifecycle.UNKNOWN)),
        )
        .scalar_subquery()
    )
    # Orders for an account wait until the order that opens it has been judged.
    opening = order.alias("opening")
    before_account = exists().where(
        order.c.aspect != ASPECT_EPOCH,
        opening.c.meter == order.c.meter,
        opening.c.aspect == ASPECT_EPOCH,
        opening.c.account_epoch == order.c.account_epoch,
        opening.c.state.in_((lifecycle.QUEUED, lifecycle.SENT, lifecycle.UNKNOWN)),
    )
    columns: list[ColumnElement[Any]] = [
        order.c.id,
        order.c.meter,
        order.c.aspect,
        order.c.selector,
        order.c.state,
        order.c.actor,
        order.c.gate,
        order.c.proposal,
        order.c.issued_s,
        order.c.not_after_s,
        order.c.signed,
        order_body.c.body.label("apart"),
        outbox.c.attempts,
        outbox.c.step,
        outranked.label("outranked"),
        busy_until_s.label("busy_until_s"),
        before_account.label("before_account"),
        and_(meter.c.carrier == MQTT, meter_state.c.online == 0).label("absent"),
    ]
    return (
        select(*columns)
        .join(outbox, outbox.c.order_id == order.c.id)
        .join(meter, meter.c.meter == order.c.meter)
        .join(meter_state, meter_state.c.meter == order.c.meter)
        .outerjoin(order_body, order_body.c.order_id == order.c.id)
        .where(order.c.id == bindparam("of_order"), _WANTS_ATTENTION)
    )


_ROW = prepared(_the_row())


def _act(
    conn: Connection,
    now_s: int,
    row: Row[Any],
    lease_until_s: int,
    policy: Policy,
    entropy: Entropy,
    turn: gate.Turn,
) -> Action | None:
    last_s = _last_s(row)
    late = 0 < last_s < now_s
    if row.state == lifecycle.QUEUED:
        if late:
            lifecycle.move(conn, now_s, row.id, "expire", "its last second passed before it was sent", at=row)
            return None
        if row.proposal is not None and not _has_its_turn(conn, now_s, row, turn):
            return None
        if row.absent:  # nothing is left with a broker for a meter that is not there; `wake` tells when it comes
            _schedule(conn, row.id, _no_later(now_s + policy.slow_s, last_s, now_s))
            return None
        if row.before_account:
            _schedule(conn, row.id, _no_later(now_s + policy.slow_s, last_s, now_s))
            return None
        if row.busy_until_s is not None and row.gate != SAFETY:
            _schedule(conn, row.id, row.busy_until_s)
            return None
        if row.gate and not _passes(conn, now_s, row, policy, turn):
            return None
        lifecycle.move(conn, now_s, row.id, "send", sent_s=now_s, at=row)
        return _deliver(conn, now_s, row, lease_until_s, policy, entropy)
    again = row.state != lifecycle.ACCEPTED and not late and not row.outranked
    again = again and not (row.gate and freeze.standing(conn) is not None)
    again = again and (row.proposal is None or sending.stands(conn, row.proposal, turn.lists) == sending.GOES)
    state = row.state
    if state == lifecycle.SENT and row.attempts >= policy.attempts and (row.step == DELIVER or not again):
        state = lifecycle.move(conn, now_s, row.id, "lose", f"no proof after {row.attempts} tries")
    if again and row.step == DELIVER and not row.absent:
        if state == lifecycle.SENT:
            lifecycle.move(conn, now_s, row.id, "send", f"again, try {row.attempts + 1}")
        return _deliver(conn, now_s, row, lease_until_s, policy, entropy)
    # A try is a delivery and the question about it, or a question alone.
    tries = row.attempts + (0 if again and row.step != DELIVER else 1)
    slow = state == lifecycle.UNKNOWN or tries > policy.attempts
    wait_s = policy.slow_wait_s(entropy) if slow else policy.wait_s(tries, entropy)
    next_s = _no_later(now_s + wait_s, last_s, now_s)
    _schedule(conn, row.id, next_s, step=DELIVER if again else ASK, attempts=tries, **FREE)
    if row.absent:
        return None
    kind = KIND_RECEIPT if row.step == RECEIPT else KIND_REPORT
    return questions.ask(conn, now_s, entropy, row.meter, kind, aspect=row.aspect, selector=row.selector)


def _has_its_turn(conn: Connection, now_s: int, row: Row[Any], turn: gate.Turn) -> bool:
    """Whether the campaign of an order goes on; one that waits for it is looked at again, one of another state ends."""
    how = sending.stands(conn, row.proposal, turn.lists)
    if how == sending.ENDED:
        lifecycle.move(conn, now_s, row.id, "cancel", "its campaign was stopped before it was sent")
    elif how != sending.GOES:
        wait_s = 1 if how == sending.BUSY else checks.LOOK_AGAIN_S
        _schedule(conn, row.id, _no_later(now_s + wait_s, _last_s(row), now_s))
    return how == sending.GOES


def _passes(conn: Connection, now_s: int, row: Row[Any], policy: Policy, turn: gate.Turn) -> bool:
    """Whether the gate lets an order through now; one that it does not ends here, or waits and says why, once."""
    no = gate.recheck(conn, now_s, row, turn)
    if no is None:
        return True
    if no.rule == checks.BUSY:  # another worker counts; the row stays as it is
        _schedule(conn, row.id, now_s + 1)
    elif no.ends and (lifecycle.QUEUED, no.ends) in lifecycle.table_of(row.aspect):
        lifecycle.move(conn, now_s, row.id, no.ends, no.say())
    else:
        lifecycle.remark(conn, now_s, row.id, "gate", no.say())
        again_s = min(max(no.again_s, now_s + 1), now_s + policy.slow_s)
        _schedule(conn, row.id, _no_later(again_s, _last_s(row), now_s))
    return False


def _deliver(
    conn: Connection, now_s: int, row: Row[Any], lease_until_s: int, policy: Policy, entropy: Entropy
) -> Deliver:
    lease = entropy(16).hex()
    until_s = now_s + policy.lease_s
    _schedule(conn, row.id, until_s, step=ASK, attempts=row.attempts + 1, lease=lease, lease_until_s=lease_until_s)
    pieces = () if row.apart is None else stating.pieces(row.apart)
    return Deliver(row.meter, row.id, row.signed, _last_s(row), pieces, lease)


def _no_later(next_s: int, last_s: int, now_s: int) -> int:
    """`next_s`, or the second after an order's last one where that is still to come and sooner."""
    return min(next_s, last_s + 1) if last_s >= now_s else next_s


def _last_s(row: Row[Any]) -> int:
    """The last second at which it may be delivered, 0 = always. A time to be set is soon too old."""
    last_s: int = row.issued_s + CLOCK_VALID_S if row.aspect == ASPECT_CLOCK else row.not_after_s
    return last_s


def _schedule(conn: Connection, order_id: int, next_s: int, **values: Any) -> None:
    _SCHEDULED(conn, {"of": order_id, "next_s": next_s, **values})
