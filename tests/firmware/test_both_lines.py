"""The settings of the bus: set over the service port alone, on trial until the meter is heard with them, durable; and
what the block of the line counts."""

import asyncio

from meter import line
from meter.core import Meter
from meter.registers import MeterRegisters
from meter.shell import rtu
from meterlink import events, lines, modbus, registers, results
from meterlink.modbus import RtuServer, ServerPdu, crc16
from tests.firmware.ramboard import RamBoard, Rig
from tests.firmware.test_both_registers import Master
from tests.powercut import sweep

SET = (42, 19_200, 2, 1)
WRONG = (43, 1200, 0, 2)


def serving(rig):
    """A server of the bus, opened as `shell.rtu.bus` does it."""
    server = RtuServer(ServerPdu(MeterRegisters(rig.meter)), rig.meter.line.settings[0])
    rig.meter.line.opened(server)
    return server


def heard(server, *octets):
    """The length of the answer to a frame."""
    raw = bytes(octets)
    for byte in raw + crc16(raw).to_bytes(2, "little"):
        server.feed(byte)
    return server.end()


def kinds(rig):
    return [event[0] for event in rig.events() if 144 <= event[0] < 152]


def service(rig):
    return Master(rig, Meter.CARRIER_LOCAL)


def settings_of(rig):
    found = Master(rig).block(registers.LINE)
    return tuple([found[name] for name in ("address", "baud", "parity", "stop_bits")]), found["undone_s"]


def test_bodies():
    for settings in (SET, WRONG, (1, 1200, 0, 1), (247, 115_200, 1, 2)):
        assert lines.unpack(lines.pack(*settings)) == settings
    for settings in (
        (0, 9600, 0, 1),
        (248, 9600, 0, 1),
        (1, 9601, 0, 1),
        (1, 9600, 3, 1),
        (1, 9600, 0, 0),
        (1, 9600, 0, 3),
    ):
        assert lines.unpack(lines.pack(*settings)) is None
    raw = lines.pack(*SET)
    assert (
        lines.unpack(raw[:-1]) is None and lines.unpack(raw + b"\0") is None and lines.unpack(b"\2" + raw[1:]) is None
    )


def test_settings_hold_once_the_meter_is_heard_with_them():
    rig = Rig()
    serving(rig)
    assert isinstance(service(rig).mail(registers.LINE_MAILBOX, lines.pack(*SET)), bytes)
    assert settings_of(rig) == (SET, line.TRIAL_S)
    found = Master(rig).block(registers.LINE)
    assert [found["former_" + name] for name in ("address", "baud", "parity", "stop_bits")] == list(line.FACTORY)
    server = serving(rig)
    heard(server, 42, 3, 0, 0, 0, 1)
    rig.run(1)
    assert settings_of(rig) == (SET, 0) and kinds(rig) == [events.LINE_CHANGED, events.LINE_KEPT]
    rig.run(2 * line.TRIAL_S, 60)
    rig.outage()
    assert settings_of(rig) == (SET, 0)
    found = Master(rig).block(registers.LINE)
    assert found["former_baud"] == found["undone_s"] == 0


def test_settings_that_do_not_work_are_undone():
    rig = Rig()
    rig.meter.line.given = (9, 4800, 0, 1)
    server = serving(rig)
    service(rig).mail(registers.LINE_MAILBOX, lines.pack(*WRONG))
    heard(server, 9, 3, 0, 0, 0, 1)  # heard yet with the settings before
    rig.run(1)
    server = serving(rig)
    for octets in ((0, 6, 0x13, 0, 0, 1), (42, 3, 0, 0, 0, 1), (43, 0x83, 2)):
        heard(server, *octets)
    rig.run(line.TRIAL_S - 2)
    assert settings_of(rig) == (WRONG, 1)
    rig.run(1)
    assert settings_of(rig) == ((9, 4800, 0, 1), 0) and kinds(rig) == [events.LINE_CHANGED, events.LINE_UNDONE]
    rig.outage()
    assert settings_of(rig) == (line.FACTORY, 0)  # what the board starts with, which this one does not tell


