"""A day of a fleet, and what of it has arrived: by six in the morning after, and in the end.

The head end's clock, the meters and the air between them go on in rounds. While the meters live a round, the head end
works on what they said in the one before.
"""

import random
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from hashlib import sha256

from headend.orders.actions import Action, Deliver
from headend.reads import series
from headend.store import Store
from meterlink.records import RECORD_LENGTH
from openprepay.fleetsim import plan as plans
from openprepay.fleetsim.air import Air
from openprepay.fleetsim.crew import Crew
from openprepay.fleetsim.flock import Cut, Held, Said
from openprepay.fleetsim.head import HeadEnd
from openprepay.fleetsim.plan import Happening
from openprepay.fleetsim.setting import DAY_S, HOUR_S, MQTT, Setting

BY_S = DAY_S + 6 * HOUR_S  # since the day began: when its readings are to be there
WITHIN_S = DAY_S + 72 * HOUR_S  # and when all that the meters hold is to be
LONG_S = 30 * HOUR_S  # how long a few meters are away
_LOOK_S = HOUR_S  # between two looks whether all is there
_ENDED = ("confirmed", "superseded")


@dataclass
class Outcome:
    """What was counted. Intervals are those that meters closed: `of_day` in the day, `held` all until its end. Times
    are since the day began. in_time, late: as the head end's own collection has counted the day. wrong: meters whose
    records differ from what is stored. meters_cpu_s: 0 where they live in processes of their own."""

    meters: int
    seed: int
    intervals_of_day: int = 0
    stored_by_six: int = 0
    meters_whole_by_six: int = 0
    in_time: int = 0
    late: int = 0
    intervals_held: int = 0
    intervals_stored: int = 0
    whole_after_s: int = 0
    wrong: list[int] = field(default_factory=list)
    payments: int = 0
    payments_on_meters: int = 0
    orders: dict[str, int] = field(default_factory=dict)
    messages: int = 0
    lost: int = 0
    repeated: int = 0
    wiped: int = 0
    wipes: int = 0
    kills: int = 0
    away_percent: float = 0.0
    counts: dict[str, int] = field(default_factory=dict)
    memory_bytes: int = 0
    flash_bytes: int = 0
    seconds: float = 0.0
    head_cpu_s: float = 0.0
    meters_cpu_s: float = 0.0

    @property
    def by_six_percent(self) -> float:
        """Readings of the day that were there by six."""
        return 100 * self.stored_by_six / max(1, self.intervals_of_day)

    @property
    def whole_percent(self) -> float:
        """Of what the meters held of the time until midnight, what was there in the end."""
        return 100 * self.intervals_stored / max(1, self.intervals_held)

    @property
    def holds(self) -> bool:
        """99.5 % by six, everything within 72 h, bit for bit, and each payment on its meter."""
        return (
            self.by_six_percent >= 99.5
            and self.intervals_stored == self.intervals_held
            and not self.wrong
            and self.in_time + self.late == self.intervals_of_day
            and self.payments == self.payments_on_meters
        )

    def as_json(self) -> dict[str, object]:
        """For a file."""
        return {**asdict(self), "by_six_percent": self.by_six_percent, "whole_percent": self.whole_percent}


