"""Many orders for a few meters over carriers that lose, repeat, delay, reorder and spoil: what became of each is
counted, and what is called confirmed is held against the physics.

Half of the meters are on a broker, half on buses. On a bus nothing comes unasked, and a request or its answer may get
lost; whoever asked is told that it failed, whichever it was.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from sqlalchemy import Connection, func, select

from headend.ledger import payments
from headend.orders import statements
from headend.orders.actions import Action, Ask, Deliver
from headend.refusals import Refused
from headend.store.schema import order
from meterlink import bodies, topics
from meterlink.tariff import Tariff
from openprepay.simcheck.invariants import Invariants
from openprepay.simcheck.people import HOLDS, People
from openprepay.simcheck.system import CHANNEL, SHORT, STEP_S, SimulatedMeter, System
from openprepay.simcheck.verifier import fast

QUIET = 4  # a seed with a plain tariff and plain limits
MQTT, MODBUS = "mqtt", "modbus"
LOST, SPOILED = 12, 4  # percent of requests and answers on a bus; percent of all messages
OPEN = 2  # orders that wait for one meter at a time, about
DAY = replace(SHORT, policy=replace(SHORT.policy, per_second=5_000, batch_actions=1_000))


class Farm(System):
    """`meters` meters, by turns on a broker and on a bus. spoiled: messages of which a bit was changed."""

    def __init__(self, seed: int, meters: int) -> None:
        self.spoiled = 0
        super().__init__(seed * 12 + QUIET, meters, DAY)

    def carrier_of(self, number: int) -> tuple[str, str]:
        return (MODBUS, f"tcp://127.0.0.1:502?unit={number % 240 + 1}") if number % 2 else (MQTT, "")

    def on_bus(self, number: int) -> bool:
        return self.carrier_of(number)[0] == MODBUS

    def steps(self, meter: SimulatedMeter) -> None:
        """All of a round in one step of the firmware."""
        self.step(meter, STEP_S)

    def spoil(self, raw: bytes) -> bytes:
        """Change a bit, now and then."""
        if not raw or self.network.is_quiet or self.rng.randrange(100) >= SPOILED:
            return raw
        self.spoiled += 1
        bit = self.rng.randrange(8 * len(raw))
        return raw[: bit // 8] + bytes((raw[bit // 8] ^ 1 << bit % 8,)) + raw[bit // 8 + 1 :]

    def up(self, meter: SimulatedMeter, what: str, raw: bytes) -> None:
        if not self.on_bus(meter.number):
            super().up(meter, what, self.spoil(raw))

    def arrive(self, number: int, what: str, raw: bytes) -> None:
        super().arrive(number, what, self.spoil(raw))

    def dispatch(self, actions: list[Action]) -> None:
        for action in actions:
            if not self.on_bus(action.meter):
                super().dispatch([action])
            else:
                self.events += 1
                self.network.send(self.now_s, partial(self._transact, action))

    def _transact(self, action: Action) -> None:
        """One request on a bus and its answer, when the bus comes to it."""
        meter = self.meter(action.meter)
        gone = [not self.network.is_quiet and self.rng.randrange(100) < LOST for _ in range(2)]
        if gone[0]:
            self.engine.sent(action, False, "no answer")
            return
        if isinstance(action, Deliver):
            for piece in action.parcels:
                super().arrive(meter.number, topics.DN_PARCEL, piece)
        what = {Deliver: topics.DN_ORDER, Ask: topics.DN_ASK}.get(type(action), topics.DN_ACK)
        super().arrive(meter.number, what, action.raw)
        answers = self.said(meter) if isinstance(action, Ask) else []
        self.engine.sent(action, not gone[1], "no answer" if gone[1] else "")
        for topic, raw in answers if not gone[1] else ():
            self.dispatch(self.engine.up(meter.number, topic, self.spoil(raw), MODBUS))


class Clerks:
    """They state orders of every kind, as long as there are any to state. `stated`: how many."""

    def __init__(self, farm: Farm) -> None:
        self._farm = farm
        self.stated = 0

    def state(self, meter: SimulatedMeter) -> None:
        farm, rng = self._farm, self._farm.rng
        choice = rng.randrange(10)
        hold = rng.choice(HOLDS)
        if choice < 4:
            self._write(statements.stop, meter.number, hold, "operator", valid_s=rng.choice((30, 120, 900)), delay_s=0)
        elif choice < 7:
            close = rng.choice((bodies.CLOSE_PERMIT, bodies.CLOSE_DIRECT))
            self._write(statements.release, meter.number, hold, "operator", close=close)
        elif choice < 9:
            self._write(payments.take, CHANNEL, f"p{self.stated}", meter.number, rng.randrange(1, 9_000_000))
        else:
            plan = Tariff((rng.randrange(500_000, 900_000), 900_000), ((0, 0), (32, 1), (72, 0)))
            self._write(statements.set_tariff, meter.number, plan, "operator")
        if rng.randrange(3) == 0:
            meter.board.press_reconnect()
        farm.events += 1

    def _write(self, fn: Callable[..., object], *args: object, **options: object) -> None:
        try:
            self._farm.store.write(lambda conn: fn(conn, self._farm.now_s, *args, **options)).result()
        except Refused:
            return
        self.stated += 1


def run(orders: int, seed: int = 0, meters: int = 20) -> tuple[Farm, Counter[str], int]:
    """State `orders` orders and see what becomes of them: the farm, orders by their state at the end, and how many
    claims were checked. Raises Broken where a confirmed one was not true."""
    with fast():
        farm = Farm(seed, meters)
        clerks = Clerks(farm)
        invariants = Invariants(farm, People(farm))
        quiet_rounds = 0
        while quiet_rounds < DAY.settle_rounds:
            if clerks.stated >= orders:
                farm.network.quiet()
                quiet_rounds += 1
            elif farm.store.read(_open) < OPEN * meters:
                for meter in farm.meters:
                    clerks.state(meter)
            farm.advance()
            farm.store.read(invariants.check_claims)
        counted = Counter(dict(farm.store.read(_states)))
        farm.store.close()
    return farm, counted, invariants.checks


_ENDED = ("confirmed", "superseded", "expired", "refused", "cancelled", "failed", "accepted")
_OPEN = select(func.count()).select_from(order).where(order.c.state.not_in(_ENDED))
_STATES = select(order.c.state, func.count()).group_by(order.c.state)


def _open(conn: Connection) -> int:
    return int(conn.execute(_OPEN).scalar_one())


def _states(conn: Connection) -> list[tuple[str, int]]:
    return [(state, count) for state, count in conn.execute(_STATES)]
