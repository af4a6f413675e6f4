"""Interval records: which energy belongs to which period.

Periods start at multiples of their length in UTC. Energy is in exactly one record: a record's deltas run from the
registers at the end of the one before, so the sum of all deltas is the register whatever the clock did.

- Power fails and comes back within a period: the period goes on (FLAG_POWER_FAILED). Comes back later: the old period
  ends where it stood, short; a new one begins. Periods wholly without power have no record, so that a long outage
  does not push real ones out of the ring.
- The clock is moved within the period: it goes on (FLAG_CLOCK_CHANGED). Moved out of it: the old one ends, short, and
  one begins at the new time; after a step back two records may name the same start, told apart by their sequence
  numbers.
- The step was late (several boundaries passed at once): each period gets its record.

A record is decided in one journal commit, together with the registers that it states and the start of the next period;
only then it goes to the ring. After a power cut between the two, the start finds it in the journal and appends it.
"""

import struct

from meterlink import records

_STATE = ">IQQI"
_STATE_LENGTH = 24


class Profile:
    """start_s: of the open period, 0 = none yet · flags: records.FLAG_* of it · seq: of the last record made ·
    record: that record, 24 bytes, or b"" before the first."""

    def __init__(self) -> None:
        self.minutes = 15
        self.start_s = 0
        self.flags = 0
        self.seq = 0
        self.record = b""
        self._import_wh = 0
        self._export_wh = 0

    def end_s(self) -> int:
        """The first second after the open period."""
        return self.start_s + self.minutes * 60

    def holds(self, unix_s: int) -> bool:
        """Whether a second belongs to the open period."""
        return self.start_s <= unix_s < self.end_s()

    def open(self, unix_s: int, import_wh: int, export_wh: int, flags: int) -> None:
        """Begin the period that holds `unix_s`; it is short where that is not its first second."""
        self.start_s = unix_s - unix_s % (self.minutes * 60)
        self.flags = flags if unix_s == self.start_s else flags | records.FLAG_SHORT
        self._import_wh = import_wh
        self._export_wh = export_wh

    def close(self, unix_s: int, import_wh: int, export_wh: int, flags: int, next_flags: int) -> None:
        """Make the record of the open period, with `flags` added, and begin the one that holds `unix_s`."""
        self.seq += 1
        self.record = records.pack_interval(
            self.seq,
            self.start_s,
            import_wh,
            export_wh,
            import_wh - self._import_wh,
            export_wh - self._export_wh,
            self.minutes,
            self.flags | flags,
        )
        self.open(unix_s, import_wh, export_wh, next_flags)

    def follow(self, record: bytes, import_wh: int, export_wh: int) -> None:
        """What the journal held of the open period was lost: it begins where the last record ends, whose registers are
        the low 32 bits of what they were, and those of now are given."""
        f = records.unpack_interval(record)
        self.seq, self.record = f[0], record
        self.start_s = f[1] + f[6] * 60
        self._import_wh = import_wh - (import_wh - f[2] & 0xFFFFFFFF)
        self._export_wh = export_wh - (export_wh - f[3] & 0xFFFFFFFF)

    def state(self) -> tuple:
        """For `restore`."""
        return self.start_s, self.flags, self.seq, self.record, self._import_wh, self._export_wh

    def restore(self, state: tuple) -> None:
        """Back to a `state`: the close could not be stored."""
        self.start_s, self.flags, self.seq, self.record, self._import_wh, self._export_wh = state

    def pack(self) -> bytes:
        """The open period and the last record for the journal. (The flags are in the checkpoint: they change within
        it.)"""
        return struct.pack(_STATE, self.start_s, self._import_wh, self._export_wh, self.seq) + self.record

    def unpack(self, raw: bytes) -> None:
        """Take them from the journal."""
        self.start_s, self._import_wh, self._export_wh, self.seq = struct.unpack_from(_STATE, raw, 0)
        self.record = raw[_STATE_LENGTH:]
