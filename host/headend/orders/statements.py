"""Stating what is wanted of a meter's supply, tariff, limits and clock.

Each function writes one unsigned order and its outbox row, in one transaction (`writing`), and locks the meter itself,
but for `release_arrears_if_stopped`. They raise Refused (UnknownMeter among it), or meterlink's OrderError for a body
that cannot be.
"""

from typing import Any

from sqlalchemy import Connection, Row, bindparam, exists, literal_column, select

from headend.orders import lifecycle
from headend.orders.writing import WANTS_OFF, WANTS_ON, WANTS_PERMIT, WANTS_VERSION, state, state_long, waiting
from headend.refusals import Refused
from headend.store import lock_meter
from headend.store.prepared import prepared
from headend.store.schema import meter, order
from meterlink import bodies, reasons
from meterlink.orders import ASPECT_CLOCK, ASPECT_LIMITS, ASPECT_SUPPLY, ASPECT_TARIFF
from meterlink.reports import NO_NONCE
from meterlink.tariff import Tariff

MAX_STOP_S = 900  # a stop lives at most this long on its way

# Built once: to put a statement together costs several times what it costs to run it.
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
    for order_id in waiting(conn, meter_row.meter, ASPECT_SUPPLY, reasons.HOLD_ARREARS):
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


def _check_hold(reason: int) -> None:
    if not reasons.HOLD_ARREARS <= reason <= reasons.HOLD_SAFETY:
        raise Refused("reason", reason, f"{reasons.HOLD_ARREARS}..{reasons.HOLD_SAFETY} (protection has its own order)")


def _check_valid(valid_s: int) -> None:
    if not 1 <= valid_s <= MAX_STOP_S:
        raise Refused("valid_s", valid_s, f"1..{MAX_STOP_S}")
