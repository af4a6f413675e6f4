"""Orders: every refusal by its name and without a trace, results that are repeated, the queue of one a carrier."""

from meter import store
from meter.core import Meter
from meterlink import bodies, events, orders, reasons, reports, results, tariff
from tests.firmware import stated
from tests.firmware.ramboard import METER, NONCE, START_S, Rig

RICH_UC = 1_000_000_000
BUS, TCP, MQTT, LOCAL = Meter.CARRIER_BUS, Meter.CARRIER_TCP, Meter.CARRIER_MQTT, Meter.CARRIER_LOCAL


def refused(rig, raw, code, carrier=0):
    before = rig.contents()
    got = rig.give(raw, carrier)
    assert got == code, (got, code)
    assert rig.contents() == before
    return True


def flipped(raw, bit):
    changed = bytearray(raw)
    changed[bit >> 3] ^= 0x80 >> (bit & 7)
    return bytes(changed)


def ready():
    rig = Rig(credit_uc=RICH_UC)
    assert rig.give(rig.hold(reasons.HOLD_ARREARS, version=5)) == results.APPLIED
    rig.version = 5
    return rig


def test_malformed_and_oversize():
    """OP-ORD-01 OP-ORD-03 OP-ORD-04"""
    rig = ready()
    good = rig.release(1)
    for raw in (b"", b"\x01", good[:50], good[:-1], good + b"\0", good + bytes(140), bytes(300)):
        refused(rig, raw, results.BAD_LENGTH)
    refused(rig, b"\x02" + good[1:], results.BAD_FORMAT)
    refused(rig, good[:13] + b"\x02" + good[14:], results.BAD_FORMAT)
    assert rig.meter.result(0).version == 0, "what cannot be read has no name"


def test_unknown_aspects():
    """OP-ORD-05"""
    rig = ready()
    good = rig.release(1)
    for aspect in (0, 15, 255):
        refused(rig, good[:1] + bytes((aspect,)) + good[2:], results.UNKNOWN_ASPECT)


def test_wrong_meter_and_epoch():
    """OP-ORD-12 OP-ORD-13"""
    rig = ready()
    refused(rig, rig.release(1, meter=METER + 1), results.WRONG_METER)
    assert rig.meter.take_receipt() is not None, "of the orders that were for this meter"
    while rig.meter.take_receipt():
        pass
    refused(rig, rig.release(1, meter=METER + 1), results.WRONG_METER)
    assert rig.meter.take_receipt() is None, "an order for another meter is not this one's to answer"
    refused(rig, rig.release(1, account_epoch=2), results.WRONG_EPOCH)


def test_versions():
    """OP-ORD-15 OP-ORD-16 OP-ORD-17 OP-ORD-18"""
    rig = ready()
    held = rig.meter.held_order(orders.ASPECT_SUPPLY, 1)
    refused(rig, held, results.ALREADY)
    refused(rig, rig.release(1, version=4), results.OLD_VERSION)
    refused(rig, rig.release(1, version=5), results.CONFLICT)
    refused(rig, rig.release(1, version=5 + 1001), results.VERSION_JUMP)
    refused(rig, rig.hold(2, version=5 + 1001), results.VERSION_JUMP)
    assert rig.give(rig.hold(2, version=5 + 1000)) == results.APPLIED
    assert rig.give(rig.release(1, version=2000)) == results.APPLIED, "measured from the highest of any aspect"
    assert rig.give(rig.release(1, version=900_000, role=orders.ROLE_ROOT)) == results.APPLIED
    assert rig.give(rig.release(2, version=1, signing_epoch=2)) == results.APPLIED, "a higher epoch outranks"
    refused(rig, rig.release(2, version=2000, signing_epoch=1), results.OLD_VERSION)


def test_signing_epochs_ahead():
    """OP-ORD-18: a stolen control key cannot climb to where nobody outranks it; a meter knows from its making on how
    far its database has come."""
    rig = Rig(commission=False)
    rig.meter.provision(rig.record(signing_epoch=40))
    for _ in range(2):
        refused(rig, rig.release(1, version=1, signing_epoch=40 + 17), results.VERSION_JUMP)
        refused(rig, rig.release(1, version=1001, signing_epoch=41), results.VERSION_JUMP)
        rig.outage()
    assert rig.give(rig.release(1, version=1000, signing_epoch=40 + 16)) == results.APPLIED
    refused(rig, rig.release(1, version=1, signing_epoch=56 + 17), results.VERSION_JUMP)
    assert rig.give(rig.release(1, version=9000, signing_epoch=999, role=orders.ROLE_ROOT)) == results.APPLIED


