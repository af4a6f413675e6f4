"""MQTT 3.1.1 packets, without I/O: what a meter sends, and a push decoder for what a broker sends.

Source: OASIS Standard "MQTT Version 3.1.1" (29 October 2014); clauses stand in [brackets]. QoS 0 and 1; the session is
always persistent (clean session 0) [3.1.2.4]. Topics and payloads are bytes (a str is encoded as UTF-8).

Nothing here grows with what a peer sends: the decoder keeps at most `max_packet` bytes of one packet body and skips the
rest, keeping the packet identifier, so that an oversize message can still be acknowledged.

Every failure is an `MqttError` whose `reason` is one of these codes:

    refused_protocol  refused_identifier  refused_unavailable  refused_credentials  refused_authorization  refused_other
                        the broker's answer to CONNECT [3.2.2.3]
    refused_topic       the broker's answer to SUBSCRIBE was "failure" [3.9.3]
    malformed           the peer sent bytes that are no MQTT packet: length, flags, QoS 3, packet identifier 0, …
    unexpected          a well-formed packet that a broker must not send to us in this state
    timeout             the link could not be opened, or CONNACK did not arrive, in time
    no_reply            an acknowledgement did not arrive in time: the link is given up
    half_open           nothing was heard for 1.25 keep-alives although a ping was due: the link is given up
    closed              the peer ended the link, or `close()` did
    tls                 the TLS session failed: certificate, name, date or alert
    io                  any other socket error; `detail` is its errno
    no_memory           the heap had no room for a packet or a TLS session
    not_connected       the call needs an open link
    connected           `connect()` on an open link
"""

try:
    from micropython import const
except ImportError:  # CPython

    def const(value):
        return value


CONNECT = const(1)
CONNACK = const(2)
PUBLISH = const(3)
PUBACK = const(4)
SUBSCRIBE = const(8)
SUBACK = const(9)
PINGREQ = const(12)
PINGRESP = const(13)
DISCONNECT = const(14)

PINGREQ_PACKET = b"\xc0\x00"
DISCONNECT_PACKET = b"\xe0\x00"
CONNACK_SIZE = const(4)  # bytes on the wire, always [3.2.1]

# Packets with a fixed body: kind -> body length. PUBLISH is the only other kind that a broker sends to an open session.
_BODY_SIZE = {PUBACK: 2, SUBACK: 3, PINGRESP: 0}

_REFUSALS = (
    "refused_protocol",
    "refused_identifier",
    "refused_unavailable",
    "refused_credentials",
    "refused_authorization",
)

_HEAD = const(0)  # decoder states: first byte, remaining length, body
_LENGTH = const(1)
_BODY = const(2)

MIN_MAX_PACKET = const(16)


class MqttError(OSError):
    """`reason`: a code of the module docstring. `detail`: errno or CONNACK code, 0 if none.
    `packet_id`: of the QoS 1 message that stays unacknowledged, 0 if none; pass it to `publish(resend_id=…)`."""

    def __init__(self, reason, detail=0, packet_id=0):
        super().__init__(reason)
        self.reason = reason
        self.detail = detail
        self.packet_id = packet_id


def to_bytes(text):
    """str or bytes-like -> bytes-like; str as UTF-8."""
    return text.encode() if isinstance(text, str) else text


def _open_packet(first, body_size):
    """A bytearray that holds fixed header and room for the body; and the offset of the body [2.2]."""
    size_bytes = 1
    rest = body_size >> 7
    while rest:
        size_bytes += 1
        rest >>= 7
    if size_bytes > 4:
        raise ValueError("MQTT packet body of %d bytes: at most 268435455" % body_size)
    packet = bytearray(1 + size_bytes + body_size)
    packet[0] = first
    rest = body_size
    for at in range(1, 1 + size_bytes):
        packet[at] = rest & 0x7F | (0x80 if rest > 0x7F else 0)
        rest >>= 7
    return packet, 1 + size_bytes


def _put_u16(packet, at, value):
    packet[at] = value >> 8
    packet[at + 1] = value & 0xFF
    return at + 2


def _put_string(packet, at, data):
    at = _put_u16(packet, at, len(data))
    packet[at : at + len(data)] = data
    return at + len(data)


def _check_string(data, name):
    if len(data) > 65535:
        raise ValueError("MQTT %s of %d bytes: at most 65535" % (name, len(data)))
    return data


