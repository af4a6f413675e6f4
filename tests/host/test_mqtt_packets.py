"""Packets of MQTT, made and read: whole, in pieces, beside paho's reading of the same, and anything at all."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from headend.links import mqtt_packets as packets
from headend.links.mqtt_packets import Malformed, Other, Publish

TOPICS = st.text(st.characters(min_codepoint=33, max_codepoint=0x2FFF), min_size=1, max_size=60)
MESSAGES = st.builds(Publish, TOPICS, st.binary(max_size=300), st.integers(1, 65_535))


@given(st.lists(MESSAGES, max_size=8), st.data(), st.booleans())
@settings(max_examples=60, deadline=None)
def test_however_a_stream_is_cut_the_same_messages_come(said: list[Publish], data: st.DataObject, five: bool) -> None:
    wire = b"".join(packets.publish(mid, topic, payload, 7, five=five) for topic, payload, mid in said)
    wire += packets.puback(258) + packets.PING
    found: list[Publish | Other] = []
    rest = b""
    while wire:
        cut = data.draw(st.integers(1, len(wire)))
        rest, wire = rest + wire[:cut], wire[cut:]
        some, end = packets.split(rest, five=five)
        found += some
        rest = rest[end:]
    assert rest == b""
    assert found == [*said, Other(packets.PUBACK, b"\x01\x02"), Other(12, b"")]
    assert packets.acknowledged(b"\x01\x02") == (258, 0)


@given(st.binary(max_size=80), st.booleans())
@settings(max_examples=300, deadline=None)
def test_whatever_comes_is_a_packet_or_named_malformed(data: bytes, five: bool) -> None:
    try:
        found, end = packets.split(data, five=five)
    except Malformed:
        return
    assert 0 <= end <= len(data)
    assert len(packets.split(data[:end], five=five)[0]) == len(found)
    for read in (packets.connack, packets.suback):
        try:
            read(data, five=five)
        except Malformed:
            continue


def test_a_session_is_asked_for_in_the_bytes_of_the_standard() -> None:
    said = {"session_expiry_s": 60, "receive_maximum": 200, "max_packet": 4352}
    wanted = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    wanted.SessionExpiryInterval, wanted.ReceiveMaximum, wanted.MaximumPacketSize = 60, 200, 4352
    names = b"\x00\x04MQTT"
    raw = packets.connect("me", 30, five=True, **said)
    assert raw[2:12] == names + b"\x05\x00\x00\x1e"
    length = raw[12]
    found = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    found.unpack(raw[12:])  # type: ignore[no-untyped-call]
    assert found.json() == wanted.json()  # type: ignore[no-untyped-call]
    assert raw[13 + length :] == b"\x00\x02me"
    assert packets.connect("me", 30, five=False, **said) == b"\x10\x0e" + names + b"\x04\x00\x00\x1e\x00\x02me"
    assert packets.subscribe(1, ["a/#"], five=False) == b"\x82\x08\x00\x01\x00\x03a/#\x01"
    assert packets.subscribe(1, ["a/#"], five=True) == b"\x82\x09\x00\x01\x00\x00\x03a/#\x11"


@pytest.mark.parametrize(
    ("raw", "what"),
    [
        (b"\x32\x01\x00", "without a topic"),
        (b"\x32\x03\x00\x01a", "without a packet identifier"),
        (b"\x32\x05\x00\x01a\x00\x00", "without a packet identifier"),
        (b"\x34\x05\x00\x01a\x00\x01", "QoS"),
        (b"\x30\x03\x00\x09a", "shorter"),
        (b"\x30\xff\xff\xff\xff\x01", "four bytes"),
    ],
)
def test_what_no_broker_may_send_is_named(raw: bytes, what: str) -> None:
    with pytest.raises(Malformed, match=what):
        packets.split(raw, five=False)


def test_what_a_broker_says_to_a_connection() -> None:
    let_in = packets.connack(b"\x01\x00\x06\x21\x00\x03\x13\x00\x0a", five=True)
    assert let_in == ("", True, 3, 10)
    assert "Not authorized" in packets.connack(b"\x00\x87\x00", five=True).refusal
    assert "Not authorized" in packets.connack(b"\x00\x05", five=False).refusal
    assert packets.suback(b"\x00\x01\x00\x01\x87", five=True) == b"\x01\x87"
    assert packets.reason_text(packets.DISCONNECT, 0x8E) == "Session taken over"
    assert packets.reason_text(packets.DISCONNECT, 0x7F) == "reason 0x7f"
