"""MQTT packets and the reconnect back-off, on both interpreters. Expected bytes are written out from the standard."""

import gc

from meter.shell.backoff import Backoff
from meter.shell.mqtt_codec import (
    PINGRESP,
    PUBACK,
    PUBLISH,
    SUBACK,
    Decoder,
    MqttError,
    encode_connect,
    encode_puback,
    encode_publish,
    encode_subscribe,
    parse_connack,
)


def refusal(action, *arguments):
    """The reason of the MqttError, or the sentence of the ValueError, that a call raises."""
    try:
        action(*arguments)
    except MqttError as error:
        return error.reason
    except ValueError as error:
        return str(error)
    raise AssertionError("nothing was refused")


def decode(stream, chunk, max_packet=64):
    """Every packet of a stream that arrives `chunk` bytes at a time, as tuples."""
    decoder = Decoder(max_packet)
    found = []
    for start in range(0, len(stream), chunk):
        part = memoryview(stream)[start : start + chunk]
        at = 0
        while at < len(part):
            at = decoder.push(part, at, len(part))
            if decoder.ready:
                message = decoder.message() if decoder.kind == PUBLISH and not decoder.oversize else None
                found.append((decoder.kind, decoder.packet_id, message, decoder.code))
    return found


def test_connect():
    assert encode_connect("M42", 60) == b"\x10\x0f\x00\x04MQTT\x04\x00\x00\x3c\x00\x03M42"
    will = ("a/b", b"gone", True, 1)
    assert encode_connect(b"M42", 300, "u", b"p", will) == (
        b"\x10\x20\x00\x04MQTT\x04\xec\x01\x2c\x00\x03M42\x00\x03a/b\x00\x04gone\x00\x01u\x00\x01p"
    )
    assert encode_connect("M42", 60, None, None, ("t", "", False, 0))[9] == 0x04


def test_connect_refuses():
    assert "client identifier is empty" in refusal(encode_connect, "", 60)
    assert "65536" in refusal(encode_connect, "M42", 65536)
    assert "without user" in refusal(encode_connect, "M42", 60, None, "p")
    assert "will QoS 2" in refusal(encode_connect, "M42", 60, None, None, ("t", "", False, 2))
    assert "wildcard" in refusal(encode_connect, "M42", 60, None, None, ("t/#", "", False, 1))
    assert "65536 bytes" in refusal(encode_connect, "M42", 60, "u" * 65536)


def test_publish():
    assert encode_publish("a/b", b"hello") == b"\x30\x0a\x00\x03a/bhello"
    assert encode_publish("a/b", "hello", 1, True, True, 0x1234) == b"\x3b\x0c\x00\x03a/b\x12\x34hello"
    assert encode_publish("ü", "é") == b"\x30\x06\x00\x02\xc3\xbc\xc3\xa9"
    assert encode_publish(b"t", b"") == b"\x30\x03\x00\x01t"


def test_publish_refuses():
    assert "empty" in refusal(encode_publish, "", b"")
    assert "wildcard" in refusal(encode_publish, "a/+", b"")
    assert "QoS 2" in refusal(encode_publish, "a", b"", 2, False, False, 1)
    assert "packet identifier 0" in refusal(encode_publish, "a", b"", 1)
    assert "packet identifier 65536" in refusal(encode_publish, "a", b"", 1, False, False, 65536)
    assert "packet identifier 1" in refusal(encode_publish, "a", b"", 0, False, False, 1)


def test_remaining_length_at_its_boundaries():
    for payload_size, head in (
        (124, b"\x30\x7f"),
        (125, b"\x30\x80\x01"),
        (16380, b"\x30\xff\x7f"),
        (16381, b"\x30\x80\x80\x01"),
        (65536, b"\x30\x83\x80\x04"),
    ):
        packet = encode_publish("t", bytes(payload_size))
        assert packet[: len(head)] == head
        assert len(packet) == len(head) + 3 + payload_size


def test_subscribe_and_puback():
    assert encode_subscribe(0x1234, "a/#", 1) == b"\x82\x08\x12\x34\x00\x03a/#\x01"
    assert encode_puback(0x1234) == b"\x40\x02\x12\x34"
    assert "empty" in refusal(encode_subscribe, 1, "", 1)
    assert "QoS 2" in refusal(encode_subscribe, 1, "a", 2)


def test_connack():
    assert parse_connack(b"\x20\x02\x00\x00") is False
    assert parse_connack(b"\x20\x02\x01\x00") is True
    reasons = [refusal(parse_connack, b"\x20\x02\x00" + bytes((code,))) for code in range(1, 7)]
    assert reasons == [
        "refused_protocol",
        "refused_identifier",
        "refused_unavailable",
        "refused_credentials",
        "refused_authorization",
        "refused_other",
    ]
    assert refusal(parse_connack, b"\x20\x02\x02\x00") == "malformed"
    assert refusal(parse_connack, b"\x20\x03\x00\x00") == "malformed"
    assert refusal(parse_connack, b"\x40\x02\x00\x00") == "unexpected"


