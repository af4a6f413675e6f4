"""Storing a batch of records: each exactly once, whatever broker, line or database did before.

The caller has verified the batch's MAC. Records of any log are stored, since the meter wrote them; the cursor moves
only for the log that the meter writes at present, so an old batch that is played again cannot turn it back.
"""

import struct
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, and_, bindparam, select, update

from headend.reads import crc, logs
from headend.store import lock_meter, sql
from headend.store.schema import question
from meterlink import records
from meterlink.batches import KIND_EVENTS, KIND_INTERVALS, Batch
from meterlink.reports import NO_NONCE

STORED = "stored"
REPEATED = "repeated"  # genuine, and nothing in it was new
OTHER_LOG = "other_log"  # stored; whether the meter writes that log now is for a report to say
BAD_ORDER = "bad_order"  # sequence numbers that do not rise from `first`: nothing was stored

# The CRC is the last field; it is checked beside, and not stored.
_LAYOUT = {
    KIND_INTERVALS: struct.Struct(records.INTERVAL_FORMAT[:-1] + "2x"),
    KIND_EVENTS: struct.Struct(records.EVENT_FORMAT[:-1] + "2x"),
}

_MINE = and_(
    question.c.nonce == bindparam("asked"), question.c.meter == bindparam("of"), question.c.kind == bindparam("which")
)
_OPEN = select(question).where(_MINE, question.c.answered_s.is_(None))
_ANSWERED = update(question).where(_MINE).values(answered_s=bindparam("now"))


class TakenBatch(NamedTuple):
    """What became of a batch."""

    outcome: str
    new: int  # records stored
    bad_crc: int  # records left out since their CRC is wrong
    differing: int  # records left out since others stand under their numbers
    lost: list[logs.Range]  # what its answer to our question showed to be gone
    ack_to: int  # acknowledge up to here; 0 = do not


def take(conn: Connection, now_s: int, batch: Batch, question_s: int) -> TakenBatch:
    """Store what is new in a genuine batch and move the cursor over what is whole now.

    Where it answers a question of ours within `question_s` seconds, what it passes over is no longer held by the meter
    and is listed as lost. Raises UnknownMeter.
    """
    state = lock_meter(conn, batch.meter)
    log = logs.LOGS[batch.kind]
    rows, bad_crc = decode(batch)
    numbers = [row[0] for row in rows]
    if any(above <= below for below, above in zip([batch.first - 1, *numbers], numbers, strict=False)):
        return TakenBatch(BAD_ORDER, 0, bad_crc, 0, [], 0)
    asked = _answered(conn, now_s, batch, question_s)
    if state.log_id is None or (asked is not None and state.log_id != batch.log_id):
        logs.begin(conn, now_s, state, batch.log_id)
    new, differing = _store(conn, batch, log, rows)
    current = state.log_id in (None, batch.log_id) or asked is not None
    if not current:
        return TakenBatch(OTHER_LOG, new, bad_crc, differing, [], 0)
    lost = _passed_over(conn, now_s, batch, log, numbers, asked)
    first, last = (numbers[0], numbers[-1]) if numbers else (0, 0)
    run = (first, last) if last - first + 1 == len(numbers) else (0, 0)
    whole_to = logs.advance(conn, batch.meter, batch.log_id, log, last, run)
    return TakenBatch(STORED if new or lost else REPEATED, new, bad_crc, differing, lost, whole_to)


def decode(batch: Batch) -> tuple[list[tuple[int, ...]], int]:
    """The records whose CRC is right, as tuples without it, and how many were wrong (or blank)."""
    rows = list(_LAYOUT[batch.kind].iter_unpack(batch.records))
    wrong = crc.wrong(batch.records)
    good = [row for row, bad in zip(rows, wrong, strict=True) if row[0] and not bad]
    return good, len(rows) - len(good)


def _store(conn: Connection, batch: Batch, log: logs.Log, rows: list[tuple[int, ...]]) -> tuple[int, int]:
    """Insert the rows that are not there yet; (how many, how many stand there with other content)."""
    if not rows:
        return 0, 0
    span = {"of": batch.meter, "log": batch.log_id, "low": rows[0][0], "high": rows[-1][0]}
    there = {row[0]: tuple(row) for row in conn.execute(log.between, span)}
    new = [(batch.meter, batch.log_id, *row) for row in rows if row[0] not in there]
    if new:
        sql.copy_in(conn, log.table, new)
    return len(new), sum(there.get(row[0], row) != row for row in rows)


def _answered(conn: Connection, now_s: int, batch: Batch, question_s: int) -> Row[Any] | None:
    """The open question that this batch answers, marked as answered; None where it answers none."""
    if batch.nonce == NO_NONCE:
        return None
    mine = {"asked": batch.nonce, "of": batch.meter, "which": batch.kind}
    row = conn.execute(_OPEN, mine).one_or_none()
    if row is None or now_s - row.asked_s > question_s:
        return None
    conn.execute(_ANSWERED, {**mine, "now": now_s})
    return row


def _passed_over(
    conn: Connection, now_s: int, batch: Batch, log: logs.Log, numbers: list[int], asked: Row[Any] | None
) -> list[logs.Range]:
    """List as lost what the meter was asked for and did not give, up to the last record that it gave."""
    if asked is None:
        return []
    newest = conn.execute(log.cursor, {"of": batch.meter}).one()[1]
    last = numbers[-1] if numbers else min(asked.first + asked.count - 1, newest)
    why = "asked for and not held by the meter"
    return logs.declare_lost(conn, now_s, batch.meter, batch.log_id, log, asked.first, last, why)
