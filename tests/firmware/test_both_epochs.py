"""Account epochs: opened, closed with a statement, retired for good; and a lost history that is recovered."""

from meter import store
from meterlink import batches, bodies, events, orders, reasons, records, reports, results, states, tariff
from meterlink.reports import Report
from metersim.flash import NorFlash
from tests.firmware import stated
from tests.firmware.ramboard import NONCE, Rig
from tests.firmware.test_both_orders import refused

RICH_UC = 1_000_000_000
EPOCH, RETIRE, RECOVER = orders.ASPECT_EPOCH, orders.ASPECT_RETIRE, orders.ASPECT_RECOVER


def lived_in():
    """A meter whose account has money, charges, a held order of each kind and registers."""
    rig = Rig(credit_uc=RICH_UC)
    rig.board.watts = 3600
    assert rig.give(rig.credit(5_000_000, 1_000_000, source=2)) == results.APPLIED
    assert rig.give(rig.order(orders.ASPECT_TARIFF, tariff.Tariff((3_000_000,)).encode())) == results.APPLIED
    assert rig.give(rig.order(orders.ASPECT_LIMITS, rig.limits.encode())) == results.APPLIED
    rig.run(3600, 60)
    return rig


def closing_of(rig):
    kind, raw = rig.meter.ask(batches.pack_ask(batches.KIND_CLOSING, NONCE))
    assert kind == batches.KIND_CLOSING
    return Report(raw, rig.mac_key)


def open_epoch(rig, number, **changed):
    rig.account_epoch = number
    return rig.order(EPOCH, stated.epoch(**changed))


def money(report):
    return [report.balance_uc, report.credited_uc, report.earned_uc, report.refunded_uc, report.adjusted_uc,
            report.charged_uc, report.remainder, report.typed_uc]  # fmt: skip


# -- epoch -------------------------------------------------------------------------------------------------------------


def test_an_epoch_opens_an_account_at_zero_and_leaves_the_rest():
    """OP-ORD-53"""
    rig = lived_in()
    before = rig.report()
    intervals = rig.intervals()
    held = {a: rig.meter.held(a, 0) for a in (orders.ASPECT_TARIFF, orders.ASPECT_LIMITS)}
    assert rig.give(open_epoch(rig, 2)) == results.APPLIED
    after = rig.report()
    assert after.account_epoch == 2 and money(after) == [0] * 8
    assert (after.import_wh, after.export_wh) >= (before.import_wh, before.export_wh)
    assert rig.intervals() == intervals and {a: rig.meter.held(a, 0) for a in held} == held
    assert rig.meter.pricing.active.prices_uc_per_kwh == (3_000_000,)
    assert (events.EPOCH_OPENED, 2, 2) in rig.events()
    rig.outage()
    assert rig.report().account_epoch == 2 and money(rig.report()) == [0] * 8


def test_a_closing_statement_is_of_the_moment_whenever_it_is_asked_for():
    """OP-ORD-54 OP-REP-08"""
    rig = lived_in()
    moment_s = rig.board.unix_s
    terms = [rig.meter.account.balance_uc(), rig.meter.account.credited_uc, 0, 1_000_000, 0,
             rig.meter.account.charged_uc, rig.meter.account.remainder, 0]  # fmt: skip
    import_wh = rig.meter.energy.import_wh
    assert rig.give(open_epoch(rig, 2)) == results.APPLIED
    for _ in range(2):
        rig.run(5000, 100)
        closing = closing_of(rig)
        assert (closing.kind, closing.nonce) == (reports.KIND_CLOSING, NONCE) and closing.balances()
        assert (closing.account_epoch, closing.time_s, closing.import_wh) == (1, moment_s, import_wh)
        assert money(closing) == terms
        rig.outage(100)
    assert rig.give(open_epoch(rig, 5)) == results.APPLIED
    assert closing_of(rig).account_epoch == 2, "until the next one"


