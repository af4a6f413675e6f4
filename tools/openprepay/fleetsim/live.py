"""A fleet on real carriers: a broker with one connection a meter, Modbus gateways with up to 247 meters each, and the
head end's service, all on the loopback interface.

Time runs `speed` times as fast as the machine's clock, for meters and head end alike; waits of carriers (time-outs,
waits before another connection) are those of the machine. A meter that comes late to its step makes a longer one, in
which energy and charges are the same; so a machine that cannot keep up gives fewer checkpoints, never other registers.
"""

import asyncio
import gc
import random
import resource
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, func, select

from headend.collection import policy as collection
from headend.ledger import payments
from headend.reads import series
from headend.store.schema import meter_event, payment
from meterlink import events, topics
from meterlink.records import RECORD_LENGTH
from metersim.gateway import RTU, TCP, Gateway
from openprepay.demo.broker import HOST, Broker
from openprepay.demo.office import CHANNEL, Office
from openprepay.fleetsim import plan as plans
from openprepay.fleetsim.caller import Caller
from openprepay.fleetsim.flock import WILL, Cut, Flock, Held, Mail
from openprepay.fleetsim.head import commission
from openprepay.fleetsim.plan import Happening
from openprepay.fleetsim.setting import HOUR_S, MODBUS, MQTT, Setting
from openprepay.simcheck.verifier import fast

TICK_S = 0.1  # real, between two looks at who has something to do
PING_S = 15.0
CALL_S = 10.0  # real, over which all connect for the first time
PATIENCE_S = 120.0  # real, until all that was metered is stored
MAX_ON_BUS = 247
SPARE_FILES = 300  # of the process, beside one for each meter
_LOOK_S = 1.0
_RULES: list[dict[str, Any]] = [
    {"profile": collection.PUSH, "report_s": 6 * HOUR_S},
    {"carrier": MODBUS, "profile": collection.FOLLOW, "report_s": 600},
]

_GASPS = select(func.count(meter_event.c.meter.distinct())).where(meter_event.c.code == events.POWER_DOWN)
_PAID = select(payment.c.meter, func.sum(payment.c.amount_uc)).group_by(payment.c.meter)


class FilesError(RuntimeError):
    """The process may not open as many files as the fleet needs; the text says how to let it."""


class FastClock:
    """A clock (`headend.clock.Clock`) that runs `speed` times as fast as the machine's, once it was started."""

    def __init__(self, start_s: int, speed: int) -> None:
        self._start_s = start_s
        self._speed = speed
        self._began: float | None = None

    def start(self) -> None:
        """Let it run."""
        self._began = time.monotonic()

    def now_s(self) -> int:
        """The present, UTC seconds."""
        if self._began is None:
            return self._start_s
        return self._start_s + int((time.monotonic() - self._began) * self._speed)


@dataclass
class LiveOutcome:
    """What was counted. connects, refused: connections to the broker · said, acknowledged, heard: messages of the
    meters on it · gasps: power failures that meters told of, of `warned` · transactions, silent: on the buses ·
    bytes_a_meter: by how much this process, head end included, has grown · late_s: the longest look at the meters."""

    meters: int
    on_bus: int
    speed: int
    seed: int
    connects: int = 0
    refused: int = 0
    said: int = 0
    acknowledged: int = 0
    heard: int = 0
    transactions: int = 0
    silent: int = 0
    warned: int = 0
    gasps: int = 0
    payments: int = 0
    payments_on_meters: int = 0
    intervals_held: int = 0
    intervals_stored: int = 0
    wrong: list[int] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    bytes_a_meter: int = 0
    flash_bytes: int = 0
    late_s: float = 0.0
    seconds: float = 0.0

    @property
    def holds(self) -> bool:
        """All that was metered is stored bit for bit, each payment is on its meter, each last gasp was heard."""
        return (
            self.intervals_stored == self.intervals_held > 0
            and not self.wrong
            and self.payments == self.payments_on_meters
            and self.gasps == self.warned
        )

    def as_json(self) -> dict[str, object]:
        """For a file."""
        return asdict(self)


