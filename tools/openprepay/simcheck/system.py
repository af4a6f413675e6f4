"""The world of one run: a head end, its meters, the network between them, and time."""

import random
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial

from headend.clock import ManualClock
from headend.engine import Engine
from headend.fleet.meters import MeterRecord, add_meter
from headend.gate import policy as gate_policy
from headend.keys.holder import BENCH
from headend.keys.keystore import KeyStore
from headend.keys.provision import provision_record
from headend.keys.signer import Signer
from headend.keys.signer_books import Caps
from headend.keys.signer_log import SignerLog
from headend.ledger.channels import add_channel, new_token
from headend.orders import statements, terms
from headend.orders.actions import Ack, Action, Deliver
from headend.orders.policy import Policy
from headend.store import identity
from meter.exchange import Exchange
from meterlink import bodies, topics
from meterlink.tariff import PER_DAY, PER_MONTH, Tariff
from metersim.board import VirtualBoard
from metersim.inprocess import InProcessMeter
from metersim.load import Load
from openprepay.simcheck import memory
from openprepay.simcheck.network import Network

YEAR_S = 1_767_225_600  # 2026-01-01 00:00 UTC
MONTH_S = YEAR_S + 5_400  # a month ends by the local time of the runs that have one
STEP_S = 5  # of virtual time between two rounds
REPLAY_MS = 90_000
CHANNEL = "counter-1"
MAX_ORDER_UC = 1_000_000_000
CURRENCY = 156
OPENED = 100_000  # orders that may open a relay: the operators of a run are not held back
_ALARMS_AND_DELAYS = (3_000_000, 1_000_000, 120, 10, 30, 10, 0)  # the first seven of `bodies.Limits`
LIMITS = bodies.Limits(*_ALARMS_AND_DELAYS)
RULED = bodies.Limits(
    *_ALARMS_AND_DELAYS,
    credit_limit_uc=2_500_000,
    emergency_uc=1_500_000,
    emergency_from_uc=1_500_000,
    overdraft_uc=300_000,
    min_close_uc=400_000,
    rules=bodies.RULE_REMINDER | bodies.RULE_SUSPEND,
    friendly_from=2,
    friendly_until=5,
    friendly_days=0x7F,
    friendly_jitter_s=90,
)
DEBTS = (
    bodies.DebtTerms(9_000_000, 0, bodies.DEBT_SHARED, 1_500, 0, bodies.PERIOD_DAY, 1, 700_000),
    bodies.DebtTerms(2_000_000, 0, bodies.DEBT_TIMED, 0, 90_001, bodies.PERIOD_DAY, 0, 0),
)


@dataclass(frozen=True)
class Shape:
    """How long a run is and what falls into it.

    start_s: its first second · switch_s: when the later tariff takes over · rounds: with faults, an act in one of
    `act_every` · settle_rounds: without · policy: how patient the head end is.
    """

    start_s: int
    switch_s: int
    rounds: int
    act_every: int
    settle_rounds: int
    policy: Policy


# Three quarters of an hour in which as much happens as in a day; and three hours with the waits of a real head end.
SHORT = Shape(
    start_s=MONTH_S - 300,
    switch_s=MONTH_S + 900,
    rounds=240,
    act_every=3,
    settle_rounds=200,
    policy=Policy(retry_max_s=30, slow_s=60, poll_s=240, gap_s=20, question_s=150),
)
LONG = Shape(YEAR_S, YEAR_S + 9_000, rounds=1200, act_every=8, settle_rounds=900, policy=Policy())


