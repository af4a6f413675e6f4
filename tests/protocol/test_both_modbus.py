"""Modbus PDUs, RTU framing and MBAP framing, on both interpreters; on MicroPython also: nothing is allocated."""

import sys

from meterlink import modbus, modbus_tcp
from meterlink.modbus import RtuReceiver, RtuServer, ServerPdu, crc16, request_length, silences_us

MICROPYTHON = sys.implementation.name == "micropython"
if MICROPYTHON:
    from micropython import heap_lock, heap_unlock


class Space(modbus.RegisterSpace):
    """Holding registers 0..199, writable but for 100..109; input registers 0..9; file 1, records 0..999."""

    def __init__(self):
        self.holding = bytearray(400)
        self.objects = {0: b"Vendor", 1: b"Code", 2: b"1.0", 4: b"Name"}

    def read(self, address, count, out, offset, input_registers):
        if address + count > (10 if input_registers else 200):
            return modbus.ILLEGAL_ADDRESS
        for i in range(count):
            if input_registers:
                out[offset] = 0x80
                out[offset + 1] = address + i
            else:
                out[offset] = self.holding[2 * (address + i)]
                out[offset + 1] = self.holding[2 * (address + i) + 1]
            offset += 2
        return 0

    def write(self, address, count, data):
        if address + count > 200 or (address < 110 and address + count > 100):
            return modbus.ILLEGAL_ADDRESS
        for i in range(2 * count):
            self.holding[2 * address + i] = data[i]
        return 0

    def read_file(self, file, record, registers, out, offset):
        if file != 1 or record + registers > 1000:
            return modbus.ILLEGAL_ADDRESS
        for i in range(registers):
            out[offset + 2 * i] = record + i >> 8
            out[offset + 2 * i + 1] = record + i & 0xFF
        return 0

    def write_file(self, file, record, data):
        if file != 1:
            return modbus.ILLEGAL_ADDRESS
        self.written = (record, bytes(data))
        return modbus.DEVICE_BUSY if record == 99 else 0

    def identification(self, object_id):
        return self.objects.get(object_id)


def ask(request, space=None):
    """The reply PDU to a request PDU."""
    out = memoryview(bytearray(253))
    length = ServerPdu(space or Space()).handle(memoryview(bytes(request)), len(request), out)
    return bytes(out[:length])


def frame(*data):
    """Bytes with their CRC."""
    crc = crc16(bytes(data))
    return bytes(data) + bytes((crc & 0xFF, crc >> 8))


def send(server, data):
    for byte in data:
        server.feed(byte)
    length = server.end()
    return bytes(server.reply[:length])


# --- files ------------------------------------------------------------------------------------------------------------


def test_a_file_record_is_written_and_echoed():
    space = Space()
    request = b"\x15\x0b\x06\x00\x01\x27\x0f\x00\x02\x01\x02\x03\x04"
    assert ask(request, space) == request
    assert space.written == (9999, b"\x01\x02\x03\x04")
    longest = b"\x15\xfb\x06\x00\x01\x00\x07\x00\x7a" + bytes(range(244))
    assert ask(longest, space) == longest
    assert space.written == (7, bytes(range(244)))


def test_a_file_record_that_is_refused():
    head = b"\x15\x0b\x06"
    for request, code in (
        (head + b"\x00\x02\x00\x01\x00\x02abcd", 2),  # the space's own answer
        (head + b"\x00\x01\x00\x63\x00\x02abcd", 6),
        (head + b"\x00\x00\x00\x01\x00\x02abcd", 2),  # there is no file 0
        (head + b"\x00\x01\x27\x10\x00\x02abcd", 2),  # records go up to 9999
        (head + b"\x00\x01\x00\x01\x00\x01abcd", 3),  # the length of the record is not that of the request
        (head + b"\x00\x01\x00\x01\x00\x03abcd", 3),
        (b"\x15\x0b\x05\x00\x01\x00\x01\x00\x02abcd", 3),  # another reference type
        (b"\x15\x07\x06\x00\x01\x00\x01\x00\x00", 3),  # no data
        (b"\x15\x00", 3),
        (b"\x15", 3),
    ):
        assert ask(request) == bytes((0x95, code)), request


# --- register functions -----------------------------------------------------------------------------------------------


