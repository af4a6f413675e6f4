"""What the meter makes of a tariff: steps, standing charges, export, switches; and that its bodies survive."""

import struct

from meter import pricing, store
from meterlink import bodies, calendar, events, flashmap, orders, results
from meterlink.provision import MAX_LENGTH, ProvisionError
from meterlink.records import FLAG_RATE_CHANGED
from meterlink.shadow import Bill
from meterlink.tariff import PER_DAY, PER_MONTH, Tariff
from metersim.flash import NorFlash
from tests.firmware import stated
from tests.firmware.ramboard import START_S, RamBoard, Rig
from tests.powercut import sweep

DAY_S = 86_400
RICH_UC = 10**12
FROM = calendar.day_of(2026, 1, 30) * DAY_S + 20 * 3600  # two days before a month ends, in the evening
PLAN = Tariff(
    (300_000, 700_001, 400_000, 900_003, 1_000_000, 2_000_000),
    ((0, 0), (24, 1), (88, 0)),
    4,
    steps_wh=(40_000, 90_000),
    export_prices_uc_per_kwh=(50_001, 80_000),
    charges=((PER_DAY, 333_333), (PER_MONTH, 5_000_000)),
)


def rich(plan, start_s=FROM, **changed):
    board = RamBoard()
    board.unix_s = start_s
    return Rig(board, plan=plan, credit_uc=RICH_UC, **changed)


def long_plan(price, activate_s=0):
    """A tariff whose body travels apart."""
    slots = tuple([(i, i % 4) for i in range(14)])
    special = tuple([(26, 1, 1 + i, i % 8) for i in range(20)])
    return Tariff((price,) * 4, slots, 0, activate_s, more_days=(slots,) * 7, special_days=special)


def give(rig, plan):
    body = plan.encode()
    if len(body) <= orders.MAX_BODY:
        return rig.give(rig.order(orders.ASPECT_TARIFF, body))
    return rig.give_apart(orders.ASPECT_TARIFF, body)


def set_clock(rig, unix_s):
    body = bodies.encode_clock(rig.meter.clock.nonce, unix_s)
    return rig.give(rig.order(orders.ASPECT_CLOCK, body))


def money(rig):
    account = rig.meter.account
    return account.charged_uc, account.remainder, account.earned_uc, account.earned_rest


