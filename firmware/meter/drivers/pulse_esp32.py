"""Pulses of a metering chip or of another meter, counted by the ESP32's pulse counter while the program does something
else.

Source: Espressif, "ESP32-S3 Technical Reference Manual", chapter "Pulse Count Controller": a signed counter of 16 bits
that starts at 0 again when it reaches its upper limit; MicroPython 1.29, `esp32.PCNT`.

`machine.Counter` counts the turns of that circle in an interrupt handler, which a flash erase holds up. Here nobody
counts them: 80 pulses a second are the most that a meter makes, and it is read at least every few minutes.
"""

import esp32

CIRCLE = 32_000
FILTER = 1023  # ticks of 80 MHz, 12.8 us: shorter levels are noise; the longest that the unit can have


class PulseInput:
    """Rising edges at `pin` since the start. unit: of the pulse counter, 0..3."""

    def __init__(self, unit: int, pin) -> None:
        self._counter = esp32.PCNT(
            unit, pin=pin, rising=esp32.PCNT.INCREMENT, falling=esp32.PCNT.IGNORE, max=CIRCLE, filter=FILTER
        )
        self._counter.start()
        self._last = 0
        self._total = 0

    def count(self) -> int:
        """All pulses; to be read before `CIRCLE` more have come."""
        now = self._counter.value()
        self._total += (now - self._last) % CIRCLE
        self._last = now
        return self._total
