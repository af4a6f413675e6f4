"""A meter whose supply is about to change is asked when it has changed, not at the next round, 15 minutes later."""

import pytest

from headend.engine import Ask, Policy
from headend.ledger import payments
from headend.orders import confirm
from meterlink import batches, reasons, results, states, topics
from meterlink.orders import ASPECT_CREDIT
from tests.host.books import CHANNEL, METER, SOURCE
from tests.host.peer import OPEN, READY, Bench

OUT = {**READY, "causes": 1 << reasons.CAUSE_OUT_OF_CREDIT}
PAID_UC = 5_000_000


def next_ask(bench: Bench) -> Ask:
    """The next question for a report."""
    ask: Ask = bench.until(lambda one: isinstance(one, Ask) and batches.read_ask(one.raw)[0] == batches.KIND_REPORT)
    return ask


def asked_after_s(bench: Bench) -> int:
    """Seconds until the next question for a report."""
    from_s = bench.clock.now_s()
    next_ask(bench)
    return bench.clock.now_s() - from_s


def credited(bench: Bench, **facts: int) -> None:
    """A payment is on the meter; the report that shows it is as the meter was before it acted on it, with `facts`."""
    bench.peer.be(**OUT)
    bench.write(payments.take, CHANNEL, "1", METER, PAID_UC)
    delivered = bench.deliver(ASPECT_CREDIT)
    bench.peer.hold(delivered.raw)
    bench.peer.totals[SOURCE] = PAID_UC
    bench.peer.be(balance_uc=PAID_UC, **facts)
    bench.up(topics.UP_RECEIPT, bench.peer.receipt(delivered.raw, results.APPLIED))
    bench.answers(bench.ask(ASPECT_CREDIT))
    assert bench.meter().on_meter_uc == PAID_UC


def test_paid_and_still_off_is_looked_at_again_at_once_and_then_no_sooner_than_by_the_rule(bench: Bench) -> None:
    credited(bench)
    ask = bench.until(lambda one: isinstance(one, Ask))
    assert bench.clock.now_s() - bench.meter().report_taken_s == confirm.NO_LOAD_S + 1
    bench.answers(ask)  # off as before: whatever keeps it off, it is not the meter's next step
    assert asked_after_s(bench) >= Policy().poll_s


def test_credit_under_a_hold_brings_no_supply_and_no_question(bench: Bench) -> None:
    credited(bench, holds=1 << reasons.HOLD_ARREARS)
    taken_s = bench.meter().report_taken_s
    bench.until(lambda one: isinstance(one, Ask))
    assert bench.clock.now_s() - taken_s > confirm.CONDITION_S


@pytest.mark.parametrize(("due_s", "after_s"), [(120, 123), (0, confirm.CONDITION_S)])
def test_an_armed_close_is_looked_at_when_it_is_done(bench: Bench, due_s: int, after_s: int) -> None:
    """One whose time has come waits for its conditions: those are looked at twice a minute."""
    bench.peer.be(**OPEN, pending=states.PENDING_CLOSE)
    bench.answers(next_ask(bench), due_s=bench.clock.now_s() + due_s)
    assert asked_after_s(bench) == after_s


def test_an_armed_trip_far_ahead_does_not_put_the_usual_round_off(bench: Bench) -> None:
    bench.peer.be(pending=states.PENDING_TRIP)
    bench.answers(next_ask(bench), due_s=bench.clock.now_s() + 86_400)
    assert asked_after_s(bench) <= Policy().poll_s * 3 // 2
