"""The Modbus codec against pymodbus as the other side, and against anything that may stand on a line."""

import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.framer import FramerRTU, FramerSocket
from pymodbus.pdu import DecodePDU, ExceptionResponse, FileRecord, ModbusPDU, ReadDeviceInformationRequest
from pymodbus.pdu.file_message import ReadFileRecordRequest
from pymodbus.pdu.register_message import (
    ReadHoldingRegistersRequest,
    ReadInputRegistersRequest,
    WriteMultipleRegistersRequest,
    WriteSingleRegisterRequest,
)

from meterlink.modbus import RtuReceiver, RtuServer, ServerPdu, crc16
from meterlink.modbus_tcp import FrameError, TcpReceiver, TcpServer
from tests.protocol.test_both_modbus import Space, frame

ADDRESS = 17
WORD = st.integers(0, 0xFFFF)


def over_rtu(request: ModbusPDU, space: Space) -> ModbusPDU | None:
    server = RtuServer(ServerPdu(space), ADDRESS)
    framer = FramerRTU(DecodePDU(is_server=False))
    data = framer.buildFrame(request)
    for byte in data:
        assert not server.whole()
        server.feed(byte)
    assert server.whole()
    reply = bytes(server.reply[: server.end()])
    used, pdu = framer.handleFrame(reply, ADDRESS, 0)
    assert used == len(reply)
    return pdu


def over_tcp(request: ModbusPDU, space: Space) -> ModbusPDU | None:
    server = TcpServer(ServerPdu(space), ADDRESS)
    receiver = TcpReceiver()
    framer = FramerSocket(DecodePDU(is_server=False))
    request.transaction_id = 0x1234
    data = framer.buildFrame(request)
    lengths = [receiver.feed(byte) for byte in data]
    assert lengths == [0] * (len(data) - 1) + [len(data)]
    reply = bytes(server.reply[: server.handle(receiver, len(data))])
    used, pdu = framer.handleFrame(reply, ADDRESS, 0x1234)
    assert used == len(reply)
    return pdu


@pytest.fixture(params=[over_rtu, over_tcp], scope="module")
def exchange(request: pytest.FixtureRequest) -> Any:
    return request.param


@given(st.data())
def test_registers_as_pymodbus_sees_them(exchange: Any, data: st.DataObject) -> None:
    """Writes and reads of any place and size end as on a plain list of 200 registers; 100..109 are read-only."""
    space = Space()
    model = [0] * 200
    for _ in range(data.draw(st.integers(1, 6))):
        address = data.draw(st.integers(0, 220))
        values = data.draw(st.lists(WORD, min_size=1, max_size=123))
        if data.draw(st.booleans()):
            values = values[:1]
            reply = exchange(WriteSingleRegisterRequest(address=address, registers=values, dev_id=ADDRESS), space)
        else:
            reply = exchange(WriteMultipleRegistersRequest(address=address, registers=values, dev_id=ADDRESS), space)
        touched = set(range(address, address + len(values)))
        if touched <= set(range(200)) - set(range(100, 110)):
            assert not reply.isError()
            assert reply.address == address
            model[address : address + len(values)] = values
        else:
            assert reply.exception_code == 2
    address = data.draw(st.integers(0, 220))
    count = data.draw(st.integers(1, 125))
    reply = exchange(ReadHoldingRegistersRequest(address=address, count=count, dev_id=ADDRESS), space)
    if address + count <= 200:
        assert reply.registers == model[address : address + count]
    else:
        assert reply.exception_code == 2
    reply = exchange(ReadInputRegistersRequest(address=3, count=7, dev_id=ADDRESS), space)
    assert reply.registers == [0x8000 + i for i in range(3, 10)]


@given(st.lists(st.tuples(st.integers(0, 1010), st.integers(1, 124)), min_size=1, max_size=35))
def test_file_records_as_pymodbus_sees_them(exchange: Any, parts: list[tuple[int, int]]) -> None:
    wanted = [FileRecord(file_number=1, record_number=record, record_length=2 * n) for record, n in parts]
    reply = exchange(ReadFileRecordRequest(wanted, dev_id=ADDRESS), Space())
    size = 2
    for record, n in parts:  # the first part that cannot be served decides
        size += 2 + 2 * n
        if size > 253:
            assert reply.exception_code == 3
            return
        if record + n > 1000:
            assert reply.exception_code == 2
            return
    assert [part.record_data for part in reply.records] == [
        b"".join(i.to_bytes(2, "big") for i in range(record, record + n)) for record, n in parts
    ]


