"""Exclusions: setting them, their evidence and their end. What one forbids is over in the same transaction.

A stop that was not sent ends; where a stop was sent or is in force, its release is stated. So a customer has supply
again as soon as an exclusion stands, and none of them comes to rest on a hold that would fall on the day it ends.
"""

from typing import Any

from sqlalchemy import Connection, Row, bindparam, insert, select, update

from headend import audit
from headend.orders import lifecycle, statements
from headend.refusals import Refused
from headend.registry import kinds, words
from headend.registry.evidence import Evidence
from headend.registry.kinds import KINDS, Kind
from headend.store import lock_meter
from headend.store.schema import meter, order
from headend.store.schema_registry import exclusion, exclusion_event
from meterlink import bodies, reasons
from meterlink.orders import ASPECT_SUPPLY

UNSENT = (lifecycle.DRAFT, lifecycle.AWAITING_APPROVAL, lifecycle.APPROVED, lifecycle.QUEUED)
MAX_NOTE = 200

_ROW = select(exclusion).where(exclusion.c.id == bindparam("of"))
OPEN = (
    select(exclusion)
    .where(exclusion.c.meter == bindparam("of"), exclusion.c.ended_s.is_(None))
    .order_by(exclusion.c.id)
)
_OPEN_OF_KIND = OPEN.where(exclusion.c.kind == bindparam("which"))
_EPOCH = select(meter.c.account_epoch).where(meter.c.meter == bindparam("of"))
NEW = insert(exclusion).returning(exclusion.c.id)
_CHANGE = (
    update(exclusion)
    .where(exclusion.c.id == bindparam("of"), exclusion.c.version == bindparam("at_version"))
    .values(version=exclusion.c.version + 1)
)
_EVENT = insert(exclusion_event)
_SUPPLY = (
    select(order.c.id, order.c.selector, order.c.state, order.c.body)
    .where(order.c.meter == bindparam("of"), order.c.aspect == ASPECT_SUPPLY)
    .where(order.c.state.in_((*UNSENT, *lifecycle.ON_THE_WAY, lifecycle.CONFIRMED)))
    .order_by(order.c.id.desc())
)


class UnknownExclusion(Refused):
    """No exclusion has this id."""

    def __init__(self, exclusion_id: object) -> None:
        super().__init__("exclusion", exclusion_id, "the id of an exclusion")


class Changed(Refused):
    """Somebody else has changed it since it was read."""

    def __init__(self, given: int, version: int) -> None:
        super().__init__("version", given, f"{version}, as it stands now")


def put(
    conn: Connection,
    now_s: int,
    meter_id: int,
    kind: str,
    actor: str,
    evidence: Evidence,
    *,
    until_s: int | None = None,
    note: str = "",
) -> int:
    """Set an exclusion from now on; returns its id.

    Unsent stops that it forbids are cancelled, those sent or in force released. Raises Refused: for a kind that stands
    on the meter already too.
    """
    rule = kinds.of_code(kind)
    evidence.check()
    _check_note(note)
    _check_end(rule, now_s, until_s)
    lock_meter(conn, meter_id)
    epoch = conn.execute(_EPOCH, {"of": meter_id}).scalar_one()
    let_lapse(conn, now_s, meter_id, kind, epoch)
    values = {
        "meter": meter_id,
        "account_epoch": epoch if rule.of == kinds.ACCOUNT else None,
        "kind": kind,
        "since_s": now_s,
        "until_s": until_s,
        "reference": evidence.reference,
        "document": evidence.document,
        "actor": actor,
    }
    made = int(conn.execute(NEW, values).scalar_one())
    record(conn, now_s, made, actor, words.SET, until_s, kinds.BASIS, evidence, now_s, note)
    told = {"exclusion": made, "kind": kind, "until_s": until_s, **evidence.told()}
    audit.record(conn, now_s, actor, "exclusion.set", f"meter:{meter_id}", told)
    give_supply(conn, now_s, meter_id, rule, actor, made)
    return made


