"""Who is asked when: schedules, lanes, what is repeated and how soon, pauses, and what somebody waits for."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, Select, select, update

from headend.clock import ManualClock
from headend.collection import days, enrolment, pauses, policy, requests, turns
from headend.collection.policy import Rule
from headend.engine import Ack, Action, Ask, Engine, Policy
from headend.fleet.meters import add_meter
from headend.keys.keystore import KeyStore
from headend.ledger import zone
from headend.refusals import Refused
from headend.store import Store, identity
from headend.store.schema import meter, meter_state
from headend.store.schema_collection import collect_turn
from meterlink import batches, topics
from tests.host.books import CURRENCY, METER, NOW_S, SOURCE, record
from tests.host.peer import Bench, Noise

HOUR_S = 3600
DAY_S = 86_400


@pytest.fixture
def books() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.close()


def kind_of(action: Action) -> int:
    assert isinstance(action, Ask)
    return batches.read_ask(action.raw)[0]


def turn(bench: Bench, number: int = METER) -> Any:
    query = select(collect_turn).where(collect_turn.c.meter == number)
    return bench.store.read(lambda conn: conn.execute(query).one())


def set_rules(bench: Bench, *rules: dict[str, Any]) -> None:
    bench.write(policy.put, "operator:ann", list(rules), "a test")


def asked(bench: Bench, seconds: int, answered: Any = lambda one: True) -> list[tuple[int, int]]:
    """(second, kind) of every question in that time; the meter answers those that `answered` says."""
    found: list[tuple[int, int]] = []

    def carry(action: Action) -> list[Action]:
        if isinstance(action, Ask):
            found.append((bench.clock.now_s(), kind_of(action)))
            if answered(action):
                return bench.answers(action)
        return []

    bench.run(seconds, carry)
    return found


# --- what is repeated ------------------------------------------------------------------------------------------------


def test_a_report_that_does_not_come_is_asked_for_again_within_minutes_and_ever_more_slowly(bench: Bench) -> None:
    times = [at_s for at_s, kind in asked(bench, 2 * HOUR_S, lambda one: False) if kind == batches.KIND_REPORT]
    waits = [after - before for before, after in pairwise(times)]
    for number, wait_s in enumerate(waits):
        base_s = min(turns.RETRY_S << number, Policy().poll_s)
        assert base_s <= wait_s <= base_s * 3 // 2
    assert waits[0] <= 45 and waits[-1] >= Policy().poll_s


def test_an_answer_makes_the_waits_those_of_the_rule_again(bench: Bench) -> None:
    asked(bench, HOUR_S, lambda one: False)
    bench.up(topics.UP_REPORT, bench.peer.report())
    assert turn(bench).report_tries == 0
    waits = [after - before for before, after in pairwise(at_s for at_s, _ in asked(bench, 2 * HOUR_S))]
    assert all(Policy().poll_s <= wait_s <= Policy().poll_s * 3 // 2 for wait_s in waits) and len(waits) >= 4


def test_a_lost_question_for_records_is_put_again_within_minutes(bench: Bench) -> None:
    """Also that of a meter which was never heard before, without another report in between."""
    bench.peer.record(10)
    first = bench.up(topics.UP_REPORT, bench.peer.report())
    assert [kind_of(one) for one in first] == [batches.KIND_INTERVALS]
    lost = [at_s for at_s, kind in asked(bench, 900, lambda one: False) if kind == batches.KIND_INTERVALS]
    waits = [after - before for before, after in pairwise([NOW_S, *lost])]
    assert 60 <= waits[0] <= 90 and 120 <= waits[1] <= 180 and len(lost) >= 3
    asked(bench, HOUR_S)
    assert bench.reads().interval_whole_to == 10


def test_what_is_whole_is_asked_for_no_more(bench: Bench) -> None:
    bench.peer.record(10)
    assert batches.KIND_INTERVALS in [kind for _, kind in asked(bench, HOUR_S)]
    assert batches.KIND_INTERVALS not in [kind for _, kind in asked(bench, 2 * HOUR_S)]
    assert turn(bench).fill_s is None


# --- schedules -------------------------------------------------------------------------------------------------------


def test_intervals_are_fetched_once_a_day_in_the_meters_own_minute(bench: Bench) -> None:
    set_rules(bench, {"profile": "daily", "report_s": HOUR_S})
    bench.peer.record(4)
    asked(bench, 600)
    held: list[int] = []
    for day in range(2):
        start_s = bench.clock.now_s()
        moment_s = days.next_moment_s(ZoneInfo("UTC"), start_s, METER, Rule())
        bench.peer.record(4 + 96 * (day + 1))
        before = asked(bench, moment_s - start_s)
        assert batches.KIND_INTERVALS not in [kind for _, kind in before]
        after = [(at_s - moment_s, kind) for at_s, kind in asked(bench, HOUR_S)]
        assert [kind for _, kind in after if kind == batches.KIND_INTERVALS] == [batches.KIND_INTERVALS] * 3
        assert all(at_s < 60 for at_s, kind in after if kind == batches.KIND_INTERVALS)
        held.append(bench.reads().interval_whole_to)
    assert held == [100, 196]


def test_a_daily_look_that_is_not_answered_is_repeated_until_it_is(bench: Bench) -> None:
    set_rules(bench, {"profile": "daily", "report_s": DAY_S})
    asked(bench, 600)
    bench.peer.record(96)
    moment_s = days.next_moment_s(ZoneInfo("UTC"), NOW_S, METER, Rule())
    asked(bench, moment_s - bench.clock.now_s(), lambda one: False)
    silent = [at_s for at_s, _ in asked(bench, HOUR_S, lambda one: False)]
    assert len(silent) >= 5 and silent[1] - silent[0] <= 45
    asked(bench, HOUR_S)
    assert bench.reads().interval_whole_to == 96
    assert turn(bench).daily_s > bench.clock.now_s() + 12 * HOUR_S


def test_a_meter_that_pushes_is_asked_only_for_what_it_leaves_out(bench: Bench) -> None:
    set_rules(bench, {"profile": "push", "carrier": "mqtt"})
    bench.peer.record(100)
    assert bench.up(topics.UP_REPORT, bench.peer.report()) == []
    actions = bench.up(topics.UP_INTERVALS, bench.peer.batch(1, 40))
    assert [type(one) for one in actions] == [Ack]
    assert batches.KIND_INTERVALS in [kind for _, kind in asked(bench, 120)], "it fell silent"
    assert bench.reads().interval_whole_to == 100, "from then on it is asked without a pause"


def test_the_narrowest_rule_holds() -> None:
    rules = [
        {"report_s": 600},
        {"carrier": "modbus", "report_s": 700},
        {"area": "north", "report_s": 800},
        {"area": "north/f-1", "carrier": "mqtt", "report_s": 900},
        {"area": "north/f-1", "meter_type": "3ph", "report_s": 1000},
    ]
    made = policy.read(1, rules)
    wanted = {
        ("", "mqtt", ""): 600,
        ("south", "modbus", "3ph"): 700,
        ("north/f-2", "modbus", ""): 800,
        ("northern", "mqtt", ""): 600,
        ("north/f-1/t-3", "mqtt", ""): 900,
        ("north/f-1", "modbus", "3ph"): 1000,
    }
    assert {meter: made.of(*meter).report_s for meter in wanted} == wanted


@pytest.mark.parametrize(
    ("rules", "field"),
    [
        ({}, "rules"),
        ([{"report_s": 59}], "rules[0].report_s"),
        ([{}, {"area": "North"}], "rules[1].area"),
        ([{"profile": "sometimes"}], "rules[0].profile"),
        ([{"colour": "red"}], "rules[0]"),
        ([{"report_s": True}], "rules[0].report_s"),
        ([{"carrier": "pigeon"}], "rules[0].carrier"),
        ([{"area": "a"}, {"area": "a", "gap_s": 60}], "rules"),
    ],
)
def test_rules_that_do_not_fit_are_refused_by_name(books: Bench, rules: Any, field: str) -> None:
    with pytest.raises(Refused) as caught:
        books.write(policy.put, "operator:ann", rules, "")
    assert caught.value.field == field
    assert books.store.read(policy.standing).version == 0


@given(day=st.integers(20_000, 30_000), number=st.integers(1, 10**14), name=st.sampled_from(["UTC", "Asia/Kolkata"]))
def test_a_meters_moment_is_in_the_window_of_each_day(day: int, number: int, name: str) -> None:
    where, rule = ZoneInfo(name), Rule(from_minute=15, spread_minutes=345)
    offset_s = days.moment_s(where, day, number, rule) - zone.start_s(where, day)
    assert 900 <= offset_s < 900 + 345 * 60
    assert offset_s == days.moment_s(where, day + 1, number, rule) - zone.start_s(where, day + 1)


@pytest.mark.parametrize("numbers", [range(1, 12_001), range(7, 12_000 * 64, 64)])
def test_meters_are_spread_evenly_whatever_their_numbers(numbers: range) -> None:
    minutes = [days.share(number, 360) for number in numbers]
    counts = [minutes.count(minute) for minute in range(360)]
    expected = len(numbers) / 360
    assert max(counts) < 2 * expected and min(counts) > expected / 2


# --- pauses, retirement ----------------------------------------------------------------------------------------------


def test_nobody_is_read_in_a_paused_area_and_everybody_afterwards(bench: Bench) -> None:
    bench.store.write(lambda conn: conn.execute(update(meter).values(area="north/f-1"))).result()
    bench.peer.record(50)
    until_s = NOW_S + 2 * HOUR_S
    bench.write(pauses.put, "operator:ann", "north", NOW_S, until_s, "work on the line")
    assert asked(bench, 2 * HOUR_S) == []
    assert asked(bench, turns.SPREAD_S + 60) != []
    assert bench.reads().interval_whole_to == 50


def test_a_pause_is_ended_early_and_refused_where_it_makes_no_sense(books: Bench) -> None:
    number = books.write(pauses.put, "operator:ann", "", NOW_S, NOW_S + DAY_S, "")
    assert asked(books, 60) == []
    books.write(pauses.end, "operator:ann", number)
    with pytest.raises(pauses.UnknownPause):
        books.write(pauses.end, "operator:ann", number)
    assert books.store.read(pauses.standing, books.clock.now_s()) == []
    for area, from_s, until_s in (("", NOW_S, NOW_S), ("", NOW_S + 9, NOW_S + 5), ("x y", NOW_S, NOW_S + 90)):
        with pytest.raises(Refused):
            books.write(pauses.put, "operator:ann", area, from_s, until_s, "")


# --- what somebody waits for -----------------------------------------------------------------------------------------


def progress(bench: Bench, request: int) -> dict[str, int]:
    return bench.store.read(requests.get, request)[1]


def test_a_report_that_somebody_waits_for_is_asked_for_at_once(bench: Bench) -> None:
    asked(bench, 60)
    request = bench.write(requests.ask, "operator:ann", "report", [METER], 600)
    (action,) = bench.due()
    assert isinstance(action, Ask) and action.waited_for and kind_of(action) == batches.KIND_REPORT
    assert progress(bench, request) == {"waiting": 1, "done": 0, "given_up": 0}
    bench.answers(action)
    assert progress(bench, request) == {"waiting": 0, "done": 1, "given_up": 0}


def test_records_that_somebody_waits_for_are_read_whatever_the_schedule(bench: Bench) -> None:
    set_rules(bench, {"profile": "daily", "report_s": DAY_S})
    asked(bench, 60)
    bench.peer.record(130)
    request = bench.write(requests.ask, "operator:ann", "records", [METER], 600)
    asked(bench, 30)
    assert bench.reads().interval_whole_to == 130
    assert progress(bench, request)["done"] == 1
    assert progress(bench, request)["waiting"] == 0


def test_what_is_not_read_in_time_is_given_up(bench: Bench) -> None:
    request = bench.write(requests.ask, "operator:ann", "report", [METER], 600)
    times = [at_s for at_s, _ in asked(bench, 590, lambda one: False)]
    assert len(times) > 4
    assert progress(bench, request)["waiting"] == 1
    asked(bench, 60, lambda one: False)
    assert progress(bench, request) == {"waiting": 0, "done": 0, "given_up": 1}
    assert bench.store.read(requests.waiting_for, request, "given_up", 0, 10) == [METER]


def test_requests_that_make_no_sense_are_refused(books: Bench) -> None:
    for kind, numbers, within_s in (
        ("all", [METER], 60),
        ("report", [], 60),
        ("report", [5], 60),
        ("report", [METER], 59),
    ):
        with pytest.raises(Refused):
            books.write(requests.ask, "operator:ann", kind, numbers, within_s)


# --- several engines, many meters ------------------------------------------------------------------------------------


def test_of_two_engines_one_takes_a_turn(any_store: Store) -> None:
    any_store.write(identity.establish, NOW_S, 1, SOURCE, CURRENCY).result()
    numbers = range(1, 41)
    for number in numbers:
        any_store.write(add_meter, NOW_S, record(number)).result()
    noise, clock = Noise(), ManualClock(NOW_S)
    engines = [
        Engine(any_store, KeyStore.generate(noise), clock, noise, policy=Policy(batch_actions=7)) for _ in range(2)
    ]
    taken: list[int] = []
    while True:
        asks = [one for engine in engines for one in engine.due(NOW_S)]
        if not asks:
            break
        taken += [one.meter for one in asks]
    assert sorted(taken) == list(numbers)


def test_a_search_for_turns_goes_by_an_index(books: Bench) -> None:
    """So it costs the same however many meters there are."""

    def plan(conn: Connection, search: Select[Any]) -> str:
        made = search.compile(conn.engine, compile_kwargs={"render_postcompile": True})
        rows = conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {made}", tuple(1 for _ in made.positiontup or ()))
        return " | ".join(row[3] for row in rows)

    searches = [one[0].statement for one in (turns._REPORTS, turns._LOOKS, turns._FILLS, requests._DUE)]
    for search in (*searches, requests._EARLIEST):
        found = books.store.read(plan, search)
        assert "INDEX" in found and "TEMP B-TREE" not in found, found


def test_meters_that_came_otherwise_get_their_turns(books: Bench) -> None:
    books.store.write(lambda conn: conn.execute(collect_turn.delete())).result()
    assert books.write(enrolment.enrol_missing) == 1
    assert books.write(enrolment.enrol_missing) == 0
    assert NOW_S < turn(books).daily_s <= NOW_S + DAY_S


def test_a_clock_that_went_back_holds_no_turn_up(books: Bench) -> None:
    asked(books, 60)
    books.store.write(lambda conn: conn.execute(update(collect_turn).values(fill_s=NOW_S + 60))).result()
    back_s = NOW_S - 400 * DAY_S
    books.store.write(turns.clock_went_back, back_s, Rule()).result()
    assert turn(books).fill_s == turn(books).daily_s == back_s
    row = books.store.read(lambda conn: conn.execute(select(meter_state)).one())
    assert row.next_ask_s == back_s
