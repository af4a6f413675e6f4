"""The record logs of a meter and how far each is whole: up to the cursor every record is stored or declared lost.

A log is named by the meter's `log_id`; formatted flash begins a new one. The cursor is what the meter is acknowledged:
it moves over stored records, and over ranges that the meter itself said it no longer holds.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, Select, Table, Update, bindparam, insert, select, update

from headend.store.schema import interval, lost_range, meter_event, meter_state
from meterlink.batches import KIND_EVENTS, KIND_INTERVALS
from meterlink.reports import Report

Range = tuple[int, int]  # first and last sequence number, both included


class Log(NamedTuple):
    """One kind of record: its table, its two columns in `meter_state`, and the statements on them.

    Statements are built once, here and below: to put one together costs several times what it costs to run it.
    """

    kind: int  # meterlink.batches.KIND_*
    table: Table
    whole_to: str
    newest: str
    cursor: Select[Any]  # the two columns, and the meter's present log_id
    move: Update  # both columns
    between: Select[Any]  # the records from `low` to `high`, whole but for meter and log_id
    stored: Select[Any]  # their sequence numbers


def _log(kind: int, table: Table, whole_to: str, newest: str) -> Log:
    columns = meter_state.c
    mine = table.c.meter == bindparam("of"), table.c.log_id == bindparam("log")
    within = table.c.seq >= bindparam("low"), table.c.seq <= bindparam("high")
    return Log(
        kind,
        table,
        whole_to,
        newest,
        select(columns[whole_to], columns[newest], columns.log_id).where(columns.meter == bindparam("of")),
        _MINE.values({whole_to: bindparam("whole"), newest: bindparam("top")}),
        select(*[column for column in table.c if column.name not in ("meter", "log_id")]).where(*mine, *within),
        select(table.c.seq).where(*mine, *within).order_by(table.c.seq),
    )


_MINE = update(meter_state).where(meter_state.c.meter == bindparam("of"))
_BEGUN = _MINE.values(log_id=bindparam("log"), interval_oldest=0)
_OLDEST = _MINE.values(interval_oldest=bindparam("oldest"))
_LOST = select(lost_range.c.first, lost_range.c.last).where(
    lost_range.c.meter == bindparam("of"),
    lost_range.c.log_id == bindparam("log"),
    lost_range.c.kind == bindparam("which"),
    lost_range.c.last >= bindparam("low"),
    lost_range.c.first <= bindparam("high"),
)
_DECLARE = insert(lost_range)

LOGS = {
    KIND_INTERVALS: _log(KIND_INTERVALS, interval, "interval_whole_to", "interval_newest"),
    KIND_EVENTS: _log(KIND_EVENTS, meter_event, "event_whole_to", "event_newest"),
}


def seen(conn: Connection, now_s: int, state: Row[Any], report: Report) -> None:
    """Take from a fresh report which log the meter writes, and what of it the meter holds.

    `state` is the locked `meter_state` row. What lies between cursor and oldest interval held is lost, and listed.
    """
    whole_to = state.interval_whole_to
    if state.log_id != report.log_id:
        begin(conn, now_s, state, report.log_id)
        whole_to = 0
    intervals = LOGS[KIND_INTERVALS]
    below = report.interval_oldest - 1
    declare_lost(
        conn, now_s, report.meter, report.log_id, intervals, whole_to + 1, below, "no longer held by the meter"
    )
    conn.execute(_OLDEST, {"of": report.meter, "oldest": report.interval_oldest})
    advance(conn, report.meter, report.log_id, intervals, report.interval_newest)
    advance(conn, report.meter, report.log_id, LOGS[KIND_EVENTS], report.event_newest)


def begin(conn: Connection, now_s: int, state: Row[Any], log_id: int) -> None:
    """The meter writes another log than before: what was not fetched of the old one is lost; start over at record 1."""
    for log in LOGS.values():
        if state.log_id is not None:
            whole_to, newest = getattr(state, log.whole_to), getattr(state, log.newest)
            declare_lost(conn, now_s, state.meter, state.log_id, log, whole_to + 1, newest, "the meter began a new log")
        conn.execute(log.move, {"of": state.meter, "whole": 0, "top": 0})
    conn.execute(_BEGUN, {"of": state.meter, "log": log_id})


def advance(conn: Connection, meter: int, log_id: int, log: Log, newest: int, run: Range = (0, 0)) -> int:
    """Move the cursor of the meter's present log over what is whole and return it.

    `newest` is known to exist; `run` to be stored without a gap, so that what continues the log is not looked up again.
    """
    before, known, _ = conn.execute(log.cursor, {"of": meter}).one()
    newest = max(newest, known)
    low = max(before, run[1]) + 1 if run[0] <= before + 1 else before + 1
    hole = next(holes(conn, meter, log_id, log, low, newest), None)
    whole_to: int = hole[0] - 1 if hole else max(newest, before)
    if (whole_to, newest) != (before, known):
        conn.execute(log.move, {"of": meter, "whole": whole_to, "top": newest})
    return whole_to


def holes(conn: Connection, meter: int, log_id: int, log: Log, low: int, high: int) -> Iterator[Range]:
    """Ranges within `low`..`high` that are neither stored nor declared lost, in rising order."""
    expected = low
    for first, last in _covered(conn, meter, log_id, log, low, high):
        if first > expected:
            yield expected, first - 1
        expected = max(expected, last + 1)
    if expected <= high:
        yield expected, high


def declare_lost(
    conn: Connection, now_s: int, meter: int, log_id: int, log: Log, low: int, high: int, why: str
) -> list[Range]:
    """List as lost what of `low`..`high` is neither stored nor listed yet; returns those ranges."""
    lost = list(holes(conn, meter, log_id, log, low, high))
    for first, last in lost:
        conn.execute(
            _DECLARE,
            {
                "meter": meter,
                "log_id": log_id,
                "kind": log.kind,
                "first": first,
                "last": last,
                "declared_s": now_s,
                "why": why,
            },
        )
    return lost


def _covered(conn: Connection, meter: int, log_id: int, log: Log, low: int, high: int) -> Iterator[Range]:
    """Runs of stored records and lost ranges that touch `low`..`high`, by their first number."""
    if low > high:
        return
    within = {"of": meter, "log": log_id, "low": low, "high": high}
    runs = [(row.first, row.last) for row in conn.execute(_LOST, {**within, "which": log.kind})]
    runs.extend((one, one) for one in conn.execute(log.stored, within).scalars())
    runs.sort()
    yield from runs
