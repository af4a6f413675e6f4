"""Two-coil latching relay on the ESP32: each coil's pulse is sent by an RMT channel, which ends it by itself.

Source: Espressif, "ESP32-S3 Technical Reference Manual", chapter "Remote Control Peripheral": a transmitter plays
levels of up to 32767 ticks and returns to its idle level without the processor; MicroPython 1.29, `esp32.RMT`.
A program that hangs, a flash erase or a long task makes no pulse longer; a reset takes the pins to their pull-downs.
"""

import esp32

TICK_HZ = 400_000
PULSE_MAX = 32_767
MAX_PULSE_MS = PULSE_MAX * 1000 // TICK_HZ


class TwoCoils:
    """close_pin, open_pin: to the coil drivers, high = current · pulse_ms: 1..81, as the relay's data sheet says.

    refused: pulses that were not begun because one was still running.
    """

    def __init__(self, close_pin, open_pin, pulse_ms: int) -> None:
        if not 1 <= pulse_ms <= MAX_PULSE_MS:
            raise ValueError("pulse_ms: {} given, 1..{} expected".format(pulse_ms, MAX_PULSE_MS))
        self._ticks = pulse_ms * TICK_HZ // 1000
        self._close = esp32.RMT(pin=close_pin, resolution_hz=TICK_HZ, idle_level=False)
        self._open = esp32.RMT(pin=open_pin, resolution_hz=TICK_HZ, idle_level=False)
        self.refused = 0

    def coil(self, close: bool) -> None:
        """Begin a pulse and return at once. While one runs nothing is begun: never both coils, never a longer pulse.
        The relay then does not follow, and is told again."""
        if self._close.wait_done(timeout=0) and self._open.wait_done(timeout=0):
            (self._close if close else self._open).write_pulses((self._ticks,), True)
        else:
            self.refused += 1
