"""Validation in the store, on SQLite and on PostgreSQL: versions, cases, estimates until the truth arrives."""

import random
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import exc, select, update

from headend.ledger import zone
from headend.reads import series as raw_series
from headend.refusals import Refused
from headend.store import CommitFailed, Store, UnknownMeter
from headend.store.schema_audit import audit
from headend.store.schema_quality import quality_case, quality_day, quality_meter, quality_policy, quality_replaced
from headend.validation import cases, judging, policy, reviewing, series, verdicts
from headend.validation.cases import UnknownCase
from headend.validation.follow import Follower
from headend.validation.words import ACCEPTED, GONE, OPEN, REJECTED
from tests.host.books import METER, open_books
from tests.host.quality_rig import DAY_S, MONDAY_S, ORDINARY, PERIOD_S, House

CLERK = "user:clerk"
DAY = MONDAY_S // DAY_S
MORNING_S = MONDAY_S + DAY_S + 6 * 3600  # of the next day: it is over and read
GAP = range(30, 60)


@pytest.fixture
def store(any_store_url: str) -> Iterator[Store]:
    with open_books(any_store_url, (METER, METER + 1), inline=True) as opened:
        yield opened


@pytest.fixture
def house(store: Store) -> House:
    """A household with four ordinary Mondays that are read."""
    made = House()
    made.weeks(MONDAY_S)
    made.live(MONDAY_S - DAY_S, ORDINARY)
    made.arrive(store, MONDAY_S)
    return made


def run(store: Store, now_s: int = MORNING_S) -> None:
    follower = Follower(store)
    while follower.follow(now_s):
        pass


def versions(store: Store, day: int = DAY, meter: int = METER) -> list[Any]:
    return store.read(verdicts.history, meter, day)


def listed(store: Store, **chosen: Any) -> list[Any]:
    return store.read(lambda conn: cases.listed(conn, **chosen))


def values(store: Store, day: int = DAY) -> list[Any]:
    return store.read(series.validated, METER, day * DAY_S, (day + 1) * DAY_S)


def rows(store: Store, table: Any) -> list[Any]:
    return store.read(lambda conn: list(conn.execute(select(table))))


def decide(store: Store, case: int, state: str, reason: str = "looked at on site") -> Any:
    return store.write(reviewing.decide, MORNING_S + 60, case, state, CLERK, reason).result()


def without(numbers: range, gap: range = GAP) -> list[int]:
    return [seq for at, seq in enumerate(numbers) if at not in gap]


def test_a_clean_day_leaves_no_row(store: Store, house: House) -> None:
    house.arrive(store, MORNING_S, house.live(MONDAY_S, ORDINARY))
    run(store)
    assert versions(store) == [] and listed(store, state=None) == []
    (mine,) = [row for row in rows(store, quality_meter) if row.meter == METER]
    assert (mine.day_to, mine.open, mine.absent, mine.newest) == (DAY, 0, 0, house.seq)
    assert [(one.import_wh, one.quality, one.version) for one in values(store)] == [
        (wh, "measured", 0) for wh in ORDINARY
    ]


def test_a_gap_is_estimated_and_the_truth_takes_its_place(store: Store, house: House) -> None:
    numbers = house.live(MONDAY_S, [wh * 2 for wh in ORDINARY])
    house.arrive(store, MORNING_S, without(numbers))
    run(store)
    (first,) = versions(store)
    assert (first.version, first.expected, first.measured, first.estimated) == (1, 96, 66, 30)
    made = values(store)
    assert sum(one.import_wh for one in made) == 2 * sum(ORDINARY), "what the registers tell"
    assert [(one.method, one.total) for one in made if one.quality == "estimated"] == [("profile", "registers")] * 30
    run(store, MORNING_S + 600)
    assert len(versions(store)) == 1, "the same again is no other version"
    late = [seq for at, seq in enumerate(numbers) if at in GAP]
    house.arrive(store, MORNING_S + 900, late[:10])
    assert [one.quality for one in values(store)].count("estimated") == 20, "a reading counts as soon as it is here"
    run(store, MORNING_S + 1_200)
    house.arrive(store, MORNING_S + 1_500, late[10:])
    run(store, MORNING_S + 1_800)
    assert [(row.version, row.estimated) for row in versions(store)] == [(1, 30), (2, 20), (3, 0)]
    replaced = rows(store, quality_replaced)
    assert [(row.version, row.periods) for row in replaced] == [(1, 10), (2, 20)]
    for row, some in zip(replaced, (slice(30, 40), slice(40, 60)), strict=True):
        assert row.measured_import_wh == 2 * sum(ORDINARY[some])
    assert sum(row.estimated_import_wh for row in replaced) == 2 * sum(ORDINARY[30:60])
    assert {one.quality for one in values(store)} == {"measured"}
    (mine,) = [row for row in rows(store, quality_meter) if row.meter == METER]
    assert (mine.open, mine.absent) == (0, 0)


