"""Recall of a list: what was wanted before it is wanted again. It gives back, so nobody has to approve it.

What was not sent is withdrawn at once; what was is released, or stated again as it was before, in slices. The meters of
a feeder close spread over the seconds that the policy gives to each of them, so that they do not come back as one load.
"""

from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, select

from headend import audit
from headend.gate import budget, pace, policy, proposals
from headend.orders import lifecycle, statements, terms
from headend.refusals import Refused
from headend.store import lock_meter
from headend.store.prepared import prepared
from headend.store.schema import meter, order
from headend.store.schema_gate import proposal_item
from meterlink import bodies, tariff
from meterlink.orders import ASPECT_LIMITS, ASPECT_LOAD, ASPECT_SUPPLY, ASPECT_TARIFF

MAX_SPREAD_S = 3600
_RAN = (proposals.APPROVED, proposals.DONE, proposals.EXPIRED, proposals.WITHDRAWN)
WHY = "recall of proposal {}"

_AREA = prepared(select(meter.c.area).where(meter.c.meter == bindparam("of")))
_NEWEST = prepared(
    select(order.c.id, order.c.state)
    .where(
        order.c.meter == bindparam("of"),
        order.c.aspect == bindparam("about"),
        order.c.selector == bindparam("which"),
        order.c.state.in_((lifecycle.QUEUED, *lifecycle.ON_THE_WAY, lifecycle.CONFIRMED)),
    )
    .order_by(order.c.id.desc())
    .limit(1)
)
_ORDER = prepared(select(order.c.state, order.c.selector, order.c.account_epoch).where(order.c.id == bindparam("of")))
_ON_FEEDER = (
    select(meter.c.area, func.count().label("number"))
    .join(proposal_item, proposal_item.c.meter == meter.c.meter)
    .where(proposal_item.c.proposal == bindparam("of"), proposal_item.c.order_id.is_not(None))
    .group_by(meter.c.area)
)


def recall(conn: Connection, now_s: int, proposal_id: int, actor: str) -> None:
    """Recall a list that was approved: from now on nothing of it is sent, and what was is given back.

    Raises UnknownProposal, Refused for what is no list, or was not approved. A recall that was begun goes on.
    """
    row = proposals.locked(conn, proposal_id)
    if row.state in (proposals.RECALLING, proposals.RECALLED):
        return
    from headend.gate.kinds import LISTS  # it carries recalls on

    given = row.kind in LISTS and not LISTS[row.kind].gives and LISTS[row.kind].aspect in _STATE_BEFORE
    if not given or row.approver is None or row.state not in _RAN:
        raise Refused("proposal", proposal_id, f"a list that was approved; this is {row.kind}, {row.state}")
    pace.give_up(conn, now_s, row, "cancel", WHY.format(proposal_id))
    proposals.change(conn, proposal_id, state=proposals.RECALLING, recalled_by=actor, next_s=now_s)
    audit.record(conn, now_s, actor, "proposal.recalled", f"proposal:{proposal_id}")


def go_on(conn: Connection, now_s: int, row: Row[Any], aspect: int, payload: Any) -> int | None:
    """Give back to the next meters of the list, once all that waits of it is dropped."""
    if pace.drop_some(conn, row.id, WHY.format(row.id)):
        return now_s
    stated = pace.items(conn, row.id, pace.QUEUED, pace.LIMIT)
    if not stated:
        proposals.change(conn, row.id, state=proposals.RECALLED)
        return None
    rules = policy.get(conn)
    spread_s = {} if aspect != ASPECT_SUPPLY else _spreads(conn, row.id, rules)
    for item in stated:
        lock_meter(conn, item.meter)
        area = _AREA(conn, {"of": item.meter}).scalar_one()
        feeder = budget.prefix(area, rules.feeder_level)
        made = _give_back(conn, now_s, row, item, aspect, spread_s.get(feeder, 0))
        pace.set_item(conn, row.id, item.meter, state=pace.RELEASED, release_id=made)
    return now_s


def _spreads(conn: Connection, proposal_id: int, rules: policy.Policy) -> dict[str, int]:
    """Feeder -> over how long its meters close."""
    found: dict[str, int] = {}
    for area, number in conn.execute(_ON_FEEDER, {"of": proposal_id}):
        feeder = budget.prefix(area, rules.feeder_level)
        found[feeder] = found.get(feeder, 0) + number * rules.recall_s_per_meter
    return {feeder: min(spread_s, MAX_SPREAD_S) for feeder, spread_s in found.items()}


def _give_back(conn: Connection, now_s: int, row: Row[Any], item: Row[Any], aspect: int, spread_s: int) -> int | None:
    """The id of the order that gives back, where there is something to give back."""
    done = _ORDER(conn, {"of": item.order_id}).one()
    why = WHY.format(row.id)
    if done.state == lifecycle.QUEUED:
        lifecycle.move(conn, now_s, item.order_id, "cancel", why)
        return None
    subject = {"of": item.meter, "about": aspect, "which": done.selector}
    newest = _NEWEST(conn, subject).one_or_none()
    if newest is None or newest.id != item.order_id:
        return None  # it never took effect, or somebody stated something newer since
    return _STATE_BEFORE[aspect](conn, now_s, row, item, done.selector, spread_s, why)


def _supply(
    conn: Connection, now_s: int, row: Row[Any], item: Row[Any], selector: int, spread_s: int, why: str
) -> int | None:
    if row.kind == "unprotect":
        return statements.protect(conn, now_s, item.meter, row.recalled_by, reason_text=why)
    if item.before is not None and bodies.decode_supply(item.before)[0] == bodies.HOLD:
        return None  # the hold stood before the list
    options: dict[str, Any] = {"close": bodies.CLOSE_DIRECT, "spread_s": spread_s, "reason_text": why}
    return statements.release(conn, now_s, item.meter, selector, row.recalled_by, **options)


def _tariff(
    conn: Connection, now_s: int, row: Row[Any], item: Row[Any], _selector: int, _spread_s: int, why: str
) -> int | None:
    if item.before is None:
        return None
    plan = tariff.decode(item.before)
    return statements.set_tariff(conn, now_s, item.meter, plan, row.recalled_by, reason_text=why, restates=True)


def _limits(
    conn: Connection, now_s: int, row: Row[Any], item: Row[Any], _selector: int, _spread_s: int, why: str
) -> int | None:
    if item.before is None:
        return None
    limits = bodies.decode_limits(item.before)
    return statements.set_limits(conn, now_s, item.meter, limits, row.recalled_by, reason_text=why, restates=True)


def _load(
    conn: Connection, now_s: int, row: Row[Any], item: Row[Any], _selector: int, _spread_s: int, why: str
) -> int | None:
    return terms.set_load(conn, now_s, item.meter, (), row.recalled_by, reason_text=why)


_STATE_BEFORE = {ASPECT_SUPPLY: _supply, ASPECT_TARIFF: _tariff, ASPECT_LIMITS: _limits, ASPECT_LOAD: _load}
