"""Brings the newest keys to every meter: what each has to be told, and how far the whole fleet is.

A rotation goes out in two rounds. In the first, each meter gets the newest keys beside those that it holds, so that
nothing which was issued goes bad. In the second (`drop_old`), which is stated once the first is done, it keeps the
newest alone. Either round may be run again at any time: what is done or under way is left alone.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, select

from headend.keys.holder import KeyHolder
from headend.keys.provision import public_keys
from headend.orders import keys_held, lifecycle, trust
from headend.store.schema import meter, order, order_body
from meterlink import stating
from meterlink.orders import ASPECT_KEYS, KEYS_SIGNING, KEYS_TAG

SIGNING, TAG = "signing keys", "per-meter key"
KINDS = (SIGNING, TAG)

# How a meter stands to a kind of key.
DONE = "done"
UNDER_WAY = "under way"  # ordered, and not proved yet
UNSIGNED = "waiting for the root key"  # stated, not signed
STATED = "stated"  # just now
BEHIND = "not ready"  # its second round has to wait for the first
OUTCOMES = (DONE, UNDER_WAY, UNSIGNED, STATED, BEHIND)

_NEWEST = (
    select(order.c.id, order.c.state, order.c.signed.is_(None).label("unsigned"), order_body.c.body)
    .outerjoin(order_body, order_body.c.order_id == order.c.id)
    .where(
        order.c.meter == bindparam("of"),
        order.c.aspect == ASPECT_KEYS,
        order.c.selector == bindparam("which"),
        order.c.state.in_((lifecycle.QUEUED, *lifecycle.ON_THE_WAY, lifecycle.CONFIRMED)),
    )
    .order_by(order.c.id.desc())
    .limit(1)
)


@dataclass(frozen=True)
class Goal:
    """What every meter is to hold: public keys as (role, version, X||Y), and the version of its own key; `drop_old`:
    nothing beside them."""

    signing: tuple[tuple[int, int, bytes], ...]
    tag_key_version: int
    drop_old: bool


def goal_of(keys: KeyHolder, *, drop_old: bool = False) -> Goal:
    """What the key store says: the newest key of each role, and without `drop_old` the one before where it is in
    force."""
    signing = public_keys(keys, 1) if drop_old else public_keys(keys)
    return Goal(signing, keys.tag_key_version, drop_old)


def roll(conn: Connection, now_s: int, meter_id: int, kind: str, goal: Goal, keys: KeyHolder, actor: str) -> str:
    """See that one meter comes to hold its keys of a kind; returns how it stands to them (OUTCOMES)."""
    outcome = stands(conn, meter_id, kind, goal)
    if outcome:
        return outcome
    reason = "newest keys alone" if goal.drop_old else "newest keys"
    if kind == SIGNING:
        trust.set_signing_keys(conn, now_s, meter_id, goal.signing, actor, reason_text=reason)
    elif goal.drop_old:
        trust.drop_old_tag_key(conn, now_s, meter_id, keys.mac_key, actor, reason_text=reason)
    else:
        version = goal.tag_key_version
        key = keys.meter_key(meter_id, version)
        trust.set_tag_key(conn, now_s, meter_id, version, key, keys.mac_key, actor, reason_text=reason)
    return STATED


def stands(conn: Connection, meter_id: int, kind: str, goal: Goal) -> str:
    """How a meter stands to its keys of a kind (OUTCOMES), or nothing where it has to be told."""
    return _STANDS[kind](conn, meter_id, goal)


def _signing(conn: Connection, meter_id: int, goal: Goal) -> str:
    newest = conn.execute(_NEWEST, {"of": meter_id, "which": KEYS_SIGNING}).one_or_none()
    if newest is None or newest.body != stating.signing_keys(goal.signing):
        return ""
    return DONE if newest.state == lifecycle.CONFIRMED else _waiting(newest)


def _tag(conn: Connection, meter_id: int, goal: Goal) -> str:
    held = keys_held.versions(conn, meter_id)
    assert held is not None, "the meter was found in the fleet"
    newest = conn.execute(_NEWEST, {"of": meter_id, "which": KEYS_TAG}).one_or_none()
    if newest is not None and newest.state != lifecycle.CONFIRMED:
        return _waiting(newest)
    if held.in_force == goal.tag_key_version:
        return "" if goal.drop_old and held.old is not None else DONE
    return BEHIND if goal.drop_old else ""


_STANDS: dict[str, Callable[[Connection, int, Goal], str]] = {SIGNING: _signing, TAG: _tag}


def _waiting(row: Any) -> str:
    return UNSIGNED if row.unsigned else UNDER_WAY


def meters_after(conn: Connection, after: int, limit: int) -> list[int]:
    """Up to `limit` numbers of the fleet above `after`, rising."""
    query = select(meter.c.meter).where(meter.c.meter > after).order_by(meter.c.meter).limit(limit)
    return list(conn.execute(query).scalars())


def progress(conn: Connection, kind: str, goal: Goal) -> Counter[str]:
    """How many meters stand how; "" for those that were not told yet."""
    found: Counter[str] = Counter()
    after = 0
    while True:
        some = meters_after(conn, after, 500)
        if not some:
            return found
        found.update(stands(conn, number, kind, goal) for number in some)
        after = some[-1]
