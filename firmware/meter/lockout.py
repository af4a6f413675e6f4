"""The one lock-out for typed tokens that are wrong: guesses cost more and more time, whatever happens to the power.

From the wrong entry number FREE on each locks for twice as long as the one before it. Powered time counts. Nothing on a
network leads here.
"""

import struct

FREE = 3
FIRST_S = 10
LONGEST_S = 1280
_STATE = ">HH"
LENGTH = 4


class Lockout:
    """wrong: wrong entries in a row, at most 65535 · left_s: seconds until the next entry is looked at."""

    def __init__(self) -> None:
        self.wrong = 0
        self.left_s = 0

    def step(self, elapsed_s: int) -> None:
        """Let powered time pass."""
        self.left_s = max(0, self.left_s - elapsed_s)

    def count(self) -> None:
        """One more wrong entry."""
        self.wrong = min(self.wrong + 1, 0xFFFF)
        if self.wrong >= FREE:
            self.left_s = min(FIRST_S << min(self.wrong - FREE, 15), LONGEST_S)

    def reset(self) -> None:
        """A token was accepted."""
        self.wrong = self.left_s = 0

    def pack(self) -> bytes:
        """LENGTH bytes for the journal."""
        return struct.pack(_STATE, self.wrong, self.left_s)

    def unpack(self, raw: bytes) -> None:
        """Take them from the front of a value of the journal."""
        self.wrong, self.left_s = struct.unpack_from(_STATE, raw, 0)
