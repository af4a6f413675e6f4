"""A broker's meters by shards: one ordinary persistent session for each shard that this process holds.

The client id of a shard's session is fixed, so whoever holds the shard next is given what was not acknowledged, in
order, and puts an earlier holder out. Which shards those are is told from outside (`hold`); a shard that was taken away
is neither acknowledged nor connected again, whatever its thread is doing when it wakes (`Tenancy`).
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from functools import partial

from headend.clock import Clock, SystemClock
from headend.links import failures
from headend.links.failures import LinkError
from headend.links.image import Image, Paced, Told
from headend.links.image import Sent as ImageSent
from headend.links.mqtt import MqttCarrier
from headend.links.mqtt_options import MqttOptions
from headend.links.mqtt_session import Tenancy
from headend.links.port import Sent, Up
from headend.links.upward import Upward
from headend.orders.actions import Ack, Action
from meterlink import topics

_PROBE_S = 5.0


class ShardedMqtt:
    """See `port.Carrier`. `options`: of the broker; its client id is the beginning of each session's.

    `tenancy_of(shard)`: whether the shard is still held, asked by its session.
    """

    name = "mqtt"

    def __init__(
        self,
        options: MqttOptions,
        tenancy_of: Callable[[int], Tenancy],
        clock: Clock | None = None,
        spread: Callable[[], float] = random.random,
    ) -> None:
        self._options = options
        self._tenancy_of = tenancy_of
        self._clock = clock or SystemClock()
        self._spread = spread
        self._upward: Upward | None = None
        self.shards: dict[int, MqttCarrier] = {}

    async def start(self, up: Up) -> None:
        """Nothing is connected before a shard is held."""
        self._upward = Upward(up)

    async def hold(self, shards: Collection[int]) -> None:
        """Have sessions for exactly these; returns when those of others have ended."""
        assert self._upward is not None, "it was started"
        gone = [self.shards.pop(shard) for shard in sorted(self.shards) if shard not in shards]
        await asyncio.gather(*(one.stop() for one in gone))
        for shard in sorted(set(shards) - set(self.shards)):
            options = replace(
                self._options, client_id=f"{self._options.client_id}-{shard:02d}", shards=frozenset({shard})
            )
            carrier = MqttCarrier(options, self._clock, self._spread, self._tenancy_of(shard))
            carrier.begin(self._upward)
            self.shards[shard] = carrier

    async def stop(self) -> None:
        if self._upward is not None:
            await asyncio.to_thread(self._upward.close)
            await self.hold(())

    def reaches(self, meter: int) -> bool:
        carrier = self.shards.get(topics.shard(meter))
        return carrier is not None and carrier.reaches(meter)

    async def send(self, action: Action) -> Sent:
        carrier = self.shards.get(topics.shard(action.meter))
        if carrier is None:
            return Sent(False, f"Shard {topics.shard(action.meter):02d} is another worker's.")
        return await carrier.send(action)

    async def bring(self, meter: int, wanted: Image, told: Told, paced: Paced) -> ImageSent:
        """See `MqttCarrier.bring`."""
        carrier = self.shards.get(topics.shard(meter))
        if carrier is None:
            raise LinkError(failures.UNREACHABLE, f"Shard {topics.shard(meter):02d} is another worker's.")
        return await carrier.bring(meter, wanted, told, paced)

    def tell(self, ack: Ack) -> None:
        """See `MqttCarrier.tell`."""
        carrier = self.shards.get(topics.shard(ack.meter))
        if carrier is not None:
            carrier.tell(ack)

    @property
    def connected(self) -> int:
        """How many of the sessions are."""
        return sum(one.session.connected for one in self.shards.values())

    @property
    def trouble(self) -> str:
        """Of the first session that is not connected; "" where all are."""
        down = [(shard, one.session) for shard, one in sorted(self.shards.items()) if not one.session.connected]
        if not down:
            return ""
        shard, session = down[0]
        return f"{len(down)} of {len(self.shards)} shards; {shard:02d}: {session.trouble or 'it is being made'}"

    async def answers(self) -> bool:
        """Whether the broker takes a connection at all: for a process that holds no shard."""
        with contextlib.suppress(OSError, TimeoutError):
            return await asyncio.to_thread(partial(_reach, self._options))
        return False


def _reach(options: MqttOptions) -> bool:
    """Connect as a client without a session, and leave."""
    accepted: list[bool] = []
    client = replace(options, client_id=f"{options.client_id}-probe-{random.randbytes(4).hex()}").client(lasting=False)
    client.on_connect = lambda _c, _u, _f, reason, _p: accepted.append(not reason.is_failure)
    client.connect(options.host, options.port, options.keepalive_s)
    try:
        ends = time.monotonic() + _PROBE_S
        while not accepted and time.monotonic() < ends:
            client.loop(0.1)
        return accepted == [True]
    finally:
        client.disconnect()
        if client.socket() is not None:
            client.loop(0.1)