def test_a_second_wrong_setting_returns_to_what_worked_and_a_power_cut_does_not_keep_it():
    """OP-LINE-03"""
    rig = Rig()
    service(rig).mail(registers.LINE_MAILBOX, lines.pack(*SET))
    heard(serving(rig), 42, 3, 0, 0, 0, 1)
    rig.run(1)
    service(rig).mail(registers.LINE_MAILBOX, lines.pack(*WRONG))
    rig.run(100)
    service(rig).mail(registers.LINE_MAILBOX, lines.pack(44, 9600, 0, 1))
    rig.run(500)
    rig.outage(86_400)
    assert settings_of(rig) == ((44, 9600, 0, 1), line.TRIAL_S)
    serving(rig)
    rig.run(line.TRIAL_S)
    assert settings_of(rig) == (SET, 0)
    assert kinds(rig)[-1] == events.LINE_UNDONE


def test_nobody_sets_them_from_the_bus_and_nothing_wrong_is_taken():
    """OP-LINE-02"""
    rig = Rig()
    rig.run(1)
    before = rig.contents(), settings_of(rig)
    for carrier in (Meter.CARRIER_BUS, Meter.CARRIER_TCP, rig.meter.tcp_carrier(1)):
        code = Master(rig, carrier).mail(registers.LINE_MAILBOX, lines.pack(*SET))
        assert code == -modbus.ILLEGAL_ADDRESS
    master = service(rig)
    for raw in (b"", lines.pack(*SET)[:-1], lines.pack(248, 9600, 0, 1), lines.pack(0, 9600, 0, 1)):
        assert master.mail(registers.LINE_MAILBOX, raw) == -modbus.ILLEGAL_VALUE
    assert master.mail(registers.LINE_MAILBOX, lines.pack(*SET), 1) == -modbus.ILLEGAL_VALUE
    assert (rig.contents(), settings_of(rig)) == before


def test_flash_that_fails_changes_nothing():
    rig = Rig()
    rig.run(1)
    before = settings_of(rig)
    rig.meter.commit = lambda items, decision=False: False
    assert service(rig).mail(registers.LINE_MAILBOX, lines.pack(*SET)) == -modbus.DEVICE_FAILURE
    assert rig.meter.line.take(lines.pack(*SET)) == results.STORAGE_FAILED
    assert settings_of(rig) == before and not rig.meter.line.fresh and not rig.meter.log.waiting()


def test_the_block_counts_what_came_in():
    rig = Rig()
    server = serving(rig)
    heard(server, 1, 3, 0, 0, 0, 1)
    heard(server, 1, 1, 0, 0, 0, 1)  # refused, and for this meter
    heard(server, 2, 3, 0, 0, 0, 1)
    heard(server, 1, 0x83, 2)  # an answer under its own address is another's
    heard(server, 0, 6, 0x13, 0, 0, 1)
    for byte in b"\1\3\0\0\0\1\0\0":
        server.feed(byte)
    server.end()
    for _ in range(300):
        server.feed(85)
    server.end()
    found = Master(rig).block(registers.LINE)
    names = ("frames", "bad_frames", "overruns", "requests", "broadcasts", "foreign_frames")
    assert [found[name] for name in names] == [5, 2, 1, 2, 1, 2]
    assert (found["bus_heard_s"], found["tcp_heard_s"], found["mqtt_heard_s"]) == (0, 0xFFFFFFFF, 0xFFFFFFFF)
    rig.run(7)
    Master(rig, rig.meter.tcp_carrier(2)).block(registers.HOT)
    rig.run(5)
    found = Master(rig, Meter.CARRIER_LOCAL).block(registers.LINE)
    assert (found["bus_heard_s"], found["tcp_heard_s"]) == (12, 5)