def extend(
    conn: Connection, now_s: int, exclusion_id: int, version: int, until_s: int, actor: str, *, note: str = ""
) -> None:
    """Give an exclusion a later end. An earlier one is `end`, at its time. Raises Refused, Changed."""
    _check_note(note)
    row = _locked(conn, now_s, exclusion_id, version)
    rule = KINDS[row.kind]
    _check_end(rule, now_s, until_s)
    if row.until_s is None or until_s <= row.until_s:
        raise Refused("until_s", until_s, "a later end than the one that it has")
    change(conn, row, until_s=until_s)
    record(conn, now_s, row.id, actor, words.EXTENDED, until_s, note=note)
    told = {"exclusion": row.id, "from_s": row.until_s, "until_s": until_s}
    audit.record(conn, now_s, actor, "exclusion.extend", f"meter:{row.meter}", told)


def prove(
    conn: Connection,
    now_s: int,
    exclusion_id: int,
    version: int,
    what: str,
    evidence: Evidence,
    dated_s: int,
    actor: str,
    *,
    note: str = "",
) -> None:
    """Add evidence (one of `kinds.EVIDENCE`) of what took place at `dated_s`, now at the latest. Raises Refused."""
    if what not in kinds.EVIDENCE:
        raise Refused("evidence", what, f"one of {', '.join(kinds.EVIDENCE)}")
    evidence.check()
    _check_note(note)
    if not 0 < dated_s <= now_s:
        raise Refused("dated_s", dated_s, "a time that is past")
    row = _locked(conn, now_s, exclusion_id, version)
    change(conn, row)
    record(conn, now_s, row.id, actor, words.PROVED, row.until_s, what, evidence, dated_s, note)
    told = {"exclusion": row.id, "evidence": what, "dated_s": dated_s, **evidence.told()}
    audit.record(conn, now_s, actor, "exclusion.prove", f"meter:{row.meter}", told)


def end(conn: Connection, now_s: int, exclusion_id: int, version: int, actor: str, *, note: str = "") -> None:
    """End an exclusion now. Where it was the last that the meter itself was told of, its protection ends too.

    Those that take four eyes end by an approved proposal alone: see `ending`. Raises Refused, Changed.
    """
    row = _locked(conn, now_s, exclusion_id, version)
    if KINDS[row.kind].four_eyes:
        raise Refused("exclusion", row.kind, "a kind that one person may end; a second one approves the end of this")
    finish(conn, now_s, row, actor, note)


def finish(conn: Connection, now_s: int, row: Row[Any], actor: str, note: str, approver: str | None = None) -> None:
    """End a locked exclusion, whatever its kind."""
    _check_note(note)
    change(conn, row, ended_s=now_s)
    record(conn, now_s, row.id, actor, words.ENDED, now_s, note=note)
    told = {"exclusion": row.id, "kind": row.kind, "approver": approver}
    audit.record(conn, now_s, actor, "exclusion.end", f"meter:{row.meter}", told)
    if KINDS[row.kind].on_meter and not on_meter_too(conn, row.meter):
        statements.unprotect(conn, now_s, row.meter, actor, reason_text=f"exclusion {row.id} ended")


def get(conn: Connection, exclusion_id: int) -> Row[Any]:
    """The row of `exclusion`; raises UnknownExclusion."""
    row = conn.execute(_ROW, {"of": exclusion_id}).one_or_none()
    if row is None:
        raise UnknownExclusion(exclusion_id)
    return row


def history(conn: Connection, exclusion_id: int) -> list[Row[Any]]:
    """Everything that was done to it, oldest first."""
    mine = exclusion_event.c.exclusion == exclusion_id
    return list(conn.execute(select(exclusion_event).where(mine).order_by(exclusion_event.c.id)).all())


