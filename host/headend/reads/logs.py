"""The record logs of a meter and how far each is whole: up to the cursor every record is stored or declared lost.

A log is named by the meter's `log_id`; formatted flash begins a new one. The cursor is what the meter is acknowledged:
it moves over stored records, and over ranges that the meter itself said it no longer holds. What of the intervals is
stored is known without a look at them: up to the cursor all but what is lost, and behind it, as in every other log,
what lies in `reading_island`. A record that turns up after all leaves `lost_range`.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, bindparam, delete, insert, select, update

from headend.reads import cursors, ranges
from headend.reads.ranges import Range
from headend.store.prepared import Prepared, prepared
from headend.store.schema import lost_range, meter_event
from headend.store.schema_readings import meter_reads, reading_island
from meterlink.batches import KIND_EVENTS, KIND_INTERVALS
from meterlink.reports import Report

__all__ = ["LOGS", "Log", "Range"]


class Log(NamedTuple):
    """One kind of record, its two columns in `meter_reads`, and the statements on them."""

    kind: int  # meterlink.batches.KIND_*
    whole_to: str
    newest: str
    move: Prepared  # both columns
    above: Prepared  # (first, last) of what is stored above `low`; of events one by one


_island, _event = reading_island.c, meter_event.c
_MINE = update(meter_reads).where(meter_reads.c.meter == bindparam("of"))
_MOVE_INTERVALS = _MINE.values(interval_whole_to=bindparam("whole"), interval_newest=bindparam("top"))
_MOVE_EVENTS = _MINE.values(event_whole_to=bindparam("whole"), event_newest=bindparam("top"))
_ISLANDS = select(_island.first, _island.last).where(
    _island.meter == bindparam("of"), _island.log_id == bindparam("log"), _island.last > bindparam("low")
)
_EVENTS = select(_event.seq.label("first"), _event.seq.label("last")).where(
    _event.meter == bindparam("of"), _event.log_id == bindparam("log"), _event.seq > bindparam("low")
)
_BEGUN = prepared(_MINE.values(log_id=bindparam("log"), interval_oldest=0))
_OLDEST = prepared(_MINE.values(interval_oldest=bindparam("oldest")))

_lost = lost_range.c
_OF_LOG = (_lost.meter == bindparam("of"), _lost.log_id == bindparam("log"), _lost.kind == bindparam("which"))
_LOST = prepared(select(lost_range).where(*_OF_LOG, _lost.last > bindparam("low")))
_DECLARE = prepared(insert(lost_range))
_FOUND = prepared(delete(lost_range).where(*_OF_LOG, _lost.first == bindparam("from")))

_PUT_ISLAND = prepared(insert(reading_island))
_DROP_ISLAND = prepared(
    delete(reading_island).where(
        _island.meter == bindparam("of"), _island.log_id == bindparam("log"), _island.first == bindparam("from")
    )
)

LOGS = {
    KIND_INTERVALS: Log(
        KIND_INTERVALS, "interval_whole_to", "interval_newest", prepared(_MOVE_INTERVALS), prepared(_ISLANDS)
    ),
    KIND_EVENTS: Log(KIND_EVENTS, "event_whole_to", "event_newest", prepared(_MOVE_EVENTS), prepared(_EVENTS)),
}


def reach(state: Row[Any], log: Log) -> tuple[int, int]:
    """(up to where it is whole, the newest record that is known to exist) of the meter's present log."""
    return getattr(state, log.whole_to), getattr(state, log.newest)


def seen(conn: Connection, now_s: int, report: Report) -> None:
    """Take from a fresh report which log the meter writes, and what of it the meter holds.

    What lies between cursor and oldest interval held is lost, and listed.
    """
    state = cursors.lock(conn, report.meter)
    if state.log_id != report.log_id:
        state = begin(conn, now_s, state, report.log_id)
    intervals = LOGS[KIND_INTERVALS]
    gone = declare_lost(conn, now_s, state, intervals, 1, report.interval_oldest - 1, "no longer held by the meter")
    if gone:  # they were made, so there is something behind the cursor now
        state = state._replace(interval_newest=max(state.interval_newest, gone[-1][1]))
    if state.interval_oldest != report.interval_oldest:
        _OLDEST(conn, {"of": report.meter, "oldest": report.interval_oldest})
    advance(conn, state, intervals, report.interval_newest)
    advance(conn, state, LOGS[KIND_EVENTS], report.event_newest)


def begin(conn: Connection, now_s: int, state: Row[Any], log_id: int) -> Row[Any]:
    """The meter writes another log than before: what was not fetched of the old one is lost; start over at record 1.

    `state`: the locked row of `meter_reads`; returns it as it stands then.
    """
    fresh: dict[str, int] = {"log_id": log_id, "interval_oldest": 0}
    for log in LOGS.values():
        if state.log_id is not None:
            declare_lost(conn, now_s, state, log, 1, reach(state, log)[1], "the meter began a new log")
            if log.kind == KIND_INTERVALS:
                _keep_apart(conn, state)
        known = [*above(conn, state.meter, log_id, log, 0), *lost(conn, state.meter, log_id, log, 0)]
        fresh |= {log.whole_to: 0, log.newest: max((last for _, last in known), default=0)}
        log.move(conn, {"of": state.meter, "whole": 0, "top": fresh[log.newest]})
    _BEGUN(conn, {"of": state.meter, "log": log_id})
    begun: Row[Any] = state._replace(**fresh)
    return begun


