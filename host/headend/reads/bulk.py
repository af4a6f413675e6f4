"""Storing many batches of intervals in one short transaction of few statements.

Taken are those that continue their log, which is what nearly all do: live records, profiles, answers to questions for
what is missing. What overlaps, repeats, leaves a gap or comes of another log is left to `batches.take`, one by one.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, select, update

from headend.reads import recent
from headend.reads.sealed import Opened
from headend.store.many import among, for_each, listed
from headend.store.prepared import prepared
from headend.store.schema import lost_range, question
from headend.store.schema_readings import meter_reads, reading_island
from meterlink.batches import KIND_INTERVALS
from meterlink.reports import NO_NONCE

_reads, _question = meter_reads.c, question.c
_LOCK = prepared(
    select(_reads.meter, _reads.log_id, _reads.interval_whole_to, _reads.interval_newest)
    .where(among(_reads.meter, "of"))
    .order_by(_reads.meter)  # so that two who take many cannot wait for each other in a circle
    .with_for_update()
)
_MOVE = for_each(
    update(meter_reads)
    .values(interval_whole_to=bindparam("whole"), interval_newest=bindparam("top"))
    .where(_reads.meter == bindparam("of")),
    *("whole", "top", "of"),
)
_island, _lost = reading_island.c, lost_range.c
_ISLANDS = prepared(select(_island.meter, _island.log_id, _island.last).where(among(_island.meter, "of")))
_LOST = prepared(
    select(_lost.meter, _lost.log_id, _lost.last).where(among(_lost.meter, "of"), _lost.kind == KIND_INTERVALS)
)
_ASKED = prepared(
    select(_question.nonce, _question.meter, _question.first).where(
        among(_question.meter, "of"),
        _question.kind == KIND_INTERVALS,
        _question.answered_s.is_(None),
        _question.asked_s >= bindparam("since"),
    )
)
_ANSWERED = for_each(
    update(question).values(answered_s=bindparam("now")).where(_question.nonce == bindparam("asked")),
    *("now", "asked"),
)


Reach = tuple[int, int]  # up to where a log is whole, and the newest record that is known of it


class _Log:
    """A meter's present log while batches are laid behind it."""

    __slots__ = ("first", "log_id", "newest", "records", "whole_to")

    def __init__(self, row: Any) -> None:
        self.log_id: int | None = row.log_id
        self.whole_to: int = row.interval_whole_to
        self.newest: int = row.interval_newest
        self.first = 0
        self.records: list[bytes] = []


def take_many(conn: Connection, now_s: int, batches: Sequence[Opened], question_s: int) -> list[Reach | None]:
    """Store what continues its log, in the order given. Of each how far its log is whole then, and its newest record;
    None for a batch that is left as it was.
    """
    rows = _LOCK(conn, {"of": listed(conn, sorted({one.meter for one in batches}))}).all()
    logs = {row.meter: _Log(row) for row in rows}
    for meter in _crowded(conn, logs):
        del logs[meter]
    asked = _open_questions(conn, now_s - question_s, {one.meter for one in batches if one.nonce != NO_NONCE})
    answered: list[tuple[int, bytes]] = []
    moved: dict[int, _Log] = {}
    taken: list[Reach | None] = []
    for meter, log_id, nonce, first, last, records in batches:
        log = logs.get(meter)
        question = asked.get((meter, nonce)) if asked else None
        if log is None or log.log_id != log_id or first != log.whole_to + 1 or question not in (None, first):
            logs.pop(meter, None)  # nor what follows it
            taken.append(None)
            continue
        if question is not None:
            answered.append((now_s, nonce))
            del asked[meter, nonce]
        log.whole_to = last
        if last > log.newest:
            log.newest = last
        if not log.records:
            log.first = first
            moved[meter] = log
        log.records.append(records)
        taken.append((last, log.newest))
    if moved:
        laid = sorted(moved.items())
        recent.put(conn, now_s, [(meter, log.log_id or 0, log.first, b"".join(log.records)) for meter, log in laid])
        _MOVE(conn, [(log.whole_to, log.newest, meter) for meter, log in laid])
        _ANSWERED(conn, answered)
    return taken


def _crowded(conn: Connection, logs: dict[int, _Log]) -> set[int]:
    """Meters of whose present log something is stored, or lost, behind the cursor."""
    behind = [meter for meter, log in logs.items() if log.whole_to != log.newest]
    if not behind:
        return set()
    of = {"of": listed(conn, behind)}
    apart = [*_ISLANDS(conn, of), *_LOST(conn, of)]
    return {row.meter for row in apart if row.log_id == logs[row.meter].log_id and row.last > logs[row.meter].whole_to}


def _open_questions(conn: Connection, since_s: int, meters: Iterable[int]) -> dict[tuple[int, bytes], int]:
    """(meter, nonce) -> the first record that was asked for, of questions that are good for an answer."""
    asking = sorted(meters)
    if not asking:
        return {}
    rows: Any = _ASKED(conn, {"of": listed(conn, asking), "since": since_s})
    return {(row.meter, row.nonce): row.first for row in rows}
