"""A run of NOR flash sectors behind MicroPython's extended block-device protocol, with every failure as one error.

The device: `readblocks(block, buf, offset)`, `writeblocks(block, buf, offset)` (programs without erasing: bits go from
1 to 0 only), `ioctl(4)` number of blocks, `ioctl(5)` bytes of a block, `ioctl(6, block)` erases one. ESP32 `Partition`
is one as it is; a device that programs whole pages only (RP2: 256 bytes) pads with 0xFF in its board file.

The journal and the rings program every 8-byte unit once between two erases, starting at a multiple of 8.
"""

FRESH = 0  # nothing was ever stored here
OK = 1
DAMAGED = 2  # something that was stored cannot be read

UNIT_BYTES = 8  # what is programmed at once starts and ends at a multiple of this

_BLOCK_COUNT = 4
_BLOCK_SIZE = 5
_BLOCK_ERASE = 6


class StorageError(Exception):
    """The flash did not do what it was told; the text says what and where."""


class Sectors:
    """`count` sectors of `bdev` from block `first` on, numbered from 0. `size`: bytes of a sector.

    ValueError where they do not fit the device; StorageError where the device fails.
    """

    def __init__(self, bdev, first, count):
        blocks = bdev.ioctl(_BLOCK_COUNT, 0)
        if first < 0 or count < 1 or first + count > blocks:
            raise ValueError("sectors {}..{} do not fit a flash of {}".format(first, first + count - 1, blocks))
        self._bdev = bdev
        self._first = first
        self.count = count
        self.size = bdev.ioctl(_BLOCK_SIZE, 0)

    def read(self, sector: int, offset: int, buf: "bytearray | memoryview") -> None:
        """Fill `buf` from a sector."""
        try:
            failed = self._bdev.readblocks(self._first + sector, buf, offset)
        except OSError:
            failed = True
        if failed:
            raise StorageError("sector {} offset {}: not readable".format(sector, offset))

    def program(self, sector: int, offset: int, buf: "bytes | bytearray | memoryview") -> None:
        """Program `buf` into erased bytes. Whether it took is for the caller to check by reading."""
        try:
            failed = self._bdev.writeblocks(self._first + sector, buf, offset)
        except OSError:
            failed = True
        if failed:
            raise StorageError("sector {} offset {}: not programmed".format(sector, offset))

    def erase(self, sector: int, scratch: "memoryview") -> None:
        """Erase a sector and see that it is blank. `scratch` is overwritten."""
        try:
            failed = self._bdev.ioctl(_BLOCK_ERASE, self._first + sector)
        except OSError:
            failed = True
        if failed or not self.blank(sector, 0, scratch):
            raise StorageError("sector {}: not erased".format(sector))

    def blank(self, sector: int, offset: int, scratch: "memoryview") -> bool:
        """Whether a sector holds nothing but 0xFF from `offset` to its end. `scratch` is overwritten."""
        while offset < self.size:
            part = scratch[: min(len(scratch), self.size - offset)]
            self.read(sector, offset, part)
            if min(part) != 0xFF:
                return False
            offset += len(part)
        return True