@given(st.dictionaries(st.integers(0, 6), st.binary(max_size=244)), st.integers(1, 4), st.integers(0, 255))
def test_identification_as_pymodbus_sees_it(exchange: Any, objects: dict[int, bytes], code: int, first: int) -> None:
    """A stream, followed to its end, brings each object of its category once; single objects come one by one."""
    space = Space()
    space.objects = objects
    seen: dict[int, bytes] = {}
    if code == 4:
        reply = exchange(ReadDeviceInformationRequest(read_code=4, object_id=first, dev_id=ADDRESS), space)
        if first in objects:
            assert reply.information == {first: objects[first]}
        else:
            assert reply.exception_code == 2
        return
    last = 2 if code == 1 else 6
    wanted = {i: value for i, value in objects.items() if i <= last}
    if first in wanted:
        wanted = {i: value for i, value in wanted.items() if i >= first}
    while True:
        reply = exchange(ReadDeviceInformationRequest(read_code=code, object_id=first, dev_id=ADDRESS), space)
        assert (reply.conformity, reply.read_code) == (0x82, code)
        assert reply.number_of_objects == len(reply.information)
        assert not set(reply.information) & set(seen)
        seen |= reply.information
        if not reply.more_follows:
            break
        first = reply.next_object_id
    assert seen == wanted


def test_a_refusal_as_pymodbus_sees_it() -> None:
    """Functions that pymodbus knows and a meter does not have."""
    for function in set(DecodePDU.pdu_table) - {3, 4, 6, 16, 20, 21, 43}:
        out = memoryview(bytearray(253))
        length = ServerPdu(Space()).handle(memoryview(bytes((function, 0, 0, 0, 1))), 5, out)
        refusal = DecodePDU(is_server=False).decode(bytes(out[:length]))
        assert isinstance(refusal, ExceptionResponse)
        assert (refusal.function_code, refusal.exception_code) == (function | 0x80, 1)


@given(st.binary(max_size=300))
def test_crc_is_that_of_pymodbus(data: bytes) -> None:
    assert crc16(data) == int.from_bytes(FramerRTU.compute_CRC(data).to_bytes(2, "big"), "little")
    receiver = RtuReceiver(bytearray(256))
    framed = data + crc16(data).to_bytes(2, "little")
    for byte in framed:
        receiver.feed(byte)
    assert receiver.silence() == (len(framed) if 4 <= len(framed) <= 256 else 0)


# --- anything may come ------------------------------------------------------------------------------------------------

