"""Writing an order of a meter: one unsigned order with its outbox row, or with the proposal that it waits for.

A statement supersedes the one on the same subject (meter, aspect, selector) that has not been sent. Versions come from
the meter's locked row, never from the orders that exist. The meter's row is locked by now, and what is to be said
stands in `statements`, `credit`, `terms`, `trust`, `account` and `keys_held`.

What may open a relay is asked of the gate here (`state`): it is queued where one person may do it alone, else it waits
for a second one (`awaiting_approval`), has no version and supersedes nothing until it is queued. Its last second counts
from being queued.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, bindparam, insert, select, update

from headend import audit, gate
from headend.gate import proposals
from headend.gate.checks import No
from headend.gate.policy import APPROVED
from headend.orders import lifecycle, signing
from headend.store import UnknownMeter, identity
from headend.store.prepared import Asked, Prepared, prepared
from headend.store.schema import database, meter, meter_state, order, order_body, outbox
from meterlink import stating
from meterlink.orders import ASPECT_CREDIT, ASPECT_LIMITS, ASPECT_TARIFF, MAX_BODY, UNVERSIONED

Body = Callable[[int, int], bytes]
"""body(signing_epoch, version): the bytes of a body that depends on them."""

# What confirms an order (`confirm.py`).
WANTS_OFF = "off"
WANTS_ON = "on"
WANTS_PERMIT = "permit"
WANTS_CREDIT = "credit"
WANTS_VERSION = "version"
WANTS_MODE = "mode"
WANTS_TAG = "tag"
WANTS_CLOSED = signing.WANTS_CLOSED
WANTS_EPOCH = "epoch"
WANTS_RETIRED = "retired"
WANTS_RECOVERED = "recovered"

# Built once: to put a statement together costs several times what it costs to run it.
_OF_METER = prepared(update(meter).where(meter.c.meter == bindparam("of")))
# Of a subject, what is in one of these states.
_UNSENT: dict[tuple[str, ...], Prepared] = {
    states: prepared(
        select(order.c.id, order.c.aspect, order.c.state).where(
            order.c.meter == bindparam("of"),
            order.c.aspect == bindparam("about"),
            order.c.selector == bindparam("which"),
            order.c.state.in_(states),
        )
    )
    for states in (lifecycle.WAITING, lifecycle.UNSENT)
}
_NEXT_VERSION = prepared(
    update(meter_state)
    .where(meter_state.c.meter == bindparam("of"))
    .values(next_version=meter_state.c.next_version + 1)
    .returning(meter_state.c.next_version - 1)
)
_PLACE = prepared(
    select(meter.c.account_epoch, database.c.signing_epoch, database.c.source)
    .join(database, database.c.one == 1)
    .where(meter.c.meter == bindparam("of"))
)
_OUT = prepared(insert(outbox))
_WAITS = prepared(
    select(*order.c, order_body.c.body.label("apart"))
    .outerjoin(order_body, order_body.c.order_id == order.c.id)
    .where(order.c.id == bindparam("of"))
)
# What the meter is to have from now on stands in its own row too.
_WANTED = {ASPECT_TARIFF: "tariff", ASPECT_LIMITS: "limits"}


class Place(NamedTuple):
    """Under what a meter's orders are stated: its account, and what the database signs as."""

    account_epoch: int
    signing_epoch: int
    source: int


def place_of(conn: Connection, meter_id: int) -> Place:
    """The place of a meter now; raises Refused while nothing is established."""
    row = _PLACE(conn, {"of": meter_id}).one_or_none()
    if row is None:
        identity.get(conn)
        raise UnknownMeter(meter_id)
    return Place(*row)


