"""The flashes of a fleet in one file: what a meter keeps in flash is kept on a disk, not in this process's memory.

The file has no name and goes with the process. It holds the complement of each byte, so that what was never programmed
is a hole: flash is blank where it is 0xFF, a file where it is 0. On most file systems a meter then takes so many blocks
of 4 KiB as it has sectors that were ever written.
"""

import os
import tempfile
from collections.abc import Iterator
from typing import Any

from meterlink import flashmap
from meterlink.flashmap import SECTOR_BYTES
from metersim.flash import NorFlash

_COMPLEMENT = bytes(range(255, -1, -1))


class FlashFile:
    """One file for the flashes 0, 1, 2, … of equal size. folder: where it lies (default: that of temporary files)."""

    def __init__(self, folder: str | None = None) -> None:
        self._file = tempfile.TemporaryFile(dir=folder, buffering=0)

    def image(self, number: int, length: int) -> "FlashImage":
        """The bytes of a flash; blank where nobody wrote before."""
        return FlashImage(self._file.fileno(), number * length, length)

    def held_bytes(self) -> int:
        """What the file takes on the disk."""
        return os.fstat(self._file.fileno()).st_blocks * 512

    def close(self) -> None:
        """The file is gone."""
        self._file.close()


class FlashImage:
    """As much of a bytearray as a `NorFlash` needs of its image. Sectors that are used are held here until `flush`."""

    def __init__(self, descriptor: int, at: int, length: int) -> None:
        self._descriptor = descriptor
        self._at = at
        self._length = length
        self._held: dict[int, bytearray] = {}
        self._changed: set[int] = set()

    def __len__(self) -> int:
        return self._length

    def __bytes__(self) -> bytes:
        return self[0 : self._length]

    def __getitem__(self, place: slice) -> bytes:
        start, stop = place.start, min(place.stop, self._length)
        first = start // SECTOR_BYTES
        if stop <= (first + 1) * SECTOR_BYTES:
            base = first * SECTOR_BYTES
            return bytes((self._held.get(first) or self._fetch(first))[start - base : stop - base])
        return b"".join(self[at : min(stop, at + SECTOR_BYTES - at % SECTOR_BYTES)] for at in _pieces(start, stop))

    def __setitem__(self, place: slice, data: bytes) -> None:
        start = place.start or 0
        for at in _pieces(start, start + len(data)):
            sector, offset = divmod(at, SECTOR_BYTES)
            held = self._held.get(sector) or self._fetch(sector)
            part = data[at - start : at - start + SECTOR_BYTES - offset]
            held[offset : offset + len(part)] = part
            self._changed.add(sector)

    def _fetch(self, sector: int) -> bytearray:
        raw = os.pread(self._descriptor, SECTOR_BYTES, self._at + sector * SECTOR_BYTES)
        held = self._held[sector] = bytearray(raw.translate(_COMPLEMENT).ljust(SECTOR_BYTES, b"\xff"))
        return held

    def flush(self) -> None:
        """All that was changed goes to the file, and nothing is held any more."""
        for sector in self._changed:
            os.pwrite(self._descriptor, self._held[sector].translate(_COMPLEMENT), self._at + sector * SECTOR_BYTES)
        self._changed.clear()
        self._held.clear()


def _pieces(start: int, stop: int) -> Iterator[int]:
    """Where the parts of start..stop begin that lie in one sector each."""
    while start < stop:
        yield start
        start += SECTOR_BYTES - start % SECTOR_BYTES


_NOTHING = bytearray()


class FiledFlash(NorFlash):
    """Flash `number` of a `FlashFile`, with the rules of NOR."""

    def __init__(self, file: FlashFile, number: int, sectors: int = flashmap.TOTAL_SECTORS) -> None:
        super().__init__(0)
        self.sectors = sectors
        self.erases = [0] * sectors
        self.number = number
        self._image: FlashImage | None = None
        self.attach(file)

    def attach(self, file: FlashFile) -> None:
        """Take the image from a file."""
        self._image = file.image(self.number, self.sectors * self.sector_size)
        image: Any = self._image
        self.data = image

    def flush(self) -> None:
        """Whatever is held here goes to the file."""
        if self._image is not None:
            self._image.flush()

    def detach(self) -> None:
        """Let go of the file, which has all of it then."""
        self.flush()
        self._image = None
        self.data = _NOTHING


__all__ = ["FiledFlash", "FlashFile", "FlashImage"]
