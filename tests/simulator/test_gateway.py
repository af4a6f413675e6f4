"""The gateway carries transactions to the unit that is meant, on Modbus TCP and as RTU frames on TCP."""

import asyncio

import pytest

from meterlink.modbus import crc16
from metersim.gateway import RTU, TCP, Gateway

HOST = "127.0.0.1"


def answer(unit: int, request: bytes) -> bytes | None:
    return None if unit == 9 else bytes((request[0], unit)) + request[1:]


async def talk(kind: str, *requests: bytes) -> bytes:
    """What comes back for requests that are sent one after the other."""
    gateway = Gateway(kind, answer)
    await gateway.start(HOST)
    reader, writer = await asyncio.open_connection(HOST, gateway.port)
    found = b""
    for request in requests:
        writer.write(request)
        try:
            found += await asyncio.wait_for(reader.read(300), 0.3)
        except TimeoutError:
            found += b"-"
    writer.close()
    await gateway.stop()
    return found


def adu(unit: int, pdu: bytes, transaction: int = 1) -> bytes:
    return bytes((0, transaction, 0, 0, 0, len(pdu) + 1, unit)) + pdu


def frame(unit: int, pdu: bytes) -> bytes:
    body = bytes((unit,)) + pdu
    return body + crc16(body).to_bytes(2, "little")


def test_modbus_tcp() -> None:
    told = asyncio.run(talk(TCP, adu(3, b"\x03\x00"), adu(247, b"\x04\x01", 2)))
    assert told == adu(3, b"\x03\x03\x00") + adu(247, b"\x04\xf7\x01", 2)


def test_a_unit_that_is_not_there() -> None:
    """Exception 11 on Modbus TCP, silence on RTU."""
    assert asyncio.run(talk(TCP, adu(9, b"\x03\x00"))) == adu(9, b"\x83\x0b")
    assert asyncio.run(talk(RTU, frame(9, b"\x03\x00"), frame(2, b"\x03\x00"))) == b"-" + frame(2, b"\x03\x02\x00")


def test_a_broken_frame_is_not_answered() -> None:
    assert asyncio.run(talk(RTU, frame(2, b"\x03\x00")[:-1] + b"\x00", b"\x01\x02")) == b"--"


def test_a_broken_stream_is_closed() -> None:
    assert asyncio.run(talk(TCP, b"\x00\x01\x00\x07\x00\x03\x01\x03\x00")) == b""


def test_addresses() -> None:
    gateway = Gateway(TCP, answer)
    gateway.port = 4000
    assert gateway.address(HOST, 247) == "tcp://127.0.0.1:4000?unit=247"
    with pytest.raises(ValueError, match=r"unit: 248 given, 1\.\.247 expected"):
        gateway.address(HOST, 248)
