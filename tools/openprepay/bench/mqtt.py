"""MQTT messages a second that the head end has committed, beside a bare paho client on the same broker.

A broker (Mosquitto) holds a backlog of live batches, one interval each, of many meters, for a persistent session, as
after a head end that was away. Measured is how long it takes from the connection to the broker's last word: ours until
the last message is committed on disk and acknowledged, the acknowledgements to the meters handed to the broker as
well; the peer's until its callback has seen the last and paho has acknowledged it, nothing stored and nothing said.
CPU is that of this process, without the broker and without the database where that is a server.
"""

import asyncio
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from os import environ
from pathlib import Path
from statistics import median

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

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

METERS = 2_000
BACKLOG = 3_000  # messages
LIMIT_S = 120.0
OURS, BARE, PUBLISHER = "bench-head-end", "bench-bare", "bench-meters"


def run(seconds: float) -> Iterator[Figure]:
    """On SQLite, and on PostgreSQL where it is installed."""
    with tempfile.TemporaryDirectory(prefix="openprepay-bench-", dir=environ.get("TMPDIR", "/var/tmp")) as name:
        folder = Path(name)
        with PatientBroker(folder / "broker") as broker:
            yield from _measure(Scene(folder, METERS), broker, "", seconds / 2)
            if postgres.programs() is not None:
                with postgres.serving(folder) as url:
                    yield from _measure(Scene(folder, METERS, database=url), broker, "_postgresql", seconds / 2)


class PatientBroker(Broker):
    """A broker that keeps whatever is not delivered yet."""

    def _command(self) -> list[str]:
        command = super()._command()
        with (self.folder / "mosquitto.conf").open("a") as file:
            file.write("max_queued_messages 0\nmax_queued_bytes 0\nmax_inflight_messages 0\n")
        return command


def _measure(scene: Scene, broker: Broker, where: str, seconds: float) -> Iterator[Figure]:
    try:
        meters = _Meters(broker, scene)
        heap.settle()  # as `openprepay serve` does
        ours: list[tuple[float, float]] = []
        bare: list[tuple[float, float]] = []
        ends = time.perf_counter() + seconds
        while len(ours) < (3 if seconds else 1) or time.perf_counter() < ends:
            _leave_session(broker, OURS)
            meters.say()
            ours.append(_clocked(lambda: _take_over(broker, scene)))
            _end_session(broker, OURS)
            _leave_session(broker, BARE)
            meters.say()
            bare.append(_clocked(lambda: _bare(broker)))
            _end_session(broker, BARE)
        rates = [BACKLOG / median(one[0] for one in some) for some in (ours, bare)]
        cpu_us = [median(one[1] for one in some) / BACKLOG * 1e6 for some in (ours, bare)]
        yield against(
            f"mqtt_committed{where}", rates[0], "messages/s", "a bare paho client that acknowledges", rates[1]
        )
        yield against(f"mqtt_committed_cpu{where}", cpu_us[0], "µs/message", "a bare paho client", cpu_us[1])
    finally:
        scene.store.close()


class _Meters:
    """All meters of a scene, on one connection; `say` leaves the next backlog with the broker."""

    def __init__(self, broker: Broker, scene: Scene) -> None:
        self._broker = broker
        self._scene = scene
        self._said = METERS
        for number in range(1, METERS + 1):  # a meter's first word makes its log known
            _, raw = readings.sealed(scene.keys, number, 1, readings.numbered(1, 1))
            scene.engine.up(number, topics.UP_INTERVALS, raw, "mqtt")

    def say(self) -> None:
        publish(self._broker.port, (self._next() for _ in range(BACKLOG)))

    def _next(self) -> tuple[str, bytes]:
        slot, place = divmod(self._said, METERS)
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
    client.disconnect()
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
    client.on_connect = lambda *_: options.subscribe(client)
    client.on_subscribe = lambda *_: subscribed.set()
    options.connect(client)
    client.loop_start()
    if not subscribed.wait(LIMIT_S):
        raise RuntimeError("the broker grants no subscription")
    client.disconnect()
    client.loop_stop()


def _end_session(broker: Broker, client_id: str) -> None:
    """What the meters say next is kept for one session alone."""
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id, protocol=MQTTProtocolVersion.MQTTv5)
    connected = threading.Event()
    client.on_connect = lambda *_: connected.set()
    client.connect("127.0.0.1", broker.port, clean_start=True)
    client.loop_start()
    connected.wait(LIMIT_S)
    client.disconnect()
    client.loop_stop()


def _take_over(broker: Broker, scene: Scene) -> None:
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
        while link.session.counts["acknowledged"] < BACKLOG:
            if time.monotonic() > ends:
                raise RuntimeError(f"not all was committed: {link.session.counts}, {scene.engine.counts}")
            await asyncio.sleep(0.005)
        await link.stop()
        if scene.engine.counts["stored"] - stored != BACKLOG:
            raise RuntimeError(f"not all was stored: {scene.engine.counts}")

    asyncio.run(live())


def _bare(broker: Broker) -> None:
    """A client that looks at each message."""
    options = _options(broker, BARE)
    client = paho.Client(CallbackAPIVersion.VERSION2, BARE, protocol=MQTTProtocolVersion.MQTTv5)
    seen = 0
    all_seen = threading.Event()

    def on_message(_c: object, _u: object, message: paho.MQTTMessage) -> None:
        nonlocal seen
        seen += 1
        if seen == BACKLOG:
            all_seen.set()

    client.on_message = on_message
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = options.session_expiry_s
    client.connect("127.0.0.1", broker.port, clean_start=False, properties=properties)
    client.loop_start()
    if not all_seen.wait(LIMIT_S):
        raise RuntimeError(f"the bare client saw {seen} of {BACKLOG}")
    client.disconnect()
    client.loop_stop()
