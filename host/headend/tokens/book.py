"""Every token that was ever wanted: reserved with its TID, made once, and followed to its end.

A TID (the minute of issue) is taken under the meter's row lock, the next free one from now on, and never twice for a
meter, whatever class the token is of: the meter remembers TIDs alone. Rows are never deleted, and what was made is
never changed; who did what stands in `token_history`.
"""

from typing import Any

from sqlalchemy import Connection, Row, Select, bindparam, func, insert, select, update

from headend.refusals import Refused
from headend.store.prepared import prepared
from headend.store.schema import decoder, meter, token, token_history
from headend.tokens import decoder as decoders
from meterlink.sts import issue
from meterlink.sts.dkga04 import FieldError
from meterlink.sts.token import CREDIT, KEY_SECTIONS, MANAGE

RESERVED = "reserved"
VENDED = "vended"
REPLACING = "replacing"
VOIDING = "voiding"
REPLACED = "replaced"
VOID = "void"
USED = "used"

# State -> what it means.
STATES = {
    RESERVED: "its number is reserved; its digits are not made yet, so nobody can know them",
    VENDED: "made; the meter has not said that it was typed",
    REPLACING: "its worth goes over the wire; until the meter has stored its number it can still be typed",
    VOIDING: "to be taken back; until the meter has stored its number it can still be typed",
    REPLACED: "its worth was delivered over the wire, and it can no longer be typed",
    VOID: "taken back, and it can no longer be typed",
    USED: "typed at the meter",
}
OPEN = (RESERVED, VENDED, REPLACING, VOIDING)

ALONE = "alone"  # actor of what the head end does by itself
METER = "meter"  # actor of what a meter said
MAX_NOTE = 200

_SPECIAL_MINUTE = 1  # 00:01 of a day is kept for other uses (IEC 62055-41 6.3.5)
_DAY_MINUTES = 1440
_LAST_TID = 0xFFFFFF

_BY_ID = select(token).where(token.c.id == bindparam("of"))
_BY_REQUEST = select(token).where(token.c.channel == bindparam("by"), token.c.payment_id == bindparam("named"))
_INSERT = insert(token).returning(token.c.id)
_NEXT = update(decoder).where(decoder.c.meter == bindparam("of")).values(next_tid=bindparam("next"))
_EPOCH = select(meter.c.account_epoch).where(meter.c.meter == bindparam("of"))
_CHANGE = update(token).where(token.c.id == bindparam("of"))
_RECORD = insert(token_history)


class UnknownToken(Refused):
    """No token has this id."""

    def __init__(self, token_id: object) -> None:
        super().__init__("token", token_id, "the id of a token")


def reserve(
    conn: Connection,
    now_s: int,
    meter_id: int,
    *,
    token_class: int,
    subclass: int,
    register: int,
    amount_uc: int = 0,
    channel: str | None,
    payment_id: str | None,
    actor: str,
    note: str = "",
) -> int:
    """Reserve a token with the next free TID; returns its id. Call with the meter's row locked.

    Raises Refused: no decoder key, a moment that its base date cannot hold, a key number that has expired.
    """
    held = decoders.get(conn, meter_id)
    row = {
        "meter": meter_id,
        "account_epoch": epoch_of(conn, meter_id),
        "supply_group": held.supply_group,
        "key_revision": held.key_revision,
        "tid": take_tid(conn, now_s, held),
        "class": token_class,
        "subclass": subclass,
        "register": register,
        "amount_uc": amount_uc,
        "state": RESERVED,
        "channel": channel,
        "payment_id": payment_id,
        "actor": actor,
        "issued_s": now_s,
        "changed_s": now_s,
    }
    token_id = int(conn.execute(_INSERT, row).scalar_one())
    record(conn, now_s, token_id, "reserve", actor, note)
    return token_id


