"""What the registry forbids is not sent: through orders, gate and dispatcher."""

from collections.abc import Iterator

import pytest

from headend.engine import Action, Deliver
from headend.orders import statements
from headend.registry import calendar, exclusions, holds
from headend.registry.evidence import Evidence
from headend.registry.rules import QUARTER_S, Rule
from meterlink import bodies, reasons, reports, topics
from meterlink.orders import Order
from tests.host.books import METER, NOW_S
from tests.host.peer import Bench

CLERK = "user:clerk"
FILE = Evidence("file 7/2026")
ARREARS = reasons.HOLD_ARREARS
DAY_S = 86_400


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.close()


def sent(bench: Bench, seconds: int) -> list[tuple[int, int]]:
    """(hold, bodies.HOLD or RELEASE) of all that leaves for the meter in this time; the meter is silent."""
    found = []

    def lose(action: Action) -> None:
        if isinstance(action, Deliver):
            stated = Order(action.raw).stated
            found.append((stated.selector, bodies.decode_supply(stated.body)[0]))
        bench.sent(action)

    bench.run(seconds, lose)
    return found


def ban(bench: Bench, seconds: int) -> None:
    """Nobody is stopped from the beginning of this quarter of an hour, for so long."""
    first = NOW_S % DAY_S // QUARTER_S
    rule = Rule("exams", "高考", from_quarter=first, until_quarter=first + seconds // QUARTER_S)
    bench.write(calendar.put, 0, "UTC", (rule,), CLERK, "test")


def test_a_stop_waits_until_its_hours_come(bench: Bench) -> None:
    ban(bench, QUARTER_S)
    left_s = QUARTER_S - NOW_S % QUARTER_S
    stop = bench.write(statements.stop, METER, ARREARS, CLERK)
    assert sent(bench, left_s - 1) == [] and bench.state(stop) == "queued"
    told = [note for _, _, note in bench.history(stop) if "exams" in note]
    assert len(told) == 1 and "calendar 1" in told[0]
    assert (ARREARS, bodies.HOLD) in sent(bench, 60)


def test_one_whose_hours_do_not_come_in_time_expires(bench: Bench) -> None:
    ban(bench, 4 * QUARTER_S)
    stop = bench.write(statements.stop, METER, ARREARS, CLERK)
    assert sent(bench, 5 * QUARTER_S) == [] and bench.state(stop) == "expired"


@pytest.mark.parametrize("kind", ["vip", "many_households", "protection"])
def test_a_stop_of_an_excluded_customer_ends_with_the_reason(bench: Bench, kind: str) -> None:
    made = bench.write(exclusions.put, METER, kind, CLERK, FILE)
    stop = bench.write(statements.stop, METER, ARREARS, CLERK)
    assert (ARREARS, bodies.HOLD) not in sent(bench, 600)
    assert bench.state(stop) == "cancelled"
    assert f"exclusion {made}" in bench.history(stop)[-1][2]


def test_evidence_lets_it_pass(bench: Bench) -> None:
    made = bench.write(exclusions.put, METER, "many_households", CLERK, FILE)
    for version, what in enumerate(("authority", "site_notice"), start=1):
        bench.write(exclusions.prove, made, version, what, FILE, NOW_S - 3 * DAY_S, CLERK)
    bench.write(statements.stop, METER, ARREARS, CLERK)
    assert (ARREARS, bodies.HOLD) in sent(bench, 60)


def test_safety_passes_them_all(bench: Bench) -> None:
    ban(bench, QUARTER_S)
    bench.write(exclusions.put, METER, "life_support", CLERK, FILE)
    bench.write(holds.set_safety, METER, FILE, CLERK)
    assert (reasons.HOLD_SAFETY, bodies.HOLD) in sent(bench, 60)


def test_a_hold_for_safety_waits_for_a_meter_that_is_away_and_nothing_older_passes_it(bench: Bench) -> None:
    bench.write(holds.set_safety, METER, FILE, CLERK)
    release = bench.write(holds.release_safety, METER, FILE, CLERK, close=bodies.CLOSE_PERMIT)
    assert set(sent(bench, 30)) == {(reasons.HOLD_SAFETY, bodies.RELEASE)}
    bench.up(topics.UP_STATE, reports.pack_will(METER, 1, bench.peer.key))  # the meter leaves its broker
    newer = bench.write(holds.set_safety, METER, FILE, CLERK)
    assert sent(bench, 2 * DAY_S) == [] and bench.state(newer) == "queued"
    bench.up(topics.UP_STATE, bench.peer.report(reports.KIND_BIRTH))
    assert set(sent(bench, 600)) == {(reasons.HOLD_SAFETY, bodies.HOLD)}
    assert bench.state(release) != "confirmed"


def test_protection_is_not_ended_on_the_meter_while_another_one_stands(bench: Bench) -> None:
    bench.write(exclusions.put, METER, "life_support", CLERK, FILE)
    order_id = bench.write(statements.unprotect, METER, CLERK)
    assert (reasons.HOLD_PROTECTION, bodies.RELEASE) not in sent(bench, 60)
    assert bench.state(order_id) == "cancelled"