def test_reads_holding_and_input_registers():
    space = Space()
    space.holding[4:8] = b"\x12\x34\xab\xcd"
    assert ask(b"\x03\x00\x02\x00\x02", space) == b"\x03\x04\x12\x34\xab\xcd"
    assert ask(b"\x04\x00\x07\x00\x03", space) == b"\x04\x06\x80\x07\x80\x08\x80\x09"
    assert ask(b"\x03\x00\x00\x00\x7d") == b"\x03\xfa" + bytes(250)


def test_refuses_reads_out_of_range():
    for function in (3, 4):
        error = function | 0x80
        for count in (0, 126, 0x8001, 0xFFFF):
            assert ask((function, 0, 0, count >> 8, count & 0xFF)) == bytes((error, 3)), count
        assert ask((function, 0xFF, 0xFF, 0, 2)) == bytes((error, 2))
        assert ask((function, 0xFF, 0xFF, 0, 1)) == bytes((error, 2))
        for request in (bytes((function,)), bytes((function, 0, 0, 0)), bytes((function, 0, 0, 0, 1, 0))):
            assert ask(request) == bytes((error, 3)), request


def test_writes_registers():
    space = Space()
    assert ask(b"\x06\x00\x03\xbe\xef", space) == b"\x06\x00\x03\xbe\xef"
    assert ask(b"\x10\x00\x04\x00\x02\x04\x01\x02\x03\x04", space) == b"\x10\x00\x04\x00\x02"
    assert space.holding[6:12] == b"\xbe\xef\x01\x02\x03\x04"
    assert ask(b"\x10\x00\x00\x00\x7b\xf6" + b"\x55" * 246, Space()) == b"\x90\x02"  # touches 100..109
    space = Space()
    assert ask(b"\x10\x00\x6e\x00\x5a\xb4" + b"\x55" * 180, space) == b"\x10\x00\x6e\x00\x5a"
    assert space.holding == bytes(220) + b"\x55" * 180


def test_refuses_wrong_writes_and_changes_nothing():
    space = Space()
    refused = (
        (b"\x06\x00\x64\x00\x01", b"\x86\x02"),
        (b"\x06\x00\x64\x00", b"\x86\x03"),
        (b"\x10\x00\x00\x00\x00\x00", b"\x90\x03"),
        (b"\x10\x00\x00\x00\x7c\xf8" + b"\x01" * 248, b"\x90\x03"),  # 124 registers
        (b"\x10\x00\x00\x00\x02\x02\x01\x01", b"\x90\x03"),  # byte count is not twice the quantity
        (b"\x10\x00\x00\x00\x01\x02\x01", b"\x90\x03"),  # data cut short
        (b"\x10\x00\x00\x00\x01\x02\x01\x01\x01", b"\x90\x03"),
        (b"\x10\x00\x00", b"\x90\x03"),
        (b"\x10\xff\xff\x00\x02\x04\x01\x01\x01\x01", b"\x90\x02"),
        (b"\x10\x00\x63\x00\x02\x04\x01\x01\x01\x01", b"\x90\x02"),
    )
    for request, reply in refused:
        assert ask(request, space) == reply, request
    assert space.holding == bytes(400)


def test_refuses_what_is_not_served():
    for function in range(1, 128):
        if function not in (3, 4, 6, 16, 20, 21, 43):
            assert ask((function, 0, 0, 0, 1)) == bytes((function | 0x80, 1)), function


def test_an_empty_space_has_no_addresses():
    for request in (b"\x03\x00\x00\x00\x01", b"\x06\x00\x00\x00\x01", b"\x14\x07\x06\x00\x01\x00\x00\x00\x01"):
        assert ask(request, modbus.RegisterSpace()) == bytes((request[0] | 0x80, 2))
    assert ask(b"\x2b\x0e\x04\x00", modbus.RegisterSpace()) == b"\xab\x02"
    assert ask(b"\x2b\x0e\x01\x00", modbus.RegisterSpace()) == b"\x2b\x0e\x01\x82\x00\x00\x00"


# --- file records -----------------------------------------------------------------------------------------------------


def part(file, record, registers, kind=6):
    return bytes((kind, file >> 8, file & 255, record >> 8, record & 255, registers >> 8, registers & 255))


def read_file(*parts):
    body = b"".join(parts)
    return ask(bytes((20, len(body))) + body)


