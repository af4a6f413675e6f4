"""The life of a refund, as a table (state, event) -> state; code, documents and tests read it.

`start` and `move` are the only writers of `refund.state`; each change leaves a row in `refund_history`, which is never
changed.
"""

from typing import Any

from sqlalchemy import Connection, Row, bindparam, insert, select, update

from headend.refusals import Refused
from headend.store.schema_refunds import refund, refund_history
from meterlink.labels import Text

PROPOSED = "proposed"
APPROVED = "approved"
STATED = "stated"
TAKEN = "taken"
REFUSED = "refused"
WITHDRAWN = "withdrawn"
WRITTEN_OFF = "written_off"
OWED = "owed"
CLOSED = "closed"

# State -> what it means.
STATES: dict[str, Text] = {
    PROPOSED: ("waits for a second person", "待审批"),
    APPROVED: ("approved, waits for its turn on the meter", "已批准，待下发"),
    STATED: ("stated to the meter, which has proved nothing yet", "已下发，待电表证实"),
    TAKEN: ("off the meter, by its own report; the money has gone where it belongs", "电表已扣回，款项已转出"),
    REFUSED: ("not off the meter; the money is the customer's again", "电表拒绝，款项仍归客户"),
    WITHDRAWN: ("withdrawn before it was stated", "已撤回"),
    WRITTEN_OFF: ("given up by a person: the meter will never answer", "已核销：电表不再应答"),
    OWED: ("spent before it was reversed: billed to the customer", "款项已用，转为客户欠费"),
    CLOSED: ("its account was closed first; the money stays the customer's", "账户先行关闭，款项仍归客户"),
}

# Event -> what happened.
EVENTS: dict[str, Text] = {
    "propose": ("asked for", "申请"),
    "approve": ("approved", "批准"),
    "withdraw": ("withdrawn", "撤回"),
    "state": ("stated to the meter", "下发"),
    "take": ("the meter proved that it took it off", "电表证实已扣回"),
    "refuse": ("the meter does not hold as much", "电表余额不足"),
    "typed": ("the token that was to be void had been typed", "代码已先行输入"),
    "write_off": ("given up", "核销"),
    "bill": ("billed to the customer", "转为欠费账单"),
    "close": ("its account was closed", "账户关闭"),
}

TABLE: dict[tuple[str, str], str] = {
    (PROPOSED, "approve"): APPROVED,
    (PROPOSED, "withdraw"): WITHDRAWN,
    (PROPOSED, "close"): CLOSED,
    (APPROVED, "state"): STATED,
    (APPROVED, "refuse"): REFUSED,
    (APPROVED, "withdraw"): WITHDRAWN,
    (APPROVED, "close"): CLOSED,
    (STATED, "take"): TAKEN,
    (STATED, "refuse"): REFUSED,
    (STATED, "typed"): APPROVED,
    (STATED, "write_off"): WRITTEN_OFF,
    (STATED, "close"): CLOSED,
    (REFUSED, "bill"): OWED,
    (WRITTEN_OFF, "bill"): OWED,
}

LIVE = (PROPOSED, APPROVED, STATED)
GONE = (*LIVE, TAKEN, OWED)  # a payment that goes back, or has, does not go back again
MAX_NOTE = 200

_START = insert(refund).returning(refund.c.id)
_ROW = select(refund).where(refund.c.id == bindparam("of"))
_MOVE = update(refund).where(refund.c.id == bindparam("of"))
_RECORD = insert(refund_history)
_HISTORY = select(refund_history).where(refund_history.c.refund_id == bindparam("of")).order_by(refund_history.c.id)


class UnknownRefund(Refused):
    """No refund has this id."""

    def __init__(self, refund_id: object) -> None:
        super().__init__("refund", refund_id, "the id of a refund, reversal or transfer")


class NotAllowed(Refused):
    """Its state does not know this event; nothing has changed."""

    def __init__(self, row: Row[Any], event: str) -> None:
        allowed = ", ".join(known for at, known in TABLE if at == row.state) or "none: it has ended"
        super().__init__(f"event of refund {row.id} ({row.state})", event, f"one of {allowed}")


def get(conn: Connection, refund_id: int) -> Row[Any]:
    """Its row; raises UnknownRefund."""
    row = conn.execute(_ROW, {"of": refund_id}).one_or_none()
    if row is None:
        raise UnknownRefund(refund_id)
    return row


def history(conn: Connection, refund_id: int) -> list[Row[Any]]:
    """Its life, oldest first."""
    return list(conn.execute(_HISTORY, {"of": refund_id}))


def start(conn: Connection, now_s: int, state: str, values: dict[str, Any], note: str) -> Row[Any]:
    """Insert one, proposed or approved; its row. `values`: the other columns."""
    made = conn.execute(_START, {**values, "state": state, "asked_s": now_s, "changed_s": now_s}).scalar_one()
    _record(conn, now_s, made, "propose", PROPOSED, values["asked_by"], values["why"])
    if state == APPROVED:
        _record(conn, now_s, made, "approve", APPROVED, values["asked_by"], note)
    return get(conn, made)


def move(conn: Connection, now_s: int, row: Row[Any], event: str, actor: str, note: str = "", **facts: Any) -> Row[Any]:
    """Carry out an event; its row as it stands then. `facts`: further columns. Raises NotAllowed."""
    state = TABLE.get((row.state, event))
    if state is None:
        raise NotAllowed(row, event)
    conn.execute(_MOVE, {"of": row.id, "state": state, "changed_s": now_s, **facts})
    _record(conn, now_s, row.id, event, state, actor, note)
    return get(conn, row.id)


def _record(conn: Connection, now_s: int, refund_id: int, event: str, state: str, actor: str, note: str) -> None:
    row = {"refund_id": refund_id, "at_s": now_s, "event": event, "state": state, "actor": actor}
    conn.execute(_RECORD, {**row, "note": note[:MAX_NOTE]})