def test_damaged_frames_are_told_once_an_hour_and_not_where_they_are_few():
    rig = Rig()
    server = serving(rig)
    for many in (line.MANY_BAD - 1, line.MANY_BAD, 1000, 0):
        for _ in range(many):
            server.feed(85)
            server.end()
        rig.run(line.WATCH_S, 60)
    ring = rig.meter.store.logs[0]
    told = [events_of(record) for record in rig.records(ring)]
    assert [one for one in told if one[0] == events.LINE_DISTURBED] == [
        (events.LINE_DISTURBED, line.MANY_BAD),
        (events.LINE_DISTURBED, 1000),
    ]


def events_of(record):
    from meterlink import records

    found = records.unpack_event(record)
    return found[2], found[5]


class Wire:
    """A link that gives what a test put there."""

    silence_ms = turnaround_ms = 1

    def __init__(self, settings):
        self.settings = settings
        self.waiting = b""
        self.sent = []
        self.closed = False

    async def readinto(self, buf, wait_ms):
        while True:
            await asyncio.sleep(0)
            if self.waiting:
                n = min(len(buf), len(self.waiting))
                buf[:n] = self.waiting[:n]
                self.waiting = self.waiting[n:]
                return n
            if wait_ms >= 0:
                return 0

    async def write(self, buf):
        self.sent.append(bytes(buf))

    def close(self):
        self.closed = True


def asked(address):
    raw = bytes((address, 3, 0, 0, 0, 2))
    return raw + crc16(raw).to_bytes(2, "little")


def test_the_bus_is_opened_anew_where_its_settings_change():
    rig = Rig()
    wires = []

    def open_link(settings):
        wires.append(Wire(settings))
        return wires[-1]

    async def answer(address):
        wires[-1].waiting = asked(address)
        for _ in range(100):
            await asyncio.sleep(0)
        return wires[-1].sent.pop() if wires[-1].sent else b""

    async def opened(number):
        while len(wires) < number:  # noqa: ASYNC110
            await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def scene():
        server = RtuServer(ServerPdu(MeterRegisters(rig.meter)), 1)
        task = asyncio.create_task(rtu.bus(rig.meter.line, server, open_link))
        await opened(1)
        assert (await answer(1))[:7] == b"\x01\x03\x04\x01\x02\x03\x04"
        service(rig).mail(registers.LINE_MAILBOX, lines.pack(*SET))
        await opened(2)
        assert wires[0].closed and [wire.settings for wire in wires] == [line.FACTORY, SET]
        assert await answer(1) == b""
        assert (await answer(42))[:3] == b"\x2a\x03\x04"
        rig.run(1)
        assert rig.meter.line.left_s == 0
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            pass
        assert wires[1].closed and len(wires) == 2

    asyncio.run(scene())


def test_power_cuts_at_every_flash_operation_leave_the_settings_before_or_those_after():
    rig = Rig()
    rig.run(60)
    stated = [line.FACTORY]  # what a cut may leave: the last one or, while it is under way, the next

    def workload(flash):
        stated.append(SET)
        service(rig).mail(registers.LINE_MAILBOX, lines.pack(*SET))
        del stated[0]
        heard(serving(rig), *asked(42)[:-2])
        rig.run(1)
        stated.append(WRONG)
        service(rig).mail(registers.LINE_MAILBOX, lines.pack(*WRONG))
        del stated[0]
        stated.append(SET)
        rig.run(line.TRIAL_S, 60)
        del stated[0]

    def check(flash):
        board = RamBoard(flash)
        board.unix_s, board.kept_witness = rig.board.unix_s, rig.board.kept_witness
        meter = Meter(board)
        meter.start(0)
        assert meter.line.settings in stated, (meter.line.settings, stated)
        assert not meter.history_lost and meter.commissioned

    swept = sweep(rig.board.flash, workload, check)
    assert swept.operations > 10
    assert rig.meter.line.settings == SET and stated == [SET]
