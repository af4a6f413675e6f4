"""What to ask a meter for, so that every record it holds is stored."""

from sqlalchemy import Connection, bindparam, func, select

from headend.reads import cursors, logs
from headend.store.prepared import prepared
from headend.store.schema import question
from meterlink.batches import KIND_INTERVALS, MAX_RECORDS

_OPEN_SINCE = prepared(
    select(func.max(question.c.asked_s)).where(
        question.c.meter == bindparam("of"), question.c.kind == bindparam("which"), question.c.answered_s.is_(None)
    )
)


def missing(conn: Connection, meter: int, limit: int = 100, kind: int = KIND_INTERVALS) -> list[logs.Range]:
    """The first `limit` ranges of the meter's present log that it said it has and that are not stored; UnknownMeter."""
    state, log = cursors.of(conn, meter), logs.LOGS[kind]
    return [] if state.log_id is None else logs.holes(conn, state, log, 1, logs.reach(state, log)[1])[:limit]


def next_question(conn: Connection, now_s: int, meter: int, kind: int, patience_s: int) -> logs.Range | None:
    """(first, count) to ask for next; None where nothing is missing or a question was put in the last `patience_s`."""
    hole = missing(conn, meter, 1, kind)
    if not hole:
        return None
    open_since_s = _OPEN_SINCE(conn, {"of": meter, "which": kind}).scalar_one()
    if open_since_s is not None and now_s - open_since_s < patience_s:
        return None
    # As many as fit: stored records further on may come again, holes close behind the first come with it.
    first, newest = hole[0][0], logs.reach(cursors.of(conn, meter), logs.LOGS[kind])[1]
    return first, min(MAX_RECORDS, newest - first + 1)
