"""Bodies of orders: these bytes are a contract and never change."""

from meterlink import bodies, bodies_root, orders, parcels, results
from meterlink.mac import MacKey
from meterlink.orders import OrderError

KEY = MacKey(bytes(range(32)))


def _bytes(text):
    return bytes.fromhex(text.replace(" ", ""))


def refused(action, *arguments):
    try:
        action(*arguments)
    except OrderError as error:
        assert error.code == results.BAD_BODY, str(error)
        return
    raise AssertionError("not refused")


def test_credit():
    """OP-ORD-02 OP-ORD-40"""
    body = _bytes("0000000000001388 0000000000000014 89 0000000000001388 0000000000000064 03 5998ec")
    assert bodies.decode_credit(body) == (5000, 20, [(5000, 100)])
    assert bodies.credit_extras(body) == (True, [(3, 0x5998EC)])
    assert bodies.encode_credit(5000, 20, [(5000, 100)], True, ((3, 0x5998EC),)) == body
    refused(bodies.decode_credit, body[:16] + b"\xa9" + body[17:])
    refused(bodies.encode_credit, 5000, 20, [], False, ((1, 1), (1, 2), (1, 3)))


def test_mode():
    """OP-ORD-02 OP-ORD-47"""
    body = _bytes("01 01 0000000000000007 00000000000003e8 fffffffffffffffb 000000c8 00000e10")
    assert bodies.decode_mode(body) == (1, 7, 1000, -5, 200, 3600)
    refused(bodies.decode_mode, body[:1] + b"\x00" + body[2:])
    refused(bodies.decode_mode, body[:1] + b"\x03" + body[2:])
    assert bodies.decode_mode(bytes((1, 2)) + body[2:10] + bytes(24)) == (2, 7, 0, 0, 0, 0)


def test_clear():
    """OP-ORD-02 OP-ORD-52"""
    assert bodies.decode_clear(_bytes("01 00000005 0000004d")) == (5, 77)
    refused(bodies.decode_clear, _bytes("01 00000000 0000004d"))


def test_signing_keys():
    """OP-ORD-02 OP-ORD-48: one key of each role at least, none twice."""
    key = bytes(range(64))
    three = b"".join([bytes((role, 1)) + key for role in (1, 2, 3)])
    assert bodies_root.decode_signing_keys(b"\x01\x03" + three) == ((1, 1, key), (2, 1, key), (3, 1, key))
    refused(bodies_root.decode_signing_keys, b"\x01\x02" + three[:132])
    refused(bodies_root.decode_signing_keys, b"\x01\x04" + three + bytes((3, 1)) + key)
    refused(bodies_root.decode_signing_keys, b"\x01\x04" + three + bytes((4, 1)) + key)
    refused(bodies_root.decode_signing_keys, b"\x01\x07" + three + three + bytes((1, 9)) + key)


def test_tag_keys():
    """OP-ORD-02 OP-ORD-49"""
    hidden = _bytes("b2a8a5a744b804ab8f43183e91cfba3037a61f54101b593492d22fce5bdacdca")
    said = bodies_root.decode_tag_keys(b"\x01\x02\x02\x01" + hidden + b"\x01\x00")
    assert said == ((2, hidden), (1, b""))
    assert bodies_root.wrap(KEY, hidden, 17, 4, 5, 0) == bytes(32)
    for wrong in (b"\x01\x00", b"\x01\x01\x01", b"\x01\x02\x01\x00\x01\x00", b"\x01\x01\x01\x02", b"\x01\x03\x01\x00"):
        refused(bodies_root.decode_tag_keys, wrong)


def test_decoder():
    """OP-ORD-02 OP-ORD-50"""
    body = _bytes("01 b2a8a5a744b804ab8f43183e91cfba30 0001e241 02 01 01 ff 01")
    hidden, attributes = bodies_root.decode_decoder(body)
    assert attributes == (123457, 2, 1, 1, 255, 1)
    assert bodies_root.wrap(KEY, hidden, 17, 4, 5, 0) == bytes(16)
    for at, value in ((17, 255), (21, 4), (22, 100), (23, 0), (23, 10), (25, 3)):
        refused(bodies_root.decode_decoder, body[:at] + bytes((value,)) + body[at + 1 :])


