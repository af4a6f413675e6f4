"""MQTT messages a second that the head end has committed, beside a bare paho client on the same broker.

A broker (Mosquitto) holds a backlog of live batches, one interval each, of many meters, for a persistent session, as
after a head end that was away. Each of the two takes such a backlog at QoS 1 with the same receive maximum; who fed it
has left before. Measured is how long it takes from the connection: ours until the last message is committed on disk and
acknowledged, and our acknowledgements to the meters are said; the peer's until its callback has seen the last and paho
has acknowledged it, nothing stored and nothing said. CPU is that of this process, without the broker and
without the database where that is a server.
"""

import asyncio
import contextlib
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from os import environ
from pathlib import Path
from statistics import median
from typing import NamedTuple

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from headend.links.mqtt import MqttCarrier
from headend.links.mqtt_options import MqttOptions
from headend.links.port import Message
from headend.orders.actions import Ack
from headend.watch import heap
from meterlink import topics
from openprepay.bench import postgres, readings
from openprepay.bench.figure import Figure, against
from openprepay.bench.scene import Scene
from openprepay.demo.broker import Broker

LIMIT_S = 120.0
OURS, BARE, PUBLISHER = "bench-head-end", "bench-bare", "bench-meters"


class Size(NamedTuple):
    meters: int
    backlog: int  # messages


FULL, SMALL = Size(2_000, 10_000), Size(20, 60)


def run(seconds: float) -> Iterator[Figure]:
    """On SQLite, and on PostgreSQL where it is installed."""
    size = FULL if seconds else SMALL
    with tempfile.TemporaryDirectory(prefix="openprepay-bench-", dir=environ.get("TMPDIR", "/var/tmp")) as name:
        folder = Path(name)
        with PatientBroker(folder / "broker") as broker:
            yield from _measure(Scene(folder, size.meters), broker, "", size, seconds / 2)
            if postgres.programs() is not None:
                with postgres.serving(folder) as url:
                    yield from _measure(
                        Scene(folder, size.meters, database=url), broker, "_postgresql", size, seconds / 2
                    )


class PatientBroker(Broker):
    """A broker that keeps whatever is not delivered yet."""

    def _command(self) -> list[str]:
        command = super()._command()
        with (self.folder / "mosquitto.conf").open("a") as file:
            file.write("max_queued_messages 0\nmax_queued_bytes 0\nmax_inflight_messages 0\n")
        return command


def _measure(scene: Scene, broker: Broker, where: str, size: Size, seconds: float) -> Iterator[Figure]:
    try:
        meters = _Meters(scene, size)
        heap.settle()  # as `openprepay serve` does
        ours: list[tuple[float, float]] = []
        bare: list[tuple[float, float]] = []
        ends = time.perf_counter() + seconds
        while len(ours) < (3 if seconds else 1) or time.perf_counter() < ends:
            backlog = meters.words()
            _leave_session(broker, OURS)
            publish(broker.port, backlog)
            ours.append(_clocked(lambda: _take_over(broker, scene, size.backlog)))
            _end_session(broker, OURS)
            _leave_session(broker, BARE)
            publish(broker.port, backlog)  # the same: what only the peer heard would be missing from our logs
            bare.append(_clocked(lambda: _bare(broker, size.backlog)))
            _end_session(broker, BARE)
        rates = [size.backlog / median(one[0] for one in some) for some in (ours, bare)]
        cpu_us = [median(one[1] for one in some) / size.backlog * 1e6 for some in (ours, bare)]
        yield against(
            f"mqtt_committed{where}", rates[0], "messages/s", "a bare paho client that acknowledges", rates[1]
        )
        yield against(f"mqtt_committed_cpu{where}", cpu_us[0], "µs/message", "a bare paho client", cpu_us[1])
    finally:
        scene.store.close()


class _Meters:
    """All meters of a scene, and what they say next."""

    def __init__(self, scene: Scene, size: Size) -> None:
        self._scene = scene
        self._size = size
        self._said = size.meters
        for number in range(1, size.meters + 1):  # a meter's first word makes its log known
            _, raw = readings.sealed(scene.keys, number, 1, readings.numbered(1, 1))
            scene.engine.up(number, topics.UP_INTERVALS, raw, "mqtt")

    def words(self) -> list[tuple[str, bytes]]:
        return [self._next() for _ in range(self._size.backlog)]

    def _next(self) -> tuple[str, bytes]:
        slot, place = divmod(self._said, self._size.meters)
        self._said += 1
        number, raw = readings.sealed(self._scene.keys, 1 + place, 1 + slot, readings.numbered(1 + slot, 1))
        return topics.up(number, topics.UP_INTERVALS), raw


