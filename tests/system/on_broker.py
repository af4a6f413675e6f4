"""Meters of a test on a real broker, in real time, all on one connection: what those have in common whatever they are.

A subclass says what a meter says when it is born, hears, and does meanwhile; all of it under the lock of `meters`.
"""

import queue
import threading
import time
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from meterlink import topics
from tests.brokers import Broker

TICK_S = 0.02


class OnBroker(ABC):
    """`failed`: what ended it, if anything has · `births`: how often it was connected, and all were born."""

    def __init__(self, broker: Broker, name: str) -> None:
        self.failed: BaseException | None = None
        self.births = 0
        self._broker = broker
        self._lock = threading.Lock()
        self._heard: queue.SimpleQueue[tuple[str, bytes]] = queue.SimpleQueue()
        self._over = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, name, clean_session=False)
        self._client.reconnect_delay_set(0.1, 0.5)  # type: ignore[no-untyped-call]
        self._client.on_message = lambda _c, _u, message: self._heard.put((message.topic, bytes(message.payload)))
        self._client.on_connect = lambda *_: self._born()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @abstractmethod
    def _be_born(self) -> None:
        """Each says that it is there."""

    @abstractmethod
    def _hear(self, number: int, what: str, raw: bytes) -> None:
        """A message for a meter."""

    @abstractmethod
    def _go_on(self, now: float) -> None:
        """What they do by themselves, at `time.monotonic()`."""

    def __enter__(self) -> Self:
        self._client.connect(self._broker.host, self._broker.port)
        self._client.loop_start()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        self._thread.join(30)
        self._client.disconnect()
        self._client.loop_stop()

    def _born(self) -> None:
        self._client.subscribe("op/1/+/+/dn/#", 1)
        with self._lock:
            self.births += 1
            self._be_born()

    def _say(self, number: int, what: str, raw: bytes) -> None:
        self._client.publish(topics.up(number, what), raw, qos=1, retain=what == topics.UP_STATE)

    def _run(self) -> None:
        try:
            while not self._over.is_set():
                self._tick()
        except BaseException as error:  # noqa: BLE001 - the test has to learn that its meters stand still
            self.failed = error

    def _tick(self) -> None:
        try:
            heard = self._heard.get(timeout=TICK_S)
        except queue.Empty:
            heard = None
        with self._lock:
            if heard is not None:
                place = topics.parse(heard[0])
                assert place is not None, heard
                self._hear(place[0], place[2], heard[1])
            self._go_on(time.monotonic())
