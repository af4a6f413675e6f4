"""The interval records of a meter, wherever they are stored: one view for all who read them.

A record is identified by meter, log and sequence number; each is given once. Registers are modulo 2^32, energy of
65 535 means that or more, as `meterlink.records` tells. What lately came and packed days are read by one statement,
hence in one state of the database: what the packer moves meanwhile is seen before or after, never twice or not at all.
All raise Damaged where a packed day cannot be read.
"""

import struct
from collections.abc import Iterable, Iterator
from itertools import repeat
from operator import attrgetter
from typing import Any, NamedTuple

from sqlalchemy import Connection, Integer, LargeBinary, bindparam, func, literal_column, or_, select

from headend.reads import packing, recent
from headend.store.prepared import prepared
from headend.store.schema_readings import meter_reads, reading_day, reading_recent
from meterlink.records import INTERVAL_FORMAT, RECORD_LENGTH

DAY_S = 86_400
LAST_SEQ = 0xFFFFFFFF
FIRST = (0, 0, 0)  # before any record

_LAYOUT = struct.Struct(INTERVAL_FORMAT[:-1] + "2x")  # the CRC is left out
_SEQ = struct.Struct(INTERVAL_FORMAT[:2])


class Reading(NamedTuple):
    """One interval record; see `meterlink.records`."""

    log_id: int
    seq: int
    start_s: int
    import_reg_wh: int
    export_reg_wh: int
    import_wh: int
    export_wh: int
    minutes: int
    flags: int


_BY_START = attrgetter("start_s", "log_id", "seq")
_recent, _day = reading_recent.c, reading_day.c
_OF = recent.of(bindparam("of"))
_LENGTH = func.length(_recent.records, type_=Integer) // RECORD_LENGTH
_HEAD = func.substr(_day.packed, 1, packing.HEAD_LENGTH, type_=LargeBinary)
_NO_HEAD = func.substr(_recent.records, 1, 0, type_=LargeBinary)
_PLAIN = select(_recent.log_id, literal_column("0", Integer).label("packed"), _recent.records.label("raw"))
_PLAIN = _PLAIN.where(_OF)
_PACKED = select(_day.log_id, literal_column("1", Integer), _day.packed).where(_day.meter == bindparam("of"))
_LOG = _recent.log_id == bindparam("log")
_NUMBERS = _recent.first <= bindparam("high"), _recent.first + _LENGTH > bindparam("low")
_DAY_NUMBERS = _day.log_id == bindparam("log"), _day.first <= bindparam("high"), _day.last >= bindparam("low")

_DAYS = prepared(_PLAIN.union_all(_PACKED.where(_day.day >= bindparam("since"), _day.day <= bindparam("until"))))
_NUMBERED = prepared(_PLAIN.where(_LOG, *_NUMBERS).union_all(_PACKED.where(*_DAY_NUMBERS)))
_COUNTS = prepared(
    select(_LENGTH.label("count"), _NO_HEAD.label("head"))
    .where(_OF, _LOG)
    .union_all(
        select(literal_column("0", Integer), _HEAD).where(
            _day.meter == bindparam("of"), _day.log_id == bindparam("log")
        )
    )
)
_EARLIER = _day.meter == bindparam("of"), _day.log_id == bindparam("log"), _day.day < bindparam("on")
_DAY_BEFORE = select(func.max(_day.day)).where(*_EARLIER).scalar_subquery()
_BEFORE = prepared(
    _PLAIN.where(_LOG).union_all(
        _PACKED.where(_day.log_id == bindparam("log"), or_(_day.day == bindparam("on"), _day.day == _DAY_BEFORE))
    )
)
_AT_PRESENT = prepared(select(meter_reads.c.log_id).where(meter_reads.c.meter == bindparam("of")))
_TOP_PLAIN = select((_recent.first + _LENGTH - 1).label("top")).where(_OF)
_TOP_PACKED = select(_day.last).where(_day.meter == bindparam("of"), _day.log_id == bindparam("log"))
_TOPS = _TOP_PLAIN.where(_LOG).union_all(_TOP_PACKED).subquery()
_TOP = prepared(select(func.max(_TOPS.c.top)))


