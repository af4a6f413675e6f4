"""Counts campaigns that go on, and decides: the next group, a hold, an abort, the end.

The dispatcher calls `follow`; counting reads without a lock, deciding is a short transaction of its own on the rows of
the proposal and the campaign.
"""

import json
from typing import Any

from sqlalchemy import Connection, Row, and_, func, or_, select

from headend.campaigns import acts, carrying, plan, progress
from headend.campaigns.lifecycle import (
    GOING,
    OVER,
    PAUSED,
    PROPOSED,
    RECALLING,
    RUNNING,
    SETTLING,
    change,
    get,
    locked,
    move,
)
from headend.campaigns.progress import Counts
from headend.gate import proposals
from headend.store import ORDERS, Store
from headend.store.prepared import prepared
from headend.store.schema_campaign import campaign
from headend.store.schema_gate import proposal

FINISH_S = 86_400  # after its last order was stated a campaign is over, whatever is still outstanding

_GOING = prepared(
    select(campaign)
    .outerjoin(proposal, proposal.c.id == campaign.c.proposal)
    .where(
        or_(
            campaign.c.state.in_(GOING),
            and_(campaign.c.state.in_(OVER), proposal.c.state.in_((proposals.RECALLING, proposals.RECALLED))),
        )
    )
    .order_by(campaign.c.id)
)
_NEXT = prepared(select(func.min(func.coalesce(campaign.c.counted_s, 0))).where(campaign.c.state.in_(GOING)))
_LAPSED = (proposals.REFUSED, proposals.WITHDRAWN, proposals.EXPIRED, proposals.VOID)


def next_s(conn: Connection) -> int | None:
    """When `follow` has something to do at the earliest."""
    counted_s: int | None = _NEXT(conn).scalar_one()
    return None if counted_s is None else counted_s + carrying.LOOK_S


def follow(store: Store, now_s: int) -> None:
    """Count each campaign that goes on and is due, and decide how it goes on."""
    for row in store.read(_going):
        since_s = now_s - (row.counted_s or 0)
        if 0 <= since_s < carrying.look_s(row):
            continue
        counts = store.read(progress.by_group, now_s, row)
        store.write(decide, now_s, row.id, counts, lane=ORDERS).result()


def _going(conn: Connection) -> list[Row[Any]]:
    return _GOING(conn).all()


def decide(conn: Connection, now_s: int, campaign_id: int, counts: list[Counts]) -> None:
    """What follows from these counts."""
    listed = proposals.locked(conn, get(conn, campaign_id).proposal)
    row = locked(conn, campaign_id)
    if row.state not in (*GOING, *OVER):
        return
    change(conn, row.id, counts=json.dumps(counts, separators=(",", ":")), counted_s=now_s)
    if row.state == PROPOSED:
        _decided(conn, now_s, row, listed)
    elif listed.state in (proposals.RECALLING, proposals.RECALLED):
        _recalled(conn, now_s, row, listed)
    elif listed.state in _LAPSED and row.state not in OVER:
        acts.end(conn, now_s, row, listed, "system", f"its list is {listed.state}: {listed.note}")
    elif row.state not in (PAUSED, RECALLING, *OVER):
        _goes(conn, now_s, row, listed, counts)


def _decided(conn: Connection, now_s: int, row: Row[Any], listed: Row[Any]) -> None:
    if listed.state in (proposals.APPROVED, proposals.DONE):
        move(conn, now_s, row, "approve", listed.approver)
        proposals.change(conn, listed.id, next_s=now_s)
    elif listed.state in _LAPSED:
        move(conn, now_s, row, "drop", listed.approver or "system", listed.note)


def _recalled(conn: Connection, now_s: int, row: Row[Any], listed: Row[Any]) -> None:
    state = row.state
    if state != RECALLING:
        state = move(conn, now_s, row, "recall", listed.recalled_by)
        row = get(conn, row.id)
    if listed.state == proposals.RECALLED:
        move(conn, now_s, row, "given_back")


def _goes(conn: Connection, now_s: int, row: Row[Any], listed: Row[Any], counts: list[Counts]) -> None:
    terms = plan.read(json.loads(row.plan))
    total = progress.added(counts)
    if progress.too_many_fail(terms, total):
        bad, answered = progress.failing(total), progress.settled(total)
        acts.end(conn, now_s, row, listed, "system", f"{bad} of {answered} that answered or are overdue failed")
    elif row.state == SETTLING:
        over = not (total["queued"] or total["under_way"] or total["waiting"])
        if over or now_s >= row.stated_s + FINISH_S:
            move(conn, now_s, row, "finish")
    elif row.stated_s is not None and not counts[row.grp]["waiting"]:  # … when it was counted, too
        _next_group(conn, now_s, row, listed, terms, counts[row.grp])


def _next_group(
    conn: Connection, now_s: int, row: Row[Any], listed: Row[Any], terms: plan.Plan, counts: Counts
) -> None:
    following = acts.group_after(row)
    if following is None:
        move(conn, now_s, row, "stated")
        proposals.change(conn, listed.id, state=proposals.DONE, next_s=None)
    elif progress.enough_confirmed(terms, counts):
        acts.begin(conn, now_s, row, listed, following, "next", "system")
    elif row.state == RUNNING and now_s >= row.stated_s + progress.answer_s(row):
        went = progress.sent(counts)
        move(conn, now_s, row, "hold", note=f"group {row.grp + 1}: {counts['confirmed']} of {went} sent are confirmed")
