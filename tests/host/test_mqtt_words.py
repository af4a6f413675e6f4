"""Acknowledgements to meters: said at QoS 0, since a lost one only brings its records once more."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from headend.links.mqtt import MqttCarrier
from headend.links.mqtt_options import MqttOptions
from headend.orders.actions import Ack, Ask
from meterlink import topics
from tests.brokers import Broker
from tests.host.mqtt_rig import HEAD_END, Store, carrier, options, peer, run, until
from tests.host.upward import singly

A = 7
IDENTIFIERS = 65_535  # of packets (MQTT 5, 2.2.1): then they begin anew
WORD = topics.down(A, topics.DN_ACK).encode()


class Ear:
    """A broker that lets in whoever comes, and then reads as long as it is `open`; it acknowledges nothing."""

    def __init__(self) -> None:
        self.heard = bytearray()
        self.open = asyncio.Event()
        self.open.set()

    @contextlib.asynccontextmanager
    async def link(self, **others: int) -> AsyncIterator[MqttCarrier]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        made = MqttCarrier(MqttOptions("127.0.0.1", server.sockets[0].getsockname()[1], HEAD_END, **others))
        async with server:
            await made.start(singly(Store().up))
            await until(lambda: made.session.connected, "it is let in")
            yield made
            self.open.set()
            await made.stop()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(HEAD_END.encode())
        writer.write(b"\x20\x03\x00\x00\x00")
        await reader.readuntil(b"op/1/63/+/up/#")
        writer.write(b"\x90\x43\x00\x01\x00" + b"\x01" * 64)
        while data := await reader.read(65_536):
            self.heard += data
            await self.open.wait()


def test_they_reach_the_meter_in_order_and_want_no_answer(tmp_path: Path) -> None:
    async def scenario() -> None:
        with Broker(tmp_path) as broker, peer(broker) as meter:
            meter.listen(topics.down(A, "#"))
            async with carrier(Store(), options(broker)) as link:
                words = [b"up to %d" % number for number in range(50)]
                for word in words:
                    link.tell(Ack(A, word))
                await until(lambda: len(meter.heard) == 50, "all came")
                assert [raw for _, raw, _ in meter.heard] == words
                assert link.session.unsaid == 0 and link.counts["not_told"] == 0
            assert f"Sending PUBACK to {HEAD_END}" not in broker.log()

    run(scenario())


def test_one_whose_identifier_is_an_order_s_is_not_taken_for_its_acknowledgement() -> None:
    """As many words as there are identifiers go by while the broker keeps a question to itself."""

    async def scenario() -> None:
        ear = Ear()
        async with ear.link() as link:
            asked = asyncio.create_task(link.send(Ask(A, b"question")))
            await until(lambda: b"question" in ear.heard, "the question is with the broker")
            for left in range(IDENTIFIERS + 100, 0, -5_000):
                for _ in range(min(left, 5_000)):
                    link.tell(Ack(A, b"word"))
                await until(lambda: link.session.unsaid == 1, "these are said")
            assert not asked.done()
            asked.cancel()
        assert ear.heard.count(WORD) == IDENTIFIERS + 100

    run(scenario())


def test_a_broker_that_does_not_read_fills_no_memory() -> None:
    async def scenario() -> None:
        ear = Ear()
        ear.open.clear()
        async with ear.link(queued=500) as link:
            while not link.counts["not_told"]:  # what the sockets hold, and then what may wait
                link.tell(Ack(A, bytes(8_000)))
            assert link.session.unsaid == 500
            ear.open.set()
            await until(lambda: link.session.unsaid == 0, "all is said")
            link.tell(Ack(A, b"the last"))
            await until(lambda: b"the last" in ear.heard, "it goes on")
            assert ear.heard.count(WORD) > 500 and link.counts["not_told"] == 1

    run(scenario())
