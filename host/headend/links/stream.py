"""A connected socket that reads ahead and writes behind, for a client that asks for its packets byte by byte.

paho reads a packet with three calls of the system and writes each with one. Of thousands a second that costs more than
all that is done with them, because other threads take the interpreter at every call.
"""

import contextlib
import ssl
from socket import socket

AHEAD = 65_536  # bytes that are asked of the socket at once
BEHIND = 65_536  # bytes that wait for `flush` before more is refused


class Stream:
    """Of one thread, which calls `flush` whenever it has said what there is to say."""

    def __init__(self, connected: socket) -> None:
        self._socket = connected
        self._ahead = memoryview(b"")
        self._behind = bytearray()

    @property
    def unsent(self) -> int:
        """Bytes that the socket has not taken yet."""
        return len(self._behind)

    @property
    def full(self) -> bool:
        return len(self._behind) >= BEHIND

    def recv(self, most: int) -> bytes:
        """As of a socket: at most so many bytes, b"" at its end; raises BlockingIOError where none are there."""
        if not self._ahead:
            try:
                self._ahead = memoryview(self._socket.recv(AHEAD))
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError) as error:
                raise BlockingIOError from error
        found = bytes(self._ahead[:most])
        self._ahead = self._ahead[most:]
        return found

    def send(self, some: bytes | bytearray) -> int:
        """Take all of it, for `flush`; raises BlockingIOError where too much waits for the socket, and OSError."""
        if self.full:
            self.flush()
            if self.full:
                raise BlockingIOError
        self._behind += some
        return len(some)

    def flush(self) -> None:
        """Send what waits, as far as the socket takes it; raises OSError."""
        try:
            while self._behind:
                del self._behind[: self._socket.send(self._behind)]
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return

    def pending(self) -> int:
        """Bytes that have come and that waiting for the socket would not show."""
        beneath = self._socket.pending() if isinstance(self._socket, ssl.SSLSocket) else 0
        return len(self._ahead) + beneath

    def fileno(self) -> int:
        return self._socket.fileno()

    def setblocking(self, flag: bool) -> None:
        self._socket.setblocking(flag)

    def close(self) -> None:
        """Send what the socket takes, and close it."""
        with contextlib.suppress(OSError):
            self.flush()
        self._behind.clear()  # nobody will take it
        self._socket.close()
