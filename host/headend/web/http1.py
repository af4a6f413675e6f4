"""One connection of the HTTP server: bounded before anything is kept, and refusals are problems like all others.

uvicorn's protocol over llhttp (RFC 9112), with what it leaves to a proxy in front: the length of a request's head, the
time in which the first one has to come, and the number of connections.
"""

import asyncio
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from headend.web import problems, wire
from headend.web.problems import Problem

CONNECTIONS = 512  # idle ones count
HEAD_BYTES = 16_384  # of request line and headers; what arrives in one piece is looked at, and no more of it
FIRST_S = 20.0  # until the head of a connection's first request is there
LINGER_S = 1.0  # what still comes on a refused one is thrown away meanwhile: a reset could overtake the answer

_LINE = 4  # ": " and the end of a header's line


class Connection(HttpToolsProtocol):
    """What is refused here has not reached the application; the connection ends with it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_bytes = 0  # of the head that is arriving, as far as it was taken apart
        self._pending_bytes = 0  # that came since a head was complete
        self._in_head = True
        self._refused = False
        self._first: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > 2 * CONNECTIONS:
            transport.abort()
        elif len(self.connections) > CONNECTIONS:
            self._refuse("too_many_connections", f"{CONNECTIONS} connections are open already; try again later.")
        else:
            self._first = self.loop.call_later(FIRST_S, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        self._in_time()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self._pending_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._pending_bytes > HEAD_BYTES:
            self._too_long()

    def on_message_begin(self) -> None:
        self._in_head, self._head_bytes = True, 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value) + _LINE)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_time()
        super().on_headers_complete()
        self._in_head, self._pending_bytes = False, 0

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._in_head, self._pending_bytes = True, 0  # what comes now is of the next one

    def send_400_response(self, msg: str) -> None:
        """The parser gave up, or a callback above did."""
        if self._head_bytes > HEAD_BYTES:
            self._too_long()
        else:
            self._refuse("malformed", "What came is not a request of HTTP/1.1.")

    def _count(self, length: int) -> None:
        self._head_bytes += length
        if self._head_bytes > HEAD_BYTES:
            raise ValueError("the head is too long")  # the parser ends with it, and asks for a 400

    def _in_time(self) -> None:
        if self._first is not None:
            self._first.cancel()
            self._first = None

    def _too_long(self) -> None:
        self._refuse("head_too_large", f"A request line and headers of at most {HEAD_BYTES} bytes expected.")

    def _refuse(self, code: str, sentence: str) -> None:
        if self._refused or self.transport.is_closing():
            return
        self._refused = True
        problem = Problem(code, sentence)
        status, body = problem.kind.status, wire.encode(problem.body())
        head = [
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
            f"content-type: {problems.CONTENT_TYPE}",
            f"content-length: {len(body)}",
            "connection: close",
        ]
        self.transport.write("\r\n".join([*head, "", ""]).encode() + body)
        self.transport.write_eof()
        self._in_time()
        self._first = self.loop.call_later(LINGER_S, self.transport.close)