def test_reads_file_records():
    assert read_file(part(1, 0x102, 2)) == b"\x14\x06\x05\x06\x01\x02\x01\x03"
    assert read_file(part(1, 1, 1), part(1, 7, 2)) == b"\x14\x0a\x03\x06\x00\x01\x05\x06\x00\x07\x00\x08"
    assert len(read_file(part(1, 0, 124))) == 252
    assert len(read_file(part(1, 0, 60), part(1, 60, 63))) == 2 + 2 + 120 + 2 + 126
    many = read_file(*[part(1, i, 1) for i in range(35)])
    assert many[:2] == b"\x14\x8c" and len(many) == 142


def test_refuses_wrong_file_requests():
    assert read_file(part(1, 0, 125)) == b"\x94\x03"  # would be 254 bytes
    assert read_file(part(1, 0, 0x8000)) == b"\x94\x03"
    assert read_file(part(1, 0, 60), part(1, 60, 64)) == b"\x94\x03"
    assert read_file(part(1, 0, 0)) == b"\x94\x03"
    assert read_file(part(0, 0, 1)) == b"\x94\x02"
    assert read_file(part(2, 0, 1)) == b"\x94\x02"
    assert read_file(part(1, 10000, 1)) == b"\x94\x02"
    assert read_file(part(1, 999, 2)) == b"\x94\x02"
    assert read_file(part(1, 0, 1, kind=5)) == b"\x94\x02"
    assert read_file() == b"\x94\x03"
    assert read_file(part(1, 0, 1)[:6]) == b"\x94\x03"
    assert read_file(part(1, 0, 1), b"\x06") == b"\x94\x03"
    assert ask(b"\x14\x07\x06\x00\x01\x00\x00\x00") == b"\x94\x03"
    assert ask(b"\x14") == b"\x94\x03"
    body = part(1, 0, 1) * 36  # 252 bytes cannot stand in a PDU
    assert ask(bytes((20, 252)) + body) == b"\x94\x03"


# --- identification ---------------------------------------------------------------------------------------------------


def test_identifies():
    basic = b"\x2b\x0e\x01\x82\x00\x00\x03\x00\x06Vendor\x01\x04Code\x02\x031.0"
    assert ask(b"\x2b\x0e\x01\x00") == basic
    assert ask(b"\x2b\x0e\x01\x05") == basic  # an object that the stream does not have starts it anew
    assert ask(b"\x2b\x0e\x01\x04") == basic
    assert ask(b"\x2b\x0e\x01\x02") == b"\x2b\x0e\x01\x82\x00\x00\x01\x02\x031.0"
    regular = b"\x2b\x0e\x02\x82\x00\x00\x04" + basic[7:] + b"\x04\x04Name"
    assert ask(b"\x2b\x0e\x02\x00") == regular
    assert ask(b"\x2b\x0e\x02\x03") == regular
    assert ask(b"\x2b\x0e\x03\x00") == b"\x2b\x0e\x03" + regular[3:]
    assert ask(b"\x2b\x0e\x04\x04") == b"\x2b\x0e\x04\x82\x00\x00\x01\x04\x04Name"


def test_refuses_wrong_identification():
    assert ask(b"\x2b\x0e\x04\x03") == b"\xab\x02"
    assert ask(b"\x2b\x0e\x04\x80") == b"\xab\x02"
    assert ask(b"\x2b\x0e\x00\x00") == b"\xab\x03"
    assert ask(b"\x2b\x0e\x05\x00") == b"\xab\x03"
    assert ask(b"\x2b\x0e\x01") == b"\xab\x03"
    assert ask(b"\x2b\x0e\x01\x00\x00") == b"\xab\x03"
    assert ask(b"\x2b\x0d\x01\x00") == b"\xab\x01"  # another MEI type
    assert ask(b"\x2b\x0d" + bytes(20)) == b"\xab\x01"
    assert ask(b"\x2b") == b"\xab\x03"


