"""Stating what is wanted of a meter: each function writes one unsigned order and its outbox row, in one transaction.

A statement supersedes the one on the same subject (meter, aspect, selector) that has not been sent. Versions come from
the meter's locked row, never from the orders that exist. Every function but `credit_statement` and
`release_arrears_if_stopped` locks the meter itself. They raise Refused (UnknownMeter among it), or meterlink's
OrderError for a body that cannot be.
"""

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Row, bindparam, insert, select, update

from headend.orders import lifecycle, signing
from headend.refusals import Refused
from headend.store import identity, lock_meter
from headend.store.schema import meter, meter_state, order, order_body, outbox, payment, token
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
_OF_METER = update(meter).where(meter.c.meter == bindparam("of"))
_IN_FORCE = select(meter.c.account_epoch).where(meter.c.meter == bindparam("of")).scalar_subquery()
_SALES = (
    select(payment.c.total_uc, (payment.c.amount_uc - payment.c.allocated_uc).label("amount_uc"))
    .where(payment.c.meter == bindparam("of"), payment.c.total_uc <= bindparam("total"))
    .where(payment.c.account_epoch == _IN_FORCE, payment.c.source == bindparam("from_source"))
    .order_by(payment.c.total_uc.desc())
    .limit(bodies.MAX_SALES)
)
_NEWEST_ARREARS = (
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
_UNSENT = select(order.c.id).where(
    order.c.meter == bindparam("of"),
    order.c.aspect == bindparam("about"),
    order.c.selector == bindparam("which"),
    order.c.state == lifecycle.QUEUED,
)
_NEXT_VERSION = (
    update(meter_state)
    .where(meter_state.c.meter == bindparam("of"))
    .values(next_version=meter_state.c.next_version + 1)
    .returning(meter_state.c.next_version - 1)
)
_REPLACED = (
    select(token.c.key_revision, token.c.tid)
    .join(meter, (meter.c.meter == token.c.meter) & (meter.c.account_epoch == token.c.account_epoch))
    .where(token.c.id == bindparam("of"))
)
_EPOCH = select(meter.c.account_epoch).where(meter.c.meter == bindparam("of"))
_OUT = insert(outbox)


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
) -> int:
    """Set the hold `reason` (reasons.HOLD_*, not protection): supply goes off `delay_s` after the meter took it.

    The order applies within `valid_s` (1..900) seconds from now or never. Returns the order's id.
    """
    _check_hold(reason)
    _check_valid(valid_s)
    body = bodies.encode_supply(bodies.HOLD, delay_s=delay_s)
    lock_meter(conn, meter_id)
    return state(
        conn, now_s, meter_id, ASPECT_SUPPLY, reason, body, WANTS_OFF, actor, reason_text, not_after_s=now_s + valid_s
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
) -> int:
    """Release the hold `reason`; other holds stay as they are.

    `close`: CLOSE_PERMIT (the customer closes at the meter) or CLOSE_DIRECT, after a random part of `spread_s`.
    """
    _check_hold(reason)
    lock_meter(conn, meter_id)
    return _release(conn, now_s, meter_id, reason, actor, close, spread_s, reason_text)


def protect(conn: Connection, now_s: int, meter_id: int, actor: str, *, reason_text: str = "") -> int:
    """Keep supply on whatever holds stand, safety aside (保电). It gives, so it never expires."""
    lock_meter(conn, meter_id)
    body = bodies.encode_supply(bodies.HOLD)
    return state(conn, now_s, meter_id, ASPECT_SUPPLY, reasons.HOLD_PROTECTION, body, WANTS_VERSION, actor, reason_text)


def unprotect(
    conn: Connection, now_s: int, meter_id: int, actor: str, *, reason_text: str = "", valid_s: int = MAX_STOP_S
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
        not_after_s=now_s + valid_s,
    )


def set_tariff(
    conn: Connection, now_s: int, meter_id: int, tariff: Tariff, actor: str, *, reason_text: str = ""
) -> int:
    """Price the meter by `tariff` from its `activate_s` on."""
    body = tariff.encode()
    lock_meter(conn, meter_id)
    conn.execute(_OF_METER, {"of": meter_id, "tariff": body})
    return state_long(conn, now_s, meter_id, ASPECT_TARIFF, 0, body, actor, reason_text)


def set_limits(
    conn: Connection, now_s: int, meter_id: int, limits: bodies.Limits, actor: str, *, reason_text: str = ""
) -> int:
    """Set the meter's thresholds and delays."""
    body = limits.encode()
    lock_meter(conn, meter_id)
    conn.execute(_OF_METER, {"of": meter_id, "limits": body})
    return state(conn, now_s, meter_id, ASPECT_LIMITS, 0, body, WANTS_VERSION, actor, reason_text)


def set_clock(
    conn: Connection, now_s: int, meter_id: int, actor: str, *, nonce: bytes = NO_NONCE, reason_text: str = ""
) -> int:
    """Set the meter's clock to now.

    `nonce`: the meter's `fresh` nonce (8 bytes, from its registers); without it the clock moves by 60 s a day at most.
    The statement names no last second, which a clock that is wrong would judge wrongly: the outbox drops it in time.
    """
    if len(nonce) != len(NO_NONCE):
        raise Refused("nonce", nonce.hex(), f"{len(NO_NONCE)} bytes")
    body = bodies.encode_clock(nonce, now_s)
    lock_meter(conn, meter_id)
    return state(conn, now_s, meter_id, ASPECT_CLOCK, 0, body, WANTS_VERSION, actor, reason_text)


