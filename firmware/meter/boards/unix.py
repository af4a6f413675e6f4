"""The board of the unix port: flash in a file, everything physical from a *world* at the other end of a socket.

The world (the simulator) moves time: for each virtual second it sends one tick and waits for the answer, so a
simulated meter may run faster or slower than real time and never misses a second.

    world -> meter   "T" + ">IIBQQIHiBBhHhH": mono_s, rtc unix_s, rtc valid, import count, export count, load_ma,
                     voltage_dv, power_w (negative: exported), contact, keys (bit 0: reconnection key pressed),
                     temperature_dc, inputs (ports.INPUT_*), power factor 1/1000, frequency 1/100 Hz
    meter -> world   any number of "C" + close 1 | "R" + unix_s 4 (RTC set) | "W" + witness 8 | "I" + what 1, seconds 2,
                     then "A" + mono_s 4, heap used 4, heap peak 4 (bytes)
"""

import os
import struct

from meter.ports import Board

_TICK = ">IIBQQIHiBBhHhH"
TICK_LENGTH = 1 + 45

KEY_RECONNECT = 1
RESTART = 85  # exit code, see `unix_boot`


class UnixBoard(Board):
    """See `meter.ports`. Holds the last tick; what the firmware does to it is gathered for the answer."""

    board_class = 1
    name = "unix"

    def __init__(self, flash, witness: int) -> None:
        super().__init__(flash)
        self.mono_s = 0
        self.keys = 0
        self._answer = b""
        self._witness = witness
        self._tick = (0, 0, 0, 0, 0, 0, 0xFFFF, 0, 2, 0, 250, 0, 0, 0)

    def tick(self, message: bytes) -> None:
        """Take a tick of `TICK_LENGTH` bytes; ValueError where it is none."""
        if message[0] != 84:
            raise ValueError("world: byte {} given, a tick (84) expected".format(message[0]))
        self._tick = struct.unpack_from(_TICK, message, 1)
        self.mono_s = self._tick[0]
        self.keys |= self._tick[9]

    def take_answer(self, heap_used: int, heap_peak: int) -> bytes:
        """All that the firmware did in this second, closed by the acknowledgement of the tick."""
        answer = self._answer + b"A" + struct.pack(">III", self.mono_s, heap_used, heap_peak)
        self._answer = b""
        return answer

    def take_reconnect_key(self) -> bool:
        """Whether the reconnection key was pressed since the last call."""
        pressed = self.keys & KEY_RECONNECT
        self.keys &= ~KEY_RECONNECT
        return bool(pressed)

    def pulses(self) -> "tuple[int, int]":
        return self._tick[3], self._tick[4]

    def contact(self) -> int:
        return self._tick[8]

    def load_ma(self) -> int:
        return self._tick[5]

    def voltage_dv(self) -> int:
        return self._tick[6]

    def power_w(self) -> int:
        return abs(self._tick[7])

    def quantities(self) -> "tuple[tuple[int, ...], ...]":
        tick = self._tick
        return ((tick[6], tick[5], tick[7], tick[12], tick[13]),)

    def inputs(self) -> int:
        return self._tick[11]

    def temperature_dc(self) -> int:
        return self._tick[10]

    def coil(self, close: bool) -> None:
        self._answer += b"C\x01" if close else b"C\x00"

    def rtc(self) -> "tuple[int, bool]":
        return self._tick[1], bool(self._tick[2])

    def set_rtc(self, unix_s: int) -> None:
        self._answer += b"R" + struct.pack(">I", unix_s)
        self._tick = self._tick[:1] + (unix_s, 1) + self._tick[3:]

    def entropy(self, count: int) -> bytes:
        return os.urandom(count)

    def witness(self) -> int:
        return self._witness

    def set_witness(self, value: int) -> None:
        self._witness = value
        self._answer += b"W" + struct.pack(">Q", value)

    def pulse_out(self, count: int) -> None:
        """The world sees the energy itself."""

    def indicate(self, what: int, seconds: int) -> None:
        self._answer += b"I" + struct.pack(">BH", what, seconds)

    def restart(self) -> None:
        """Leave the process to whoever starts it again (`unix_boot`)."""
        raise SystemExit(RESTART)