def test_identification_continues_when_it_does_not_fit():
    space = Space()
    space.objects = {0: b"a" * 100, 1: b"b" * 142, 2: b"c" * 3, 3: b"d" * 244, 5: b"e"}
    seen = {}
    first = 0
    rounds = 0
    while True:
        reply = ask((43, 14, 2, first), space)
        assert len(reply) <= 253
        rounds += 1
        at = 7
        for _ in range(reply[6]):
            seen[reply[at]] = reply[at + 2 : at + 2 + reply[at + 1]]
            at += 2 + reply[at + 1]
        assert at == len(reply)
        if reply[4] == 0:
            assert reply[5] == 0
            break
        assert reply[4] == 0xFF
        first = reply[5]
    assert seen == space.objects
    assert rounds == 4
    space.objects[0] = b"x" * 245  # fits no reply
    assert ask(b"\x2b\x0e\x01\x00", space) == b"\xab\x04"


# --- RTU --------------------------------------------------------------------------------------------------------------


def test_crc():
    assert crc16(b"123456789") == 0x4B37  # the check value of CRC-16/MODBUS
    assert crc16(b"\x02\x07") == 0x1241  # SL 2.5.1.2's example: sent as 41 12
    assert crc16(b"") == 0xFFFF
    assert crc16(b"xx123456789yy", 9, 2) == 0x4B37
    assert crc16(b"xx123456789", start=2) == 0x4B37
    assert crc16(memoryview(b"123456789")) == 0x4B37
    assert crc16(frame(1, 3, 0, 0, 0, 1)) == 0


def test_silences():
    assert silences_us(9600) == (1719, 4011)
    assert silences_us(19200) == (860, 2006)
    assert silences_us(1200) == (13750, 32084)
    for baud in (19201, 38400, 115200):
        assert silences_us(baud) == (750, 1750)


def test_request_lengths():
    whole = (
        b"\x03\x00\x00\x00\x01",
        b"\x04\x00\x00\x00\x01",
        b"\x06\x00\x00\x00\x01",
        b"\x10\x00\x00\x00\x02\x04\x00\x00\x00\x00",
        b"\x14\x07" + part(1, 0, 1),
        b"\x2b\x0e\x01\x00",
    )
    for pdu in whole:
        for n in range(1, len(pdu) + 1):
            assert request_length(pdu, n) in (0, len(pdu)), (pdu, n)
        assert request_length(pdu, len(pdu)) == len(pdu)
    assert request_length(b"\x63", 1) == 0


def test_receiver_frames_by_silence():
    receiver = RtuReceiver(bytearray(256))
    assert receiver.silence() == 0
    good = frame(9, 3, 0, 0, 0, 1)
    for byte in good:
        assert not receiver.intact()
        receiver.feed(byte)
    assert receiver.intact()
    assert receiver.silence() == 8
    assert receiver.buffer[:8] == good
    assert receiver.silence() == 0
    for bad in (good[:-1], b"\x00" + good, good[:3], b"\x00", good + good):
        for byte in bad:
            receiver.feed(byte)
        assert receiver.silence() == 0, bad
    assert (receiver.frames, receiver.bad_frames, receiver.overruns) == (1, 5, 0)
    longest = frame(*range(254))
    assert len(longest) == 256
    for byte in longest:
        receiver.feed(byte)
    assert receiver.silence() == 256
    for byte in longest + b"\x00":  # one too many, though the first 256 are right
        receiver.feed(byte)
    assert not receiver.intact()
    assert receiver.silence() == 0
    assert (receiver.frames, receiver.bad_frames, receiver.overruns) == (2, 6, 1)
    for byte in good:
        receiver.feed(byte)
    assert receiver.silence() == 8


def test_counters_wrap():
    receiver = RtuReceiver(bytearray(256))
    receiver.bad_frames = 0xFFFF
    receiver.feed(1)
    assert receiver.silence() == 0
    assert receiver.bad_frames == 0


def test_server_answers_only_what_is_its_own():
    space = Space()
    server = RtuServer(ServerPdu(space), 17)
    assert send(server, frame(17, 3, 0, 0, 0, 1)) == frame(17, 3, 2, 0, 0)
    assert send(server, frame(17, 7)) == frame(17, 0x87, 1)
    assert send(server, frame(18, 3, 0, 0, 0, 1)) == b""
    assert send(server, frame(18, 6, 0, 0, 0, 1)) == b""
    assert send(server, frame(18, 3, 4, 1, 2, 3, 4)) == b""  # another slave's reply
    assert send(server, frame(17, 0x83, 2)) == b""
    assert send(server, frame(17, 3, 0, 0, 0, 1)[:-1]) == b""
    assert send(server, frame(17, 3, 0, 0, 0, 1)[:-1] + b"\x00") == b""
    assert space.holding == bytes(400)
    server.set_address(18)
    assert send(server, frame(17, 3, 0, 0, 0, 1)) == b""
    assert send(server, frame(18, 3, 0, 0, 0, 1)) == frame(18, 3, 2, 0, 0)