def test_before_an_account_was_closed_there_is_no_statement():
    rig = lived_in()
    try:
        closing_of(rig)
        raise AssertionError("there is none")
    except batches.BatchError:
        pass


def test_an_epoch_that_is_open_is_already_and_a_lower_one_is_wrong():
    """OP-ORD-13"""
    rig = lived_in()
    raw = open_epoch(rig, 3)
    assert rig.give(raw) == results.APPLIED
    refused(rig, raw, results.ALREADY)
    rig.outage()
    refused(rig, raw, results.ALREADY)
    refused(rig, open_epoch(rig, 2), results.WRONG_EPOCH)
    refused(rig, open_epoch(rig, 4)[:-1] + b"\0", results.BAD_TAG)


def test_orders_of_the_old_tenant_apply_no_more():
    """OP-ORD-13"""
    rig = lived_in()
    late = [rig.credit(2 * RICH_UC), rig.hold(1), rig.order(orders.ASPECT_MODE, stated.remote())]
    early = rig.credit(7_000_000, account_epoch=2)
    refused(rig, early, results.WRONG_EPOCH)
    assert rig.give(open_epoch(rig, 2)) == results.APPLIED
    for raw in late:
        refused(rig, raw, results.WRONG_EPOCH)
    assert rig.give(early) == results.APPLIED and rig.report().credited_uc == 7_000_000
    assert rig.meter.ask(batches.pack_ask(4, NONCE, 1, 2))[1] == b"", "what the old account held is not this one's"


def test_holds_outside_the_mask_go_with_the_account_and_safety_never():
    """OP-ORD-53"""
    for kept, stays in ((0, ()), (1 << reasons.HOLD_LEGAL | 1 << reasons.HOLD_PROTECTION, (6, 8))):
        rig = lived_in()
        for hold in (reasons.HOLD_ARREARS, reasons.HOLD_LEGAL, reasons.HOLD_SAFETY, reasons.HOLD_PROTECTION):
            assert rig.give(rig.hold(hold)) == results.APPLIED
        version = rig.meter.held(orders.ASPECT_SUPPLY, reasons.HOLD_ARREARS)
        assert rig.give(open_epoch(rig, 2, kept_holds=kept)) == results.APPLIED
        wanted = sum([1 << hold for hold in stays]) | 1 << reasons.HOLD_SAFETY
        assert rig.meter.supply.holds == wanted
        assert rig.meter.held(orders.ASPECT_SUPPLY, reasons.HOLD_ARREARS) == version, "versions stay"
        rig.outage()
        assert rig.meter.supply.holds == wanted


def test_the_new_tenant_is_supplied_when_he_has_paid_and_pressed():
    rig = lived_in()
    assert rig.give(rig.hold(reasons.HOLD_MOVE_OUT)) == results.APPLIED
    rig.run(300)
    assert not rig.board.closed
    assert rig.give(open_epoch(rig, 2)) == results.APPLIED
    rig.run(300)
    assert not rig.board.closed
    assert rig.give(rig.credit(RICH_UC)) == results.APPLIED
    rig.run(300)
    assert not rig.board.closed, "after a hold that went with its account the customer's key closes"
    rig.meter.press_connect()
    rig.run(60)
    assert rig.board.closed


def test_an_epoch_starts_in_local_mode_with_nothing_stated():
    rig = lived_in()
    assert rig.give(rig.order(orders.ASPECT_MODE, stated.remote(until_wh=10**9))) == results.APPLIED
    mode = rig.meter.held(orders.ASPECT_MODE, 0)
    assert rig.give(open_epoch(rig, 2)) == results.APPLIED
    for _ in range(2):
        report = rig.report()
        assert (report.mode, report.until_wh) == (states.MODE_LOCAL, 0)
        assert rig.meter.held(orders.ASPECT_MODE, 0) == mode
        rig.outage()


