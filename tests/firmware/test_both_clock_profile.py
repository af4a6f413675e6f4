"""The clock, and the intervals that it cuts: each watt-hour in exactly one record, each record's number once."""

from meterlink import bodies, events, orders, results, states, tariff
from meterlink.records import (
    FLAG_CLOCK_CHANGED,
    FLAG_CLOCK_UNKNOWN,
    FLAG_POWER_FAILED,
    FLAG_RATE_CHANGED,
    FLAG_SHORT,
    FLAG_SUPPLY_OFF,
)
from meterlink.reports import NO_NONCE
from tests.firmware.ramboard import START_S, RamBoard, Rig

RICH_UC = 1_000_000_000
CREDIT_FIRST = {"credit_uc": RICH_UC}


def whole(rig):
    """The records fit together: numbers without a gap, and deltas that add up to the registers."""
    found = rig.intervals()
    register = None
    for i in range(len(found)):
        seq, start_s, import_reg, _, import_wh, _, minutes, _ = found[i]
        assert seq == i + 1 and start_s % 900 == 0 and minutes == 15
        assert register is None or import_reg == register + import_wh
        register = import_reg
    assert register is None or register <= rig.meter.energy.import_wh
    return found


def set_clock(rig, unix_s, nonce=None, **changed):
    nonce = rig.meter.clock.nonce if nonce is None else nonce
    return rig.give(rig.order(orders.ASPECT_CLOCK, bodies.encode_clock(nonce, unix_s), **changed))


# -- the clock ---------------------------------------------------------------------------------------------------------


def test_known_from_the_rtc():
    rig = Rig()
    rig.run(5)
    assert rig.report().clock == states.CLOCK_SET and rig.report().time_s == START_S + 5


def test_a_nonce_moves_it_freely_and_once():
    """OP-ORD-46"""
    rig = Rig()
    rig.run(5)
    nonce = rig.meter.clock.nonce
    assert set_clock(rig, START_S + 100_000) == results.APPLIED
    assert rig.meter.clock.unix_s == START_S + 100_000 == rig.board.unix_s
    assert rig.meter.clock.nonce != nonce
    assert set_clock(rig, START_S, nonce) == results.BAD_NONCE
    rig.run(1)
    assert (events.CLOCK_SET, 100_000 - 5, 0) in rig.events()


def test_sixty_seconds_a_day_without_a_nonce():
    """OP-ORD-46"""
    rig = Rig()
    assert set_clock(rig, START_S + 40, NO_NONCE) == results.APPLIED
    assert set_clock(rig, START_S + 81, NO_NONCE) == results.BAD_NONCE
    assert set_clock(rig, START_S + 20, NO_NONCE) == results.APPLIED
    rig.outage(10)
    assert set_clock(rig, rig.board.unix_s + 1, NO_NONCE) == results.BAD_NONCE, "the budget outlives a restart"
    rig.run(86_400, 600)
    assert set_clock(rig, rig.board.unix_s - 60, NO_NONCE) == results.APPLIED


def test_unknown_until_set():
    board = RamBoard()
    rig = Rig(board)
    rig.run(10)
    board.clock_valid = False
    rig.outage(1000)
    rig.run(5)
    report = rig.report()
    assert report.clock == states.CLOCK_UNKNOWN and report.alarms & 1 << states.ALARM_CLOCK
    assert START_S <= report.time_s < START_S + 100
    assert set_clock(rig, START_S + 5000, NO_NONCE) == results.BAD_NONCE
    assert set_clock(rig, START_S + 5000) == results.APPLIED
    assert rig.report().clock == states.CLOCK_SET
    rig.outage(100)
    assert rig.meter.clock.known and rig.meter.clock.unix_s == START_S + 5100


def test_an_rtc_that_lies_before_the_journal_is_not_believed():
    rig = Rig()
    rig.run(3600, 60)
    rig.board.unix_s -= 3000
    rig.outage()
    assert not rig.meter.clock.known and rig.meter.clock.unix_s >= START_S + 3540


