"""One line with many meters: a request that arrives whole is answered once, by whom it is for, and by nobody else."""

import re
import struct
import subprocess
import time
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymodbus import FramerType
from pymodbus.client import ModbusSerialClient
from pymodbus.pdu.file_message import FileRecord

from meter.registers import MeterRegisters
from meterlink import batches, lines, orders, records, registers, reports
from meterlink.modbus import RegisterSpace, RtuServer, ServerPdu
from metersim.board import VirtualBoard
from metersim.inprocess import InProcessMeter
from metersim.load import Constant
from metersim.rs485 import Bridge, Bus, Hub, Slave, Station
from metersim.workbench import Workbench
from tests import needs
from tests.firmware.slaves import child

UNITS = range(1, 17)


class Own(RegisterSpace):
    """Every register of unit n holds n until it is written."""

    def __init__(self, unit: int) -> None:
        self.unit = unit
        self.written: list[int] = []

    def read(self, address: int, count: int, out: memoryview, offset: int, input_registers: bool) -> int:
        out[offset : offset + 2 * count] = self.unit.to_bytes(2, "big") * count
        return 0

    def write(self, address: int, count: int, data: memoryview) -> int:
        self.written.append(data[0] << 8 | data[1])
        return 0


def crc(data: bytes) -> int:
    """CRC-16/MODBUS, bit by bit."""
    found = 0xFFFF
    for octet in data:
        found ^= octet
        for _ in range(8):
            found = found >> 1 ^ (0xA001 if found & 1 else 0)
    return found


def frame(*octets: int) -> bytes:
    return bytes(octets) + crc(bytes(octets)).to_bytes(2, "little")


def slaves(bus: Bus, **options: int) -> dict[int, Slave]:
    return {unit: bus.slave(RtuServer(ServerPdu(Own(unit)), unit), **options) for unit in UNITS}


def asked(unit: int, address: int = 0, count: int = 1) -> bytes:
    return frame(unit, 3, address >> 8, address & 0xFF, 0, count)


def answer(unit: int, count: int = 1) -> bytes:
    return frame(unit, 3, 2 * count, *(unit.to_bytes(2, "big") * count))


def frames_of(heard: list[tuple[int, int]], silence_us: int) -> list[tuple[int, bytes]]:
    """(end, octets) of what silence delimits."""
    found: list[tuple[int, bytes]] = []
    for at_us, octet in heard:
        if found and at_us - found[-1][0] <= silence_us:
            found[-1] = (at_us, found[-1][1] + bytes([octet]))
        else:
            found.append((at_us, bytes([octet])))
    return found


def answers_due(unit: int, slave: Slave, silence_us: int) -> int:
    """How many frames that a slave has heard are requests for it, by the specification alone."""
    due = 0
    for _, octets in frames_of(slave.heard, silence_us):
        good = 4 <= len(octets) <= 256 and crc(octets) == 0
        due += good and octets[0] == unit and not octets[1] & 0x80
    return due


# --- one after the other ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("baud", [1200, 9600, 19_200, 38_400, 115_200])
def test_gaps_up_to_t15_pass_and_t35_splits(baud: int) -> None:
    bus = Bus(baud)
    units, master = slaves(bus), bus.station()
    request = asked(5)
    master.say(request, [0] + [bus.t15_us] * (len(request) - 1))
    bus.settle()
    assert units[5].said[0][1] == answer(5)
    for place in range(1, len(request)):
        master.say(request, [0] * place + [bus.t35_us])
        bus.settle()
    assert len(units[5].said) == 1
    master.say(request)
    bus.settle()
    assert len(units[5].said) == 2
    assert all(not slave.said for unit, slave in units.items() if unit != 5)


def test_an_answer_waits_for_silence_and_the_next_request_finds_the_line_free() -> None:
    bus = Bus()
    units, master = slaves(bus), bus.station()
    for unit in (3, 16, 3, 1):
        end_us = master.say(asked(unit))
        bus.settle()
        begin_us, said = units[unit].said[-1]
        assert begin_us == end_us + bus.t35_us
        assert said == answer(unit)
        assert bytes(octet for _, octet in master.heard[-len(said) :]) == said