@dataclass
class RandomLoad:
    """A household that changes its mind every few minutes: 0..6 kW, drawn from a seed and the time alone."""

    seed: int

    def watts(self, unix_s: int) -> int:
        return _drawn(self.seed, unix_s // 300)


@lru_cache(maxsize=256)
def _drawn(seed: int, minutes: int) -> int:
    return random.Random(seed * 1_000_003 + minutes).choice((0, 80, 300, 900, 2500, 6000))


class SimulatedMeter:
    """A metering point of the run: physics, firmware, and what it says on the network."""

    def __init__(self, number: int, load: Load, seed: int, record: bytes, start_s: int) -> None:
        self.number = number
        self.record = record
        self.board = VirtualBoard(load, start_s=start_s, seed=seed)
        self.unit = InProcessMeter(self.board, record)
        self.exchange = Exchange(self.unit.meter, REPLAY_MS)
        self.outage_until_s = 0
        self.contact_changes: list[tuple[int, bool]] = [(start_s, True)]

    @property
    def powered(self) -> bool:
        return self.board.mains

    def contact_closed_at(self, unix_s: int) -> bool:
        """What the contact truly was at a second (after that second's change)."""
        closed = True
        for at_s, to in self.contact_changes:
            if at_s > unix_s:
                break
            closed = to
        return closed

    def lose_power(self, until_s: int) -> None:
        self.board.lose_power()
        self.outage_until_s = until_s

    def boot(self) -> None:
        """Power returns: a new firmware on the same flash."""
        self.board.restore_power()
        self.unit = InProcessMeter(self.board)
        self.exchange = Exchange(self.unit.meter, REPLAY_MS)


def _tariff(rng: random.Random, seed: int) -> Tariff:
    """By time of use; for odd seeds by everything at once, and a month ends in the second hour of the run."""
    first_uc = rng.randrange(500_000, 3_000_000)
    if seed % 2 == 0:
        return Tariff((first_uc, 900_000), ((0, 0), (32, 1), (72, 0)))
    prices = (first_uc, *(rng.randrange(400_000, 3_000_000) for _ in range(5)))
    slots = tuple((quarter, quarter // 2 % 2) for quarter in (0, 2, 4, 90, 92, 94))
    return Tariff(
        prices,
        slots,
        utc_offset_quarters=-6,
        steps_wh=(600, 1_500),
        charges=((PER_DAY, 120_001), (PER_MONTH, 700_003)),
        more_days=(((0, 1), (3, 0)),),
        seasons=((6, 1, 1, 1, 1, 1, 1, 1, 1),),
        special_days=((25, 12, 31, 0),),
    )


def _later(plan: Tariff, switch_s: int) -> Tariff | None:
    """What a tariff of everything at once gives way to."""
    if not plan.steps_wh:
        return None
    prices = tuple(price_uc + 77_777 for price_uc in plan.prices_uc_per_kwh)
    return Tariff(prices, plan.slots, -6, switch_s, steps_wh=(500, 2_500), charges=((PER_MONTH, 1),))


def _limits(seed: int) -> bodies.Limits:
    """On half of the seeds with all rules of credit, in either settlement."""
    if seed % 4 in (0, 3):
        return LIMITS
    limits = bodies.decode_limits(RULED.encode())
    limits.settlement = seed // 4 % 2
    return limits


class System:
    """One run on one seed. later: the tariff that takes over at `shape.switch_s`, where one does · limits: of every
    meter, RULED and with DEBTS placed on half of the seeds."""

    def __init__(self, seed: int, meters: int = 3, shape: Shape = SHORT) -> None:
        self.seed = seed
        self.shape = shape
        self.rng = random.Random(seed)
        self.clock = ManualClock(shape.start_s)
        self.network = Network(self.rng)
        self.store = memory.copy_of(memory.empty())
        self.keystore = KeyStore.generate(entropy=self.rng.randbytes, use=BENCH)
        self.signer_log = SignerLog(None)
        self.signer = Signer(self.keystore, self.signer_log, self.clock, Caps(MAX_ORDER_UC))
        self.engine = self._engine()
        self.restarts = 0
        self.restores = 0
        self.tariff = _tariff(self.rng, seed)
        self.limits = _limits(seed)
        self.store.write(self._establish).result()
        self.meters = [self._add(60_000_000 + index) for index in range(meters)]
        self.later = _later(self.tariff, shape.switch_s)
        for meter in self.meters if self.later else ():
            self.store.write(statements.set_tariff, shape.start_s, meter.number, self.later, "operator").result()
        for meter in self.meters if self.limits is not LIMITS else ():
            for number, debt in enumerate(DEBTS):
                self.store.write(terms.set_debt, shape.start_s, meter.number, number + 1, debt, "operator").result()
        self._seen = -1  # of `events`, when the head end last looked
        self.events = 0  # everything that can have changed the database or a meter's orders
        self.log: list[str] = []
        self.kept: list[Callable[[], None]] = []  # messages that somebody on the network has kept

    def _establish(self, conn) -> None:  # type: ignore[no-untyped-def]
        identity.establish(conn, self.shape.start_s, self.keystore.signing_epoch, self.keystore.source, CURRENCY)
        why = "a few meters, and operators without rest"
        gate_policy.put(conn, self.shape.start_s, "system", gate_policy.flat(OPENED), why)
        add_channel(conn, self.shape.start_s, CHANNEL, new_token(self.rng.randbytes), ("payments",), MAX_ORDER_UC)

    def _engine(self) -> Engine:
        self._wake_s = 0
        policy = self.shape.policy
        return Engine(self.store, self.keystore, self.clock, self.rng.randbytes, signer=self.signer, policy=policy)

    def _add(self, number: int) -> SimulatedMeter:
        carrier, address = self.carrier_of(number)
        record = MeterRecord(
            meter=number,
            carrier=carrier,
            address=address,
            tariff=self.tariff.encode(),
            limits=self.limits.encode(),
        )
        self.store.write(add_meter, self.shape.start_s, record).result()
        provision = provision_record(
            self.keystore,
            meter=number,
            account_epoch=1,
            tag_key_version=1,
            interval_minutes=15,
            limits=self.limits.encode(),
            tariff=self.tariff.encode(),
            currency=CURRENCY,
            imp_per_kwh=1600,
        )
        load = RandomLoad(self.seed * 10 + number)
        return SimulatedMeter(number, load, self.seed * 100 + number, provision, self.shape.start_s)

    # -- time --------------------------------------------------------------------------------------------------------

    @property
    def now_s(self) -> int:
        return self.clock.now_s()

    def note(self, text: str) -> None:
        """A line of the run's story, shown when it fails."""
        self.events += 1
        self.log.append(f"{self.now_s - self.shape.start_s:>7} s  {text}")

    def advance(self) -> None:
        """One round: time, firmware, network, head end."""
        self.clock.advance(STEP_S)
        for meter in self.meters:
            self._advance_meter(meter)
        for arrive in self.network.arrivals(self.now_s):
            self.events += 1
            arrive()
        if self._seen != self.events or self.now_s >= self._wake_s:
            self.dispatch(self.engine.due(self.now_s))
            self._seen = self.events
            self._wake_s = self.engine.next_s()

    def _advance_meter(self, meter: SimulatedMeter) -> None:
        board = meter.board
        if not meter.powered:
            board.true_s += STEP_S
            if board.true_s >= meter.outage_until_s:
                meter.boot()
                self.up(meter, topics.UP_STATE, meter.exchange.birth())
            return
        self.steps(meter)
        for message in self.said(meter):
            self.up(meter, *message)

    def steps(self, meter: SimulatedMeter) -> None:
        """A round of a meter with power."""
        for _ in range(STEP_S):
            self.step(meter, 1)

    def step(self, meter: SimulatedMeter, stride_s: int) -> None:
        board = meter.board
        board.advance(stride_s)
        was = board.closed
        meter.unit.step()
        if board.closed != was:
            meter.contact_changes.append((board.true_s, board.closed))

    def said(self, meter: SimulatedMeter) -> list[tuple[str, bytes]]:
        """What the meter has to say now, some of it."""
        messages: list[tuple[str, bytes]] = []
        for _ in range(4):
            message = meter.exchange.say(self.now_s * 1000)
            if message is None:
                break
            messages.append(message)
        return messages

    def carrier_of(self, number: int) -> tuple[str, str]:
        """How a meter is reached: carrier and address."""
        return "mqtt", ""

    # -- the two directions ------------------------------------------------------------------------------------------

    def up(self, meter: SimulatedMeter, what: str, raw: bytes) -> None:
        self._send(lambda: self.dispatch(self.engine.up(meter.number, what, raw, "mqtt")))

    def _send(self, arrive: Callable[[], None]) -> None:
        self.network.send(self.now_s, arrive)
        if self.rng.randrange(20) == 0:
            self.kept.append(arrive)

    def dispatch(self, actions: list[Action]) -> None:
        """Hand actions to the network; it takes everything, and what becomes of it nobody knows."""
        for action in actions:
            self.events += 1
            self._down(action)
            self.engine.sent(action, True, "")

    def _down(self, action: Action) -> None:
        what = topics.DN_ASK
        if isinstance(action, Deliver):
            for piece in action.parcels:
                self._send(partial(self.arrive, action.meter, topics.DN_PARCEL, piece))
            what = topics.DN_ORDER
        elif isinstance(action, Ack):
            what = topics.DN_ACK
        self._send(partial(self.arrive, action.meter, what, action.raw))

    def arrive(self, number: int, what: str, raw: bytes) -> None:
        meter = self.meter(number)
        if meter.powered:
            meter.exchange.hear(what, raw)
            meter.unit.settle()

    def meter(self, number: int) -> SimulatedMeter:
        return next(meter for meter in self.meters if meter.number == number)

    def calm(self) -> None:
        """Faults end: everything arrives, and where mains failed it is back within a minute."""
        self.note("faults end")
        self.network.quiet()
        for meter in self.meters:
            meter.outage_until_s = min(meter.outage_until_s, self.now_s + 60)

    def put_back(self, kept: sqlite3.Connection, *, log_too: bool) -> None:
        """The database is lost, and a copy is put in its place, under a new signing epoch; `log_too`: the signer's log
        is lost with it."""
        self.store.close()
        self.store = memory.copy_of(kept)
        if log_too:
            self.signer_log = SignerLog(None)
        self.keystore.open_epoch()
        self.signer = Signer(self.keystore, self.signer_log, self.clock, Caps(MAX_ORDER_UC))
        self.restart_head_end()
        self.restores += 1

    def restart_head_end(self) -> None:
        """The head end's process ends and another begins on the same database."""
        self.engine = self._engine()
        self.restarts += 1
