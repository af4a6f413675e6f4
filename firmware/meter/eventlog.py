"""What waits to be written to the logs, as it belongs to a decision: it is committed with it and then goes to its ring.

Events and records get their number only when they are written: a number names one content for ever.

What anybody can cause (`events.NUISANCE`) goes to a tiny ring of its own, and no more of it than NUISANCE_BURST at once
and then one every NUISANCE_S: nobody can wear the flash by it or push out what matters. How many were left out is told
by the next one that is written.
"""

import struct

from meterlink import events, records

MAX_WAITING = 10  # what fits into one commit besides the largest order
MAX_RECORDS = 9  # likewise: the four sales that an order may list, and what was sold before each and behind them

NUISANCE_BURST = 10
NUISANCE_S = 600


class EventLog:
    """newest: number of the last event written (0: none), whether the ring still holds it or not."""

    def __init__(self) -> None:
        self.newest = 0
        self._waiting: "list[tuple[int, int, int, int]]" = []
        self._records: "list[tuple[int, tuple]]" = []

    def add(self, time_s: int, code: int, argument: int = 0, detail: int = 0) -> None:
        """Note an event. `argument` is held within 32 bits, `detail` within 16. More than MAX_WAITING are not kept."""
        if len(self._waiting) < MAX_WAITING:
            argument = max(-0x80000000, min(0x7FFFFFFF, argument))
            self._waiting.append((time_s, code, argument, detail & 0xFFFF))

    def record(self, kind: int, values: tuple) -> None:
        """Note a record of records.KIND_*: its values from the time on. More than MAX_RECORDS are not kept."""
        if len(self._records) < MAX_RECORDS:
            self._records.append((kind, values))

    def last(self) -> int:
        """The number that the event noted last will have."""
        return self.newest + len(self._waiting)

    def mark(self) -> "tuple[int, int]":
        """Where the waiting events and records end, for `forget`."""
        return len(self._waiting), len(self._records)

    def forget(self, mark: "tuple[int, int]") -> None:
        """Drop what was noted after a `mark`: it did not come about."""
        self._waiting = self._waiting[: mark[0]]
        self._records = self._records[: mark[1]]

    def waiting(self) -> bool:
        """Whether there are events to write."""
        return bool(self._waiting)

    def pack(self, boot: int, import_wh: int) -> bytes:
        """The records of the waiting events, one behind the other."""
        out = b""
        seq = self.newest
        for time_s, code, argument, detail in self._waiting:
            seq += 1
            out += records.pack_event(seq, time_s, code, boot, import_wh, argument, detail)
        return out

    def pack_records(self, newest: "dict[int, int]") -> "dict[int, bytes]":
        """kind -> the records that wait, one behind the other, numbered on from `newest` of their kind."""
        packed: "dict[int, bytes]" = {}
        seqs = dict(newest)
        for kind, values in self._records:
            seqs[kind] += 1
            packed[kind] = packed.get(kind, b"") + records.pack(kind, seqs[kind], *values)
        return packed

    def written(self) -> None:
        """The packed events are durable."""
        self.newest += len(self._waiting)
        self._waiting = []

    def records_written(self) -> None:
        """So are the packed records."""
        self._records = []


class Nuisance:
    """What anybody can cause, within its bounds. newest: number of the last one written."""

    def __init__(self) -> None:
        self.newest = 0
        self._waiting: "list[tuple[int, int, int, int]]" = []
        self._left_s = NUISANCE_BURST * NUISANCE_S  # each event that is written takes NUISANCE_S of it
        self._missed = 0

    def step(self, elapsed_s: int) -> None:
        """Let time pass."""
        self._left_s = min(self._left_s + elapsed_s, NUISANCE_BURST * NUISANCE_S)

    def add(self, time_s: int, code: int, argument: int, detail: int) -> None:
        """Note an event, or only that there was one."""
        if self._left_s < NUISANCE_S or len(self._waiting) >= MAX_WAITING:
            self._missed += 1
            return
        self._left_s -= NUISANCE_S
        if self._missed:
            self._waiting.append((time_s, events.NOT_LOGGED, min(self._missed, 0x7FFFFFFF), 0))
            self._missed = 0
        self._waiting.append((time_s, code, argument, detail & 0xFFFF))

    def take(self, boot: int, import_wh: int) -> "list[tuple[int, bytes]]":
        """(number, record) of what waits."""
        found = []
        for time_s, code, argument, detail in self._waiting:
            self.newest += 1
            record = records.pack_event(self.newest, time_s, code, boot, import_wh, argument, detail)
            found.append((self.newest, record))
        self._waiting = []
        return found


def split(raw: bytes, length: int = records.RECORD_LENGTH) -> "list[tuple[int, bytes]]":
    """(number, record) of records that stand one behind the other."""
    found = []
    for at in range(0, len(raw), length):
        found.append((struct.unpack_from(">I", raw, at)[0], raw[at : at + length]))
    return found