def test_a_request_inside_another_slaves_reply_is_not_one():
    space = Space()
    server = RtuServer(ServerPdu(space), 17)
    inner = frame(17, 6, 0, 0, 0x55, 0x55)
    assert send(server, frame(18, 3, 8, *inner)) == b""
    # Worse: the other slave's data is chosen so that its reply, cut before the inner request, has a right CRC.
    head = bytes((18, 3, 12))
    tail = crc16(head)
    crafted = head + bytes((tail & 0xFF, tail >> 8)) + inner
    for byte in crafted:
        server.feed(byte)
        assert not server.whole()
    assert server.end() == 0
    assert space.holding == bytes(400)


def test_broadcast_is_carried_out_and_not_answered():
    space = Space()
    server = RtuServer(ServerPdu(space), 17)
    assert send(server, frame(0, 6, 0, 5, 0xBE, 0xEF)) == b""
    assert send(server, frame(0, 16, 0, 6, 0, 1, 2, 0xCA, 0xFE)) == b""
    assert space.holding[10:14] == b"\xbe\xef\xca\xfe"
    assert send(server, frame(0, 3, 0, 0, 0, 1)) == b""
    assert send(server, frame(0, 6, 0, 100, 0, 0)) == b""
    assert send(server, frame(0, 7)) == b""


def test_whole_requests_are_known_by_their_length():
    server = RtuServer(ServerPdu(Space()), 17)
    for request in (
        frame(17, 3, 0, 0, 0, 1),
        frame(17, 16, 0, 0, 0, 2, 4, 1, 2, 3, 4),
        frame(17, 20, 7, *part(1, 0, 1)),
        frame(17, 43, 14, 1, 0),
        frame(0, 6, 0, 0, 0, 1),
    ):
        for byte in request:
            assert not server.whole()
            server.feed(byte)
        assert server.whole()
        server.feed(0)
        assert not server.whole()
        server.end()
    for other in (frame(18, 3, 0, 0, 0, 1), frame(17, 3, 0, 0, 0, 1, 0), frame(17, 99, 1), frame(17, 3)):
        for byte in other:
            server.feed(byte)
            assert not server.whole()
        server.end()


def test_zeros_behind_a_request_are_no_part_of_it():
    server = RtuServer(ServerPdu(Space()), 17)
    request = frame(17, 4, 0, 1, 0, 1)
    for tail in (b"\x00", b"\x00\x00\x00"):
        assert crc16(request + tail) == 0
        assert send(server, request + tail) == frame(17, 4, 2, 0x80, 1)
    assert send(server, request + b"\xff") == b""
    assert send(server, frame(17, 4, 0, 1, 0, 1, 0)) == frame(17, 0x84, 3)


def test_addresses_have_a_range():
    for address in (0, 248, 255, -1):
        try:
            RtuServer(ServerPdu(Space()), address)
        except ValueError as error:
            assert str(error) == "address is {}, expected 1 to 247".format(address)
        else:
            assert False, address


# --- TCP --------------------------------------------------------------------------------------------------------------


def converse(data, address=17, space=None):
    receiver = modbus_tcp.TcpReceiver()
    server = modbus_tcp.TcpServer(ServerPdu(space or Space()), address)
    replies = b""
    for byte in data:
        length = receiver.feed(byte)
        if length:
            replies += bytes(server.reply[: server.handle(receiver, length)])
    return replies


def test_tcp_answers_each_adu():
    one = b"\x12\x34\x00\x00\x00\x06\xff\x04\x00\x01\x00\x01"
    assert converse(one) == b"\x12\x34\x00\x00\x00\x05\xff\x04\x02\x80\x01"
    assert converse(one[:-1]) == b""
    two = b"\x12\x35\x00\x00\x00\x02\x11\x07"
    assert converse(two + one) == b"\x12\x35\x00\x00\x00\x03\x11\x87\x01" + converse(one)
    longest = b"\x00\x01\x00\x00\x00\xfd\x00\x10\x00\x6e\x00\x7b\xf6" + bytes(246)
    assert converse(longest) == b"\x00\x01\x00\x00\x00\x03\x00\x90\x02"
    most = b"\x00\x01\x00\x00\x00\x06\x00\x03\x00\x00\x00\x7d"
    assert converse(most) == b"\x00\x01\x00\x00\x00\xfd\x00\x03\xfa" + bytes(250)


