"""A meter on flash that programs whole pages only, as an RP2's does, and on flash that nobody else can read."""

from tests.firmware.chips import ports

ports.install()

from meter.drivers.flash_rp2 import PagedFlash  # noqa: E402
from meter.drivers.sealed_flash import SealedFlash  # noqa: E402
from meterlink.flashmap import TOTAL_SECTORS  # noqa: E402
from metersim.flash import NorFlash  # noqa: E402
from tests.firmware.chips.rp2 import Pages  # noqa: E402
from tests.firmware.ramboard import RamBoard, Rig  # noqa: E402


def test_any_bytes_go_where_they_belong_and_leave_their_neighbours():
    device = Pages(2)
    flash = PagedFlash(device)
    content = bytearray(b"\xff" * 4096)
    at, seed = 0, 7
    while at < 4096:
        seed = (seed * 1103515245 + 12345) & 0x7FFFFFFF
        length = min(8 + (seed >> 16) % 700 // 8 * 8, 4096 - at)
        data = bytes([(seed >> 8) + n & 255 for n in range(length)])
        flash.writeblocks(1, memoryview(data), at)
        content[at : at + length] = data
        at += length
    held = bytearray(4096)
    flash.readblocks(1, held, 0)
    assert held == content
    flash.readblocks(0, held, 0)
    assert held == b"\xff" * 4096
    flash.writeblocks(0, b"\x55" * 8192)
    for sector in range(2):
        flash.readblocks(sector, held, 0)
        assert held == b"\x55" * 4096, "without an offset it erases first"
    assert flash.ioctl(4, 0) == 2 and flash.ioctl(5, 0) == 4096


def test_a_meter_keeps_its_books_on_it():
    rig = Rig(RamBoard(PagedFlash(Pages(TOTAL_SECTORS))), credit_uc=5_000_000)
    rig.board.watts = 2000
    rig.run(3700)
    balance_uc, import_wh = rig.meter.account.balance_uc(), rig.meter.committed()[1]
    assert import_wh > 2000
    rig.outage()
    assert rig.meter.committed()[1] == import_wh and rig.meter.account.balance_uc() <= balance_uc + 20_000
    assert len(rig.intervals()) >= 4 and not rig.meter.damaged


# -- sealed ------------------------------------------------------------------------------------------------------------

KEY = bytes(range(32))


DRAWN = [0]


def noise(count):
    DRAWN[0] += 1
    return (DRAWN[0] * 2_654_435_761 & 0xFFFFFFFF).to_bytes(4, "big")[:count]


def sealed(sectors=2):
    nor = NorFlash(2 * sectors, unit_bytes=16)
    return nor, SealedFlash(nor, KEY, noise)


def read(flash, block, offset, length):
    buf = bytearray(length)
    flash.readblocks(block, buf, offset)
    return bytes(buf)


def test_sealed_flash_reads_back_at_any_place_and_length():
    _, flash = sealed()
    assert flash.ioctl(4, 0) == 2 and flash.ioctl(5, 0) == 4096
    assert read(flash, 1, 0, 4096) == b"\xff" * 4096
    content = bytearray(b"\xff" * 4096)
    for offset, length in ((0, 16), (16, 8), (32, 640), (2000, 96), (4088, 8), (2096, 1000)):
        data = bytes([offset + n & 255 for n in range(length)])
        flash.writeblocks(1, memoryview(data), offset)
        content[offset : offset + length] = data
    for offset, length in ((0, 4096), (3, 1), (5, 300), (2047, 2), (2040, 16), (4090, 6), (8, 2049)):
        assert read(flash, 1, offset, length) == content[offset : offset + length]
    assert read(flash, 0, 0, 4096) == b"\xff" * 4096
    flash.ioctl(6, 1)
    assert read(flash, 1, 0, 4096) == b"\xff" * 4096


def test_sealed_flash_shows_equal_units_as_different_noise():
    nor, flash = sealed()
    flash.writeblocks(0, b"\x00" * 64, 0)
    once = bytes(nor.data[:128])
    assert len({once[at : at + 16] for at in range(0, 128, 16)}) == 8
    flash.ioctl(6, 0)
    flash.writeblocks(0, b"\x00" * 64, 0)
    assert bytes(nor.data[:128]) != once, "the same data, written again"
    assert read(SealedFlash(nor, bytes(32), noise), 0, 0, 64) == b"\x00" * 64, "under another key it is nothing"
    flash.ioctl(6, 0)
    flash.writeblocks(0, b"\x55" * 64, 0)
    assert read(SealedFlash(nor, bytes(32), noise), 0, 0, 64) == b"\x00" * 64


def test_a_unit_that_is_torn_or_moved_is_neither_blank_nor_data():
    nor, flash = sealed()
    flash.writeblocks(0, b"unit one", 0)
    whole = bytes(nor.data[:16])
    for kept in range(16):
        nor.data[:16] = whole[:kept] + b"\xff" * (16 - kept)
        assert read(flash, 0, 0, 8) == (b"\xff" * 8 if kept == 0 else b"\x00" * 8)
    nor.data[:16] = b"\xff" * 16
    nor.data[32:48] = whole
    assert read(flash, 0, 0, 24) == b"\xff" * 16 + b"\x00" * 8


def test_a_meter_keeps_its_books_on_sealed_flash():
    nor = NorFlash(2 * TOTAL_SECTORS, unit_bytes=16)
    rig = Rig(RamBoard(SealedFlash(nor, KEY, noise)), credit_uc=5_000_000)
    rig.board.watts = 2000
    rig.run(1000)
    import_wh = rig.meter.committed()[1]
    assert import_wh > 500
    rig.outage()
    assert rig.meter.committed()[1] == import_wh and not rig.meter.damaged and rig.meter.commissioned
