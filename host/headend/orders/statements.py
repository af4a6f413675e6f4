"""Stating what is wanted of a meter: each function writes one unsigned order and its outbox row, in one transaction.

A statement supersedes the one on the same subject (meter, aspect, selector) that has not been sent. Versions come from
the meter's locked row, never from the orders that exist. Every function but `credit_statement` and
`release_arrears_if_stopped` locks the meter itself. They raise Refused (UnknownMeter among it), or meterlink's
OrderError for a body that cannot be.

What may open a relay is asked of the gate here (`state`): it is queued where one person may do it alone, else it waits
for a second one (`awaiting_approval`), has no version and supersedes nothing until it is queued. Its last second counts
from being queued.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Connection, Row, bindparam, exists, insert, literal_column, select, update

from headend import audit, gate
from headend.gate import proposals
from headend.gate.checks import No
from headend.gate.policy import APPROVED
from headend.orders import lifecycle, signing
from headend.refusals import Refused
from headend.store import UnknownMeter, identity, lock_meter
from headend.store.prepared import Prepared, prepared
from headend.store.schema import database, meter, meter_state, order, order_body, outbox, payment, token
from headend.store.schema_refunds import refund
from meterlink import bodies, reasons, stating
from meterlink.orders import (
    ASPECT_CLOCK,
    ASPECT_CREDIT,
    ASPECT_LIMITS,
    ASPECT_SUPPLY,
    ASPECT_TARIFF,
    MAX_BODY,
    UNVERSIONED,
)
from meterlink.reports import NO_NONCE
from meterlink.tariff import Tariff

Body = Callable[[int, int], bytes]
"""body(signing_epoch, version): the bytes of a body that depends on them."""

MAX_STOP_S = 900  # a stop lives at most this long on its way
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
_IN_FORCE = select(meter.c.account_epoch).where(meter.c.meter == bindparam("of")).scalar_subquery()
_SALES = prepared(
    select(payment.c.total_uc, (payment.c.amount_uc - payment.c.allocated_uc).label("amount_uc"))
    .where(payment.c.meter == bindparam("of"), payment.c.total_uc <= bindparam("total"))
    .where(payment.c.account_epoch == _IN_FORCE, payment.c.source == bindparam("from_source"))
    .order_by(payment.c.total_uc.desc())
    .limit(bodies.MAX_SALES)
)
# What the refund takes that is under way, where it is the last that was taken back.
_REFUND = prepared(
    select(refund.c.amount_uc).where(
        refund.c.meter == bindparam("of"),
        refund.c.account_epoch == bindparam("epoch"),
        refund.c.source == bindparam("from_source"),
        refund.c.state == "stated",
        refund.c.refunded_uc == bindparam("total", type_=BigInteger),
    )
)
# What was last handed to a carrier of a source, whatever became of it.
_SENT_CREDIT = prepared(
    select(order.c.body)
    .where(
        order.c.meter == bindparam("of"),
        order.c.account_epoch == bindparam("epoch"),
        order.c.aspect == ASPECT_CREDIT,
        order.c.selector == bindparam("from_source"),
        order.c.sent_s.is_not(None),
    )
    .order_by(order.c.id.desc())
    .limit(1)
)
_NEWEST_ARREARS = prepared(
    select(order.c.body)
    .where(
        order.c.meter == bindparam("of"),
        order.c.aspect == ASPECT_SUPPLY,
        order.c.selector == reasons.HOLD_ARREARS,
        order.c.state.in_((lifecycle.QUEUED, *lifecycle.ON_THE_WAY, lifecycle.CONFIRMED)),
    )
    .order_by(order.c.signing_epoch.desc(), order.c.version.desc())
    .limit(1)
)
# Of a subject, what is in one of these states.
_UNSENT: dict[tuple[str, ...], Prepared] = {
    states: prepared(
        select(order.c.id).where(
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
_REPLACED = prepared(
    select(token.c.key_revision, token.c.tid)
    .join(meter, (meter.c.meter == token.c.meter) & (meter.c.account_epoch == token.c.account_epoch))
    .where(token.c.id == bindparam("of"))
)
_PLACE = prepared(
    select(meter.c.account_epoch, database.c.signing_epoch, database.c.source)
    .join(database, database.c.one == 1)
    .where(meter.c.meter == bindparam("of"))
)
# A condition on `meter`: a statement on arrears was made that may still be wanted or hold.
HAS_ARREARS = exists().where(
    order.c.meter == meter.c.meter,
    order.c.aspect == ASPECT_SUPPLY,
    order.c.selector == reasons.HOLD_ARREARS,
    # Said out: a list of bound values is written into the statement anew each time.
    order.c.state.in_(
        [literal_column(f"'{state}'") for state in (*lifecycle.UNSENT, *lifecycle.ON_THE_WAY, lifecycle.CONFIRMED)]
    ),
)
_OUT = prepared(insert(outbox))
_WAITS = prepared(
    select(*order.c, order_body.c.body.label("apart"))
    .outerjoin(order_body, order_body.c.order_id == order.c.id)
    .where(order.c.id == bindparam("of"))
)
# What the meter is to have from now on stands in its own row too.
_WANTED = {ASPECT_TARIFF: "tariff", ASPECT_LIMITS: "limits"}


def stop(
    conn: Connection,
    now_s: int,
    meter_id: int,
    reason: int,
    actor: str,
    *,
    reason_text: str = "",
    valid_s: int = MAX_STOP_S,
    delay_s: int = bodies.DEFAULT,
    proposal: int | None = None,
    restates: bool = False,
) -> int:
    """Set the hold `reason` (reasons.HOLD_*, not protection): supply goes off `delay_s` after the meter took it.

    The order applies within `valid_s` (1..900) seconds from being queued or never; one for safety is never too late:
    danger does not pass with time, and an older release must not come after it. `proposal`: where it was approved as
    part of a list · `restates`: the meter had lost a hold that was in force. Returns the order's id.
    """
    _check_hold(reason)
    _check_valid(valid_s)
    if reason == reasons.HOLD_SAFETY:
        valid_s = 0
    body = bodies.encode_supply(bodies.HOLD, delay_s=delay_s)
    lock_meter(conn, meter_id)
    return state(
        conn,
        now_s,
        meter_id,
        ASPECT_SUPPLY,
        reason,
        body,
        WANTS_OFF,
        actor,
        reason_text,
        valid_s=valid_s,
        proposal=proposal,
        restates=restates,
    )


def release(
    conn: Connection,
    now_s: int,
    meter_id: int,
    reason: int,
    actor: str,
    *,
    close: int = bodies.CLOSE_PERMIT,
    spread_s: int = bodies.DEFAULT,
    reason_text: str = "",
    proposal: int | None = None,
) -> int:
    """Release the hold `reason`; other holds stay as they are.

    `close`: CLOSE_PERMIT (the customer closes at the meter) or CLOSE_DIRECT, after a random part of `spread_s`.
    """
    _check_hold(reason)
    lock_meter(conn, meter_id)
    return _release(conn, now_s, meter_id, reason, actor, close, spread_s, reason_text, proposal)


def protect(conn: Connection, now_s: int, meter_id: int, actor: str, *, reason_text: str = "") -> int:
    """Keep supply on whatever holds stand, safety aside (保电). It gives, so it never expires."""
    lock_meter(conn, meter_id)
    body = bodies.encode_supply(bodies.HOLD)
    return state(conn, now_s, meter_id, ASPECT_SUPPLY, reasons.HOLD_PROTECTION, body, WANTS_VERSION, actor, reason_text)


def unprotect(
    conn: Connection,
    now_s: int,
    meter_id: int,
    actor: str,
    *,
    reason_text: str = "",
    valid_s: int = MAX_STOP_S,
    proposal: int | None = None,
) -> int:
    """End the protection. It takes away, so it applies within `valid_s` (1..900) seconds or never."""
    _check_valid(valid_s)
    lock_meter(conn, meter_id)
    body = bodies.encode_supply(bodies.RELEASE)
    return state(
        conn,
        now_s,
        meter_id,
        ASPECT_SUPPLY,
        reasons.HOLD_PROTECTION,
        body,
        WANTS_VERSION,
        actor,
        reason_text,
        valid_s=valid_s,
        proposal=proposal,
    )


def set_tariff(
    conn: Connection,
    now_s: int,
    meter_id: int,
    tariff: Tariff,
    actor: str,
    *,
    reason_text: str = "",
    proposal: int | None = None,
    restates: bool = False,
) -> int:
    """Price the meter by `tariff` from its `activate_s` on."""
    body = tariff.encode()
    lock_meter(conn, meter_id)
    passing: dict[str, Any] = {"proposal": proposal, "restates": restates}
    return state_long(conn, now_s, meter_id, ASPECT_TARIFF, 0, body, actor, reason_text, **passing)


def set_limits(
    conn: Connection,
    now_s: int,
    meter_id: int,
    limits: bodies.Limits,
    actor: str,
    *,
    reason_text: str = "",
    proposal: int | None = None,
    restates: bool = False,
) -> int:
    """Set the meter's thresholds and delays."""
    body = limits.encode()
    lock_meter(conn, meter_id)
    passing: dict[str, Any] = {"proposal": proposal, "restates": restates}
    return state(conn, now_s, meter_id, ASPECT_LIMITS, 0, body, WANTS_VERSION, actor, reason_text, **passing)


