"""Packets of MQTT 5 and 3.1.1 (OASIS), as far as a client of QoS 1 needs them: bytes in, bytes out, no I/O.

A client library takes longer over one packet than the whole head end over one record, so these are made and read here.
Sections are those of the standard of version 5.
"""

from collections.abc import Iterable
from struct import Struct
from typing import NamedTuple

from paho.mqtt.client import convert_connack_rc_to_reason_code
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

CONNACK, PUBLISH, PUBACK, SUBACK, PINGRESP, DISCONNECT = 2, 3, 4, 9, 13, 14  # 2.1.2
FAILURE = 0x80  # reasons from here on (2.4)

PING = b"\xc0\x00"
FAREWELL = b"\xe0\x00"

_RETAINED_TO_NEW = 0x10  # 3.8.3.1, retain handling 1: retained messages come where the subscription is new
_U16 = Struct(">H").unpack_from
_ACK = Struct(">HH").pack
_EXPIRY = Struct(">BBI").pack
_LENGTHS = [bytes([one]) for one in range(128)]


class Malformed(Exception):
    """What came is no packet of MQTT, or none that a client may be sent."""


class Publish(NamedTuple):
    """A message (3.3). `mid`: its packet identifier, 0 at QoS 0, which nobody acknowledges."""

    topic: str  # what is no UTF-8 in it is replaced
    payload: bytes
    mid: int


class Other(NamedTuple):
    """Any other packet; `body`: what follows the fixed header."""

    kind: int
    body: bytes


class Connected(NamedTuple):
    """CONNACK (3.2). `refusal`: why not, or "" · `receive_maximum`, `keepalive_s`: None where it does not say."""

    refusal: str
    session_present: bool
    receive_maximum: int | None
    keepalive_s: int | None


# --- made -------------------------------------------------------------------------------------------------------------


def connect(
    client_id: str, keepalive_s: int, *, five: bool, session_expiry_s: int, receive_maximum: int, max_packet: int
) -> bytes:
    """CONNECT (3.1) to a session that lasts. 3.1.1 knows none of the last three."""
    head = b"\x00\x04MQTT" + (b"\x05\x00" if five else b"\x04\x00") + keepalive_s.to_bytes(2, "big")
    if five:  # 3.1.2.11
        said = b"\x11" + session_expiry_s.to_bytes(4, "big") + b"\x21" + receive_maximum.to_bytes(2, "big")
        said += b"\x27" + max_packet.to_bytes(4, "big")
        head += _length(len(said)) + said
    return _packet(0x10, head + _text(client_id))


def subscribe(mid: int, filters: Iterable[str], *, five: bool) -> bytes:
    """SUBSCRIBE with QoS 1 (3.8)."""
    how = bytes([1 | _RETAINED_TO_NEW if five else 1])
    return _packet(0x82, mid.to_bytes(2, "big") + b"\x00" * five + b"".join(_text(one) + how for one in filters))


def publish(mid: int, topic: str, payload: bytes, expiry_s: int, *, five: bool) -> bytes:
    """PUBLISH with QoS 1, not retained (3.3). 3.1.1 knows no expiry."""
    said = _EXPIRY(5, 2, expiry_s) if five else b""
    return _packet(0x32, b"".join((_text(topic), mid.to_bytes(2, "big"), said, payload)))


def puback(mid: int) -> bytes:
    """PUBACK of what is taken (3.4)."""
    return _ACK(0x4002, mid)


def _packet(first: int, body: bytes) -> bytes:
    return bytes([first]) + _length(len(body)) + body


def _length(number: int) -> bytes:
    """A variable byte integer (1.5.5)."""
    if number < 128:
        return _LENGTHS[number]
    said = bytearray()
    while number > 127:
        said.append(number & 127 | 128)
        number >>= 7
    said.append(number)
    return bytes(said)


def _text(text: str) -> bytes:
    raw = text.encode()
    return len(raw).to_bytes(2, "big") + raw