def test_expiry():
    """OP-ORD-20 OP-ORD-22"""
    rig = ready()
    rig.run(100)
    refused(rig, rig.hold(2, not_after_s=START_S + 99), results.EXPIRED)
    assert rig.give(rig.hold(2, not_after_s=START_S + 100)) == results.APPLIED
    refused(rig, rig.hold(3, not_after_s=0), results.EXPIRY_REQUIRED)
    refused(rig, rig.release(8, not_after_s=0), results.EXPIRY_REQUIRED)
    refused(rig, rig.release(1, not_after_s=START_S + 1), results.EXPIRED)
    assert rig.give(rig.hold(reasons.HOLD_SAFETY, not_after_s=0)) == results.APPLIED


def test_a_question_about_anything_is_answered():
    rig = ready()
    rig.give(rig.hold(2, not_after_s=START_S + 100))
    for aspect in (0, 1, 2, 14, 15, 255):
        for selector in (0, 1, 2, 3, 31, 32, 65535):
            assert len(rig.meter.report(reports.KIND_REPORT, bytes(8), aspect, selector)) == reports.LENGTH


def test_an_order_that_expires_while_it_waits():
    """OP-ORD-20"""
    rig = ready()
    raw = rig.hold(2, not_after_s=rig.board.unix_s + 5)
    assert rig.meter.submit(BUS, raw) == results.PENDING
    rig.meter.verify_slice()
    rig.run(10)
    before = rig.meter.supply.holds
    while rig.meter.verify_slice():
        pass
    assert rig.meter.result(BUS).code == results.EXPIRED and rig.meter.supply.holds == before


def test_roles_and_keys():
    """OP-ORD-23 OP-ORD-24"""
    rig = ready()
    refused(rig, rig.credit(2 * RICH_UC, role=orders.ROLE_CONTROL), results.WRONG_ROLE)
    refused(rig, rig.credit(2 * RICH_UC, role=orders.ROLE_ROOT), results.WRONG_ROLE)
    refused(rig, rig.release(1, role=orders.ROLE_CREDIT), results.WRONG_ROLE)
    refused(rig, rig.release(1, key_version=2), results.UNKNOWN_KEY)
    refused(rig, rig.release(1, tag_key_version=2), results.UNKNOWN_KEY)


def test_tag_and_signature():
    """OP-ORD-08 OP-ORD-09 OP-ORD-25 OP-ORD-26"""
    rig = ready()
    good = rig.release(1)
    refused(rig, good[:-1] + bytes((good[-1] ^ 1,)), results.BAD_TAG)
    statement = rig.statement(orders.ASPECT_SUPPLY, bodies.encode_supply(0), 1)
    refused(rig, rig.seal(statement, bytes(64)), results.BAD_SIGNATURE)
    refused(rig, rig.seal(statement, b"\xff" * 64), results.BAD_SIGNATURE)
    other = rig.seal(rig.statement(orders.ASPECT_SUPPLY, bodies.encode_supply(0, 1), 1))
    refused(rig, rig.seal(statement, other[-72:-8]), results.BAD_SIGNATURE)
    # A key that this meter holds, for a role that may not: the signature is that of the credit key.
    credit_signed = rig.seal(rig.statement(orders.ASPECT_SUPPLY, bodies.encode_supply(0), 1, role=orders.ROLE_CREDIT))
    refused(rig, rig.seal(statement, credit_signed[-72:-8]), results.BAD_SIGNATURE)
    rig.run(1)
    assert (events.ORDER_REFUSED, results.BAD_SIGNATURE, 0x201) in rig.events()


