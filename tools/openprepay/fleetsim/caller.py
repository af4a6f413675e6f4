"""A meter that calls its broker, and calls again: what `meter.shell.uplink` does, for `metersim.light`."""

import asyncio
import random
from typing import TYPE_CHECKING, Any

from meter.shell.backoff import Backoff
from meter.shell.uplink import FIRST_WAIT_MS, LONGEST_WAIT_MS
from metersim import light
from metersim.light import LightLink
from openprepay.fleetsim.flock import Mail

if TYPE_CHECKING:
    from openprepay.fleetsim.live import Live

_IDENTIFIERS = 0xFFFF


class Caller:
    """One meter. `link`: None while it has none · `away`: it cannot connect now (no network, no power)."""

    __slots__ = ("_backoff", "_last", "_live", "_unacknowledged", "away", "link", "number")

    def __init__(self, number: int, live: "Live", rng: random.Random) -> None:
        self.number = number
        self.link: LightLink | None = None
        self.away = False
        self._live = live
        make: Any = Backoff  # the firmware's, which has no types
        self._backoff = make(FIRST_WAIT_MS, LONGEST_WAIT_MS, rng.randrange)
        self._last = 1
        self._unacknowledged: dict[int, tuple[str, bytes]] = {}

    def call(self, wait_s: float | None = None) -> None:
        """Connect after a wait; after one that grows with each failure where none is given."""
        wait_s = self._backoff.next_ms() / 1000 if wait_s is None else wait_s
        asyncio.get_running_loop().call_later(wait_s, self._dial)

    def _dial(self) -> None:
        if self.link is None and not self.away and not self._live.is_over:
            self._live.start(self._connect())

    async def _connect(self) -> None:
        will = self._live.flock.will(self.number)
        self.link = link = LightLink(self.number, will, self)
        try:
            await light.connect(*self._live.broker, lambda: link)
        except OSError:
            self._live.outcome.refused += 1
            self.link = None
            self.call()

    def leave(self) -> None:
        """The network or the power is gone."""
        self.away = True
        if self.link is not None:
            self.link.drop()

    def back(self) -> None:
        """It is there again."""
        self.away = False
        self.call()

    def say(self, what: str, raw: bytes, *, birth: bool = False) -> None:
        """Publish, and keep it until the broker has it. What was kept over a lost link goes behind the birth."""
        if self.link is None:
            return
        kept = list(self._unacknowledged.items()) if birth else []
        self._last = self._last % _IDENTIFIERS + 1
        if not birth:
            self._unacknowledged[self._last] = (what, raw)
        self._live.outcome.said += 1
        self.link.publish(what, raw, self._last, retain=birth)
        for number, (topic, message) in kept:
            self.link.publish(topic, message, number, again=True)

    # -- `light.Owner` -------------------------------------------------------------------------------------------------

    def linked(self, link: LightLink) -> None:
        self._backoff.reset()
        self._live.outcome.connects += 1
        self._live.connected.add(self.number)

    def heard(self, what: str, raw: bytes) -> None:
        self._live.outcome.heard += 1
        self._live.mail.append(Mail(self.number, what, raw))

    def acknowledged(self, packet_id: int) -> None:
        self._unacknowledged.pop(packet_id, None)
        self._live.outcome.acknowledged += 1

    def lost(self, link: LightLink, why: str) -> None:
        if self.link is not link:
            return
        self.link = None
        self._live.lost.add(self.number)
        self._live.connected.discard(self.number)
        self.call()
