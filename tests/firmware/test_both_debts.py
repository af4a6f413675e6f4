"""Debts at the meter: by time and by share, caps, priority, what is due after emergency credit, settlement of top-ups.
Both interpreters."""

import struct

from meter.core import Meter
from meter.registers import MeterRegisters
from meterlink import bodies, events, orders, registers, results, states, tariff
from meterlink.sts import results as typed
from tests.firmware import stated
from tests.firmware.ramboard import START_S
from tests.firmware.test_both_credit_rules import DAY_S, YUAN, balance, off, ready, spend, state_limits
from tests.firmware.test_both_orders import refused
from tests.firmware.tokens import TypedRig

SMETS2, STATE_GRID = bodies.SETTLEMENT_SMETS2, bodies.SETTLEMENT_STATE_GRID
DAY, WEEK, MONTH = bodies.PERIOD_DAY, bodies.PERIOD_WEEK, bodies.PERIOD_MONTH


def shared(placed_uc, share, cap_uc=0, period=WEEK, priority=1, withdrawn_uc=0):
    return bodies.DebtTerms(placed_uc, withdrawn_uc, bodies.DEBT_SHARED, share, 0, period, priority, cap_uc)


def timed(placed_uc, amount_uc, period=DAY, priority=1, withdrawn_uc=0):
    return bodies.DebtTerms(placed_uc, withdrawn_uc, bodies.DEBT_TIMED, 0, amount_uc, period, priority, 0)


def place(rig, number, terms, **changed):
    return rig.give(rig.order(orders.ASPECT_DEBT, terms.encode(), number, **changed))


def placed(rig, *debts):
    for number, terms in enumerate(debts):
        assert place(rig, number + 1, terms) == results.APPLIED
    return rig


def top_up(rig, amount_uc, source=1):
    total_uc = rig.meter.account.totals(source)[0] + amount_uc
    assert rig.give(rig.credit(total_uc, source=source, sales=[(total_uc, amount_uc)])) == results.APPLIED


def owed(rig):
    return [debt.owed_uc() for debt in rig.meter.debts]


def collected(rig):
    return [debt.collected_uc for debt in rig.meter.debts]


def days(rig, count):
    rig.run(count * DAY_S, 3600)


# -- orders ------------------------------------------------------------------------------------------------------------


def test_a_debt_is_stated_as_totals_by_the_credit_key():
    """OP-ORD-58"""
    rig = placed(ready(10 * YUAN), shared(10 * YUAN, 1000))
    assert owed(rig) == [10 * YUAN, 0, 0] and balance(rig) == 10 * YUAN
    refused(rig, rig.order(orders.ASPECT_DEBT, shared(20 * YUAN, 1000).encode(), 1, role=3), results.WRONG_ROLE)
    refused(rig, rig.order(orders.ASPECT_DEBT, shared(20 * YUAN, 1000).encode(), 1, role=1), results.WRONG_ROLE)
    refused(rig, rig.order(orders.ASPECT_DEBT, shared(9 * YUAN, 1000).encode(), 1), results.DEBT_BELOW)
    assert place(rig, 1, shared(15 * YUAN, 500, withdrawn_uc=3 * YUAN)) == results.APPLIED
    refused(rig, rig.order(orders.ASPECT_DEBT, shared(15 * YUAN, 500).encode(), 1), results.DEBT_BELOW)
    refused(rig, rig.order(orders.ASPECT_DEBT, shared(16 * YUAN, 500).encode(), 1, version=1), results.OLD_VERSION)
    assert owed(rig) == [12 * YUAN, 0, 0]
    rig.outage()
    assert owed(rig) == [12 * YUAN, 0, 0] and rig.meter.debts[0].terms.share == 500


def test_more_than_is_owed_may_be_withdrawn_and_counts_against_what_comes():
    rig = placed(ready(), shared(10 * YUAN, 5000))
    top_up(rig, 16 * YUAN)
    assert collected(rig)[0] == 8 * YUAN
    assert place(rig, 1, shared(10 * YUAN, 5000, withdrawn_uc=5 * YUAN)) == results.APPLIED
    assert owed(rig)[0] == 0
    top_up(rig, 16 * YUAN)
    assert collected(rig)[0] == 8 * YUAN
    assert place(rig, 1, shared(20 * YUAN, 5000, withdrawn_uc=5 * YUAN)) == results.APPLIED
    assert owed(rig)[0] == 7 * YUAN


