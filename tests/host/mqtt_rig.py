"""What the tests of the MQTT link share: a store that can be held up or fail, a meter's end, waits with an end."""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from headend.links.mqtt import MqttCarrier
from headend.links.mqtt_options import MqttOptions
from meterlink import topics
from tests.brokers import Broker
from tests.host.upward import singly

LIMIT_S = 60.0
HEAD_END = "head-end"


def run(scenario: Coroutine[Any, Any, None]) -> None:
    """Run a test's coroutine; one that hangs fails."""
    asyncio.run(asyncio.wait_for(scenario, 3 * LIMIT_S))


async def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for something that has to happen."""
    end = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end, f"never happened: {what}"
        await asyncio.sleep(0.01)


class Store:
    """Stands for the engine: `up` notes a message, and returns when it is "committed".

    `entered`: messages handed in, in order · `committed`: those that `up` returned from · `hold(payload)`: such
    messages wait until `release` · `fail(payload, times)`: that many tries of it raise.
    """

    def __init__(self) -> None:
        self.entered: list[tuple[int, str, bytes]] = []
        self.committed: list[tuple[int, str, bytes]] = []
        self._lock = threading.Lock()
        self._held: dict[bytes, threading.Event] = {}
        self._fails: dict[bytes, tuple[int, Exception]] = {}

    def hold(self, payload: bytes) -> None:
        self._held[payload] = threading.Event()

    def release(self) -> None:
        for event in self._held.values():
            event.set()

    def fail(self, payload: bytes, times: int, error: Exception | None = None) -> None:
        self._fails[payload] = (times, error or RuntimeError("the disk is full"))

    def up(self, meter: int, what: str, raw: bytes) -> None:
        with self._lock:
            self.entered.append((meter, what, raw))
        if raw in self._held:
            self._held[raw].wait(LIMIT_S)
        with self._lock:
            times, error = self._fails.get(raw, (0, RuntimeError()))
            if times:
                self._fails[raw] = (times - 1, error)
                raise error
            self.committed.append((meter, what, raw))

    def times_entered(self, raw: bytes) -> int:
        return sum(1 for message in self.entered if message[2] == raw)

    def has(self, *payloads: bytes) -> bool:
        """Whether all of these are committed."""
        return set(payloads) <= {message[2] for message in self.committed}


def options(broker: Broker, port: int | None = None, **others: Any) -> MqttOptions:
    """The head end's session, quick to come back."""
    settings = {"first_wait_s": 0.05, "longest_wait_s": 0.5, **others}
    return MqttOptions(broker.host, port or broker.port, HEAD_END, **settings)


@contextlib.asynccontextmanager
async def carrier(store: Store, how: MqttOptions) -> AsyncIterator[MqttCarrier]:
    """A running link, connected and subscribed; released and stopped at the end."""
    link = MqttCarrier(how)
    await link.start(singly(store.up))
    try:
        await until(lambda: link.session.connected, f"a connection ({link.session.trouble})")
        yield link
    finally:
        store.release()
        await link.stop()


class Peer:
    """A client of its own at the broker: a meter, as the link sees it. `heard`: (topic, payload, retained)."""

    def __init__(self, broker: Broker, name: str, *, tls: tuple[Path, Path, Path] | None = None, clean: bool = True):
        self.heard: list[tuple[str, bytes, bool]] = []
        self._subscribed = threading.Event()
        connected = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, name, clean_session=clean)
        if tls:
            ca, certificate, key = map(str, tls)
            self._client.tls_set(ca, certificate, key)
        self._client.on_message = lambda _c, _u, m: self.heard.append((m.topic, bytes(m.payload), m.retain))
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_connect = lambda *_: connected.set()
        self._client.connect(broker.host, broker.port)
        self._client.loop_start()
        assert connected.wait(LIMIT_S)

    def say(self, meter: int, what: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish as a meter does; returns when the broker has it."""
        self.publish(topics.up(meter, what), payload, retain=retain)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        self._client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(LIMIT_S)

    def listen(self, topic: str) -> None:
        """Subscribe; returns when it is granted."""
        self._subscribed.clear()
        self._client.subscribe(topic, 1)
        assert self._subscribed.wait(LIMIT_S)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@contextlib.contextmanager
def peer(broker: Broker, name: str = "000000000007", **others: Any) -> Iterator[Peer]:
    one = Peer(broker, name, **others)
    try:
        yield one
    finally:
        one.close()
