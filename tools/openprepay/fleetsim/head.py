"""The head end under test: its real core on a real database, driven by a clock that the run moves."""

import random
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from sqlalchemy import Connection, Integer, bindparam, func, select

from headend.clock import ManualClock
from headend.collection import policy as collection
from headend.collection.follow import Follower
from headend.engine import Engine
from headend.fleet.meters import MeterRecord, add_meter
from headend.gate import policy as gate_policy
from headend.keys.holder import BENCH
from headend.keys.keystore import KeyStore
from headend.keys.provision import provision_record
from headend.keys.signer import Signer
from headend.keys.signer_books import Caps
from headend.keys.signer_log import SignerLog
from headend.ledger import channels, payments
from headend.orders.actions import Action
from headend.orders.policy import Policy
from headend.store import Store, identity
from headend.store.schema import order, payment
from headend.store.schema_collection import read_success
from meterlink import bodies
from meterlink.tariff import Tariff
from openprepay.fleetsim.flock import Said
from openprepay.fleetsim.setting import DAY_S, HOUR_S, MODBUS, Setting

CHANNEL = "counter-1"
CURRENCY = 156
LIMITS = bodies.Limits(
    alarm_uc=10_000_000, alarm2_uc=5_000_000, trip_delay_s=900, dwell_s=10, spread_s=30, stable_s=10, max_current_ma=0,
    overdraft_uc=1_000_000_000_000,
)  # fmt: skip
TARIFF = Tariff((580_000,))
RULES: list[dict[str, Any]] = [
    {"profile": collection.PUSH, "report_s": 6 * HOUR_S},
    {"carrier": MODBUS, "profile": collection.DAILY, "report_s": 6 * HOUR_S, "from_minute": 15, "spread_minutes": 285},
]
"""What is on a broker brings its records by itself; what is on a bus is read between 00:15 and 05:00."""
_MAX_UC = 1_000_000_000
_ADDED = 500  # meters in a transaction
_POLICY = Policy(per_second=1_000_000, batch_actions=1_000, question_s=900)  # messages wait for the next round
_LOOKS = 50  # at what is due, in a round at most

_STATES = select(order.c.state, func.count()).group_by(order.c.state)
_PAID = select(payment.c.meter, func.sum(payment.c.amount_uc)).group_by(payment.c.meter)
_SUCCESS = select(func.sum(read_success.c.in_time), func.sum(read_success.c.late)).where(
    read_success.c.day == bindparam("on", type_=Integer)
)


def _pair(row: Any) -> tuple[int, int]:
    return int(row[0] or 0), int(row[1] or 0)


def commission(store: Store, keys: KeyStore, setting: Setting, places: dict[int, str]) -> dict[int, bytes]:
    """Enter meters, number -> address; their provisioning records by number."""
    numbers = list(places)
    for at in range(0, len(numbers), _ADDED):
        some = {number: places[number] for number in numbers[at : at + _ADDED]}
        store.write(_add, setting, some).result()
    return {number: _record(keys, number) for number in numbers}


def _add(conn: Connection, setting: Setting, places: dict[int, str]) -> None:
    for number, address in places.items():
        record = MeterRecord(number, setting.carrier(number), address, TARIFF.encode(), LIMITS.encode())
        add_meter(conn, setting.start_s, record)


def _record(keys: KeyStore, number: int) -> bytes:
    return provision_record(
        keys,
        meter=number,
        account_epoch=1,
        tag_key_version=1,
        interval_minutes=15,
        limits=LIMITS.encode(),
        tariff=TARIFF.encode(),
        currency=CURRENCY,
        imp_per_kwh=1600,
    )


