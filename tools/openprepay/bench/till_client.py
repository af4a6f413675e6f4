"""Run as a process of its own: posts payments over keep-alive connections, each its next as soon as it has an answer.

Reads one JSON object from stdin: `host`, `port`, `connections`, `seconds`, `requests`: of each connection its requests
in turn, where `{number}` counts up · `least`: at least so many answers, however long. Writes one to stdout: `answers`
by status, `seconds` from first to last, `times_s` of each answer. As lean as asyncio allows: on a machine with few
cores a client takes from what it measures.
"""

import asyncio
import json
import sys
import time
from collections import Counter
from functools import partial
from typing import Any

_END = b"\r\n\r\n"
_LENGTH = b"content-length: "


class Connection(asyncio.Protocol):
    """One connection: asks, waits for the whole answer, asks again until the time is over."""

    def __init__(self, number: int, client: "Client", over: asyncio.Future[None]) -> None:
        self._prefix = number * 1_000_000_000
        self._client = client
        self._over = over
        self._asked = 0
        self._at = 0.0
        self._heard = b""
        self._wire: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._wire = transport
        self._ask()

    def _ask(self) -> None:
        assert self._wire is not None
        self._asked += 1
        self._at = time.perf_counter()
        self._wire.write(self._client.request(self._prefix + self._asked))

    def data_received(self, data: bytes) -> None:
        heard = self._heard = self._heard + data
        head = heard.find(_END)
        if head < 0:
            return
        length = heard.lower().index(_LENGTH) + len(_LENGTH)
        if len(heard) < head + len(_END) + int(heard[length : heard.index(b"\r\n", length)]):
            return
        self._heard = b""
        now = time.perf_counter()
        self._client.times_s.append(now - self._at)
        self._client.answers[heard[9:12].decode()] += 1
        if self._client.goes_on(now):
            self._ask()
        elif self._wire is not None:
            self._wire.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._over.done():
            self._over.set_result(None)


class Client:
    """All connections, and what they heard."""

    def __init__(self, given: dict[str, Any]) -> None:
        self._given = given
        self._requests = [request.split("{number}") for request in given["requests"]]
        self._ends = 0.0
        self.answers: Counter[str] = Counter()
        self.times_s: list[float] = []

    def request(self, number: int) -> bytes:
        """The next request, with `number` in it as nine and some digits of fixed length."""
        return f"{number:012d}".join(self._requests[number % len(self._requests)]).encode()

    def goes_on(self, now: float) -> bool:
        return now < self._ends or len(self.times_s) < int(self._given["least"])

    async def run(self) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        began = time.perf_counter()
        self._ends = began + self._given["seconds"]
        over: list[asyncio.Future[None]] = []
        for number in range(self._given["connections"]):
            over.append(loop.create_future())
            made = partial(Connection, number, self, over[-1])
            await loop.create_connection(made, self._given["host"], self._given["port"])
        await asyncio.gather(*over)
        seconds = time.perf_counter() - began
        return {"answers": self.answers, "seconds": seconds, "times_s": self.times_s}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(Client(json.load(sys.stdin)).run())))
