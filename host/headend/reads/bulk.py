"""Storing many batches of intervals in one short transaction of few statements.

Taken are those that continue their log, which is what nearly all do: live records, profiles, answers to questions for
what is missing. What overlaps, repeats, leaves a gap or comes of another log is left to `batches.take`, one by one.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

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


class Taken(NamedTuple):
    """What became of a batch that was stored: acknowledge up to `whole_to`; the meter has records up to `newest`."""

    whole_to: int
    newest: int


def take_many(conn: Connection, now_s: int, batches: Sequence[Opened], question_s: int) -> list[Taken | None]:
    """Store what continues its log, in the order given; None for each batch that is left as it was."""
    meters = {one.meter for one in batches}
    states = {row.meter: row for row in _LOCK(conn, {"of": listed(conn, sorted(meters))})}
    reach = {meter: (row.interval_whole_to, row.interval_newest) for meter, row in states.items()}
    asked = _open_questions(conn, now_s - question_s, {one.meter for one in batches if one.nonce != NO_NONCE})
    left = meters - states.keys() | _crowded(conn, states)
    answered: list[tuple[int, bytes]] = []
    runs: dict[int, list[Opened]] = {}
    taken: list[Taken | None] = []
    for one in batches:
        meter, _, nonce, first, last, _ = one
        question = None if nonce == NO_NONCE else asked.get((meter, nonce))
        if (
            meter in left
            or states[meter].log_id != one.log_id
            or first != reach[meter][0] + 1
            or question not in (None, first)
        ):
            left.add(meter)
            taken.append(None)
            continue
        if question is not None:
            answered.append((now_s, nonce))
            del asked[meter, nonce]
        newest = max(last, reach[meter][1])
        reach[meter] = last, newest
        runs.setdefault(meter, []).append(one)
        taken.append(Taken(last, newest))
    recent.put(conn, now_s, [_run(runs[meter]) for meter in sorted(runs)])
    _MOVE(conn, [(*reach[meter], meter) for meter in sorted(runs)])
    _ANSWERED(conn, answered)
    return taken


def _run(batches: Sequence[Opened]) -> recent.Run:
    """What came of a meter, one behind the other."""
    first = batches[0]
    return first.meter, first.log_id, first.first, b"".join([one.records for one in batches])


def _crowded(conn: Connection, states: dict[int, Any]) -> set[int]:
    """Meters of whose present log something is stored, or lost, behind the cursor."""
    behind = {meter: row for meter, row in states.items() if row.interval_whole_to != row.interval_newest}
    if not behind:
        return set()
    of = {"of": listed(conn, list(behind))}
    apart = [*_ISLANDS(conn, of), *_LOST(conn, of)]
    reach = {(meter, row.log_id): row.interval_whole_to for meter, row in behind.items()}
    return {row.meter for row in apart if row.last > reach.get((row.meter, row.log_id), row.last)}


def _open_questions(conn: Connection, since_s: int, meters: Iterable[int]) -> dict[tuple[int, bytes], int]:
    """(meter, nonce) -> the first record that was asked for, of questions that are good for an answer."""
    asking = sorted(meters)
    if not asking:
        return {}
    rows: Any = _ASKED(conn, {"of": listed(conn, asking), "since": since_s})
    return {(row.meter, row.nonce): row.first for row in rows}
