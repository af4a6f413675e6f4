"""Meters with the firmware itself, in this process, on a real broker, in real time: `with Meters(broker, keys, …)`."""

import queue
import threading
import time
from types import TracebackType
from typing import Self

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from headend.keys.keystore import KeyStore
from headend.keys.provision import provision_record
from meter.exchange import Exchange
from meterlink import reports, topics
from meterlink.orders import ASPECT_CREDIT
from metersim.board import VirtualBoard
from metersim.inprocess import InProcessMeter
from metersim.load import Constant
from tests.brokers import Broker
from tests.host.books import CURRENCY, LIMITS, SOURCE, TARIFF

REPLAY_MS = 5_000
TICK_S = 0.02


class Meters:
    """`numbers` of them, on one connection. `credited_uc(number)`: what a meter holds of source 1, now."""

    def __init__(self, broker: Broker, keys: KeyStore, numbers: tuple[int, ...]) -> None:
        self._keys = keys
        self._broker = broker
        self._lock = threading.Lock()
        self._heard: queue.SimpleQueue[tuple[str, bytes]] = queue.SimpleQueue()
        self._over = threading.Event()
        self.failed: BaseException | None = None
        start_s = int(time.time())
        self.units: dict[int, InProcessMeter] = {}
        for number in numbers:
            fields = {"meter": number, "account_epoch": 1, "tag_key_version": 1, "interval_minutes": 15}
            fields |= {"currency": CURRENCY, "imp_per_kwh": 1600}
            record = provision_record(keys, **fields, limits=LIMITS, tariff=TARIFF)  # type: ignore[arg-type]
            self.units[number] = InProcessMeter(VirtualBoard(Constant(400), start_s=start_s, seed=number), record)
        self._exchanges = {number: Exchange(unit.meter, REPLAY_MS) for number, unit in self.units.items()}
        self._client = paho.Client(CallbackAPIVersion.VERSION2, "meters", clean_session=False)
        self._client.on_message = lambda _c, _u, message: self._heard.put((message.topic, bytes(message.payload)))
        self._client.on_connect = lambda *_: self._born()
        self._thread = threading.Thread(target=self._run, name="meters", daemon=True)

    def credited_uc(self, number: int) -> int:
        with self._lock:
            raw = self.units[number].meter.report(reports.KIND_REPORT, reports.NO_NONCE, ASPECT_CREDIT, SOURCE)
        return reports.Report(raw, self._keys.mac_key(number, 1)).source_credited_uc

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
            for number, exchange in self._exchanges.items():
                self._say(number, topics.UP_STATE, exchange.birth())

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
                self._exchanges[place[0]].hear(place[2], heard[1])
                self.units[place[0]].settle()
            for number, unit in self.units.items():
                behind_s = int(time.time()) - unit.board.true_s
                if behind_s > 0:
                    unit.run(behind_s)
                while (said := self._exchanges[number].say(int(time.monotonic() * 1000) % (1 << 30))) is not None:
                    self._say(number, *said)
