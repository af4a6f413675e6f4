"""The record logs of a meter and how far each is whole: up to the cursor every record is stored or declared lost.

A log is named by the meter's `log_id`; formatted flash begins a new one. The cursor is what the meter is acknowledged:
it moves over stored records, and over ranges that the meter itself said it no longer holds.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, Table, insert, select, update

from headend.store.schema import interval, lost_range, meter_event, meter_state
from meterlink.batches import KIND_EVENTS, KIND_INTERVALS
from meterlink.reports import Report

Range = tuple[int, int]  # first and last sequence number, both included


class Log(NamedTuple):
    """One kind of record: its table, and its two columns in `meter_state`."""

    kind: int  # meterlink.batches.KIND_*
    table: Table
    whole_to: str
    newest: str


LOGS = {
    KIND_INTERVALS: Log(KIND_INTERVALS, interval, "interval_whole_to", "interval_newest"),
    KIND_EVENTS: Log(KIND_EVENTS, meter_event, "event_whole_to", "event_newest"),
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
    conn.execute(_of(report.meter).values(interval_oldest=report.interval_oldest))
    advance(conn, report.meter, report.log_id, intervals, report.interval_newest)
    advance(conn, report.meter, report.log_id, LOGS[KIND_EVENTS], report.event_newest)


def begin(conn: Connection, now_s: int, state: Row[Any], log_id: int) -> None:
    """The meter writes another log than before: what was not fetched of the old one is lost; start over at record 1."""
    for log in LOGS.values():
        if state.log_id is not None:
            whole_to, newest = getattr(state, log.whole_to), getattr(state, log.newest)
            declare_lost(conn, now_s, state.meter, state.log_id, log, whole_to + 1, newest, "the meter began a new log")
        conn.execute(_of(state.meter).values({log.whole_to: 0, log.newest: 0}))
    conn.execute(_of(state.meter).values(log_id=log_id, interval_oldest=0))


def advance(conn: Connection, meter: int, log_id: int, log: Log, newest: int) -> int:
    """Move the cursor of the meter's present log over what is whole and return it; `newest` is known to exist."""
    at, top = meter_state.c[log.whole_to], meter_state.c[log.newest]
    before, known = conn.execute(select(at, top).where(meter_state.c.meter == meter)).one()
    newest = max(newest, known)
    hole = next(holes(conn, meter, log_id, log, before + 1, newest), None)
    whole_to: int = hole[0] - 1 if hole else max(newest, before)
    if (whole_to, newest) != (before, known):
        conn.execute(_of(meter).values({log.whole_to: whole_to, log.newest: newest}))
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
            insert(lost_range).values(
                meter=meter, log_id=log_id, kind=log.kind, first=first, last=last, declared_s=now_s, why=why
            )
        )
    return lost


def _covered(conn: Connection, meter: int, log_id: int, log: Log, low: int, high: int) -> Iterator[Range]:
    """Runs of stored records and lost ranges that touch `low`..`high`, by their first number."""
    if low > high:
        return
    seq = log.table.c.seq
    stored = conn.execute(
        select(seq)
        .where(log.table.c.meter == meter, log.table.c.log_id == log_id, seq >= low, seq <= high)
        .order_by(seq)
    ).scalars()
    lost = conn.execute(
        select(lost_range.c.first, lost_range.c.last).where(
            lost_range.c.meter == meter,
            lost_range.c.log_id == log_id,
            lost_range.c.kind == log.kind,
            lost_range.c.last >= low,
            lost_range.c.first <= high,
        )
    ).all()
    runs = [(row.first, row.last) for row in lost]
    runs.extend((one, one) for one in stored)
    runs.sort()
    yield from runs


def _of(meter: int) -> Any:
    return update(meter_state).where(meter_state.c.meter == meter)