# --- read -------------------------------------------------------------------------------------------------------------


def split(data: bytes, *, five: bool) -> tuple[list[Publish | Other], int]:
    """(the packets that are whole in `data`, how many bytes they are); raises Malformed."""
    found: list[Publish | Other] = []
    at, end = 0, len(data)
    while end - at >= 2:
        first, length, start = data[at], data[at + 1], at + 2
        if length > 127:
            known = _number(data, at + 1, end)
            if known is None:
                break
            length, start = known
        stop = start + length
        if stop > end:
            break
        if first >> 4 == PUBLISH:
            found.append(_published(data, first, start, stop, five))
        else:
            found.append(Other(first >> 4, data[start:stop]))
        at = stop
    return found, at


def _published(data: bytes, first: int, start: int, stop: int, five: bool) -> Publish:
    if stop - start < 2:
        raise Malformed("a PUBLISH without a topic")
    at = start + 2 + _U16(data, start)[0]
    topic, mid = data[start + 2 : at], 0
    qos = first >> 1 & 3
    if qos:
        if qos > 1:
            raise Malformed("a PUBLISH of a QoS that was not asked for")
        mid = _U16(data, at)[0] if at + 2 <= stop else 0
        if not mid:
            raise Malformed("a PUBLISH without a packet identifier")
        at += 2
    if five:
        at = _past_properties(data, at, stop)
    if at > stop:
        raise Malformed("a PUBLISH shorter than it says")
    return Publish(topic.decode(errors="replace"), data[at:stop], mid)


def _number(data: bytes, at: int, stop: int) -> tuple[int, int] | None:
    """(a variable byte integer at `at`, where it ends), None where it goes on behind `stop`."""
    number = 0
    for place in range(4):
        if at + place >= stop:
            return None
        number |= (data[at + place] & 127) << 7 * place
        if data[at + place] < 128:
            return number, at + place + 1
    raise Malformed("a length of more than four bytes")


def _past_properties(data: bytes, at: int, stop: int) -> int:
    known = _number(data, at, stop)
    if known is None:
        raise Malformed("properties that do not end")
    return known[0] + known[1]


def connack(body: bytes, *, five: bool) -> Connected:
    """Raises Malformed."""
    if len(body) < 2:
        raise Malformed("a short CONNACK")
    flags, reason = body[0], body[1]
    if not five:
        refusal = str(convert_connack_rc_to_reason_code(reason)) if reason else ""  # type: ignore[arg-type]
        return Connected(refusal, bool(flags & 1), None, None)
    said = Properties(PacketTypes.CONNACK)  # type: ignore[no-untyped-call]
    try:
        said.unpack(body[2:])  # type: ignore[no-untyped-call]
    except Exception as error:
        raise Malformed(f"properties of a CONNACK: {error}") from error
    refusal = reason_text(CONNACK, reason) if reason >= FAILURE else ""
    maximum, keepalive_s = getattr(said, "ReceiveMaximum", None), getattr(said, "ServerKeepAlive", None)
    return Connected(refusal, bool(flags & 1), maximum, keepalive_s)


def suback(body: bytes, *, five: bool) -> bytes:
    """One reason for each filter (3.9); raises Malformed."""
    at = _past_properties(body, 2, len(body)) if five else 2
    if at >= len(body):
        raise Malformed("a short SUBACK")
    return body[at:]


def acknowledged(body: bytes) -> tuple[int, int]:
    """(packet identifier, reason) of a PUBACK; raises Malformed."""
    if len(body) < 2:
        raise Malformed("a short PUBACK")
    return _U16(body)[0], body[2] if len(body) > 2 else 0


def reason_text(kind: int, reason: int) -> str:
    """A reason (2.4) in the words of the standard."""
    try:
        return str(ReasonCode(kind, identifier=reason))
    except (AssertionError, KeyError):
        return f"reason 0x{reason:02x}"
