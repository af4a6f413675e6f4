"""Storing a batch of records: each exactly once, whatever broker, line or database did before.

The caller has verified the batch's MAC. Records of any log are stored, since the meter wrote them; the cursor moves
only for the log that the meter writes at present, so an old batch that is played again cannot turn it back.
"""

import struct
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, insert, select, update

from headend.reads import logs
from headend.store import lock_meter
from headend.store.schema import meter_state, question
from meterlink import records
from meterlink.batches import KIND_INTERVALS, Batch
from meterlink.reports import NO_NONCE

STORED = "stored"
REPEATED = "repeated"  # genuine, and nothing in it was new
OTHER_LOG = "other_log"  # stored; whether the meter writes that log now is for a report to say
BAD_ORDER = "bad_order"  # sequence numbers that do not rise from `first`: nothing was stored

_FORMAT = {KIND_INTERVALS: records.INTERVAL_FORMAT}
_CHECK_AT = -1  # the CRC is the last field, and is not stored


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
    rows, bad_crc = _decode(batch)
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
    whole_to = logs.advance(conn, batch.meter, batch.log_id, log, numbers[-1] if numbers else 0)
    return TakenBatch(STORED if new or lost else REPEATED, new, bad_crc, differing, lost, whole_to)


def _decode(batch: Batch) -> tuple[list[tuple[int, ...]], int]:
    """The records whose CRC is right, as tuples without it, and how many were wrong."""
    layout = _FORMAT.get(batch.kind, records.EVENT_FORMAT)
    width = records.RECORD_LENGTH
    raw = batch.records
    good = [records.check(raw[at : at + width]) is not None for at in range(0, len(raw), width)]
    rows = [fields[:_CHECK_AT] for fields, whole in zip(struct.iter_unpack(layout, raw), good, strict=True) if whole]
    return rows, len(good) - len(rows)


def _store(conn: Connection, batch: Batch, log: logs.Log, rows: list[tuple[int, ...]]) -> tuple[int, int]:
    """Insert the rows that are not there yet; (how many, how many stand there with other content)."""
    if not rows:
        return 0, 0
    table = log.table
    columns = [column for column in table.c if column.name not in ("meter", "log_id")]
    there = {
        row[0]: tuple(row)
        for row in conn.execute(
            select(*columns).where(
                table.c.meter == batch.meter,
                table.c.log_id == batch.log_id,
                table.c.seq.between(rows[0][0], rows[-1][0]),
            )
        )
    }
    keys = [column.name for column in columns]
    new = [
        {"meter": batch.meter, "log_id": batch.log_id, **dict(zip(keys, row, strict=True))}
        for row in rows
        if row[0] not in there
    ]
    if new:
        conn.execute(insert(table), new)
    return len(new), sum(there.get(row[0], row) != row for row in rows)


def _answered(conn: Connection, now_s: int, batch: Batch, question_s: int) -> Row[Any] | None:
    """The open question that this batch answers, marked as answered; None where it answers none."""
    if batch.nonce == NO_NONCE:
        return None
    mine = (question.c.nonce == batch.nonce) & (question.c.meter == batch.meter) & (question.c.kind == batch.kind)
    row = conn.execute(select(question).where(mine, question.c.answered_s.is_(None))).one_or_none()
    if row is None or now_s - row.asked_s > question_s:
        return None
    conn.execute(update(question).where(mine).values(answered_s=now_s))
    return row


def _passed_over(
    conn: Connection, now_s: int, batch: Batch, log: logs.Log, numbers: list[int], asked: Row[Any] | None
) -> list[logs.Range]:
    """List as lost what the meter was asked for and did not give, up to the last record that it gave."""
    if asked is None:
        return []
    newest = conn.execute(select(meter_state.c[log.newest]).where(meter_state.c.meter == batch.meter)).scalar_one()
    last = numbers[-1] if numbers else min(asked.first + asked.count - 1, newest)
    why = "asked for and not held by the meter"
    return logs.declare_lost(conn, now_s, batch.meter, batch.log_id, log, asked.first, last, why)
