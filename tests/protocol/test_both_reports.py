"""Reports, batches, records, provisioning and topics, on both interpreters."""

from meterlink import batches, provision, records, registers, reports, topics
from meterlink.mac import MacKey, equal

KEY = MacKey(bytes(range(32)))
OTHER = MacKey(bytes(32))
METER = 60072700000009


def raises(kind, action, *arguments):
    try:
        action(*arguments)
    except kind as error:
        return str(error)
    raise AssertionError("not refused")


def report_values():
    values = []
    for i in range(len(reports.FIELDS)):
        code = reports.FIELDS[i][1]
        values.append(b"nonce..." if code == "8s" else i % 250)
    values[0] = reports.FORMAT
    values[2] = METER >> 32
    values[3] = METER & 0xFFFFFFFF
    return tuple(values)


def test_report_round_trip():
    """OP-REP-01"""
    raw = reports.pack(report_values(), KEY)
    assert len(raw) == reports.LENGTH == 222
    report = reports.Report(raw, KEY)
    assert report.meter == METER == reports.meter_of(raw)
    values = report_values()
    for i in range(len(reports.FIELDS)):
        assert getattr(report, reports.FIELDS[i][0]) == values[i]


def test_every_bit_of_a_report_counts():
    """OP-REP-02"""
    raw = bytearray(reports.pack(report_values(), KEY))
    for i in range(len(raw)):
        for bit in (0, 3, 7):
            raw[i] ^= 1 << bit
            raises(reports.ReportError, reports.Report, raw, KEY)
            raw[i] ^= 1 << bit
    raises(reports.ReportError, reports.Report, raw, OTHER)
    raises(reports.ReportError, reports.Report, raw[:-1], KEY)


def test_money_identity():
    """OP-REP-06"""
    names = [field[0] for field in reports.FIELDS]
    values = list(report_values())
    for name, value in (
        ("balance_uc", -5),
        ("credited_uc", 100),
        ("earned_uc", 7),
        ("refunded_uc", 2),
        ("adjusted_uc", 10),
        ("charged_uc", 100),
    ):
        values[names.index(name)] = value
    assert reports.Report(reports.pack(tuple(values), KEY), KEY).balances()
    values[names.index("balance_uc")] = -4
    assert not reports.Report(reports.pack(tuple(values), KEY), KEY).balances()


def test_will():
    """OP-REP-14"""
    raw = reports.pack_will(METER, 77, KEY)
    assert len(raw) == 28
    assert reports.read_will(raw, KEY) == (METER, 77)
    raises(reports.ReportError, reports.read_will, raw, OTHER)
    raises(reports.ReportError, reports.read_will, raw[:-1], KEY)


def batch(count=3):
    body = b""
    for seq in range(5, 5 + count):
        body += records.pack_interval(seq, 1700000100 + 900 * seq, seq * 10, 0, 10, 0, 15, 0)
    head = batches.pack_head(1, METER, 1, 2, 3, 1700000000, 99, b"askask12", 5, count)
    return head + body + batches.mac(head, body, KEY)


def test_batch():
    """OP-BAT-01"""
    raw = batch()
    got = batches.Batch(raw, KEY)
    assert (got.kind, got.meter, got.log_id, got.first, got.count) == (1, METER, 99, 5, 3)
    assert got.nonce == b"askask12"
    assert records.check(got.records[24:48]) == 6
    raises(batches.BatchError, batches.Batch, raw, OTHER)
    raises(batches.BatchError, batches.Batch, raw[:-24], KEY)
    raises(batches.BatchError, batches.Batch, b"", KEY)
    for i in range(len(raw)):
        bad = bytearray(raw)
        bad[i] ^= 4
        raises(batches.BatchError, batches.Batch, bad, KEY)


def test_empty_batch():
    assert batches.Batch(batch(0), KEY).records == b""


def test_question():
    """OP-BAT-04"""
    raw = batches.pack_ask(batches.KIND_REPORT, b"12345678", 2, 7)
    assert len(raw) == batches.ASK_LENGTH
    assert batches.read_ask(raw) == (batches.KIND_REPORT, b"12345678", 2, 7, 0, 0)
    raises(batches.BatchError, batches.read_ask, raw + b"\0")
    raises(batches.BatchError, batches.read_ask, batches.pack_ask(9, b"12345678"))
    raises(batches.BatchError, batches.read_ask, batches.pack_ask(1, bytes(8)))
    raises(batches.BatchError, batches.read_ask, batches.pack_ask(1, b"12345678", 0, 0, 1, 41))