def test_only_root_opens_an_account():
    """OP-ORD-23"""
    rig = lived_in()
    rig.account_epoch = 2
    for role in (orders.ROLE_CREDIT, orders.ROLE_CONTROL):
        for aspect, body in ((EPOCH, stated.epoch()), (RETIRE, stated.retire())):
            epoch = 2 if aspect == EPOCH else 1
            refused(rig, rig.order(aspect, body, role=role, account_epoch=epoch), results.WRONG_ROLE)


def test_an_account_epoch_signed_long_ago_still_opens():
    """Root's order waits in a drawer: it has no version and does not expire."""
    rig = lived_in()
    raw = rig.order(EPOCH, stated.epoch(), account_epoch=2, issued_s=1)
    rig.version = 900
    assert rig.give(rig.order(orders.ASPECT_LIMITS, rig.limits.encode())) == results.APPLIED
    rig.board.clock_valid = False
    rig.outage()
    assert rig.give(raw) == results.APPLIED


# -- retire ------------------------------------------------------------------------------------------------------------


def test_a_retired_account_is_off_for_good_and_its_money_stands():
    """OP-ORD-55"""
    rig = lived_in()
    raw = rig.order(RETIRE, stated.retire())
    assert rig.give(raw) == results.APPLIED
    terms = money(rig.report())
    rig.run(300)
    assert not rig.board.closed
    report = rig.report()
    assert report.causes & 1 << reasons.CAUSE_RETIRED and report.alarms & 1 << states.ALARM_RETIRED
    assert money(report) == terms == money(closing_of(rig))
    refused(rig, raw, results.ALREADY)
    for other in (rig.credit(2 * RICH_UC), rig.release(1), open_epoch(rig, 1), rig.hold(1, account_epoch=2)):
        refused(rig, other, results.RETIRED)
    rig.account_epoch = 1
    rig.meter.press_connect()
    rig.outage()
    rig.run(300)
    assert not rig.board.closed and (events.ACCOUNT_RETIRED, 1, 0) in rig.events()
    refused(rig, rig.credit(2 * RICH_UC), results.RETIRED)


def test_a_retired_meter_measures_and_proves_but_charges_nothing():
    rig = lived_in()
    assert rig.give(rig.order(RETIRE, stated.retire())) == results.APPLIED
    rig.board.bypassed = True
    before = rig.report()
    rig.run(3600, 60)
    after = rig.report()
    assert after.import_wh >= before.import_wh + 3500 and money(after) == money(before)
    assert len(rig.intervals()) >= 4


def test_protection_does_not_outlive_the_account():
    rig = lived_in()
    assert rig.give(rig.hold(reasons.HOLD_PROTECTION)) == results.APPLIED
    assert rig.give(rig.order(RETIRE, stated.retire())) == results.APPLIED
    rig.run(300)
    assert not rig.board.closed


def test_a_higher_epoch_opens_a_retired_meter_again_and_its_statement_stays():
    rig = lived_in()
    assert rig.give(rig.order(RETIRE, stated.retire())) == results.APPLIED
    closed = money(closing_of(rig))
    rig.run(300)
    assert rig.give(open_epoch(rig, 2)) == results.APPLIED
    assert closing_of(rig).account_epoch == 1 and money(closing_of(rig)) == closed
    assert rig.give(rig.credit(RICH_UC)) == results.APPLIED
    rig.run(300)
    assert not rig.board.closed, "whoever fits it again closes it by its key"
    rig.meter.press_connect()
    rig.run(60)
    assert rig.board.closed and not rig.report().alarms & 1 << states.ALARM_RETIRED


# -- recover -----------------------------------------------------------------------------------------------------------


def put_back():
    """A meter whose flash was put back to what it was before its last credit."""
    rig = lived_in()
    image = rig.board.flash.snapshot()
    assert rig.give(rig.credit(2 * RICH_UC)) == results.APPLIED
    rig.run(3600, 60)
    rig.board.flash.restore(image)
    rig.outage()
    assert rig.meter.history_lost
    return rig


