"""Credit sources that are closed and folded, and typed tokens that an order replaces."""

from meter.credit import FOLDED
from meter.tids import ORDERED, TYPED, UNKNOWN
from meterlink import bodies, events, orders, records, registers, results
from tests.firmware.ramboard import Rig
from tests.firmware.test_both_orders import refused

ATTRIBUTES = (123_456, 2, 1, 3, 255, 1)  # supply group, key type, tariff index, key revision, key expiry, base 2014
REVISION = 3
TID = 6_000_000


def closed(rig, total_uc, refunded_uc=0, source=1):
    return rig.order(orders.ASPECT_CREDIT, bodies.encode_credit(total_uc, refunded_uc, [], True), source)


def replacing(rig, total_uc, *tokens, source=1):
    body = bodies.encode_credit(total_uc, 0, [], False, tokens)
    return rig.order(orders.ASPECT_CREDIT, body, source)


def with_decoder():
    rig = Rig(commission=False)
    rig.meter.provision(rig.record(decoder=(bytes(range(16)), ATTRIBUTES)))
    return rig


# -- folding -----------------------------------------------------------------------------------------------------------


def test_a_closed_source_keeps_its_worth_and_gives_its_place_back():
    """OP-ORD-42"""
    rig = Rig()
    for source in range(1, 9):
        assert rig.give(rig.credit(1000 * source, source, source=source)) == results.APPLIED
    refused(rig, rig.credit(5, source=9), results.SOURCES_FULL)
    before = rig.report()
    assert rig.give(closed(rig, 3000, 3, source=3)) == results.APPLIED
    after = rig.report(orders.ASPECT_CREDIT, 3)
    assert (after.credited_uc, after.refunded_uc) == (before.credited_uc, before.refunded_uc)
    assert (after.source_credited_uc, after.source_refunded_uc) == (3000, 3), "it can still be asked about"
    rest = rig.report(orders.ASPECT_CREDIT, 0)
    assert (rest.source_credited_uc, rest.source_refunded_uc) == (3000, 3)
    assert (events.SOURCE_FOLDED, 3, 3) in rig.events()
    assert rig.give(rig.credit(5, source=9)) == results.APPLIED
    assert rig.report().credited_uc == 36_005


def test_a_late_order_of_a_closed_source_counts_no_more():
    """OP-ORD-42"""
    rig = Rig()
    late = rig.credit(5000)
    assert rig.give(rig.credit(4000)) == results.APPLIED
    assert rig.give(closed(rig, 4500, 100)) == results.APPLIED, "what was sold last comes with it"
    for _ in range(2):
        for raw in (rig.credit(4000), rig.credit(4500, 100), rig.credit(0), closed(rig, 4500, 100)):
            refused(rig, raw, results.ALREADY)
        for raw in (late, rig.credit(4500, 101), closed(rig, 4501)):
            refused(rig, raw, results.SOURCE_CLOSED)
        assert rig.report().credited_uc == 4500 and rig.report().refunded_uc == 100
        rig.outage()


def test_closing_what_stands_there_already_is_a_change():
    rig = Rig(credit_uc=4000)
    assert rig.give(closed(rig, 4000)) == results.APPLIED
    refused(rig, closed(rig, 4000), results.ALREADY)


def test_a_source_that_was_never_seen_is_folded_as_it_comes():
    rig = Rig()
    for source in range(1, 9):
        assert rig.give(rig.credit(1, source=source)) == results.APPLIED
    assert rig.give(closed(rig, 700, source=44)) == results.APPLIED
    assert rig.report().credited_uc == 708
    refused(rig, rig.credit(701, source=44), results.SOURCE_CLOSED)


def test_final_totals_below_what_the_meter_has_take_nothing_back():
    rig = Rig(credit_uc=4000)
    assert rig.give(closed(rig, 3000)) == results.APPLIED
    assert rig.report().credited_uc == 4000
    refused(rig, rig.credit(4000), results.ALREADY)


def test_as_many_as_are_remembered_and_no_more():
    """OP-ORD-41 OP-ORD-42: what would be forgotten could be credited twice."""
    rig = Rig()
    for source in range(1, FOLDED + 1):
        assert rig.give(closed(rig, 100 + source, source=source)) == results.APPLIED
    refused(rig, closed(rig, 7, source=99), results.SOURCES_FULL)
    total_uc = rig.report().credited_uc
    rig.outage()
    assert rig.report().credited_uc == total_uc == sum([100 + source for source in range(1, FOLDED + 1)])
    for source in range(1, FOLDED + 1):
        refused(rig, rig.credit(1000, source=source), results.SOURCE_CLOSED)
    assert rig.give(rig.credit(7, source=99)) == results.APPLIED, "it stays open"


def test_another_account_begins_with_nothing_folded():
    from tests.firmware import stated

    rig = Rig()
    assert rig.give(closed(rig, 700, source=4)) == results.APPLIED
    rig.account_epoch = 2
    assert rig.give(rig.order(orders.ASPECT_EPOCH, stated.epoch())) == results.APPLIED
    assert rig.report().credited_uc == 0
    rig.outage()
    assert not rig.meter.history_lost and rig.report().credited_uc == 0
    assert rig.give(rig.credit(50, source=4)) == results.APPLIED


