"""What is held, receipts and closing statements on request, over Modbus and over a broker."""

import struct

from meter.exchange import Exchange
from meterlink import batches, modbus, orders, reasons, registers, reports, results, topics
from meterlink.batches import Batch, BatchError, pack_ask
from meterlink.reports import Report
from tests.firmware import stated
from tests.firmware.ramboard import NONCE, Rig
from tests.firmware.test_both_registers import Master

RICH_UC = 1_000_000_000


def ready():
    rig = Rig(credit_uc=RICH_UC)
    assert rig.give(rig.hold(reasons.HOLD_LEGAL, issued_s=1234)) == results.APPLIED
    assert rig.give(rig.credit(5000, source=7)) == results.APPLIED
    assert rig.give(rig.order(orders.ASPECT_LIMITS, rig.limits.encode())) == results.APPLIED
    return rig


def held_of(rig, first=0, count=0):
    kind, raw = rig.meter.ask(pack_ask(batches.KIND_HELD, NONCE, first=first, count=count))
    assert kind == batches.KIND_HELD
    batch = Batch(raw, rig.mac_key)
    assert batch.nonce == NONCE
    return batch, [struct.unpack_from(batches.HELD_FORMAT, batch.records, at) for at in range(0, 24 * batch.count, 24)]


def test_what_is_held_is_listed_with_its_versions():
    """OP-REP-09"""
    rig = ready()
    batch, found = held_of(rig)
    assert (batch.first, batch.count) == (1, 4)
    by_subject = {(f[0], f[2]): f for f in found}
    assert sorted(by_subject) == [(1, 1), (1, 7), (2, reasons.HOLD_LEGAL), (4, 0)]
    hold = by_subject[2, reasons.HOLD_LEGAL]
    held = rig.meter.held(orders.ASPECT_SUPPLY, reasons.HOLD_LEGAL)
    assert (hold[1], hold[3:5], hold[5], hold[6], hold[7]) == (orders.ROLE_CONTROL, held[:2], 1234, held[2], 0)


def test_a_long_list_is_asked_for_in_parts():
    rig = ready()
    for hold in range(1, 32):
        assert rig.give(rig.release(hold, not_after_s=0xFFFFFFFF)) == results.APPLIED
    for source in range(20, 26):
        assert rig.give(rig.credit(5000, source=source)) == results.APPLIED
    assert rig.give(rig.order(orders.ASPECT_MODE, stated.mode(0))) == results.APPLIED
    found = []
    while True:
        batch, part = held_of(rig, len(found) + 1)
        if not part:
            break
        assert batch.first == len(found) + 1
        found += part
    assert len(found) == len({f[0] << 16 | f[2] for f in found}) == 8 + 31 + 2
    assert held_of(rig, 5, 3)[1] == found[4:7]


def test_what_is_held_over_modbus():
    rig = ready()
    master = Master(rig)
    words = 4 * registers.RECORD_REGISTERS
    assert master.request(struct.pack(">BBBHHH", 20, 7, 6, registers.HELD_FILE, 1, words)) == -modbus.ILLEGAL_ADDRESS
    assert not isinstance(master.mail(registers.ASK_MAILBOX, pack_ask(batches.KIND_HELD, NONCE)), int)
    block = master.block(registers.BATCH)
    for file_first, file_count in ((1, 4), (2, 2)):
        words = file_count * registers.RECORD_REGISTERS
        reply = master.request(struct.pack(">BBBHHH", 20, 7, 6, registers.HELD_FILE, file_first, words))
        assert reply[4:] == held_of(rig)[0].records[24 * (file_first - 1) : 24 * (file_first - 1 + file_count)]
    whole = block["batch_head"] + held_of(rig)[0].records + block["batch_mac"]
    assert Batch(whole, rig.mac_key).count == 4
    for record, count in ((5, 1), (4, 2), (0, 1)):
        words = count * registers.RECORD_REGISTERS
        request = struct.pack(">BBBHHH", 20, 7, 6, registers.HELD_FILE, record, words)
        assert master.request(request) == -modbus.ILLEGAL_ADDRESS