REQUESTS = st.one_of(
    st.builds(lambda a, n: (3, *a.to_bytes(2, "big"), *n.to_bytes(2, "big")), WORD, WORD),
    st.builds(lambda a, n: (4, *a.to_bytes(2, "big"), *n.to_bytes(2, "big")), st.integers(0, 12), st.integers(0, 12)),
    st.builds(lambda a, n: (6, *a.to_bytes(2, "big"), *n.to_bytes(2, "big")), st.integers(0, 220), WORD),
    st.builds(lambda a, d: (16, 0, a, 0, len(d) // 2, len(d), *d), st.integers(0, 220), st.binary(max_size=246)),
    st.builds(lambda r, n: (20, 7, 6, 0, 1, *r.to_bytes(2, "big"), 0, n), st.integers(0, 999), st.integers(0, 125)),
    st.builds(lambda c, o: (43, 14, c, o), st.integers(0, 5), st.integers(0, 7)),
    st.binary(min_size=1, max_size=253).map(tuple),
)


@given(REQUESTS)
def test_any_pdu_has_one_reply(pdu: tuple[int, ...]) -> None:
    """A reply repeats the function, or is an exception with a code that the function may give, and fits a PDU."""
    out = memoryview(bytearray(b"\xee" * 260))
    space = Space()
    length = ServerPdu(space).handle(memoryview(bytes(pdu)), len(pdu), out)
    assert 2 <= length <= 253
    assert bytes(out[253:]) == b"\xee" * 7
    if out[0] != pdu[0] or pdu[0] & 0x80:
        assert (length, out[0]) == (2, pdu[0] | 0x80)
        assert out[1] in (1, 2, 3)
        assert (out[1] == 1) == (pdu[0] not in (3, 4, 6, 16, 20, 43) or (pdu[0] == 43 and pdu[1:2] not in ((), (14,))))
        assert space.holding == bytes(400)


@given(REQUESTS, st.data())
def test_no_reply_to_a_frame_with_flipped_bits(pdu: tuple[int, ...], data: st.DataObject) -> None:
    """Up to three flipped bits, or any burst of sixteen, never pass this CRC: nothing is answered, nothing changes."""
    good = int.from_bytes(frame(ADDRESS, *pdu), "little")  # in the order of the bits on the line
    size = len(pdu) + 3
    if data.draw(st.booleans()):
        places = data.draw(st.sets(st.integers(0, 8 * size - 1), min_size=1, max_size=3))
        flips = sum(1 << place for place in places)
    else:
        flips = data.draw(st.integers(1, 0xFFFF)) << data.draw(st.integers(0, 8 * size - 16))
    space = Space()
    server = RtuServer(ServerPdu(space), ADDRESS)
    for byte in (good ^ flips).to_bytes(size, "little"):
        server.feed(byte)
        assert server.receiver.length < size or not server.whole()
    assert server.end() == 0
    assert space.holding == bytes(400)
    assert (server.receiver.frames, server.receiver.bad_frames) == (0, 1)


LINE = st.lists(
    st.one_of(
        st.binary(max_size=400),
        st.builds(lambda address, pdu: frame(address, *pdu), st.integers(0, 255), REQUESTS),
    ),
    max_size=8,
)


@given(LINE)
def test_only_intact_frames_for_this_slave_are_answered(chunks: list[bytes]) -> None:
    """Whatever stands on the line, the reply is the one that the PDU alone would get; pymodbus checks the CRC."""
    space = Space()
    server = RtuServer(ServerPdu(space), ADDRESS)
    for chunk in chunks:
        for byte in chunk:
            server.feed(byte)
        before = bytes(space.holding)
        reply = bytes(server.reply[: server.end()])
        check = int.from_bytes(chunk[-2:], "big")
        if not 4 <= len(chunk) <= 256 or not FramerRTU.check_CRC(chunk[:-2], check) or chunk[0] not in (0, ADDRESS):
            assert reply == b""
            assert space.holding == before
        elif chunk[0] == 0 or chunk[1] & 0x80:
            assert reply == b""
        else:
            assert reply[0] == ADDRESS
            assert reply[1] & 0x7F == chunk[1]
            assert FramerRTU.check_CRC(reply[:-2], int.from_bytes(reply[-2:], "big"))
    assert len(server.receiver.buffer) == 256


@given(st.lists(st.binary(max_size=600), max_size=6))
def test_any_tcp_stream_ends_in_replies_or_a_named_error(chunks: list[bytes]) -> None:
    server = TcpServer(ServerPdu(Space()), ADDRESS)
    receiver = TcpReceiver()
    try:
        for chunk in chunks:
            for byte in chunk:
                length = receiver.feed(byte)
                if length:
                    assert 8 <= length <= 260
                    assert 9 <= server.handle(receiver, length) <= 260
    except FrameError as error:
        assert str(error).startswith("MBAP ")
    assert len(receiver.buffer) == 260


@given(st.lists(st.tuples(WORD, st.sampled_from([0, ADDRESS, 255, 9]), REQUESTS), max_size=10))
def test_each_adu_of_a_tcp_stream_is_answered(requests: list[tuple[int, int, tuple[int, ...]]]) -> None:
    server = TcpServer(ServerPdu(Space()), ADDRESS)
    receiver = TcpReceiver()
    alone = ServerPdu(Space())
    for transaction, unit, pdu in requests:
        length = 0
        for byte in FramerSocket(DecodePDU(is_server=False)).encode(bytes(pdu), unit, transaction):
            assert length == 0
            length = receiver.feed(byte)
        size = server.handle(receiver, length)
        reply = bytes(server.reply[:size])
        assert reply[:4] == transaction.to_bytes(2, "big") + b"\0\0"
        assert int.from_bytes(reply[4:6], "big") == size - 6
        assert reply[6] == unit
        if unit == 9:  # another device: refused, and nothing of it is carried out
            expected = bytes((pdu[0] | 0x80, 10))
        else:
            out = memoryview(bytearray(253))
            expected = bytes(out[: alone.handle(memoryview(bytes(pdu)), len(pdu), out)])
        assert reply[7:] == expected


def test_memory_does_not_grow_with_what_comes() -> None:
    server = RtuServer(ServerPdu(Space()), ADDRESS)
    request = frame(ADDRESS, 3, 0, 0, 0, 125)
    tracemalloc.start()
    try:
        for turn in range(2000):
            if turn == 1000:
                before, _ = tracemalloc.get_traced_memory()
                tracemalloc.reset_peak()
            for byte in request if turn % 2 else bytes(range(256)) * 2:
                server.feed(byte)
            server.end()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - before < 4096