def test_a_fold_that_could_not_be_stored_changes_nothing():
    rig = Rig(credit_uc=4000)
    for sector in range(rig.board.flash.sectors):
        rig.board.flash.wear_out(sector)
    before = rig.meter.account.state()
    assert rig.give(closed(rig, 5000)) == results.STORAGE_FAILED
    assert rig.meter.account.state() == before


def test_the_block_of_sources_shows_the_rest_in_a_free_place():
    from meter.registers import MeterRegisters

    rig = Rig(credit_uc=4000)
    assert rig.give(rig.credit(11, source=2)) == results.APPLIED
    assert rig.give(closed(rig, 4000, 500)) == results.APPLIED
    values = MeterRegisters(rig.meter)._sources()
    found = [values[at : at + 3] for at in range(0, 3 * registers.MAX_SOURCES, 3)]
    assert sorted(found) == sorted([(0, 4000, 500), (2, 11, 0)] + [(0, 0, 0)] * 6)


# -- typed tokens ------------------------------------------------------------------------------------------------------


def test_an_order_marks_the_tokens_that_it_replaces():
    """OP-ORD-43"""
    rig = with_decoder()
    raw = replacing(rig, 9000, (REVISION, TID), (REVISION, TID + 5))
    assert rig.give(raw) == results.APPLIED
    assert (events.TOKEN_REPLACED, TID, 0) in rig.events()
    for _ in range(2):
        for tid in (TID, TID + 5):
            assert rig.meter.typed.state_of(REVISION, tid) == ORDERED
        assert rig.report().credited_uc == 9000
        refused(rig, raw, results.ALREADY)
        rig.outage()
    more = replacing(rig, 12_000, (REVISION, TID))
    assert rig.give(more) == results.APPLIED, "a token that an order has marked passes"


def test_no_part_of_an_order_applies_whose_token_was_typed():
    """OP-ORD-43"""
    rig = with_decoder()
    rig.meter.typed.tids.add(TID, 0)
    before = rig.meter.typed.state()
    assert rig.meter.typed.state_of(REVISION, TID) == TYPED
    refused(rig, replacing(rig, 9000, (REVISION, TID - 1), (REVISION, TID)), results.ALREADY_TYPED)
    assert rig.meter.typed.state() == before and rig.meter.typed.state_of(REVISION, TID - 1) == UNKNOWN
    assert rig.give(rig.credit(3000)) == results.APPLIED, "what is sold beside it is stated without it"


def test_a_token_of_another_key_passes():
    rig = with_decoder()
    assert rig.give(replacing(rig, 9000, (REVISION + 1, TID))) == results.APPLIED
    assert rig.meter.typed.state_of(REVISION, TID) == UNKNOWN


def test_tokens_stay_typed_where_the_order_could_not_be_stored():
    rig = with_decoder()
    for sector in range(rig.board.flash.sectors):
        rig.board.flash.wear_out(sector)
    before = rig.meter.typed.state()
    assert rig.give(replacing(rig, 9000, (REVISION, TID))) == results.STORAGE_FAILED
    assert rig.meter.typed.state() == before and rig.meter.account.credited_uc == 0


def test_the_largest_credit_order_fits_one_commit():
    """Every place taken, four sales, a refund, two tokens, the source closed, and all that may ride along."""
    from meterlink import states
    from tests.firmware import stated

    rig = with_decoder()
    rig.board.watts = 1
    for source in range(1, 9):
        assert rig.give(rig.credit(1000, source=source)) == results.APPLIED
    rig.meter.account.take(orders.SOURCE_TYPED, 100_000, 0)
    rig.meter.typed.tids.words = [(TID - 500 + place) << 1 for place in range(50)]
    assert rig.give(rig.order(orders.ASPECT_MODE, stated.remote(10**6))) == results.APPLIED
    sales = [(2_000_000 * n, 1_000_000) for n in range(1, 5)]
    body = bodies.encode_credit(9_000_000, 500_000, sales, True, ((REVISION, TID), (REVISION, TID + 1)))
    rig.meter.latch(states.LATCH_WRONG_TOKENS)
    rig.meter.close_period(rig.meter.now_s(), 0, 0)
    assert rig.give(rig.order(orders.ASPECT_CREDIT, body, 3)) == results.APPLIED
    assert len(rig.meter.account.sources) == 9 and rig.meter.allowance.counting
    told = [one[5:7] for one in rig.logged(records.KIND_TOPUP) if one[2] == 3 and one[6] > 1000]
    assert told == [(999_000, 1_000_000)] + [(1_000_000, 1_000_000 * n) for n in range(2, 10)], "nine top-ups"
    rig.outage()
    assert rig.report(orders.ASPECT_CREDIT, 3).source_credited_uc == 9_000_000