def test_orders_that_take_away_need_the_time_and_those_that_give_do_not():
    """OP-ORD-21"""
    rig = Rig(**CREDIT_FIRST)
    rig.board.clock_valid = False
    rig.outage()
    later = START_S + 10_000
    assert rig.give(rig.hold(1, not_after_s=later)) == results.CLOCK_UNKNOWN
    assert rig.give(rig.order(orders.ASPECT_TARIFF, rig.plan.encode(), not_after_s=later)) == results.CLOCK_UNKNOWN
    assert rig.give(rig.order(orders.ASPECT_LIMITS, rig.limits.encode(), not_after_s=later)) == results.CLOCK_UNKNOWN
    assert rig.give(rig.order(orders.ASPECT_LIMITS, rig.limits.encode())) == results.APPLIED
    assert rig.give(rig.release(1, not_after_s=later)) == results.APPLIED
    assert rig.give(rig.hold(8, not_after_s=later)) == results.APPLIED
    assert rig.give(rig.credit(RICH_UC + 1)) == results.APPLIED


# -- intervals ---------------------------------------------------------------------------------------------------------


def test_quarters_of_an_hour():
    rig = Rig(**CREDIT_FIRST)
    rig.board.watts = 3600
    rig.run(3600)
    found = whole(rig)
    assert [(f[1], f[4], f[7]) for f in found] == [(START_S + 900 * i, 900, 0) for i in range(4)]


def test_a_slow_caller_gets_the_same_records_and_charges():
    plan = tariff.Tariff((1_000_000, 7_000_000), ((0, 0), (2, 1), (4, 0)))
    quick, slow = Rig(plan=plan, **CREDIT_FIRST), Rig(plan=plan, **CREDIT_FIRST)
    for rig, stride_s in ((quick, 1), (slow, 3600)):
        rig.board.watts = 3600
        rig.run(7200, stride_s)
    assert [f[1:] for f in whole(quick)] == [f[1:] for f in whole(slow)]
    assert quick.meter.account.charged_uc == slow.meter.account.charged_uc == 5400 * 1000 + 1800 * 7000


def test_power_away_within_a_period():
    rig = Rig(**CREDIT_FIRST)
    rig.board.watts = 3600
    rig.run(300)
    rig.outage(120)
    rig.run(500)
    (record,) = whole(rig)
    assert record[1] == START_S and record[7] == FLAG_POWER_FAILED
    assert 760 <= record[4] <= 780


def test_power_away_over_periods_leaves_no_empty_records():
    rig = Rig(**CREDIT_FIRST)
    rig.board.watts = 3600
    rig.run(300)
    rig.outage(3 * 3600)
    rig.run(900)
    first, second = whole(rig)
    assert first[1] == START_S and first[7] == FLAG_POWER_FAILED | FLAG_SHORT
    assert second[1] == START_S + 3 * 3600 and second[7] == FLAG_POWER_FAILED | FLAG_SHORT
    assert first[4] + second[4] == rig.meter.energy.import_wh - 300


def test_clock_moved_within_and_out_of_the_period():
    rig = Rig(**CREDIT_FIRST)
    rig.board.watts = 3600
    rig.run(300)
    assert set_clock(rig, START_S + 400) == results.APPLIED
    rig.run(400)
    assert set_clock(rig, START_S + 100_000) == results.APPLIED
    rig.run(1)
    assert set_clock(rig, START_S + 1000) == results.APPLIED
    rig.run(900)
    found = whole(rig)
    changed = FLAG_CLOCK_CHANGED
    assert [(f[1] - START_S, f[7]) for f in found] == [
        (0, changed | FLAG_SHORT),
        (99_900, changed | FLAG_SHORT),
        (900, changed | FLAG_SHORT),
    ]
    assert [f[4] for f in found] == [700, 1, 800] and rig.meter.energy.import_wh == 700 + 1 + 900


