"""The RTU server on a pty, on MicroPython and CPython: read by libmodbus and pymodbus, and disturbed byte by byte."""

import os
import pty
import re
import subprocess
import threading
import time
import tty
from collections.abc import Iterator

import pytest
import serial
from pymodbus import FramerType
from pymodbus.client import ModbusSerialClient
from pymodbus.pdu.file_message import FileRecord

from tests import needs
from tests.firmware.slaves import ADDRESS, INTERPRETERS, child, frame, on_a_pty

SILENCE_S = 0.25  # fifty times the silence that ends a frame, so that a busy machine sees one as well
ANSWER_S = 10


@pytest.fixture(params=INTERPRETERS)
def path(request: pytest.FixtureRequest) -> Iterator[str]:
    """Path of a line with one slave."""
    with on_a_pty(request.param) as path:
        yield path


@pytest.fixture
def line(path: str) -> Iterator[serial.Serial]:
    """The master's end of a line with one slave."""
    with open_line(path) as line:
        yield line


def open_line(path: str) -> serial.Serial:
    return serial.Serial(path, 9600, timeout=ANSWER_S)  # a pty has no parity bit, and pyserial fails to set one


def ask(line: serial.Serial, request: bytes, length: int) -> bytes:
    """Send a frame after a silence and read a reply of `length` bytes."""
    time.sleep(SILENCE_S)
    line.write(request)
    return line.read(length)


def is_quiet(line: serial.Serial) -> bool:
    """True when nothing comes back during a silence."""
    line.timeout = SILENCE_S
    answer = line.read(1)
    line.timeout = ANSWER_S
    return answer == b""


def counters(line: serial.Serial) -> list[int]:
    """Input registers 10..14: frames, bad frames, overruns, dropped replies, turns of another task."""
    reply = ask(line, frame(ADDRESS, 4, 0, 10, 0, 5), 15)
    assert reply == frame(*reply[:-2])
    return [int.from_bytes(reply[at : at + 2], "big") for at in range(3, 13, 2)]


GOOD = frame(ADDRESS, 3, 0, 1, 0, 2)
GOOD_REPLY = frame(ADDRESS, 3, 4, 0, 7, 0, 14)


# --- foreign masters --------------------------------------------------------------------------------------------------


