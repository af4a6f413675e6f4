"""The RS-485 driver on a UART with a shift register: the driver is enabled for as long as the line carries bits."""

import asyncio

from meter.drivers.rs485 import Rs485
from meter.shell import rtu
from meterlink.modbus import RegisterSpace, RtuServer, ServerPdu, crc16
from tests.firmware.chips.wires import Pin, Time, Uart


class Line:
    """time, wire (the UART), enable (the driver's pin), link (the driver)."""

    def __init__(self, time, wire, enable, link):
        self.time = time
        self.wire = wire
        self.enable = enable
        self.link = link


def line(baud=9600, held_ms=(0,), **uart):
    time = Time(held_ms)
    wire = Uart(time, baud, **uart)
    enable = Pin(time)
    return Line(time, wire, enable, Rs485(wire, enable, baud, time, sleep_ms=time.sleep_ms))


def silence_us(baud):
    return 1750 if baud > 19_200 else 38_500_000 // baud


def test_the_driver_spans_every_bit_and_lets_go_before_the_next_talker():
    for baud in (1200, 2400, 4800, 9600, 19_200, 38_400, 57_600, 115_200):
        for size in (1, 5, 8, 60, 256):
            for early in (False, True):
                for latency_us, gap_us in ((0, 0), (90, 0), (0, 40)):
                    one = line(baud, early=early, latency_us=latency_us, gap_us=gap_us)
                    asyncio.run(one.link.write(bytes(size)))
                    (begin, end, _), ((on, _), (off, _)) = one.wire.sent[0], one.enable.history
                    assert on <= begin and end <= off, (baud, size, early, end - off)
                    assert off - end < silence_us(baud), (baud, size, early, off - end)
                    assert one.link.lost == 0


def test_other_tasks_do_not_cut_a_reply():
    for held_ms in ((0, 1), (0, 0, 0, 5), (80,), (0,) * 7 + (80,)):
        for early in (False, True):
            one = line(9600, held_ms, early=early)
            asyncio.run(one.link.write(bytes(100)))
            assert one.enable.history[1][0] >= one.wire.sent[0][1]
            if max(held_ms) <= 1:
                assert one.enable.history[1][0] - one.wire.sent[0][1] < silence_us(9600)


def test_a_uart_that_never_ends_lets_go_of_the_line():
    one = line()
    one.wire.txdone = lambda: False
    asyncio.run(one.link.write(b"12345678"))
    assert one.enable.level == 0 and one.link.lost == 1 and one.time.now_us < 400_000


def test_what_was_heard_while_sending_is_thrown_away():
    one = line()
    one.wire.arrive(b"echo", 0)
    asyncio.run(one.link.write(b"echo"))
    assert one.wire.any() == 0


def test_reading_waits_for_the_first_character_and_no_longer_than_it_is_told():
    one = line()
    buf = bytearray(32)
    one.wire.arrive(b"abc", 50_000)
    assert asyncio.run(one.link.readinto(buf, -1)) == 1 and buf[:1] == b"a" and one.time.now_us < 55_000
    assert asyncio.run(one.link.readinto(buf, 4)) == 1 and buf[:1] == b"b"
    assert asyncio.run(one.link.readinto(buf, 4)) == 1 and buf[:1] == b"c"
    since_us = one.time.now_us
    assert asyncio.run(one.link.readinto(buf, 4)) == 0
    assert 4_000 <= one.time.now_us - since_us < 8_000


def test_characters_that_came_while_another_task_ran_are_not_silence():
    one = line(held_ms=(80,))
    buf = bytearray(32)
    one.wire.arrive(b"0123456789", 0)
    assert asyncio.run(one.link.readinto(buf, 4)) == 10


class Seven(RegisterSpace):
    def read(self, address, count, out, offset, input_registers):
        out[offset : offset + 2 * count] = b"\x00\x07" * count
        return 0


def test_a_modbus_slave_on_it_answers_after_t35_and_hears_the_next_request():
    one = line()
    request = bytes((17, 3, 0, 0, 0, 2))
    request += crc16(request, len(request)).to_bytes(2, "little")

    async def serve():
        task = asyncio.create_task(rtu.serve(RtuServer(ServerPdu(Seven()), 17), one.link))
        for number in range(3):
            asked_us = one.time.now_us + 10_000
            one.wire.arrive(request, asked_us)
            while len(one.wire.sent) <= number:  # noqa: ASYNC110 - virtual time passes there
                await asyncio.sleep(0)
            begin, _, reply = one.wire.sent[number]
            assert reply[:3] == b"\x11\x03\x04" and reply[3:7] == b"\x00\x07\x00\x07"
            assert begin >= asked_us + len(request) * one.wire.character_us + silence_us(9600)
            while one.enable.level:  # noqa: ASYNC110
                await asyncio.sleep(0)
        task.cancel()

    asyncio.run(serve())
