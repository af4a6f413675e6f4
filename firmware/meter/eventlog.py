"""Events waiting to be written, as they belong to a decision: they are committed with it and then go to the ring.

Records get their number, and the import register of that commit, only when they are written: a number names one content
for ever.
"""

import struct

from meterlink import records

MAX_WAITING = 6  # what fits into one commit besides the largest order


class EventLog:
    """newest: number of the last event written (0: none), whether the ring still holds it or not."""

    def __init__(self) -> None:
        self.newest = 0
        self._waiting: "list[tuple[int, int, int, int]]" = []

    def add(self, time_s: int, code: int, argument: int = 0, detail: int = 0) -> None:
        """Note an event. `argument` is held within 32 bits, `detail` within 16. More than MAX_WAITING are not kept."""
        if len(self._waiting) < MAX_WAITING:
            argument = max(-0x80000000, min(0x7FFFFFFF, argument))
            self._waiting.append((time_s, code, argument, detail & 0xFFFF))

    def mark(self) -> int:
        """Where the waiting events end, for `forget`."""
        return len(self._waiting)

    def forget(self, mark: int) -> None:
        """Drop what was noted after a `mark`: it did not come about."""
        self._waiting = self._waiting[:mark]

    def waiting(self) -> bool:
        """Whether there is anything to write."""
        return bool(self._waiting)

    def pack(self, boot: int, import_wh: int) -> bytes:
        """The records of the waiting events, one behind the other."""
        out = b""
        seq = self.newest
        for time_s, code, argument, detail in self._waiting:
            seq += 1
            out += records.pack_event(seq, time_s, code, boot, import_wh, argument, detail)
        return out

    def written(self) -> None:
        """The packed records are durable."""
        self.newest += len(self._waiting)
        self._waiting = []


def split(raw: bytes) -> "list[tuple[int, bytes]]":
    """(number, record) of records that stand one behind the other."""
    found = []
    for at in range(0, len(raw), records.RECORD_LENGTH):
        found.append((struct.unpack_from(">I", raw, at)[0], raw[at : at + records.RECORD_LENGTH]))
    return found
