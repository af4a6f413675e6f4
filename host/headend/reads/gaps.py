"""What to ask a meter for, so that every record it holds is stored."""

from collections.abc import Iterator
from itertools import islice

from sqlalchemy import Connection, bindparam, func, select

from headend.reads import logs
from headend.store import UnknownMeter
from headend.store.schema import question
from meterlink.batches import KIND_INTERVALS, MAX_RECORDS

_OPEN_SINCE = select(func.max(question.c.asked_s)).where(
    question.c.meter == bindparam("of"), question.c.kind == bindparam("which"), question.c.answered_s.is_(None)
)


def missing(conn: Connection, meter: int, limit: int = 100, kind: int = KIND_INTERVALS) -> list[logs.Range]:
    """The first `limit` ranges of the meter's present log that it said it has and that are not stored; UnknownMeter."""
    return list(islice(_missing(conn, meter, kind), limit))


def next_question(conn: Connection, now_s: int, meter: int, kind: int, patience_s: int) -> logs.Range | None:
    """(first, count) to ask for next; None where nothing is missing or a question was put in the last `patience_s`."""
    hole = next(_missing(conn, meter, kind), None)
    if hole is None:
        return None
    open_since_s = conn.execute(_OPEN_SINCE, {"of": meter, "which": kind}).scalar_one()
    if open_since_s is not None and now_s - open_since_s < patience_s:
        return None
    # As many as fit: stored records further on may come again, holes close behind the first come with it.
    newest = conn.execute(logs.LOGS[kind].cursor, {"of": meter}).one()[1]
    return hole[0], min(MAX_RECORDS, newest - hole[0] + 1)


def _missing(conn: Connection, meter: int, kind: int) -> Iterator[logs.Range]:
    log = logs.LOGS[kind]
    row = conn.execute(log.cursor, {"of": meter}).one_or_none()
    if row is None:
        raise UnknownMeter(meter)
    whole_to, newest, log_id = row
    if log_id is not None:
        yield from logs.holes(conn, meter, log_id, log, whole_to + 1, newest)
