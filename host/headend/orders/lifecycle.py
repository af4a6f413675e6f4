"""The life of an order, as two tables (state, event) -> state; code, documentation and tests all read them.

`SUPPLY` serves supply and configuration, `CREDIT` the running totals of a credit source. From `sent` on an order
leaves only by what the meter proves (a receipt, or a report that answers a question); the exception is `written_off`,
by a person, for a meter that will never answer. Credit is never cancelled, never expires and never fails: money that
was taken stays owed.

`start` and `move` are the only writers of `order.state`; each of their changes leaves a row in `order_history`.
"""

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, insert, select, update

from headend.refusals import Refused
from headend.store.prepared import prepared
from headend.store.schema import order, order_history, outbox
from meterlink.orders import ASPECT_CREDIT

DRAFT = "draft"
AWAITING_APPROVAL = "awaiting_approval"
APPROVED = "approved"
QUEUED = "queued"
SENT = "sent"
UNKNOWN = "unknown"
ACCEPTED = "accepted"
CONFIRMED = "confirmed"
REFUSED = "refused"
EXPIRED = "expired"
CANCELLED = "cancelled"
SUPERSEDED = "superseded"
FAILED = "failed"
WRITTEN_OFF = "written_off"
SETTLED = "settled"

# State -> what it means, in the order in which documents and screens list them.
STATES = {
    DRAFT: "stated, not handed in yet",
    AWAITING_APPROVAL: "waits for a second person",
    APPROVED: "approved, waits for its turn to be queued",
    QUEUED: "waits for its signature or its turn",
    SENT: "handed to a carrier; the meter has proved nothing yet",
    UNKNOWN: "sent, and no proof of anything came; asked for at a slow pace",
    ACCEPTED: "the meter proved that it holds the order; the wanted state is not proved yet",
    CONFIRMED: "a report that answers our question shows the wanted state",
    REFUSED: "the meter proved that it refused the order",
    EXPIRED: "never sent, or read back after its last second and not held",
    CANCELLED: "withdrawn before it was sent",
    SUPERSEDED: "gave way to a newer statement on the same subject",
    FAILED: "cannot be carried out: not signed, or the meter holds other content under its version",
    WRITTEN_OFF: "given up by a person: the meter will never answer",
    SETTLED: "its account is closed, and the closing statement tells what became of it",
}

# Event -> what happened.
EVENTS = {
    "create": "stated",
    "submit": "handed in for approval",
    "approve": "approved",
    "queue": "released for sending",
    "cancel": "withdrawn",
    "send": "handed to a carrier",
    "lose": "no proof after the last attempt",
    "accept": "the meter proved that it holds it",
    "refuse": "the meter proved that it refused it",
    "confirm": "a report showed the wanted state",
    "contradict": "a report showed the order held and the wanted state failing",
    "expire": "its last second passed",
    "supersede": "a newer statement took its place",
    "fail": "it cannot be carried out",
    "write_off": "given up",
    "settle": "its account was closed",
}

Table = dict[tuple[str, str], str]

SUPPLY: Table = {
    (DRAFT, "submit"): AWAITING_APPROVAL,
    (DRAFT, "cancel"): CANCELLED,
    (DRAFT, "supersede"): SUPERSEDED,
    (AWAITING_APPROVAL, "approve"): APPROVED,
    (AWAITING_APPROVAL, "cancel"): CANCELLED,
    (AWAITING_APPROVAL, "expire"): EXPIRED,
    (AWAITING_APPROVAL, "supersede"): SUPERSEDED,
    (APPROVED, "queue"): QUEUED,
    (APPROVED, "cancel"): CANCELLED,
    (APPROVED, "expire"): EXPIRED,
    (APPROVED, "supersede"): SUPERSEDED,
    (QUEUED, "send"): SENT,
    (QUEUED, "cancel"): CANCELLED,
    (QUEUED, "expire"): EXPIRED,
    (QUEUED, "supersede"): SUPERSEDED,
    (QUEUED, "fail"): FAILED,
    (SENT, "send"): SENT,
    (SENT, "lose"): UNKNOWN,
    (SENT, "accept"): ACCEPTED,
    (SENT, "refuse"): REFUSED,
    (SENT, "confirm"): CONFIRMED,
    (SENT, "expire"): EXPIRED,
    (SENT, "supersede"): SUPERSEDED,
    (SENT, "fail"): FAILED,
    (UNKNOWN, "accept"): ACCEPTED,
    (UNKNOWN, "refuse"): REFUSED,
    (UNKNOWN, "confirm"): CONFIRMED,
    (UNKNOWN, "expire"): EXPIRED,
    (UNKNOWN, "supersede"): SUPERSEDED,
    (UNKNOWN, "fail"): FAILED,
    (UNKNOWN, "write_off"): WRITTEN_OFF,
    (ACCEPTED, "contradict"): ACCEPTED,
    (ACCEPTED, "confirm"): CONFIRMED,
    (ACCEPTED, "supersede"): SUPERSEDED,
    (ACCEPTED, "write_off"): WRITTEN_OFF,
}

