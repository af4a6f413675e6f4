"""The HTTP server, in the loop of whoever starts it: bound before all else, closed without cutting an answer short."""

import asyncio
import ipaddress
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.applications import Starlette

from headend.refusals import Refused
from headend.web.http1 import Connection

KEEP_ALIVE_S = 30
CLOSING_S = 10  # for answers that are under way when the server stops
BACKLOG = 256

log = logging.getLogger("openprepay.web")


def bind(host: str, port: int, beyond_loopback: bool) -> socket.socket:
    """A listening socket; raises Refused where the address cannot be used, or leads beyond this machine unasked."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise Refused("http_host", host, f"a host name or address of this machine ({error.strerror})") from error
    family, _, _, _, address = found[0]
    if not beyond_loopback and not all(ipaddress.ip_address(one[4][0]).is_loopback for one in found):
        expected = "an address of this machine alone, such as 127.0.0.1 (or set http_beyond_loopback)"
        raise Refused("http_host", host, expected)
    # With the protocol named, asyncio turns Nagle's algorithm off: an answer goes out in two pieces.
    made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen(BACKLOG)
        made.setblocking(False)
    except OSError as error:
        made.close()
        raise Refused("http_port", port, f"a port that is free on {host} ({error.strerror})") from error
    return made


class _Quiet(uvicorn.Server):
    """Leaves signals to the program that it is part of."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class HttpServer:
    """Serves an application on a socket that is bound already."""

    def __init__(self, app: Starlette, listening: socket.socket) -> None:
        application: Any = app
        config = uvicorn.Config(
            application,
            http=Connection,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=CLOSING_S,
        )
        logging.getLogger("uvicorn.access").disabled = True  # URLs hold what people typed, `access_log` only mutes it
        self._listening = listening
        host, port = listening.getsockname()[:2]
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        self._server = _Quiet(config)
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Returns when it answers."""
        self._serving = asyncio.create_task(self._server.serve([self._listening]), name="http")
        while not self._server.started:
            if self._serving.done():
                await self._serving  # raises what kept it from starting
                raise RuntimeError("The HTTP server ended before it had started.")
            await asyncio.sleep(0.005)

    async def over(self) -> None:
        """Returns when it serves no more, for whatever reason; raises what ended it."""
        if self._serving is not None:
            await asyncio.shield(self._serving)

    async def stop(self) -> None:
        """Take no more, answer what was asked, close. Idempotent."""
        self._server.should_exit = True
        if self._serving is not None:
            await self._serving
        self._listening.close()