def set_clock(
    conn: Connection,
    now_s: int,
    meter_id: int,
    actor: str,
    *,
    nonce: bytes = NO_NONCE,
    reason_text: str = "",
    proposal: int | None = None,
) -> int:
    """Set the meter's clock to now.

    `nonce`: the meter's `fresh` nonce (8 bytes, from its registers); without it the clock moves by 60 s a day at most.
    The statement names no last second, which a clock that is wrong would judge wrongly: the outbox drops it in time.
    """
    if len(nonce) != len(NO_NONCE):
        raise Refused("nonce", nonce.hex(), f"{len(NO_NONCE)} bytes")
    body = bodies.encode_clock(nonce, now_s)
    lock_meter(conn, meter_id)
    return state(conn, now_s, meter_id, ASPECT_CLOCK, 0, body, WANTS_VERSION, actor, reason_text, proposal=proposal)


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


def credit_statement(
    conn: Connection,
    now_s: int,
    meter_row: Row[Any],
    total_uc: int,
    actor: str,
    *,
    place: Place | None = None,
    taking_uc: int = 0,
) -> int:
    """State that our source has credited `total_uc` in all; returns the order's id.

    `meter_row` is the locked `meter_state` row. Carries the last four sales, from the payments stored and, where
    `total_uc` goes beyond them, one more for the difference; and names the typed token that is being replaced.
    Takes the place of a statement of this source that was not sent. `place`: where the caller has looked it up ·
    `taking_uc`: what the refund takes that is being stated.

    What gives waits for nobody: where a refund was not sent yet, and the gate would look at both together, what is
    credited is stated without that refund, which follows once the meter shows that (`ledger.refunds`).
    """
    place = place or place_of(conn, meter_row.meter)
    source = place.source
    chosen = {"of": meter_row.meter, "total": total_uc, "from_source": source}
    sold = _SALES(conn, chosen).all()
    sales: list[tuple[int, int]] = []
    before_uc = 0
    for sale in reversed(sold):  # of one that was posted again, the meter may have had a part before
        sales.append((sale.total_uc, min(sale.amount_uc, sale.total_uc - before_uc)))
        before_uc = sale.total_uc
    if total_uc > before_uc:
        sales.append((total_uc, total_uc - before_uc))
    replaced: tuple[tuple[int, int], ...] = ()
    if meter_row.replacing is not None:
        named = _REPLACED(conn, {"of": meter_row.replacing})
        replaced = tuple((revision, tid) for revision, tid in named)
    refunded_uc = _taken_back(conn, meter_row, total_uc, place, taking_uc)
    body = bodies.encode_credit(total_uc, refunded_uc, sales[-bodies.MAX_SALES :], replaced=replaced)
    return state(
        conn,
        now_s,
        meter_row.meter,
        ASPECT_CREDIT,
        source,
        body,
        WANTS_CREDIT,
        actor,
        "",
        total_uc=total_uc,
        place=place,
    )