def locked(conn: Connection, now_s: int, exclusion_id: int) -> Row[Any]:
    """An exclusion that stands, under its meter's lock; raises Refused."""
    lock_meter(conn, get(conn, exclusion_id).meter)
    row = get(conn, exclusion_id)
    if row.ended_s is not None or (row.until_s is not None and row.until_s <= now_s):
        raise Refused("exclusion", exclusion_id, "one that has not ended")
    return row


def give_supply(conn: Connection, now_s: int, meter_id: int, rule: Kind, actor: str, exclusion_id: int) -> None:
    """See to it that the customer has supply, as far as the exclusion forbids to stop it."""
    why = f"exclusion {exclusion_id}: {rule.title[0]}"
    judged: set[int] = set()
    for row in conn.execute(_SUPPLY, {"of": meter_id}).all():
        holds = bodies.decode_supply(row.body)[0] == bodies.HOLD
        if not (rule.forbids(row.selector) and holds == (row.selector != reasons.HOLD_PROTECTION)):
            judged.add(row.selector)
        elif row.state in UNSENT:
            lifecycle.move(conn, now_s, row.id, "cancel", why)
        elif row.selector not in judged:
            judged.add(row.selector)
            if row.selector != reasons.HOLD_PROTECTION:
                close = bodies.CLOSE_DIRECT if rule.on_meter else bodies.CLOSE_PERMIT
                statements.release(conn, now_s, meter_id, row.selector, actor, close=close, reason_text=why)
    if rule.on_meter:
        statements.protect(conn, now_s, meter_id, actor, reason_text=why)


def on_meter_too(conn: Connection, meter_id: int) -> bool:
    return any(KINDS[row.kind].on_meter for row in conn.execute(OPEN, {"of": meter_id}).all())


def let_lapse(conn: Connection, now_s: int, meter_id: int, kind: str, epoch: int, *, always: bool = False) -> None:
    """Close one of that kind that is over by itself; raises Refused for one that stands."""
    row = conn.execute(_OPEN_OF_KIND, {"of": meter_id, "which": kind}).one_or_none()
    if row is None:
        return
    over = row.until_s is not None and row.until_s <= now_s
    if not (always or over or row.account_epoch not in (None, epoch)):
        raise Refused("kind", kind, f"one that does not stand on the meter yet (exclusion {row.id} does)")
    change(conn, row, ended_s=now_s)
    record(conn, now_s, row.id, row.actor, words.LAPSED, row.until_s)


def _locked(conn: Connection, now_s: int, exclusion_id: int, version: int) -> Row[Any]:
    row = locked(conn, now_s, exclusion_id)
    if row.version != version:
        raise Changed(version, row.version)
    return row


def change(conn: Connection, row: Row[Any], **values: Any) -> None:
    conn.execute(_CHANGE, {"of": row.id, "at_version": row.version, **values})


def record(
    conn: Connection,
    now_s: int,
    exclusion_id: int,
    actor: str,
    event: str,
    until_s: int | None,
    what: str = "",
    evidence: Evidence | None = None,
    dated_s: int | None = None,
    note: str = "",
) -> None:
    row = {
        "exclusion": exclusion_id,
        "at_s": now_s,
        "actor": actor,
        "event": event,
        "until_s": until_s,
        "evidence": what,
        "reference": evidence.reference if evidence else "",
        "document": evidence.document if evidence else None,
        "dated_s": dated_s,
        "note": note,
    }
    conn.execute(_EVENT, row)


def _check_end(rule: Kind, now_s: int, until_s: int | None) -> None:
    if until_s is None and rule.end == kinds.MUST:
        raise Refused("until_s", None, f"when it ends: {rule.title[0]} has an end")
    if until_s is not None and rule.end == kinds.NEVER:
        raise Refused("until_s", until_s, f"nothing: somebody ends {rule.title[0]}, by a proposal")
    if until_s is not None and until_s <= now_s:
        raise Refused("until_s", until_s, "a time to come")


def _check_note(note: str) -> None:
    if len(note) > MAX_NOTE or not note.isprintable():
        raise Refused("note", note, f"at most {MAX_NOTE} printable characters")
