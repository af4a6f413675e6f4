"""Moving records from where they arrive to packed days, behind all other work.

A day of UTC is packed once it has been over for `after_s`: then the rest of it, its last period above all, has come,
and it is packed once. Some meters at a time are a transaction, which takes their records out of `reading_recent` and
puts them into `reading_day`, so whatever is cut off happened or did not, and is found again by looking. What comes
later joins its day at the next pass. Records of days to come (of clocks that are wrong) are packed when they have lain
here for a day more. A pass begins when all that it takes is counted (`reads.counted`), and waits where it is not.
"""

import struct
import time
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, delete, exists, func, insert, select

from headend.reads import counted, keeping, packing
from headend.reads.packing import MAX_RECORDS, Damaged
from headend.store import READS, Store, sql
from headend.store.prepared import prepared
from headend.store.schema_readings import meter_reads, reading_day, reading_hour, reading_recent
from meterlink.records import RECORD_LENGTH

HOUR_S = 3600
DAY_S = 86_400
AFTER_S = 36 * HOUR_S
LEAST_AFTER_S = 12 * HOUR_S
LATE_HOURS = 12  # a pass looks at what came up to so long behind the day's end; the next one sees the rest
EMPTY_HOURS = 48  # that an hour of arrival stays listed at least
METERS = 16  # a transaction at most …
RECORDS = 1000  # … fewer where they bring more than so many records: ten to twenty milliseconds
LONGEST_S = 0.5  # of one call

_START = struct.Struct(">4xI16x")  # of a record, when its period began
_recent, _day, _reads, _hour = reading_recent.c, reading_day.c, meter_reads.c, reading_hour.c
_NEXT = prepared(
    select(_reads.meter).where(_reads.meter > bindparam("behind")).order_by(_reads.meter).limit(bindparam("most"))
)
_LOCK = prepared(
    select(_reads.meter)
    .where(_reads.meter >= bindparam("low"), _reads.meter <= bindparam("high"))
    .order_by(_reads.meter)
    .with_for_update()
)
_BETWEEN = _recent.meter >= bindparam("low"), _recent.meter <= bindparam("high")
_CAME = prepared(
    select(reading_recent).where(_recent.hour.in_(select(_hour.hour).where(_hour.hour < bindparam("until"))), *_BETWEEN)
)
# What it gives back is what is packed: on PostgreSQL it sees more than a statement before it did.
_TAKE_HOUR = prepared(
    delete(reading_recent).where(_recent.hour == bindparam("at"), *_BETWEEN).returning(*reading_recent.c)
)
_TAKE = delete(reading_recent).where(
    _recent.hour == bindparam("at"),
    _recent.meter == bindparam("of"),
    _recent.log_id == bindparam("log"),
    _recent.first == bindparam("from"),
)
_THERE = prepared(
    select(_day.first, _day.packed).where(
        _day.meter == bindparam("of"), _day.day == bindparam("on"), _day.log_id == bindparam("log")
    )
)
_REPLACE = delete(reading_day).where(
    _day.meter == bindparam("of"),
    _day.day == bindparam("on"),
    _day.log_id == bindparam("log"),
    _day.first == bindparam("from"),
)
_NEXT_HOUR = prepared(select(func.min(_recent.hour)).where(_recent.hour > bindparam("behind")))
_HOURS = prepared(select(_hour.hour))
_UNCOUNTED = prepared(
    select(func.count()).select_from(reading_hour).where(_hour.hour >= counted.hour(), _hour.hour < bindparam("until"))
)
_LIST_HOUR = prepared(insert(reading_hour))
_EMPTY = prepared(
    delete(reading_hour).where(
        _hour.hour < bindparam("until"), ~exists().where(_recent.hour == reading_hour.c.hour).correlate(reading_hour)
    )
)


class Due(NamedTuple):
    """What a pass takes: of all that came before hour `until`, the days up to `day`, and all from before `old`."""

    day: int
    until: int
    old: int


