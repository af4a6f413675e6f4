"""How a unit on a line answered: counts, and a histogram of answer times that can be added up.

The time is the one between the end of the request and the begin of the answer as far as the master can tell: what both
take on the wire is not in it. Buckets are half octaves from 1 ms on, so a quantile is right within a factor of 1.42.
"""

import struct
from dataclasses import dataclass, field

BUCKETS = 28  # 1 ms · sqrt(2)^28 = 16 s
_BOUNDS_US = tuple(int(1000 * 2 ** (number / 2)) for number in range(1, BUCKETS + 1))  # constants, not energy or money
_PACKED = struct.Struct(f">{BUCKETS}I")

# What is counted, in the order of the columns of `line_quality`.
COUNTS = ("sent", "answered", "refused", "silent", "garbled", "foreign", "late", "unreachable", "skipped")


class Times:
    """A histogram of times."""

    def __init__(self, packed: bytes = bytes(_PACKED.size)) -> None:
        self._counts = list(_PACKED.unpack(packed))

    def add(self, time_us: int) -> None:
        """One time more."""
        at = next((number for number, bound_us in enumerate(_BOUNDS_US) if time_us <= bound_us), BUCKETS - 1)
        self._counts[at] += 1

    def add_all(self, other: "Times") -> None:
        """All times of another one."""
        self._counts = [
            min(mine + theirs, 0xFFFFFFFF) for mine, theirs in zip(self._counts, other._counts, strict=True)
        ]

    def quantile_ms(self, percent: int) -> int | None:
        """The upper end of the bucket in which so many of a hundred times are reached; None where there are none."""
        total = sum(self._counts)
        wanted = -(-total * percent // 100)
        reached = 0
        for count, bound_us in zip(self._counts, _BOUNDS_US, strict=True):
            reached += count
            if total and reached >= wanted:
                return -(-bound_us // 1000)
        return None

    def packed(self) -> bytes:
        """As it is kept."""
        return _PACKED.pack(*self._counts)


@dataclass
class Counts:
    """Of one unit on one line, over some time."""

    sent: int = 0
    answered: int = 0  # as asked, exceptions not included
    refused: int = 0  # answered with an exception
    silent: int = 0
    garbled: int = 0  # something came, and no frame: a CRC was wrong, or bytes are missing
    foreign: int = 0  # a frame that does not answer the question
    late: int = 0  # something came after its time was over
    unreachable: int = 0  # the line could not be opened, or broke
    skipped: int = 0  # not asked, since it had not answered before
    times: Times = field(default_factory=Times)

    def add_all(self, other: "Counts") -> None:
        """What another one counted."""
        for name in COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.times.add_all(other.times)