def test_flags_of_clock_supply_and_rate():
    rig = Rig(**CREDIT_FIRST)
    rig.board.clock_valid = False
    rig.outage()
    rig.run(2000)
    assert whole(rig)[-1][7] == FLAG_CLOCK_UNKNOWN
    rig = Rig()
    rig.run(2000)
    assert not rig.board.closed and whole(rig)[-1][7] == FLAG_SUPPLY_OFF
    rig = Rig(**CREDIT_FIRST)
    rig.run(100)
    later = tariff.Tariff((1, 2), ((0, 1),), activate_s=START_S + 1000).encode()
    assert rig.give(rig.order(orders.ASPECT_TARIFF, later)) == results.APPLIED
    rig.run(1900)
    assert [f[7] for f in whole(rig)] == [0, FLAG_RATE_CHANGED]


def test_rtc_that_jumps_is_told():
    rig = Rig(**CREDIT_FIRST)
    rig.run(10)
    rig.board.unix_s += 5000
    rig.run(10)
    assert rig.report().time_s == START_S + 5020 and (events.CLOCK_SET, 5000, 0) in rig.events()
    assert whole(rig)[0][7] == FLAG_CLOCK_CHANGED | FLAG_SHORT


# -- tariffs -----------------------------------------------------------------------------------------------------------


def test_the_watt_hour_completed_after_a_switch_takes_the_new_rate():
    plan = tariff.Tariff((1_000_000, 9_000_000), ((0, 0), (1, 1)))
    rig = Rig(plan=plan, **CREDIT_FIRST)
    rig.board.watts = 1800  # a watt-hour every two seconds
    rig.run(899)
    assert rig.meter.energy.import_wh == 449
    rig.run(3)
    assert rig.meter.account.charged_uc == 450 * 1000 + 9000


def test_passive_tariff_takes_over_at_its_time():
    """OP-ORD-45"""
    rig = Rig(**CREDIT_FIRST)
    rig.board.watts = 3600
    later = tariff.Tariff((5_000_000,), activate_s=START_S + 100)
    assert rig.give(rig.order(orders.ASPECT_TARIFF, later.encode())) == results.APPLIED
    rig.run(100)
    assert rig.meter.account.charged_uc == 100 * 1000
    rig.run(100)
    assert rig.meter.account.charged_uc == 100 * 1000 + 100 * 5000
    assert rig.meter.pricing.active_version == (1, 1) and rig.meter.pricing.passive is None
    rig.outage(5)
    assert rig.meter.pricing.active.prices_uc_per_kwh == (5_000_000,) and rig.meter.pricing.active_version == (1, 1)


def test_a_switch_that_came_due_without_power_or_time():
    rig = Rig(**CREDIT_FIRST)
    later = tariff.Tariff((5_000_000,), activate_s=START_S + 1000)
    rig.give(rig.order(orders.ASPECT_TARIFF, later.encode()))
    rig.outage(2000)
    assert rig.meter.pricing.active.prices_uc_per_kwh == (5_000_000,)
    rig = Rig(**CREDIT_FIRST)
    rig.give(rig.order(orders.ASPECT_TARIFF, later.encode()))
    rig.board.clock_valid = False
    rig.outage(2000)
    rig.run(1200)
    assert rig.meter.pricing.passive is not None, "without the time it waits"
    assert set_clock(rig, START_S + 4000) == results.APPLIED
    assert rig.meter.pricing.active.prices_uc_per_kwh == (5_000_000,)


def test_the_newest_tariff_replaces_one_that_waits():
    rig = Rig(**CREDIT_FIRST)
    later = tariff.Tariff((5_000_000,), activate_s=START_S + 1000)
    rig.give(rig.order(orders.ASPECT_TARIFF, later.encode()))
    rig.give(rig.order(orders.ASPECT_TARIFF, tariff.Tariff((3_000_000,)).encode()))
    rig.run(2000)
    assert rig.meter.pricing.active.prices_uc_per_kwh == (3_000_000,)


def test_unknown_time_rate():
    plan = tariff.Tariff((1_000_000, 9_000_000), ((0, 1),), unknown_time_rate=0)
    rig = Rig(plan=plan, **CREDIT_FIRST)
    rig.board.watts = 3600
    rig.run(10)
    assert rig.meter.account.charged_uc == 90_000
    rig.board.clock_valid = False
    rig.outage()
    before_uc = rig.meter.account.charged_uc
    rig.run(10)
    assert rig.meter.account.charged_uc - before_uc == 10_000
