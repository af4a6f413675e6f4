"""The simulated flash and the file as flash: rules of NOR, counters, cuts. Runs on CPython and on MicroPython."""

import os

from meter.boards.fileflash import FileFlash
from meter.journal import Journal
from metersim.flash import BIT, TORN, NorFlash, NorViolation, PowerCut

SIZE = 64


def read(flash, block, length=SIZE, offset=0):
    buf = bytearray(length)
    flash.readblocks(block, buf, offset)
    return bytes(buf)


def refused(error, action, *args):
    try:
        action(*args)
    except error:
        return True
    return False


def bits(data):
    return sum([bin(value).count("1") for value in data])


def test_protocol_and_counters():
    flash = NorFlash(3, SIZE)
    assert (flash.ioctl(4, 0), flash.ioctl(5, 0), flash.ioctl(3, 0)) == (3, SIZE, 0)
    flash.writeblocks(1, b"\x0f" * 8, 8)
    assert read(flash, 1, 24) == b"\xff" * 8 + b"\x0f" * 8 + b"\xff" * 8
    assert read(flash, 1, 8, 8) == b"\x0f" * 8
    flash.writeblocks(1, b"\x03" * 8, 8)
    flash.writeblocks(0, bytes(range(64)) * 2)
    assert read(flash, 0, 128) == bytes(range(64)) * 2
    flash.ioctl(6, 1)
    assert read(flash, 1) == b"\xff" * SIZE and read(flash, 0) == bytes(range(64))
    assert (flash.ops, flash.erases, flash.programmed_bytes) == (6, [1, 2, 0], 16 + 128)
    assert (flash.reads, flash.read_bytes) == (5, 24 + 8 + 128 + 64 + 64)


def test_rules_of_nor():
    flash = NorFlash(2, SIZE)
    flash.writeblocks(0, b"\xf0", 3)
    assert refused(NorViolation, flash.writeblocks, 0, b"\xf1", 3)
    assert refused(NorViolation, flash.writeblocks, 1, bytes(SIZE + 1), 0)
    assert refused(NorViolation, flash.ioctl, 6, 2)
    assert refused(NorViolation, read, flash, -1)
    assert flash.ops == 1 and read(flash, 0, 1, 3) == b"\xf0"
    lenient = NorFlash(2, SIZE, lenient=True)
    lenient.writeblocks(0, b"\xf0", 3)
    lenient.writeblocks(0, b"\x1f", 3)
    assert read(lenient, 0, 1, 3) == b"\x10"
    once = NorFlash(2, SIZE, unit_bytes=8)
    once.writeblocks(0, b"\xf0" * 8, 8)
    assert refused(NorViolation, once.writeblocks, 0, b"\xf0" * 8, 8)
    assert refused(NorViolation, once.writeblocks, 0, b"\xf0" * 8, 4)
    assert refused(NorViolation, once.writeblocks, 0, b"\xf0" * 4, 16)


def test_a_cut_program():
    for torn, expected in ((0, 0), (25, 4), (50, 8), (75, 12)):
        flash = NorFlash(1, SIZE)
        flash.cut_at(2, torn)
        flash.writeblocks(0, b"ab", 60)
        assert refused(PowerCut, flash.writeblocks, 0, bytes(16), 0)
        assert refused(PowerCut, read, flash, 0) and refused(PowerCut, flash.ioctl, 6, 0)
        flash.power_on()
        assert read(flash, 0, 20) == bytes(expected) + b"\xff" * (20 - expected)
        flash.writeblocks(0, bytes(16), 16)
        assert flash.ops == 3
    flash = NorFlash(1, SIZE)
    flash.cut_at(1, BIT)
    assert refused(PowerCut, flash.writeblocks, 0, bytes(16), 0)
    flash.power_on()
    assert bits(read(flash, 0)) == SIZE * 8 - 1 and read(flash, 0, 48, 16) == b"\xff" * 48
    assert refused(ValueError, flash.cut_at, 1, 33)


def test_a_cut_erase_leaves_a_mixture():
    left = []
    for torn in TORN:
        flash = NorFlash(2, SIZE)
        flash.writeblocks(1, bytes(SIZE), 0)
        flash.cut_at(2, torn)
        assert refused(PowerCut, flash.ioctl, 6, 1)
        flash.power_on()
        assert read(flash, 0) == b"\xff" * SIZE
        left.append(read(flash, 1))
    none, first, scattered, last, bit = left
    assert none == bytes(SIZE) and first == b"\xff" * 16 + bytes(48) and last == bytes(16) + b"\xff" * 48
    assert 8 * SIZE // 4 < bits(scattered) < 8 * SIZE * 3 // 4 and bits(bit) == 1


def test_snapshot_fork_and_restore():
    flash = NorFlash(2, SIZE)
    flash.writeblocks(0, b"one", 0)
    kept = flash.snapshot()
    other = flash.fork()
    flash.cut_at(2, 0)
    assert refused(PowerCut, flash.ioctl, 6, 0)
    assert read(other, 0, 3) == b"one" and other.ops == 1
    flash.restore(kept)
    assert read(flash, 0, 3) == b"one" and (flash.ops, flash.erases) == (1, [0, 0])
    flash.ioctl(6, 0)
    assert read(other, 0, 3) == b"one"


def test_a_worn_sector_takes_half_and_does_not_say_so():
    flash = NorFlash(1, SIZE)
    flash.wear_out(0, 1)
    flash.writeblocks(0, bytes(8), 0)
    assert read(flash, 0, 8) == bytes(4) + b"\xff" * 4
    flash.writeblocks(0, bytes(8), 8)
    assert read(flash, 0, 8, 8) == bytes(8)


def test_one_image_serves_both_kinds():
    path = "/tmp/openprepay-flash-{}.img".format(os.urandom(8).hex())
    try:
        simulated = NorFlash(6, 2048, path=path)
        journal = Journal(simulated, 0, 6)
        journal.mount()
        journal.commit([(1, b"one")])
        simulated.close()
        for durable in (True, False):
            file = FileFlash(path, 6, 2048, durable)
            journal = Journal(file, 0, 6)
            journal.mount()
            assert journal.get(1) == (b"one" if durable else b"two")
            journal.commit([(1, b"two")])
            assert refused(OSError, file.writeblocks, 0, b"\xff" * 8, 0)
            assert refused(OSError, file.writeblocks, 6, b"\xff", 0)
            assert refused(OSError, file.readblocks, 5, bytearray(1), 2048)
            file.writeblocks(5, bytes(2048))
            assert read(file, 5, 2048) == bytes(2048)
            file.ioctl(6, 5)
            assert read(file, 5, 2048) == b"\xff" * 2048
            assert (file.ioctl(4, 0), file.ioctl(5, 0), file.ioctl(3, 0)) == (6, 2048, 0)
            file.close()
        simulated = NorFlash(6, 2048, path=path)
        assert Journal(simulated, 0, 6).mount() == 1
        simulated.close()
    finally:
        os.remove(path)