CREDIT: Table = {
    (QUEUED, "send"): SENT,
    (QUEUED, "supersede"): SUPERSEDED,
    (QUEUED, "write_off"): WRITTEN_OFF,
    (SENT, "send"): SENT,
    (SENT, "lose"): UNKNOWN,
    (SENT, "accept"): ACCEPTED,
    (SENT, "refuse"): REFUSED,
    (SENT, "confirm"): CONFIRMED,
    (SENT, "settle"): SETTLED,
    (UNKNOWN, "accept"): ACCEPTED,
    (UNKNOWN, "refuse"): REFUSED,
    (UNKNOWN, "confirm"): CONFIRMED,
    (UNKNOWN, "settle"): SETTLED,
    (UNKNOWN, "write_off"): WRITTEN_OFF,
    (ACCEPTED, "contradict"): ACCEPTED,
    (ACCEPTED, "confirm"): CONFIRMED,
    (ACCEPTED, "settle"): SETTLED,
    (ACCEPTED, "write_off"): WRITTEN_OFF,
}

ENDS = frozenset((CONFIRMED, REFUSED, EXPIRED, CANCELLED, SUPERSEDED, FAILED, WRITTEN_OFF, SETTLED))
WAITING = (DRAFT, AWAITING_APPROVAL, APPROVED)  # a wish as yet: without a version, and not in the outbox
UNSENT = (*WAITING, QUEUED)
ON_THE_WAY = (SENT, UNKNOWN, ACCEPTED)  # the meter may hold it, or come to hold it

MAX_NOTE = 200

# Aspect -> what follows in the books when an order ends: fn(conn, now_s, order_id, state), in the same transaction.
ENDED: dict[int, Callable[[Connection, int, int, str], None]] = {}

# Built once: to put a statement together costs several times what it costs to run it.
_START = prepared(insert(order).returning(order.c.id))
_AT = prepared(select(order.c.aspect, order.c.state).where(order.c.id == bindparam("of")))
_MOVE = prepared(update(order).where(order.c.id == bindparam("of")))
_END = prepared(delete(outbox).where(outbox.c.order_id == bindparam("of")))
_RECORD = prepared(insert(order_history))
_LAST_NOTE = prepared(
    select(order_history.c.note)
    .where(order_history.c.order_id == bindparam("of"))
    .order_by(order_history.c.id.desc())
    .limit(1)
)


class NotAllowed(Refused):
    """The order's state does not know this event; nothing has changed."""

    def __init__(self, order_id: int, state: str, event: str, table: Table) -> None:
        allowed = ", ".join(known for at, known in table if at == state) or "none: it has ended"
        super().__init__(f"event of order {order_id} ({state})", event, f"one of {allowed}")


class UnknownOrder(Refused):
    """No order has this id."""

    def __init__(self, order_id: object) -> None:
        super().__init__("order", order_id, "the id of an order")


def table_of(aspect: int) -> Table:
    """The table that orders of an aspect live by."""
    return CREDIT if aspect == ASPECT_CREDIT else SUPPLY


def start(conn: Connection, now_s: int, values: dict[str, Any], note: str = "", *, state: str = QUEUED) -> int:
    """Insert an order in its first state (`queued` or `draft`) with its history; returns its id. `values`: the other
    columns."""
    made = _START(conn, {**values, "state": state, "changed_s": now_s}).scalar_one()
    _record(conn, now_s, made, "create", state, note)
    return int(made)


def move(
    conn: Connection, now_s: int, order_id: int, event: str, note: str = "", *, at: Row[Any] | None = None, **facts: Any
) -> str:
    """Carry out an event on an order and return its new state; an order that ends leaves the outbox.

    `at`: its aspect and state, where the caller has read them under the meter's lock · `facts`: further columns that
    this event settles (result, evidence, evidence_time_s, sent_s). Raises UnknownOrder, and NotAllowed for what the
    table does not list.
    """
    row: Any = at or _AT(conn, {"of": order_id}).one_or_none()
    if row is None:
        raise UnknownOrder(order_id)
    table = table_of(row.aspect)
    state = table.get((row.state, event))
    if state is None:
        raise NotAllowed(order_id, row.state, event, table)
    _MOVE.later(conn, {"of": order_id, "state": state, "changed_s": now_s, **facts})
    _record(conn, now_s, order_id, event, state, note)
    if state in ENDS:
        _END.later(conn, {"of": order_id})
        follows = ENDED.get(row.aspect)
        if follows is not None:
            follows(conn, now_s, order_id, state)
    return state


def remark(conn: Connection, now_s: int, order_id: int, who: str, note: str) -> None:
    """Leave a sentence in the history of an order without changing it; the same one is not repeated."""
    if last_note(conn, order_id) != note[:MAX_NOTE]:
        state = _AT(conn, {"of": order_id}).one().state
        _record(conn, now_s, order_id, who, state, note)


def last_note(conn: Connection, order_id: int) -> str | None:
    """The sentence of the newest line of an order's history."""
    note: str | None = _LAST_NOTE(conn, {"of": order_id}).scalar_one_or_none()
    return note


def _record(conn: Connection, at_s: int, order_id: int, event: str, state: str, note: str) -> None:
    row = {"order_id": order_id, "at_s": at_s, "event": event, "state": state, "note": note[:MAX_NOTE]}
    _RECORD.later(conn, row)
