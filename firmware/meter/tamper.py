"""Covers, magnet and neutral: what somebody did to the meter becomes an event, and stays latched until a signed clear.

What stood open when power failed is kept, so that a start does not tell it again, and tells what was opened in the
dark.
"""

import struct

from meter.ports import INPUT_COVER, INPUT_MAGNET, INPUT_NEUTRAL_MISSING, INPUT_SEAL_OPEN, INPUT_TERMINAL_COVER
from meter.store import KEY_TAMPER
from meterlink import events

# input, event when it comes, event when it goes
_WATCHED = (
    (INPUT_COVER, events.COVER_OPENED, events.COVER_CLOSED),
    (INPUT_TERMINAL_COVER, events.TERMINAL_COVER_OPENED, events.TERMINAL_COVER_CLOSED),
    (INPUT_MAGNET, events.MAGNET_FOUND, events.MAGNET_GONE),
    (INPUT_NEUTRAL_MISSING, events.NEUTRAL_MISSING, events.NEUTRAL_BACK),
    (INPUT_SEAL_OPEN, events.SEAL_OPENED, events.SEAL_CLOSED),
)
SETTLE_S = 2  # an input that stands for less is bounce or a disturbance
_STATE = ">H"


class Tamper:
    """word: bits ports.INPUT_* as they were last told · a kept part (see `core.Meter`)."""

    key = KEY_TAMPER

    def __init__(self, note) -> None:
        self._note = note  # (code)
        self.word = 0
        self.fresh = False
        self._changed_s = 0  # for how long the inputs have differed from what was told

    def step(self, inputs: int, elapsed_s: int) -> None:
        """Take the inputs of this moment."""
        changed = 0
        for bit, _, _ in _WATCHED:
            changed |= (inputs ^ self.word) & bit
        if not changed:
            self._changed_s = 0
            return
        self._changed_s += elapsed_s
        if self._changed_s < SETTLE_S:
            return
        self._changed_s = 0
        for bit, came, went in _WATCHED:
            if changed & bit:
                self._note(came if inputs & bit else went)
        self.word ^= changed
        self.fresh = True

    def pack(self) -> bytes:
        """For the journal."""
        return struct.pack(_STATE, self.word)

    def unpack(self, raw: bytes) -> None:
        """From the journal."""
        self.word = struct.unpack(_STATE, raw)[0]
