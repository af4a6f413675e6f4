"""Order envelope and bodies, on both interpreters."""

from meterlink import bodies, orders, results
from meterlink.mac import MacKey
from meterlink.orders import Order, OrderError, Statement

KEY = MacKey(bytes(range(32)))
SIGNATURE = bytes(range(64))


def statement(**changes):
    fields = {
        "aspect": orders.ASPECT_SUPPLY,
        "meter": 123456789012,
        "account_epoch": 1,
        "role": orders.ROLE_CONTROL,
        "key_version": 2,
        "tag_key_version": 3,
        "selector": 1,
        "signing_epoch": 4,
        "version": 5,
        "issued_s": 1700000000,
        "not_after_s": 1700000900,
        "body": bodies.encode_supply(bodies.HOLD),
    }
    fields.update(changes)
    return Statement(**fields)


def refused(code, action, *arguments):
    try:
        action(*arguments)
    except OrderError as error:
        assert error.code == code, (error.code, str(error))
        return str(error)
    raise AssertionError("not refused")


def test_round_trip():
    """OP-ORD-07 OP-ORD-02"""
    raw = orders.seal(statement().encode(), SIGNATURE, KEY)
    order = Order(raw)
    assert len(raw) == 31 + 6 + 64 + 8
    assert order.stated.encode() == raw[:37]
    assert (order.stated.meter, order.stated.version, order.stated.signing_epoch) == (123456789012, 5, 4)
    assert order.signature == SIGNATURE
    assert order.tag_is_genuine(KEY)
    assert order.digest == orders.digest(raw[:37])
    assert not order.tag_is_genuine(MacKey(bytes(32)))


def test_known_answer():
    """OP-ORD-02: the layout is a contract: these bytes never change."""
    raw = orders.seal(statement().encode(), SIGNATURE, KEY)
    head = "0102001cbe991a14000103020300000100040000000565" + "53f1006553f48406"
    assert raw[:37].hex() == head + "0100ffffffff", raw[:37].hex()


def test_tag_covers_the_signature():
    """OP-ORD-09"""
    raw = bytearray(orders.seal(statement().encode(), SIGNATURE, KEY))
    for i in range(len(raw)):
        raw[i] ^= 1
        try:
            assert not Order(bytes(raw)).tag_is_genuine(KEY), i
        except OrderError:
            pass
        raw[i] ^= 1


def test_every_field_is_bounded():
    """OP-ORD-04 OP-ORD-05"""
    for field, value, code in (
        ("aspect", 0, results.UNKNOWN_ASPECT),
        ("aspect", 15, results.UNKNOWN_ASPECT),
        ("meter", 0, results.BAD_FORMAT),
        ("account_epoch", 0, results.BAD_FORMAT),
        ("role", 0, results.BAD_FORMAT),
        ("role", 4, results.BAD_FORMAT),
        ("flags", 2, results.BAD_FORMAT),
        ("selector", 0x10000, results.BAD_FORMAT),
        ("signing_epoch", 0, results.BAD_FORMAT),
        ("version", 0, results.BAD_FORMAT),
        ("not_after_s", 1 << 32, results.BAD_FORMAT),
        ("body", bytes(138), results.BAD_FORMAT),
    ):
        text = refused(code, statement(**{field: value}).encode)
        assert "expected" in text, text


def test_credit_has_neither_version_nor_expiry():
    """OP-ORD-06"""
    body = bodies.encode_credit(10, 0, [])
    fields = {"aspect": orders.ASPECT_CREDIT, "role": orders.ROLE_CREDIT, "body": body}
    refused(results.BAD_FORMAT, statement(version=1, not_after_s=0, **fields).encode)
    refused(results.BAD_FORMAT, statement(version=0, not_after_s=1, **fields).encode)
    refused(results.BAD_FORMAT, statement(version=0, not_after_s=0, selector=0, **fields).encode)
    assert statement(version=0, not_after_s=0, **fields).encode()


def test_lengths():
    """OP-ORD-01 OP-ORD-03"""
    raw = orders.seal(statement().encode(), SIGNATURE, KEY)
    for wrong in (b"", raw[:-1], raw + b"\0", bytes(241), raw[:102]):
        refused(results.BAD_LENGTH, Order, wrong)
    refused(results.BAD_FORMAT, Order, b"\x02" + raw[1:])


def test_roles():
    """OP-ORD-23"""
    assert orders.may(orders.ROLE_CREDIT, orders.ASPECT_CREDIT)
    assert not orders.may(orders.ROLE_ROOT, orders.ASPECT_CREDIT)
    assert not orders.may(orders.ROLE_CONTROL, orders.ASPECT_CREDIT)
    assert not orders.may(orders.ROLE_CREDIT, orders.ASPECT_SUPPLY)
    assert orders.may(orders.ROLE_ROOT, orders.ASPECT_SUPPLY)
    assert not orders.may(orders.ROLE_CONTROL, orders.ASPECT_KEYS)
    assert not orders.may(orders.ROLE_ROOT, 13)


def test_credit_body():
    """OP-ORD-14 OP-ORD-40"""
    sales = [(100, 100), (250, 150), (300, 50)]
    assert bodies.decode_credit(bodies.encode_credit(300, 20, sales)) == (300, 20, sales)
    for total, refunded, listed in (
        (10, 11, []),
        (1 << 63, 0, []),
        (10, 0, [(10, 0)]),
        (10, 0, [(11, 1)]),
        (10, 0, [(5, 6)]),
        (10, 0, [(5, 5), (8, 4)]),
        (10, 0, [(1, 1), (2, 1), (3, 1), (4, 1), (5, 1)]),
    ):
        refused(results.BAD_BODY, bodies.encode_credit, total, refunded, listed)
    refused(results.BAD_BODY, bodies.decode_credit, bytes(16))
    refused(results.BAD_BODY, bodies.decode_credit, bytes(18))


def test_supply_body():
    """OP-ORD-14"""
    body = bodies.encode_supply(bodies.RELEASE, bodies.CLOSE_DIRECT, 7, 9)
    assert bodies.decode_supply(body) == (bodies.RELEASE, bodies.CLOSE_DIRECT, 7, 9)
    refused(results.BAD_BODY, bodies.encode_supply, 2)
    refused(results.BAD_BODY, bodies.encode_supply, 0, 2)
    refused(results.BAD_BODY, bodies.decode_supply, body + b"\0")


def test_limits_body():
    """OP-ORD-14"""
    limits = bodies.Limits(10, 5, 900, 10, 60, 10, 60000)
    assert bodies.decode_limits(limits.encode()).encode() == limits.encode()
    refused(results.BAD_BODY, bodies.Limits(5, 10, 0, 0, 0, 0, 0).encode)
    refused(results.BAD_BODY, bodies.decode_limits, bytes(29))
    refused(results.BAD_BODY, bodies.decode_limits, bytes(28))


def test_clock_body():
    """OP-ORD-14"""
    body = bodies.encode_clock(b"12345678", 1800000000)
    assert bodies.decode_clock(body) == (b"12345678", 1800000000)
    refused(results.BAD_BODY, bodies.encode_clock, bytes(8), 1)
