"""The life of a campaign as a table (state, event) -> state; code, documentation, words and tests all read it."""

from typing import Any

from sqlalchemy import Connection, Row, bindparam, insert, select, update

from headend.access import areas
from headend.refusals import Refused
from headend.store.schema_campaign import campaign, campaign_history
from meterlink.labels import Text

PREPARING = "preparing"
DRAFTED = "drafted"
PROPOSED = "proposed"
RUNNING = "running"
HELD = "held"
PAUSED = "paused"
SETTLING = "settling"
DONE = "done"
ABORTED = "aborted"
DROPPED = "dropped"
RECALLING = "recalling"
RECALLED = "recalled"

# State -> what it means.
STATES: dict[str, Text] = {
    PREPARING: ("its dry run is being made", "试运行中"),
    DRAFTED: ("its dry run is whole; nobody proposed it yet", "试运行完成，待提交"),
    PROPOSED: ("waits for a second person", "待审批"),
    RUNNING: ("states orders to the meters of a group", "执行中"),
    HELD: ("waits: too few of a group are confirmed for the next one", "已自动暂缓：本组确认数不足"),
    PAUSED: ("paused by a person", "已人工暂停"),
    SETTLING: ("all is stated; answers are still to come", "已全部下达，等待确认"),
    DONE: ("over", "已完成"),
    ABORTED: ("stopped before its end", "已中止"),
    DROPPED: ("given up before it began", "已放弃"),
    RECALLING: ("being given back", "召回中"),
    RECALLED: ("given back", "已召回"),
}

# Event -> what happened.
EVENTS: dict[str, Text] = {
    "make": ("asked for", "建立"),
    "ready": ("its dry run became whole", "试运行完成"),
    "propose": ("proposed", "提交"),
    "approve": ("approved by a second person", "批准"),
    "drop": ("given up, refused, or its time ran out", "放弃、驳回或过期"),
    "next": ("enough are confirmed: the next group's turn", "确认达标，进入下一组"),
    "hold": ("too few of the group are confirmed", "确认不足，自动暂缓"),
    "go_on": ("a person lets the next group begin", "人工放行下一组"),
    "pause": ("paused", "暂停"),
    "resume": ("resumed", "恢复"),
    "stated": ("the last group is stated", "全部下达"),
    "abort": ("stopped for good; what was not sent is cancelled", "中止，未下发的已撤销"),
    "finish": ("no answer is outstanding", "全部结束"),
    "recall": ("recalled", "召回"),
    "given_back": ("all of it is given back", "召回完成"),
}

TABLE: dict[tuple[str, str], str] = {
    (PREPARING, "ready"): DRAFTED,
    (PREPARING, "drop"): DROPPED,
    (DRAFTED, "propose"): PROPOSED,
    (DRAFTED, "drop"): DROPPED,
    (PROPOSED, "approve"): RUNNING,
    (PROPOSED, "drop"): DROPPED,
    (RUNNING, "next"): RUNNING,
    (RUNNING, "hold"): HELD,
    (RUNNING, "pause"): PAUSED,
    (RUNNING, "stated"): SETTLING,
    (RUNNING, "abort"): ABORTED,
    (RUNNING, "recall"): RECALLING,
    (HELD, "next"): RUNNING,
    (HELD, "go_on"): RUNNING,
    (HELD, "pause"): PAUSED,
    (HELD, "abort"): ABORTED,
    (HELD, "recall"): RECALLING,
    (PAUSED, "resume"): RUNNING,
    (PAUSED, "abort"): ABORTED,
    (PAUSED, "recall"): RECALLING,
    (SETTLING, "abort"): ABORTED,
    (SETTLING, "finish"): DONE,
    (SETTLING, "recall"): RECALLING,
    (DONE, "recall"): RECALLING,
    (ABORTED, "recall"): RECALLING,
    (RECALLING, "given_back"): RECALLED,
}

OVER = (DONE, ABORTED)  # nothing happens any more, unless it is recalled
ENDS = frozenset((DROPPED, RECALLED))
GOING = (PROPOSED, RUNNING, HELD, PAUSED, SETTLING, RECALLING)  # something may happen to them by itself
SENDING = (RUNNING, HELD, SETTLING, DONE)  # what is queued of them may be sent
MAX_NOTE = 200

areas.OF["campaign"] = select(campaign.c.area).where(campaign.c.id == bindparam("id"))

_LOCKED = select(campaign).where(campaign.c.id == bindparam("of")).with_for_update()
_ROW = select(campaign).where(campaign.c.id == bindparam("of"))
_SET = update(campaign).where(campaign.c.id == bindparam("of"))
_TOLD = insert(campaign_history)


class UnknownCampaign(Refused):
    """No campaign has this id."""

    def __init__(self, campaign_id: object) -> None:
        super().__init__("campaign", campaign_id, "the id of a campaign")


class NotAllowed(Refused):
    """The campaign's state does not know this event; nothing has changed."""

    def __init__(self, campaign_id: int, state: str, event: str) -> None:
        allowed = ", ".join(known for at, known in TABLE if at == state) or "none: it is over"
        super().__init__(f"event of campaign {campaign_id} ({state})", event, f"one of {allowed}")


def get(conn: Connection, campaign_id: int) -> Row[Any]:
    """Its row; raises UnknownCampaign."""
    return _one(conn, campaign_id, _ROW)


def locked(conn: Connection, campaign_id: int) -> Row[Any]:
    """As `get`, and nothing of it is sent until the transaction ends: whoever sends holds the row as well
    (`sending`). Locked after its proposal and before any meter."""
    return _one(conn, campaign_id, _LOCKED)


def _one(conn: Connection, campaign_id: int, query: Any) -> Row[Any]:
    row: Row[Any] | None = conn.execute(query, {"of": campaign_id}).one_or_none()
    if row is None:
        raise UnknownCampaign(campaign_id)
    return row


def told(conn: Connection, now_s: int, campaign_id: int, actor: str, event: str, state: str, note: str = "") -> None:
    """Write a line of its history."""
    line = {"campaign": campaign_id, "at_s": now_s, "actor": actor[:80], "event": event, "state": state}
    conn.execute(_TOLD, {**line, "note": note[:MAX_NOTE]})


def move(
    conn: Connection, now_s: int, row: Row[Any], event: str, actor: str = "system", note: str = "", **columns: Any
) -> str:
    """Carry out an event on a campaign whose row is locked; returns its new state. Raises NotAllowed."""
    state = TABLE.get((row.state, event))
    if state is None:
        raise NotAllowed(row.id, row.state, event)
    conn.execute(_SET, {"of": row.id, "state": state, "changed_s": now_s, "note": note[:MAX_NOTE], **columns})
    told(conn, now_s, row.id, actor, event, state, note)
    return state


def change(conn: Connection, campaign_id: int, **columns: Any) -> None:
    """Write how far it is."""
    conn.execute(_SET, {"of": campaign_id, **columns})