SOURCES = ((1, 2 * RICH_UC, 0), (2, 5_000_000, 1_000_000), (orders.SOURCE_TYPED, 400_000, 0))


def recovery(rig, nonce=None, version=50, **changed):
    nonce = nonce or rig.report().fresh
    fields = {"sources": SOURCES, "adjusted_uc": 7, "charged_uc": 30_000_123, "remainder": 11, "import_wh": 20_000}
    fields.update(changed)
    return rig.order(RECOVER, stated.recover(nonce, **fields), version=version)


def test_recover_sets_what_it_states_and_ends_the_loss():
    """OP-ORD-56"""
    rig = put_back()
    while rig.meter.erase_due():
        rig.meter.erase_step()
    fresh = rig.report().fresh
    raw = recovery(rig)
    assert rig.give(raw) == results.APPLIED
    for _ in range(2):
        report = rig.report()
        assert not rig.meter.history_lost and not report.alarms & 1 << states.ALARM_HISTORY_LOST
        assert (report.credited_uc, report.refunded_uc, report.typed_uc) == (
            2 * RICH_UC + 5_400_000,
            1_000_000,
            400_000,
        )
        assert (report.adjusted_uc, report.charged_uc, report.remainder) == (7, 30_000_123, 11)
        assert report.balances() and report.import_wh == 20_000
        refused(rig, raw, results.ALREADY)
        rig.outage()
    assert rig.report().fresh != fresh
    assert (events.HISTORY_RECOVERED, 1, 0) in rig.events()
    refused(rig, rig.credit(2 * RICH_UC), results.ALREADY)
    assert rig.give(rig.credit(2 * RICH_UC + 1)) == results.APPLIED


def test_recover_takes_the_fresh_nonce_of_a_meter_that_has_lost_its_history():
    """OP-ORD-56"""
    rig = lived_in()
    refused(rig, recovery(rig), results.BAD_NONCE)
    rig = put_back()
    old = recovery(rig)
    refused(rig, recovery(rig, bytes(8)), results.BAD_NONCE)
    refused(rig, recovery(rig, b"whatever"), results.BAD_NONCE)
    refused(rig, rig.order(RECOVER, stated.recover(rig.report().fresh), role=orders.ROLE_ROOT), results.WRONG_ROLE)
    rig.outage()
    refused(rig, old, results.BAD_NONCE)
    assert rig.give(recovery(rig)) == results.APPLIED
    refused(rig, recovery(rig, version=60), results.BAD_NONCE)


def test_the_last_order_replayed_on_an_erased_flash_gives_nothing():
    """OP-ORD-33"""
    rig = lived_in()
    raw = rig.credit(2 * RICH_UC)
    assert rig.give(raw) == results.APPLIED
    rig.board.flash.restore(NorFlash(rig.board.flash.sectors).snapshot())
    rig.outage()
    refused(rig, raw, results.WRONG_METER)
    rig.meter.provision(rig.record())
    refused(rig, raw, results.HISTORY_LOST)
    assert rig.give(recovery(rig)) == results.APPLIED
    rig.outage()
    assert not rig.meter.history_lost and rig.report().credited_uc == 2 * RICH_UC + 5_400_000
    refused(rig, raw, results.ALREADY)


def test_after_a_recovery_nothing_below_its_version_applies():
    """OP-ORD-56"""
    rig = put_back()
    while rig.meter.erase_due():
        rig.meter.erase_step()
    old = rig.hold(reasons.HOLD_LEGAL, version=49, not_after_s=0xFFFFFFFF)
    held = rig.meter.held(orders.ASPECT_TARIFF, 0)
    assert held
    assert rig.give(recovery(rig)) == results.APPLIED
    for _ in range(2):
        assert rig.meter.held(orders.ASPECT_TARIFF, 0) is None, "what it held is forgotten"
        refused(rig, old, results.OLD_VERSION)
        refused(rig, rig.hold(reasons.HOLD_LEGAL, version=30, role=orders.ROLE_ROOT), results.OLD_VERSION)
        refused(rig, rig.release(1, version=1051), results.VERSION_JUMP)
        rig.outage()
    assert rig.give(rig.hold(reasons.HOLD_LEGAL, version=51)) == results.APPLIED


