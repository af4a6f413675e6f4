"""`intervals` and `events`: the records that the meter holds, checked and counted, to the screen or into a CSV file.

They come in batches under the meter's MAC. The CRC and the number of each record are checked always; that they are
genuine takes the meter's key.
"""

import argparse
import csv
import os
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from fieldtool import values
from fieldtool.session import DONE, NOT_SO, Session, UsageError, mac_key
from fieldtool.words import EVENT_COLUMNS, INTERVAL_COLUMNS
from meterlink import batches, events, names, records, registers
from meterlink.batches import Batch, BatchError
from meterlink.mac import MAC_LENGTH, MacKey

LAST = 96  # records read where nothing is said: a day of quarter-hours

Row = Sequence[str]
CodeOf = Callable[[str, str], str]  # (table of `words.CODE`, name) -> what is written for it


class Writer(Protocol):
    """Takes rows, as `csv.writer` does."""

    def writerow(self, row: Row, /) -> object: ...


@dataclass(frozen=True)
class Kind:
    """A kind of record: batches.KIND_*, its name in block `hot`, its columns, and a record as a row of them."""

    kind: int
    name: str
    columns: tuple[str, ...]
    row_of: Callable[[CodeOf, bytes], Row]


@dataclass
class Walk:
    """A run through the records `first` to `last`, and what is found besides them."""

    kind: int
    first: int
    last: int
    key: MacKey | None
    count: int = 0
    batches: int = 0
    forged: int = 0
    gaps: list[tuple[int, int]] = field(default_factory=list)

    async def run(self, session: Session) -> AsyncIterator[bytes]:
        """Each record that the meter holds of them, in order; LinkError where the line gives out."""
        seq, total = self.first, self.last - self.first + 1
        while seq <= self.last:
            wanted = min(batches.MAX_RECORDS, self.last - seq + 1)
            _, raw = await session.meter.ask(batches.pack_ask(self.kind, nonce(), first=seq, count=wanted))
            self._judge(raw)
            found = [one for one in _cut(raw) if (records.check(one) or 0) <= self.last]
            start = (records.check(found[0]) or 0) if found else self.last + 1
            if start > seq:
                self.gaps.append((seq, start - 1))
            for one in found:
                yield one
            self.count += len(found)
            seq = start + len(found)
            session.progress("progress", last=seq > self.last, done=seq - self.first, total=total)

    def _judge(self, raw: bytes) -> None:
        self.batches += 1
        if self.key is not None:
            try:
                Batch(raw, self.key)
            except BatchError:
                self.forged += 1


def nonce() -> bytes:
    """A nonce that was not used before (zeros mean "no question")."""
    return os.urandom(7) + b"\1"


def _cut(raw: bytes) -> list[bytes]:
    body = raw[batches.HEAD_LENGTH : -MAC_LENGTH]
    return [body[at : at + records.RECORD_LENGTH] for at in range(0, len(body), records.RECORD_LENGTH)]


def _interval(code_of: CodeOf, raw: bytes) -> Row:
    seq, start_s, import_reg, export_reg, import_wh, export_wh, minutes, flags = records.unpack_interval(raw)
    flagged = " + ".join(code_of("flag", name) for name in names.of_flags(names.FLAG, flags))
    numbers = (minutes, import_wh, export_wh, import_reg, export_reg)
    return [str(seq), values.utc(start_s), *map(str, numbers), flagged]


def event_row(code_of: CodeOf, raw: bytes) -> Row:
    seq, time_s, code, boot, register, argument, detail = records.unpack_event(raw)
    name = code_of("event", names.of(names.EVENT, code))
    numbers = map(str, (boot, register, argument, detail))
    return [str(seq), values.utc(time_s), str(code), name, *numbers, _about(code_of, code, argument, detail)]