def test_a_refusal_is_proved_over_modbus():
    """OP-REP-07"""
    rig = ready()
    master = Master(rig)
    forged = rig.seal(rig.statement(orders.ASPECT_TARIFF, rig.plan.encode()), bytes(64))
    assert rig.give(forged) == results.BAD_SIGNATURE
    old = rig.release(reasons.HOLD_LEGAL, version=0x7FFF)
    assert rig.give(old) == results.VERSION_JUMP
    for aspect, selector, code, raw in (
        (orders.ASPECT_TARIFF, 0, results.BAD_SIGNATURE, forged),
        (orders.ASPECT_SUPPLY, reasons.HOLD_LEGAL, results.VERSION_JUMP, old),
    ):
        ask = pack_ask(batches.KIND_RECEIPT, NONCE, aspect, selector)
        assert not isinstance(master.mail(registers.ASK_MAILBOX, ask), int)
        receipt = Report(master.block(registers.REPORT)["report"], rig.mac_key)
        assert (receipt.kind, receipt.nonce, receipt.result) == (reports.KIND_RECEIPT, NONCE, code)
        assert receipt.digest == orders.Order(raw).digest[:8], "of the order that it judges"


def test_a_receipt_before_any_verdict_is_of_what_is_held():
    rig = ready()
    rig.outage()
    _, raw = rig.meter.ask(pack_ask(batches.KIND_RECEIPT, NONCE, orders.ASPECT_SUPPLY, reasons.HOLD_LEGAL))
    receipt = Report(raw, rig.mac_key)
    held = rig.meter.held(orders.ASPECT_SUPPLY, reasons.HOLD_LEGAL)
    assert (receipt.signing_epoch, receipt.version, receipt.digest, receipt.result) == held + (results.APPLIED,)
    _, raw = rig.meter.ask(pack_ask(batches.KIND_RECEIPT, NONCE, orders.ASPECT_MODE, 0))
    assert Report(raw, rig.mac_key).result == results.NONE


def test_each_answer_has_its_topic():
    rig = ready()
    rig.account_epoch = 2
    assert rig.give(rig.order(orders.ASPECT_EPOCH, stated.epoch())) == results.APPLIED
    while rig.meter.take_receipt():
        pass
    exchange = Exchange(rig.meter, 1000)
    for kind, topic in (
        (batches.KIND_CLOSING, topics.UP_CLOSING),
        (batches.KIND_HELD, topics.UP_HELD),
        (batches.KIND_RECEIPT, topics.UP_RECEIPT),
        (batches.KIND_REPORT, topics.UP_REPORT),
    ):
        exchange.hear(topics.DN_ASK, pack_ask(kind, NONCE, orders.ASPECT_EPOCH))
        assert exchange.say(0)[0] == topic


def test_a_closing_statement_over_modbus():
    rig = ready()
    master = Master(rig)
    ask = pack_ask(batches.KIND_CLOSING, NONCE)
    assert master.mail(registers.ASK_MAILBOX, ask) == -modbus.ILLEGAL_VALUE, "no account was closed yet"
    rig.account_epoch = 2
    assert rig.give(rig.order(orders.ASPECT_EPOCH, stated.epoch())) == results.APPLIED
    assert not isinstance(master.mail(registers.ASK_MAILBOX, ask), int)
    closing = Report(master.block(registers.REPORT)["report"], rig.mac_key)
    assert (closing.kind, closing.account_epoch, closing.credited_uc) == (reports.KIND_CLOSING, 1, RICH_UC + 5000)


def test_before_commissioning_no_question_is_answered():
    rig = Rig(commission=False)
    for kind in (batches.KIND_HELD, batches.KIND_RECEIPT, batches.KIND_CLOSING):
        try:
            rig.meter.ask(pack_ask(kind, NONCE))
            raise AssertionError("answered")
        except BatchError:
            pass


def test_block_and_report_show_mode_latches_and_allowance_alike():
    rig = ready()
    assert rig.give(rig.order(orders.ASPECT_MODE, stated.remote(4321))) == results.APPLIED
    rig.meter.latch(2)
    hot, report = Master(rig).block(registers.HOT), rig.report()
    for name in ("mode", "until_wh", "latches", "fresh", "alarms"):
        assert hot[name] == getattr(report, name), name
    assert (report.mode, report.until_wh, report.latches) == (1, 4321, 4)


def test_an_answer_carries_the_nonce_and_the_subject_that_was_asked_about():
    """OP-REP-04"""
    rig = ready()
    for nonce, aspect, selector in ((b"12345678", orders.ASPECT_CREDIT, 1), (b"abcdefgh", orders.ASPECT_SUPPLY, 7)):
        kind, raw = rig.meter.ask(batches.pack_ask(batches.KIND_REPORT, nonce, aspect, selector))
        told = reports.Report(raw, rig.mac_key)
        assert (kind, told.nonce, told.aspect, told.selector) == (batches.KIND_REPORT, nonce, aspect, selector)