def test_a_day_that_never_came_is_estimated_and_then_bound_to_the_registers(store: Store, house: House) -> None:
    run(store)
    (open_end,) = versions(store)
    assert {one.total for one in values(store)} == {"free"} and open_end.estimated == 96
    tuesday = DAY + 1
    house.live(MONDAY_S, ORDINARY)
    house.arrive(store, MORNING_S + DAY_S, house.live(MONDAY_S + DAY_S, ORDINARY))
    run(store, MORNING_S + DAY_S)
    assert sum(one.import_wh for one in values(store)) == sum(ORDINARY)
    assert {one.total for one in values(store)} == {"registers"}
    assert [row.version for row in versions(store)] == [1, 2] and versions(store, tuesday) == []
    assert [row.rule for row in listed(store)] == ["estimated"]


def test_a_gap_over_midnight_sums_up_over_both_days(store: Store, house: House) -> None:
    monday, tuesday = house.live(MONDAY_S, ORDINARY), house.live(MONDAY_S + DAY_S, ORDINARY)
    house.arrive(store, MORNING_S + DAY_S, [*monday[:80], *tuesday[16:]])
    run(store, MORNING_S + DAY_S)
    assert (versions(store)[-1].estimated, versions(store, DAY + 1)[-1].estimated) == (16, 16)
    both = store.read(series.validated, METER, MONDAY_S, MONDAY_S + 2 * DAY_S)
    assert sum(one.import_wh for one in both) == 2 * sum(ORDINARY) and len(both) == 192
    again = store.read(judging.judge, MORNING_S + DAY_S, METER, DAY, DAY)
    assert again.verdicts == [] and not again.open


def test_what_is_held_waits_for_a_person(store: Store, house: House) -> None:
    numbers = house.live(MONDAY_S, [*ORDINARY[:50], 5_000, *ORDINARY[51:]])
    house.arrive(store, MORNING_S, numbers)
    run(store)
    found = {row.rule: row for row in listed(store)}
    assert set(found) == {"spike"} and found["spike"].value == 5_000
    assert [one.start_s for one in values(store) if one.held] == [MONDAY_S + 50 * PERIOD_S]
    decide(store, found["spike"].id, ACCEPTED)
    assert not any(one.held for one in values(store)) and values(store)[50].import_wh == 5_000
    told = [row for row in rows(store, audit) if row.action == "quality.accepted"]
    assert [(row.actor, row.subject) for row in told] == [(CLERK, f"meter:{METER}")]
    store.write(reviewing.judge_again, MORNING_S + 90, METER, DAY, DAY, CLERK).result()
    assert listed(store) == [], "what was decided is not asked again"


def test_an_estimate_stands_in_for_what_is_rejected(store: Store, house: House) -> None:
    numbers = house.live(MONDAY_S, [*ORDINARY[:50], 5_000, *ORDINARY[51:]])
    house.arrive(store, MORNING_S, numbers)
    before = store.read(raw_series.between, METER, MONDAY_S, MONDAY_S + DAY_S)
    run(store)
    (spike,) = [row for row in listed(store) if row.rule == "spike"]
    decide(store, spike.id, REJECTED)
    value = values(store)[50]
    assert (value.quality, value.method, value.total) == ("estimated", "linear", "free")
    assert 80 < value.import_wh < 200 and len(values(store)) == 96
    assert store.read(raw_series.between, METER, MONDAY_S, MONDAY_S + DAY_S) == before, "records are never touched"
    assert [(row.version, row.measured, row.estimated) for row in versions(store)] == [(1, 96, 0), (2, 95, 1)]
    for state in (ACCEPTED, REJECTED):
        with pytest.raises(Refused, match="this one is rejected"):
            decide(store, spike.id, state)


