"""What the web layer may use of the head end: the store from asyncio, the clock, a way to wake the dispatcher."""

import asyncio
import functools
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import Connection

from headend.access import changes
from headend.access.passwords import Hasher
from headend.access.sealing import Sealer
from headend.clock import Clock
from headend.people.keyring import RingFile
from headend.store import ORDERS, Lane, Store
from headend.tokens.making import Maker, NotMade
from headend.watch.metrics import Metrics
from headend.web import keys

READ_THREADS = 4

R = TypeVar("R")
A = TypeVar("A")


def _awake() -> None:
    """Nobody to wake: orders wait in the outbox."""


@dataclass
class Desk:
    """Made once by the service; `close` ends its threads.

    `new_key_version`: version of the master key that a meter gets which is added now · `currency`: ISO 4217 numeric ·
    `report_every_s`: how often a meter is asked for a report · `trouble()`: why the head end is not ready, by what is
    affected; empty when it is · `wake()`: something was committed that wants sending; callable in any thread · `maker`:
    the signer, for typed tokens · `sealer`: for second factors · `persons`: the key of personal data · `behind_tls`: a
    proxy on this machine speaks TLS for us and says who asks · `metrics`: what Prometheus reads, where it may ·
    `firmware_keys`: a PEM file with the keys of those whose images may be put in; "": anybody's.
    """

    store: Store
    clock: Clock
    currency: int
    new_key_version: int = 1
    report_every_s: int = 900
    wake: Callable[[], None] = _awake
    trouble: Callable[[], dict[str, str]] = dict
    page_without_token: bool = False
    maker: Maker | None = None
    sealer: Sealer | None = None
    persons: RingFile | None = None
    behind_tls: bool = False
    metrics: Metrics | None = None
    firmware_keys: str = ""
    monotonic: Callable[[], float] = time.monotonic
    _threads: ThreadPoolExecutor = field(init=False, repr=False)
    _hasher: Hasher = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._threads = ThreadPoolExecutor(READ_THREADS, thread_name_prefix="web-read")
        self._hasher = Hasher()

    async def read(self, fn: Callable[..., R], *args: Any) -> R:
        """`Store.read` in a thread of our own."""
        return await self.in_thread(self.store.read, fn, *args)

    async def write(self, fn: Callable[..., R], *args: Any, lane: Lane = ORDERS) -> R:
        """`Store.write`; returns after the COMMIT. The loop never waits for the store."""
        count = changes.count()
        value: R = await asyncio.wrap_future(self.store.write(fn, *args, lane=lane))
        if changes.count() != count:
            changes.happened()  # who looked before the COMMIT has seen the old state
        return value

    async def act(self, fn: Callable[..., R], *args: Any, answer: Callable[[R], A], lane: Lane = ORDERS) -> A:
        """`answer(fn(conn, *args))`, an `operations.Answer`, after the COMMIT of what a request is for.

        Where the request carries a key (`web.keys`), the answer is stored in the same transaction: whoever did not get
        it repeats the request. So `fn` itself looks up all that the answer tells.
        """

        def job(conn: Connection, *given: Any) -> A:
            return answer(fn(conn, *given))

        keeper = keys.CURRENT.get()
        return await self.write(job if keeper is None else keeper.around(job), *args, lane=lane)

    async def hashed(self, fn: Callable[..., R], *args: Any) -> R:
        """`fn(*args)` of `access.passwords` beside the loop; raises Busy."""
        return await asyncio.wrap_future(self._hasher.submit(fn, *args))

    async def with_maker(self, fn: Callable[..., R], *args: Any) -> R:
        """`fn(store, maker, now, *args)` in a thread of our own; raises NotMade where no signer is there."""
        if self.maker is None:
            raise NotMade("No signer is set up here.")
        return await self.in_thread(fn, self.store, self.maker, self.clock.now_s(), *args)

    async def in_thread(self, fn: Callable[..., R], *args: Any) -> R:
        """`fn(*args)` in a thread of our own."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, functools.partial(fn, *args))

    def close(self) -> None:
        self._hasher.close()
        self._threads.shutdown(wait=True, cancel_futures=True)
