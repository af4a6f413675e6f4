"""The test output on the ESP32: an RMT channel plays a second's pulses while the program does something else.

Source: as in `relay_esp32.py`. Pulses of metering outputs: EN 62053-31, at least 30 ms where there is room for them.
"""

import esp32

TICK_HZ = 400_000
PULSE_MAX = 32_767  # ticks of one level; a longer one is made of several
PULSE_US = 30_000
SECOND_US = 950_000  # what is given in a second ends before the next one comes


class PulseOut:
    """`pin`: high = the LED is lit and the output is closed."""

    def __init__(self, pin) -> None:
        self._channel = esp32.RMT(pin=pin, resolution_hz=TICK_HZ, idle_level=False)
        self._waiting = 0

    def give(self, count: int) -> None:
        """So many pulses, evenly over the next second; what the channel has no time for comes a second later."""
        self._waiting += count
        if not self._waiting or not self._channel.wait_done(timeout=0):
            return
        period = SECOND_US // self._waiting * TICK_HZ // 1_000_000
        high = min(period // 2, PULSE_US * TICK_HZ // 1_000_000)
        ticks: "list[int]" = []
        levels: "list[bool]" = []
        for _ in range(self._waiting):
            for length, level in ((high, True), (period - high, False)):
                while length:
                    part = min(length, PULSE_MAX)
                    ticks.append(part)
                    levels.append(level)
                    length -= part
        self._waiting = 0
        self._channel.write_pulses(tuple(ticks), tuple(levels))