def test_firmware():
    """OP-ORD-02 OP-ORD-51"""
    sha = bytes(range(32))
    assert bodies_root.decode_firmware(_bytes("01 010203 0004 000186a0") + sha) == ((1, 2, 3), 4, 100_000, sha)
    refused(bodies_root.decode_firmware, _bytes("01 010203 0004 00000000") + sha)


def test_epoch_and_retire():
    """OP-ORD-02 OP-ORD-53 OP-ORD-55"""
    assert bodies_root.decode_epoch(_bytes("01 02 000001c0")) == (2, 0x1C0)
    assert bodies_root.decode_retire(_bytes("01 03")) == 3
    for cause in (0, 6):
        refused(bodies_root.decode_epoch, bytes((1, cause, 0, 0, 0, 0)))
        refused(bodies_root.decode_retire, bytes((1, cause)))


def test_recover():
    """OP-ORD-02 OP-ORD-56"""
    body = _bytes("01 3132333435363738 0000000000000001 0000000000000002 0000000000000003 0004") + _bytes(
        "0000000000000005 0000000000000006 02 0001 0000000000000009 0000000000000008 ffff 0000000000000007" + "00" * 8
    )
    state = bodies_root.decode_recover(body)
    assert state.nonce == b"12345678"
    assert (state.earned_uc, state.adjusted_uc, state.charged_uc, state.remainder) == (1, 2, 3, 4)
    assert (state.import_wh, state.export_wh) == (5, 6)
    assert state.sources == ((1, 9, 8), (65535, 7, 0))
    assert state.balance_uc() == 9 - 8 + 7 + 1 - 2 - 3
    refused(bodies_root.decode_recover, body[:-18] + body[-36:-18])
    refused(bodies_root.decode_recover, body[:-18] + bytes(18))
    refused(bodies_root.decode_recover, body[:33] + b"\x03\xe8" + body[35:])


def test_a_body_apart():
    """OP-ORD-34"""
    named = _bytes("00000003 ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    assert orders.apart(named) == (3, named[4:])
    piece = parcels.pack(bytes(range(32)), 200, 398, b"xyz")
    assert piece == _bytes("01 0001020304050607 00c8 018e 78797a")
    assert parcels.read(piece) == (bytes(range(8)), 200, 398, b"xyz")
    for wrong in (b"", piece[:13], b"\x02" + piece[1:], parcels.pack(bytes(32), 396, 398, b"xyz"), piece + bytes(200)):
        try:
            parcels.read(wrong)
        except parcels.ParcelError:
            continue
        raise AssertionError("taken")
    try:
        parcels.read(parcels.pack(bytes(32), 0, orders.MAX_APART + 1, b"xyz"))
        raise AssertionError("taken")
    except parcels.ParcelError:
        pass


def test_which_orders_may_travel_apart():
    """OP-ORD-06 OP-ORD-34: what has no version travels whole."""
    body = (3).to_bytes(4, "big") + bytes(32)
    fields = (17, 1, 1, 1, 1)
    stated = orders.Statement(orders.ASPECT_KEYS, *fields, 0, 4, 5, 1, 0, body, orders.FLAG_BODY_APART)
    assert orders.Order(orders.seal(stated.encode(), bytes(64), KEY)).stated.flags == 1
    for aspect, selector, version, content in (
        (orders.ASPECT_EPOCH, 0, 0, body),
        (orders.ASPECT_RETIRE, 0, 0, body),
        (orders.ASPECT_CREDIT, 1, 0, body),
        (orders.ASPECT_KEYS, 0, 5, body + b"\0"),
        (orders.ASPECT_KEYS, 0, 5, bytes(36)),
        (orders.ASPECT_KEYS, 3, 5, body),
    ):
        wrong = orders.Statement(aspect, *fields, selector, 4, version, 1, 0, content, orders.FLAG_BODY_APART)
        try:
            wrong.encode()
        except OrderError as error:
            assert error.code == results.BAD_FORMAT
            continue
        raise AssertionError("taken")