def test_bodies():
    """OP-ORD-14"""
    rig = ready()
    refused(rig, rig.order(orders.ASPECT_SUPPLY, bytes(5), 1), results.BAD_BODY)
    refused(rig, rig.order(orders.ASPECT_SUPPLY, b"\x02" + bytes(5), 1), results.BAD_BODY)
    refused(rig, rig.order(orders.ASPECT_TARIFF, b"\x01" * 40), results.BAD_BODY)
    refused(rig, rig.order(orders.ASPECT_LIMITS, bytes(29)), results.BAD_BODY)
    refused(rig, rig.order(orders.ASPECT_CREDIT, bytes(16), 1), results.BAD_BODY)
    refused(rig, rig.order(orders.ASPECT_CREDIT, b"\xff" * 8 + bytes(9), 1), results.BAD_BODY)
    for aspect in range(orders.ASPECT_TARIFF, orders.ASPECT_RETIRE + 1):
        refused(rig, rig.order(aspect, b""), results.BAD_BODY)
        refused(rig, rig.order(aspect, b"\x02" * 60), results.BAD_BODY)


def test_sources_full():
    """OP-ORD-41"""
    rig = Rig()
    for source in range(1, 9):
        assert rig.give(rig.credit(1000 * source, source=source)) == results.APPLIED
    refused(rig, rig.credit(1, source=9), results.SOURCES_FULL)
    assert rig.give(rig.credit(9000, source=4)) == results.APPLIED
    assert rig.report().credited_uc == 36_000 + 5000


def orders_of_every_aspect(rig):
    """A genuine order of each aspect that this meter would carry out."""
    yield rig.credit(2 * RICH_UC, sales=[(2 * RICH_UC, RICH_UC)])
    yield rig.release(1)
    yield rig.order(orders.ASPECT_TARIFF, rig.plan.encode())
    yield rig.order(orders.ASPECT_LIMITS, rig.limits.encode())
    yield rig.order(orders.ASPECT_MODE, stated.remote(1000, 77, 10, 10, 5))
    yield rig.order(orders.ASPECT_CLOCK, bodies.encode_clock(rig.meter.clock.nonce, rig.board.unix_s + 9))
    yield rig.apart(orders.ASPECT_KEYS, stated.signing_keys())[0]
    body = stated.tag_keys([(2, bytes(32)), (1, b"")], rig.mac_key, 99)
    yield rig.order(orders.ASPECT_KEYS, body, orders.KEYS_TAG, version=99)
    body = stated.decoder(bytes(16), (1, 2, 3, 4, 5, 1), rig.mac_key, 99)
    yield rig.order(orders.ASPECT_KEYS, body, orders.KEYS_DECODER, version=99)
    yield rig.order(orders.ASPECT_FIRMWARE, stated.firmware())
    yield rig.order(orders.ASPECT_CLEAR, stated.clear(15, 99))
    yield rig.order(orders.ASPECT_EPOCH, stated.epoch(), account_epoch=2)
    yield rig.order(orders.ASPECT_RETIRE, stated.retire())


def test_every_bit_flip_of_an_order_is_refused():
    """OP-ORD-10: each bit of each aspect's order; nothing that is changed gets as far as the signature."""
    rig = ready()
    before = rig.contents()
    seen = set()
    for raw in orders_of_every_aspect(rig):
        seen.add(orders.Order(raw).stated.aspect)
        for bit in range(8 * len(raw)):
            code = rig.meter.submit(BUS, flipped(raw, bit))
            assert code >= results.BAD_LENGTH or code == results.ALREADY, (bit, code)
    assert rig.contents() == before
    assert seen == set(range(orders.ASPECT_CREDIT, orders.ASPECT_RETIRE + 1)) - {orders.ASPECT_RECOVER}


def test_a_bit_flip_under_a_genuine_tag_is_refused():
    """OP-ORD-10: a few bits of the signature, which are verified."""
    for raw_of in (lambda rig: rig.release(1), lambda rig: rig.credit(2 * RICH_UC)):
        rig = ready()
        raw = raw_of(rig)
        assert rig.seal(raw[:-72], raw[-72:-8]) == raw
        for bit in range(0, 512, 73):
            refused(rig, rig.seal(raw[:-72], flipped(raw[-72:-8], bit)), results.BAD_SIGNATURE)
        assert rig.give(raw) == results.APPLIED


