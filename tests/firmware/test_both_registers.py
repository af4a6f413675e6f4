"""The meter on Modbus: blocks from one snapshot, mailboxes, records as files; through the real PDU server."""

import struct

from meter.core import Meter
from meter.registers import MeterRegisters
from meterlink import batches, modbus, orders, records, registers, results
from meterlink.batches import Batch
from meterlink.reports import Report
from tests.firmware.ramboard import METER, NONCE, START_S, Rig

RICH_UC = 1_000_000_000


class Master:
    """Reads blocks and writes mailboxes through `ServerPdu`; an exception reply comes back as a negative number."""

    def __init__(self, rig, carrier=Meter.CARRIER_BUS):
        self.pdu = modbus.ServerPdu(MeterRegisters(rig.meter, carrier))
        self.out = memoryview(bytearray(256))

    def request(self, *octets):
        raw = b"".join(octets)
        size = self.pdu.handle(memoryview(raw), len(raw), self.out)
        if self.out[0] & 0x80:
            return -self.out[1]
        return bytes(self.out[:size])

    def read(self, address, count, function=3):
        reply = self.request(struct.pack(">BHH", function, address, count))
        return reply if isinstance(reply, int) else reply[2:]

    def block(self, wanted):
        """name → value of a block."""
        for block, address, _, fields in registers.BLOCKS:
            if block == wanted:
                raw = b""
                length = registers.block_length(fields)
                while len(raw) < 2 * length:
                    raw += self.read(address + len(raw) // 2, min(125, length - len(raw) // 2))
                values = list(struct.unpack(registers.block_struct(fields), raw))
                found = {}
                for name, kind, _, _ in fields:
                    value = values.pop(0)
                    found[name] = value << 32 | values.pop(0) if kind == "u48" else value
                return found
        raise KeyError(wanted)

    def mail(self, address, raw, crc=None):
        crc = modbus.crc16(raw) if crc is None else crc
        data = struct.pack(">HH", len(raw), crc) + raw + bytes(len(raw) % 2)
        return self.request(struct.pack(">BHHB", 16, address, len(data) // 2, len(data)), data)


def ready():
    rig = Rig(credit_uc=RICH_UC)
    rig.board.watts = 3600
    rig.run(2000)
    return rig, Master(rig)


def test_identification_starts_at_register_zero_by_both_functions():
    rig, master = ready()
    assert master.read(0, 2) == master.read(0, 2, 4) == b"\x01\x02\x03\x04"
    ident = master.block(registers.IDENT)
    assert ident["self_test"] == registers.SELF_TEST and ident["block_id"] == registers.IDENT
    assert ident["meter"] == METER and ident["account_epoch"] == 1 and ident["board_class"] == 1
    assert ident["imp_per_kwh"] == 1000 and ident["interval_minutes"] == 15 and ident["currency"] == 156
    assert ident["boot"] == 1 and ident["log_id"] == rig.meter.log_id and ident["firmware"].rstrip(b"\0")


def test_hot_agrees_with_the_report():
    rig, master = ready()
    hot = master.block(registers.HOT)
    report = rig.report()
    for name in (
        "control contact diagnosis pending due_s holds causes alarms load_ma no_load_s import_wh export_wh balance_uc "
        "credited_uc earned_uc refunded_uc adjusted_uc charged_uc waiting_uc interval_oldest interval_newest "
        "event_newest clock time_s"
    ).split():
        assert hot[name] == getattr(report, name), name
    assert hot["import_wh"] <= rig.meter.energy.import_wh and hot["import_wh"] > 1980
    assert hot["price_uc_per_kwh"] == 1_000_000 and hot["voltage_dv"] == 2300 and hot["power_w"] == 3600
    assert hot["fresh"] == rig.meter.clock.nonce


def test_a_snapshot_is_latched_by_the_first_register_alone():
    rig, master = ready()
    before = master.block(registers.HOT)
    tail = master.read(0x0120, 40)
    rig.run(300)
    assert master.read(0x0120, 40) == tail, "served from the snapshot"
    after = master.block(registers.HOT)
    assert after["snapshot"] == before["snapshot"] + 1 and after["time_s"] == before["time_s"] + 300
    assert after["import_wh"] > before["import_wh"] and master.read(0x0120, 40) != tail


def test_unmapped_addresses():
    _, master = ready()
    for address, count in ((0x00F0, 1), (0x0000, 125), (0x0100, 125), (0x0F80, 1), (0x1000, 1), (0xFFFF, 1)):
        assert master.read(address, count) == -modbus.ILLEGAL_ADDRESS
    assert master.request(struct.pack(">BHH", 6, 0x0100, 1)) == -modbus.ILLEGAL_ADDRESS
    assert master.mail(0x1001, b"xx") == -modbus.ILLEGAL_ADDRESS


def test_order_through_the_mailbox():
    rig, master = ready()
    raw = rig.credit(2 * RICH_UC, sales=[(2 * RICH_UC, RICH_UC)])
    before = master.block(registers.RESULT)
    assert not isinstance(master.mail(registers.ORDER_MAILBOX, raw), int)
    result = master.block(registers.RESULT)
    assert result["pending_id"] == before["pending_id"] + 1 != result["done_id"]
    while rig.meter.verify_slice():
        pass
    result = master.block(registers.RESULT)
    assert result["pending_id"] == result["done_id"] and result["result"] == results.APPLIED
    assert (result["aspect"], result["selector"], result["judged_s"]) == (1, 1, START_S + 2000)
    assert result["digest"] == orders.Order(raw).digest[:8]
    odd = rig.release(1)
    assert len(odd) % 2 and not isinstance(master.mail(registers.ORDER_MAILBOX, odd), int), "padded to whole registers"
    while rig.meter.verify_slice():
        pass
    assert master.block(registers.RESULT)["digest"] == orders.Order(odd).digest[:8]
    sources = master.block(registers.SOURCES)
    assert (sources["source_0"], sources["credited_0_uc"], sources["source_1"]) == (1, 2 * RICH_UC, 0)


def test_mailbox_faults_change_nothing():
    rig, master = ready()
    raw = rig.credit(2 * RICH_UC)
    before = master.block(registers.RESULT)
    assert master.mail(registers.ORDER_MAILBOX, raw, crc=1) == -modbus.ILLEGAL_VALUE
    data = struct.pack(">HH", len(raw) + 9, modbus.crc16(raw)) + raw + b"\0"
    data = data[: len(data) // 2 * 2]
    head = struct.pack(">BHHB", 16, registers.ORDER_MAILBOX, len(data) // 2, len(data))
    assert master.request(head, data) == -modbus.ILLEGAL_VALUE
    assert master.mail(registers.ORDER_MAILBOX, b"") == -modbus.ILLEGAL_VALUE
    after = master.block(registers.RESULT)
    assert after["pending_id"] == before["pending_id"] and not rig.meter.verifying


def test_a_busy_mailbox_says_so():
    rig, master = ready()
    waits = rig.credit(2 * RICH_UC, issued_s=1000)
    assert not isinstance(master.mail(registers.ORDER_MAILBOX, waits), int)
    assert master.mail(registers.ORDER_MAILBOX, rig.credit(3 * RICH_UC, issued_s=900)) == -modbus.DEVICE_BUSY
    assert master.mail(registers.ORDER_MAILBOX, rig.credit(RICH_UC)) == -modbus.DEVICE_BUSY
    assert not isinstance(master.mail(registers.ORDER_MAILBOX, waits), int), "the same one again is no other one"
    while rig.meter.verify_slice():
        pass
    assert rig.meter.account.credited_uc == 2 * RICH_UC


def test_question_and_report():
    rig, master = ready()
    assert master.block(registers.REPORT)["report_length"] == 0
    ask = batches.pack_ask(batches.KIND_REPORT, NONCE, orders.ASPECT_CREDIT, 1)
    assert not isinstance(master.mail(registers.ASK_MAILBOX, ask), int)
    block = master.block(registers.REPORT)
    report = Report(block["report"][: block["report_length"]], rig.mac_key)
    assert report.nonce == NONCE and report.source_credited_uc == RICH_UC and report.result == results.APPLIED
    for bad in (b"xx", batches.pack_ask(9, NONCE), batches.pack_ask(3, bytes(8)), batches.pack_ask(1, NONCE, count=41)):
        assert master.mail(registers.ASK_MAILBOX, bad) == -modbus.ILLEGAL_VALUE
    assert master.block(registers.REPORT)["report"] == report.raw


def test_batch_by_block_and_file():
    rig, master = ready()
    rig.run(9000, 60)
    ask = batches.pack_ask(batches.KIND_INTERVALS, NONCE, first=3, count=7)
    assert not isinstance(master.mail(registers.ASK_MAILBOX, ask), int)
    block = master.block(registers.BATCH)
    first, count = struct.unpack_from(">IH", block["batch_head"], 34)
    assert (first, count) == (3, 7)
    body = b""
    for seq in range(first, first + count):
        file, record = registers.file_of(registers.INTERVAL_FILE, seq)
        reply = master.request(struct.pack(">BBBHHH", 20, 7, 6, file, record, registers.RECORD_REGISTERS))
        body += reply[4:]
    batch = Batch(block["batch_head"] + body + block["batch_mac"], rig.mac_key)
    assert batch.nonce == NONCE and batch.log_id == rig.meter.log_id
    assert [records.check(batch.records[24 * i : 24 * i + 24]) for i in range(7)] == [3, 4, 5, 6, 7, 8, 9]
    # Ten in one group of one request, and what is not there.
    reply = master.request(struct.pack(">BBBHHH", 20, 7, 6, 1, 1, 120))
    assert len(reply) == 4 + 240 and records.check(reply[4:28]) == 1
    assert master.request(struct.pack(">BBBHHH", 20, 7, 6, 1, 0, 12)) == -modbus.ILLEGAL_ADDRESS
    assert master.request(struct.pack(">BBBHHH", 20, 7, 6, 1, 9999, 12)) == -modbus.ILLEGAL_ADDRESS
    assert master.request(struct.pack(">BBBHHH", 20, 7, 6, 1, 1, 11)) == -modbus.ILLEGAL_VALUE
    event = master.request(struct.pack(">BBBHHH", 20, 7, 6, registers.EVENT_FILE, 1, 12))
    assert records.unpack_event(event[4:])[0] == 1


def test_order_block_takes_two_readings_of_one_snapshot():
    rig, master = ready()
    raw = rig.credit(2 * RICH_UC)
    rig.give(raw)
    master.mail(registers.ASK_MAILBOX, batches.pack_ask(batches.KIND_ORDER, NONCE, orders.ASPECT_CREDIT, 1))
    block = master.block(registers.ORDER)
    assert block["order"][: block["order_length"]] == raw


def test_links_do_not_disturb_each_other():
    rig, bus = ready()
    tcp = Master(rig, Meter.CARRIER_TCP)
    bus.mail(registers.ASK_MAILBOX, batches.pack_ask(batches.KIND_REPORT, NONCE, 1, 1))
    assert tcp.block(registers.REPORT)["report_length"] == 0
    tcp.mail(registers.ORDER_MAILBOX, rig.credit(2 * RICH_UC))
    assert bus.block(registers.RESULT)["pending_id"] == bus.block(registers.RESULT)["done_id"]


def test_identify():
    rig, master = ready()
    assert not isinstance(master.request(struct.pack(">BHH", 6, registers.IDENTIFY, 600)), int)
    assert rig.board.shown[-1] == (1, 600)
    assert master.request(struct.pack(">BHH", 6, registers.IDENTIFY, 601)) == -modbus.ILLEGAL_VALUE
    identification = master.request(bytes((43, 14, 1, 0)))
    assert b"openprepay" in identification


def test_a_factory_meter_shows_itself_and_proves_nothing():
    rig = Rig(commission=False)
    rig.run(5)
    master = Master(rig)
    assert master.block(registers.IDENT)["meter"] == 0 and master.block(registers.HOT)["import_wh"] == 0
    assert master.mail(registers.ASK_MAILBOX, batches.pack_ask(3, NONCE)) == -modbus.ILLEGAL_VALUE
    assert master.mail(registers.ACK_MAILBOX, bytes(24)) == -modbus.ILLEGAL_VALUE
    master.mail(registers.ORDER_MAILBOX, rig.credit(RICH_UC))
    assert master.block(registers.RESULT)["result"] == results.WRONG_METER