def test_tcp_unit_ids():
    for unit in range(256):
        reply = converse(bytes((0, 9, 0, 0, 0, 6, unit, 4, 0, 1, 0, 1)))
        if unit in (0, 17, 255):
            assert reply == bytes((0, 9, 0, 0, 0, 5, unit, 4, 2, 0x80, 1))
        else:
            assert reply == bytes((0, 9, 0, 0, 0, 3, unit, 0x84, 10))


def test_tcp_wrong_headers_end_the_connection():
    for data, text in (
        (b"\x00\x01\x01\x02\x00\x06\xff", "MBAP protocol id is 258, expected 0"),
        (b"\x00\x01\x00\x00\x00\x01\xff", "MBAP length is 1, expected 2 to 254"),
        (b"\x00\x01\x00\x00\x00\x00\xff", "MBAP length is 0, expected 2 to 254"),
        (b"\x00\x01\x00\x00\x00\xff\xff", "MBAP length is 255, expected 2 to 254"),
        (b"\x00\x01\x00\x00\xff\xff\xff", "MBAP length is 65535, expected 2 to 254"),
    ):
        try:
            converse(data)
        except modbus_tcp.FrameError as error:
            assert str(error) == text
        else:
            assert False, data


# --- memory -----------------------------------------------------------------------------------------------------------


def locked(call):
    """Run call() with MicroPython's heap locked: any allocation raises MemoryError."""
    if not MICROPYTHON:
        return call()
    heap_lock()
    try:
        return call()
    finally:
        heap_unlock()


def test_the_lock_catches_an_allocation():
    if MICROPYTHON:
        try:
            locked(lambda: bytearray(10))
        except MemoryError:
            return
        assert False, "an allocation went through a locked heap"


class Feeder:
    """Feeds frames and keeps what came back in integers, so that the test itself allocates nothing either."""

    def __init__(self, server, frames):
        self.server = server
        self.frames = frames
        self.sizes = [0] * len(frames)

    def __call__(self):
        feed = self.server.feed
        for i in range(len(self.frames)):
            data = self.frames[i]
            for j in range(len(data)):
                feed(data[j])
                self.server.whole()
            self.sizes[i] = self.server.end()


def test_receiving_and_reading_allocate_nothing():
    server = RtuServer(ServerPdu(Space()), 17)
    frames = (
        frame(17, 3, 0, 0, 0, 125),
        frame(17, 4, 0, 0, 0, 10),
        frame(17, 20, 14, *(part(1, 0, 60) + part(1, 300, 60))),
        frame(17, 43, 14, 2, 0),
        frame(17, 3, 0, 0, 0, 126),
        frame(17, 99),
        frame(18, 3, 4, 1, 2, 3, 4),
        b"noise",
        bytes(300),
        frame(17, 6, 0, 100),
    )
    feeder = Feeder(server, frames)
    locked(feeder)
    assert feeder.sizes == [255, 25, 249, 35, 5, 5, 0, 0, 0, 5]
    assert server.receiver.overruns == 1


class TcpFeeder:
    def __init__(self, data):
        self.receiver = modbus_tcp.TcpReceiver()
        self.server = modbus_tcp.TcpServer(ServerPdu(Space()), 17)
        self.data = data
        self.size = 0

    def __call__(self):
        for i in range(len(self.data)):
            length = self.receiver.feed(self.data[i])
            if length:
                self.size += self.server.handle(self.receiver, length)


def test_tcp_allocates_nothing():
    feeder = TcpFeeder(b"\x00\x01\x00\x00\x00\x06\xff\x03\x00\x00\x00\x7d" * 3)
    locked(feeder)
    assert feeder.size == 3 * 259


def test_crc_allocates_nothing():
    data = bytes(range(256))
    assert locked(lambda: crc16(data)) == 0xDE6C
