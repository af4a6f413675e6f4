"""What people do with a campaign: propose, pause, resume, let go on, stop, recall, give up.

Each takes the row of the proposal, then that of the campaign, then meters. Raises UnknownCampaign, NotAllowed, Refused.
"""

import json
from typing import Any

from sqlalchemy import BigInteger, Connection, Row, bindparam, select

from headend import audit
from headend.campaigns import words  # noqa: F401 - the words of the audit
from headend.campaigns.lifecycle import ABORTED, DRAFTED, PROPOSED, NotAllowed, get, locked, move
from headend.firmware import deliveries
from headend.gate import pace, proposals
from headend.gate import recall as recalling
from headend.orders import lifecycle as orders
from headend.refusals import Refused
from headend.store import lock_meter
from headend.store.schema import order
from headend.store.schema_campaign import campaign_meter
from headend.store.schema_gate import proposal_item

PART = 500  # orders that are cancelled at once; the others end where they would be sent

_IN = (
    select(campaign_meter.c.meter)
    .where(campaign_meter.c.campaign == bindparam("of"), campaign_meter.c.verdict == "in")
    .order_by(campaign_meter.c.meter)
)
_ORDERS: Any = (
    select(proposal_item.c.meter, proposal_item.c.order_id)
    .join(order, order.c.id == proposal_item.c.order_id)
    .where(proposal_item.c.proposal == bindparam("of", type_=BigInteger), proposal_item.c.state == pace.QUEUED)
    .order_by(proposal_item.c.meter)
    .limit(PART)
)
_UNSENT = _ORDERS.where(order.c.state == orders.QUEUED)
_LAPSED = _ORDERS.where(order.c.state == orders.EXPIRED, order.c.sent_s.is_(None))
_STATE = select(order.c.state).where(order.c.id == bindparam("of"))


def propose(conn: Connection, now_s: int, campaign_id: int, actor: str, *, expires_s: int | None = None) -> int:
    """Propose what the dry run says can be done, for a second person to approve; returns the proposal's id."""
    row = locked(conn, campaign_id)
    if row.state != DRAFTED:
        raise NotAllowed(row.id, row.state, "propose")
    if actor != row.author:
        raise Refused("actor", actor, f"{row.author}, who made the campaign")
    meters = list(conn.execute(_IN, {"of": row.id}).scalars())
    if not meters:
        raise Refused("campaign", row.id, "one with at least one meter that is in")
    bound = {"campaign": row.id, "plan": json.loads(row.plan), "dry_run": row.digest}
    payload = {**json.loads(row.terms), "meters": meters, **bound}
    made = proposals.propose(conn, now_s, row.kind, payload, actor, row.why, expires_s=expires_s)
    first = next(at for at, size in enumerate(json.loads(row.groups)) if size)
    move(conn, now_s, row, "propose", actor, f"proposal {made}", proposal=made, grp=first)
    _audit(conn, now_s, actor, row.id, "proposed", proposal=made)
    return made


def drop(conn: Connection, now_s: int, campaign_id: int, actor: str, why: str) -> None:
    """Give up a campaign that was not approved yet."""
    if get(conn, campaign_id).state == PROPOSED:
        listed, row = _both(conn, campaign_id)
        proposals.withdraw(conn, now_s, listed.id, actor, why, as_approver=True)
    else:
        row = locked(conn, campaign_id)
    move(conn, now_s, row, "drop", actor, why)
    _audit(conn, now_s, actor, row.id, "dropped", why=why)


def pause(conn: Connection, now_s: int, campaign_id: int, actor: str, why: str) -> None:
    """Send nothing more of it until somebody resumes; what is queued waits, and its time runs on."""
    _, row = _both(conn, campaign_id)
    move(conn, now_s, row, "pause", actor, why)
    _audit(conn, now_s, actor, row.id, "paused", why=why)