def test_repeated_orders_are_answered_the_same_and_change_nothing():
    """OP-ORD-16 OP-ORD-19"""
    rig = ready()
    raw = rig.credit(2 * RICH_UC)
    assert rig.give(raw) == results.APPLIED
    for _ in range(3):
        refused(rig, raw, results.ALREADY)
    refused(rig, rig.credit(RICH_UC), results.ALREADY)
    rig.outage()
    refused(rig, raw, results.ALREADY)
    assert rig.report().credited_uc == 2 * RICH_UC


def test_limits_rule_from_the_next_second():
    """OP-ORD-45"""
    rig = ready()
    new = bodies.Limits(5 * RICH_UC, 4 * RICH_UC, 10, 10, 0, 10, 0)
    assert rig.give(rig.order(orders.ASPECT_LIMITS, new.encode())) == results.APPLIED
    rig.run(1)
    assert rig.report().alarms & 3 == 3
    rig.outage()
    assert rig.meter.supply.limits.encode() == new.encode()


# -- the queue ---------------------------------------------------------------------------------------------------------


def test_one_waits_beside_the_one_that_is_verified_and_the_newest_wins():
    """OP-ORD-28"""
    rig = ready()
    rig.run(1)
    first, second, third, older = [rig.release(1, issued_s=at) for at in (1000, 1001, 1002, 999)]
    assert rig.meter.submit(BUS, first) == results.PENDING
    result = rig.meter.result(BUS)
    number = result.pending_id
    assert rig.meter.submit(BUS, first) == results.PENDING and result.pending_id == number
    for _ in range(5):
        rig.meter.verify_slice()
    assert rig.meter.submit(BUS, first) == results.PENDING and result.pending_id == number, "also while it is verified"
    assert rig.meter.submit(BUS, second) == results.PENDING and result.pending_id == number + 1
    assert rig.meter.submit(BUS, older) == results.BUSY and result.pending_id == number + 1
    assert rig.meter.submit(BUS, third) == results.PENDING
    assert result.code == results.SUPERSEDED and (result.done_id, result.pending_id) == (number + 1, number + 2)
    while result.done_id != number:
        assert rig.meter.verify_slice()
    assert result.code == results.APPLIED, "what is being verified is seen through"
    assert rig.meter.held(orders.ASPECT_SUPPLY, 1)[2] == orders.Order(first).digest[:8]
    while rig.meter.verify_slice():
        pass
    assert result.code == results.APPLIED and result.done_id == result.pending_id
    assert rig.meter.held(orders.ASPECT_SUPPLY, 1)[2] == orders.Order(third).digest[:8]


def test_what_became_needless_while_it_waited_is_not_verified():
    """OP-ORD-11"""
    rig = ready()
    raw = rig.release(1, version=6)
    newer = rig.release(1, version=7)
    assert rig.meter.submit(TCP, newer) == rig.meter.submit(MQTT, raw) == results.PENDING
    while rig.meter.result(TCP).code != results.APPLIED:
        assert rig.meter.verify_slice()
    assert not rig.meter.verify_slice()
    assert rig.meter.result(MQTT).code == results.OLD_VERSION


def test_a_forged_newer_order_does_not_push_out_what_waits():
    """OP-ORD-28"""
    rig = ready()
    good = rig.release(1, issued_s=1000)
    forged = bytearray(rig.release(1, issued_s=2000))
    forged[-1] ^= 1
    assert rig.meter.submit(BUS, good) == results.PENDING
    waiting = rig.meter.result(BUS).pending_id
    assert rig.meter.submit(BUS, bytes(forged)) == results.BAD_TAG
    assert rig.meter.result(BUS).pending_id == waiting and rig.meter.result(BUS).code != results.BAD_TAG
    while rig.meter.verify_slice():
        pass
    assert rig.meter.result(BUS).code == results.APPLIED


