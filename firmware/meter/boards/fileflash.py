"""A file as NOR flash, for boards that have an operating system: the same protocol, the same rules, the image as it is.

Bits are programmed from 1 to 0 only; anything else is OSError(EIO), as a firmware that relies on it would fail on a
chip. Every operation is written before it returns, so killing the process loses nothing; `durable` also waits for the
disk (fsync), which keeps it over a failure of the machine and costs milliseconds. Runs on MicroPython's unix port and
on CPython.
"""

import errno
import os


class FileFlash:
    """A flash of `sectors` sectors in the file `path`; a file that is missing or too short is filled up with 0xFF."""

    def __init__(self, path: str, sectors: int, sector_size: int = 4096, durable: bool = True) -> None:
        self.sectors = sectors
        self.sector_size = sector_size
        self._durable = durable
        self._blank = b"\xff" * sector_size
        try:
            self._file = open(path, "r+b", buffering=0)
        except OSError:
            self._file = open(path, "w+b", buffering=0)
        length = self._file.seek(0, 2)
        while length < sectors * sector_size:
            length += self._file.write(self._blank[: sector_size - length % sector_size])
        self._sync()

    def readblocks(self, block: int, buf: "bytearray | memoryview", offset: int = 0) -> int:
        """Fill buf; 0."""
        self._seek(block, offset, len(buf))
        if self._file.readinto(buf) != len(buf):
            raise OSError(errno.EIO)
        return 0

    def writeblocks(self, block: int, buf: "bytes | bytearray | memoryview", offset: "int | None" = None) -> int:
        """With an offset: program. Without: erase the blocks and program them. 0."""
        if offset is None:
            offset = 0
            for one in range(block, block + len(buf) // self.sector_size):
                self.ioctl(6, one)
        held = bytearray(len(buf))
        self.readblocks(block, held, offset)
        new = int.from_bytes(buf, "big")
        if int.from_bytes(held, "big") & new != new:
            raise OSError(errno.EIO)
        self._write(block, offset, buf)
        return 0

    def ioctl(self, op: int, arg: int) -> "int | None":
        """4: sectors · 5: bytes of a sector · 6: erase sector arg · 3: sync · 1, 2 (start, stop): nothing to do."""
        if op == 4:
            return self.sectors
        if op == 5:
            return self.sector_size
        if op == 6:
            self._write(arg, 0, self._blank)
        elif op == 3:
            self._sync()
        return 0

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _seek(self, block: int, offset: int, length: int) -> None:
        at = block * self.sector_size + offset
        if block < 0 or offset < 0 or at + length > self.sectors * self.sector_size:
            raise OSError(errno.EINVAL)
        self._file.seek(at)

    def _write(self, block: int, offset: int, buf: "bytes | bytearray | memoryview") -> None:
        self._seek(block, offset, len(buf))
        if self._file.write(buf) != len(buf):
            raise OSError(errno.EIO)
        if self._durable:
            self._sync()

    def _sync(self) -> None:
        self._file.flush()  # MicroPython's unix port waits for the disk here
        if hasattr(os, "fsync"):
            os.fsync(self._file.fileno())