class Day:
    """One run; `advance` a round at a time, or `run` all of it. told: called after each round."""

    def __init__(
        self,
        store: Store,
        setting: Setting,
        plan: tuple[Happening, ...] = plans.DAY,
        folder: str | None = None,
        long_s: int = LONG_S,
        told: Callable[["Day"], None] = lambda _: None,
    ) -> None:
        self.setting = setting
        self.head = HeadEnd(store, setting)
        self.air = Air(setting)
        self.outcome = Outcome(setting.meters, setting.seed)
        self.stories: list[tuple[int, Happening]] = []
        self._told = told
        self._rng = random.Random(f"day {setting.seed}")
        self._ahead = sorted(plan, key=lambda one: one.at_s, reverse=True)
        self._spells = sorted(
            plans.spells(setting, setting.start_s + BY_S, long_s), key=lambda one: one.from_s, reverse=True
        )
        self._away: dict[int, int] = {}  # meter -> until when
        self._away_rounds = 0
        self._rounds = 0
        self._said: list[Said] = []
        self._connect: set[int] = set()
        self._lose: set[int] = set()
        self._cuts: list[Cut] = []
        records = self.head.commission()
        self.numbers = sorted(records)
        self._on_broker = [number for number in self.numbers if setting.carrier(number) == MQTT]
        self._connect.update(self._on_broker)
        self.crew = Crew(setting, records, plans.peak(plan, setting.start_s), folder)

    @property
    def since_s(self) -> int:
        """How far the day is."""
        return self.head.clock.now_s() - self.setting.start_s

    # -- a round -------------------------------------------------------------------------------------------------------

    def advance(self) -> None:
        """One round of everybody."""
        now_s = self.head.clock.advance(self.setting.round_s)
        self._happen()
        self._links(now_s)
        self.air.arrive(now_s)
        mail = self.air.mail()
        began_s = time.process_time()
        self.crew.begin(now_s, mail, self._cuts, self._connect, self._lose)
        self._cuts, self._connect, self._lose = [], set(), set()
        start_s = time.process_time()
        self.outcome.meters_cpu_s += start_s - began_s if self.setting.processes == 1 else 0
        for action in self.head.take(self.air.heard()):
            self._send(action)
        self.head.due(self._send)
        self.outcome.head_cpu_s += time.process_time() - start_s
        self.air.up(now_s, self.crew.end())
        if self.since_s % HOUR_S == 0:
            self.head.chores(now_s)
        self._rounds += 1
        self._away_rounds += len(self.air.away)
        self._told(self)

    def _send(self, action: Action) -> None:
        ok = self.air.down(self.head.clock.now_s(), action)
        if not ok or isinstance(action, Deliver):
            self.head.engine.sent(action, ok, "" if ok else "no answer")

    # -- what happens --------------------------------------------------------------------------------------------------

    def _happen(self) -> None:
        while self._ahead and self._ahead[-1].at_s <= self.since_s:
            one = self._ahead.pop()
            self.stories.append((self.since_s, one))
            _WHAT[one.name](self, one)

    def _some(self, percent: int) -> list[int]:
        return self._rng.sample(self.numbers, max(1, len(self.numbers) * percent // 100))

    def _storm(self, one: Happening) -> None:
        self._leave(self._on_broker, self.setting.start_s + one.until_s)

    def _outage(self, one: Happening) -> None:
        until_s = self.setting.start_s + one.until_s
        dark = self._some(one.share)
        self._cuts = [Cut(number, until_s, warned=at % 5 != 0) for at, number in enumerate(dark)]

    def _top_up(self, one: Happening) -> None:
        for number in self._some(one.share):
            self.head.pay(number, self._rng.randrange(1, 50) * 1_000_000)
            self.outcome.payments += 1

    def _wipe(self, _one: Happening) -> None:
        self.outcome.wipes += 1
        self.outcome.wiped += self.air.wipe()
        self._lose.update(self._on_broker)
        self._connect.update(number for number in self._on_broker if number not in self.air.away)

    def _kill(self, _one: Happening) -> None:
        self.head.kill()

    def _peak(self, _one: Happening) -> None:
        """It is in the loads (`loads.Peak`)."""

    def _links(self, now_s: int) -> None:
        """Who goes away, and who is back: a little later each, as their clients wait."""
        while self._spells and self._spells[-1].from_s <= now_s:
            spell = self._spells.pop()
            if spell.until_s > now_s:
                self._leave([spell.meter], spell.until_s)
        back = [number for number, until_s in self._away.items() if until_s <= now_s]
        for number in back:
            del self._away[number]
        self.air.find(back)
        self._connect.update(number for number in back if self.setting.carrier(number) == MQTT)

    def _leave(self, numbers: Iterable[int], until_s: int) -> None:
        numbers = list(numbers)
        for number in numbers:
            late_s = self._rng.randrange(60)  # of a client that comes back
            self._away[number] = max(self._away.get(number, 0), until_s + late_s)
        self._lose.update(numbers)
        self._connect.difference_update(numbers)
        self.air.lose(self.head.clock.now_s(), numbers)

    # -- all of it -----------------------------------------------------------------------------------------------------

    def run(self) -> Outcome:
        """The day, the night after it, and as long as it takes until all is there."""
        began = time.monotonic()
        try:
            while self.since_s < BY_S:
                self.advance()
            self.outcome.away_percent = 100 * self._away_rounds / (self._rounds * self.setting.meters)
            held = self._count_by_six()
            self._until_whole(held)
            self._count_in_the_end(held)
        finally:
            self.outcome.memory_bytes, self.outcome.flash_bytes = self.crew.memory()
            self.crew.stop()
        outcome, network = self.outcome, self.air.network
        outcome.messages, outcome.lost, outcome.repeated = network.sent, network.lost, network.repeated
        outcome.kills = self.head.kills
        outcome.counts = dict(self.head.all_counts())
        outcome.orders = self.head.orders()
        outcome.seconds = time.monotonic() - began
        return outcome

    def _count_by_six(self) -> dict[int, Held]:
        start_s = self.setting.start_s
        held = self.crew.held(start_s, start_s + DAY_S)
        for number, of in held.items():
            found = self.head.store.read(series.between, number, start_s, start_s + DAY_S)
            self.outcome.intervals_of_day += of.of_day
            self.outcome.stored_by_six += len(found)
            self.outcome.meters_whole_by_six += len(found) == of.of_day
        return held

    def _until_whole(self, held: dict[int, Held]) -> None:
        """Go on until each meter's records are stored and each payment has arrived, or time is up."""
        waiting = set(held)
        while True:
            waiting = {number for number in waiting if not self._is_whole(held[number])}
            if not waiting and set(self.head.orders()) <= set(_ENDED):
                self.outcome.whole_after_s = self.since_s
                return
            if self.since_s >= WITHIN_S:
                return
            for _ in range(_LOOK_S // self.setting.round_s):
                self.advance()

    def _stored(self, of: Held) -> bytes:
        return self.head.store.read(series.raw, of.meter, of.log_id, of.oldest, of.newest)

    def _is_whole(self, of: Held) -> bool:
        return sha256(self._stored(of)).digest() == of.digest

    def _count_in_the_end(self, held: dict[int, Held]) -> None:
        """Bit for bit what is in flash, and to the unit what was paid."""
        self.head.chores(self.head.clock.now_s() + 2 * HOUR_S)  # as if the hour were over
        self.outcome.in_time, self.outcome.late = self.head.success(self.setting.start_s)
        paid = self.head.paid_uc()
        now = self.crew.held(self.setting.start_s, self.setting.start_s)
        for number, of in held.items():
            raw = self._stored(of)
            self.outcome.intervals_held += max(0, of.newest - of.oldest + 1)
            self.outcome.intervals_stored += len(raw) // RECORD_LENGTH
            if sha256(raw).digest() != of.digest:
                self.outcome.wrong.append(number)
        self.outcome.payments_on_meters = self.outcome.payments - sum(
            1 for number, amount_uc in paid.items() if now[number].credited_uc != amount_uc
        )


_WHAT: dict[str, Callable[[Day, Happening], None]] = {
    plans.STORM: Day._storm,
    plans.PEAK: Day._peak,
    plans.OUTAGE: Day._outage,
    plans.TOP_UP: Day._top_up,
    plans.WIPE: Day._wipe,
    plans.KILL: Day._kill,
}