def test_broadcasts_are_done_by_all_and_answered_by_none() -> None:
    bus = Bus()
    units, master = slaves(bus), bus.station()
    for octets in (frame(0, 6, 0, 1, 0x12, 0x34), frame(0, 16, 0, 1, 0, 1, 2, 0x56, 0x78), frame(0, 3, 0, 0, 0, 1)):
        master.say(octets)
        bus.settle()
    for slave in units.values():
        assert slave.server is not None
        assert slave.server.broadcasts == 3
        assert not slave.said


def test_what_others_answer_is_nobodys_request() -> None:
    """A reply that looks like a request, or holds one; and the same answer as FC 06 asks for."""
    bus = Bus()
    units, master, other = slaves(bus), bus.station(), bus.station()
    for octets in (
        frame(99, 3, 2 * len(asked(4)), *asked(4), *asked(4)),
        frame(99, 6, 0, 1, 0, 2),
        frame(4, 0x83, 2),
        frame(0xFF, 3, 0, 0, 0, 1),
    ):
        master.say(frame(99, 3, 0, 0, 0, 1))
        bus.run(20_000)
        other.say(octets)
        bus.settle()
    assert all(not slave.said for slave in units.values())
    master.say(frame(4, 6, 0, 1, 0, 9))
    bus.settle()
    bus.settle()
    assert [len(slave.said) for unit, slave in units.items()] == [int(unit == 4) for unit in units]


def test_who_hears_himself_answers_once() -> None:
    """The answer to FC 06 is the request again: heard as one, it would be answered for ever."""
    bus = Bus(echo=True)
    units, master = slaves(bus), bus.station()
    for turn in range(3):
        master.say(frame(4, 6, 0, 1, 0, turn))
        bus.settle()
    assert [said for _, said in units[4].said] == [frame(4, 6, 0, 1, 0, turn) for turn in range(3)]
    assert all(not slave.said for unit, slave in units.items() if unit != 4)


def test_a_late_answer_spoils_one_request_at_most() -> None:
    bus = Bus(seed=3)
    units, master = slaves(bus), bus.station()
    late = bus.slave(RtuServer(ServerPdu(Own(77)), 77), late_us=300_000)
    master.say(asked(77))
    bus.run(299_000)
    master.say(asked(2))
    bus.settle()
    assert late.said
    master.say(asked(2))
    bus.settle()
    assert units[2].said[-1][1] == answer(2)


def test_a_driver_that_stays_on_spoils_what_comes_meanwhile_and_no_more() -> None:
    bus = Bus(seed=5)
    units, master = slaves(bus), bus.station()
    bus.slave(RtuServer(ServerPdu(Own(77)), 77), hold_us=15_000)
    master.say(asked(77))
    bus.run(bus.t35_us + 17 * bus.character_us)
    master.say(asked(2))
    bus.settle()
    assert not units[2].said
    bus.run(15_000)
    master.say(asked(2))
    bus.settle()
    assert [said for _, said in units[2].said] == [answer(2)]


# --- everything at once -----------------------------------------------------------------------------------------------

units_there = st.integers(1, 20)  # of which 17..20 are nobody
things = st.one_of(
    st.tuples(st.just("ask"), units_there, st.integers(1, 20)),
    st.tuples(st.just("gaps"), units_there, st.lists(st.integers(0, 6000), min_size=8, max_size=8)),
    st.tuples(st.just("write"), st.integers(0, 20), st.integers(0, 0xFFFF)),
    st.tuples(st.just("cut"), units_there, st.integers(1, 7)),
    st.tuples(st.just("other"), units_there, st.integers(1, 20)),
    st.tuples(st.just("noise"), st.binary(min_size=1, max_size=12), st.integers(0, 9000)),
)
# What happens, and for how long nothing else does then; None: until the line is quiet.
steps = st.lists(st.tuples(things, st.one_of(st.none(), st.none(), st.integers(0, 60_000))), max_size=12)


