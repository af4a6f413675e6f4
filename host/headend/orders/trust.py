"""Statements on who prices, what is latched, which keys a meter accepts and what it is to run.

As in `statements`: each function writes one unsigned order and its outbox row, in one transaction, and locks the meter
itself. Keys and firmware are signed by the root key, which lies offline (`ceremony`).
"""

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, select, update

from headend.orders import keys_held, lifecycle
from headend.orders.writing import WANTS_MODE, WANTS_TAG, WANTS_VERSION, state, state_long
from headend.reads import cursors
from headend.refusals import Refused
from headend.store import lock_meter
from headend.store.schema import meter_trust, order
from headend.tokens import decoder
from headend.tokens.decoder import Decoder
from meterlink import bodies, names, states, stating
from meterlink.mac import MacKey
from meterlink.orders import (
    ASPECT_CLEAR,
    ASPECT_FIRMWARE,
    ASPECT_KEYS,
    ASPECT_MODE,
    KEYS_DECODER,
    KEYS_SIGNING,
    KEYS_TAG,
)

MacKeyOf = Callable[[int, int], MacKey]
"""mac_key(meter, version): a per-meter key, ready for use."""

_ADJUSTED = select(meter_trust.c.adjusted_uc).where(meter_trust.c.meter == bindparam("of"))
_SET_ADJUSTED = update(meter_trust).where(meter_trust.c.meter == bindparam("of"))
_UNDER_WAY = select(order.c.id).where(
    order.c.meter == bindparam("of"),
    order.c.aspect == ASPECT_KEYS,
    order.c.selector == bindparam("which"),
    order.c.state.in_((lifecycle.QUEUED, *lifecycle.ON_THE_WAY)),
)


def set_mode(
    conn: Connection,
    now_s: int,
    meter_id: int,
    mode: int,
    actor: str,
    *,
    adjusted_uc: int | None = None,
    until_wh: int = 0,
    balance_uc: int = 0,
    grace_wh: int = 0,
    grace_s: int = 0,
    reason_text: str = "",
    proposal: int | None = None,
) -> int:
    """Say who prices (states.MODE_*), what the head end has charged in all, and how far supply is covered.

    `adjusted_uc`: that total, never less than stated before (None: as before). `until_wh` … `grace_s`: the allowance,
    as `bodies.decode_mode` has it, for MODE_REMOTE only. Returns the order's id.
    """
    if mode not in names.MODE:
        raise Refused("mode", mode, f"one of {', '.join(f'{code} ({name})' for code, name in names.MODE.items())}")
    allowance = {"until_wh": until_wh, "balance_uc": balance_uc, "grace_wh": grace_wh, "grace_s": grace_s}
    for field, value in allowance.items():
        low, high = _ALLOWANCE[field]
        if not low <= value <= high:
            raise Refused(field, value, f"{low}..{high}")
        if value and mode != states.MODE_REMOTE:
            raise Refused(field, value, "0: only the remote mode has an allowance")
    lock_meter(conn, meter_id)
    before_uc = conn.execute(_ADJUSTED, {"of": meter_id}).scalar_one()
    total_uc = before_uc if adjusted_uc is None else adjusted_uc
    if not before_uc <= total_uc <= bodies.MAX_UC:
        raise Refused("adjusted_uc", total_uc, f"{before_uc}..{bodies.MAX_UC}: the total never falls")
    conn.execute(_SET_ADJUSTED, {"of": meter_id, "adjusted_uc": total_uc})
    body = stating.mode(mode, total_uc, until_wh, balance_uc, grace_wh, grace_s)
    return state(conn, now_s, meter_id, ASPECT_MODE, 0, body, WANTS_MODE, actor, reason_text, proposal=proposal)


_ALLOWANCE = {
    "until_wh": (0, bodies.MAX_UC),
    "balance_uc": (-bodies.MAX_UC, bodies.MAX_UC),
    "grace_wh": (0, 0xFFFFFFFF),
    "grace_s": (0, 0xFFFFFFFF),
}


def clear_latches(
    conn: Connection,
    now_s: int,
    meter_id: int,
    latches: int,
    actor: str,
    *,
    up_to_event: int | None = None,
    reason_text: str = "",
) -> int:
    """Clear what the operator has seen: `latches` (bits states.LATCH_*) that stand since event `up_to_event`.

    None: since the newest event that the meter has reported. What happens later stays latched.
    """
    if not 0 < latches <= stating.ALL_LATCHES:
        raise Refused("latches", latches, f"1..{stating.ALL_LATCHES}")
    row = lock_meter(conn, meter_id)
    newest = cursors.of(conn, meter_id).event_newest
    seen = newest if up_to_event is None else up_to_event
    if row.report is None or not 0 <= seen <= newest:
        raise Refused("up_to_event", seen, f"0..{newest}, an event that the meter has reported")
    body = stating.clear(latches, seen)
    return state(conn, now_s, meter_id, ASPECT_CLEAR, 0, body, WANTS_VERSION, actor, reason_text)