def test_carriers_do_not_stand_in_each_others_way():
    """OP-ORD-28"""
    rig = ready()
    assert rig.meter.submit(BUS, rig.release(1)) == results.PENDING
    assert rig.meter.submit(MQTT, rig.credit(2 * RICH_UC)) == results.PENDING
    assert rig.meter.submit(TCP, rig.order(orders.ASPECT_TARIFF, tariff.Tariff((7,)).encode())) == results.PENDING
    assert rig.meter.submit(LOCAL, rig.hold(3)) == results.PENDING
    while rig.meter.verify_slice():
        pass
    assert [rig.meter.result(carrier).code for carrier in range(4)] == [results.APPLIED] * 4
    assert not rig.meter.verifying


def test_the_same_order_on_two_carriers():
    rig = ready()
    raw = rig.credit(2 * RICH_UC)
    assert rig.meter.submit(BUS, raw) == results.PENDING and rig.meter.submit(MQTT, raw) == results.PENDING
    while rig.meter.verify_slice():
        pass
    assert {rig.meter.result(BUS).code, rig.meter.result(MQTT).code} == {results.APPLIED, results.ALREADY}
    assert rig.report().credited_uc == 2 * RICH_UC


def test_receipts_come_after_the_order_is_durable_and_are_bounded():
    """OP-ORD-31 OP-REP-07"""
    from meterlink.reports import KIND_RECEIPT, Report

    rig = ready()
    while rig.meter.take_receipt():
        pass
    raw = rig.credit(2 * RICH_UC)
    assert rig.meter.submit(MQTT, raw) == results.PENDING
    while rig.meter.verifying:
        assert rig.meter.take_receipt() is None
        rig.meter.verify_slice()
    receipt = Report(rig.meter.take_receipt(), rig.mac_key)
    assert (receipt.kind, receipt.result, receipt.aspect, receipt.selector) == (KIND_RECEIPT, results.APPLIED, 1, 1)
    assert receipt.source_credited_uc == receipt.credited_uc == 2 * RICH_UC and receipt.balances()
    assert receipt.digest == orders.Order(raw).digest[:8] and receipt.nonce == bytes(8)
    for _ in range(20):
        rig.give(raw)
    count = 0
    counters = set()
    while True:
        one = rig.meter.take_receipt()
        if one is None:
            break
        count += 1
        counters.add(Report(one, rig.mac_key).counter)
    assert count == 8 == len(counters)


def test_result_numbers_of_another_boot_are_others():
    rig = ready()
    before = rig.meter.result(BUS).pending_id
    rig.outage()
    assert rig.meter.result(BUS).pending_id == rig.meter.result(BUS).done_id != before


# -- history -----------------------------------------------------------------------------------------------------------


def test_a_journal_that_was_put_back_takes_no_order():
    """OP-ORD-33"""
    rig = ready()
    image = rig.board.flash.snapshot()
    assert rig.give(rig.credit(2 * RICH_UC)) == results.APPLIED
    rig.board.flash.restore(image)
    rig.outage()
    rig.run(1)
    assert rig.meter.history_lost and rig.report().alarms & 32
    refused(rig, rig.credit(3 * RICH_UC), results.HISTORY_LOST)
    refused(rig, rig.release(1), results.HISTORY_LOST)
    refused(rig, rig.order(orders.ASPECT_RECOVER, b""), results.BAD_BODY)
    assert (events.HISTORY_LOST, 0, 0) in rig.events()
    rig.outage()
    assert rig.meter.history_lost, "it stays so"
    boot = rig.meter.boot
    rig.outage()
    assert rig.meter.boot == boot + 1


def test_a_blank_flash_is_a_factory_only_where_the_witness_says_so():
    from metersim.flash import NorFlash

    rig = ready()
    boots = rig.meter.boot
    log_id = rig.meter.log_id
    rig.board.flash.restore(NorFlash(rig.board.flash.sectors).snapshot())
    rig.outage()
    assert rig.meter.history_lost and not rig.meter.commissioned
    assert rig.meter.boot > boots and rig.meter.log_id != log_id
    rig.meter.provision(rig.record())
    refused(rig, rig.credit(1), results.HISTORY_LOST)
    rig.outage()
    assert rig.meter.history_lost and rig.meter.commissioned, "a lost history is not commissioned away"
    refused(rig, rig.credit(1), results.HISTORY_LOST)


