"""Time, pins and a UART that exist in numbers only: what a port's `time` and `machine` would give."""

import asyncio


class Time:
    """`time` of a port, moved by whoever waits. held_ms: what other tasks take at each turn of the loop, one after the
    other and over again."""

    def __init__(self, held_ms=(0,)):
        self.now_us = 0
        self._held_ms = held_ms
        self._turn = 0

    def ticks_us(self):
        self.now_us += 3  # a program needs time to look
        return self.now_us & 0x3FFFFFFF

    def ticks_diff(self, later, earlier):
        return ((later - earlier + 0x20000000) & 0x3FFFFFFF) - 0x20000000

    def sleep_us(self, us):
        self.now_us += us

    async def sleep_ms(self, ms):
        """In place of `meter.shell.pause.sleep_ms`."""
        self._turn += 1
        self.now_us += 1000 * (ms + self._held_ms[self._turn % len(self._held_ms)])
        await asyncio.sleep(0)


class Pin:
    """A pin with its history: [(microsecond, level)]. Called with a level it is an output, without an input."""

    def __init__(self, time=None, level=0):
        self.time = time
        self.level = level
        self.history = []

    def __call__(self, level=None):
        if level is None:
            return self.level
        if level != self.level:
            self.history.append((self.time.now_us if self.time else 0, level))
        self.level = level

    value = __call__


class Uart:
    """A UART with its shift register: characters leave one after the other at `baud`, 11 bits each.

    early: `txdone` looks at the queue alone, so it is true while the last character is on its way · latency_us: until
    the first start bit · gaps_us: pauses between characters, as where the queue is refilled late.
    """

    def __init__(self, time, baud, early=False, latency_us=0, gap_us=0):
        self.time = time
        self.character_us = (11_000_000 + baud - 1) // baud
        self.early = early
        self.latency_us = latency_us
        self.gap_us = gap_us
        self.sent = []  # (first start bit, end of the last stop bit, bytes)
        self._arriving = []  # (microsecond, byte)

    def write(self, buf):
        begin = self.time.now_us + self.latency_us
        end = begin + len(buf) * self.character_us + (len(buf) - 1) * self.gap_us
        self.sent.append((begin, end, bytes(buf)))
        return len(buf)

    def txdone(self):
        if not self.sent:
            return True
        return self.time.now_us >= self.sent[-1][1] - (self.character_us if self.early else 0)

    def arrive(self, data, at_us):
        """Characters that somebody sends from a moment on."""
        for number, byte in enumerate(data):
            self._arriving.append((at_us + (number + 1) * self.character_us, byte))

    def any(self):
        return len([1 for at_us, _ in self._arriving if at_us <= self.time.now_us])

    def read(self, count):
        found = [byte for at_us, byte in self._arriving if at_us <= self.time.now_us][:count]
        del self._arriving[: len(found)]
        return bytes(found)

    def readinto(self, buf):
        found = self.read(len(buf))
        buf[: len(found)] = found
        return len(found)
