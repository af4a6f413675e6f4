"""Latches: what must not pass unseen stays shown until a signed order clears it, over any number of restarts.

Each keeps the number of the event that set it last, so that an order clears what its author can have seen.
"""

import struct

from meter.store import KEY_LATCHES
from meterlink import events, states

OF_EVENT = {
    events.FLASH_DAMAGED: states.LATCH_FLASH_DAMAGED,
    events.RELAY_BYPASSED: states.LATCH_BYPASSED,
    events.COVER_OPENED: states.LATCH_COVER,
    events.TERMINAL_COVER_OPENED: states.LATCH_TERMINAL_COVER,
    events.CURRENT_REVERSED: states.LATCH_REVERSED,
    events.MAGNET_FOUND: states.LATCH_MAGNET,
    events.NEUTRAL_MISSING: states.LATCH_NEUTRAL_MISSING,
    events.PULSES_MISSING: states.LATCH_METERING,
    events.PULSES_FEW: states.LATCH_METERING,
    events.PULSES_UNEXPLAINED: states.LATCH_METERING,
}

MAX_UNCLEAN = 6  # starts without a warned stop before, in so many seconds
UNCLEAN_S = 3600

_COUNT = 16
_STATE = ">H16I"
LENGTH = 66


class Latches:
    """word: bits states.LATCH_* · a kept part (see `core.Meter`)."""

    key = KEY_LATCHES

    def __init__(self) -> None:
        self.word = 0
        self.fresh = False
        self._since = [0] * _COUNT

    def set(self, bit: int, event: int) -> None:
        """Latch a bit; `event`: the number of the event that tells why."""
        self.word |= 1 << bit
        self._since[bit] = event
        self.fresh = True

    def clear(self, bits: int, up_to_event: int) -> int:
        """Clear those of `bits` that were set no later than by that event; which they were."""
        gone = 0
        for bit in range(_COUNT):
            if self.word & bits & 1 << bit and self._since[bit] <= up_to_event:
                gone |= 1 << bit
        self.word &= ~gone
        self.fresh = True
        return gone

    def state(self) -> tuple:
        """For `restore`."""
        return self.word, self.fresh, list(self._since)

    def restore(self, state: tuple) -> None:
        """Back to a `state`."""
        self.word, self.fresh, self._since = state

    def pack(self) -> bytes:
        """For the journal."""
        return struct.pack(_STATE, self.word, *self._since)

    def unpack(self, raw: bytes) -> None:
        """From the journal."""
        f = struct.unpack(_STATE, raw)
        self.word, self._since = f[0], list(f[1:])


def unclean_start(before: bytes, now_s: int) -> "tuple[bytes, bool]":
    """(times of the last unclean starts with this one, whether they are too many for `UNCLEAN_S`)."""
    times = before[-4 * MAX_UNCLEAN :] + struct.pack(">I", now_s)
    if len(times) <= 4 * MAX_UNCLEAN:
        return times, False
    return times, 0 <= now_s - struct.unpack_from(">I", times, 0)[0] <= UNCLEAN_S
