"""However records come, days are judged, decided on and judged again: no watt-hour is lost and no record is touched.

A household lives, loses power, formats its flash; its records come in any order, some never. What is said of the series
is said from the household's own books, apart from validation.
"""

from typing import Any

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from sqlalchemy import select

from headend.reads import cursors, logs
from headend.reads import series as records
from headend.store.schema_quality import quality_case, quality_day, quality_replaced
from headend.validation import cases, policy, reviewing, series, verdicts
from headend.validation.follow import Follower
from headend.validation.rules import RULES
from headend.validation.rules.kinds import NOTHING
from headend.validation.words import ACCEPTED, OPEN, REJECTED
from tests.host.books import METER, open_books
from tests.host.quality_rig import DAY_S, MONDAY_S, PERIOD_S, House

CLERK = "user:clerk"
PART = 24  # periods that pass at a time: a quarter of a day
POLICIES: tuple[list[Any], ...] = (
    [],
    [{"rules": {"spike": {"percent": 101, "floor_wh": 0}, "stuck": {"times": 3, "floor_wh": 1}}}],
    [{"rules": {code: {"severity": "off"} for code in ("spike", "capacity", "stuck", "estimated")}}],
)


class Readings(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.store = open_books("", (METER,))
        self.house = House()
        self.now_s = MONDAY_S
        self.truth: dict[tuple[int, int], tuple[int, int]] = {}  # (log, number) -> start, Wh
        self.waiting: list[tuple[House, int]] = []
        self.stored: dict[tuple[int, int], records.Reading] = {}
        self.follower = Follower(self.store)
        self.versions: list[Any] = []
        self._live([100] * 4, True)

    def teardown(self) -> None:
        self.store.close()

    def _live(self, values: list[int], arrives: bool) -> None:
        numbers = self.house.live(self.now_s, values)
        for seq, one in zip(numbers, self.house.readings(numbers), strict=True):
            self.truth[one.log_id, seq] = one.start_s, one.import_wh
        self.now_s += len(values) * PERIOD_S
        if arrives:
            self._arrive([(self.house, seq) for seq in numbers])
        else:
            self.waiting += [(self.house, seq) for seq in numbers]

    def _arrive(self, some: list[tuple[House, int]]) -> None:
        for house in {id(house): house for house, _ in some}.values():
            numbers = sorted(seq for other, seq in some if other is house)
            house.arrive(self.store, self.now_s, numbers)
            for one in house.readings(numbers):
                self.stored[one.log_id, one.seq] = one

    # --- what happens -------------------------------------------------------------------------------------------------

    @rule(wh=st.integers(0, 3_000), spread=st.integers(0, 9), arrives=st.booleans(), peak=st.integers(0, 40_000))
    def pass_time(self, wh: int, spread: int, arrives: bool, peak: int) -> None:
        self._live([*[wh + at % (spread + 1) for at in range(PART - 1)], peak], arrives)

    @rule(periods=st.integers(1, 40))
    def lose_power(self, periods: int) -> None:
        self.now_s += periods * PERIOD_S

    @rule()
    def format_flash(self) -> None:
        """The meter begins another log; its registers go on."""
        self.house = House(log_id=self.house.log_id + 1, register_wh=self.house.import_reg_wh)
        state = self.store.read(cursors.of, METER)
        self.store.write(logs.begin, self.now_s, state, self.house.log_id).result()

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def come_late(self, data: Any) -> None:
        number = data.draw(st.integers(1, min(len(self.waiting), 60)))
        first = data.draw(st.integers(0, len(self.waiting) - number))
        some, self.waiting[first : first + number] = self.waiting[first : first + number], []
        self._arrive(some)

    @rule()
    def run(self) -> None:
        while self.follower.follow(self.now_s):
            pass

    @rule(which=st.sampled_from(POLICIES))
    def set_policy(self, which: list[Any]) -> None:
        self.store.write(policy.put, self.now_s, which, CLERK, "another").result()

    @rule(back=st.integers(0, 6))
    def judge_again(self, back: int) -> None:
        last = self.now_s // DAY_S
        self.store.write(reviewing.judge_again, self.now_s, METER, last - back, last, CLERK).result()

    def _open(self) -> list[Any]:
        return self.store.read(cases.listed)

    @precondition(lambda self: self._open())
    @rule(data=st.data(), state=st.sampled_from((ACCEPTED, REJECTED)))
    def decide(self, data: Any, state: str) -> None:
        case = data.draw(st.sampled_from(self._open()))
        if state == ACCEPTED or RULES[case.rule].doubts != NOTHING:
            self.store.write(reviewing.decide, self.now_s, case.id, state, CLERK, "looked at").result()

    # --- what holds ---------------------------------------------------------------------------------------------------

    @invariant()
    def records_are_as_they_came(self) -> None:
        found = self.store.read(records.between, METER, MONDAY_S, self.now_s + DAY_S)
        assert {(one.log_id, one.seq): one for one in found} == self.stored and len(found) == len(self.stored)

    @invariant()
    def every_period_has_one_value(self) -> None:
        found = self.store.read(series.validated, METER, MONDAY_S, self.now_s + DAY_S)
        starts = [one.start_s for one in found]
        assert starts == sorted(set(starts))
        rejected = self._rejected()
        measured = {one.start_s: one.import_wh for one in self.stored.values() if one.start_s not in rejected}
        assert {one.start_s: one.import_wh for one in found if one.quality == "measured"} == measured

    @invariant()
    def bound_estimates_come_to_what_was_lost(self) -> None:
        """Right behind a judgement of all, what is estimated and bound is what the household had in these periods."""
        last = self.now_s // DAY_S
        self.store.write(reviewing.judge_again, self.now_s, METER, MONDAY_S // DAY_S, last, CLERK).result()
        lost: dict[int, int] = {}
        for start, wh in self.truth.values():
            lost[start] = lost.get(start, 0) + wh
        found = self.store.read(series.validated, METER, MONDAY_S, self.now_s + DAY_S)
        run_wh = [0, 0]  # of the gap at hand: estimated, true
        for one in [*found, None]:
            if one is not None and one.quality == "estimated" and one.total == "registers":
                run_wh[0] += one.import_wh
                run_wh[1] += lost.get(one.start_s, 0)
            else:
                assert run_wh[0] == run_wh[1], one
                run_wh = [0, 0]
        for one in found:
            assert one.quality == "measured" or one.method, one

    @invariant()
    def history_grows(self) -> None:
        now = self.store.read(lambda conn: list(conn.execute(select(quality_day).order_by(*quality_day.primary_key))))
        assert set(self.versions) <= set(now)
        self.versions = now
        by_day: dict[int, list[int]] = {}
        for row in now:
            by_day.setdefault(row.day, []).append(row.version)
            assert row.measured + row.estimated <= row.expected
        assert all(some == list(range(1, len(some) + 1)) for some in by_day.values())

    @invariant()
    def one_case_stands_for_what_is_found(self) -> None:
        standing = self.store.read(verdicts.standing, METER, 0, 10**6)
        held = {
            (day, one.rule)
            for day, row in standing.items()
            for one in verdicts.read_findings(row.findings)
            if one.severity == "hold"
        }
        mine = select(quality_case).where(quality_case.c.standing == 1)
        rows = self.store.read(lambda conn: list(conn.execute(mine)))
        assert sorted((row.day, row.rule) for row in rows) == sorted(held)
        assert {row.state for row in rows} <= {OPEN, ACCEPTED, REJECTED}

    @invariant()
    def what_was_replaced_is_measured(self) -> None:
        rows = self.store.read(lambda conn: list(conn.execute(select(quality_replaced))))
        assert len({(row.day, row.version) for row in rows}) == len(rows)
        assert all(row.periods >= 1 for row in rows)

    def _rejected(self) -> set[int]:
        return set(self.store.read(cases.rejected, METER, 0, 10**6))


TestReadings = Readings.TestCase
TestReadings.settings = settings(
    max_examples=20, stateful_step_count=14, deadline=None, phases=[Phase.generate, Phase.shrink]
)
