"""Meters on an MQTT broker. They speak first: what they say is committed before it is acknowledged to the broker.

An order or a question is published with an expiry and never retained, and only to a meter that is not known to be
absent: a broker would keep it for the meter's session and hand it over whenever it returns.
"""

import asyncio
import contextlib
import logging
import random
from collections import Counter
from collections.abc import Callable, Sequence

from headend.clock import Clock, SystemClock
from headend.links import failures, image_mqtt
from headend.links.failures import LinkError
from headend.links.image import Image, Paced, Told
from headend.links.image import Sent as ImageSent
from headend.links.mqtt_connection import Publish
from headend.links.mqtt_options import MAX_PAYLOAD, V311, MqttOptions
from headend.links.mqtt_session import Session, Tenancy
from headend.links.port import Sent, Up
from headend.links.presence import REMEMBERED, Presence
from headend.links.upward import Handed, Upward
from headend.orders.actions import Ack, Action, Ask, Deliver
from meterlink import image, reports, topics

log = logging.getLogger(__name__)

# How long a broker may keep what we say, in seconds. An order has its own last second, or may come as late as this.
ORDER_EXPIRY_S = 86_400
ASK_EXPIRY_S = 120
ACK_EXPIRY_S = 3_600

IMAGE_SILENCE_S = 30.0  # of a meter that is brought an image; it is tried again later
IMAGE_BEHIND = 4  # publications that wait: until there are fewer, no piece of an image goes

_WATCH_S = 1.0
_KIND_AT = 1  # in reports and wills


