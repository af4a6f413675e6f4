"""Whether an order of a campaign may go to a carrier now: asked in the transaction that sends it.

The campaign's row is held until that transaction ends (never waited for), and whoever pauses or stops a campaign takes
the row for itself: after that COMMIT nothing of it is sent. Imports neither gate nor orders, which ask.
"""

from typing import Any

from sqlalchemy import Connection, bindparam, select

from headend.campaigns.lifecycle import PAUSED, SENDING
from headend.store.prepared import prepared
from headend.store.schema_campaign import campaign
from headend.store.schema_gate import proposal

GOES, BUSY, WAITS, ENDED = "goes", "busy", "waits", "ended"
_RUNNING = ("approved", "done")

_ANY = prepared(select(campaign.c.id).where(campaign.c.proposal == bindparam("of")))
_HELD: Any = (
    select(campaign.c.state, proposal.c.state.label("proposal_state"))
    .join(proposal, proposal.c.id == campaign.c.proposal)
    .where(campaign.c.proposal == bindparam("of"))
    .with_for_update(read=True, key_share=True, skip_locked=True, of=campaign)
)
_HOLD = prepared(_HELD)


def stands(conn: Connection, proposal_id: int, known: dict[int, str]) -> str:
    """How the campaign of a proposal stands: GOES also where a proposal is no campaign's. `known`: what was found out
    in this transaction."""
    if proposal_id not in known:
        known[proposal_id] = _look(conn, proposal_id)
    return known[proposal_id]


def _look(conn: Connection, proposal_id: int) -> str:
    if _ANY(conn, {"of": proposal_id}).one_or_none() is None:
        return GOES
    row = _HOLD(conn, {"of": proposal_id}).one_or_none()
    if row is None:
        return BUSY
    if row.state == PAUSED:
        return WAITS
    return GOES if row.state in SENDING and row.proposal_state in _RUNNING else ENDED