def _about(code_of: CodeOf, code: int, argument: int, detail: int) -> str:
    """What an event's argument and detail say, where that is a name (meterlink.events)."""
    if code in _REASONED and detail:
        return code_of(*names.of_who(detail))
    if code in (events.ORDER_APPLIED, events.ORDER_REFUSED):
        about = f"{code_of('aspect', names.of(names.ASPECT, detail >> 8))} {detail & 0xFF}"
        return about if code == events.ORDER_APPLIED else f"{about}: {names.of(names.RESULT, argument)}"
    if code == events.TOKEN_REFUSED:
        return code_of("typed", names.of(names.TYPED, detail))
    if code == events.TOKEN_TYPED:
        return f"{detail >> 4}/{detail & 15}"  # class and subclass, as tokens are written down
    return ""


_REASONED = (
    events.TRIP_ARMED,
    events.TRIP_WITHDRAWN,
    events.RELAY_OPENED,
    events.RELAY_CLOSED,
    events.HOLD_SET,
    events.HOLD_RELEASED,
)

INTERVALS = Kind(batches.KIND_INTERVALS, "interval", INTERVAL_COLUMNS, _interval)
EVENTS = Kind(batches.KIND_EVENTS, "event", EVENT_COLUMNS, event_row)


async def intervals(session: Session, given: argparse.Namespace) -> int:
    """The interval records."""
    return await _read(session, given, INTERVALS)


async def event_log(session: Session, given: argparse.Namespace) -> int:
    """The event log."""
    return await _read(session, given, EVENTS)


async def _read(session: Session, given: argparse.Namespace, kind: Kind) -> int:
    key = mac_key(given.key_file)
    hot = await session.meter.block(registers.HOT)
    oldest, newest = hot.number(f"{kind.name}_oldest"), hot.number(f"{kind.name}_newest")
    if not newest:
        session.say("no_records")
        return DONE
    first = given.first if given.first is not None else max(oldest, newest + 1 - (given.count or LAST))
    asked = first + given.count - 1 if given.count else newest
    if first < oldest or asked > newest:
        session.say("held", oldest=oldest, newest=newest, first=first, last=asked)
    walk = Walk(kind.kind, first, min(asked, newest), key)
    with writer_of(session, given.csv, kind.columns) as (writer, code_of):
        async for raw in walk.run(session):
            writer.writerow(kind.row_of(code_of, raw))
    if given.csv is not None:
        session.say("written", file=given.csv)
    return _conclude(session, walk)


@contextmanager
def writer_of(session: Session, path: Path | None, columns: tuple[str, ...]) -> Iterator[tuple[Writer, CodeOf]]:
    """Where rows go, and the names of codes there: words on the screen, names in a file. What came is kept when the
    line gives out."""
    if path is not None:
        try:
            file = path.open("x", encoding="utf-8", newline="")
        except OSError as error:
            raise UsageError(f"--csv: {path} cannot be made anew ({error.strerror})") from error
        with file:
            writer = csv.writer(file)
            writer.writerow(columns)
            yield writer, lambda _, name: name
        return
    rows = _Rows()
    rows.writerow([session.words.column(name) for name in columns])
    try:
        yield rows, session.words.code
    finally:
        print("\n".join(values.table(rows.kept)))


class _Rows:
    """Rows kept for a table."""

    def __init__(self) -> None:
        self.kept: list[Row] = []

    def writerow(self, row: Row, /) -> None:
        self.kept.append(row)


def _conclude(session: Session, walk: Walk) -> int:
    for first, last in walk.gaps:
        session.say("gap", first=first, last=last)
    missing = sum(last - first + 1 for first, last in walk.gaps)
    if missing:
        session.say("counted", count=walk.count, missing=missing)
    elif walk.count:
        session.say("whole", count=walk.count, first=walk.first, last=walk.last)
    if walk.key is None:
        session.say("unchecked")
    elif walk.forged:
        session.say("mac_wrong", wrong=walk.forged, count=walk.batches)
    else:
        session.say("mac_genuine", count=walk.batches)
    return NOT_SO if missing or walk.forged or not walk.count else DONE
