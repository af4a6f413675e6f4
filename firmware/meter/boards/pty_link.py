"""A link (see shell/rtu.py) over a pty, on the unix port of MicroPython and on CPython.

On a pty a frame usually arrives in one piece, and its end cannot be seen by time: the system may hold the reader back
for longer than t3.5. So a request that is whole is answered at once, and only what is not (noise, frames for others, a
frame that is cut short) waits for the silence.

MicroPython's files have no non-blocking read, and a read of n bytes waits for all n. Hence one byte after each poll. A
write after a poll does not block either: while POLLOUT is set there is room for more than a frame.
"""

import asyncio
import errno
import os
import select
import sys

from meter.shell.pause import sleep_ms
from meterlink.modbus import silences_us

_FLOOR_MS = 4

MICROPYTHON = sys.implementation.name == "micropython"

if MICROPYTHON:
    from termios import setraw

    def _open(port):
        return open(port, "r+b", buffering=0)

    def _waiter(stream):
        return asyncio.StreamReader(stream).readinto

else:
    from tty import setraw

    def _open(port):
        if isinstance(port, str):
            port = os.open(port, os.O_RDWR | os.O_NOCTTY)
        return open(port, "r+b", buffering=0)

    def _waiter(stream):
        async def readinto(buf):
            loop = asyncio.get_running_loop()
            readable = asyncio.Event()
            loop.add_reader(stream, readable.set)
            try:
                await readable.wait()
            finally:
                loop.remove_reader(stream)
            return stream.readinto(buf)

        return readinto


class PtyLink:
    """One end of a pty as a line of `baud`, which decides the silence and nothing else."""

    def __init__(self, port: "str | int", baud: int = 9600, silence_ms: int = 0) -> None:
        """port: the path of a pty's slave side, or an open file descriptor of either side (it is taken over).

        silence_ms: 0 for t3.5 at that baud rate, at least 4 ms.
        """
        self._stream = _open(port)
        setraw(self._stream.fileno())
        self._wait_and_read = _waiter(self._stream)
        self._byte = bytearray(1)
        self._in = _poll(self._stream, select.POLLIN)
        self._out = _poll(self._stream, select.POLLOUT)
        self.silence_ms = silence_ms or max(_FLOOR_MS, (silences_us(baud)[1] + 999) // 1000)
        self.turnaround_ms = 0
        self.dropped = 0  # replies that nobody was there to take

    async def readinto(self, buf: bytearray, wait_ms: int) -> int:
        """See shell/rtu.py. Silence is counted in turns of the loop, so a held-back process does not cut a frame."""
        byte = self._byte
        if wait_ms < 0:
            n = self._keep(buf, 0, await self._wait_and_read(byte))
        else:
            n = 0
            await sleep_ms(0)
            while not _ready(self._in):
                if wait_ms == 0:
                    return 0
                wait_ms -= 1
                await sleep_ms(1)
        while n < len(buf) and _ready(self._in):
            n = self._keep(buf, n, self._stream.readinto(byte))
        return n

    def _keep(self, buf, n, got):
        if not got:
            raise OSError(errno.EIO, "the other side of the pty is closed")
        buf[n] = self._byte[0]
        return n + 1

    async def write(self, buf: "bytes | memoryview") -> None:
        """Sends the whole of buf, or drops it when the other side has stopped reading: a line has no flow control."""
        if _ready(self._out):
            self._stream.write(buf)
        else:
            self.dropped += 1

    def close(self) -> None:
        self._stream.close()


def _poll(stream, event):
    poll = select.poll()
    poll.register(stream, event)
    # ipoll is poll without allocation; only MicroPython has it.
    return getattr(poll, "ipoll", poll.poll)


def _ready(poll):
    ready = False
    for _ in poll(0):
        ready = True
    return ready
