"""A meter that sleeps between events lives as one that stays awake, bit for bit; and sleeping takes little memory."""

import random
from collections.abc import Iterator
from functools import cache

import pytest

from meterlink import topics
from metersim.asleep import Dormitory, FleetBoard, FleetMeter, NotIdle
from metersim.flash import NorFlash, NorViolation
from metersim.flashfile import FiledFlash, FlashFile
from metersim.load import Constant
from metersim.workbench import Workbench

START_S = 1_767_225_600
REPLAY_MS = 90_000
LOAD = Constant(1200)


@pytest.fixture
def file() -> Iterator[FlashFile]:
    made = FlashFile()
    yield made
    made.close()


def meter(file: FlashFile, place: int, number: int) -> FleetMeter:
    board = FleetBoard(LOAD, number, START_S, FiledFlash(file, place))
    return FleetMeter(board, Workbench(number).record(), REPLAY_MS)


@cache
def credit(number: int, total_uc: int) -> bytes:
    """One order for all who are to live alike: no two signatures are equal."""
    return Workbench(number).credit(total_uc)


class Life:
    """The same life for whoever goes through it: orders, questions, outages with and without warning."""

    def __init__(self, number: int, meter: FleetMeter) -> None:
        self.number = number
        self.rng = random.Random(number)
        self.meter = meter
        self.said: list[tuple[str, bytes]] = []
        self.total_uc = 0

    def hour(self) -> None:
        meter = self.meter
        match self.rng.randrange(4):
            case 0:
                self.total_uc += 1_000_000
                meter.exchange.hear(topics.DN_ORDER, credit(self.number, self.total_uc))
                meter.unit.settle()
            case 1:
                meter.unit.power_cycle(600)
                meter.boot()
                self.said.append((topics.UP_STATE, meter.exchange.birth()))
            case 2:
                meter.unit.meter.power_down()
                meter.board.lose_power()
                meter.board.true_s += 1800
                meter.boot()
        meter.unit.run(3600, self.rng.choice((60, 300)))
        while message := meter.exchange.say(meter.board.true_s * 1000):
            self.said.append(message)


def test_sleep_changes_nothing(file: FlashFile) -> None:
    """Three meters that sleep after each hour, in turn in one process, beside three that never do."""
    numbers = (11, 12, 13)
    awake = [Life(number, meter(file, place, number)) for place, number in enumerate(numbers)]
    asleep = [Life(number, meter(file, 10 + place, number)) for place, number in enumerate(numbers)]
    dormitory = Dormitory(file, meter(file, 20, 99))
    for _ in range(12):
        beds = [dormitory.sleep(life.meter) for life in asleep]
        for life, bed in zip(asleep, beds, strict=True):
            life.meter = dormitory.wake(bed, LOAD)
        for life in (*awake, *asleep):
            life.hour()
    for one, other in zip(awake, asleep, strict=True):
        assert one.said == other.said
        assert bytes(one.meter.board.flash.data) == bytes(other.meter.board.flash.data)
        assert one.meter.board.flash.erases == other.meter.board.flash.erases
        assert one.meter.board.energy_mws == other.meter.board.energy_mws > 0
        assert one.meter.unit.meter.account.balance_uc() == other.meter.unit.meter.account.balance_uc()


def test_a_sleeping_meter_is_small(file: FlashFile) -> None:
    dormitory = Dormitory(file, meter(file, 0, 99))
    one = meter(file, 1, 12)
    one.unit.run(86_400, 900)
    assert len(dormitory.sleep(one)) < 4096


def test_who_is_in_the_middle_of_an_image_stays_awake(file: FlashFile) -> None:
    dormitory = Dormitory(file, meter(file, 0, 99))
    one = meter(file, 1, 12)
    one.unit.meter.update._hash.update(b"a piece")
    with pytest.raises(NotIdle):
        dormitory.sleep(one)
    one.unit.run(120, 60)  # it goes on as it was
    assert one.unit.meter.store.journal.sequence > 1


def test_a_flash_in_a_file_is_a_flash(file: FlashFile) -> None:
    """The same operations on a flash in memory and on one in a file, beside a neighbour that must not change."""
    rng = random.Random(5)
    dense, filed, neighbour = NorFlash(4), FiledFlash(file, 1, 4), FiledFlash(file, 2, 4)
    for _ in range(400):
        sector, offset, length = rng.randrange(4), rng.randrange(512) * 8, 8 * rng.randrange(1, 40)
        length = min(length, 4096 - offset)
        data = rng.randbytes(length)
        if rng.randrange(8) == 0:
            for flash in (dense, filed):
                flash.ioctl(6, sector)
        blank = bytes(dense.data[sector * 4096 + offset : sector * 4096 + offset + length])
        if blank == b"\xff" * length:
            for flash in (dense, filed):
                flash.writeblocks(sector, data, offset)
        else:
            with pytest.raises(NorViolation):
                filed.writeblocks(sector, b"\xff" * length, offset)
        if rng.randrange(10) == 0:
            filed.detach()
            filed.attach(file)
        one, other = bytearray(length), bytearray(length)
        dense.readblocks(sector, one, offset)
        filed.readblocks(sector, other, offset)
        assert one == other
    assert bytes(filed.data) == dense.data
    assert (filed.ops, filed.erases, filed.programmed_bytes) == (dense.ops, dense.erases, dense.programmed_bytes)
    assert bytes(neighbour.data) == b"\xff" * 4 * 4096
