"""A flash partition whose content nobody can read out of the chip, with the rules of NOR flash kept.

An ESP32 encrypts flash in blocks of 16 bytes, and what is erased then reads as noise; the journal programs units of 8
bytes and has to see what is blank. So the meter's partition is left out of the hardware's encryption, and each unit is
encrypted here, as one AES-256 block in ECB mode of (unit 8, where it stands 4, noise 4): the same data looks different
everywhere and each time, a block that is moved or torn is found by its place, and a unit that was never programmed is
16 bytes of 0xFF, as in any flash. A block that is no unit of ours reads as zeros, which no check sum passes.

The partition is twice as large as what it holds. The key is made on the board and lies in encrypted storage
(`boards/esp32s3.py`). It hides the meter's keys; that records are genuine is for the journal and the witness to say.
"""

import struct

from cryptolib import aes

UNIT_BYTES = 8
BLOCK_BYTES = 16
SECTOR_BYTES = 4096
_ECB = 1
_BLANK = b"\xff" * BLOCK_BYTES
_CHUNK_UNITS = 32
_TORN = b"\x00" * UNIT_BYTES


class SealedFlash:
    """A block device of half of `flash`'s blocks. key: 32 bytes · entropy(count): noise for each unit · programs
    start and end at multiples of 8 bytes."""

    def __init__(self, flash, key: bytes, entropy) -> None:
        self._flash = flash
        self._key = key
        self._entropy = entropy
        self._buf = bytearray(_CHUNK_UNITS * BLOCK_BYTES)

    def readblocks(self, block: int, buf: "bytearray | memoryview", offset: int = 0) -> None:
        """Fill buf."""
        view = memoryview(buf)
        at = block * SECTOR_BYTES + offset
        done = 0
        while done < len(view):
            unit, skip = divmod(at + done, UNIT_BYTES)
            length = min(len(view) - done, _CHUNK_UNITS * UNIT_BYTES - skip)
            self._read(unit, skip, view[done : done + length])
            done += length

    def _read(self, unit: int, skip: int, part: memoryview) -> None:
        """Fill `part` from the bytes behind the first `skip` of a unit."""
        units = (skip + len(part) + UNIT_BYTES - 1) // UNIT_BYTES
        raw = memoryview(self._buf)[: units * BLOCK_BYTES]
        self._flash.readblocks(unit * BLOCK_BYTES // SECTOR_BYTES, raw, unit * BLOCK_BYTES % SECTOR_BYTES)
        plain = aes(self._key, _ECB).decrypt(raw)
        out = b""
        for at in range(0, units * BLOCK_BYTES, BLOCK_BYTES):
            if struct.unpack_from(">I", plain, at + UNIT_BYTES)[0] == unit + at // BLOCK_BYTES:
                out += plain[at : at + UNIT_BYTES]
            elif raw[at : at + BLOCK_BYTES] == _BLANK:
                out += _BLANK[:UNIT_BYTES]
            else:
                out += _TORN
        part[:] = out[skip : skip + len(part)]

    def writeblocks(self, block: int, buf: "bytes | bytearray | memoryview", offset: "int | None" = None) -> None:
        """With an offset: program; without: erase the blocks and program them."""
        if offset is None:
            offset = 0
            for one in range(block, block + len(buf) // SECTOR_BYTES):
                self.ioctl(6, one)
        view = memoryview(buf)
        first = (block * SECTOR_BYTES + offset) // UNIT_BYTES
        for at in range(0, len(view), _CHUNK_UNITS * UNIT_BYTES):
            self._program(first + at // UNIT_BYTES, view[at : at + _CHUNK_UNITS * UNIT_BYTES])

    def _program(self, unit: int, part: memoryview) -> None:
        plain = b""
        for at in range(0, len(part), UNIT_BYTES):
            data = bytes(part[at : at + UNIT_BYTES])
            plain += data + struct.pack(">I", unit + at // UNIT_BYTES) + self._entropy(4)
        raw = aes(self._key, _ECB).encrypt(plain)
        self._flash.writeblocks(unit * BLOCK_BYTES // SECTOR_BYTES, raw, unit * BLOCK_BYTES % SECTOR_BYTES)

    def ioctl(self, op: int, arg: int) -> "int | None":
        """4: blocks · 5: bytes of a block · 6: erase block arg · others as the flash has them."""
        if op == 4:
            return self._flash.ioctl(4, 0) // 2
        if op == 6:
            self._flash.ioctl(6, arg * 2)
            return self._flash.ioctl(6, arg * 2 + 1)
        return self._flash.ioctl(op, arg)
