"""The meter's partition in the flash of an RP2, which programs whole pages.

Source: Raspberry Pi Pico SDK, `hardware_flash`: addresses and lengths are multiples of 256 to program and of 4096 to
erase; MicroPython 1.29, `rp2.Flash`, which passes on what it is given. NOR flash only clears bits, so a page goes out
with 0xFF wherever nothing is to change. (Winbond W25Q16JV, 8.2.13: a page may be programmed in parts.)
"""

PAGE_BYTES = 256
_SECTOR_BYTES = 4096


class PagedFlash:
    """`flash`: an `rp2.Flash(start=…, len=…)`, or any block device that takes whole pages. It is one that takes
    any bytes, erased ones where they are programmed."""

    def __init__(self, flash) -> None:
        self._flash = flash
        self._page = bytearray(PAGE_BYTES)
        self.ioctl = flash.ioctl
        self.readblocks = flash.readblocks

    def writeblocks(self, block: int, buf: "bytes | bytearray | memoryview", offset: "int | None" = None) -> None:
        """With an offset: program; without: erase the blocks and program them."""
        if offset is None:
            offset = 0
            for one in range(block, block + len(buf) // _SECTOR_BYTES):
                self._flash.ioctl(6, one)
        view = memoryview(buf)
        page = self._page
        done = 0
        while done < len(buf):
            inside = (offset + done) % PAGE_BYTES
            length = min(PAGE_BYTES - inside, len(buf) - done)
            for at in range(PAGE_BYTES):
                page[at] = 0xFF
            page[inside : inside + length] = view[done : done + length]
            self._flash.writeblocks(block, page, offset + done - inside)
            done += length