def take_tid(conn: Connection, now_s: int, held: Row[Any], skip: int = 0) -> int:
    """The next free TID, at least `skip` minutes from now; it is taken with this. `held`: the locked meter's `decoder`
    row.
    """
    try:
        tid: int = max(issue.tid_of(held.base_date, now_s) + skip, held.next_tid)
        if tid % _DAY_MINUTES == _SPECIAL_MINUTE:
            tid += 1
        if tid > _LAST_TID:
            raise Refused("tid", tid, f"0..{_LAST_TID}: base date {held.base_date} holds no further token")
        issue.check_expiry(tid, held.key_expiry)
    except FieldError as error:
        raise decoders.refused(error) from error
    conn.execute(_NEXT, {"of": held.meter, "next": tid + 1})
    return tid


def epoch_of(conn: Connection, meter_id: int) -> int:
    """The account epoch in force."""
    return int(conn.execute(_EPOCH, {"of": meter_id}).scalar_one())


def get(conn: Connection, token_id: int) -> Row[Any]:
    """The `token` row; raises UnknownToken."""
    row = conn.execute(_BY_ID, {"of": token_id}).one_or_none()
    if row is None:
        raise UnknownToken(token_id)
    return row


def of_request(conn: Connection, channel: str, request_id: str) -> list[Row[Any]]:
    """The tokens that a channel's request led to, in the order in which they were made."""
    return list(conn.execute(_BY_REQUEST.order_by(token.c.id), {"by": channel, "named": request_id}))


def of_meter(
    conn: Connection, meter_id: int, *, states: tuple[str, ...] = (), limit: int = 100, before: int = 2**62
) -> list[Row[Any]]:
    """The newest tokens of a meter with ids below `before`, newest first; of some states alone where they are given."""
    mine: Select[Any] = select(token).where(token.c.meter == meter_id, token.c.id < before)
    mine = mine.order_by(token.c.id.desc()).limit(limit)
    return list(conn.execute(mine.where(token.c.state.in_(states)) if states else mine))


def unused(conn: Connection, meter_id: int) -> list[Row[Any]]:
    """Credit tokens that may still be typed, oldest first: what a key change would make worthless."""
    mine = select(token).where(token.c.meter == meter_id, token.c["class"] == CREDIT, token.c.state.in_(OPEN))
    return list(conn.execute(mine.order_by(token.c.id)))


def change(conn: Connection, now_s: int, token_id: int, event: str, actor: str, note: str = "", **facts: Any) -> None:
    """Change a token's columns, and leave a row in its history."""
    conn.execute(_CHANGE, {"of": token_id, "changed_s": now_s, **facts})
    record(conn, now_s, token_id, event, actor, note)


def record(conn: Connection, now_s: int, token_id: int, event: str, actor: str, note: str = "") -> None:
    """Leave a row in a token's history."""
    row = {"token_id": token_id, "at_s": now_s, "event": event, "actor": actor, "note": note[:MAX_NOTE]}
    conn.execute(_RECORD, row)


def history(conn: Connection, token_id: int) -> list[Row[Any]]:
    """The history of a token, oldest first."""
    mine = select(token_history).where(token_history.c.token_id == token_id)
    return list(conn.execute(mine.order_by(token_history.c.id)))


def is_section(row: Row[Any]) -> bool:
    """Whether a token is a section of a key change, which has no TID of its own."""
    return bool(row._mapping["class"] == MANAGE and row.subclass in KEY_SECTIONS)


_SUMS = prepared(
    select(token.c.state, token.c.order_id.is_not(None).label("named"), func.sum(token.c.amount_uc).label("total_uc"))
    .where(token.c.meter == bindparam("of"), token.c.account_epoch == bindparam("epoch"), token.c.amount_uc > 0)
    .group_by(token.c.state, token.c.order_id.is_not(None))
)


def sums_uc(conn: Connection, meter_id: int, epoch: int) -> dict[tuple[str, bool], int]:
    """(state, whether a credit order of ours has named them) -> what those tokens of an account are worth."""
    found = _SUMS(conn, {"of": meter_id, "epoch": epoch})
    return {(state, bool(named)): int(total_uc) for state, named, total_uc in found}
