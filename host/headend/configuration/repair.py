"""Repairs: what is wanted is stated again to meters that report otherwise, as lists that a second person approves.

One list for each aspect and each wanted content. What is still on its way is left to itself; keys are brought to meters
by a rotation, with the key store at hand, and not from here.
"""

from typing import Any

from sqlalchemy import BigInteger, Connection, bindparam, or_, select, update

from headend import audit
from headend.configuration import words
from headend.configuration.aspects import BY_VERSION
from headend.gate import proposals
from headend.orders import lifecycle
from headend.store.schema import meter, order, order_body
from headend.store.schema_configuration import configuration_finding
from headend.store.schema_gate import proposal
from meterlink.orders import ASPECT_MODE

MOST = 10_000  # findings that are taken up at a time
_ENDED = (proposals.DONE, proposals.REFUSED, proposals.WITHDRAWN, proposals.EXPIRED, proposals.VOID, proposals.RECALLED)
# Aspect of a finding -> aspect of the order that says again what is wanted; the list has the finding's name.
_STATED = {"mode": ASPECT_MODE, **{aspect: BY_VERSION[aspect] for aspect in ("tariff", "limits", "firmware")}}

_OPEN = (
    select(configuration_finding.c.id, configuration_finding.c.meter)
    .outerjoin(proposal, proposal.c.id == configuration_finding.c.proposal)
    .where(
        configuration_finding.c.settled_s.is_(None),
        configuration_finding.c.aspect == bindparam("about"),
        or_(configuration_finding.c.proposal.is_(None), proposal.c.state.in_(_ENDED)),
    )
    .order_by(configuration_finding.c.meter)
    .limit(MOST)
)
_WANTED = (
    select(order.c.body, order.c.state, order_body.c.body.label("apart"))
    .join(meter, (meter.c.meter == order.c.meter) & (meter.c.account_epoch == order.c.account_epoch))
    .outerjoin(order_body, order_body.c.order_id == order.c.id)
    .where(
        order.c.meter == bindparam("of", type_=BigInteger),
        order.c.aspect == bindparam("about"),
        order.c.selector == 0,
        order.c.state.in_((lifecycle.QUEUED, *lifecycle.ON_THE_WAY, lifecycle.CONFIRMED)),
    )
    .order_by(order.c.id.desc())
    .limit(1)
)
_TAKEN_UP = update(configuration_finding).where(configuration_finding.c.id == bindparam("of"))


def propose(conn: Connection, now_s: int, actor: str) -> list[int]:
    """Propose all that mends what is open and not taken up yet; returns the proposals' ids."""
    made = []
    for aspect in (*_STATED, "clock"):
        for body, findings in sorted(_by_content(conn, aspect).items()):
            payload: dict[str, Any] = {"meters": sorted(findings), **({"body": body} if body else {})}
            number = proposals.propose(conn, now_s, aspect, payload, actor, words.WHY_REPAIR.format(aspect=aspect))
            conn.execute(_TAKEN_UP, [{"of": finding, "proposal": number} for finding in findings.values()])
            made.append(number)
    if made:
        audit.record(conn, now_s, actor, "configuration.repair", "configuration", {"proposals": len(made)})
    return made


def _by_content(conn: Connection, aspect: str) -> dict[str, dict[int, int]]:
    """Wanted content, hexadecimal -> meter -> finding."""
    found: dict[str, dict[int, int]] = {}
    for row in conn.execute(_OPEN, {"about": aspect}).all():
        body = ""
        if aspect in _STATED:
            wanted = conn.execute(_WANTED, {"of": row.meter, "about": _STATED[aspect]}).one_or_none()
            if wanted is None or wanted.state != lifecycle.CONFIRMED:
                continue  # nothing to say again, or it is on its way
            body = bytes(wanted.body if wanted.apart is None else wanted.apart).hex()
        found.setdefault(body, {})[row.meter] = row.id
    return found
