"""Meters with the firmware itself, in this process, on a real broker, in real time: `with Meters(broker, keys, …)`."""

import time

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
from tests.system.on_broker import OnBroker

REPLAY_MS = 5_000


class Meters(OnBroker):
    """`numbers` of them, on one connection. `credited_uc(number)`: what a meter holds of source 1, now."""

    def __init__(self, broker: Broker, keys: KeyStore, numbers: tuple[int, ...]) -> None:
        super().__init__(broker, "meters")
        self._keys = keys
        start_s = int(time.time())
        self.units: dict[int, InProcessMeter] = {}
        for number in numbers:
            fields = {"meter": number, "account_epoch": 1, "tag_key_version": 1, "interval_minutes": 15}
            fields |= {"currency": CURRENCY, "imp_per_kwh": 1600}
            record = provision_record(keys, **fields, limits=LIMITS, tariff=TARIFF)  # type: ignore[arg-type]
            self.units[number] = InProcessMeter(VirtualBoard(Constant(400), start_s=start_s, seed=number), record)
        self._exchanges = {number: Exchange(unit.meter, REPLAY_MS) for number, unit in self.units.items()}

    def credited_uc(self, number: int) -> int:
        with self._lock:
            raw = self.units[number].meter.report(reports.KIND_REPORT, reports.NO_NONCE, ASPECT_CREDIT, SOURCE)
        return reports.Report(raw, self._keys.mac_key(number, 1)).source_credited_uc

    def _be_born(self) -> None:
        for number, exchange in self._exchanges.items():
            self._say(number, topics.UP_STATE, exchange.birth())

    def _hear(self, number: int, what: str, raw: bytes) -> None:
        self._exchanges[number].hear(what, raw)
        self.units[number].settle()

    def _go_on(self, now: float) -> None:
        for number, unit in self.units.items():
            behind_s = int(time.time()) - unit.board.true_s
            if behind_s > 0:
                unit.run(behind_s)
            while (said := self._exchanges[number].say(int(now * 1000) % (1 << 30))) is not None:
                self._say(number, *said)