def mbpoll(path: str, *words: str, code: int = 0) -> str:
    command = [needs.program("mbpoll"), "-m", "rtu", "-a", str(ADDRESS), "-b", "9600", "-P", "even", "-0", "-o", "10"]
    values = [word for word in words if word.isdigit()]
    options = [word for word in words if not word.isdigit()]
    done = subprocess.run(
        [*command, *(word for option in options for word in option.split("=")), path, *values],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def values_of(output: str) -> list[int]:
    """What mbpoll prints as `[reference]: value`, and after a value above 32767 its negative."""
    return [int(value) for value in re.findall(r"^\[\d+\]:\s+(\d+)", output, re.MULTILINE)]


def test_libmodbus(path: str) -> None:
    assert values_of(mbpoll(path, "-t=4", "-r=0", "-c=125", "-1")) == [7 * i for i in range(125)]
    assert values_of(mbpoll(path, "-t=3", "-r=2", "-c=8", "-1")) == [0x8002 + i for i in range(8)]
    assert "Written 1 references" in mbpoll(path, "-t=4", "-r=5", "4660")
    assert "Written 3 references" in mbpoll(path, "-t=4", "-r=6", "1", "2", "65535")
    assert values_of(mbpoll(path, "-t=4", "-r=4", "-c=6", "-1")) == [28, 4660, 1, 2, 65535, 63]
    assert "Illegal data address" in mbpoll(path, "-t=4", "-r=290", "-c=20", "-1", code=1)
    assert "Illegal data address" in mbpoll(path, "-t=4", "-r=100", "1", code=1)
    assert "Illegal function" in mbpoll(path, "-t=0", "-r=0", "-c=1", "-1", code=1)


def test_pymodbus(path: str) -> None:
    with ModbusSerialClient(path, framer=FramerType.RTU, baudrate=9600, timeout=ANSWER_S, retries=0) as client:
        assert client.read_holding_registers(3, count=4, device_id=ADDRESS).registers == [21, 28, 35, 42]
        assert client.read_input_registers(0, count=10, device_id=ADDRESS).registers == [0x8000 + i for i in range(10)]
        assert not client.write_register(10, 0xBEEF, device_id=ADDRESS).isError()
        assert not client.write_registers(120, list(range(123)), device_id=ADDRESS).isError()
        assert client.read_holding_registers(10, count=1, device_id=ADDRESS).registers == [0xBEEF]
        assert client.read_holding_registers(119, count=125, device_id=ADDRESS).registers == [833, *range(123), 1701]
        wanted = [
            FileRecord(file_number=1, record_number=record, record_length=2 * n) for record, n in ((5, 3), (9, 70))
        ]
        parts = client.read_file_record(wanted, device_id=ADDRESS).records
        assert [part.record_data for part in parts] == [
            b"".join(i.to_bytes(2, "big") for i in range(5, 8)),
            b"".join(i.to_bytes(2, "big") for i in range(9, 79)),
        ]
        for record, data in ((0, b"\x12\x34"), (9, bytes(range(244)))):
            one = FileRecord(file_number=2, record_number=record, record_data=data)
            assert not client.write_file_record([one], device_id=ADDRESS).isError()
            again = FileRecord(file_number=2, record_number=record, record_length=len(data))
            assert client.read_file_record([again], device_id=ADDRESS).records[0].record_data == data
        basic = client.read_device_information(read_code=1, device_id=ADDRESS)
        assert (basic.conformity, basic.more_follows) == (0x82, 0)
        assert basic.information == {0: b"openprepay", 1: b"TEST-1", 2: b"0.1"}
        regular = client.read_device_information(read_code=2, device_id=ADDRESS).information
        assert regular == {**basic.information, 4: b"Test slave", 5: b"modbus_server"}
        one = client.read_device_information(read_code=4, object_id=4, device_id=ADDRESS).information
        assert one == {4: b"Test slave"}
        for refused, code in (
            (client.read_holding_registers(299, count=2, device_id=ADDRESS), 2),
            (client.write_register(105, 1, device_id=ADDRESS), 2),
            (client.read_coils(0, count=1, device_id=ADDRESS), 1),
            (client.readwrite_registers(read_count=1, values=[1], device_id=ADDRESS), 1),
            (client.mask_write_register(address=1, device_id=ADDRESS), 1),
            (client.read_device_information(read_code=4, object_id=3, device_id=ADDRESS), 2),
            (client.read_file_record([FileRecord(3, 0, record_length=2)], device_id=ADDRESS), 2),
            (client.write_file_record([FileRecord(3, 0, record_data=b"no")], device_id=ADDRESS), 2),
        ):
            assert refused.exception_code == code, refused


# --- a shared, noisy line ---------------------------------------------------------------------------------------------


def test_a_frame_in_pieces() -> None:
    # A silence that no busy machine makes by chance; whole requests are answered without waiting for it.
    with on_a_pty("micropython", silence_ms=5000) as path, open_line(path) as line:
        for request, reply in (
            (GOOD, GOOD_REPLY),
            (frame(ADDRESS, 16, 0, 20, 0, 2, 4, 1, 2, 3, 4), frame(ADDRESS, 16, 0, 20, 0, 2)),
            (frame(ADDRESS, 20, 7, 6, 0, 1, 0, 3, 0, 1), frame(ADDRESS, 20, 4, 3, 6, 0, 3)),
        ):
            for byte in request:
                line.write(bytes([byte]))
                time.sleep(0.01)
            assert line.read(len(reply)) == reply


def test_noise_and_wrong_frames_are_not_answered(line: serial.Serial) -> None:
    assert ask(line, GOOD, 9) == GOOD_REPLY
    for data in (
        b"\x00",
        b"\xff" * 300,
        bytes(range(256)) * 3,
        GOOD[:-1],
        GOOD[:3],
        GOOD[:-1] + bytes([GOOD[-1] ^ 1]),
        b"\x11" + GOOD,
        GOOD[:5],
    ):
        line.write(data)
        assert is_quiet(line), data
    assert ask(line, GOOD, 9) == GOOD_REPLY
    frames, bad_frames, overruns, dropped, _ = counters(line)
    assert (frames, bad_frames, dropped) == (3, 8, 0)
    assert overruns == 2


def test_what_is_for_others_is_not_answered(line: serial.Serial) -> None:
    before = ask(line, frame(ADDRESS, 3, 0, 0, 0, 50), 105)
    inner = frame(ADDRESS, 6, 0, 5, 0x55, 0x55)
    for data in (
        frame(18, 3, 0, 1, 0, 2),  # request to another slave, and its reply
        frame(18, 3, 4, 0, 7, 0, 14),
        frame(18, 6, 0, 5, 0x55, 0x55),
        frame(18, 3, 2 * len(inner), *inner, *inner),  # its reply holds a request to us
        frame(18, 0x83, 2),
        frame(ADDRESS, 0x83, 2),
        frame(0, 3, 0, 1, 0, 2),
        frame(248, 6, 0, 5, 0x55, 0x55),
    ):
        line.write(data)
        assert is_quiet(line), data
    assert ask(line, frame(ADDRESS, 3, 0, 0, 0, 50), 105) == before
    assert ask(line, GOOD, 9) == GOOD_REPLY


def test_broadcast_writes_are_carried_out_and_not_answered(line: serial.Serial) -> None:
    for data in (frame(0, 6, 0, 30, 0xBE, 0xEF), frame(0, 16, 0, 31, 0, 1, 2, 0xCA, 0xFE), frame(0, 6, 0, 100, 0, 1)):
        line.write(data)
        assert is_quiet(line), data
    assert ask(line, frame(ADDRESS, 3, 0, 30, 0, 2), 9) == frame(ADDRESS, 3, 4, 0xBE, 0xEF, 0xCA, 0xFE)


def test_refusals_on_the_line(line: serial.Serial) -> None:
    for request, function, code in (
        (frame(ADDRESS, 3, 0, 0, 0, 126), 0x83, 3),
        (frame(ADDRESS, 3, 0, 0, 0, 0), 0x83, 3),
        (frame(ADDRESS, 3, 0, 0, 0), 0x83, 3),
        (frame(ADDRESS, 4, 1, 0, 0, 1), 0x84, 2),
        (frame(ADDRESS, 16, 0, 0, 0, 2, 2, 0, 0), 0x90, 3),
        (frame(ADDRESS, 22, 0, 0, 0, 0, 0, 0), 0x96, 1),
        (frame(ADDRESS, 23), 0x97, 1),
        (frame(ADDRESS, 43, 13, 0), 0xAB, 1),
    ):
        assert ask(line, request, 5) == frame(ADDRESS, function, code)


def test_a_stream_without_silence_starves_nobody(line: serial.Serial) -> None:
    turns = counters(line)[4]
    line.write_timeout = 0.1
    end = time.monotonic() + 3
    while time.monotonic() < end:
        try:
            line.write(GOOD * 100)
        except serial.SerialTimeoutException:
            continue
    line.reset_output_buffer()
    assert is_quiet(line)
    # Of some 370 turns in all, the other task would have had 70 if the stream had held it back.
    assert counters(line)[4] - turns > 150
    assert ask(line, GOOD, 9) == GOOD_REPLY


def test_a_master_that_does_not_read_stops_nobody(line: serial.Serial) -> None:
    turns = counters(line)[4]
    request = frame(ADDRESS, 3, 0, 0, 0, 125)
    after = counters(line)
    end_s = time.monotonic() + ANSWER_S
    while after[3] == 0 and time.monotonic() < end_s:  # requests that a busy machine runs together are no requests
        for _ in range(400):  # 100 kB of replies; a pty holds about 20
            line.write(request)
            time.sleep(0.005)
        time.sleep(SILENCE_S)
        while line.in_waiting:  # the kernel hands on what it holds as room comes
            line.reset_input_buffer()
            time.sleep(SILENCE_S)
        after = counters(line)
    assert after[3] > 0
    assert after[4] - turns > 150
    assert ask(line, GOOD, 9) == GOOD_REPLY


@pytest.mark.parametrize("interpreter", INTERPRETERS)
def test_a_slave_opens_its_line_by_path(interpreter: str) -> None:
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    process = child(interpreter, "rtu", os.ttyname(theirs), ADDRESS, 0)
    os.close(theirs)
    try:
        os.write(ours, GOOD)
        watchdog = threading.Timer(ANSWER_S, process.kill)
        watchdog.start()
        assert os.read(ours, 300) == GOOD_REPLY
        watchdog.cancel()
        os.close(ours)
        assert process.communicate(timeout=ANSWER_S)[0].startswith("ended: ")
    finally:
        process.kill()
        process.wait()