def test_a_debt_that_could_not_be_stored_is_not_owed():
    rig = ready()
    for sector in range(rig.board.flash.sectors):
        rig.board.flash.wear_out(sector)
    assert place(rig, 2, shared(YUAN, 1000)) == results.STORAGE_FAILED
    assert owed(rig) == [0, 0, 0] and not rig.meter.debts[1].fresh


# -- by share ----------------------------------------------------------------------------------------------------------


def test_a_tenth_capped_at_five_a_week_with_ten_every_day():
    """The rule's own example: it takes 1 on five days and 0 on two."""
    rig = placed(ready(), shared(100 * YUAN, 1000, cap_uc=5 * YUAN))
    days(rig, 4)  # START_S is a Thursday
    for _ in range(3):
        taken = []
        for _ in range(7):
            before_uc = collected(rig)[0]
            top_up(rig, 10 * YUAN)
            taken.append((collected(rig)[0] - before_uc) // YUAN)
            days(rig, 1)
        assert taken == [1, 1, 1, 1, 1, 0, 0]
    assert balance(rig) == 210 * YUAN - 15 * YUAN and owed(rig)[0] == 85 * YUAN


def test_sales_that_arrive_together_settle_one_by_one():
    one, other = ready(), ready()
    for rig in (one, other):
        placed(rig, shared(100 * YUAN, 1000, cap_uc=2 * YUAN, period=DAY))
    for amount_uc in (10 * YUAN, 7, 5 * YUAN, 19):
        top_up(one, amount_uc)
    sales = [(10 * YUAN, 10 * YUAN), (10 * YUAN + 7, 7), (15 * YUAN + 7, 5 * YUAN), (15 * YUAN + 26, 19)]
    assert other.give(other.credit(15 * YUAN + 26, sales=sales)) == results.APPLIED
    assert collected(one) == collected(other) == [YUAN + YUAN // 2 + 1, 0, 0]
    one.run(1)
    other.run(1)
    assert (events.DEBT_COLLECTED, 1500, 1) in other.events()
    assert [e for e in one.events() if e[0] == events.DEBT_COLLECTED][:1] == [(events.DEBT_COLLECTED, 1000, 1)]


def test_priority_decides_who_is_paid_where_it_is_not_enough():
    rig = placed(
        ready(), shared(9 * YUAN, 6000, priority=7), shared(9 * YUAN, 6000, priority=2), shared(9 * YUAN, 1, priority=7)
    )
    top_up(rig, 10 * YUAN)
    assert collected(rig) == [4 * YUAN, 6 * YUAN, 0] and balance(rig) == 0
    top_up(rig, 10 * YUAN)
    assert collected(rig) == [9 * YUAN, 9 * YUAN, 1000] and balance(rig) == 2 * YUAN - 1000


def test_typed_credit_settles_like_any_other():
    rig = placed(TypedRig(), shared(100 * YUAN, 1000))
    assert rig.type(units=1000) == typed.ACCEPTED
    assert collected(rig)[0] == 10 * YUAN and balance(rig) == 90 * YUAN
    rig.outage()
    assert collected(rig)[0] == 10 * YUAN and balance(rig) == 90 * YUAN


# -- settlement --------------------------------------------------------------------------------------------------------


def test_what_a_top_up_pays_first_is_a_table():
    for settlement, paid_uc, left_uc in (
        (SMETS2, 5 * YUAN, YUAN),  # half of 10 for the debt, 4 for what is below zero
        (STATE_GRID, 3 * YUAN, 3 * YUAN),  # 4 for what is below zero, half of the 6 that are left for the debt
    ):
        rig = placed(ready(overdraft_uc=50 * YUAN, settlement=settlement), shared(10 * YUAN, 5000))
        spend(rig, 4 * YUAN)
        top_up(rig, 10 * YUAN)
        assert (collected(rig)[0], balance(rig), owed(rig)[0]) == (paid_uc, left_uc, 10 * YUAN - paid_uc)


def test_paying_what_is_asked_for_closes_supply_and_one_less_does_not():
    for settlement in (SMETS2, STATE_GRID):
        for less in (1, 0):
            rig = ready(10_000, watts=3600, settlement=settlement, min_close_uc=2 * YUAN)
            placed(rig, shared(3 * YUAN, 3333, priority=2), shared(YUAN, 1234, cap_uc=YUAN // 3), timed(YUAN, 1000))
            rig.run(15)
            assert off(rig)
            asked_uc = rig.meter.reconnect_uc()
            assert asked_uc > 2 * YUAN - balance(rig)
            top_up(rig, asked_uc - less)
            rig.run(30)
            assert rig.board.closed == (not less)
            assert rig.meter.reconnect_uc() <= 3 * less


# -- by time -----------------------------------------------------------------------------------------------------------


def test_a_timed_debt_is_collected_when_a_local_day_week_or_month_begins():
    plan = tariff.Tariff((YUAN,), utc_offset_quarters=32)  # local midnight is 16:00 UTC
    rig = placed(ready(100 * YUAN, plan=plan), timed(50 * YUAN, YUAN), timed(50 * YUAN, 7, WEEK), timed(90, 31, MONTH))
    rig.run(16 * 3600 - 15 - 1, 900)
    assert collected(rig) == [0, 0, 0]
    rig.run(1)
    assert collected(rig) == [YUAN, 0, 0] and balance(rig) == 99 * YUAN
    days(rig, 1)
    assert collected(rig) == [2 * YUAN, 0, 0]
    days(rig, 1)
    assert collected(rig) == [3 * YUAN, 0, 0]
    days(rig, 1)  # Monday, 5 January
    assert collected(rig) == [4 * YUAN, 7, 0]
    days(rig, 60)
    assert collected(rig) == [50 * YUAN, 9 * 7, 62], "never more than is owed; 1 February and 1 March"
    assert balance(rig) == 100 * YUAN - 50 * YUAN - 63 - 62
    days(rig, 30)
    assert collected(rig)[2] == 90


def test_days_without_power_are_made_up_for_and_none_is_collected_twice():
    rig = placed(ready(100 * YUAN), timed(50 * YUAN, YUAN))
    days(rig, 2)
    assert collected(rig)[0] == 2 * YUAN
    rig.outage(10 * DAY_S)
    rig.run(1)
    assert collected(rig)[0] == 12 * YUAN
    rig.outage()
    rig.run(900, 60)
    assert collected(rig)[0] == 12 * YUAN


def test_a_clock_that_goes_back_collects_nothing_again():
    rig = placed(ready(100 * YUAN), timed(50 * YUAN, YUAN))
    days(rig, 3)
    for back_s in (3600, 2 * DAY_S):
        body = bodies.encode_clock(rig.meter.clock.nonce, rig.board.unix_s - back_s)
        assert rig.give(rig.order(orders.ASPECT_CLOCK, body)) == results.APPLIED
        rig.run(1)
        rig.run(back_s, 900)
        assert collected(rig)[0] == 3 * YUAN
    days(rig, 1)
    assert collected(rig)[0] == 4 * YUAN


def test_while_the_time_is_unknown_no_day_begins():
    rig = placed(ready(100 * YUAN), timed(50 * YUAN, YUAN), shared(50 * YUAN, 1000, cap_uc=YUAN, period=DAY))
    rig.board.clock_valid = False
    rig.outage()
    top_up(rig, 10 * YUAN)
    days(rig, 3)
    top_up(rig, 10 * YUAN)
    assert collected(rig) == [0, YUAN, 0], "nor is there room under the cap"
    body = bodies.encode_clock(rig.meter.clock.nonce, START_S + 5 * DAY_S + 100)
    assert rig.give(rig.order(orders.ASPECT_CLOCK, body)) == results.APPLIED
    rig.run(1)
    top_up(rig, 10 * YUAN)
    assert collected(rig) == [5 * YUAN, 2 * YUAN, 0]


def test_a_debt_is_collected_below_zero_too():
    """Unless charges are suspended: it is owed, and the customer is told by the balance."""
    rig = placed(ready(YUAN, overdraft_uc=5 * YUAN), timed(50 * YUAN, YUAN))
    days(rig, 3)
    assert balance(rig) == -2 * YUAN and not rig.meter.supply.causes


# -- suspended charges -------------------------------------------------------------------------------------------------


def suspended(settlement):
    """Emergency credit is in use; 3 days of a debt and of a standing charge are due."""
    plan = tariff.Tariff((YUAN,), charges=((tariff.PER_DAY, YUAN // 2),))
    rig = ready(0, plan=plan, emergency_uc=20 * YUAN, rules=bodies.RULE_SUSPEND, settlement=settlement)
    placed(rig, timed(50 * YUAN, YUAN, priority=1), shared(50 * YUAN, 1000, priority=0))
    assert rig.meter.take_emergency()
    spend(rig, 2 * YUAN)
    days(rig, 3)
    assert balance(rig) == -2 * YUAN and collected(rig) == [0, 0, 0]
    assert rig.meter.charges.standing_due_uc == 3 * YUAN // 2 and rig.meter.debts[0].due_uc == 3 * YUAN
    rig.outage()
    rig.run(1)
    assert rig.meter.charges.due_uc() == 3 * YUAN + 3 * YUAN // 2 and rig.meter.pricing.standing_uc == 0
    return rig


def test_charges_accumulate_while_emergency_credit_is_in_use_and_the_next_top_up_pays_them():
    rig = suspended(SMETS2)
    top_up(rig, 4 * YUAN)  # 0.4 share; 1.5 standing and 2.1 of the 3 that are due
    assert collected(rig) == [21 * YUAN // 10, 4 * YUAN // 10, 0] and rig.meter.pricing.standing_uc == 3 * YUAN // 2
    assert balance(rig) == -2 * YUAN and rig.meter.charges.due_uc() == 9 * YUAN // 10
    top_up(rig, 10 * YUAN)
    assert balance(rig) == -2 * YUAN + 10 * YUAN - YUAN - 9 * YUAN // 10 and rig.meter.charges.due_uc() == 0
    assert rig.meter.emergency.state in (states.EMERGENCY_IN_USE, states.EMERGENCY_NONE)
    rig.run(1)
    assert rig.meter.emergency.state == states.EMERGENCY_NONE
    before_uc = balance(rig)
    days(rig, 1)
    assert balance(rig) == before_uc - YUAN - YUAN // 2, "and from now on they are charged again"


def test_what_is_below_zero_comes_before_what_is_due_where_the_table_says_so():
    rig = suspended(STATE_GRID)
    top_up(rig, 2 * YUAN)
    assert balance(rig) == 0 and collected(rig) == [0, 0, 0]
    top_up(rig, 2 * YUAN)
    assert balance(rig) == 0 and collected(rig) == [3 * YUAN // 10, 2 * YUAN // 10, 0]
    assert rig.meter.pricing.standing_uc == 3 * YUAN // 2


def test_what_is_due_is_withdrawn_with_its_debt():
    rig = suspended(SMETS2)
    assert place(rig, 1, timed(50 * YUAN, YUAN, withdrawn_uc=49 * YUAN)) == results.APPLIED
    assert rig.meter.debts[0].due_uc == YUAN == owed(rig)[0]


def test_the_account_block_says_it_all():
    rig = suspended(SMETS2)
    top_up(rig, 4 * YUAN)
    state_limits(rig, settlement=STATE_GRID, min_close_uc=YUAN)  # and no more overdraft or emergency credit offered
    registers_of = MeterRegisters(rig.meter, Meter.CARRIER_BUS)
    index = [block[0] for block in registers.BLOCKS].index(registers.ACCOUNT)
    _, address, _, fields = registers.BLOCKS[index]
    length = registers.block_length(fields)
    out = bytearray(2 * length)
    assert length <= 125 and registers_of.read(address, length, memoryview(out), 0, False) == 0
    # (No field here is a u48, which takes two values.)
    found = dict(zip([field[0] for field in fields], struct.unpack(registers.block_struct(fields), bytes(out))))
    assert (found["settlement"], found["emergency"], found["emergency_left_uc"]) == (1, 2, 18 * YUAN)
    assert (found["standing_uc"], found["standing_due_uc"], found["waiting_uc"]) == (3 * YUAN // 2, 0, 0)
    assert [found["debt_1_{}_uc".format(name)] for name in ("placed", "withdrawn", "collected", "owed", "due")] == [
        50 * YUAN,
        0,
        21 * YUAN // 10,
        479 * YUAN // 10,
        9 * YUAN // 10,
    ]
    assert (found["debt_2_kind"], found["debt_2_share"], found["debt_2_priority"]) == (1, 1000, 0)
    assert found["reconnect_uc"] == found["friendly"] == found["debt_3_owed_uc"] == 0


# -- accounts and modes ------------------------------------------------------------------------------------------------


def test_a_new_account_owes_nothing_and_the_old_ones_debts_end_with_it():
    """OP-ORD-58"""
    rig = placed(ready(20 * YUAN), timed(50 * YUAN, YUAN), shared(50 * YUAN, 1000))
    days(rig, 2)
    rig.account_epoch = 2
    assert rig.give(rig.order(orders.ASPECT_EPOCH, stated.epoch())) == results.APPLIED
    for _ in range(2):
        assert owed(rig) == collected(rig) == [0, 0, 0]
        top_up(rig, 10 * YUAN)
        days(rig, 1)
        rig.outage()
    assert balance(rig) == 20 * YUAN
    assert place(rig, 1, timed(YUAN, YUAN)) == results.APPLIED, "its totals begin anew"
    days(rig, 1)
    assert balance(rig) == 19 * YUAN


def test_the_meter_collects_only_where_it_charges_and_goes_on_where_it_was():
    for body in (stated.remote(10**9), stated.mode(states.MODE_POSTPAID)):
        rig = placed(ready(20 * YUAN), timed(50 * YUAN, YUAN), shared(50 * YUAN, 1000))
        state_limits(rig, credit_limit_uc=25 * YUAN)
        days(rig, 2)
        before = balance(rig), collected(rig), owed(rig)
        assert before == (18 * YUAN, [2 * YUAN, 0, 0], [48 * YUAN, 50 * YUAN, 0])
        assert rig.give(rig.order(orders.ASPECT_MODE, body)) == results.APPLIED
        days(rig, 3)
        top_up(rig, 10 * YUAN)
        assert (balance(rig), rig.meter.account.waiting_uc) == (25 * YUAN, 3 * YUAN)
        days(rig, 3)
        assert collected(rig) == before[1]
        assert rig.give(rig.order(orders.ASPECT_MODE, stated.mode(0, 2 * YUAN))) == results.APPLIED
        assert (balance(rig), rig.meter.account.waiting_uc) == (25 * YUAN, YUAN)
        rig.run(1)
        assert collected(rig) == before[1], "the days between are nobody's"
        days(rig, 1)
        assert collected(rig) == [3 * YUAN, 0, 0]
        account = rig.meter.account
        assert balance(rig) + account.waiting_uc == 30 * YUAN - 3 * YUAN - 2 * YUAN


def test_a_recovered_meter_waits_for_its_debts_to_be_stated_anew():
    rig = placed(ready(20 * YUAN, credit_limit_uc=15 * YUAN), timed(50 * YUAN, YUAN))
    image = rig.board.flash.snapshot()
    days(rig, 2)
    rig.board.flash.restore(image)
    rig.outage()
    assert rig.meter.history_lost
    rig.run(5)
    body = stated.recover(rig.meter.clock.nonce, ((1, 20 * YUAN, 0),), charged_uc=2 * YUAN)
    assert rig.give_apart(orders.ASPECT_RECOVER, body, version=50) == results.APPLIED
    assert balance(rig) == 18 * YUAN and owed(rig) == collected(rig) == [0, 0, 0]
    assert rig.meter.account.waiting_uc == 0, "what is stated is in the balance"
    days(rig, 2)
    rig.outage()
    assert balance(rig) == 18 * YUAN and not rig.meter.history_lost
    rig.version = 50
    assert place(rig, 1, timed(48 * YUAN, YUAN)) == results.APPLIED
    days(rig, 1)
    assert balance(rig) == 17 * YUAN


def test_an_order_tells_all_that_it_does():
    """Four sales, a refund, shares for three debts, and the order itself."""
    rig = placed(ready(10 * YUAN), *[shared(50 * YUAN, 500, priority=number) for number in (1, 2, 3)])
    rig.run(60)
    before = len(rig.events())
    sales = [(100 * YUAN * number, 100 * YUAN) for number in (1, 2, 3, 4)]
    assert rig.give(rig.credit(400 * YUAN, 5 * YUAN, source=3, sales=sales)) == results.APPLIED
    rig.run(1)
    told = [event[0] for event in rig.events()[before:]]
    assert told.count(events.CREDIT_APPLIED) == 4 and told.count(events.REFUND_APPLIED) == 1
    assert told[-1] == events.ORDER_APPLIED and events.DEBT_COLLECTED in told