def live(stride_s):
    """A night over the end of a month with steady load and export, looked at every `stride_s`."""
    rig = rich(PLAN, FROM + DAY_S)
    rig.board.watts = 36_000  # 10 Wh a second
    for _ in range(8 * 3600 // stride_s):
        rig.board.exported += stride_s
        rig.run(stride_s, stride_s)
    return rig


def test_how_often_it_looks_makes_no_difference():
    """OP-TAR-01"""
    often, seldom = live(20), live(7200)
    assert money(often) == money(seldom)
    assert often.meter.pricing.state()[5] == seldom.meter.pricing.state()[5]
    assert often.meter.committed()[17:25] == seldom.meter.committed()[17:25]


def test_its_charge_is_the_shadow_bill():
    rig = live(900)
    bill = Bill(PLAN)
    bill.turn(FROM + DAY_S)
    for f in rig.intervals():
        bill.add(f[1], f[4], f[5])
    assert (bill.charged_uc, bill.remainder, bill.earned_uc, bill.earned_rest) == money(rig)
    assert bill.standing_uc == rig.meter.pricing.standing_uc == 333_333 + 5_000_000
    assert bill.running.step_wh == rig.meter.pricing.step_wh > 90_000


def test_a_step_is_told_and_priced():
    """OP-TAR-02"""
    rig = rich(Tariff((1_000_000, 3_000_000), steps_wh=(100,)))
    rig.board.watts = 3600
    rig.run(99)
    assert rig.meter.pricing.price_uc_per_kwh() == 1_000_000
    rig.run(1)
    assert rig.meter.pricing.price_uc_per_kwh() == 3_000_000
    rig.run(50, 50)
    assert rig.meter.account.charged_uc == 100 * 1000 + 50 * 3000
    assert (events.PRICE_STEP, 100, 2) in rig.events()
    rig.outage(5)
    assert rig.meter.pricing.step_wh == 150 and rig.meter.pricing.price_uc_per_kwh() == 3_000_000


def test_steps_begin_anew_with_the_month_also_without_power():
    """OP-TAR-03"""
    rig = rich(Tariff((1_000_000, 3_000_000), steps_wh=(100,)))
    rig.board.watts = 3600
    rig.run(150, 50)
    rig.outage(DAY_S)
    assert rig.meter.pricing.step_wh == 150
    rig.outage(DAY_S)
    assert rig.meter.pricing.step_wh == 0
    rig.run(50)
    assert rig.meter.account.charged_uc == 100 * 1000 + 50 * 3000 + 50 * 1000


def test_steps_go_on_while_the_time_is_not_known():
    """OP-TAR-03"""
    rig = rich(Tariff((1_000_000, 3_000_000), steps_wh=(100,)))
    rig.board.watts = 3600
    rig.run(150, 50)
    rig.board.clock_valid = False
    rig.outage(0)
    rig.run(10)
    assert rig.meter.pricing.step_wh == 160
    assert set_clock(rig, FROM + 3 * DAY_S) == results.APPLIED
    assert rig.meter.pricing.step_wh == 0


def test_a_new_month_within_an_interval_is_marked():
    rig = Rig(plan=Tariff((1, 2), utc_offset_quarters=1, steps_wh=(1,)), commission=False)
    rig.board.unix_s = calendar.day_of(2026, 1, 31) * DAY_S + 82_800
    rig.boot()
    rig.meter.provision(rig.record(interval_minutes=60))
    rig.run(7200, 900)
    assert [f[7] & FLAG_RATE_CHANGED for f in rig.intervals()] == [FLAG_RATE_CHANGED, 0]


def test_standing_charges_of_days_without_power():
    """OP-TAR-04"""
    rig = rich(PLAN)
    rig.run(60, 60)
    assert rig.meter.account.charged_uc == 0, "the day on which it begins is not charged"
    rig.outage(3 * DAY_S)
    assert rig.meter.account.charged_uc == 3 * 333_333 + 5_000_000
    assert (events.STANDING_CHARGED, 5999, 3) in rig.events()
    rig.outage(0)
    rig.outage(60)
    assert rig.meter.account.charged_uc == rig.meter.pricing.standing_uc == 3 * 333_333 + 5_000_000
    rig.run(DAY_S, 900)
    assert rig.meter.account.charged_uc == 4 * 333_333 + 5_000_000


def test_standing_charges_wait_for_the_time():
    """OP-TAR-04"""
    rig = rich(PLAN)
    rig.run(60, 60)
    rig.board.clock_valid = False
    rig.outage(0)
    rig.run(2 * DAY_S, 900)
    assert rig.meter.account.charged_uc == 0
    assert set_clock(rig, FROM + 2 * DAY_S) == results.APPLIED
    assert rig.meter.account.charged_uc == 2 * 333_333 + 5_000_000
    assert set_clock(rig, FROM + 10) == results.APPLIED
    rig.run(2 * DAY_S, 900)
    assert rig.meter.account.charged_uc == 2 * 333_333 + 5_000_000, "no day twice"


def test_days_before_a_switch_cost_what_they_did_then():
    """OP-TAR-05"""
    rig = rich(PLAN)
    assert give(rig, Tariff((1,), charges=((PER_DAY, 7),), activate_s=FROM + 2 * DAY_S - 20 * 3600)) == results.APPLIED
    rig.outage(4 * DAY_S)
    # 31 January and 1 February began by the old tariff's clock (UTC+1), 2 and 3 February by the new one's
    assert rig.meter.account.charged_uc == 2 * 333_333 + 5_000_000 + 2 * 7


def test_export_earns_in_local_mode_alone():
    """OP-TAR-07"""
    rig = rich(PLAN)
    rig.board.exported += 10
    rig.run(1)
    assert (rig.meter.account.earned_uc, rig.meter.account.earned_rest) == (800, 0)
    rig.run(3600, 900)
    rig.board.exported += 3
    rig.run(1)
    assert (rig.meter.account.earned_uc, rig.meter.account.earned_rest) == (950, 3)
    rig.run(60, 60)
    rig.outage(0)
    assert (rig.meter.account.earned_uc, rig.meter.account.earned_rest) == (950, 3)
    mode = stated.remote(balance_uc=5_000_000)
    assert rig.give(rig.order(orders.ASPECT_MODE, mode)) == results.APPLIED
    rig.board.exported += 10
    rig.run(DAY_S, 900)
    assert rig.meter.account.earned_uc == 950
    assert rig.meter.account.charged_uc == 0 and rig.meter.allowance.state()[5] == 5_000_000 - 333_333


def test_another_account_begins_its_own_steps():
    """OP-TAR-03"""
    rig = rich(Tariff((1_000_000, 3_000_000), steps_wh=(100,), charges=((PER_DAY, 9),)))
    rig.board.watts = 3600
    rig.run(DAY_S, 900)
    assert rig.meter.pricing.step_wh == DAY_S and rig.meter.pricing.standing_uc == 9
    opened = rig.order(orders.ASPECT_EPOCH, stated.epoch(), account_epoch=2)
    assert rig.give(opened) == results.APPLIED
    assert rig.meter.pricing.step_wh == rig.meter.pricing.standing_uc == rig.meter.account.charged_uc == 0


def test_long_tariffs_follow_one_another():
    rig = rich(PLAN)
    for price in range(2, 9):
        assert give(rig, long_plan(price)) == results.APPLIED
        assert give(rig, long_plan(price + 100, FROM + DAY_S)) == results.APPLIED
        rig.outage(1)
        assert rig.meter.pricing.active.encode() == long_plan(price).encode()
        assert rig.meter.pricing.passive.encode() == long_plan(price + 100, FROM + DAY_S).encode()
        assert rig.meter.pricing.active_version == (1, rig.version - 1)
    rig.run(DAY_S, 3600)
    assert rig.meter.pricing.active.prices_uc_per_kwh[0] == 108 and rig.meter.pricing.passive is None
    rig.outage(1)
    assert rig.meter.pricing.active.prices_uc_per_kwh[0] == 108 and rig.meter.pricing.passive is None
    assert rig.meter.pricing.active_version == (1, rig.version)


def test_a_meter_is_made_with_a_long_tariff():
    plan = long_plan(1)
    rig = Rig(plan=plan)
    rig.outage(1)
    assert rig.meter.pricing.active.encode() == plan.encode() and rig.meter.pricing.active_version == (0, 0)
    try:
        rig.record(tariff=bytes(MAX_LENGTH), limits=bytes(255))
    except ProvisionError as error:
        assert str(error).startswith("record length")
    else:
        raise AssertionError("taken")


def test_a_tariff_that_cannot_be_stored_changes_nothing():
    rig = rich(PLAN)
    rig.run(60)
    new = rig.order(orders.ASPECT_TARIFF, Tariff((1,), charges=((PER_DAY, 1),)).encode())
    for raw in (new, rig.order(orders.ASPECT_CLOCK, bodies.encode_clock(rig.meter.clock.nonce, FROM + 9 * DAY_S))):
        allowed = 0
        code = results.STORAGE_FAILED
        while code == results.STORAGE_FAILED:
            before = rig.meter.pricing.state(), money(rig), rig.meter.clock.state()
            fail_after(rig, allowed)
            code = rig.give(raw)
            fail_after(rig, None)
            if code == results.STORAGE_FAILED:
                assert (rig.meter.pricing.state(), money(rig), rig.meter.clock.state()) == before
            allowed += 1
            rig.run(61)
        assert code == results.APPLIED and allowed > 1
    assert rig.meter.pricing.standing_uc == 9


def fail_after(rig, commits):
    """Let so many commits through; None mends the flash."""
    journal = rig.meter.store.journal
    if commits is None:
        if hasattr(journal, "whole"):
            journal.commit = journal.whole
        return
    if not hasattr(journal, "whole"):
        journal.whole = journal.commit
    left = [commits]

    def commit(items):
        left[0] -= 1
        if left[0] < 0:
            raise store.StorageError("flash: it is said to fail")
        journal.whole(items)

    journal.commit = commit


def test_a_body_of_an_earlier_release_is_read():
    rig = rich(PLAN)
    old, later = Tariff((5, 6), ((0, 1),)), Tariff((9,), activate_s=FROM + 1000)
    version = struct.pack(">HI", 1, 77)
    items = [(store.KEY_TARIFF, version + old.encode()), (store.KEY_TARIFF_PASSIVE, version + later.encode())]
    assert rig.meter.commit(items)
    rig.outage(1)
    assert rig.meter.pricing.active.encode() == old.encode() and rig.meter.pricing.active_version == (1, 77)
    assert rig.meter.pricing.passive.encode() == later.encode()
    rig.run(1000, 100)
    rig.outage(1)
    assert rig.meter.pricing.active.encode() == later.encode() and rig.meter.pricing.passive is None
    assert give(rig, long_plan(3)) == results.APPLIED
    rig.outage(1)
    assert rig.meter.pricing.active.encode() == long_plan(3).encode()


def test_a_change_of_tariffs_cut_anywhere_is_whole_or_not_at_all():
    """OP-TAR-09"""

    class Told:
        """expected, under_way: bodies in force and waiting, before and after what happens now."""

        rig = None
        expected = under_way = [b"", b""]

    told = Told()
    plans = [long_plan(2), long_plan(3, FROM + 7200), long_plan(4), long_plan(5, FROM + 7200)]

    def workload(flash):
        board = RamBoard(flash)
        board.unix_s = FROM
        told.rig = rig = Rig(board, plan=PLAN)
        told.expected = told.under_way = [PLAN.encode(), b""]
        for plan in plans:
            kept = [told.expected[0], plan.encode()] if plan.activate_s else [plan.encode(), b""]
            told.under_way = kept
            assert give(rig, plan) == results.APPLIED
            told.expected = kept
        rig.run(60)
        told.under_way = [told.expected[1], b""]
        rig.run(7200, 900)
        told.expected = told.under_way

    def boot_and_check(flash):
        board = RamBoard(flash)
        board.unix_s = min(told.rig.board.unix_s, FROM + 7199) if told.rig else FROM
        board.kept_witness = told.rig.board.kept_witness if told.rig else 0
        other = Rig(board, plan=PLAN, commission=False)
        if not other.meter.commissioned:
            return
        prices = other.meter.pricing
        found = [prices.active.encode(), prices.passive.encode() if prices.passive else b""]
        assert found in (told.expected, told.under_way)

    swept = sweep(NorFlash(flashmap.TOTAL_SECTORS, unit_bytes=8), workload, boot_and_check)
    assert swept.operations > 20


def test_the_price_of_a_moment_is_known_before_commissioning():
    rig = Rig(commission=False)
    assert rig.meter.pricing.price_uc_per_kwh() == 0
    assert rig.meter.pricing.local(START_S)[3:] == (3, 0) and not rig.meter.pricing.special(START_S)
    assert rig.meter.pricing.next_local_day_s(START_S) == START_S + DAY_S
    assert pricing.name((1, 2), 3) == b"\0\1\0\0\0\2\3"
