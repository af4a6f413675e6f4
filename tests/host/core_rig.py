"""A head end and one meter with the firmware itself, in this process, on one clock: `with Pair("mqtt") as pair`.

Over "modbus" the meter speaks only when it is asked, as on a bus: no receipt comes by itself. `on_the_way(action)`
says what becomes of an action: itself, another, or None for one that is lost; `heard(what)`, whether a message of the
meter arrives.
"""

from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Connection, select, update

from headend.clock import ManualClock
from headend.engine import Engine
from headend.keys.holder import BENCH, KeyName, VendingName
from headend.keys.keystore import KeyStore
from headend.keys.provision import provision_record
from headend.keys.signer import Signer
from headend.keys.signer_books import Caps
from headend.keys.signer_log import SignerLog
from headend.orders.actions import Ack, Action, Ask, Deliver
from headend.store import Store
from headend.store.schema import meter as meter_table
from headend.store.schema import meter_trust
from headend.tokens.decoder import Decoder, put
from meter.exchange import Exchange
from meterlink import batches, topics
from meterlink.batches import BatchError
from metersim.board import VirtualBoard
from metersim.inprocess import InProcessMeter
from metersim.load import Constant
from tests.host.books import CURRENCY, LIMITS, METER, NOW_S, TARIFF, open_books
from tests.host.peer import Noise
from tests.host.rows import Rows

_UP = {
    batches.KIND_REPORT: topics.UP_REPORT,
    batches.KIND_INTERVALS: topics.UP_INTERVALS,
    batches.KIND_EVENTS: topics.UP_EVENTS,
    batches.KIND_RECEIPT: topics.UP_RECEIPT,
    batches.KIND_HELD: topics.UP_HELD,
}


class Pair(Rows):
    """`store`, `keys`, `engine`, `unit` (metersim.inprocess.InProcessMeter) and `clock` are at hand."""

    _wake_s = 0  # the engine has nothing to do before, unless something comes up

    def __init__(self, carrier: str = "mqtt", decoder: Decoder | None = None) -> None:
        noise = Noise()
        self.carrier = carrier
        self.keys = KeyStore.generate(noise, use=BENCH)
        self.clock = ManualClock(NOW_S)
        self.store: Store = open_books()
        if carrier == "modbus":
            where = {"carrier": carrier, "address": "tcp://127.0.0.1:1?unit=1"}
            self.store.write(lambda conn: conn.execute(update(meter_table).values(**where))).result()
        self.signer = Signer(self.keys, SignerLog(None), self.clock, Caps(10**12))
        self.engine = Engine(self.store, self.keys, self.clock, noise, signer=self.signer)
        board = VirtualBoard(Constant(400), start_s=NOW_S, seed=METER)
        if decoder is not None:
            self.keys.add_vending_key(VendingName(decoder.supply_group, decoder.key_revision))
            self.store.write(put, METER, decoder).result()
        self.unit = InProcessMeter(board, self.record(decoder=decoder))
        self.exchange = Exchange(self.unit.meter, 90_000)
        self.on_the_way: Callable[[Action], Action | None] = lambda action: action
        self.heard: Callable[[str], bool] = lambda what: True  # whether a message of the meter arrives
        if carrier == "mqtt":
            self.up(topics.UP_STATE, self.exchange.birth())

    def record(self, **others: Any) -> bytes:
        fields: dict[str, Any] = {"meter": METER, "account_epoch": 1, "tag_key_version": 1, "interval_minutes": 15}
        fields |= {"limits": LIMITS, "tariff": TARIFF, "currency": CURRENCY, "imp_per_kwh": 1600}
        return provision_record(self.keys, **{**fields, **others})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.store.close()

    # --- the wire -----------------------------------------------------------------------------------------------------

    def up(self, what: str, raw: bytes) -> None:
        if not self.heard(what):
            return
        self._wake_s = 0
        for action in self.engine.up(METER, what, raw, self.carrier):
            self._carry(action)

    def run(self, seconds: int) -> None:
        """Let time pass. The engine is called when it wished to be, after what came up, and at the end."""
        self._wake_s = 0
        for left in reversed(range(seconds)):
            self.clock.advance(1)
            self.unit.run(1)
            self._listen()
            if left and self.clock.now_s() < self._wake_s:
                continue
            for action in self.engine.due(self.clock.now_s()):
                self._carry(action)
            if left:
                self._wake_s = self.engine.next_s()

    def until(self, reached: Callable[[], bool], seconds: int = 600) -> None:
        """Let time pass until that is so."""
        for _ in range(seconds):
            if reached():
                return
            self.run(1)
        raise AssertionError(f"not within {seconds} s")

    def _listen(self) -> None:
        while self.carrier == "mqtt":
            message = self.exchange.say(self.clock.now_s() * 1000)
            if message is None:
                return
            self.up(*message)

    def _carry(self, action: Action) -> None:
        self.engine.sent(action, True)
        arrived = self.on_the_way(action)
        if arrived is not None:
            self._arrive(arrived)

    def _arrive(self, action: Action) -> None:
        if self.carrier == "mqtt":
            for piece in action.parcels if isinstance(action, Deliver) else ():
                self.exchange.hear(topics.DN_PARCEL, piece)
            self.exchange.hear(_DOWN[type(action)], action.raw)
            self.unit.settle()
        else:
            self._on_bus(action)

    def _on_bus(self, action: Action) -> None:
        meter = self.unit.meter
        if isinstance(action, Deliver):
            for piece in action.parcels:
                meter.parcels.take(meter.CARRIER_BUS, piece)
            meter.submit(meter.CARRIER_BUS, action.raw)
            self.unit.settle()
        elif isinstance(action, Ask):
            try:
                kind, raw = meter.ask(action.raw)
            except BatchError:
                return
            self.up(_UP[kind], raw)
        else:
            meter.ack(action.raw)

    def outage(self) -> None:
        """Mains fails at the meter for a minute."""
        self.unit.power_cycle(60)
        self.clock.advance(60)
        self.exchange = Exchange(self.unit.meter, 90_000)
        if self.carrier == "mqtt":
            self.up(topics.UP_STATE, self.exchange.birth())

    # --- the database -------------------------------------------------------------------------------------------------

    def trust(self) -> Any:
        """`meter_trust` of the meter, with its `tag_key_version`."""

        def read(conn: Connection) -> Any:
            joined = meter_trust.join(meter_table, meter_table.c.meter == meter_trust.c.meter)
            return conn.execute(select(meter_trust, meter_table.c.tag_key_version).select_from(joined)).one()

        return self.store.read(read)

    def keys_stated(self, names: list[KeyName]) -> list[tuple[int, int, bytes]]:
        return [(name.role, name.version, self.keys.public_key(name)) for name in names]


_DOWN = {Deliver: topics.DN_ORDER, Ask: topics.DN_ASK, Ack: topics.DN_ACK}