def test_acknowledgement():
    """OP-BAT-03"""
    raw = batches.pack_ack(1, METER, 99, 1234, KEY)
    assert batches.read_ack(raw, METER, KEY) == (1, 99, 1234)
    raises(batches.BatchError, batches.read_ack, raw, METER + 1, KEY)
    raises(batches.BatchError, batches.read_ack, raw, METER, OTHER)
    raises(batches.BatchError, batches.read_ack, raw[:-1], METER, KEY)


def test_records():
    fields = (7, 1700000000, 4294967295, 0, 65535, 12, 15, records.FLAG_SHORT)
    raw = records.pack_interval(7, 1700000000, (1 << 40) - 1, 1 << 32, 70000, 12, 15, records.FLAG_SHORT)
    assert len(raw) == records.RECORD_LENGTH
    assert records.unpack_interval(raw) == fields
    raw = records.pack_event(8, 1700000000, 20, 0x12345, 77, -3, 9)
    assert records.unpack_event(raw) == (8, 1700000000, 20, 0x2345, 77, -3, 9)
    assert records.check(b"\xff" * 24) is None
    assert records.check(bytes(24)) is None
    for bit in range(24 * 8):
        bad = bytearray(raw)
        bad[bit >> 3] ^= 1 << (bit & 7)
        assert records.check(bad) is None
        raises(ValueError, records.unpack_event, bad)


def test_known_record():
    """The layout is a contract: these bytes never change."""
    raw = records.pack_interval(1, 0x65000000, 0x01020304, 5, 6, 7, 15, 1)
    assert raw[:22].hex() == "000000016500000001020304000000050006" + "00070f01"


def test_provisioning():
    record = provision.Provision(
        METER, 1, 1, bytes(range(32)), 1600, 15, 156, ((2, 1, bytes(64)), (3, 1, bytes(64))), b"limits", b"tariff"
    ).encode()
    got = provision.decode(record)
    assert (got.meter, got.imp_per_kwh, got.limits, got.tariff) == (METER, 1600, b"limits", b"tariff")
    assert got.keys[1] == (3, 1, bytes(64))
    assert got.encode() == record
    for i in range(0, len(record), 7):
        bad = bytearray(record)
        bad[i] ^= 1
        raises(provision.ProvisionError, provision.decode, bad)
    raises(provision.ProvisionError, provision.decode, record[:-1])
    raises(provision.ProvisionError, provision.decode, b"")


def test_topics():
    topic = topics.up(METER, topics.UP_REPORT)
    assert topic == "op/1/{:02d}/60072700000009/up/report".format(METER % 64)
    assert topics.parse(topic) == (METER, "up", "report")
    assert topics.parse(topics.down(17, topics.DN_ORDER)) == (17, "dn", "order")
    for wrong in (
        "",
        "op/1/00/17/dn/order",
        "op/1/17/17/dn/order",
        "op/1/17/000000000017/dn/report",
        "op/1/17/000000000017/up/order/x",
        "op/2/17/000000000017/dn/order",
        "op/1/17/00000000001x/dn/order",
        "op/1/17/+/dn/order",
    ):
        assert topics.parse(wrong) is None, wrong


def test_register_blocks_do_not_overlap():
    end = 0
    for _, address, _, fields in registers.BLOCKS:
        assert address >= end
        end = address + registers.block_length(fields)
    assert end <= registers.ORDER_MAILBOX
    assert registers.BLOCKS[0][1] == 0
    assert registers.BLOCKS[0][3][0][0] == "self_test"
    assert registers.block_length(registers.BLOCKS[1][3]) <= 125


def test_mac_against_rfc_4231():
    """RFC 4231 test case 2; HMAC itself pads a short key with zeros, so the padded key is the same key."""
    key = MacKey(b"Jefe" + bytes(28))
    mac = key.mac(b"", b"what do ya want for nothing?", 32)
    assert mac.hex() == "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    assert key.check(b"", b"what do ya want for nothing?", mac[:16])
    assert not key.check(b"", b"what do ya want for nothing?", mac[:7])
    assert not equal(b"a", b"ab")
    raises(ValueError, MacKey, b"short")