class Live:
    """One run of `lasts_s` virtual seconds in `folder`. told: called after each look at the meters."""

    def __init__(
        self,
        setting: Setting,
        speed: int,
        lasts_s: int,
        folder: Path,
        plan: tuple[Happening, ...] = plans.LIVE,
        told: Callable[["Live"], None] = lambda _: None,
    ) -> None:
        self.setting = setting
        self.outcome = LiveOutcome(setting.meters, 0, speed, setting.seed)
        self.stories: list[tuple[int, Happening]] = []
        self.mail: list[Mail] = []
        self.connected: set[int] = set()
        self.lost: set[int] = set()
        self.is_over = False
        self._clock = FastClock(setting.start_s, speed)
        self.lasts_s = lasts_s
        self._folder = folder
        self._told = told
        self._plan = plan
        self._ahead = sorted(plan, key=lambda one: one.at_s, reverse=True)
        self._later: list[tuple[int, Callable[[], None]]] = []
        self._rng = random.Random(f"live {setting.seed}")
        self._callers: dict[int, Caller] = {}
        self._gateways: list[Gateway] = []
        self._cuts: list[Cut] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._memory_before = 0
        self.flock: Flock
        self.broker: tuple[str, int]

    @property
    def since_s(self) -> int:
        """How long it has been going on, virtual seconds."""
        return self._clock.now_s() - self.setting.start_s

    @property
    def linked(self) -> int:
        """Meters that have a connection to the broker."""
        return sum(caller.link is not None for caller in self._callers.values())

    @property
    def transactions(self) -> int:
        """On all buses."""
        return sum(gateway.transactions for gateway in self._gateways)

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run it in the background."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def run(self) -> LiveOutcome:
        """All of it. FilesError, BrokerError, OfficeError where it cannot be."""
        want_files(self.setting.meters)
        began = time.monotonic()
        with fast(), Broker(self._folder / "broker") as broker:
            self.broker = HOST, broker.port
            office = Office(self._folder / "head-end", self._clock, broker)
            office.start()
            try:
                asyncio.run(self._run(office))
            finally:
                office.stop()
        self.outcome.seconds = time.monotonic() - began
        return self.outcome

    async def _run(self, office: Office) -> None:
        await self._furnish(office)
        self._clock.start()
        for caller in self._callers.values():
            caller.call(self._rng.random() * CALL_S)
        self.start(self._ping())
        while self.since_s < self.lasts_s:
            await self._look(office)
        held = {of.meter: of for of in self.flock.held(self.setting.start_s, self._clock.now_s())}
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until and not await self._is_all_there(office, held):
            ends = time.monotonic() + _LOOK_S
            while time.monotonic() < ends:
                await self._look(office)
        await self._count(office, held)
        await self._end()

    async def _furnish(self, office: Office) -> None:
        """Gateways, meters, callers."""
        setting = self.setting
        numbers = [setting.number(index) for index in range(setting.meters)]
        on_bus = [number for number in numbers if setting.carrier(number) != MQTT]
        places = dict.fromkeys(numbers, "")
        for at in range(0, len(on_bus), MAX_ON_BUS):
            units = {1 + place: number for place, number in enumerate(on_bus[at : at + MAX_ON_BUS])}
            gateway = Gateway(RTU if len(self._gateways) % 2 else TCP, partial(self._answer, units))
            await gateway.start(HOST)
            self._gateways.append(gateway)
            places.update({number: gateway.address(HOST, unit) for unit, number in units.items()})
        store = office.service.store
        store.write(collection.put, setting.start_s, "system", _RULES, "a simulated fleet").result()
        records = await asyncio.to_thread(commission, store, office.keys, setting, places)
        self._memory_before = memory_bytes()
        self.flock = Flock(setting, records, plans.peak(self._plan, setting.start_s), str(self._folder))
        self._callers = {
            number: Caller(number, self, self._rng) for number in numbers if setting.carrier(number) == MQTT
        }
        self.outcome.on_bus = len(on_bus)

    def _answer(self, units: dict[int, int], unit: int, request: bytes) -> bytes | None:
        number = units.get(unit)
        return None if number is None else self.flock.answer(number, self._clock.now_s(), request)

    # -- a look --------------------------------------------------------------------------------------------------------

    async def _look(self, office: Office) -> None:
        began = time.monotonic()
        office.check()
        self._happen(office)
        now_s = self._clock.now_s()
        given = self.mail, self._cuts, self.connected, self.lost
        self.mail, self._cuts, self.connected, self.lost = [], [], set(), set()
        for said in self.flock.live(now_s, *given):
            if said.what != WILL:
                self._callers[said.meter].say(said.what, said.raw, birth=said.what == topics.UP_STATE)
        for cut in given[1]:
            self._leave([cut.meter], cut.until_s)
        self._told(self)
        spent_s = time.monotonic() - began
        self.outcome.late_s = max(self.outcome.late_s, spent_s - TICK_S)
        await asyncio.sleep(max(0.001, TICK_S - spent_s))

    async def _ping(self) -> None:
        while True:
            await asyncio.sleep(PING_S)
            for caller in self._callers.values():
                if caller.link is not None:
                    caller.link.ping()

    # -- what happens --------------------------------------------------------------------------------------------------

    def _happen(self, office: Office) -> None:
        while self._ahead and self._ahead[-1].at_s <= self.since_s:
            one = self._ahead.pop()
            self.stories.append((self.since_s, one))
            _WHAT[one.name](self, one, office)
        now_s = self._clock.now_s()
        for at_s, back in [later for later in self._later if later[0] <= now_s]:
            self._later.remove((at_s, back))
            back()

    def _leave(self, numbers: list[int], until_s: int) -> None:
        for number in numbers:
            caller = self._callers.get(number)
            if caller is not None:
                caller.leave()
                self._later.append((until_s, caller.back))

    def _storm(self, one: Happening, office: Office) -> None:
        self._leave(list(self._callers), self.setting.start_s + one.until_s)

    def _outage(self, one: Happening, office: Office) -> None:
        until_s = self.setting.start_s + one.until_s
        numbers = [self.setting.number(index) for index in range(self.setting.meters)]
        dark = self._rng.sample(numbers, max(1, len(numbers) * one.share // 100))
        self._cuts = [Cut(number, until_s, warned=True) for number in dark]
        self.outcome.warned = len(dark)

    def _top_up(self, one: Happening, office: Office) -> None:
        numbers = [self.setting.number(index) for index in range(self.setting.meters)]
        for number in self._rng.sample(numbers, max(1, len(numbers) * one.share // 100)):
            self.outcome.payments += 1
            named, amount_uc = f"p{self.outcome.payments}", self._rng.randrange(1, 50) * 1_000_000
            office.service.store.write(payments.take, self._clock.now_s(), CHANNEL, named, number, amount_uc)

    def _peak(self, one: Happening, office: Office) -> None:
        """It is in the loads (`loads.Peak`)."""

    # -- the end -------------------------------------------------------------------------------------------------------

    async def _is_all_there(self, office: Office, held: dict[int, Held]) -> bool:
        stored = await asyncio.to_thread(_stored, office, held)
        gasps = await asyncio.to_thread(office.read, _gasps)
        return (
            all(sha256(stored[number]).digest() == of.digest for number, of in held.items())
            and gasps >= self.outcome.warned
            and not await self._unpaid(office)
        )

    async def _unpaid(self, office: Office) -> int:
        """Meters that are not credited with what was paid for them."""
        paid = await asyncio.to_thread(office.read, _paid)
        return sum(self.flock.credited_uc(number) != amount_uc for number, amount_uc in paid.items())

    async def _count(self, office: Office, held: dict[int, Held]) -> None:
        outcome = self.outcome
        stored = await asyncio.to_thread(_stored, office, held)
        for number, of in held.items():
            outcome.intervals_held += max(0, of.newest - of.oldest + 1)
            outcome.intervals_stored += len(stored[number]) // RECORD_LENGTH
            if sha256(stored[number]).digest() != of.digest:
                outcome.wrong.append(number)
        outcome.payments_on_meters = outcome.payments - await self._unpaid(office)
        outcome.gasps = await asyncio.to_thread(office.read, _gasps)
        outcome.transactions = self.transactions
        outcome.silent = sum(gateway.silent for gateway in self._gateways)
        outcome.counts = dict(office.service.engine.counts)
        outcome.bytes_a_meter = (memory_bytes() - self._memory_before) // self.setting.meters
        outcome.flash_bytes = self.flock.disk_bytes()

    async def _end(self) -> None:
        self.is_over = True
        for caller in self._callers.values():
            caller.leave()
        for gateway in self._gateways:
            await gateway.stop()
        for task in list(self._tasks):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        self.flock.close()


_WHAT: dict[str, Callable[[Live, Happening, Office], None]] = {
    plans.STORM: Live._storm,
    plans.PEAK: Live._peak,
    plans.OUTAGE: Live._outage,
    plans.TOP_UP: Live._top_up,
}


def want_files(meters: int) -> None:
    """See that the process may hold a connection for each meter; what it may have, it takes."""
    wanted = meters + SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= wanted or soft == resource.RLIM_INFINITY:
        return
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise FilesError(f"{meters} meters need {wanted} open files, and {hard} are allowed: ulimit -Hn {wanted}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def memory_bytes() -> int:
    """What is resident of this process."""
    gc.collect()
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def _stored(office: Office, held: dict[int, Held]) -> dict[int, bytes]:
    """The records of each meter as they are stored."""
    return {number: office.read(series.raw, number, of.log_id, of.oldest, of.newest) for number, of in held.items()}


def _gasps(conn: Connection) -> int:
    return int(conn.execute(_GASPS).scalar_one())


def _paid(conn: Connection) -> dict[int, int]:
    return {row[0]: int(row[1]) for row in conn.execute(_PAID)}