def credit_statement(conn: Connection, now_s: int, meter_row: Row[Any], total_uc: int, actor: str) -> int:
    """State that our source has credited `total_uc` in all; returns the order's id.

    `meter_row` is the locked `meter_state` row. Carries the last four sales, from the payments stored and, where
    `total_uc` goes beyond them, one more for the difference; and names the typed token that is being replaced.
    Takes the place of a statement of this source that was not sent.
    """
    source = identity.get(conn).source
    chosen = {"of": meter_row.meter, "total": total_uc, "from_source": source}
    sold = conn.execute(_SALES, chosen).all()
    sales: list[tuple[int, int]] = []
    before_uc = 0
    for sale in reversed(sold):  # of one that was posted again, the meter may have had a part before
        sales.append((sale.total_uc, min(sale.amount_uc, sale.total_uc - before_uc)))
        before_uc = sale.total_uc
    if total_uc > before_uc:
        sales.append((total_uc, total_uc - before_uc))
    replaced: tuple[tuple[int, int], ...] = ()
    if meter_row.replacing is not None:
        named = conn.execute(_REPLACED, {"of": meter_row.replacing})
        replaced = tuple((revision, tid) for revision, tid in named)
    body = bodies.encode_credit(total_uc, meter_row.refunded_uc, sales[-bodies.MAX_SALES :], replaced=replaced)
    return state(conn, now_s, meter_row.meter, ASPECT_CREDIT, source, body, WANTS_CREDIT, actor, "", total_uc=total_uc)


def arrears(conn: Connection, meter_id: int) -> int | None:
    """What our newest statement on arrears that may reach, or has reached, the meter says: bodies.HOLD or RELEASE."""
    newest = conn.execute(_NEWEST_ARREARS, {"of": meter_id}).scalar_one_or_none()
    return None if newest is None else bodies.decode_supply(newest)[0]


def release_arrears_if_stopped(
    conn: Connection, now_s: int, meter_row: Row[Any], actor: str, *, close: int = bodies.CLOSE_PERMIT
) -> int | None:
    """Release the hold for arrears where our newest statement on it sets it and may reach, or has reached, the meter.

    Called by a payment, in its own transaction, with the locked `meter_state` row. Returns the order's id, or None
    where there is nothing to release. No other hold is touched.
    """
    if arrears(conn, meter_row.meter) != bodies.HOLD:
        return None
    return _release(
        conn, now_s, meter_row.meter, reasons.HOLD_ARREARS, actor, close, bodies.DEFAULT, "a payment met the stop"
    )


def _release(
    conn: Connection, now_s: int, meter_id: int, reason: int, actor: str, close: int, spread_s: int, reason_text: str
) -> int:
    body = bodies.encode_supply(bodies.RELEASE, close=close, spread_s=spread_s)
    wants = WANTS_ON if close == bodies.CLOSE_DIRECT else WANTS_PERMIT
    return state(conn, now_s, meter_id, ASPECT_SUPPLY, reason, body, wants, actor, reason_text)


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
    not_after_s: int = 0,
    total_uc: int = 0,
    wrap_key_version: int | None = None,
) -> int:
    """Write the order and its outbox row; the meter's row is locked by now.

    `body`: its bytes, or what makes them where they depend on the version. `wrap_key_version`: the per-meter key under
    which the body hides a key; the order's tag is made with it too.
    """
    unsent = conn.execute(_UNSENT, {"of": meter_id, "about": aspect, "which": selector}).scalar_one_or_none()
    if unsent is not None:
        lifecycle.move(conn, now_s, unsent, "supersede", "a newer statement on the same subject, before this was sent")
    version = 0
    if aspect not in UNVERSIONED:
        version = conn.execute(_NEXT_VERSION, {"of": meter_id}).scalar_one()
    epoch = conn.execute(_EPOCH, {"of": meter_id}).scalar_one()
    signing_epoch = identity.get(conn).signing_epoch
    values = {
        "meter": meter_id,
        "aspect": aspect,
        "selector": selector,
        "account_epoch": epoch,
        "signing_epoch": signing_epoch,
        "version": version,
        "total_uc": total_uc,
        "issued_s": now_s,
        "not_after_s": not_after_s,
        "body": body(signing_epoch, version) if callable(body) else body,
        "wants": wants,
        "actor": actor,
        "reason_text": reason_text,
        "wrap_key_version": wrap_key_version,
    }
    order_id = lifecycle.start(conn, now_s, values, reason_text)
    conn.execute(_OUT, {"order_id": order_id, "meter": meter_id, "next_s": now_s})
    return order_id


def state_long(
    conn: Connection, now_s: int, meter_id: int, aspect: int, selector: int, body: bytes, actor: str, reason_text: str
) -> int:
    """Write an order that is confirmed by its version; a body that is too long for it travels apart."""
    within = body if len(body) <= MAX_BODY else stating.apart(body)
    order_id = state(conn, now_s, meter_id, aspect, selector, within, WANTS_VERSION, actor, reason_text)
    if within is not body:
        conn.execute(insert(order_body).values(order_id=order_id, body=body))
    return order_id


def _check_hold(reason: int) -> None:
    if not reasons.HOLD_ARREARS <= reason <= reasons.HOLD_SAFETY:
        raise Refused("reason", reason, f"{reasons.HOLD_ARREARS}..{reasons.HOLD_SAFETY} (protection has its own order)")


def _check_valid(valid_s: int) -> None:
    if not 1 <= valid_s <= MAX_STOP_S:
        raise Refused("valid_s", valid_s, f"1..{MAX_STOP_S}")