def check_topic(topic, is_filter=False):
    """The topic as bytes; ValueError if it is empty, too long, or has wildcards where it must not [4.7]."""
    topic = _check_string(to_bytes(topic), "topic")
    if not topic:
        raise ValueError("MQTT topic is empty: at least one character is needed")
    if not is_filter and (b"+" in topic or b"#" in topic):
        raise ValueError("MQTT topic %r has a wildcard: only a subscription may have one" % topic)
    return topic


def encode_connect(client_id, keepalive_s, user=None, password=None, will=None):
    """CONNECT of a persistent session [3.1]. `will`: (topic, payload, retain, qos) or None; a password needs a user."""
    client_id = _check_string(to_bytes(client_id), "client identifier")
    if not client_id:
        raise ValueError("MQTT client identifier is empty: a persistent session needs one")
    if not 0 < keepalive_s < 65536:
        raise ValueError("MQTT keep-alive of %d s: 1 to 65535" % keepalive_s)
    if password is not None and user is None:
        raise ValueError("MQTT password without user: 3.1.1 allows it with a user only")
    flags = 0
    fields = [client_id]
    if will is not None:
        topic, payload, retain, qos = will
        if qos not in (0, 1):
            raise ValueError("MQTT will QoS %d: 0 or 1" % qos)
        flags |= 0x04 | qos << 3 | (0x20 if retain else 0)
        fields.append(check_topic(topic))
        fields.append(_check_string(to_bytes(payload), "will"))
    if user is not None:
        flags |= 0x80
        fields.append(_check_string(to_bytes(user), "user"))
    if password is not None:
        flags |= 0x40
        fields.append(_check_string(to_bytes(password), "password"))
    packet, at = _open_packet(CONNECT << 4, 10 + sum([2 + len(field) for field in fields]))
    at = _put_string(packet, at, b"MQTT")
    packet[at] = 4  # protocol level of 3.1.1 [3.1.2.2]
    packet[at + 1] = flags
    at = _put_u16(packet, at + 2, keepalive_s)
    for field in fields:
        at = _put_string(packet, at, field)
    return packet


def encode_publish(topic, payload, qos=0, retain=False, dup=False, packet_id=0):
    """PUBLISH [3.3]. QoS 1 needs a packet identifier of 1 to 65535, QoS 0 has none."""
    topic = check_topic(topic)
    payload = to_bytes(payload)
    if qos not in (0, 1):
        raise ValueError("MQTT QoS %d: 0 or 1" % qos)
    if (0 < packet_id < 65536) != (qos == 1):
        raise ValueError("MQTT packet identifier %d with QoS %d: 1 to 65535 with QoS 1 alone" % (packet_id, qos))
    first = PUBLISH << 4 | (8 if dup else 0) | qos << 1 | (1 if retain else 0)
    packet, at = _open_packet(first, 2 + len(topic) + 2 * qos + len(payload))
    at = _put_string(packet, at, topic)
    if qos:
        at = _put_u16(packet, at, packet_id)
    packet[at : at + len(payload)] = payload
    return packet


def encode_subscribe(packet_id, topic_filter, qos):
    """SUBSCRIBE to one topic filter [3.8]; the answer is a SUBACK of three bytes."""
    topic_filter = check_topic(topic_filter, True)
    if qos not in (0, 1):
        raise ValueError("MQTT QoS %d: 0 or 1" % qos)
    packet, at = _open_packet(SUBSCRIBE << 4 | 2, 5 + len(topic_filter))
    at = _put_string(packet, _put_u16(packet, at, packet_id), topic_filter)
    packet[at] = qos
    return packet


def encode_puback(packet_id):
    """PUBACK [3.4]."""
    return bytes((PUBACK << 4, 2, packet_id >> 8, packet_id & 0xFF))


def parse_connack(packet):
    """CONNACK, whole [3.2] -> session_present. Raises refused_… (detail = return code), unexpected, malformed."""
    if packet[0] != CONNACK << 4:
        raise MqttError("unexpected")
    if packet[1] != 2 or packet[2] > 1:
        raise MqttError("malformed")
    code = packet[3]
    if code:
        raise MqttError(_REFUSALS[code - 1] if code <= len(_REFUSALS) else "refused_other", code)
    return packet[2] == 1


