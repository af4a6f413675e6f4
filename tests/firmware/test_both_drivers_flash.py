"""A meter on flash that programs whole pages only, as an RP2's does."""

from meter.drivers.flash_rp2 import PAGE_BYTES, PagedFlash
from meter.flashmap import TOTAL_SECTORS
from metersim.flash import NorFlash
from tests.firmware.ramboard import RamBoard, Rig


class Pages:
    """`rp2.Flash`: pages at multiples of 256, and the silence of a chip where 0 is to become 1."""

    def __init__(self, sectors):
        self.nor = NorFlash(sectors, lenient=True)
        self.readblocks = self.nor.readblocks
        self.ioctl = self.nor.ioctl

    def writeblocks(self, block, buf, offset=None):
        assert offset is not None, "without an offset rp2.Flash erases as well"
        assert len(buf) % PAGE_BYTES == 0 and offset % PAGE_BYTES == 0
        self.nor.writeblocks(block, buf, offset)


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
