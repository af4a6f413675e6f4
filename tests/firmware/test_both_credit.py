"""The account: accept-once totals, the countdown, sales that settle one by one, alarms."""

from meter.credit import SOURCES, Account, steps_of
from meterlink import events, results, states
from meterlink.bodies import MAX_UC
from meterlink.tariff import Tariff
from tests.firmware.ramboard import PRICE_UC, Rig


def test_the_highest_total_of_a_source_counts_once():
    account = Account()
    for credited_uc, refunded_uc, code in (
        (100, 0, results.APPLIED),
        (100, 0, results.ALREADY),
        (50, 0, results.ALREADY),
        (100, 30, results.APPLIED),
        (200, 10, results.APPLIED),
        (200, 30, results.ALREADY),
    ):
        assert account.judge(7, credited_uc, refunded_uc) == code
        if code == results.APPLIED:
            account.take(7, credited_uc, refunded_uc)
    assert (account.credited_uc, account.refunded_uc) == (200, 30) and account.totals(7) == (200, 30)


def test_eight_sources_and_no_more():
    account = Account()
    for source in range(1, SOURCES + 1):
        assert account.judge(source, source, 0) == results.APPLIED
        account.take(source, source, 0)
    assert account.judge(99, 1, 0) == results.SOURCES_FULL
    assert account.judge(3, 1000, 0) == results.APPLIED
    other = Account()
    other.unpack_sources(account.pack_sources())
    assert other.sources == account.sources and other.credited_uc == 36


def test_a_source_that_states_zero_is_a_source():
    account = Account()
    assert account.judge(5, 0, 0) == results.APPLIED
    account.take(5, 0, 0)
    assert account.judge(5, 0, 0) == results.ALREADY


def test_more_than_can_be_counted_is_refused():
    account = Account()
    account.take(1, MAX_UC, 0)
    assert account.judge(2, 1, 0) == results.BAD_BODY


def test_countdown_is_exact():
    account = Account()
    plan = Tariff((333_333,))
    for _ in range(1_000_000 // 7):
        account.charge(7, plan, 0)
    assert account.charged_uc * 1000 + account.remainder == 1_000_000 // 7 * 7 * 333_333


def test_sales_settle_one_by_one():
    assert steps_of(100, 0, []) == [100]
    assert steps_of(100, 0, [(60, 10), (100, 40)]) == [50, 10, 40]
    assert steps_of(100, 55, [(60, 10), (100, 40)]) == [5, 40]
    assert steps_of(120, 60, [(60, 10), (100, 40)]) == [40, 20]
    assert steps_of(100, 100, [(100, 40)]) == []


def test_top_ups_that_arrive_together_are_told_apart():
    rig = Rig()
    sales = [(5_000_000, 5_000_000), (7_000_000, 2_000_000), (10_000_000, 3_000_000)]
    assert rig.give(rig.credit(10_000_000, sales=sales)) == results.APPLIED
    rig.run(1)
    assert [e for e in rig.events() if e[0] == events.CREDIT_APPLIED] == [
        (events.CREDIT_APPLIED, 5000, 1),
        (events.CREDIT_APPLIED, 2000, 1),
        (events.CREDIT_APPLIED, 3000, 1),
    ]
    assert rig.report(1, 1).source_credited_uc == 10_000_000


def test_refund():
    rig = Rig(credit_uc=10_000_000)
    assert rig.give(rig.credit(10_000_000, 4_000_000)) == results.APPLIED
    report = rig.report(1, 1)
    assert (report.balance_uc, report.refunded_uc, report.source_refunded_uc) == (6_000_000, 4_000_000, 4_000_000)
    rig.run(1)
    assert (events.REFUND_APPLIED, 4000, 1) in rig.events()


def test_alarms_one_and_two_then_trip_at_zero_after_the_delay():
    rig = Rig(credit_uc=3_000_000)
    rig.board.watts = 3600  # 1 Wh a second
    rig.run(999)
    assert rig.report().alarms == 0
    rig.run(1)
    assert rig.report().alarms == 1 << states.ALARM_LOW_CREDIT and rig.report().balance_uc == 2_000_000
    rig.run(1000)
    assert rig.report().alarms == 1 << states.ALARM_LOW_CREDIT | 1 << states.ALARM_LOW_CREDIT_2
    rig.run(1000)
    report = rig.report()
    assert (
        report.balance_uc == 0 and report.causes == 1 and report.pending == states.PENDING_TRIP and report.contact == 1
    )
    assert report.due_s == report.time_s + rig.limits.trip_delay_s
    rig.run(rig.limits.trip_delay_s - 1)
    assert rig.board.closed
    rig.run(2)
    assert not rig.board.closed and rig.report().control == states.CONTROL_READY
    codes = [e[0] for e in rig.events()]
    for code in (events.LOW_CREDIT, events.LOW_CREDIT_2, events.CREDIT_EXHAUSTED, events.TRIP_ARMED):
        assert codes.count(code) == 1
    assert rig.report().charged_uc == rig.report().import_wh * PRICE_UC // 1000


def test_a_payment_closes_and_clears_the_alarms():
    rig = Rig(credit_uc=100_000)
    rig.board.watts = 3600
    rig.run(200)
    assert not rig.board.closed
    assert rig.give(rig.credit(50_000_000)) == results.APPLIED
    rig.run(20)
    report = rig.report()
    assert rig.board.closed and report.control == states.CONTROL_CONNECTED and report.alarms == 0
    assert [e[0] for e in rig.events()].count(events.CREDIT_RESTORED) == 1


def test_a_threshold_that_is_crossed_is_committed_at_once():
    rig = Rig(credit_uc=2_005_000)
    rig.board.watts = 360
    rig.run(49)
    assert not rig.meter.alarms()
    rig.run(1)
    assert rig.meter.alarms() == 1 << states.ALARM_LOW_CREDIT
    assert rig.meter.committed()[10] == rig.meter.account.balance_uc() == 2_000_000
    rig.outage()
    rig.run(5)
    assert [e[0] for e in rig.events()].count(events.LOW_CREDIT) == 1
