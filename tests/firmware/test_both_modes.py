"""Fee control: local, remote with its allowance and grace, postpaid; typed allowances."""

from meter import store
from meterlink import bodies, events, orders, reasons, results, states, tariff
from tests.firmware import stated
from tests.firmware.ramboard import PRICE_UC, Rig
from tests.firmware.test_both_orders import refused

MODE = orders.ASPECT_MODE
OUT = 1 << reasons.CAUSE_OUT_OF_CREDIT
WH_UC = PRICE_UC // 1000


def ready(credit_uc=50_000_000, watts=3600):
    rig = Rig(credit_uc=credit_uc)
    rig.board.watts = watts  # a watt-hour a second
    if credit_uc:
        rig.run(100)
    return rig


def state(rig, body, **changed):
    return rig.give(rig.order(MODE, body, **changed))


def out_after_s(rig, longest_s=20_000):
    """Seconds until supply is no longer covered; -1 where it stays so."""
    for seconds in range(longest_s):
        rig.run(1)
        if rig.meter.supply.causes & OUT:
            return seconds
    return -1


def test_each_side_prices_its_side_of_the_register_at_the_switch():
    """OP-ORD-47"""
    rig = ready()
    charged_uc = rig.meter.account.charged_uc
    switched_wh = rig.meter.energy.import_wh
    assert state(rig, stated.remote(10**9, adjusted_uc=5)) == results.APPLIED
    report = rig.report(MODE)
    assert report.import_wh == switched_wh and report.charged_uc == charged_uc == switched_wh * WH_UC
    assert (events.MODE_CHANGED, switched_wh, states.MODE_REMOTE) in rig.events()
    rig.run(1000)
    assert rig.report().charged_uc == charged_uc and rig.report().adjusted_uc == 5, "the head end prices these"
    assert state(rig, stated.mode(states.MODE_POSTPAID, 1_000_000)) == results.APPLIED
    rig.run(500)
    assert rig.report().charged_uc == charged_uc and rig.report().adjusted_uc == 1_000_000
    back_wh = rig.meter.energy.import_wh
    assert state(rig, stated.mode(states.MODE_LOCAL, 1_500_000)) == results.APPLIED
    rig.run(500)
    own_wh = switched_wh + rig.meter.energy.import_wh - back_wh
    assert rig.meter.account.charged_uc == own_wh * WH_UC
    assert rig.meter.account.balance_uc() == 50_000_000 - own_wh * WH_UC - 1_500_000


def test_what_the_head_end_has_charged_only_grows():
    rig = ready()
    assert state(rig, stated.mode(0, 9000)) == results.APPLIED
    assert state(rig, stated.mode(0, 4000)) == results.APPLIED
    assert rig.report().adjusted_uc == 9000
    refused(rig, rig.order(MODE, stated.mode(0, bodies.MAX_UC)), results.BAD_BODY)


def test_covered_up_to_the_register_stated():
    rig = ready(credit_uc=0)
    until_wh = rig.meter.energy.import_wh + 700
    assert state(rig, stated.remote(until_wh)) == results.APPLIED
    assert rig.report().until_wh == until_wh and rig.report().mode == states.MODE_REMOTE
    assert out_after_s(rig) in (699, 700, 701)
    assert rig.meter.energy.import_wh in (until_wh, until_wh + 1)


def test_time_alone_cuts_nobody_off_who_has_credit():
    """OP-ORD-47"""
    rig = ready(credit_uc=0)
    assert state(rig, stated.remote(0, balance_uc=1_000_000)) == results.APPLIED
    rig.board.watts = 0
    rig.run(90 * 86_400, 3600)
    assert not rig.meter.supply.causes & OUT and rig.board.closed
    rig.board.watts = 3600
    assert out_after_s(rig) in (999, 1000, 1001, 1002), "the balance stated, counted down at the tariff"


def test_the_countdown_goes_by_the_tariff_in_force():
    rig = ready(credit_uc=0)
    assert state(rig, stated.remote(0, balance_uc=1_000_000)) == results.APPLIED
    rig.run(400)
    assert rig.give(rig.order(orders.ASPECT_TARIFF, tariff.Tariff((6 * PRICE_UC,)).encode())) == results.APPLIED
    assert out_after_s(rig) in (99, 100, 101)


def test_grace_ends_with_its_energy_or_its_time_and_comes_once_a_statement():
    """OP-ORD-47"""
    for watts, grace_wh, grace_s, expected_s in ((3600, 300, 5000, 300), (3600, 5000, 300, 300), (3600, 0, 99, 0)):
        rig = ready(credit_uc=0, watts=watts)
        raw = rig.order(MODE, stated.remote(0, 0, grace_wh, grace_s))
        assert rig.give(raw) == results.APPLIED
        assert abs(out_after_s(rig) - expected_s) <= 2
        refused(rig, raw, results.ALREADY)
        rig.run(1)
        assert rig.meter.supply.causes & OUT, "the same statement again gives no second grace"
        assert state(rig, stated.remote(0, 0, grace_wh, grace_s)) == results.APPLIED
        assert abs(out_after_s(rig) - expected_s) <= 2, "a new one does"