def test_provisioning_is_taken_once():
    from meterlink.provision import ProvisionError

    rig = ready()
    for record in (rig.record(), rig.record(meter=77), b"", rig.record()[:-1]):
        before = rig.contents()
        try:
            rig.meter.provision(record)
            raise AssertionError("taken twice")
        except ProvisionError:
            assert rig.contents() == before
    fresh = Rig(commission=False)
    for record in (b"\x01" * 100, fresh.record(tariff=b"\x01"), fresh.record(limits=bytes(29))):
        try:
            fresh.meter.provision(record)
            raise AssertionError("taken")
        except ProvisionError:
            assert not fresh.meter.commissioned and fresh.meter.store.get(store.KEY_PROVISION) is None
    fresh.meter.provision(fresh.record())
    fresh.outage()
    assert fresh.meter.number == METER


def test_flash_that_fails_keeps_the_relay_and_refuses_credit():
    """OP-ORD-32"""
    rig = ready()
    rig.board.watts = 3600
    for sector in range(rig.board.flash.sectors):
        rig.board.flash.wear_out(sector)
    before_uc = rig.report().credited_uc
    assert rig.give(rig.credit(2 * RICH_UC)) == results.STORAGE_FAILED
    assert rig.meter.account.credited_uc == before_uc
    assert rig.give(rig.release(1)) == results.STORAGE_FAILED and rig.meter.supply.holds == 2
    rig.run(600)
    assert rig.board.closed, "the trip that was armed is not carried out"
    assert rig.report().alarms & 8
    for sector in range(rig.board.flash.sectors):
        rig.board.flash.wear_out(sector, 0)
    rig.run(130)
    assert rig.report().alarms & 8 == 0 and not rig.board.closed
    assert rig.give(rig.credit(2 * RICH_UC)) == results.APPLIED
    assert rig.report().import_wh >= 600, "what was metered meanwhile is there"
    rig.outage()
    assert not rig.meter.history_lost and rig.report().credited_uc == 2 * RICH_UC


def test_the_last_signed_order_can_be_read_back():
    """OP-REP-09"""
    rig = ready()
    from meterlink.batches import pack_ask

    raw = rig.credit(2 * RICH_UC, source=4)
    rig.give(raw)
    assert rig.meter.ask(pack_ask(4, NONCE, orders.ASPECT_CREDIT, 4)) == (4, raw)
    assert rig.meter.ask(pack_ask(4, NONCE, orders.ASPECT_CREDIT, 5)) == (4, b"")
    assert rig.meter.ask(pack_ask(4, NONCE, orders.ASPECT_SUPPLY, 1))[1] == rig.meter.held_order(2, 1) != b""


def test_rubbish_does_not_push_out_receipts_that_were_not_sent():
    """OP-ORD-35"""
    rig = ready()
    while rig.meter.take_receipt():
        pass
    for total in range(1, 9):
        assert rig.give(rig.credit(RICH_UC + total), MQTT) == results.APPLIED
    forged = rig.credit(2 * RICH_UC)
    forged = forged[:-1] + bytes((forged[-1] ^ 1,))
    for _ in range(20):
        assert rig.meter.submit(MQTT, forged) == results.BAD_TAG
    from meterlink.reports import Report

    sent = [Report(rig.meter.take_receipt(), rig.mac_key) for _ in range(8)]
    assert [receipt.result for receipt in sent] == [results.APPLIED] * 8 and rig.meter.take_receipt() is None


def test_rubbish_beside_an_order_that_waits_leaves_its_number_alone():
    """OP-ORD-35"""
    rig = ready()
    assert rig.meter.submit(BUS, rig.release(1)) == results.PENDING
    number = rig.meter.result(BUS).pending_id
    assert rig.meter.submit(BUS, b"\x01" * 50) == results.BAD_LENGTH
    assert rig.meter.result(BUS).pending_id == number != rig.meter.result(BUS).done_id
    while rig.meter.verify_slice():
        pass
    assert rig.meter.result(BUS).done_id == number and rig.meter.result(BUS).code == results.APPLIED


