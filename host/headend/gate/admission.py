"""What an order is to the gate when it is stated, and whether one person may have it queued alone."""

from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, select

from headend.gate import budget, checks, opening, policy, words
from headend.gate.budget import Budget
from headend.gate.checks import No
from headend.gate.policy import ALONE, APPROVED, COUNTS, REFUND, RESTATED, SAFETY
from headend.orders import lifecycle
from headend.store.prepared import prepared
from headend.store.schema import meter, order, order_body
from meterlink import names, reasons
from meterlink.orders import ASPECT_CREDIT, ASPECT_LIMITS, ASPECT_RETIRE, ASPECT_SUPPLY, ASPECT_TARIFF

# The books have moved with it already, and cannot wait for a person: held back at sending, never asked for.
_STATED_WITH_BOOKS = (ASPECT_RETIRE,)
_PROVISIONED = {
    aspect: prepared(select(column).where(meter.c.meter == bindparam("of")))
    for aspect, column in ((ASPECT_TARIFF, meter.c.tariff), (ASPECT_LIMITS, meter.c.limits))
}

_mine = (
    order.c.meter == bindparam("of"),
    order.c.aspect == bindparam("about"),
    order.c.selector == bindparam("which"),
)
_SENT = prepared(
    select(order.c.body, order_body.c.body.label("apart"))
    .join(meter, (meter.c.meter == order.c.meter) & (meter.c.account_epoch == order.c.account_epoch))
    .outerjoin(order_body, order_body.c.order_id == order.c.id)
    .where(*_mine, order.c.state.in_((*lifecycle.ON_THE_WAY, lifecycle.CONFIRMED)))
    .order_by(order.c.signing_epoch.desc(), order.c.version.desc(), order.c.id.desc())
    .limit(1)
)
_ANY = prepared(select(order.c.id).where(*_mine).limit(1))
_GIVES_WAY = select(order.c.actor).where(*_mine, order.c.state == lifecycle.QUEUED, order.c.gate.in_(COUNTS[ALONE]))


class Admission(NamedTuple):
    """The first state of an order that may open a relay, and what makes it wait."""

    state: str
    no: No | None = None


def before(conn: Connection, meter_id: int, aspect: int, selector: int) -> bytes | None:
    """What the meter has, or is about to have, of a subject: the newest statement that was sent, else what it was
    provisioned with. None: not known. What waits is no measure: it may never come."""
    subject = {"of": meter_id, "about": aspect, "which": selector}
    row = _SENT(conn, subject).one_or_none()
    if row is not None:
        return bytes(row.body if row.apart is None else row.apart)
    provisioned = _PROVISIONED.get(aspect)
    if provisioned is None or _ANY(conn, subject).one_or_none() is not None:
        return None
    return bytes(provisioned(conn, {"of": meter_id}).scalar_one())


def kind_of(
    conn: Connection,
    meter_id: int,
    aspect: int,
    selector: int,
    body: bytes,
    *,
    proposal: int | None = None,
    restates: bool = False,
) -> str:
    """As what an order has to pass the gate (`policy.CLASSES`); "" where it opens nothing.

    `restates`: it says again what was in force · `proposal`: what was approved.
    """
    if aspect not in opening.OPENING:
        return ""
    known = before(conn, meter_id, aspect, selector) if opening.compares(aspect, body) else None
    if not opening.opens(aspect, selector, body, known):
        return ""
    if restates:
        return RESTATED
    if aspect == ASPECT_CREDIT:
        return REFUND
    if (aspect, selector) == (ASPECT_SUPPLY, reasons.HOLD_SAFETY):
        return SAFETY
    return ALONE if proposal is None else APPROVED


def admit(conn: Connection, now_s: int, values: dict[str, Any], actor: str) -> Admission:
    """The first state of an order that may open a relay: `queued` where one person may do it alone, otherwise
    `awaiting_approval`. `values`: its meter, aspect, selector and gate."""
    queued = Admission(lifecycle.QUEUED)
    if values["gate"] != ALONE or values["aspect"] in _STATED_WITH_BOOKS:
        return queued
    rules = policy.get(conn)
    what = code_of(values["aspect"], values["selector"])
    if what in rules.always or what.partition(":")[0] in rules.always:
        return Admission(lifecycle.AWAITING_APPROVAL, No("gate.always", words.ASKED_FOR, {"what": what}))
    place = budget.place_of(conn, values["meter"], actor, rules)
    alone = Budget(conn, now_s, rules, ALONE, with_queued=True)
    subject = {"of": values["meter"], "about": values["aspect"], "which": values["selector"]}
    for other in conn.execute(_GIVES_WAY, subject).scalars():
        alone.take(budget.place_of(conn, values["meter"], other, rules), -1)
    room = alone.room(place)
    if room.left > 0:
        return queued
    no = checks.over_budget(now_s, room, words.NEEDS_APPROVAL)
    return Admission(lifecycle.AWAITING_APPROVAL, no)


def code_of(aspect: int, selector: int) -> str:
    """How a policy names a subject: "tariff", "supply:legal"."""
    name = names.of(names.ASPECT, aspect)
    return f"{name}:{names.of(names.HOLD, selector)}" if aspect == ASPECT_SUPPLY else name


__all__ = ["Admission", "admit", "before", "code_of", "kind_of"]
