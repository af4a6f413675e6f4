"""Storing a batch of records: each exactly once, whatever broker, line or database did before.

The caller has verified the batch's MAC. Records of any log are stored, since the meter wrote them; the cursor moves
only for the log that the meter writes at present, so an old batch that is played again cannot turn it back.
"""

import struct
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, and_, bindparam, select, update

from headend.reads import crc, cursors, logs, ranges, recent, series
from headend.store import sql
from headend.store.prepared import prepared
from headend.store.schema import meter_event, question
from meterlink import records
from meterlink.batches import KIND_INTERVALS, Batch
from meterlink.records import RECORD_LENGTH
from meterlink.reports import NO_NONCE

STORED = "stored"
REPEATED = "repeated"  # genuine, and nothing in it was new
OTHER_LOG = "other_log"  # stored; whether the meter writes that log now is for a report to say
BAD_ORDER = "bad_order"  # sequence numbers that do not rise from `first`: nothing was stored

_SEQ = struct.Struct(records.INTERVAL_FORMAT[:2] + f"{RECORD_LENGTH - 4}x")
_EVENT = struct.Struct(records.EVENT_FORMAT[:-1] + "2x")  # its CRC is checked, and not stored

_MINE = and_(
    question.c.nonce == bindparam("asked"), question.c.meter == bindparam("of"), question.c.kind == bindparam("which")
)
_OPEN = prepared(select(question).where(_MINE, question.c.answered_s.is_(None)))
_ANSWERED = prepared(update(question).where(_MINE).values(answered_s=bindparam("now")))
_EVENTS = prepared(
    select(*[column for column in meter_event.c if column.name not in ("meter", "log_id")])
    .where(meter_event.c.meter == bindparam("of"), meter_event.c.log_id == bindparam("log"))
    .where(meter_event.c.seq >= bindparam("low"), meter_event.c.seq <= bindparam("high"))
)


class TakenBatch(NamedTuple):
    """What became of a batch."""

    outcome: str
    new: int  # records stored
    bad_crc: int  # records left out since their CRC is wrong
    differing: int  # records left out since others stand under their numbers
    lost: list[logs.Range]  # what its answer to our question showed to be gone
    ack_to: int  # acknowledge up to here; 0 = do not
    newest: int = 0  # record of that log that is known to exist

    @property
    def wants_next(self) -> bool:
        """Whether something came, and something of the log is missing still."""
        return self.outcome == STORED and self.ack_to < self.newest


Records = dict[int, bytes]  # by number, rising; 24 bytes each


def take(conn: Connection, now_s: int, batch: Batch, question_s: int) -> TakenBatch:
    """Store what is new in a genuine batch and move the cursor over what is whole now.

    Where it answers a question of ours within `question_s` seconds, what it passes over is no longer held by the meter
    and is listed as lost. Of a batch of events the caller holds the lock of the meter. Raises UnknownMeter.
    """
    state = cursors.lock(conn, batch.meter)
    log = logs.LOGS[batch.kind]
    found, bad_crc = good(batch.records)
    numbers = [seq for seq, _ in found]
    if any(above <= below for below, above in zip([batch.first - 1, *numbers], numbers, strict=False)):
        return TakenBatch(BAD_ORDER, 0, bad_crc, 0, [], 0)
    asked = _answered(conn, now_s, batch, question_s)
    if state.log_id is None or (asked is not None and state.log_id != batch.log_id):
        state = logs.begin(conn, now_s, state, batch.log_id)
    store = _store_intervals if batch.kind == KIND_INTERVALS else _store_events
    new, differing = store(conn, now_s, state, batch, dict(found))
    count = sum(last - first + 1 for first, last in new)
    logs.turned_up(conn, batch.meter, batch.log_id, log, new)
    if state.log_id != batch.log_id:
        if batch.kind == KIND_INTERVALS:
            logs.set_apart(conn, batch.meter, batch.log_id, new)
        return TakenBatch(OTHER_LOG, count, bad_crc, differing, [], 0)
    newest = max([logs.reach(state, log)[1], *numbers])
    whole_to = logs.advance(conn, state, log, newest, new)
    lost = _passed_over(conn, now_s, state, log, numbers, asked)
    if lost:
        whole_to = logs.advance(conn, cursors.of(conn, batch.meter), log, newest)
    return TakenBatch(STORED if new or lost else REPEATED, count, bad_crc, differing, lost, whole_to, newest)


