"""What a monitor on this machine asks a worker: `/health`, `/ready` and `/metrics`, on a loopback port without a token.

Nothing of customers is in it. A worker with the role `api` answers the same on its own port, to whoever may.
"""

import asyncio
import json
from http import HTTPStatus
from types import TracebackType
from typing import Any, Protocol, Self

from headend.clock import SystemClock
from headend.watch.metrics import CONTENT_TYPE, Metrics

HOST = "127.0.0.1"
_MAX_REQUEST = 8_192
_WAIT_S = 5.0

Answer = tuple[HTTPStatus, str, bytes]


class Watched(Protocol):
    """What is asked about: the service."""

    metrics: Metrics

    def troubles(self) -> dict[str, str]: ...


class Health:
    """`async with Health(service, port) as health`. Port 0: nowhere, and `url` is ""."""

    def __init__(self, watched: Watched, port: int) -> None:
        self.url = ""
        self._watched = watched
        self._port = port
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        if self._port:
            self._server = await asyncio.start_server(self._serve, HOST, self._port, limit=_MAX_REQUEST)
            self.url = f"http://{HOST}:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_WAIT_S):
                head = await reader.readuntil(b"\r\n\r\n")
            status, kind, body = await self._answer(head.split(b"\r\n", 1)[0].decode("latin-1"))
            writer.write(
                f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
                "Connection: close\r\n\r\n".encode()
                + body
            )
            async with asyncio.timeout(_WAIT_S):
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()

    async def _answer(self, line: str) -> Answer:
        method, _, rest = line.partition(" ")
        path = rest.partition(" ")[0]
        if method != "GET":
            return _json(HTTPStatus.METHOD_NOT_ALLOWED, {"expected": "GET"})
        if path == "/health":
            return _json(HTTPStatus.OK, {"status": "ok"})
        if path == "/ready":
            trouble = self._watched.troubles()
            status = HTTPStatus.SERVICE_UNAVAILABLE if trouble else HTTPStatus.OK
            return _json(status, {"ready": not trouble, "trouble": trouble})
        if path == "/metrics":
            text = await asyncio.to_thread(self._watched.metrics.text, SystemClock().now_s())
            return HTTPStatus.OK, CONTENT_TYPE, text
        return _json(HTTPStatus.NOT_FOUND, {"expected": "/health, /ready or /metrics"})


def _json(status: HTTPStatus, value: Any) -> Answer:
    return status, "application/json", json.dumps(value).encode()