def set_firmware(
    conn: Connection,
    now_s: int,
    meter_id: int,
    release: tuple[int, int, int],
    legal_version: int,
    length: int,
    sha256: bytes,
    actor: str,
    *,
    reason_text: str = "",
    proposal: int | None = None,
) -> int:
    """Say which image the meter is to run: its release, legal version, length in bytes and SHA-256."""
    body = stating.firmware(release, legal_version, length, sha256)
    lock_meter(conn, meter_id)
    subject = meter_id, ASPECT_FIRMWARE, 0
    return state(conn, now_s, *subject, body, WANTS_VERSION, actor, reason_text, proposal=proposal)


def set_signing_keys(
    conn: Connection,
    now_s: int,
    meter_id: int,
    keys: Sequence[tuple[int, int, bytes]],
    actor: str,
    *,
    reason_text: str = "",
) -> int:
    """State all public keys that the meter accepts: (role, version, X||Y), 3..6, each role at least once.

    They are too long for the order and travel apart.
    """
    whole = stating.signing_keys(keys)
    lock_meter(conn, meter_id)
    return state_long(conn, now_s, meter_id, ASPECT_KEYS, KEYS_SIGNING, whole, actor, reason_text)


def set_tag_key(
    conn: Connection,
    now_s: int,
    meter_id: int,
    version: int,
    key: bytes,
    mac_key: MacKeyOf,
    actor: str,
    *,
    reason_text: str = "",
) -> int:
    """Give the meter the per-meter key of `version` (32 bytes), to be used from now on; the one in force stays good.

    Raises Refused while an earlier change is under way: two at a time could leave it unknown which key the meter uses.
    """
    lock_meter(conn, meter_id)
    held = _settled_keys(conn, meter_id)
    if version in (held.in_force, held.old):
        raise Refused("tag_key_version", version, "a version that the meter does not hold")

    def body(signing_epoch: int, order_version: int) -> bytes:
        wrapping = mac_key(meter_id, held.in_force)
        return stating.tag_keys([held.in_force], (version, key), wrapping, meter_id, signing_epoch, order_version)

    order_id = _wrapped(conn, now_s, meter_id, KEYS_TAG, body, WANTS_TAG, actor, reason_text, held.in_force)
    conn.execute(update(meter_trust).where(meter_trust.c.meter == meter_id).values(next_tag_key_version=version))
    return order_id


def drop_old_tag_key(
    conn: Connection, now_s: int, meter_id: int, mac_key: MacKeyOf, actor: str, *, reason_text: str = ""
) -> int:
    """Let the meter accept nothing but the per-meter key in force. Refused where that is so already."""
    lock_meter(conn, meter_id)
    held = _settled_keys(conn, meter_id)
    if held.old is None:
        raise Refused("old tag key", None, "a meter that holds one beside the key in force")

    def body(signing_epoch: int, order_version: int) -> bytes:
        wrapping = mac_key(meter_id, held.in_force)
        return stating.tag_keys([held.in_force], None, wrapping, meter_id, signing_epoch, order_version)

    return _wrapped(conn, now_s, meter_id, KEYS_TAG, body, WANTS_TAG, actor, reason_text, held.in_force)


def set_decoder(
    conn: Connection,
    now_s: int,
    meter_id: int,
    key: bytes,
    bound_to: Decoder,
    mac_key: MacKeyOf,
    actor: str,
    *,
    reason_text: str = "",
) -> int:
    """Give the meter another decoder key for typed tokens (16 bytes), bound to these attributes.

    Raises NoDecoder for a meter that was provisioned without one, and Refused for another PAN than it has.
    """
    bound_to.attributes()
    lock_meter(conn, meter_id)
    held = _settled_keys(conn, meter_id)
    pan = decoder.get(conn, meter_id).pan
    if bound_to.pan != pan:
        raise Refused("pan", bound_to.pan, f"{pan}, which the meter has")

    def body(signing_epoch: int, order_version: int) -> bytes:
        wrapping = mac_key(meter_id, held.in_force)
        return stating.decoder(key, bound_to.on_meter(), wrapping, meter_id, signing_epoch, order_version)

    return _wrapped(conn, now_s, meter_id, KEYS_DECODER, body, WANTS_VERSION, actor, reason_text, held.in_force)


def _settled_keys(conn: Connection, meter_id: int) -> keys_held.Held:
    """The per-meter keys that the meter holds, while no order is about to change them."""
    waiting = conn.execute(_UNDER_WAY, {"of": meter_id, "which": KEYS_TAG}).scalars().first()
    if waiting is not None:
        raise Refused("tag key", f"a change while order {waiting} is under way", "that order to have ended")
    held = keys_held.versions(conn, meter_id)
    assert held is not None, "the meter is locked, so it is there"
    return held


def _wrapped(
    conn: Connection,
    now_s: int,
    meter_id: int,
    selector: int,
    body: Any,
    wants: str,
    actor: str,
    reason_text: str,
    wrap_key_version: int,
) -> int:
    return state(
        conn,
        now_s,
        meter_id,
        ASPECT_KEYS,
        selector,
        body,
        wants,
        actor,
        reason_text,
        wrap_key_version=wrap_key_version,
    )