def good(raw: bytes) -> tuple[list[tuple[int, bytes]], int]:
    """(number, record) of each whose CRC is right and that is not blank, and how many are not."""
    numbers = [seq for (seq,) in _SEQ.iter_unpack(raw)]
    wrong = crc.wrong(raw)
    found = [
        (seq, raw[at * RECORD_LENGTH : (at + 1) * RECORD_LENGTH])
        for at, (seq, bad) in enumerate(zip(numbers, wrong, strict=True))
        if seq and not bad
    ]
    return found, len(numbers) - len(found)


def _store_intervals(
    conn: Connection, now_s: int, state: Row[Any], batch: Batch, found: Records
) -> tuple[list[logs.Range], int]:
    """Store the runs that are not there yet; (these, how many records stand there with other content)."""
    runs = ranges.of_numbers(list(found))
    if not runs:
        return [], 0
    whole_to, newest = state.interval_whole_to, state.interval_newest
    if state.log_id == batch.log_id and whole_to == newest < runs[0][0]:
        new = runs  # behind all that is known of the log
    else:
        new = ranges.minus(runs, logs.stored(conn, state, batch.log_id))
    rows = [(first, b"".join(found[seq] for seq in range(first, last + 1))) for first, last in new]
    recent.put(conn, now_s, [(batch.meter, batch.log_id, *row) for row in rows])
    if new == runs:
        return new, 0
    there = series.raw(conn, batch.meter, batch.log_id, runs[0][0], runs[-1][1])
    return new, sum(found.get(seq, record) != record for seq, record in good(there)[0])


def _store_events(
    conn: Connection, now_s: int, state: Row[Any], batch: Batch, found: Records
) -> tuple[list[logs.Range], int]:
    """The same for events, a row each."""
    if not found:
        return [], 0
    rows = [_EVENT.unpack(record) for record in found.values()]
    span = {"of": batch.meter, "log": batch.log_id, "low": rows[0][0], "high": rows[-1][0]}
    there = {row[0]: tuple(row) for row in _EVENTS(conn, span)}
    new = [(batch.meter, batch.log_id, *row) for row in rows if row[0] not in there]
    if new:
        sql.copy_in(conn, meter_event, new)
    return ranges.of_numbers([row[2] for row in new]), sum(there.get(row[0], row) != row for row in rows)


def _answered(conn: Connection, now_s: int, batch: Batch, question_s: int) -> Row[Any] | None:
    """The open question that this batch answers, marked as answered; None where it answers none."""
    if batch.nonce == NO_NONCE:
        return None
    mine = {"asked": batch.nonce, "of": batch.meter, "which": batch.kind}
    row: Row[Any] | None = _OPEN(conn, mine).one_or_none()
    if row is None or now_s - row.asked_s > question_s:
        return None
    _ANSWERED(conn, {**mine, "now": now_s})
    return row


def _passed_over(
    conn: Connection, now_s: int, state: Row[Any], log: logs.Log, numbers: list[int], asked: Row[Any] | None
) -> list[logs.Range]:
    """List as lost what the meter was asked for and did not give, up to the last record that it gave."""
    if asked is None:
        return []
    state = cursors.of(conn, state.meter)
    last = numbers[-1] if numbers else min(asked.first + asked.count - 1, logs.reach(state, log)[1])
    why = "asked for and not held by the meter"
    return logs.declare_lost(conn, now_s, state, log, asked.first, last, why)