def resume(conn: Connection, now_s: int, campaign_id: int, actor: str, why: str) -> None:
    """Go on where it was paused. Meters whose orders ran out meanwhile come to their turn again."""
    listed, row = _both(conn, campaign_id)
    again = _back(conn, listed.id)
    changes = {"at_meter": 0, "stated_s": None} if again else {}
    deliveries.resume(conn, now_s, campaign_id)
    move(conn, now_s, row, "resume", actor, why, **changes)
    proposals.change(conn, listed.id, next_s=now_s)
    _audit(conn, now_s, actor, row.id, "resumed", why=why)


def go_on(conn: Connection, now_s: int, campaign_id: int, actor: str, why: str) -> None:
    """Let the next group begin although too few of the one before are confirmed."""
    listed, row = _both(conn, campaign_id)
    following = group_after(row)
    if following is None:
        raise NotAllowed(row.id, row.state, "go_on")
    begin(conn, now_s, row, listed, following, "go_on", actor)
    _audit(conn, now_s, actor, row.id, "let_go_on", why=why)


def abort(conn: Connection, now_s: int, campaign_id: int, actor: str, why: str) -> None:
    """Stop it for good: from the COMMIT on nothing more of it is sent, and what was queued is cancelled."""
    listed, row = _both(conn, campaign_id)
    end(conn, now_s, row, listed, actor, why)


def recall(conn: Connection, now_s: int, campaign_id: int, actor: str) -> None:
    """Stop it and give back what it took, spread over the meters of each feeder (`gate.recall`)."""
    listed, row = _both(conn, campaign_id)
    recalling.recall(conn, now_s, listed.id, actor)
    move(conn, now_s, row, "recall", actor)
    _audit(conn, now_s, actor, row.id, "recalled")


def end(conn: Connection, now_s: int, row: Row[Any], listed: Row[Any], actor: str, why: str) -> None:
    """As `abort`, of rows that are locked."""
    if move(conn, now_s, row, "abort", actor, why) != ABORTED:
        return
    if listed.state in (proposals.PREPARING, proposals.OPEN, proposals.APPROVED):
        proposals.withdraw(conn, now_s, listed.id, actor, why, as_approver=True)
    for item in conn.execute(_UNSENT, {"of": listed.id}).all():
        lock_meter(conn, item.meter)
        if conn.execute(_STATE, {"of": item.order_id}).scalar_one() == orders.QUEUED:
            orders.move(conn, now_s, item.order_id, "cancel", f"campaign {row.id} was stopped: {why}")
    deliveries.stop(conn, now_s, row.id)
    _audit(conn, now_s, actor, row.id, "aborted", why=why)


def begin(conn: Connection, now_s: int, row: Row[Any], listed: Row[Any], group: int, event: str, actor: str) -> None:
    """The turn of a group."""
    move(conn, now_s, row, event, actor, f"group {group + 1}", grp=group, at_meter=0, stated_s=None)
    proposals.change(conn, listed.id, next_s=now_s)


def group_after(row: Row[Any]) -> int | None:
    """The next group that has meters."""
    groups = json.loads(row.groups)
    return next((at for at in range(row.grp + 1, len(groups)) if groups[at]), None)


def _back(conn: Connection, proposal_id: int) -> bool:
    """Orders that ran out before they were sent: their meters wait again."""
    lapsed = conn.execute(_LAPSED, {"of": proposal_id}).all()
    for item in lapsed:
        pace.set_item(conn, proposal_id, item.meter, state=pace.WAITING, order_id=None)
    return bool(lapsed)


def _both(conn: Connection, campaign_id: int) -> tuple[Row[Any], Row[Any]]:
    """The rows of the proposal and of the campaign, locked in this order."""
    known = get(conn, campaign_id)
    if known.proposal is None:
        raise Refused("campaign", campaign_id, f"one that was proposed; this one is {known.state}")
    return proposals.locked(conn, known.proposal), locked(conn, campaign_id)


def _audit(conn: Connection, now_s: int, actor: str, campaign_id: int, what: str, **detail: int | str | None) -> None:
    audit.record(conn, now_s, actor, f"campaign.{what}", f"campaign:{campaign_id}", detail)
