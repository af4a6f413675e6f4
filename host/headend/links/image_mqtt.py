"""Sends an image of the firmware to a meter over a broker: one message, then what the meter says to it, then the next.

It has a session of its own, so it runs beside the service, and goes on where the meter is after any break.
"""

import asyncio
import contextlib
import random
from collections.abc import Sequence
from dataclasses import dataclass

from headend.links import failures
from headend.links.failures import LinkError
from headend.links.image import Image, Sent, Told
from headend.links.mqtt_connection import Publish
from headend.links.mqtt_options import MqttOptions
from headend.links.mqtt_session import Session
from meterlink import image, names, results, states, topics
from meterlink.image import ImageError, Progress

ANSWER_S = 5.0  # for the meter's word on a message; then the image is offered anew
SILENCE_S = 180.0  # without one
OFFERS = 3  # that a meter answers with another image; the first such answer may have been on its way before
PAUSE_S = 1.0  # where the broker, or the meter, is not there
EXPIRY_S = 60


@dataclass(frozen=True)
class OneMeter(MqttOptions):
    """A session that hears how far one meter is."""

    meter: int = 0

    @property
    def filters(self) -> list[str]:
        """The one topic."""
        return [topics.up(self.meter, topics.UP_UPDATE)]


class Sender:
    """See `send`."""

    def __init__(self, options: OneMeter, wanted: Image, told: Told) -> None:
        self._meter = options.meter
        self._options = options
        self._wanted = wanted
        self._told = told
        self._loop = asyncio.get_running_loop()
        self._said: asyncio.Queue[Progress] = asyncio.Queue()
        self._session = Session(options, self._hear, random.random)

    def _hear(self, messages: Sequence[Publish]) -> list[None]:
        """Runs in the session's thread. Nothing of it is stored."""
        for message in messages:
            with contextlib.suppress(ImageError):
                self._loop.call_soon_threadsafe(self._said.put_nowait, image.read_progress(message.payload))
        return [None] * len(messages)

    async def run(self) -> Sent:
        """Send all that the meter lacks; see `send`."""
        self._session.start()
        try:
            return await self._run()
        finally:
            await asyncio.to_thread(self._session.stop)

    async def _run(self) -> Sent:
        message: bytes | None = self._message(0)
        heard_at = self._loop.time()
        strange = 0
        while True:
            said = await self._exchange(message)
            if said is None:
                if self._loop.time() - heard_at > SILENCE_S:
                    raise LinkError(failures.SILENT, self._why())
                message = self._message(0)
                continue
            heard_at = self._loop.time()
            if said.digest8 != self._wanted.sha256[:8]:
                strange += 1
                message = self._message(0)
                if strange < OFFERS:
                    continue
                refused = names.of(names.UPDATE, said.state)
                raise LinkError(failures.REFUSED, f"The meter is busy with another image ({refused}).")
            strange = 0
            if said.state == states.UPDATE_RECEIVING:
                self._told(said.next_record - 1, self._wanted.records)
                message = self._message(said.next_record)
            elif said.state == states.UPDATE_CHECKING:
                message = None  # it speaks again when it has
            else:
                return Sent(said.state, said.result or results.NONE)

    def _message(self, first: int) -> bytes:
        """The offer, or as many pieces from record `first` on as go into a message."""
        last = min(first + image.MAX_PIECES - 1, self._wanted.records) if first else 0
        return image.pack_message(first, [self._wanted.record(number) for number in range(first, last + 1)])

    async def _exchange(self, message: bytes | None) -> Progress | None:
        """Publish, and hear what the meter says to it; None where it says nothing."""
        while not self._said.empty():
            self._said.get_nowait()
        if message is not None:
            topic = topics.down(self._meter, topics.DN_IMAGE)
            if not await asyncio.wrap_future(self._session.publish(topic, message, EXPIRY_S)):
                await asyncio.sleep(PAUSE_S)  # the session connects again by itself, and so does the meter
                return None
        try:
            async with asyncio.timeout(ANSWER_S):
                return await self._said.get()
        except TimeoutError:
            return None

    def _why(self) -> str:
        if not self._session.connected:
            return f"There is no connection to the broker: {self._session.trouble}."
        return f"Meter {topics.meter_name(self._meter)} does not answer over the broker."


async def send(options: OneMeter, wanted: Image, told: Told = lambda done, of: None) -> Sent:
    """Send all that the meter lacks, and wait until it has checked it; LinkError where it stays silent, or has another
    image to see to."""
    return await Sender(options, wanted, told).run()
