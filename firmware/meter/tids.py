"""Which typed tokens were taken: the identifiers (TIDs) of the newest ones under the decoder key in force.

A TID below the oldest remembered, once all places are taken, counts as old: the meter cannot tell any more. Tokens may
be typed in any order within what is remembered. (FIELD of 24 bits, IEC 62055-41 6.3.5.)
"""

import struct

PLACES = 50
_GROUP = 10  # places that the journal keeps under one key, so that a commit carries few of them
GROUPS = PLACES // _GROUP

UNKNOWN = 0
TYPED = 1  # used by typing
ORDERED = 2  # marked by an order that replaces it
OLD = 3


class Tids:
    """words: TID << 1 | marked by order, at most PLACES, in no order · floor: TIDs below it are old, whatever is
    remembered."""

    def __init__(self) -> None:
        self.words: "list[int]" = []
        self.floor = 0

    def state_of(self, tid: int) -> int:
        """UNKNOWN, TYPED, ORDERED or OLD."""
        if tid << 1 in self.words:
            return TYPED
        if tid << 1 | 1 in self.words:
            return ORDERED
        full = len(self.words) == PLACES
        return OLD if tid < self.floor or (full and tid << 1 < min(self.words)) else UNKNOWN

    def add(self, tid: int, by_order: int) -> None:
        """Remember an UNKNOWN one; the oldest gives way. by_order: 0 or 1."""
        word = tid << 1 | by_order
        if len(self.words) < PLACES:
            self.words.append(word)
        else:
            self.words[self.words.index(min(self.words))] = word

    def newest(self) -> int:
        """The highest TID ever remembered, -1 for none. It never gives way."""
        return max(self.words) >> 1 if self.words else -1

    def pack(self, group: int) -> bytes:
        """One of GROUPS for the journal."""
        words = self.words[group * _GROUP : (group + 1) * _GROUP]
        return struct.pack(">{}I".format(len(words)), *words)

    def unpack(self, groups: "list[bytes]") -> None:
        """Take all groups from the journal, in their order."""
        raw = b"".join(groups)
        self.words = list(struct.unpack(">{}I".format(len(raw) // 4), raw))
