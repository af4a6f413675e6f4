"""A pty as a serial line with one slave at its end, and a master that only carries frames."""

import os
import pty
import select
import time
import tty
from types import TracebackType
from typing import Self

from meterlink.modbus import crc16

ANSWER_S = 20.0


class Line:
    """`path` is the slave's end. The master sends the next request as soon as it has the whole answer."""

    def __init__(self) -> None:
        self._master, self._slave = pty.openpty()  # the slave's end stays open, so that slaves may come and go
        tty.setraw(self._slave)
        self.path = os.ttyname(self._slave)
        self._poll = select.poll()
        self._poll.register(self._master, select.POLLIN)

    def ask(self, request: bytes, length: int, wait_s: float = ANSWER_S) -> bytes:
        """Send a frame and return the answer, which has `length` bytes; RuntimeError where none comes in `wait_s`."""
        os.write(self._master, request)
        answer = b""
        while len(answer) < length:
            if not self._poll.poll(wait_s * 1000):
                raise RuntimeError(f"line: {len(answer)} of {length} bytes came in {wait_s:g} s: {answer.hex()}")
            answer += os.read(self._master, 512)
            if len(answer) >= 5 and answer[1] & 0x80:
                break
        if answer[1] & 0x80 or len(answer) != length or crc16(answer):
            raise RuntimeError(f"line: {answer.hex()} came, an answer of {length} bytes expected to {request.hex()}")
        return answer

    def await_slave(self, request: bytes, length: int, wait_s: float = ANSWER_S) -> None:
        """Ask until somebody answers: a slave that opens its end loses what came before. RuntimeError in the end."""
        ends = time.monotonic() + wait_s
        while True:
            try:
                self.ask(request, length, wait_s=0.5)
                return
            except RuntimeError:
                if time.monotonic() > ends:
                    raise
            while self._poll.poll(100):
                os.read(self._master, 512)

    def close(self) -> None:
        """Take the line away from both."""
        os.close(self._master)
        os.close(self._slave)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def frame(pdu: bytes, unit: int = 1) -> bytes:
    """A PDU as an RTU frame."""
    body = bytes([unit]) + pdu
    return body + crc16(body).to_bytes(2, "little")