def state(
    conn: Connection,
    now_s: int,
    meter_id: int,
    aspect: int,
    selector: int,
    body: bytes | Body,
    wants: str,
    actor: str,
    reason_text: str,
    *,
    valid_s: int = 0,
    total_uc: int = 0,
    wrap_key_version: int | None = None,
    apart: bytes | None = None,
    proposal: int | None = None,
    restates: bool = False,
    place: Place | None = None,
    unsent: Sequence[Row[Any]] | None = None,
) -> int:
    """Write the order, and its outbox row where it is queued at once; the meter's row is locked by now.

    `body`: its bytes, or what makes them where they depend on the version; such an order opens nothing. `apart`: the
    whole body where that travels apart · `valid_s`: how long it lives from being queued, 0 = it never expires ·
    `wrap_key_version`: the per-meter key under which the body hides a key; the order's tag is made with it too ·
    `proposal`, `restates`: as `gate.kind_of` has them · `place`, `unsent`: where the caller has looked them up.
    """
    kind, no = "", None
    values: dict[str, Any] = {
        "meter": meter_id,
        "aspect": aspect,
        "selector": selector,
        "total_uc": total_uc,
        "wants": wants,
        "actor": actor,
        "reason_text": reason_text,
        "wrap_key_version": wrap_key_version,
        "valid_s": valid_s,
        "proposal": proposal,
        "gate": kind,
    }
    if not callable(body):
        whole = body if apart is None else apart
        kind = gate.kind_of(conn, meter_id, aspect, selector, whole, proposal=proposal, restates=restates)
        values["gate"] = kind
        if kind:
            first, no = gate.admit(conn, now_s, values, actor)
            if first != lifecycle.QUEUED:
                return _wait(conn, now_s, {**values, "body": body}, apart, no)
    if unsent is None:
        unsent = _of_subject(conn, meter_id, aspect, selector, lifecycle.UNSENT)
    _give_way(conn, now_s, unsent)
    stamps = _stamps(conn, now_s, meter_id, aspect, valid_s, place)
    values["body"] = body(stamps["signing_epoch"], stamps["version"]) if callable(body) else body
    order_id = lifecycle.start(conn, now_s, {**values, **stamps}, reason_text)
    _keep_apart(conn, order_id, apart)
    _queued(conn, now_s, order_id, meter_id, aspect, values["body"] if apart is None else apart)
    _audited(conn, now_s, order_id, values)
    return order_id


def to_unsent(meter_id: int, aspect: int, selector: int) -> Asked:
    """What asks for the orders on a subject that were not sent, for `prepared.together`; its rows are for `state`."""
    return _UNSENT[lifecycle.UNSENT], {"of": meter_id, "about": aspect, "which": selector}


def waiting(conn: Connection, meter_id: int, aspect: int, selector: int) -> list[int]:
    """The orders on a subject that wait for approval."""
    return [row.id for row in _of_subject(conn, meter_id, aspect, selector, lifecycle.WAITING)]


def _of_subject(conn: Connection, meter_id: int, aspect: int, selector: int, states: tuple[str, ...]) -> list[Row[Any]]:
    return _UNSENT[states](conn, {"of": meter_id, "about": aspect, "which": selector}).all()


def _give_way(conn: Connection, now_s: int, earlier: Iterable[Row[Any]], but: int = 0) -> None:
    """What was stated on a subject and not sent ends, but for the order `but`."""
    why = "a newer statement on the same subject, before this was sent"
    for row in earlier:
        if row.id != but:
            lifecycle.move(conn, now_s, row.id, "supersede", why, at=row)


def _stamps(
    conn: Connection, now_s: int, meter_id: int, aspect: int, valid_s: int, place: Place | None = None
) -> dict[str, Any]:
    """What an order gets when it is queued: epochs, version and times."""
    version = 0
    if aspect not in UNVERSIONED:
        version = _NEXT_VERSION(conn, {"of": meter_id}).scalar_one()
    place = place or place_of(conn, meter_id)
    return {
        "account_epoch": place.account_epoch,
        "signing_epoch": place.signing_epoch,
        "version": version,
        "issued_s": now_s,
        "not_after_s": now_s + valid_s if valid_s else 0,
    }