def test_a_power_cut_costs_neither_countdown_nor_grace():
    rig = ready(credit_uc=0)
    assert state(rig, stated.remote(0, 2_000_000, 500, 400)) == results.APPLIED
    spent_s = 0
    while not rig.meter.supply.causes & OUT and spent_s < 10_000:
        rig.run(150)
        spent_s += 150
        rig.outage(5)
        rig.run(1)
    lost_s = spent_s // 150 * 60  # what was metered since the last checkpoint, a minute at most each time
    assert 2400 - 20 <= spent_s <= 2400 + lost_s + 150
    rig.outage()
    rig.run(2)
    assert rig.meter.supply.causes & OUT, "the grace of this statement is over"


def test_what_was_counted_down_is_durable():
    rig = ready(credit_uc=0)
    assert state(rig, stated.remote(0, 2_000_000, 500, 400)) == results.APPLIED
    rig.run(600)
    rig.meter.commit([])
    counted = rig.meter.allowance.state()
    rig.outage()
    assert rig.meter.allowance.state() == counted


def test_postpaid_is_never_cut_for_want_of_credit_and_warns_of_none():
    rig = ready(credit_uc=1000)
    rig.run(5)
    assert rig.report().alarms & 3 == 3
    assert state(rig, stated.mode(states.MODE_POSTPAID)) == results.APPLIED
    rig.run(7200, 60)
    report = rig.report()
    assert rig.board.closed and not report.causes & OUT and not report.alarms & 3
    assert rig.give(rig.hold(reasons.HOLD_ARREARS)) == results.APPLIED
    rig.run(100)
    assert not rig.board.closed, "a hold opens in any mode"


def test_alarms_warn_before_an_allowance_ends():
    rig = ready(credit_uc=0)
    assert state(rig, stated.remote(rig.meter.energy.import_wh + 2500, 0)) == results.APPLIED
    rig.run(2)
    assert not rig.report().alarms & 3
    rig.run(600)
    assert rig.report().alarms & 3 == 1, "worth less than the first threshold"
    rig.run(1000)
    assert rig.report().alarms & 3 == 3


def test_a_payment_in_remote_mode_is_credit_but_covers_nothing_by_itself():
    rig = ready(credit_uc=0)
    assert state(rig, stated.remote()) == results.APPLIED
    assert rig.give(rig.credit(80_000_000)) == results.APPLIED
    rig.run(2)
    assert rig.meter.supply.causes & OUT and rig.report().balance_uc > 70_000_000


def test_a_typed_allowance_covers_in_any_mode_beyond_what_is_covered():
    for body in (None, stated.remote(0), stated.remote(400)):
        rig = ready(credit_uc=0)
        if body:
            assert state(rig, body) == results.APPLIED
        rig.run(2)
        from_wh = max(rig.meter.energy.import_wh, 400 if body == stated.remote(400) else 0)
        rig.meter.allowance.extend(150)
        assert rig.meter.commit([(store.KEY_ALLOWANCE, rig.meter.allowance.pack())], True)
        rig.outage()
        assert rig.report().until_wh == from_wh + 150
        rig.run(1)
        assert not rig.meter.supply.causes & OUT
        out_after_s(rig)
        assert 0 <= rig.meter.energy.import_wh - from_wh - 150 <= 1


def test_a_statement_leaves_a_typed_allowance_alone():
    rig = ready(credit_uc=0)
    rig.meter.allowance.extend(5000)
    until_wh = rig.meter.allowance.until_wh()
    assert state(rig, stated.mode(0, 77)) == results.APPLIED
    rig.outage()
    assert rig.report().until_wh == until_wh


def test_a_mode_that_could_not_be_stored_changes_nothing():
    rig = ready()
    for sector in range(rig.board.flash.sectors):
        rig.board.flash.wear_out(sector)
    before = rig.meter.allowance.state(), rig.meter.account.state()
    assert state(rig, stated.remote(10, 20, 30, 40, 50)) == results.STORAGE_FAILED
    assert (rig.meter.allowance.state(), rig.meter.account.state()) == before


def test_without_the_time_a_mode_that_expires_is_refused():
    rig = ready()
    rig.board.clock_valid = False
    rig.outage()
    later = rig.board.unix_s + 10_000
    refused(rig, rig.order(MODE, stated.remote(), not_after_s=later), results.CLOCK_UNKNOWN)
    assert state(rig, stated.remote()) == results.APPLIED