def _taken_back(conn: Connection, meter_row: Row[Any], total_uc: int, place: Place, taking_uc: int) -> int:
    """The refunded total that is stated with a credited one: all of it, or all but a refund that would make it wait.

    A total that was sent is stated from then on, also where the meter refused it: a copy of that order may come yet.
    """
    refunded_uc = int(meter_row.refunded_uc)
    if not refunded_uc:
        return 0
    its = {"of": meter_row.meter, "epoch": place.account_epoch, "from_source": place.source}
    if not taking_uc:
        taking_uc = _REFUND(conn, {**its, "total": refunded_uc}).scalar_one_or_none() or 0
    without_uc = refunded_uc - taking_uc
    sent = _SENT_CREDIT(conn, its).one_or_none()
    sent_uc, sent_back_uc = (0, 0) if sent is None else bodies.decode_credit(sent.body)[:2]
    if not taking_uc or sent_back_uc > without_uc or total_uc <= max(sent_uc, meter_row.on_meter_uc):
        return refunded_uc  # it was sent before, or nothing waits for it
    together = bodies.encode_credit(total_uc, refunded_uc, [])
    waits = gate.kind_of(conn, meter_row.meter, ASPECT_CREDIT, place.source, together)
    return without_uc if waits else refunded_uc


def arrears(conn: Connection, meter_id: int) -> int | None:
    """What our newest statement on arrears that may reach, or has reached, the meter says: bodies.HOLD or RELEASE."""
    newest = _NEWEST_ARREARS(conn, {"of": meter_id}).scalar_one_or_none()
    return None if newest is None else bodies.decode_supply(newest)[0]