def test_the_largest_commit_fits():
    """Eight sources, four sales, and every event that goes with them."""
    rig = Rig()
    for source in range(1, 9):
        assert rig.give(rig.credit(1000, source=source)) == results.APPLIED
    sales = [(2000 * n, 100) for n in range(1, 5)]
    assert rig.give(rig.credit(9000, 500, source=3, sales=sales)) == results.APPLIED
    plan = tariff.Tariff((1, 2, 3, 4), tuple([(12 * n, n % 4) for n in range(8)]), activate_s=START_S + 5000)
    assert rig.give(rig.order(orders.ASPECT_TARIFF, plan.encode())) == results.APPLIED
    rig.run(5000, 100)
    assert rig.meter.pricing.active.slots == plan.slots
    assert rig.give(rig.order(orders.ASPECT_TARIFF, plan.encode())) == results.APPLIED


def test_a_verdict_is_of_the_order_that_was_verified():
    """A newer order that comes while one is verified is verified from its own beginning."""
    for slices in (1, 50, 150):
        rig = ready()
        genuine = rig.release(1, issued_s=1000)
        statement = rig.statement(orders.ASPECT_SUPPLY, bodies.encode_supply(0), 1, issued_s=1001)
        forged = rig.seal(statement, genuine[-72:-8])
        assert rig.meter.submit(BUS, genuine) == results.PENDING
        for _ in range(slices):
            assert rig.meter.verify_slice()
        assert rig.meter.submit(BUS, forged) == results.PENDING
        while rig.meter.verify_slice():
            pass
        assert rig.meter.result(BUS).code == results.BAD_SIGNATURE and rig.meter.supply.holds == 0
        assert rig.meter.held(orders.ASPECT_SUPPLY, 1)[2] == orders.Order(genuine).digest[:8]


def test_sums_that_do_not_agree_are_a_lost_history():
    rig = ready()
    rig.meter.store.journal.commit([(store.KEY_SOURCES, b"\x00\x01" + (2 * RICH_UC).to_bytes(8, "big") + bytes(8))])
    rig.outage()
    assert rig.meter.history_lost
    refused(rig, rig.credit(3 * RICH_UC), results.HISTORY_LOST)


def test_without_the_time_what_takes_away_is_refused():
    """OP-ORD-21"""
    rig = ready()
    rig.board.clock_valid = False
    rig.outage()
    rig.run(5)
    later = rig.board.unix_s + 10_000
    refused(rig, rig.hold(2, not_after_s=later), results.CLOCK_UNKNOWN)
    refused(rig, rig.order(orders.ASPECT_TARIFF, rig.plan.encode(), not_after_s=later), results.CLOCK_UNKNOWN)
    refused(rig, rig.order(orders.ASPECT_CLOCK, bodies.encode_clock(bytes(8), later)), results.BAD_NONCE)
    refused(rig, rig.order(orders.ASPECT_CLOCK, bodies.encode_clock(b"anything", later)), results.BAD_NONCE)


def test_a_report_shows_the_last_verdict_also_where_no_receipt_is_ever_taken():
    """A meter on a bus alone: its receipts stay, and fill their places."""
    from meterlink.reports import KIND_REPORT, Report

    rig = ready()
    for version in range(6, 18):
        assert rig.give(rig.release(reasons.HOLD_ARREARS, version=version)) == results.APPLIED
    assert rig.give(rig.release(reasons.HOLD_ARREARS, version=7)) == results.OLD_VERSION
    raw = rig.meter.report(KIND_REPORT, NONCE, orders.ASPECT_SUPPLY, reasons.HOLD_ARREARS)
    report = Report(raw, rig.mac_key)
    assert (report.result, report.version) == (results.OLD_VERSION, 17)


def test_a_verification_that_ran_out_of_memory_gives_no_verdict_and_begins_anew():
    from meter import inbox

    def starved(key, digest, signature):
        yield
        raise MemoryError

    rig = ready()
    steps = inbox.ecdsa.steps
    assert rig.meter.submit(MQTT, rig.credit(2 * RICH_UC)) == results.PENDING
    inbox.ecdsa.steps = starved
    try:
        while rig.meter.verify_slice():
            pass
        raise AssertionError("the shell must know, so that it collects")
    except MemoryError:
        pass
    finally:
        inbox.ecdsa.steps = steps
    assert rig.meter.verifying
    while rig.meter.verify_slice():
        pass
    assert rig.meter.result(MQTT).code == results.APPLIED