def test_decoding_does_not_depend_on_how_bytes_arrive():
    """A stream with every kind of packet, an oversize one among them, in pieces of every size."""
    big = encode_publish("topic", bytes(300), 1, False, False, 0xABCD)
    stream = b"".join(
        [
            b"\xd0\x00",
            encode_publish("a/b", b"hello"),
            encode_puback(7),
            big,
            b"\x90\x03\x12\x34\x01",
            encode_publish("t", b"", 1, False, False, 1),
            encode_publish("topic", bytes(300)),
            encode_publish("b" * 80, b"x", 1, False, False, 0x0102),  # the identifier lies beyond the buffer
            encode_publish("t", bytes(300), 1, False, False, 0x0506),  # the identifier follows at once
            b"\xd0\x00",
        ]
    )
    expected = [
        (PINGRESP, 0, None, 0),
        (PUBLISH, 0, (b"a/b", b"hello"), 0),
        (PUBACK, 7, None, 0),
        (PUBLISH, 0xABCD, None, 0),
        (SUBACK, 0x1234, None, 1),
        (PUBLISH, 1, (b"t", b""), 0),
        (PUBLISH, 0, None, 0),
        (PUBLISH, 0x0102, None, 0),
        (PUBLISH, 0x0506, None, 0),
        (PINGRESP, 0, None, 0),
    ]
    for chunk in range(1, len(stream) + 1):
        assert decode(stream, chunk) == expected


def test_the_flags_of_a_publish():
    decoder = Decoder(64)
    packet = encode_publish("t", b"x", 1, True, True, 9)
    assert decoder.push(packet, 0, len(packet)) == len(packet)
    assert (decoder.ready, decoder.qos, decoder.retained, decoder.again) == (True, 1, True, True)
    packet = encode_publish("t", b"x")
    decoder.push(packet, 0, len(packet))
    assert (decoder.ready, decoder.qos, decoder.retained, decoder.again) == (True, 0, False, False)


def test_a_body_of_exactly_the_limit_is_kept():
    for size, kept in ((61, True), (62, False)):
        packet = encode_publish("t", bytes(size))
        decoder = Decoder(64)
        decoder.push(packet, 0, len(packet))
        assert decoder.ready and decoder.oversize != kept


def test_malformed_and_unexpected():
    for packet, reason in (
        (b"\x30\xff\xff\xff\xff", "malformed"),
        (b"\x36", "malformed"),
        (b"\x34", "unexpected"),
        (b"\x30\x02", "malformed"),
        (b"\x32\x04", "malformed"),
        (b"\x30\x03\x00\x00t", "malformed"),
        (b"\x30\x03\x00\x02t", "malformed"),
        (b"\x32\x05\x00\x02tt\x01", "malformed"),
        (b"\x32\x05\x00\x01t\x00\x00", "malformed"),
        (b"\x32\x80\x01\x00\x7ft" + bytes(128), "malformed"),
        (b"\x40\x01", "malformed"),
        (b"\x42", "malformed"),
        (b"\x90\x02", "malformed"),
        (b"\xd0\x01", "malformed"),
        (b"\xd0\x80\x80\x80\x01", "malformed"),
    ):
        assert refusal(decode, packet, 1) == reason, packet
    accepted = [kind for kind in range(16) if accepts(kind << 4)]
    assert accepted == [PUBLISH, PUBACK, SUBACK, PINGRESP]


def accepts(first):
    try:
        Decoder(64).push(bytes((first,)), 0, 1)
    except MqttError as error:
        assert error.reason == "unexpected"
        return False
    return True


def test_a_reset_forgets_half_a_packet():
    decoder = Decoder(64)
    packet = encode_publish("a/b", b"hello", 1, False, False, 5)
    decoder.push(packet, 0, 8)
    decoder.reset()
    decoder.push(packet, 0, len(packet))
    assert decoder.ready and decoder.message() == (b"a/b", b"hello")


def test_the_decoder_has_a_smallest_size():
    assert "at least 16" in refusal(Decoder, 15)


def test_an_endless_message_takes_no_memory():
    if not hasattr(gc, "mem_alloc"):
        return  # CPython: its allocator cannot be asked
    decoder = Decoder(64)
    head = b"\x32\xff\xff\xff\x7f\x00\x01t\x00\x07"
    chunk = memoryview(bytes(512))
    decoder.push(head, 0, len(head))
    gc.collect()
    before = gc.mem_alloc()
    for _ in range(2000):
        decoder.push(chunk, 0, 512)
    gc.collect()
    assert gc.mem_alloc() - before < 128
    assert decoder.packet_id == 7


def test_backoff_doubles_to_its_cap_and_begins_again():
    asked = []

    def last(count):
        asked.append(count)
        return count - 1

    backoff = Backoff(1000, 10000, last)
    assert [backoff.next_ms() for _ in range(6)] == [1000, 2000, 4000, 8000, 10000, 10000]
    assert backoff.attempts == 6
    backoff.reset()
    assert backoff.attempts == 0
    assert backoff.next_ms() == 1000
    assert asked == [501, 1501, 3501, 7501, 9501, 9501, 501]


def test_backoff_never_waits_less_than_half_its_base():
    backoff = Backoff(1000, 10000, lambda count: 0)
    assert [backoff.next_ms() for _ in range(6)] == [500] * 6


def test_backoff_refuses():
    for base_ms, cap_ms in ((0, 10), (1, 10), (20, 10)):
        assert "back-off" in refusal(Backoff, base_ms, cap_ms, len)
