"""Which keys a meter holds, by what it has proved; what was signed with others is signed anew.

A per-meter key comes into force with the first genuine message under it; until a `keys` order drops it, the one before
is accepted too, for what was said before the change and arrives after it. Of the signing keys those count that a
confirmed `keys` order stated.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, bindparam, exists, select, update

from headend.orders import lifecycle
from headend.orders import outbox as outbox_of
from headend.orders.writing import state
from headend.store import lock_meter
from headend.store.many import among, listed
from headend.store.prepared import prepared
from headend.store.schema import meter, meter_trust, order, order_body
from headend.tokens import decoder
from headend.tokens.decoder import Decoder
from meterlink import bodies_root
from meterlink.orders import (
    ASPECT_EPOCH,
    ASPECT_RETIRE,
    KEYS_DECODER,
    KEYS_SIGNING,
    KEYS_TAG,
    ROLE_CONTROL,
    ROLE_CREDIT,
)
from meterlink.sts.dkga04 import BASES

_IN_ADVANCE = (ASPECT_EPOCH, ASPECT_RETIRE)
_ROLE_AT, _KEY_AT, _TAG_KEY_AT = 10, 11, 12  # in a signed order


class Held(NamedTuple):
    """Versions of the per-meter key: `in_force`, and where there is one `coming` (stated, not proved) and `old`."""

    in_force: int
    coming: int | None
    old: int | None

    def accepted(self) -> list[int]:
        """The versions under which a message of the meter is taken, the likeliest first."""
        return [version for version in self if version is not None]


_VERSIONS = prepared(
    select(meter.c.tag_key_version, meter_trust.c.next_tag_key_version, meter_trust.c.old_tag_key_version)
    .join(meter_trust, meter_trust.c.meter == meter.c.meter)
    .where(meter.c.meter == bindparam("of"))
)
_MANY = prepared(select(meter.c.meter, meter.c.tag_key_version).where(among(meter.c.meter, "of")))
_METER = update(meter).where(meter.c.meter == bindparam("of"))
_TRUST = update(meter_trust).where(meter_trust.c.meter == bindparam("of"))
_WHOLE = select(order_body.c.body).where(order_body.c.order_id == bindparam("of"))


def versions(conn: Connection, meter_id: int) -> Held | None:
    """The per-meter keys of a meter; None where it is not in the fleet."""
    row = _VERSIONS(conn, {"of": meter_id}).one_or_none()
    return None if row is None else Held(*row)


def in_force(conn: Connection, meters: Sequence[int]) -> dict[int, int]:
    """Of many meters, the version of the per-meter key that each holds; those alone that are in the fleet."""
    return {row.meter: row.tag_key_version for row in _MANY(conn, {"of": listed(conn, meters)})}


def spoke(conn: Connection, meter_id: int, version: int) -> None:
    """A genuine message under `version` came: if that was the coming key, it is in force from now on. Locks the
    meter."""
    lock_meter(conn, meter_id)
    held = versions(conn, meter_id)
    if held is not None and version == held.coming:
        conn.execute(_METER, {"of": meter_id, "tag_key_version": version})
        conn.execute(_TRUST, {"of": meter_id, "next_tag_key_version": None, "old_tag_key_version": held.in_force})


def confirmed(conn: Connection, now_s: int, row: Row[Any]) -> None:
    """A `keys` order (its id, meter, selector and body) was confirmed: from now on the meter holds what it states."""
    _STATED[row.selector](conn, now_s, row)


def _signing(conn: Connection, now_s: int, row: Row[Any]) -> None:
    keys = [key[:2] for key in bodies_root.decode_signing_keys(conn.execute(_WHOLE, {"of": row.id}).scalar_one())]
    newest = {role: max(version for held, version in keys if held == role) for role in (ROLE_CREDIT, ROLE_CONTROL)}
    known = {"credit_key_version": newest[ROLE_CREDIT], "control_key_version": newest[ROLE_CONTROL]}
    conn.execute(_TRUST, {"of": row.meter, **known})
    for one in _open(conn, row.meter):
        if (one.signed[_ROLE_AT], one.signed[_KEY_AT]) not in keys:
            _sign_anew(conn, now_s, one)
    outbox_of.wake(conn, now_s, row.meter)


def _tag(conn: Connection, now_s: int, row: Row[Any]) -> None:
    held = [version for version, _ in bodies_root.decode_tag_keys(row.body)]
    conn.execute(_METER, {"of": row.meter, "tag_key_version": held[0]})
    beside = held[1] if len(held) > 1 else None
    conn.execute(_TRUST, {"of": row.meter, "next_tag_key_version": None, "old_tag_key_version": beside})
    for one in _open(conn, row.meter):
        if one.signed[_TAG_KEY_AT] not in held:
            _sign_anew(conn, now_s, one)


def _decoder(conn: Connection, now_s: int, row: Row[Any]) -> None:
    group, key_type, tariff_index, revision, expiry, base = bodies_root.decode_decoder(row.body)[1]
    known = decoder.find(conn, row.meter)
    assert known is not None, "it was there when the order was stated, and is never deleted"
    changed = Decoder(known.pan, group, key_type, tariff_index, revision, expiry, BASES[base])
    decoder.change(conn, row.meter, changed)


_STATED = {KEYS_SIGNING: _signing, KEYS_TAG: _tag, KEYS_DECODER: _decoder}


def _open(conn: Connection, meter_id: int) -> list[Row[Any]]:
    """Signed orders that the meter may still come to take, but for those that a newer one on the subject follows."""
    newer = order.alias("newer")
    alive = (lifecycle.QUEUED, *lifecycle.ON_THE_WAY, lifecycle.CONFIRMED)
    followed = exists().where(
        newer.c.meter == order.c.meter,
        newer.c.aspect == order.c.aspect,
        newer.c.selector == order.c.selector,
        newer.c.id > order.c.id,
        newer.c.state.in_(alive),
    )
    waiting = order.c.state.in_((lifecycle.QUEUED, lifecycle.SENT, lifecycle.UNKNOWN))
    query = select(order).where(order.c.meter == meter_id, waiting, order.c.signed.is_not(None), ~followed)
    return list(conn.execute(query.order_by(order.c.id)))


def _sign_anew(conn: Connection, now_s: int, row: Row[Any]) -> None:
    """State again what was signed with a key that the meter no longer takes.

    Left as it is: a body that hides a key, which it does under that very key, and what was signed in advance.
    """
    note = "signed with a key that the meter does not hold any more: stated anew"
    if row.wrap_key_version is not None or row.aspect in _IN_ADVANCE or 0 < row.not_after_s <= now_s:
        return
    lifecycle.remark(conn, now_s, row.id, "keys", note)
    if row.state == lifecycle.QUEUED:  # never sent, so nobody has those bytes
        conn.execute(update(order).where(order.c.id == row.id).values(signed=None, digest=None))
        return
    state(
        conn,
        now_s,
        row.meter,
        row.aspect,
        row.selector,
        row.body,
        row.wants,
        row.actor,
        row.reason_text,
        valid_s=row.not_after_s - now_s if row.not_after_s else 0,
        total_uc=row.total_uc,
        apart=conn.execute(_WHOLE, {"of": row.id}).scalar_one_or_none(),
        restates=True,
    )