def _queued(conn: Connection, now_s: int, order_id: int, meter_id: int, aspect: int, whole: bytes) -> None:
    column = _WANTED.get(aspect)
    if column is not None:
        _OF_METER(conn, {"of": meter_id, column: whole})
    _OUT.later(conn, {"order_id": order_id, "meter": meter_id, "next_s": now_s})


def _keep_apart(conn: Connection, order_id: int, apart: bytes | None) -> None:
    if apart is not None:
        conn.execute(insert(order_body), {"order_id": order_id, "body": apart})


def _audited(conn: Connection, now_s: int, order_id: int, values: dict[str, Any]) -> None:
    """A payment is its own record, and so is the credit that it buys."""
    if values["aspect"] != ASPECT_CREDIT:
        detail = {name: values[name] for name in ("meter", "aspect", "selector", "wants", "proposal")}
        audit.record(conn, now_s, values["actor"], "order.stated", f"order:{order_id}", detail)


def _wait(conn: Connection, now_s: int, values: dict[str, Any], apart: bytes | None, no: No | None) -> int:
    """Write an order that a second person has to approve, and what proposes it."""
    subject = values["meter"], values["aspect"], values["selector"]
    _give_way(conn, now_s, _of_subject(conn, *subject, lifecycle.WAITING))
    epoch = place_of(conn, values["meter"]).account_epoch
    stamps = {"account_epoch": epoch, "signing_epoch": identity.get(conn).signing_epoch, "version": 0}
    stamps |= {"issued_s": now_s, "not_after_s": 0}
    passes = {**values, **stamps, "gate": APPROVED}
    order_id = lifecycle.start(conn, now_s, passes, values["reason_text"], state=lifecycle.DRAFT)
    _keep_apart(conn, order_id, apart)
    whole = values["body"] if apart is None else apart
    payload = {
        "order": order_id,
        **{name: values[name] for name in ("meter", "aspect", "selector", "valid_s")},
        "account_epoch": epoch,
        "body": whole.hex(),
    }
    made = proposals.propose(conn, now_s, "order", payload, values["actor"], values["reason_text"])
    lifecycle.move(conn, now_s, order_id, "submit", "" if no is None else no.say(), proposal=made)
    _audited(conn, now_s, order_id, {**values, "proposal": made})
    return order_id


def queue_approved(conn: Connection, now_s: int, order_id: int) -> None:
    """Queue an order that was approved: from now on it has its version, and its last second counts.

    The meter's row is locked by now. Ends the order where its account is no longer in force; what was stated on its
    subject and not sent gives way to it.
    """
    row = _WAITS(conn, {"of": order_id}).one()
    stamps = _stamps(conn, now_s, row.meter, row.aspect, row.valid_s)
    if stamps["account_epoch"] != row.account_epoch:
        lifecycle.move(conn, now_s, order_id, "supersede", "its account was closed before it was sent")
        return
    _give_way(conn, now_s, _of_subject(conn, row.meter, row.aspect, row.selector, lifecycle.UNSENT), order_id)
    lifecycle.move(conn, now_s, order_id, "queue", **stamps)
    _queued(conn, now_s, order_id, row.meter, row.aspect, row.body if row.apart is None else row.apart)


def state_long(
    conn: Connection,
    now_s: int,
    meter_id: int,
    aspect: int,
    selector: int,
    body: bytes,
    actor: str,
    reason_text: str,
    *,
    proposal: int | None = None,
    restates: bool = False,
) -> int:
    """Write an order that is confirmed by its version; a body that is too long for it travels apart."""
    within, apart = (body, None) if len(body) <= MAX_BODY else (stating.apart(body), body)
    return state(
        conn,
        now_s,
        meter_id,
        aspect,
        selector,
        within,
        WANTS_VERSION,
        actor,
        reason_text,
        apart=apart,
        proposal=proposal,
        restates=restates,
    )
