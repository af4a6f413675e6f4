"""Keeps a worker's tenure, and has its links follow: sessions for the shards that it holds, lines for its buses."""

import asyncio
import logging
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from headend.workers.homes import SHARD
from headend.workers.tenure import Tenure

log = logging.getLogger("openprepay.workers")


class ShardTenancy:
    """Of one shard's session (`links.mqtt_session.Tenancy`)."""

    def __init__(self, tenure: Tenure, shard: int, doubted: Callable[[], None]) -> None:
        self._tenure = tenure
        self._shard = shard
        self._doubted = doubted

    def holds(self) -> bool:
        return self._tenure.holds(SHARD, self._shard)

    def lost(self) -> None:
        self._tenure.doubt(SHARD, self._shard)
        self._doubted()


class Sessions(Protocol):
    """A link with a session for each shard (`links.mqtt_shards`)."""

    shards: dict[int, Any]

    @property
    def connected(self) -> int: ...

    async def hold(self, shards: Collection[int]) -> None: ...

    async def answers(self) -> bool: ...


class Lines(Protocol):
    """A link whose lines are leased."""

    async def keep(self, holds: Callable[[int], bool]) -> None:
        """Close the lines of homes that are not held."""


class Beating:
    """`go` until cancelled, then `end`. `mqtt`, `lines`: what follows; None where there is none.

    `trouble`: why the last beat failed, "" where it did not.
    """

    def __init__(self, tenure: Tenure, holds_home: Callable[[int], bool]) -> None:
        self.mqtt: Sessions | None = None
        self.lines: Lines | None = None
        self.trouble = ""
        self._tenure = tenure
        self._holds_home = holds_home
        self._all = tenure.serves
        self._soon = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="lease")  # never behind other work
        self._away_since: float | None = None

    def soon(self) -> None:
        """Beat now: something was put in doubt. Of any thread."""
        self._loop.call_soon_threadsafe(self._soon.set)

    async def once(self) -> None:
        """One beat, and what follows from it; never raises."""
        try:
            surplus = await self._loop.run_in_executor(self._thread, self._tenure.beat)
            if self.mqtt is not None:
                await self.mqtt.hold(self._tenure.numbers(SHARD))
            if self.lines is not None:
                await self.lines.keep(self._holds_home)
            await self._loop.run_in_executor(self._thread, self._tenure.give_back, surplus)
            self.trouble = ""
        except Exception as error:  # what is held runs out by itself, and the next beat may succeed
            if not self.trouble:
                log.exception("A beat failed.")
            self.trouble = f"Its last beat failed: {type(error).__name__}."

    async def go(self) -> None:
        patience = self._tenure.patience
        while True:
            try:
                async with asyncio.timeout(patience.beat):
                    await self._soon.wait()
                await asyncio.sleep(0.2)  # what is put in doubt together is asked about together
            except TimeoutError:
                pass
            self._soon.clear()
            await self._look_at_broker()
            await self.once()

    async def _look_at_broker(self) -> None:
        """Shards are left to others by whoever cannot reach the broker, and served again when it can."""
        if self.mqtt is None:
            return
        if SHARD not in self._tenure.serves:
            if await self.mqtt.answers():
                log.info("The broker answers again.")
                self._away_since = None
                self._tenure.serve(self._all)
        elif not self.mqtt.shards or self.mqtt.connected:
            self._away_since = None
        elif self._away_since is None:
            self._away_since = self._loop.time()
        elif self._loop.time() - self._away_since > self._tenure.patience.away:
            log.warning("MQTT: no connection for %d s; the shards are left to others", self._tenure.patience.away)
            self._tenure.serve(self._all - {SHARD})

    async def end(self) -> None:
        """Give everything back; the links have to be stopped before."""
        await self._loop.run_in_executor(self._thread, self._tenure.end)
        self._thread.shutdown(wait=False)