def publish(port: int, messages: Iterable[tuple[str, bytes]]) -> None:
    """Say these on one connection, with QoS 1; returns when the broker has all."""
    client = paho.Client(CallbackAPIVersion.VERSION2, PUBLISHER, protocol=MQTTProtocolVersion.MQTTv311)
    client.max_queued_messages_set(0)
    client.max_inflight_messages_set(1_000)
    client.connect("127.0.0.1", port)
    client.loop_start()
    for told in [client.publish(topic, raw, qos=1) for topic, raw in messages]:
        told.wait_for_publish(LIMIT_S)
    _leave(client)


def _leave(client: paho.Client) -> None:
    client.disconnect()
    with contextlib.suppress(AttributeError):  # its thread has ended meanwhile, and forgotten itself
        client.loop_stop()


def _clocked(work: Callable[[], None]) -> tuple[float, float]:
    """(seconds, CPU seconds of this process)."""
    began, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - began, time.process_time() - cpu


def _options(broker: Broker, client_id: str) -> MqttOptions:
    return MqttOptions("127.0.0.1", broker.port, client_id)


def _leave_session(broker: Broker, client_id: str) -> None:
    """A persistent session, subscribed to every shard, of a client that is away."""
    options = _options(broker, client_id)
    client = options.client()
    subscribed = threading.Event()

    def ask(*_: object) -> None:
        client.subscribe([(one, SubscribeOptions(qos=1)) for one in options.filters])

    client.on_connect = ask
    client.on_subscribe = lambda *_: subscribed.set()
    options.connect(client)
    client.loop_start()
    if not subscribed.wait(LIMIT_S):
        raise RuntimeError("the broker grants no subscription")
    _leave(client)


def _end_session(broker: Broker, client_id: str) -> None:
    """What the meters say next is kept for one session alone."""
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id, protocol=MQTTProtocolVersion.MQTTv5)
    connected = threading.Event()
    client.on_connect = lambda *_: connected.set()
    client.connect("127.0.0.1", broker.port, clean_start=True)
    client.loop_start()
    connected.wait(LIMIT_S)
    _leave(client)


def _take_over(broker: Broker, scene: Scene, backlog: int) -> None:
    """The head end's link and engine, until the broker has heard that all is committed."""

    async def live() -> None:
        link = MqttCarrier(_options(broker, OURS))

        def up(messages: Sequence[Message]) -> Sequence[BaseException | None]:
            outcomes = scene.engine.up_many([(*one, "mqtt") for one in messages])
            for action in (each for one in outcomes if not isinstance(one, BaseException) for each in one):
                if isinstance(action, Ack):
                    link.tell(action)
            return [one if isinstance(one, BaseException) else None for one in outcomes]

        stored = scene.engine.counts["stored"]
        await link.start(up)
        ends = time.monotonic() + LIMIT_S
        while link.session.counts["acknowledged"] < backlog or link.session.unsaid:
            if time.monotonic() > ends:
                raise RuntimeError(f"not all was committed: {link.session.counts}, {scene.engine.counts}")
            await asyncio.sleep(0.01)
        await link.stop()
        if scene.engine.counts["stored"] - stored != backlog:
            raise RuntimeError(f"not all was stored: {scene.engine.counts}")

    asyncio.run(live())


def _bare(broker: Broker, backlog: int) -> None:
    """A client that looks at each message."""
    options = _options(broker, BARE)
    client = paho.Client(CallbackAPIVersion.VERSION2, BARE, protocol=MQTTProtocolVersion.MQTTv5)
    seen = 0
    all_seen = threading.Event()

    def on_message(_c: object, _u: object, message: paho.MQTTMessage) -> None:
        nonlocal seen
        seen += 1
        if seen == backlog:
            all_seen.set()

    client.on_message = on_message
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = options.session_expiry_s
    properties.ReceiveMaximum = options.window
    client.connect("127.0.0.1", broker.port, clean_start=False, properties=properties)
    client.loop_start()
    if not all_seen.wait(LIMIT_S):
        raise RuntimeError(f"the bare client saw {seen} of {backlog}")
    _leave(client)