class MqttCarrier:
    """See `port.Carrier`. An action is taken over when the broker has acknowledged it and somebody is subscribed.

    `counts`: what was not for us: strange_topic, oversize; not_told: acknowledgements to meters that could not be sent.
    `session`: connection and acknowledgements.
    """

    name = "mqtt"

    def __init__(
        self,
        options: MqttOptions,
        clock: Clock | None = None,
        spread: Callable[[], float] = random.random,
        tenancy: Tenancy | None = None,
    ) -> None:
        self._options = options
        self._clock = clock or SystemClock()
        self._present = Presence(REMEMBERED * len(options.shards))
        self._upward: Upward | None = None
        self._own: Upward | None = None
        self._watch: asyncio.Task[None] | None = None
        self.session = Session(options, self._take, spread, tenancy)
        self._heard = self.session.committed
        self.counts: Counter[str] = Counter()
        self._bringing: dict[int, Callable[[bytes], None]] = {}  # meter -> who is told how far it is

    async def start(self, up: Up) -> None:
        self._own = Upward(up)
        self.begin(self._own)

    def begin(self, upward: Upward) -> None:
        """Start with a way up that several share, and that outlives this."""
        self._upward = upward
        self.session.start()
        self._watch = asyncio.create_task(self._keep_alive())

    async def stop(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
        if self._own is not None:
            await asyncio.to_thread(self._own.close)
        await asyncio.to_thread(self.session.stop)

    async def _keep_alive(self) -> None:
        """The thread outlives every error; should it end all the same, it is started again."""
        while True:
            await asyncio.sleep(_WATCH_S)
            if not self.session.alive:
                log.error("MQTT: the thread of the session has ended; it is started again")
                self.session.start()

    # --- up -----------------------------------------------------------------------------------------------------------

    def _take(self, messages: Sequence[Publish]) -> list[Handed | None]:
        """Runs in the session's thread."""
        found = [self._handed(*message) for message in messages]
        assert self._upward is not None, "it was started"
        self._upward.hand_all([one for one in found if one is not None])
        return found

    def _handed(self, topic: str, payload: bytes, _mid: int) -> Handed | None:
        place = topics.parse(topic)
        if place is None or place[1] != "up":
            self.counts["strange_topic"] += 1
            return None
        if len(payload) > MAX_PAYLOAD:
            self.counts["oversize"] += 1
            return None
        meter, _, what = place
        if what == topics.UP_STATE:
            if len(payload) <= _KIND_AT:  # a retained state that was cleared
                self._present.forget(meter)
                return None
            self._present.note(meter, payload[_KIND_AT] != reports.KIND_WILL)
        if what == topics.UP_UPDATE and (heard := self._bringing.get(meter)) is not None:
            heard(payload)
        return Handed((meter, what, payload), self._heard)

    # --- down ---------------------------------------------------------------------------------------------------------

    def reaches(self, meter: int) -> bool:
        return self.session.connected and self._present.of(meter) is not False

    async def send(self, action: Action) -> Sent:
        refusal = self._why_not(action)
        if refusal:
            return Sent(False, refusal)
        what, expiry_s = self._envelope(action)
        if isinstance(action, Deliver):
            for piece in action.parcels:  # each acknowledged before the next, so that the order comes last
                sent = await self._publish(topics.down(action.meter, topics.DN_PARCEL), piece, expiry_s)
                if not sent:
                    return sent
        return await self._publish(topics.down(action.meter, what), action.raw, expiry_s)

    async def bring(self, meter: int, wanted: Image, told: Told, paced: Paced) -> ImageSent:
        """Bring an image, behind everything else that waits for the broker; see `image_mqtt.Sender`."""
        loop = asyncio.get_running_loop()

        async def publish(message: bytes) -> bool:
            if self._present.of(meter) is False:
                raise LinkError(failures.UNREACHABLE, "The meter is not at the broker.")
            topic = topics.down(meter, topics.DN_IMAGE)
            return self.session.connected and bool(await self._publish(topic, message, image_mqtt.EXPIRY_S))

        async def last() -> None:
            await paced()
            while self.session.unsaid >= IMAGE_BEHIND:  # noqa: ASYNC110 - its thread tells nobody
                await asyncio.sleep(0.02)

        def heard(payload: bytes) -> None:
            """Runs in the session's thread."""
            with contextlib.suppress(image.ImageError, RuntimeError):
                loop.call_soon_threadsafe(sender.heard, image.read_progress(payload))

        sender = image_mqtt.Sender(wanted, publish, told, last, IMAGE_SILENCE_S)
        self._bringing[meter] = heard
        try:
            return await sender.run()
        finally:
            del self._bringing[meter]

    def tell(self, ack: Ack) -> None:
        """Send an acknowledgement, whatever becomes of it: where it is lost, its records come again; so it goes at
        QoS 0. Never blocks; of any thread.
        """
        if self._why_not(ack) or not self.session.tell(topics.down(ack.meter, topics.DN_ACK), ack.raw):
            self.counts["not_told"] += 1

    async def _publish(self, topic: str, raw: bytes, expiry_s: int) -> Sent:
        future = self.session.publish(topic, raw, expiry_s)
        try:
            async with asyncio.timeout(self._options.answer_s):
                return await asyncio.wrap_future(future)
        except TimeoutError:
            return Sent(False, f"The broker has not acknowledged it within {self._options.answer_s:g} s.")

    def _why_not(self, action: Action) -> str:
        """A sentence, or nothing."""
        if not self.session.connected:
            return f"There is no connection to the broker: {self.session.trouble}."
        if topics.shard(action.meter) not in self._options.shards:
            return f"Shard {topics.shard(action.meter)} is not this session's."
        present = self._present.of(action.meter)
        if present is False:
            return "The meter is not at the broker."
        if isinstance(action, Deliver) and action.last_s:
            if action.last_s < self._clock.now_s():
                return "Its last second passed before it could be published."
            if self._options.version == V311 and not present:
                return (
                    "The meter is not known to be at the broker, which speaks MQTT 3.1.1 and would not let it expire."
                )
        return ""

    def _envelope(self, action: Action) -> tuple[str, int]:
        """(topics.DN_*, expiry in seconds)."""
        if isinstance(action, Ask):
            return topics.DN_ASK, ASK_EXPIRY_S
        if isinstance(action, Ack):
            return topics.DN_ACK, ACK_EXPIRY_S
        if not action.last_s:
            return topics.DN_ORDER, ORDER_EXPIRY_S
        return topics.DN_ORDER, action.last_s + 1 - self._clock.now_s()
