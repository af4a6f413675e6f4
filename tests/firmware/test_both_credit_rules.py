"""The rules of credit beside the countdown: overdraft, emergency credit, what waits, refunds, reminder, friendly times,
what must be paid before supply closes. Both interpreters."""

from meterlink import bodies, events, orders, reasons, results, states, tariff
from tests.firmware import stated
from tests.firmware.ramboard import LIMITS, START_S, RamBoard, Rig
from tests.firmware.test_both_orders import refused

YUAN = 1_000_000  # the price of a kilowatt-hour
OUT = 1 << reasons.CAUSE_OUT_OF_CREDIT
REMINDER = 1 << reasons.CAUSE_REMINDER
DAY_S = 86_400


def limits(**changed):
    one = bodies.decode_limits(LIMITS.encode())
    for name, value in changed.items():
        setattr(one, name, value)
    return one


def ready(credit_uc=0, watts=0, plan=None, **changed):
    rig = Rig(limits=limits(**changed), plan=plan, credit_uc=credit_uc)
    rig.board.watts = watts
    rig.run(15)  # until supply counts as stable
    return rig


def spend(rig, amount_uc):
    """Draw so much energy, at a watt-hour a second."""
    rig.board.watts = 3600
    rig.run(amount_uc // 1000)
    rig.board.watts = 0


def codes(rig):
    return [event[0] for event in rig.events()]


def balance(rig):
    return rig.meter.account.balance_uc()


def state_limits(rig, **changed):
    assert rig.give(rig.order(orders.ASPECT_LIMITS, limits(**changed).encode())) == results.APPLIED


def off(rig):
    """Past the trip's delay."""
    rig.run(LIMITS.trip_delay_s + 15)
    return not rig.board.closed


# -- overdraft ---------------------------------------------------------------------------------------------------------


def test_an_overdraft_covers_to_its_limit_and_there_nothing_local_restores_supply():
    rig = ready(YUAN // 10, overdraft_uc=YUAN // 5, stable_s=1)
    spend(rig, YUAN // 10 + YUAN // 5 - 1000)
    assert balance(rig) == -YUAN // 5 + 1000 and not rig.meter.supply.causes & OUT
    spend(rig, 1000)
    assert rig.meter.supply.causes & OUT and off(rig)
    for held_s in (0, 3, 10):
        rig.meter.press_connect(held_s)
        rig.run(30)
    assert not rig.meter.take_emergency()
    rig.run(30)
    assert not rig.board.closed and rig.meter.reconnect_uc() == YUAN // 5 + 1
    assert rig.give(rig.credit(YUAN // 10 + YUAN // 5)) == results.APPLIED
    rig.run(30)
    assert not rig.board.closed and rig.meter.reconnect_uc() == 1, "the top-up has paid the overdraft"
    assert rig.give(rig.credit(YUAN // 10 + YUAN // 5 + 1)) == results.APPLIED
    rig.run(30)
    assert rig.board.closed


# -- least credit to close ---------------------------------------------------------------------------------------------


def test_supply_closes_again_from_the_least_credit_on():
    rig = ready(10_000, watts=3600, min_close_uc=2 * YUAN)
    rig.run(20)
    assert off(rig)
    owed_uc = rig.meter.reconnect_uc()
    assert owed_uc == 2 * YUAN - balance(rig)
    assert rig.give(rig.credit(10_000 + owed_uc - 1)) == results.APPLIED
    rig.run(60)
    assert not rig.board.closed and balance(rig) == 2 * YUAN - 1 and rig.meter.reconnect_uc() == 1
    rig.outage(100)
    rig.run(60)
    assert not rig.board.closed and rig.meter.reconnect_uc() == 1, "a restart is no way around it"
    assert rig.give(rig.credit(10_000 + owed_uc)) == results.APPLIED
    rig.run(30)
    assert rig.board.closed and rig.meter.reconnect_uc() == 0


def test_a_payment_before_the_trip_needs_no_least_credit():
    rig = ready(10_000, watts=3600, min_close_uc=2 * YUAN)
    rig.run(20)
    rig.board.watts = 0
    assert rig.meter.supply.causes & OUT and rig.meter.reconnect_uc() == 0
    assert rig.give(rig.credit(10_000 + 2 * YUAN // 10)) == results.APPLIED
    rig.run(100)
    assert rig.board.closed and not rig.meter.supply.causes


# -- emergency credit --------------------------------------------------------------------------------------------------


def test_emergency_credit_is_offered_taken_used_up_paid_back():
    rig = ready(2 * YUAN, emergency_uc=YUAN, emergency_from_uc=YUAN // 2, alarm_uc=0, alarm2_uc=0)
    emergency = rig.meter.emergency
    assert not rig.meter.take_emergency() and emergency.state == states.EMERGENCY_NONE
    spend(rig, 2 * YUAN - YUAN // 2)
    assert emergency.state == states.EMERGENCY_OFFERED and not rig.meter.alarms()
    spend(rig, YUAN // 2 - 1000)
    assert rig.meter.take_emergency() and not rig.meter.take_emergency()
    assert emergency.state == states.EMERGENCY_IN_USE and emergency.left_uc() == YUAN
    assert rig.meter.alarms() == 1 << states.ALARM_EMERGENCY
    spend(rig, 1000 + YUAN // 4)
    assert balance(rig) == -YUAN // 4 and emergency.left_uc() == YUAN - YUAN // 4 and not rig.meter.supply.causes
    rig.outage(60)
    rig.run(15)
    emergency = rig.meter.emergency
    assert emergency.state == states.EMERGENCY_IN_USE and emergency.left_uc() >= YUAN - YUAN // 4
    spend(rig, YUAN - YUAN // 4 + 70_000)
    assert emergency.state == states.EMERGENCY_USED_UP and emergency.left_uc() == 0 and off(rig)
    assert not rig.meter.take_emergency(), "once it is used up there is no second"
    owed_uc = rig.meter.reconnect_uc()
    assert owed_uc == 1 - balance(rig), "what was used is paid back first"
    assert rig.give(rig.credit(2 * YUAN + owed_uc)) == results.APPLIED
    rig.run(40)
    assert rig.board.closed and emergency.state == states.EMERGENCY_IN_USE, "back below the threshold"
    assert rig.give(rig.credit(2 * YUAN + owed_uc + YUAN)) == results.APPLIED
    rig.run(1)
    assert emergency.state == states.EMERGENCY_NONE and emergency.granted_uc == 0
    spend(rig, YUAN)
    assert emergency.state == states.EMERGENCY_OFFERED, "and it may be taken again"
    told = [code for code in codes(rig) if events.EMERGENCY_OFFERED <= code <= events.EMERGENCY_PAID_BACK]
    assert told == [
        events.EMERGENCY_OFFERED,
        events.EMERGENCY_TAKEN,
        events.EMERGENCY_USED_UP,
        events.EMERGENCY_PAID_BACK,
        events.EMERGENCY_OFFERED,
    ]


def test_emergency_credit_closes_a_supply_that_want_of_credit_has_opened():
    rig = ready(10_000, watts=3600, emergency_uc=YUAN, min_close_uc=5 * YUAN)
    rig.run(15)
    rig.board.watts = 0
    assert off(rig) and rig.meter.reconnect_uc() == 5 * YUAN - balance(rig)
    assert rig.meter.emergency.state == states.EMERGENCY_OFFERED
    assert rig.meter.take_emergency()
    rig.run(30)
    assert rig.board.closed and rig.meter.reconnect_uc() == 0


def test_emergency_credit_lies_beyond_the_overdraft_and_is_none_where_it_would_not_help():
    rig = ready(0, emergency_uc=YUAN, overdraft_uc=YUAN)
    assert rig.meter.take_emergency()
    spend(rig, YUAN + YUAN // 2)
    assert rig.meter.emergency.left_uc() == YUAN // 2 and not rig.meter.supply.causes
    state_limits(rig)  # no more emergency credit, no overdraft: what was granted stands
    rig.run(1)
    assert rig.meter.emergency.left_uc() == 0 and rig.meter.supply.causes & OUT
    state_limits(rig, overdraft_uc=YUAN)
    rig.run(1)
    assert rig.meter.emergency.left_uc() == YUAN // 2 and not rig.meter.supply.causes
    other = ready(0, overdraft_uc=5 * YUAN)
    spend(other, 3 * YUAN)
    state_limits(other, emergency_uc=YUAN)
    other.run(1)
    assert other.meter.emergency.state == states.EMERGENCY_NONE and not other.meter.take_emergency()


def test_emergency_credit_that_could_not_be_stored_is_not_granted():
    rig = ready(0, emergency_uc=YUAN)
    for sector in range(rig.board.flash.sectors):
        rig.board.flash.wear_out(sector)
    assert not rig.meter.take_emergency()
    assert (rig.meter.emergency.state, rig.meter.emergency.granted_uc) == (states.EMERGENCY_OFFERED, 0)
    rig.run(5)
    assert rig.meter.supply.causes & OUT


def test_where_somebody_else_charges_there_is_no_emergency_credit():
    rig = ready(0, emergency_uc=YUAN)
    assert rig.meter.take_emergency()
    spend(rig, YUAN // 10)
    for body in (stated.remote(10**9), stated.mode(states.MODE_POSTPAID)):
        assert rig.give(rig.order(orders.ASPECT_MODE, body)) == results.APPLIED
        rig.run(1)
        assert rig.meter.emergency.state == states.EMERGENCY_NONE and not rig.meter.take_emergency()
    assert rig.give(rig.order(orders.ASPECT_MODE, stated.mode(states.MODE_LOCAL))) == results.APPLIED
    rig.run(1)
    assert rig.meter.emergency.state == states.EMERGENCY_IN_USE, "what was taken is not forgotten"
    assert rig.meter.emergency.left_uc() == YUAN - YUAN // 10


# -- credit that waits -------------------------------------------------------------------------------------------------


def test_credit_above_the_hoarding_limit_waits_and_flows_in_as_the_balance_falls():
    """OP-ORD-57"""
    rig = ready(credit_limit_uc=10 * YUAN)
    assert rig.give(rig.credit(25 * YUAN)) == results.APPLIED
    account = rig.meter.account
    assert (balance(rig), account.waiting_uc) == (10 * YUAN, 15 * YUAN)
    report = rig.report(orders.ASPECT_CREDIT, 1)
    assert (report.balance_uc, report.waiting_uc, report.source_credited_uc) == (10 * YUAN, 15 * YUAN, 25 * YUAN)
    assert (events.CREDIT_WAITS, 15_000, 0) in rig.events()
    refused(rig, rig.credit(25 * YUAN), results.ALREADY)
    spend(rig, YUAN)
    assert (balance(rig), account.waiting_uc) == (10 * YUAN, 14 * YUAN)
    rig.outage(30)
    account = rig.meter.account
    assert balance(rig) + account.waiting_uc >= 24 * YUAN and account.credited_uc + account.waiting_uc == 25 * YUAN
    assert codes(rig).count(events.HISTORY_LOST) == 0
    state_limits(rig, credit_limit_uc=20 * YUAN)
    assert balance(rig) == 20 * YUAN, "as soon as the limit allows"
    state_limits(rig, credit_limit_uc=5 * YUAN)
    waits_uc = account.waiting_uc
    spend(rig, YUAN)
    assert balance(rig) == 19 * YUAN and account.waiting_uc == waits_uc, "what has flowed in stays"
    state_limits(rig)
    assert account.waiting_uc == 0 and account.credited_uc == 25 * YUAN


def test_a_limit_that_could_not_be_stored_lets_nothing_in():
    rig = ready(credit_limit_uc=10 * YUAN)
    assert rig.give(rig.credit(25 * YUAN)) == results.APPLIED
    before = rig.meter.account.state()
    for sector in range(rig.board.flash.sectors):
        rig.board.flash.wear_out(sector)
    assert rig.give(rig.order(orders.ASPECT_LIMITS, limits().encode())) == results.STORAGE_FAILED
    assert rig.meter.account.state() == before and rig.meter.supply.limits.credit_limit_uc == 10 * YUAN


def test_what_waits_is_counted_with_what_can_be_counted():
    rig = ready(credit_limit_uc=YUAN)
    assert rig.give(rig.credit(bodies.MAX_UC - 5)) == results.APPLIED
    refused(rig, rig.credit(6, source=2), results.BAD_BODY)
    assert rig.give(rig.credit(5, source=2)) == results.APPLIED


# -- refunds -----------------------------------------------------------------------------------------------------------


def test_a_refund_beyond_what_there_is_is_refused():
    """OP-ORD-57"""
    rig = ready(10 * YUAN, credit_limit_uc=8 * YUAN)
    assert (balance(rig), rig.meter.account.waiting_uc) == (8 * YUAN, 2 * YUAN)
    spend(rig, YUAN)
    refused(rig, rig.credit(10 * YUAN, 9 * YUAN + 1), results.REFUND_EXCEEDS)
    assert rig.give(rig.credit(10 * YUAN, 9 * YUAN)) == results.APPLIED
    assert (balance(rig), rig.meter.account.waiting_uc) == (0, 0), "what waited went first into the balance"
    rig.run(1)
    assert (events.REFUND_APPLIED, 9000, 1) in rig.events()


def test_what_an_order_brings_it_may_take_back_whatever_the_balance():
    rig = ready(YUAN // 10, overdraft_uc=YUAN)
    spend(rig, YUAN // 2)
    before_uc = balance(rig)
    assert before_uc < 0
    assert rig.give(rig.credit(YUAN, YUAN - YUAN // 10)) == results.APPLIED, (
        "a token taken back: no more than it brings"
    )
    assert balance(rig) == before_uc
    refused(rig, rig.credit(YUAN, YUAN), results.REFUND_EXCEEDS)


# -- the reminder ------------------------------------------------------------------------------------------------------


def reminding(credit_uc=2 * YUAN, **changed):
    return ready(credit_uc, rules=bodies.RULE_REMINDER, **changed)


def test_supply_trips_once_at_the_second_alarm_and_the_key_restores_it():
    rig = reminding()
    spend(rig, YUAN - 1000)
    assert not rig.meter.supply.causes
    spend(rig, 1000)
    assert balance(rig) == YUAN and rig.meter.supply.causes == REMINDER and rig.board.closed
    assert off(rig) and (events.RELAY_OPENED, 0, 0x100 + reasons.CAUSE_REMINDER) in rig.events()
    rig.meter.press_connect()
    rig.run(30)
    rig.meter.press_connect(2)
    rig.run(30)
    assert not rig.board.closed, "it takes 3 s"
    rig.outage(60)
    rig.run(60)
    assert not rig.board.closed and rig.meter.reconnect_uc() == 0
    rig.meter.press_connect(3)
    rig.run(15)
    assert rig.board.closed and codes(rig).count(events.REMINDER_HEARD) == 1
    spend(rig, YUAN // 2)
    rig.outage(60)
    rig.run(200)
    assert rig.board.closed, "once"
    assert rig.give(rig.credit(5 * YUAN)) == results.APPLIED
    rig.run(1)
    spend(rig, 4 * YUAN)
    assert rig.meter.supply.causes == REMINDER, "and again after it was above the alarm"


def test_a_payment_ends_the_reminder_and_being_out_of_credit_reminds_as_well():
    rig = reminding()
    spend(rig, YUAN)
    assert off(rig)
    assert rig.give(rig.credit(4 * YUAN)) == results.APPLIED
    rig.run(30)
    assert rig.board.closed, "by itself, as after a payment"
    other = reminding(100_000, alarm2_uc=0)  # from above the alarm to nothing in one step
    spend(other, 100_000)
    assert other.meter.supply.causes == OUT and off(other)
    state_limits(other, rules=bodies.RULE_REMINDER)
    assert other.give(other.credit(100_000 + YUAN // 2)) == results.APPLIED
    other.run(200)
    assert other.board.closed, "between zero and the alarm, but reminded"


def test_no_reminder_where_somebody_else_charges():
    rig = reminding(0)
    assert rig.give(rig.order(orders.ASPECT_MODE, stated.mode(states.MODE_POSTPAID))) == results.APPLIED
    assert rig.give(rig.credit(YUAN)) == results.APPLIED
    rig.run(200)
    assert rig.board.closed and not rig.meter.supply.causes


# -- friendly times ----------------------------------------------------------------------------------------------------

# START_S is midnight of Thursday, 1 January 2026.
WEEKDAYS = 0b0011111


def at(hour, day=0, **changed):
    """A meter with a little credit whose second alarm is at zero, at an hour of a day."""
    board = RamBoard()
    board.unix_s = START_S + day * DAY_S + hour * 3600
    changed.setdefault("friendly_days", 0x7F)
    rig = Rig(board, limits=limits(alarm2_uc=0, **changed), credit_uc=10_000)
    rig.run(15)
    return rig


def test_want_of_credit_trips_nothing_in_friendly_hours_and_charges_accrue():
    rig = at(20, friendly_from=72, friendly_until=88)  # 18:00 .. 22:00
    spend(rig, YUAN)
    rig.run(600)
    assert rig.board.closed and not rig.meter.supply.causes and balance(rig) == 10_000 - YUAN
    assert rig.meter.alarms() >> states.ALARM_FRIENDLY & 1 and codes(rig).count(events.FRIENDLY_KEEPS) == 1
    rig.run(START_S + 22 * 3600 - rig.board.unix_s - 1)
    assert rig.meter.friendly() and not rig.meter.supply.causes
    rig.run(1)
    assert not rig.meter.friendly() and rig.meter.supply.causes == OUT
    assert not rig.meter.alarms() >> states.ALARM_FRIENDLY & 1 and off(rig)
    rig.board.unix_s += 20 * 3600
    rig.run(100)
    assert rig.meter.friendly() and not rig.board.closed, "what has tripped stays so until it is paid"


def test_the_end_of_a_friendly_time_is_jittered():
    ends = set()
    for seed in range(12):
        rig = at(21, friendly_from=72, friendly_until=88, friendly_jitter_s=600)
        rig.board.random = 100 * seed
        spend(rig, 20_000)
        rig.run(START_S + 22 * 3600 - rig.board.unix_s, 30)
        longest_s = 0
        while not rig.meter.supply.causes:
            assert rig.meter.alarms() >> states.ALARM_FRIENDLY & 1
            rig.run(10)
            longest_s += 10
        assert longest_s <= 610
        ends.add(longest_s)
    assert len(ends) > 6


def test_friendly_days_hours_over_midnight_and_special_days():
    special = tariff.Tariff((YUAN,), special_days=((0, 1, 1, tariff.FRIENDLY), (26, 1, 2, 0)))
    for days, begin, end, friendly in (
        (1 << 3, 72, 88, ((0, 18, True), (0, 22, False), (0, 17, False), (1, 19, False))),
        (1 << 3, 88, 24, ((0, 23, True), (1, 5, True), (1, 6, False), (0, 5, False), (1, 23, False))),
        (WEEKDAYS, 0, 96, ((0, 0, True), (1, 23, True), (2, 12, False), (3, 12, False), (4, 0, True))),
        (0x7F, 40, 40, ((0, 10, False), (1, 10, False))),
        (bodies.FRIENDLY_SPECIAL, 0, 0, ((0, 0, True), (0, 23, True), (1, 0, False), (365, 12, True))),
        (0, 0, 96, ((0, 12, False), (3, 12, False))),
    ):
        rig = ready(YUAN, plan=special, friendly_days=days, friendly_from=begin, friendly_until=end)
        for day, hour, expected in friendly:
            rig.meter.clock.unix_s = START_S + day * DAY_S + hour * 3600
            assert rig.meter.friendly() == expected, (days, begin, end, day, hour)
        rig.meter.clock.known = False
        assert not rig.meter.friendly(), "nobody knows what time it is"


def test_local_time_says_what_is_friendly():
    rig = ready(YUAN, plan=tariff.Tariff((YUAN,), utc_offset_quarters=32), friendly_days=0x7F, friendly_until=24)
    rig.meter.clock.unix_s = START_S + 16 * 3600
    assert rig.meter.friendly()
    rig.meter.clock.unix_s = START_S + 15 * 3600
    assert not rig.meter.friendly()


def test_the_reminder_waits_for_the_end_of_a_friendly_time():
    rig = at(20, friendly_from=72, friendly_until=88, rules=bodies.RULE_REMINDER)
    assert rig.give(rig.credit(2 * YUAN)) == results.APPLIED
    state_limits(rig, friendly_days=0x7F, friendly_from=72, friendly_until=88, rules=bodies.RULE_REMINDER)
    spend(rig, YUAN + YUAN // 2)
    rig.run(100)
    assert rig.board.closed and not rig.meter.supply.causes
    rig.run(START_S + 22 * 3600 - rig.board.unix_s, 10)
    assert rig.meter.supply.causes == REMINDER
