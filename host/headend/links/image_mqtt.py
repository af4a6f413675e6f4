"""Sends an image of the firmware to a meter over a broker: one message, then what the meter says to it, then the next.

It goes on where the meter is after any break. `Sender` is given a way to publish and told what the meter says: by a
session of its own (`send`), which runs beside the service, or by the service's (`links.mqtt`).
"""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from headend.links import failures
from headend.links.failures import LinkError
from headend.links.image import Image, Paced, Sent, Told, at_once
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

Publishes = Callable[[bytes], Awaitable[bool]]
"""await publish(message): put it on the meter's dn/image; whether the broker took it. LinkError: there is no use in
going on."""


class Sender:
    """Sends all that a meter lacks, and waits until it has checked it. `heard` is called with what the meter says, in
    the loop that runs `run`.

    silence_s: without a word from the meter; then it is given up.
    """

    def __init__(
        self,
        wanted: Image,
        publish: Publishes,
        told: Told = lambda done, of: None,
        paced: Paced = at_once,
        silence_s: float = SILENCE_S,
    ) -> None:
        self._wanted = wanted
        self._publish = publish
        self._told = told
        self._paced = paced
        self._silence_s = silence_s
        self._loop = asyncio.get_running_loop()
        self._said: asyncio.Queue[Progress] = asyncio.Queue()

    def heard(self, said: Progress) -> None:
        """The meter says how far it is."""
        self._said.put_nowait(said)

    async def run(self) -> Sent:
        """LinkError where the meter stays silent, or has another image to see to."""
        message: bytes | None = self._message(0)
        heard_at = self._loop.time()
        strange = 0
        while True:
            said = await self._exchange(message)
            if said is None:
                if self._loop.time() - heard_at > self._silence_s:
                    raise LinkError(
                        failures.SILENT, f"The meter does not answer over the broker: {self._silence_s:g} s."
                    )
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
        if message is not None:
            await self._paced()
        while not self._said.empty():
            self._said.get_nowait()
        if message is not None and not await self._publish(message):
            await asyncio.sleep(PAUSE_S)  # the session connects again by itself, and so does the meter
            return None
        try:
            async with asyncio.timeout(ANSWER_S):
                return await self._said.get()
        except TimeoutError:
            return None


@dataclass(frozen=True)
class OneMeter(MqttOptions):
    """A session that hears how far one meter is."""

    meter: int = 0

    @property
    def filters(self) -> list[str]:
        """The one topic."""
        return [topics.up(self.meter, topics.UP_UPDATE)]


async def send(options: OneMeter, wanted: Image, told: Told = lambda done, of: None) -> Sent:
    """Send all that the meter lacks over a session of its own, and wait until it has checked it; LinkError where it
    stays silent, or has another image to see to."""
    loop = asyncio.get_running_loop()

    def hear(messages: Sequence[Publish]) -> list[None]:
        """Runs in the session's thread. Nothing of it is stored."""
        for message in messages:
            with contextlib.suppress(ImageError):
                loop.call_soon_threadsafe(sender.heard, image.read_progress(message.payload))
        return [None] * len(messages)

    async def publish(message: bytes) -> bool:
        topic = topics.down(options.meter, topics.DN_IMAGE)
        taken = await asyncio.wrap_future(session.publish(topic, message, EXPIRY_S))
        return taken.ok

    session = Session(options, hear, random.random)
    sender = Sender(wanted, publish, told)
    session.start()
    try:
        return await sender.run()
    except LinkError as error:
        if session.connected:
            raise
        sentence = f"There is no connection to the broker: {session.trouble}."
        raise LinkError(failures.UNREACHABLE, sentence) from error
    finally:
        await asyncio.to_thread(session.stop)
