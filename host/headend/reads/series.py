"""The interval records of a meter, wherever they are stored: one view for all who read them.

A record is identified by meter, log and sequence number; each is given once. Registers are modulo 2^32, energy of
65 535 means that or more, as `meterlink.records` tells.
"""

import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from sqlalchemy import Connection, Integer, and_, bindparam, func, select

from headend.store.prepared import prepared
from headend.store.schema_readings import reading_hour, reading_recent
from meterlink.records import INTERVAL_FORMAT, RECORD_LENGTH

DAY_S = 86_400
LAST_SEQ = 0xFFFFFFFF

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


Run = tuple[int, bytes]  # log_id, records

_recent = reading_recent.c
_OF = and_(_recent.hour == reading_hour.c.hour, _recent.meter == bindparam("of"))
_LOG = _recent.log_id == bindparam("log")
_RECENT = prepared(select(_recent.log_id, _recent.records).join_from(reading_hour, reading_recent, _OF))
_RECENT_NUMBERED = prepared(
    select(_recent.log_id, _recent.records)
    .join_from(reading_hour, reading_recent, _OF)
    .where(_LOG, _recent.first <= bindparam("high"))
    .where(_recent.first + func.length(_recent.records, type_=Integer) // RECORD_LENGTH > bindparam("low"))
)


def between(conn: Connection, meter: int, from_s: int, to_s: int) -> list[Reading]:
    """Periods that begin in `from_s`..`to_s` (the latter excluded), by start, then log, then number."""
    found = (one for one in _decoded(_all(conn, meter)) if from_s <= one.start_s < to_s)
    return sorted(_once(found), key=lambda one: (one.start_s, one.log_id, one.seq))


def day(conn: Connection, meter: int, day: int) -> list[Reading]:
    """Periods that begin in a day of UTC, counted from 1970-01-01."""
    return between(conn, meter, day * DAY_S, (day + 1) * DAY_S)


def numbered(conn: Connection, meter: int, log_id: int, low: int, high: int) -> list[Reading]:
    """The stored records `low`..`high` of a log, by number."""
    found = (one for one in _decoded(_numbered(conn, meter, log_id, low, high)) if low <= one.seq <= high)
    return sorted(_once(found), key=lambda one: one.seq)


def raw(conn: Connection, meter: int, log_id: int, low: int, high: int) -> bytes:
    """The stored records `low`..`high` of a log by number, 24 bytes each, bit for bit as the meter packed them."""
    found = {}
    for _, records in _numbered(conn, meter, log_id, low, high):
        for at in range(0, len(records), RECORD_LENGTH):
            seq = _SEQ.unpack_from(records, at)[0]
            if low <= seq <= high:
                found[seq] = records[at : at + RECORD_LENGTH]
    return b"".join(found[seq] for seq in sorted(found))


def newest(conn: Connection, meter: int) -> Reading | None:
    """Of all that is stored of a meter, the record whose period began last; None where there is none."""
    return max(_decoded(_all(conn, meter)), key=lambda one: (one.start_s, one.log_id, one.seq), default=None)


def count(conn: Connection, meter: int, log_id: int) -> int:
    """How many records of a log are stored."""
    return len({one.seq for one in _decoded(_numbered(conn, meter, log_id, 0, LAST_SEQ))})


def decoded(log_id: int, records: bytes) -> Iterator[Reading]:
    """The readings of records of 24 bytes."""
    return (Reading(log_id, *fields) for fields in _LAYOUT.iter_unpack(records))


def _decoded(runs: Iterable[Run]) -> Iterator[Reading]:
    for log_id, records in runs:
        yield from decoded(log_id, records)


def _once(found: Iterable[Reading]) -> Iterable[Reading]:
    """Each record once: where statements see two moments of the database, one that was packed between them comes
    twice.
    """
    return {(one.log_id, one.seq): one for one in found}.values()


def _all(conn: Connection, meter: int) -> Iterator[Run]:
    for row in _RECENT(conn, {"of": meter}):
        yield row.log_id, row.records


def _numbered(conn: Connection, meter: int, log_id: int, low: int, high: int) -> Iterator[Run]:
    for row in _RECENT_NUMBERED(conn, {"of": meter, "log": log_id, "low": low, "high": high}):
        yield row.log_id, row.records