def release_arrears_if_stopped(
    conn: Connection, now_s: int, meter_row: Row[Any], actor: str, *, close: int = bodies.CLOSE_PERMIT
) -> int | None:
    """Release the hold for arrears where our newest statement on it sets it and may reach, or has reached, the meter.

    Called by a payment, in its own transaction, with the locked `meter_state` row. Returns the order's id, or None
    where there is nothing to release. A stop for arrears that waits for approval ends. No other hold is touched.
    """
    waiting = {"of": meter_row.meter, "about": ASPECT_SUPPLY, "which": reasons.HOLD_ARREARS}
    for (order_id,) in _UNSENT[lifecycle.WAITING](conn, waiting):
        lifecycle.move(conn, now_s, order_id, "cancel", "a payment met it before it was approved and queued")
    if arrears(conn, meter_row.meter) != bodies.HOLD:
        return None
    return _release(
        conn, now_s, meter_row.meter, reasons.HOLD_ARREARS, actor, close, bodies.DEFAULT, "a payment met the stop"
    )


def _release(
    conn: Connection,
    now_s: int,
    meter_id: int,
    reason: int,
    actor: str,
    close: int,
    spread_s: int,
    reason_text: str,
    proposal: int | None = None,
) -> int:
    body = bodies.encode_supply(bodies.RELEASE, close=close, spread_s=spread_s)
    wants = WANTS_ON if close == bodies.CLOSE_DIRECT else WANTS_PERMIT
    subject = meter_id, ASPECT_SUPPLY, reason
    return state(conn, now_s, *subject, body, wants, actor, reason_text, proposal=proposal)


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
) -> int:
    """Write the order, and its outbox row where it is queued at once; the meter's row is locked by now.

    `body`: its bytes, or what makes them where they depend on the version; such an order opens nothing. `apart`: the
    whole body where that travels apart · `valid_s`: how long it lives from being queued, 0 = it never expires ·
    `wrap_key_version`: the per-meter key under which the body hides a key; the order's tag is made with it too ·
    `proposal`, `restates`: as `gate.kind_of` has them · `place`: where the caller has looked it up.
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
    _give_way(conn, now_s, meter_id, aspect, selector, lifecycle.UNSENT)
    stamps = _stamps(conn, now_s, meter_id, aspect, valid_s, place)
    values["body"] = body(stamps["signing_epoch"], stamps["version"]) if callable(body) else body
    order_id = lifecycle.start(conn, now_s, {**values, **stamps}, reason_text)
    _keep_apart(conn, order_id, apart)
    _queued(conn, now_s, order_id, meter_id, aspect, values["body"] if apart is None else apart)
    _audited(conn, now_s, order_id, values)
    return order_id


def _give_way(
    conn: Connection, now_s: int, meter_id: int, aspect: int, selector: int, unsent: tuple[str, ...], but: int = 0
) -> None:
    """What was stated on a subject and not sent ends, but for the order `but`."""
    subject = {"of": meter_id, "about": aspect, "which": selector}
    for (earlier,) in _UNSENT[unsent](conn, subject):
        if earlier != but:
            lifecycle.move(
                conn, now_s, earlier, "supersede", "a newer statement on the same subject, before this was sent"
            )


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
    _give_way(conn, now_s, *subject, lifecycle.WAITING)
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
    _give_way(conn, now_s, row.meter, row.aspect, row.selector, lifecycle.UNSENT, order_id)
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


def _check_hold(reason: int) -> None:
    if not reasons.HOLD_ARREARS <= reason <= reasons.HOLD_SAFETY:
        raise Refused("reason", reason, f"{reasons.HOLD_ARREARS}..{reasons.HOLD_SAFETY} (protection has its own order)")


def _check_valid(valid_s: int) -> None:
    if not 1 <= valid_s <= MAX_STOP_S:
        raise Refused("valid_s", valid_s, f"1..{MAX_STOP_S}")