class Decoder:
    """Cuts a byte stream into packets, one at a time, in one buffer of `max_packet` bytes.

    `push(data, at, end)` takes data[at:end] up to the end of the next packet and returns where it stopped; when `ready`
    is then true the fields describe that packet until the next push. The header is judged as soon as it is there, so a
    wrong one is refused before its body is awaited. Raises MqttError malformed or unexpected; the stream is then lost.

    Fields: `kind`, `packet_id` (0 if it has none), `qos`, `retained`, `again` (DUP), `code` (SUBACK), `oversize`.
    """

    def __init__(self, max_packet):
        if max_packet < MIN_MAX_PACKET:
            raise ValueError("max_packet of %d bytes: at least %d" % (max_packet, MIN_MAX_PACKET))
        self._room = max_packet
        self._body = memoryview(bytearray(max_packet))
        self.reset()

    def reset(self):
        """Forgets a packet that has begun; for a new link."""
        self.ready = False
        self._state = _HEAD
        self.kind = self._flags = 0
        self._size = self._shift = self._have = 0
        self.packet_id = self.qos = self.code = 0
        self.retained = self.again = self.oversize = False

    def push(self, data, at, end):
        if self.ready:
            self.reset()
        while at < end and not self.ready:
            if self._state == _BODY:
                take = min(end - at, self._size - self._have)
                self._keep(data, at, take)
                at += take
                if self._have == self._size:
                    self._finish()
                continue
            byte = data[at]
            at += 1
            if self._state == _HEAD:
                self._begin(byte)
            else:
                self._size |= (byte & 0x7F) << self._shift
                self._shift += 7
                if not byte & 0x80:
                    self._measure()
                elif self._shift > 21:
                    raise MqttError("malformed")  # a fifth length byte [2.2.3]
        return at

    def message(self):
        """(topic, payload) of a PUBLISH that is ready and not oversize, as new bytes."""
        topic_end = 2 + self._topic_size()
        payload_at = topic_end + 2 * self.qos
        return bytes(self._body[2:topic_end]), bytes(self._body[payload_at : self._size])

    def _begin(self, byte):
        self.kind = byte >> 4
        self._flags = byte & 0x0F
        if self.kind == PUBLISH:
            self.qos = byte >> 1 & 3
            self.retained = bool(byte & 1)
            self.again = bool(byte & 8)
            if self.qos == 3:
                raise MqttError("malformed")
            if self.qos == 2:
                raise MqttError("unexpected")  # no subscription of ours grants it
        elif self.kind not in _BODY_SIZE:
            raise MqttError("unexpected")
        elif self._flags:
            raise MqttError("malformed")
        self._state = _LENGTH

    def _measure(self):
        """The remaining length is known: judge it."""
        if self.kind == PUBLISH:
            if self._size < 3 + 2 * self.qos:  # length prefix, one character, identifier
                raise MqttError("malformed")
            self.oversize = self._size > self._room
        elif self._size != _BODY_SIZE[self.kind]:
            raise MqttError("malformed")
        self._state = _BODY
        if self._size == 0:
            self._finish()

    def _topic_size(self):
        return self._body[0] << 8 | self._body[1]

    def _keep(self, data, at, take):
        """Body bytes data[at:at+take] came: store what fits, and pick the identifier out of what does not."""
        have = self._have
        fits = min(take, self._room - have)
        if fits > 0:
            self._body[have : have + fits] = data[at : at + fits]
        self._have = have + take
        if self.oversize and self.qos and self._have > 2:
            id_at = 2 + self._topic_size()
            for place in (id_at, id_at + 1):
                if have <= place < self._have:
                    self.packet_id = self.packet_id << 8 & 0xFFFF | data[at + place - have]

    def _finish(self):
        body = self._body
        if self.kind == PUBLISH:
            topic_size = self._topic_size()
            if topic_size == 0 or 2 + topic_size + 2 * self.qos > self._size:
                raise MqttError("malformed")
            if self.qos and not self.oversize:
                self.packet_id = body[2 + topic_size] << 8 | body[3 + topic_size]
            if self.qos and not self.packet_id:
                raise MqttError("malformed")  # identifier 0 [2.3.1]
        elif self._size:
            self.packet_id = body[0] << 8 | body[1]
            if self.kind == SUBACK:
                self.code = body[2]
        self.ready = True