@settings(max_examples=150, deadline=None)
@given(
    steps=steps,
    seed=st.integers(0, 0xFFFF),
    baud=st.sampled_from((1200, 9600, 38_400)),
    late_us=st.integers(0, 9000),
    echo=st.booleans(),
)
def test_what_arrives_whole_is_answered_once_by_whom_it_is_for(
    steps: list[tuple[tuple[str, object, object], int | None]], seed: int, baud: int, late_us: int, echo: bool
) -> None:
    """OP-LINE-01"""
    bus = Bus(baud, seed=seed, echo=echo)
    units, master, other = slaves(bus, late_us=late_us), bus.station(), bus.station()
    for (kind, first, second), then_us in steps:
        do(bus, master, other, kind, first, second)
        if then_us is None:
            bus.settle()
        else:
            bus.run(then_us)
    bus.settle()
    bus.run(100 * bus.character_us)
    for unit, slave in units.items():
        # A character ends a frame where it comes later than t3.5 after the one before.
        assert len(slave.said) == answers_due(unit, slave, bus.t35_us), unit
        assert all(said[0] == unit and crc(said) == 0 for _, said in slave.said)
    for unit, slave in units.items():
        before = len(slave.said)
        master.say(asked(unit))
        bus.settle()
        assert [said for _, said in slave.said[before:]] == [answer(unit)]


def do(bus: Bus, master: Station, other: Station, kind: str, first: object, second: object) -> None:
    """One thing that happens on the line."""
    if kind == "noise":
        assert isinstance(first, bytes)
        bus.noise(first, [second] if isinstance(second, int) else [])
    else:
        assert isinstance(first, int)
        number = second if isinstance(second, int) else 1
        if kind == "write":
            master.say(frame(first, 6, 0, 1, number >> 8, number & 0xFF))
        elif kind == "other":
            other.say(frame(first + 20, 3, 8 * number, *(asked(first) * number)))
        elif kind == "cut":
            master.say(asked(first)[:number])
        else:
            master.say(asked(first, 0, number), second if isinstance(second, list) else ())


# --- real masters, real meters ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sixteen() -> Iterator[tuple[Bus, dict[int, InProcessMeter]]]:
    """A line with sixteen meters, each on the firmware's own registers."""
    bus = Bus(seed=1)
    meters = {}
    for unit in UNITS:
        one = InProcessMeter(VirtualBoard(Constant(100 * unit), seed=unit), Workbench(4000 + unit).record())
        one.run(3)
        meters[unit] = one
        bus.slave(RtuServer(ServerPdu(MeterRegisters(one.meter)), unit))
    yield bus, meters