def test_a_hold_outlives_a_lost_history():
    rig = lived_in()
    assert rig.give(rig.hold(reasons.HOLD_SAFETY)) == results.APPLIED
    rig.run(60)
    image = rig.board.flash.snapshot()
    assert rig.give(rig.credit(2 * RICH_UC)) == results.APPLIED
    rig.board.flash.restore(image)
    rig.outage()
    assert rig.give(recovery(rig)) == results.APPLIED
    rig.run(600)
    assert rig.meter.supply.holds == 1 << reasons.HOLD_SAFETY and not rig.board.closed


def test_registers_are_the_higher_of_its_own_and_those_stated():
    for stated_wh, after_wh in ((20_000, 20_000), (17, None)):
        rig = put_back()
        own_wh = rig.meter.energy.import_wh
        assert rig.give(recovery(rig, import_wh=stated_wh)) == results.APPLIED
        assert rig.meter.energy.import_wh == (after_wh or own_wh)
        rig.run(1800, 60)
        for interval in rig.intervals():
            assert interval[4] <= 900, "no interval holds energy that did not flow in it"


def test_recover_may_open_a_higher_account_and_more_sources_than_fit_travel_apart():
    rig = put_back()
    sources = tuple([(number, 1000 * number, number) for number in range(1, 9)])
    rig.account_epoch = 4
    body = stated.recover(rig.report().fresh, sources)
    raw, pieces = rig.apart(RECOVER, body, version=50)
    assert rig.give(raw) == results.BODY_MISSING
    for piece in pieces:
        rig.meter.parcels.take(0, piece)
    assert rig.give(raw) == results.APPLIED
    report = rig.report()
    assert (report.account_epoch, report.credited_uc, report.refunded_uc) == (4, 36_000, 36)
    refused(rig, rig.credit(9000, source=9), results.SOURCES_FULL)
    rig.account_epoch = 1
    refused(rig, rig.credit(9_000_000_000), results.WRONG_EPOCH)


def test_values_that_decayed_are_forgotten_when_the_history_is_recovered():
    """What decays between two starts is copied on as lost, and told at each start until somebody says how to go on."""
    rig = lived_in()
    at = bytes(rig.board.flash.data).find(rig.meter.held_order(orders.ASPECT_TARIFF, 0))
    rig.board.flash.flip(8 * at + 77)
    while not rig.meter.store.journal.lost():
        rig.run(60, 60)
        while rig.meter.erase_due():
            rig.meter.erase_step()
    lost = rig.meter.store.journal.lost()
    assert store.KEY_TARIFF in lost
    rig.outage()
    assert rig.meter.history_lost and rig.report().latches & 1 << states.LATCH_FLASH_DAMAGED
    assert rig.give(recovery(rig)) == results.APPLIED
    rig.outage()
    assert not rig.meter.history_lost and rig.meter.store.journal.lost() == []
    assert rig.give(rig.credit(2 * RICH_UC + 5)) == results.APPLIED


def test_totals_that_cannot_be_counted_are_no_state_to_recover():
    rig = put_back()
    refused(rig, recovery(rig, charged_uc=bodies.MAX_UC, adjusted_uc=bodies.MAX_UC), results.BAD_BODY)
    refused(rig, recovery(rig, earned_uc=bodies.MAX_UC), results.BAD_BODY)


def test_intervals_agree_with_the_registers_across_a_recovery():
    rig = put_back()
    seq = rig.meter.profile.seq
    assert rig.give(recovery(rig)) == results.APPLIED
    rig.run(1800, 60)
    after = [interval for interval in rig.intervals() if interval[0] > seq]
    assert after[0][7] & records.FLAG_SHORT and after[0][2] < 20_000 <= after[1][2]
