"""The world of one run: a head end, its meters, the network between them, and time."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

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
from headend.store import Store, identity, open_store
from meter.exchange import Exchange
from meterlink import bodies, topics
from meterlink.tariff import PER_DAY, PER_MONTH, Tariff
from metersim.board import VirtualBoard
from metersim.inprocess import InProcessMeter
from metersim.load import Load
from openprepay.simcheck.network import Network

START_S = 1_767_225_600
SWITCH_S = START_S + 9_000
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


@dataclass
class RandomLoad:
    """A household that changes its mind every few minutes: 0..6 kW, drawn from a seed and the time alone."""

    seed: int

    def watts(self, unix_s: int) -> int:
        return random.Random(self.seed * 1_000_003 + unix_s // 300).choice((0, 80, 300, 900, 2500, 6000))


class SimulatedMeter:
    """A metering point of the run: physics, firmware, and what it says on the network."""

    def __init__(self, number: int, load: Load, seed: int, record: bytes) -> None:
        self.number = number
        self.record = record
        self.board = VirtualBoard(load, start_s=START_S, seed=seed)
        self.unit = InProcessMeter(self.board, record)
        self.exchange = Exchange(self.unit.meter, REPLAY_MS)
        self.outage_until_s = 0
        self.contact_changes: list[tuple[int, bool]] = [(START_S, True)]

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


def _later(plan: Tariff) -> Tariff | None:
    """What a tariff of everything at once gives way to, in the third hour of the run."""
    if not plan.steps_wh:
        return None
    prices = tuple(price_uc + 77_777 for price_uc in plan.prices_uc_per_kwh)
    return Tariff(prices, plan.slots, -6, SWITCH_S, steps_wh=(500, 2_500), charges=((PER_MONTH, 1),))


def _limits(seed: int) -> bodies.Limits:
    """On half of the seeds with all rules of credit, in either settlement."""
    if seed % 4 in (0, 3):
        return LIMITS
    limits = bodies.decode_limits(RULED.encode())
    limits.settlement = seed // 4 % 2
    return limits


class System:
    """One run on one seed. later: the tariff that takes over at SWITCH_S, where one does · limits: of every meter,
    RULED and with DEBTS placed on half of the seeds."""

    def __init__(self, seed: int, meters: int = 3) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.clock = ManualClock(START_S)
        self.network = Network(self.rng)
        self.store: Store = open_store("sqlite://")
        self.keystore = KeyStore.generate(entropy=self.rng.randbytes, use=BENCH)
        self.signer = Signer(self.keystore, SignerLog(None), self.clock, Caps(MAX_ORDER_UC))
        self.engine = self._engine()
        self.restarts = 0
        self.tariff = _tariff(self.rng, seed)
        self.limits = _limits(seed)
        self.store.write(self._establish).result()
        self.meters = [self._add(60_000_000 + index) for index in range(meters)]
        self.later = _later(self.tariff)
        for meter in self.meters if self.later else ():
            self.store.write(statements.set_tariff, START_S, meter.number, self.later, "operator").result()
        for meter in self.meters if self.limits is not LIMITS else ():
            for number, debt in enumerate(DEBTS):
                self.store.write(terms.set_debt, START_S, meter.number, number + 1, debt, "operator").result()
        self.events = 0  # everything that can have changed the database or a meter's orders
        self.log: list[str] = []
        self.kept: list[Callable[[], None]] = []  # messages that somebody on the network has kept

    def _establish(self, conn) -> None:  # type: ignore[no-untyped-def]
        identity.establish(conn, START_S, self.keystore.signing_epoch, self.keystore.source, CURRENCY)
        gate_policy.put(conn, START_S, "system", gate_policy.flat(OPENED), "three meters, and operators without rest")
        add_channel(conn, START_S, CHANNEL, new_token(self.rng.randbytes), ("payments",), MAX_ORDER_UC)

    def _engine(self) -> Engine:
        return Engine(self.store, self.keystore, self.clock, self.rng.randbytes, signer=self.signer)

    def _add(self, number: int) -> SimulatedMeter:
        record = MeterRecord(
            meter=number, carrier="mqtt", address="", tariff=self.tariff.encode(), limits=self.limits.encode()
        )
        self.store.write(add_meter, START_S, record).result()
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
        return SimulatedMeter(number, RandomLoad(self.seed * 10 + number), self.seed * 100 + number, provision)

    # -- time --------------------------------------------------------------------------------------------------------

    @property
    def now_s(self) -> int:
        return self.clock.now_s()

    def note(self, text: str) -> None:
        """A line of the run's story, shown when it fails."""
        self.events += 1
        self.log.append(f"{self.now_s - START_S:>7} s  {text}")

    def advance(self) -> None:
        """One round: time, firmware, network, head end."""
        self.clock.advance(STEP_S)
        for meter in self.meters:
            self._advance_meter(meter)
        for arrive in self.network.arrivals(self.now_s):
            self.events += 1
            arrive()
        self.dispatch(self.engine.due(self.now_s))

    def _advance_meter(self, meter: SimulatedMeter) -> None:
        board = meter.board
        if not meter.powered:
            board.true_s += STEP_S
            if board.true_s >= meter.outage_until_s:
                meter.boot()
                self._up(meter, topics.UP_STATE, meter.exchange.birth())
            return
        for _ in range(STEP_S):
            board.advance(1)
            was = board.closed
            meter.unit.step()
            if board.closed != was:
                meter.contact_changes.append((board.true_s, board.closed))
        for _ in range(4):
            message = meter.exchange.say(self.now_s * 1000)
            if message is None:
                break
            self._up(meter, *message)

    # -- the two directions ------------------------------------------------------------------------------------------

    def _up(self, meter: SimulatedMeter, what: str, raw: bytes) -> None:
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
                self._send(partial(self._arrive, action.meter, topics.DN_PARCEL, piece))
            what = topics.DN_ORDER
        elif isinstance(action, Ack):
            what = topics.DN_ACK
        self._send(partial(self._arrive, action.meter, what, action.raw))

    def _arrive(self, number: int, what: str, raw: bytes) -> None:
        meter = self.meter(number)
        if meter.powered:
            meter.exchange.hear(what, raw)
            meter.unit.settle()

    def meter(self, number: int) -> SimulatedMeter:
        return next(meter for meter in self.meters if meter.number == number)

    def restart_head_end(self) -> None:
        """The head end's process ends and another begins on the same database."""
        self.engine = self._engine()
        self.restarts += 1