def test_what_registers_contradict_is_replaced_by_what_they_tell(store: Store, house: House) -> None:
    numbers = house.live(MONDAY_S, ORDINARY[:50])
    wrong = house.record(MONDAY_S + 50 * PERIOD_S, 10, jump_wh=123)
    house.arrive(store, MORNING_S, [*numbers, wrong, *house.live(MONDAY_S + 51 * PERIOD_S, ORDINARY[51:])])
    run(store)
    (found,) = listed(store)
    assert (found.rule, found.value) == ("register", 123)
    decide(store, found.id, REJECTED)
    value = values(store)[50]
    assert (value.import_wh, value.total) == (133, "registers")


def test_decisions_are_made_once_with_a_reason_on_what_can_be_replaced(store: Store, house: House) -> None:
    run(store)
    house.live(MONDAY_S, ORDINARY)
    house.arrive(store, MORNING_S + DAY_S, house.live(MONDAY_S + DAY_S, ORDINARY))
    run(store, MORNING_S + DAY_S)
    (much,) = listed(store)
    with pytest.raises(Refused, match="names no wrong reading"):
        decide(store, much.id, REJECTED)
    for reason in ("", "x" * 201, "a\nb"):
        with pytest.raises(Refused, match="reason"):
            decide(store, much.id, ACCEPTED, reason)
    with pytest.raises(UnknownCase):
        decide(store, 999, ACCEPTED)
    assert [row.state for row in listed(store, state=None)] == [OPEN]


def test_a_case_is_over_when_the_truth_clears_it_up(store: Store, house: House) -> None:
    numbers = house.live(MONDAY_S, ORDINARY)
    house.arrive(store, MORNING_S, [*numbers[:20], *numbers[80:]])
    run(store)
    assert [row.rule for row in listed(store)] == ["estimated"]
    house.arrive(store, MORNING_S + 600, numbers[20:80])
    run(store, MORNING_S + 900)
    (over,) = listed(store, state=None)
    assert (over.state, over.standing, over.ended_s) == (GONE, None, MORNING_S + 900)


def test_another_policy_makes_another_version_and_keeps_the_old_one(store: Store, house: House) -> None:
    numbers = house.live(MONDAY_S, [*ORDINARY[:50], 800, *ORDINARY[51:]])
    house.arrive(store, MORNING_S, numbers)
    run(store)
    assert versions(store) == []
    sharp = [{"area": "", "rules": {"spike": {"floor_wh": 500, "percent": 200}}}]
    assert store.write(policy.put, MORNING_S, sharp, CLERK, "sharper").result() == 1
    assert store.write(reviewing.judge_again, MORNING_S, METER, DAY, DAY, CLERK).result() == 1
    blunt = [{"area": "", "rules": {"spike": {"severity": "off"}}}]
    store.write(policy.put, MORNING_S, blunt, CLERK, "blunt").result()
    assert store.write(reviewing.judge_again, MORNING_S, METER, DAY, DAY, CLERK).result() == 1
    assert store.write(reviewing.judge_again, MORNING_S, METER, DAY, DAY, CLERK).result() == 0
    first, second = versions(store)
    assert [one.rule for one in verdicts.read_findings(first.findings)] == ["spike"]
    assert (first.policy_version, second.policy_version, second.findings) == (1, 2, "[]")
    with pytest.raises(Refused, match="at most 62"):
        store.write(reviewing.judge_again, MORNING_S, METER, DAY - 62, DAY, CLERK).result()
    with pytest.raises(UnknownMeter):
        store.write(reviewing.judge_again, MORNING_S, 999, DAY, DAY, CLERK).result()


