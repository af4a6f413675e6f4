"""What nobody heard of for a day stops nobody by a rule, a program or a list; one person may still stop one meter."""

from collections.abc import Iterator

import pytest

from headend.gate import policy
from headend.orders.why import can_stop
from meterlink import reasons
from tests.host.gate_rig import ANN, ARREARS, FIRST, Office, rules

PROGRAM = "channel:billing"
DAY_S = 86_400


@pytest.fixture
def both(any_store_url: str) -> Iterator[Office]:
    made = Office(any_store_url, rules=rules(100))
    yield made
    made.close()


def rule(office: Office, actor: str, number: int = FIRST, reason: int = ARREARS, language: str = "en") -> str:
    answer = office.store.read(can_stop, office.clock.now_s(), number, reason, language, actor)
    return answer.sentence if language == "zh" else answer.rule


def test_a_program_stops_nobody_whom_it_has_not_heard_for_a_day(both: Office) -> None:
    both.clock.advance(DAY_S)
    assert rule(both, PROGRAM) == "gate.free", "a day old is not older than a day"
    both.clock.advance(1)
    assert rule(both, PROGRAM) == rule(both, "system") == "gate.stale"
    assert "不得自动停电" in rule(both, PROGRAM, language="zh")
    held = both.stop(actor=PROGRAM)
    assert both.due() == [] and both.state(held) == "queued"
    both.store.write(both.hear, FIRST).result()
    assert [one.order_id for one in both.pass_time(120)] == [held], "heard again, it goes"


def test_what_is_held_does_not_outlive_its_time(both: Office) -> None:
    both.clock.advance(DAY_S + 1)
    held = both.stop(actor=PROGRAM)
    assert both.pass_time(1_000) == [] and both.state(held) == "expired"


def test_a_person_stops_one_meter_that_nobody_hears(both: Office) -> None:
    both.clock.advance(2 * DAY_S)
    assert rule(both, ANN) == "gate.free"
    one, safety = both.stop(FIRST), both.stop(FIRST + 1, reasons.HOLD_SAFETY, PROGRAM)
    assert {found.order_id for found in both.due()} == {one, safety}, "a hold for safety is never held back"


def test_a_person_s_list_is_no_single_stop(both: Office) -> None:
    both.clock.advance(DAY_S + 1)
    both.store.write(both.hear, FIRST + 1).result()
    listed = both.propose([FIRST, FIRST + 1])
    both.approve(listed)
    assert {one.meter for one in both.pass_time(300)} == {FIRST + 1}
    both.store.write(both.hear, FIRST).result()
    assert FIRST in {one.meter for one in both.pass_time(300)}


def test_one_person_s_stop_that_a_second_one_approved_is_still_one(both: Office) -> None:
    both.write(policy.put, "system", rules(100, always=["supply:arrears"]), "two persons")
    both.clock.advance(DAY_S + 1)
    one = both.stop(FIRST)
    both.approve(both.order(one).proposal)
    assert [found.order_id for found in both.due()] == [one]


def test_a_meter_that_never_spoke(both: Office) -> None:
    both.store.write(lambda conn: conn.exec_driver_sql("UPDATE meter_state SET report_taken_s = NULL")).result()
    assert (rule(both, PROGRAM), rule(both, ANN)) == ("gate.never_heard", "gate.free")


def test_how_old_is_too_old_is_a_rule_with_its_versions(both: Office) -> None:
    both.write(policy.put, "system", rules(100, stale_s=7_200), "two hours are enough")
    both.clock.advance(7_201)
    assert rule(both, PROGRAM) == "gate.stale"