def due(now_s: int, after_s: int = AFTER_S) -> Due:
    """What is due at `now_s`; `after_s`: LEAST_AFTER_S or more."""
    day = (now_s - after_s) // DAY_S - 1
    old = (now_s - after_s - DAY_S) // HOUR_S
    return Due(day, max(old, min((day + 1) * 24 + LATE_HOURS, now_s // HOUR_S)), old)


class Packer:
    """Packs a little at each call of `run`, meter by meter, one pass for each day that is over; `packed`: records.

    `kept_days`: of packed days, 0 for ever (`reads.keeping`).
    """

    def __init__(self, store: Store, after_s: int = AFTER_S, kept_days: int = 0) -> None:
        self._store = store
        self._after_s = after_s
        self._kept_days = kept_days
        self._done: Due | None = None  # the last pass that was finished
        self._now: Due | None = None  # the one under way
        self._behind = -1
        self._meters = 1
        self.packed = 0

    def run(self, now_s: int) -> bool:
        """Some transactions of the pass under way, or of one that is due; whether there is more to do."""
        if self._now is None:
            now = due(now_s, self._after_s)
            if self._done is not None and self._done.day == now.day:
                return False
            if self._store.read(_uncounted, now.until):
                return False
            self._now = now
        ends = time.monotonic() + LONGEST_S
        while time.monotonic() < ends:
            if not self._step(self._now, now_s):
                self._done, self._now, self._behind = self._now, None, -1
                return False
        return True

    def _step(self, now: Due, now_s: int) -> bool:
        meters = self._store.read(_next, self._behind, self._meters)
        if not meters:
            self._store.write(tidy, now_s // HOUR_S, lane=READS).result()
            return False
        packed = self._store.write(self._of_some, meters, now, now_s, lane=READS).result()
        self.packed += packed
        self._behind = meters[-1]
        self._meters = max(1, min(METERS, 2 * len(meters), RECORDS * len(meters) // max(1, packed)))
        return True

    def _of_some(self, conn: Connection, meters: list[int], now: Due, now_s: int) -> int:
        packed = pack(conn, meters[0], meters[-1], now)
        if self._kept_days:
            keeping.forget(conn, meters, now_s // DAY_S - self._kept_days)
        return packed


def _uncounted(conn: Connection, until: int) -> bool:
    """Whether anything came before the hour `until` that is not counted for read success yet."""
    return bool(_UNCOUNTED(conn, {"until": until}).scalar_one())


def _next(conn: Connection, behind: int, most: int) -> list[int]:
    return [row.meter for row in _NEXT(conn, {"behind": behind, "most": most})]


def pack(conn: Connection, low: int, high: int, now: Due) -> int:
    """Pack what is due of the meters `low`..`high`; how many records."""
    span = {"low": low, "high": high}
    _LOCK(conn, span)
    came: dict[int, list[Any]] = defaultdict(list)  # by hour
    for row in _CAME(conn, {**span, "until": now.until}):
        came[row.hour].append(row)
    days: dict[tuple[int, int, int], list[bytes]] = defaultdict(list)  # (meter, day, log_id)
    kept: list[tuple[Any, ...]] = []
    singly: list[Any] = []
    for hour, rows in came.items():
        taken = [row for row in rows if _some_due(row, now)]
        if len(taken) == len(rows):
            taken = _TAKE_HOUR(conn, {**span, "at": hour}).all()
        else:
            singly += taken
        for row in taken:
            stay = _share_out(row, now, days)
            kept += [(hour, row.meter, row.log_id, first, run) for first, run in _runs(stay)]
    if singly:
        conn.execute(_TAKE, [{"at": row[0], "of": row[1], "log": row[2], "from": row[3]} for row in singly])
    if kept:
        sql.copy_in(conn, reading_recent, kept)
    packed = sum(map(len, days.values()))
    _put(conn, days)
    return packed


def _some_due(row: Any, now: Due) -> bool:
    first_s: int = min(start_s for (start_s,) in _START.iter_unpack(row.records))
    return row.hour < now.old or first_s // DAY_S <= now.day


def _share_out(row: Any, now: Due, days: dict[tuple[int, int, int], list[bytes]]) -> bytes:
    """Put what is due of a run to its days; what stays."""
    old, stay = row.hour < now.old, []
    for at in range(0, len(row.records), RECORD_LENGTH):
        record = row.records[at : at + RECORD_LENGTH]
        day = int.from_bytes(record[4:8], "big") // DAY_S
        if old or day <= now.day:
            days[row.meter, day, row.log_id].append(record)
        else:
            stay.append(record)
    return b"".join(stay)


def _runs(records: bytes) -> Iterable[tuple[int, bytes]]:
    """(first number, records) of each run of rising numbers without a gap."""
    made: list[tuple[int, bytes]] = []
    following = -1
    for at in range(0, len(records), RECORD_LENGTH):
        record = records[at : at + RECORD_LENGTH]
        seq = int.from_bytes(record[:4], "big")
        if seq == following:
            made[-1] = made[-1][0], made[-1][1] + record
        else:
            made.append((seq, record))
        following = seq + 1
    return made


def _put(conn: Connection, days: dict[tuple[int, int, int], list[bytes]]) -> None:
    """Put records to their packed days, with what is there already."""
    rows: list[tuple[Any, ...]] = []
    replaced: list[dict[str, int]] = []
    for (meter, day, log_id), records in days.items():
        key = {"of": meter, "on": day, "log": log_id}
        for row in _THERE(conn, key):
            try:
                before = packing.unpack(row.packed)
            except Damaged:  # it is told of by whoever reads it; what comes after it stands beside it
                continue
            replaced.append({**key, "from": row.first})
            records += [before[at : at + RECORD_LENGTH] for at in range(0, len(before), RECORD_LENGTH)]
        records.sort()  # they begin with their numbers
        for at in range(0, len(records), MAX_RECORDS):
            some = records[at : at + MAX_RECORDS]
            first, last = (int.from_bytes(one[:4], "big") for one in (some[0], some[-1]))
            rows.append((meter, day, log_id, first, last, packing.pack(b"".join(some))))
    if replaced:
        conn.execute(_REPLACE, replaced)
    if rows:
        sql.copy_in(conn, reading_day, rows)


def tidy(conn: Connection, hour: int) -> None:
    """List every hour of arrival that has rows, and forget those without that are over for long.

    Hours are listed by whoever stores records. Where its clock is so far behind that the hour is forgotten meanwhile,
    it is found here again.
    """
    _EMPTY(conn, {"until": hour - EMPTY_HOURS})
    listed = {row.hour for row in _HOURS(conn)}
    behind: int | None = -1
    while (behind := _NEXT_HOUR(conn, {"behind": behind}).scalar_one()) is not None:
        if behind not in listed:
            _LIST_HOUR(conn, {"hour": behind})