def test_libmodbus_polls_sixteen_meters(sixteen: tuple[Bus, dict[int, InProcessMeter]]) -> None:
    bus, _ = sixteen
    with Bridge(bus) as bridge:
        command = [needs.program("mbpoll"), "-m", "rtu", "-a", "1:16", "-b", "9600", "-P", "none", "-0", "-o", "5"]
        done = subprocess.run(
            [*command, "-t", "4:hex", "-r", "5", "-c", "3", "-1", bridge.path],
            capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
    words = [int(found, 16) for found in re.findall(r"^\[\d+\]:\s+0x([0-9A-F]+)", done.stdout, re.MULTILINE)]
    numbers = [struct.unpack(">HI", struct.pack(">3H", *words[at : at + 3])) for at in range(0, 48, 3)]
    assert [high << 32 | low for high, low in numbers] == [4000 + unit for unit in UNITS]


def test_pymodbus_polls_sixteen_meters_through_noise(sixteen: tuple[Bus, dict[int, InProcessMeter]]) -> None:
    bus, meters = sixteen
    hot = next(block for block in registers.BLOCKS if block[0] == registers.HOT)
    with (
        Bridge(bus) as bridge,
        ModbusSerialClient(bridge.path, framer=FramerType.RTU, baudrate=9600, timeout=10, retries=0) as client,
    ):
        for unit in (*UNITS, *reversed(UNITS)):
            bus.noise(bytes([unit, 3, 0, 0x55]))
            bus.settle()
            shown = client.read_holding_registers(hot[1], count=registers.block_length(hot[3]), device_id=unit)
            values = struct.unpack(
                registers.block_struct(hot[3]), b"".join(word.to_bytes(2, "big") for word in shown.registers)
            )
            assert values[:2] == (registers.HOT, registers.block_length(hot[3]))
            assert values[4 + 12] == 100 * unit == meters[unit].board.power_w()


def test_each_function_by_a_foreign_master(sixteen: tuple[Bus, dict[int, InProcessMeter]]) -> None:
    """On the firmware's own registers: blocks, a question through its mailbox, records of several files in one
    request, what only the service port does, and what there is not."""
    bus, meters = sixteen
    meters[7].run(1800, 60)
    question = batches.pack_ask(batches.KIND_REPORT, b"\x07" * 8, orders.ASPECT_CREDIT, 1)
    padded = question + bytes(len(question) % 2)
    mail = [len(question), crc(question), *struct.unpack(f">{len(padded) // 2}H", padded)]
    with (
        Bridge(bus) as bridge,
        ModbusSerialClient(bridge.path, framer=FramerType.RTU, baudrate=9600, timeout=10, retries=0) as client,
    ):
        for block_id, base, _, fields in registers.BLOCKS:
            count = min(125, registers.block_length(fields))
            held = client.read_holding_registers(base, count=count, device_id=7).registers
            shown = client.read_input_registers(base, count=count, device_id=7).registers
            assert len(held) == len(shown) == count
            place = 2 if block_id == registers.IDENT else 0
            assert held[place] == shown[place] == block_id
        assert not client.write_register(registers.IDENTIFY, 5, device_id=7).isError()
        assert not client.write_registers(registers.ASK_MAILBOX, mail, device_id=7).isError()
        report = next(block for block in registers.BLOCKS if block[0] == registers.REPORT)
        words = client.read_holding_registers(report[1], count=registers.block_length(report[3]), device_id=7).registers
        raw = struct.pack(f">{len(words)}H", *words)[12 : 12 + reports.LENGTH]
        assert reports.Report(raw, Workbench(4007).mac_key).nonce == b"\x07" * 8
        files = [
            FileRecord(file_number=file, record_number=1, record_length=24)
            for file in (registers.INTERVAL_FILE, registers.EVENT_FILE)
        ]
        parts = client.read_file_record(files, device_id=7).records
        assert [records.unpack_interval(part.record_data)[0] for part in parts[:1]] == [1]
        assert records.unpack_event(parts[1].record_data)[0] == 1
        named = client.read_device_information(read_code=1, device_id=7).information
        assert named[0] == b"openprepay"
        body = lines.pack(9, 9600, 0, 1)
        settings = [len(body), crc(body), *struct.unpack(">4H", body)]
        tokens = [20, crc(b"1" * 20), *struct.unpack(">10H", b"1" * 20)]
        one = FileRecord(file_number=registers.IMAGE_FILE, record_number=1, record_data=bytes(38))
        for refused, code in (
            (client.write_registers(registers.LINE_MAILBOX, settings, device_id=7), 2),
            (client.write_registers(registers.TOKEN_MAILBOX, tokens, device_id=7), 2),
            (client.write_registers(registers.ORDER_MAILBOX, [2, 0, 0], device_id=7), 3),
            (client.write_register(registers.BLOCKS[1][1], 1, device_id=7), 2),
            (client.write_registers(registers.BLOCKS[1][1], [1, 2], device_id=7), 2),
            (client.write_file_record([one], device_id=7), 2),
            (client.read_holding_registers(0x00FF, count=2, device_id=7), 2),
            (client.read_coils(0, count=1, device_id=7), 1),
        ):
            assert refused.exception_code == code, refused


def test_three_meters_on_micropython_share_a_line() -> None:
    """Each on a pty of its own, joined: each hears what the others answer."""
    with Hub(4) as hub:
        processes = [child("micropython", "rtu", hub.paths[unit], unit, 0) for unit in (1, 2, 3)]
        try:
            with ModbusSerialClient(
                hub.paths[0], framer=FramerType.RTU, baudrate=9600, timeout=10, retries=0
            ) as client:
                for turn in range(6):
                    unit = turn % 3 + 1
                    assert not client.write_register(unit, 1000 + turn, device_id=unit).isError()
                    time.sleep(0.05)
                    assert client.read_holding_registers(unit, count=1, device_id=unit).registers == [1000 + turn]
                    time.sleep(0.05)
                for unit in (1, 2, 3):
                    shown = client.read_holding_registers(1, count=3, device_id=unit).registers
                    assert shown == [1000 + unit + 2 if address == unit else 7 * address for address in (1, 2, 3)]
                    time.sleep(0.05)
        finally:
            for process in processes:
                process.kill()
                process.wait()