def between(conn: Connection, meter: int, from_s: int, to_s: int) -> list[Reading]:
    """Periods that begin in `from_s`..`to_s` (the latter excluded), by start, then log, then number."""
    rows = _DAYS(conn, {"of": meter, "since": from_s // DAY_S, "until": (to_s - 1) // DAY_S})
    found = [one for one in _readings(rows) if from_s <= one.start_s < to_s]
    return sorted(found, key=_BY_START)


def page(
    conn: Connection, meter: int, from_s: int, to_s: int, limit: int, after: tuple[int, int, int] = FIRST
) -> list[Reading]:
    """The first `limit` of `between` behind one with (start_s, log_id, seq); not more days are read than that takes."""
    found: list[Reading] = []
    low_s, span_s = max(from_s, after[0]), DAY_S
    while len(found) < limit and low_s < to_s:
        high_s = min(to_s, low_s + span_s)
        found += [one for one in between(conn, meter, low_s, high_s) if _BY_START(one) > after]
        low_s, span_s = high_s, span_s * 2
    return found[:limit]


def day(conn: Connection, meter: int, day: int) -> list[Reading]:
    """Periods that begin in a day of UTC, counted from 1970-01-01."""
    return between(conn, meter, day * DAY_S, (day + 1) * DAY_S)


def numbered(conn: Connection, meter: int, log_id: int, low: int, high: int) -> list[Reading]:
    """The stored records `low`..`high` of a log, by number."""
    rows = _NUMBERED(conn, {"of": meter, "log": log_id, "low": low, "high": high})
    return sorted([one for one in _readings(rows) if low <= one.seq <= high], key=attrgetter("seq"))


def raw(conn: Connection, meter: int, log_id: int, low: int, high: int) -> bytes:
    """The stored records `low`..`high` of a log by number, 24 bytes each, bit for bit as the meter packed them."""
    found = {}
    for row in _NUMBERED(conn, {"of": meter, "log": log_id, "low": low, "high": high}):
        records = packing.unpack(row.raw) if row.packed else row.raw
        for at in range(0, len(records), RECORD_LENGTH):
            seq = _SEQ.unpack_from(records, at)[0]
            if low <= seq <= high:
                found[seq] = records[at : at + RECORD_LENGTH]
    return b"".join([found[seq] for seq in sorted(found)])


def following(conn: Connection, meter: int, log_id: int, after: int, limit: int) -> list[Reading]:
    """The first `limit` stored records of a log with a number above `after`, by number."""
    top = _TOP(conn, {"of": meter, "log": log_id}).scalar_one() or 0
    found: list[Reading] = []
    low, span = after + 1, limit
    while len(found) < limit and low <= top:
        found += numbered(conn, meter, log_id, low, low + span - 1)
        low, span = low + span, span * 2
    return found[:limit]


def before(conn: Connection, meter: int, log_id: int, at_s: int) -> Reading | None:
    """The record of a log whose period began last before `at_s`; None where there is none."""
    rows = _BEFORE(conn, {"of": meter, "log": log_id, "on": at_s // DAY_S})
    return max(
        (one for one in _readings(rows) if one.start_s < at_s), key=lambda one: (one.start_s, one.seq), default=None
    )


def every(conn: Connection, meter: int) -> list[Reading]:
    """All that is stored of a meter, in no order."""
    return list(_readings(_DAYS(conn, {"of": meter, "since": 0, "until": LAST_SEQ // DAY_S})))


def newest(conn: Connection, meter: int) -> Reading | None:
    """The stored record with the highest number of the log that the meter writes at present; None without one."""
    log_id = _AT_PRESENT(conn, {"of": meter}).scalar_one_or_none()
    if log_id is None:
        return None
    top = _TOP(conn, {"of": meter, "log": log_id}).scalar_one()
    return None if top is None else numbered(conn, meter, log_id, top, top)[0]


def count(conn: Connection, meter: int, log_id: int) -> int:
    """How many records of a log are stored."""
    rows = _COUNTS(conn, {"of": meter, "log": log_id})
    return sum(row.count or packing.count(row.head) for row in rows)


def decoded(log_id: int, records: bytes) -> Iterator[Reading]:
    """The readings of records of 24 bytes."""
    return (Reading(log_id, *fields) for fields in _LAYOUT.iter_unpack(records))


def unpacked(log_id: int, packed: bytes) -> Iterator[Reading]:
    """The readings of packed records; Damaged."""
    columns = packing.columns(packed)
    return map(Reading._make, zip(repeat(log_id, len(columns.seq)), *columns[:-1], strict=True))


def _readings(rows: Iterable[Any]) -> Iterator[Reading]:
    for row in rows:
        yield from (unpacked if row.packed else decoded)(row.log_id, row.raw)