def test_a_day_that_is_doubted_teaches_nothing(store: Store) -> None:
    house = House()
    for week in (4, 3, 2, 1):
        peak = [9_000 if week == 1 and at == 50 else wh for at, wh in enumerate(ORDINARY)]
        house.live(MONDAY_S - week * 7 * DAY_S, peak)
    house.arrive(store, MONDAY_S)
    store.write(reviewing.judge_again, MONDAY_S, METER, DAY - 7, DAY - 7, CLERK).result()
    house.arrive(store, MORNING_S, house.live(MONDAY_S, [*ORDINARY[:50], 2_000, *ORDINARY[51:]]))
    run(store)
    assert "spike" in {row.rule for row in listed(store) if row.day == DAY}


def test_verdicts_are_never_changed(store: Store, house: House) -> None:
    house.arrive(store, MORNING_S, house.live(MONDAY_S, [*ORDINARY[:50], 5_000, *ORDINARY[51:]]))
    run(store)
    decide(store, listed(store)[0].id, ACCEPTED)
    forbidden: tuple[Any, ...] = (
        update(quality_day).values(findings="[]"),
        update(quality_case).values(value=1),
        quality_case.delete(),
        quality_policy.delete(),
    )
    store.write(policy.put, MORNING_S, [], CLERK, "as by default").result()
    for what in forbidden:
        with pytest.raises((exc.IntegrityError, CommitFailed)):
            store.write(lambda conn, what=what: conn.execute(what)).result()


def test_local_days_are_those_of_the_utility(store: Store) -> None:
    store.write(zone.put, MONDAY_S, "Asia/Shanghai", CLERK).result()
    start_s = MONDAY_S - 8 * 3600
    house = House()
    house.live(start_s - DAY_S, ORDINARY)
    numbers = house.live(start_s, ORDINARY)
    house.arrive(store, start_s + DAY_S, [seq for seq in house.records if seq not in numbers[90:93]])
    run(store, start_s + DAY_S + 6 * 3600 - 1)
    assert versions(store) == [], "it is not six o'clock there"
    run(store, start_s + DAY_S + 6 * 3600)
    assert versions(store)[0].estimated == 3


def test_two_who_judge_at_once_write_one_version(store: Store, house: House) -> None:
    house.arrive(store, MORNING_S, without(house.live(MONDAY_S, ORDINARY)))
    outcome = store.read(judging.judge, MORNING_S, METER, DAY, DAY)
    assert [store.write(verdicts.keep, MORNING_S, outcome).result() for _ in range(2)] == [True, False]
    assert len(versions(store)) == 1


@pytest.mark.parametrize("seed", range(6))
def test_however_records_come_the_end_is_the_same(seed: int) -> None:
    """Some at a time, shuffled, each run in between judged: at last all is measured, and no watt-hour was lost."""
    chance = random.Random(seed)
    with open_books("", (METER,)) as store:
        house = House()
        house.live(MONDAY_S - DAY_S, ORDINARY)
        house.arrive(store, MONDAY_S)
        numbers = [*house.live(MONDAY_S, ORDINARY), *house.live(MONDAY_S + DAY_S, ORDINARY)]
        last = numbers.pop()
        house.arrive(store, MORNING_S + DAY_S, [last])
        now_s = MORNING_S + DAY_S
        run(store, now_s)
        chance.shuffle(numbers)
        while numbers:
            some = [numbers.pop() for _ in range(min(len(numbers), chance.randint(1, 60)))]
            house.arrive(store, now_s, some)
            now_s += 600
            run(store, now_s)
            both = store.read(series.validated, METER, MONDAY_S, MONDAY_S + 2 * DAY_S)
            assert sum(one.import_wh for one in both) == 2 * sum(ORDINARY) and len(both) == 192
        assert {one.quality for one in both} == {"measured"}
        assert [(row.open, row.absent) for row in rows(store, quality_meter)] == [(0, 0)]
        assert sum(row.periods for row in rows(store, quality_replaced)) >= 191 - 96
        assert listed(store) == []
