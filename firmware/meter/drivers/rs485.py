"""A half-duplex RS-485 line on a UART with a driver-enable pin, as `shell/rtu.py` wants a link.

Source: MODBUS over Serial Line V1.02, 2.5.1 (silences); TI SLLA383, "RS-485 Basics" (driver enable). The receiver is
tied to the driver enable (RE to DE), so that what is sent is not heard; where it is not, what was heard while sending
is thrown away.

The driver must be enabled until the last stop bit has left, and not for much longer: the next talker may begin 3.5
characters later. `txdone()` looks at the queue, and on some ports it is early by the character that is being shifted
out; so one and a quarter characters more are waited for after it, in place, as another task could take longer than a
silence.
"""

from meter.shell.pause import sleep_ms
from meterlink.modbus import silences_us

_IN_PLACE_US = 2_500  # the last part of a reply that is waited for without other tasks
_POLL_US = 50
_LOST_US = 200_000  # a UART that has not finished so long after it should have never will


class Rs485:
    """uart: with `any`, `readinto`, `write`, `txdone` and a transmit buffer of 256 bytes · enable(level): the driver ·
    baud, bits: of a character, start and stop bits included (8E1: 11) · time: with `ticks_us`, `ticks_diff` and
    `sleep_us`, as the port's module `time`.

    silence_ms, turnaround_ms: t3.5 · lost: replies that the UART did not finish.
    """

    def __init__(self, uart, enable, baud: int, time, bits: int = 11, sleep_ms=sleep_ms) -> None:
        self._uart = uart
        self._enable = enable
        self._time = time
        self._sleep_ms = sleep_ms  # other tasks run meanwhile
        self._character_us = (bits * 1_000_000 + baud - 1) // baud
        self.silence_ms = self.turnaround_ms = (silences_us(baud)[1] + 999) // 1000
        self.lost = 0
        enable(0)

    async def readinto(self, buf: bytearray, wait_ms: int) -> int:
        """See shell/rtu.py. What came while other tasks ran counts, however late it is looked for."""
        uart, time = self._uart, self._time
        since_us = time.ticks_us()
        await self._sleep_ms(0)
        while not uart.any():
            if 0 <= wait_ms and wait_ms * 1000 <= time.ticks_diff(time.ticks_us(), since_us):
                if uart.any():
                    break
                return 0
            await self._sleep_ms(1)
        return uart.readinto(buf) or 0

    async def write(self, buf: "bytes | memoryview") -> None:
        """Enable, send, and disable once the last stop bit has left."""
        uart, time = self._uart, self._time
        size = len(buf)
        self._enable(1)
        try:
            since_us = time.ticks_us()
            uart.write(buf)
            whole_us = size * self._character_us
            await self._until(since_us, whole_us - self._character_us)
            while not uart.txdone():
                if time.ticks_diff(time.ticks_us(), since_us) > whole_us + _LOST_US:
                    self.lost += 1
                    return
                time.sleep_us(_POLL_US)
            # What has left the queue may still be on its way out: one character, and a quarter for the clocks.
            await self._until(time.ticks_us(), self._character_us * 5 // 4)
        finally:
            self._enable(0)
        while uart.any():
            uart.read(uart.any())

    def close(self) -> None:
        """Lets go of the line. The port is set anew by the next one that is made on it."""
        self._enable(0)

    async def _until(self, since_us: int, wait_us: int) -> None:
        """Wait for so long after a moment, the last part in place."""
        time = self._time
        while True:
            left_us = wait_us - time.ticks_diff(time.ticks_us(), since_us)
            if left_us <= _IN_PLACE_US:
                break
            await self._sleep_ms(1)
        if left_us > 0:
            time.sleep_us(left_us)
