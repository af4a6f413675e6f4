"""The Modbus TCP server on MicroPython and CPython: several clients, foreign masters, misbehaving connections."""

import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from pymodbus.client import ModbusTcpClient
from pymodbus.pdu.file_message import FileRecord

from tests import needs
from tests.firmware.slaves import ADDRESS, INTERPRETERS, on_tcp

ANSWER_S = 30


@pytest.fixture(params=INTERPRETERS)
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    with on_tcp(request.param) as port:
        yield port


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=ANSWER_S)


def receive(connection: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length:
        part = connection.recv(length - len(data))
        assert part, f"closed after {data!r}"
        data += part
    return data


def adu(transaction: int, unit: int, pdu: bytes) -> bytes:
    return transaction.to_bytes(2, "big") + b"\0\0" + (len(pdu) + 1).to_bytes(2, "big") + bytes([unit]) + pdu


READ = b"\x03\x00\x01\x00\x02"
READ_REPLY = b"\x03\x04\x00\x07\x00\x0e"


def converse(connection: socket.socket, transaction: int = 1) -> None:
    connection.sendall(adu(transaction, 255, READ))
    reply = adu(transaction, 255, READ_REPLY)
    assert receive(connection, len(reply)) == reply


def is_closed(connection: socket.socket) -> bool:
    """True when the server ends the connection without another word."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def test_libmodbus(port: int) -> None:
    command = [needs.program("mbpoll"), "-m", "tcp", "-a", str(ADDRESS), "-p", str(port), "-0", "-o", "10"]
    done = subprocess.run(
        [*command, "-t", "4", "-r", "2", "-c", "3", "-1", "127.0.0.1"],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout.split("slave 17...\n")[1].split() == ["[2]:", "14", "[3]:", "21", "[4]:", "28"]


def test_pymodbus_with_several_clients(port: int) -> None:
    def work(number: int) -> None:
        with ModbusTcpClient("127.0.0.1", port=port, timeout=ANSWER_S, retries=0) as client:
            base = 120 + 40 * number
            for turn in range(50):
                written = [number << 8 | turn] * 30
                assert not client.write_registers(base, written, device_id=ADDRESS).isError()
                assert client.read_holding_registers(base, count=30, device_id=ADDRESS).registers == written
                assert client.read_input_registers(turn % 10, device_id=255).registers == [0x8000 + turn % 10]
            wanted = [FileRecord(file_number=1, record_number=100 * number, record_length=240)]
            data = client.read_file_record(wanted, device_id=ADDRESS).records[0].record_data
            assert data == b"".join(i.to_bytes(2, "big") for i in range(100 * number, 100 * number + 120))
            assert client.read_device_information(read_code=2, device_id=0).information[4] == b"Test slave"
            assert client.read_holding_registers(0, count=1, device_id=99).exception_code == 10

    with ThreadPoolExecutor(3) as pool:
        for done in [pool.submit(work, number) for number in range(3)]:
            done.result()


def test_adus_in_pieces_and_in_one_piece(port: int) -> None:
    with connect(port) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in adu(7, 255, READ):
            connection.sendall(bytes([byte]))
        reply = adu(7, 255, READ_REPLY)
        assert receive(connection, len(reply)) == reply
        connection.sendall(b"".join(adu(i, 0, READ) for i in range(200)))
        replies = b"".join(adu(i, 0, READ_REPLY) for i in range(200))
        assert receive(connection, len(replies)) == replies


@pytest.mark.parametrize(
    "header", [b"\x00\x01\x00\x01\x00\x06\xff", b"\x00\x01\x00\x00\x00\x01\xff", b"GET / HTTP/1.1\r\n"]
)
def test_what_is_not_modbus_ends_the_connection(port: int, header: bytes) -> None:
    with connect(port) as other, connect(port) as connection:
        converse(other)
        connection.sendall(adu(1, 255, READ) + header)
        reply = adu(1, 255, READ_REPLY)
        assert receive(connection, len(reply)) == reply
        assert is_closed(connection)
        converse(other)
        other.sendall(adu(2, 255, b"\x04\x00\x0b\x00\x01"))
        assert receive(other, 11)[-2:] == b"\x00\x01"


@pytest.mark.parametrize("interpreter", INTERPRETERS)
def test_places_are_counted(interpreter: str) -> None:
    with on_tcp(interpreter, clients=2) as port:
        with connect_again(port) as first, connect_again(port) as second:
            converse(first)
            converse(second)
            with connect(port) as third:
                assert is_closed(third)
            converse(first, 2)
            second.close()
            with connect_again(port) as third:
                converse(third, 3)
            converse(first, 4)


def connect_again(port: int) -> socket.socket:
    """A connection with a place: the server may need a moment to notice that another one has gone."""
    for _ in range(1000):
        connection = connect(port)
        connection.sendall(adu(1, 255, READ))
        if not is_closed(connection):
            receive(connection, len(READ_REPLY) + 6)
            return connection
        connection.close()
    raise AssertionError("no place came free")


@pytest.mark.parametrize("interpreter", INTERPRETERS)
def test_idle_connections_are_closed(interpreter: str) -> None:
    with on_tcp(interpreter, clients=3, idle_s=1) as port:
        with connect(port) as silent, connect(port) as slow:
            converse(silent)
            converse(slow)
            slow.sendall(adu(1, 255, READ)[:-1])  # a request that never ends is no activity
            assert is_closed(silent)
            assert is_closed(slow)
        with connect_again(port) as connection:
            converse(connection, 2)


@pytest.mark.parametrize("interpreter", INTERPRETERS)
def test_clients_that_trickle_give_their_places_back(interpreter: str) -> None:
    """Every place is taken by somebody who sends a byte now and then and never a request; while they do, whoever has
    a place is served, and they lose theirs, so the next client gets in."""
    with on_tcp(interpreter, clients=3, idle_s=2) as port, connect_again(port) as served:
        slow = [connect_again(port) for _ in range(2)]
        request = adu(1, 255, b"\x10\x00\x00\x00\x7b\xf6" + bytes(246))
        for turn, byte in enumerate(request):
            ended = 0
            for connection in slow:
                try:
                    connection.sendall(bytes([byte]))
                except OSError:
                    ended += 1
            if ended == len(slow):
                break
            converse(served, turn)
            time.sleep(0.1)
        assert turn < len(request) - 1
        for connection in slow:
            connection.close()
        with connect_again(port) as another:
            converse(another, 2)


def test_a_client_that_does_not_read_stops_nobody(port: int) -> None:
    with connect(port) as deaf, connect(port) as other:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.setblocking(False)
        flood = adu(1, 255, b"\x03\x00\x00\x00\x7d") * 100
        stuck = 0
        while stuck < 20:
            try:
                deaf.send(flood)
                stuck = 0
            except BlockingIOError:
                stuck += 1
                converse(other, stuck)