class HeadEnd:
    """`engine`: the one that runs now · `kills`: how many went before it · `counts`: what came up at them, by what
    became of it."""

    def __init__(self, store: Store, setting: Setting, policy: Policy = _POLICY) -> None:
        self.store = store
        self.setting = setting
        self.clock = ManualClock(setting.start_s)
        self.rng = random.Random(f"head end {setting.seed}")
        self.keys = KeyStore.generate(entropy=self.rng.randbytes, use=BENCH)
        self._signer = Signer(self.keys, SignerLog(None), self.clock, Caps(_MAX_UC))
        self._policy = policy
        self._paid = 0
        self.kills = 0
        self.counts: Counter[str] = Counter()
        self.write(self._establish)
        self.engine = self._engine()
        self._follower = Follower(store)

    def _engine(self) -> Engine:
        arguments = (self.store, self.keys, self.clock, self.rng.randbytes)
        return Engine(*arguments, signer=self._signer, policy=self._policy)

    def write(self, fn: Callable[..., Any], *arguments: Any) -> Any:
        """`fn(conn, *arguments)` in a transaction."""
        return self.store.write(fn, *arguments).result()

    def _establish(self, conn: Connection) -> None:
        now_s = self.setting.start_s
        identity.establish(conn, now_s, self.keys.signing_epoch, self.keys.source, CURRENCY)
        gate_policy.put(conn, now_s, "system", gate_policy.flat(1_000_000), "a simulated fleet")
        collection.put(conn, now_s, "system", RULES, "a simulated fleet")
        channels.add_channel(conn, now_s, CHANNEL, channels.new_token(self.rng.randbytes), ("payments",), _MAX_UC)

    def commission(self) -> dict[int, bytes]:
        """All meters are entered; their provisioning records by number."""
        numbers = [self.setting.number(index) for index in range(self.setting.meters)]
        places = {number: self._place(number) for number in numbers}
        return commission(self.store, self.keys, self.setting, places)

    def _place(self, number: int) -> str:
        """Where a meter on a bus would be."""
        on_bus = self.setting.carrier(number) == MODBUS
        return f"tcp://127.0.0.1:{1 + number // 240 % 60_000}?unit={number % 240 + 1}" if on_bus else ""

    # -- its work ------------------------------------------------------------------------------------------------------

    def take(self, said: Iterable[Said]) -> list[Action]:
        """What meters said, in the order of arrival; what is to be sent at once."""
        carrier = self.setting.carrier
        actions: list[Action] = []
        for found in self.engine.up_many([(one.meter, one.what, one.raw, carrier(one.meter)) for one in said]):
            if isinstance(found, BaseException):
                raise found
            actions += found
        return actions

    def due(self, send: Callable[[Action], None]) -> None:
        """All that is due now."""
        now_s = self.clock.now_s()
        for _ in range(_LOOKS):
            actions = self.engine.due(now_s)
            for action in actions:
                send(action)
            if not actions:
                return

    def kill(self) -> None:
        """The process ends as it is, and another begins on the same database."""
        self.counts += self.engine.counts
        self.engine = self._engine()
        self.kills += 1

    def pay(self, meter: int, amount_uc: int) -> None:
        """A payment comes in."""
        self._paid += 1
        arguments = (self.clock.now_s(), CHANNEL, f"p{self._paid}", meter, amount_uc)
        self.write(payments.take, *arguments)

    def chores(self, now_s: int) -> None:
        """What collection does besides: it counts what came."""
        while self._follower.run(now_s):
            pass

    # -- looking -------------------------------------------------------------------------------------------------------

    def orders(self) -> dict[str, int]:
        """Orders by their state."""
        return dict(self.store.read(lambda conn: [(row[0], row[1]) for row in conn.execute(_STATES)]))

    def success(self, start_s: int) -> tuple[int, int]:
        """Of the readings of a day, as collection has counted them: (in time, late)."""
        self._follower.look(start_s + DAY_S)
        return self.store.read(lambda conn: _pair(conn.execute(_SUCCESS, {"on": start_s // DAY_S}).one()))

    def paid_uc(self) -> dict[int, int]:
        """What came in for each meter."""
        return dict(self.store.read(lambda conn: [(row[0], int(row[1])) for row in conn.execute(_PAID)]))

    def all_counts(self) -> Counter[str]:
        """`counts` with those of the engine that runs."""
        return self.counts + self.engine.counts