def _keep_apart(conn: Connection, state: Row[Any]) -> None:
    """The cursor leaves this log: what is stored of it is written down as islands."""
    log = LOGS[KIND_INTERVALS]
    old = above(conn, state.meter, state.log_id, log, 0)
    whole = [(1, state.interval_whole_to)] if state.interval_whole_to else []
    stored = ranges.minus(whole, lost(conn, state.meter, state.log_id, log, 0))
    _put_islands(conn, state.meter, state.log_id, old, ranges.joined([*old, *stored]))


def advance(conn: Connection, state: Row[Any], log: Log, newest: int, new: Sequence[Range] = ()) -> int:
    """Move the cursor of the meter's present log over what is whole and return it.

    `state`: the locked row. `newest` is known to exist; `new` was stored in this transaction, and nowhere before.
    """
    before, known = reach(state, log)
    whole_to = before
    if known == before and (not new or new == [(before + 1, new[-1][1])]):  # nothing lies behind the cursor
        whole_to = new[-1][1] if new else before
    else:
        old = above(conn, state.meter, state.log_id, log, before)
        stored = ranges.joined([*old, *new])
        for first, last in ranges.joined([*stored, *lost(conn, state.meter, state.log_id, log, before)]):
            if first > whole_to + 1:
                break
            whole_to = max(whole_to, last)
        if log.kind == KIND_INTERVALS:
            left = [(max(first, whole_to + 1), last) for first, last in stored if last > whole_to]
            _put_islands(conn, state.meter, state.log_id, old, left)
    newest = max(newest, known, whole_to)
    if (whole_to, newest) != (before, known):
        log.move(conn, {"of": state.meter, "whole": whole_to, "top": newest})
    return whole_to


def set_apart(conn: Connection, meter: int, log_id: int, new: Sequence[Range]) -> None:
    """Note as stored what came of intervals of another log than the meter's present one."""
    old = above(conn, meter, log_id, LOGS[KIND_INTERVALS], 0)
    _put_islands(conn, meter, log_id, old, ranges.joined([*old, *new]))


def stored(conn: Connection, state: Row[Any], log_id: int) -> list[Range]:
    """What is stored of the intervals of a log."""
    log = LOGS[KIND_INTERVALS]
    found = above(conn, state.meter, log_id, log, 0)
    if state.log_id == log_id and state.interval_whole_to:
        found = [(1, state.interval_whole_to), *found]
    return ranges.minus(ranges.joined(found), lost(conn, state.meter, log_id, log, 0))


def holes(conn: Connection, state: Row[Any], log: Log, low: int, high: int) -> list[Range]:
    """Ranges within `low`..`high` of the meter's present log that are neither stored nor declared lost."""
    whole_to = reach(state, log)[0]
    low = max(low, whole_to + 1)
    if low > high:
        return []
    covered = above(conn, state.meter, state.log_id, log, whole_to)
    return ranges.minus([(low, high)], ranges.joined([*covered, *lost(conn, state.meter, state.log_id, log, whole_to)]))


def declare_lost(conn: Connection, now_s: int, state: Row[Any], log: Log, low: int, high: int, why: str) -> list[Range]:
    """List as lost what of `low`..`high` is neither stored nor listed yet; returns those ranges."""
    found = holes(conn, state, log, low, high)
    for first, last in found:
        _declare(conn, (state.meter, state.log_id, log.kind, first, last, now_s, why))
    return found


def turned_up(conn: Connection, meter: int, log_id: int, log: Log, new: Sequence[Range]) -> None:
    """What was stored just now is not lost any more."""
    if not new:
        return
    for row in _LOST(conn, {"of": meter, "log": log_id, "which": log.kind, "low": new[0][0] - 1}):
        left = ranges.minus([(row.first, row.last)], new)
        if left != [(row.first, row.last)]:
            _FOUND(conn, {"of": meter, "log": log_id, "which": log.kind, "from": row.first})
            for first, last in left:
                _declare(conn, (meter, log_id, log.kind, first, last, row.declared_s, row.why))


def lost(conn: Connection, meter: int, log_id: int, log: Log, low: int) -> list[Range]:
    """Lost ranges that reach above `low`."""
    rows = _LOST(conn, {"of": meter, "log": log_id, "which": log.kind, "low": low})
    return sorted((row.first, row.last) for row in rows)


def above(conn: Connection, meter: int, log_id: int, log: Log, low: int) -> list[Range]:
    """Stored ranges that reach above `low`, as they are noted."""
    return sorted((row.first, row.last) for row in log.above(conn, {"of": meter, "log": log_id, "low": low}))


def _declare(conn: Connection, row: tuple[Any, ...]) -> None:
    _DECLARE(conn, dict(zip(lost_range.c.keys(), row, strict=True)))


def _put_islands(conn: Connection, meter: int, log_id: int, old: Iterable[Range], wanted: Iterable[Range]) -> None:
    """Replace the islands `old` by `wanted`, where they differ."""
    before, after = set(old), set(wanted)
    for first, _ in before - after:
        _DROP_ISLAND(conn, {"of": meter, "log": log_id, "from": first})
    for first, last in after - before:
        _PUT_ISLAND(conn, {"meter": meter, "log_id": log_id, "first": first, "last": last})
