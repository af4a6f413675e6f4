"""NOR flash without hardware: a block device that keeps the rules of NOR and loses power when told to.

It speaks MicroPython's extended block-device protocol (see `meter.sectors`) and runs on MicroPython as well as on
CPython.

Every erase and every program is one numbered operation (`ops`). `cut_at(n, torn)` lets operation n happen in part and
takes the power away: PowerCut is raised then and by everything that follows, until `power_on()`. What `torn` means:

====  ============================================  ================================================
torn  a program of k bytes                          an erase
====  ============================================  ================================================
0     nothing is programmed                         nothing is erased
25    the first k · 25 // 100 bytes are             the first quarter of the sector is 0xFF, the
                                                    rest as before
50    the first half                                every second byte or so (scattered) is 0xFF
75    the first k · 75 // 100 bytes                 all but the first quarter is 0xFF
BIT   one of the bits that it would clear is        one of the bits that it would set is set
      cleared
====  ============================================  ================================================

Which bytes and bits those are follows from the operation's number, so equal runs give equal flash.
"""

try:  # for the type checker alone; MicroPython has neither
    from collections.abc import Callable
    from io import BufferedRandom
except ImportError:
    pass

BIT = "bit"
TORN = (0, 25, 50, 75, BIT)


class PowerCut(BaseException):
    """The power is gone. Not an Exception: firmware cannot handle it, it just stops."""


class NorViolation(Exception):
    """A fault of the firmware: it programmed a bit from 0 to 1, or a unit twice, or outside the flash."""


class NorFlash:
    """A flash of `sectors` sectors, erased as from the factory.

    lenient: programming 0 to 1 keeps the 0, as the chip does, in place of raising NorViolation · unit_bytes: raise
    also where a unit of so many bytes is programmed twice (0: allowed) · path: a file that holds the same image; it
    is read if it is there and follows every operation.

    Counted: `ops`, `erases` (a list, per sector), `programmed_bytes`, `reads`, `read_bytes`.
    `watch(block, offset, data)` is called before each operation; data is None for an erase.
    """

    def __init__(
        self,
        sectors: int,
        sector_size: int = 4096,
        lenient: bool = False,
        unit_bytes: int = 0,
        path: "str | None" = None,
    ) -> None:
        self.sectors = sectors
        self.sector_size = sector_size
        self.lenient = lenient
        self.unit_bytes = unit_bytes
        self.data = bytearray(b"\xff" * (sectors * sector_size))
        self.ops = 0
        self.erases = [0] * sectors
        self.programmed_bytes = 0
        self.reads = 0
        self.read_bytes = 0
        self.watch: Callable[[int, int, bytes | None], None] | None = None
        self.powered = True
        self._cut_op = 0
        self._cut_torn: int | str = 0
        self._worn: dict[int, int] = {}
        self._file = _open(path, self.data) if path else None

    # -- the block device --------------------------------------------------------------------------------------------

    def readblocks(self, block: int, buf: "bytearray | memoryview", offset: int = 0) -> int:
        """Fill buf; 0."""
        self._want_power()
        at = self._place(block, offset, len(buf))
        buf[:] = self.data[at : at + len(buf)]
        self.reads += 1
        self.read_bytes += len(buf)
        return 0

    def writeblocks(self, block: int, buf: "bytes | bytearray | memoryview", offset: "int | None" = None) -> int:
        """With an offset: program. Without: erase the blocks and program them. 0."""
        if offset is None:
            for one in range(block, block + len(buf) // self.sector_size):
                self._operate(one, 0, None)
        self._operate(block, offset or 0, bytes(buf))
        return 0

    def ioctl(self, op: int, arg: int) -> "int | None":
        """4: sectors · 5: bytes of a sector · 6: erase sector arg · 1, 2, 3 (start, stop, sync): nothing to do."""
        if op == 4:
            return self.sectors
        if op == 5:
            return self.sector_size
        if op == 6:
            self._operate(arg, 0, None)
        return 0

    # -- faults ------------------------------------------------------------------------------------------------------

    def cut_at(self, op: int, torn: "int | str") -> None:
        """Lose power in operation number `op` (the next one is ops + 1), of which `torn` happens."""
        if torn not in TORN:
            raise ValueError(f"torn is one of {TORN}, not {torn!r}")
        self._cut_op = op
        self._cut_torn = torn

    def power_on(self) -> None:
        """The power is back; a cut that has not come yet is forgotten."""
        self.powered = True
        self._cut_op = 0

    def wear_out(self, sector: int, times: int = -1) -> None:
        """The next `times` operations on a sector (-1: all) take on its first half only, and do not say so."""
        self._worn[sector] = times

    def flip(self, bit: int) -> None:
        """Turn one bit of the image over, as a decayed cell does."""
        self.data[bit >> 3] ^= 1 << (bit & 7)

    # -- images ------------------------------------------------------------------------------------------------------

    def snapshot(self) -> "tuple[bytes, int, tuple[int, ...], int]":
        """What `restore` takes: the image and the counters."""
        return bytes(self.data), self.ops, tuple(self.erases), self.programmed_bytes

    def restore(self, snapshot: "tuple[bytes, int, tuple[int, ...], int]") -> None:
        """Back to a snapshot, with power."""
        self.data[:] = snapshot[0]
        self.ops = snapshot[1]
        self.erases[:] = list(snapshot[2])
        self.programmed_bytes = snapshot[3]
        self.power_on()
        self._store(0, len(self.data))

    def fork(self) -> "NorFlash":
        """A second flash with the same content and rules, without file, faults and watch."""
        other = NorFlash(self.sectors, self.sector_size, self.lenient, self.unit_bytes)
        other.restore(self.snapshot())
        return other

    def close(self) -> None:
        """Close the file behind it, if there is one."""
        if self._file:
            self._file.close()
            self._file = None

    # -- inside ------------------------------------------------------------------------------------------------------

    def _want_power(self) -> None:
        if not self.powered:
            raise PowerCut("the flash has no power")

    def _place(self, block: int, offset: int, length: int) -> int:
        at = block * self.sector_size + offset
        if block < 0 or offset < 0 or at + length > len(self.data):
            raise NorViolation(f"block {block} offset {offset}: {length} bytes lie outside the flash")
        return at

    def _operate(self, block: int, offset: int, data: "bytes | None") -> None:
        self._want_power()
        length = self.sector_size if data is None else len(data)
        at = self._place(block, offset, length)
        if data is not None:
            self._check_rules(at, data)
        if self.watch:
            self.watch(block, offset, data)
        self.ops += 1
        before = bytes(self.data[at : at + length])
        if data is None:
            after = b"\xff" * length
            self.erases[block] += 1
        else:
            after = _and(before, data)
            self.programmed_bytes += length
        cut = self.ops == self._cut_op
        if cut:
            after = _torn(before, after, self._cut_torn, self.ops, data is None)
        elif self._worn.get(block):
            self._worn[block] -= 1
            after = after[: length // 2] + before[length // 2 :]
        self.data[at : at + length] = after
        self._store(at, length)
        if cut:
            self.powered = False
            raise PowerCut(f"operation {self.ops}, torn {self._cut_torn}")

    def _check_rules(self, at: int, data: bytes) -> None:
        if not self.lenient and _and(self.data[at : at + len(data)], data) != data:
            raise NorViolation(f"byte {at}: {len(data)} bytes would set bits from 0 to 1")
        if self.unit_bytes:
            if at % self.unit_bytes or len(data) % self.unit_bytes:
                raise NorViolation(f"byte {at}: {len(data)} bytes are not whole units")
            if data and min(self.data[at : at + len(data)]) != 0xFF:
                raise NorViolation(f"byte {at}: a unit is programmed twice")

    def _store(self, at: int, length: int) -> None:
        if self._file:
            self._file.seek(at)
            self._file.write(self.data[at : at + length])
            self._file.flush()


def _open(path: str, data: bytearray) -> "BufferedRandom":
    """The file of an image, open for both; `data` is filled from it, or it from `data` where it is new or short."""
    try:
        file = open(path, "r+b")
    except OSError:
        file = open(path, "w+b")
    held = file.read()
    data[: min(len(held), len(data))] = held[: len(data)]
    file.seek(0)
    file.write(data)
    file.flush()
    return file


def _and(old: "bytes | bytearray", new: bytes) -> bytes:
    """What programming `new` over `old` leaves."""
    return (int.from_bytes(old, "big") & int.from_bytes(new, "big")).to_bytes(len(new), "big")


def _torn(before: bytes, after: bytes, torn: "int | str", number: int, erase: bool) -> bytes:
    """What an operation leaves that is cut: see the table above."""
    length = len(before)
    if torn == BIT:
        return _one_bit(before, after, number)
    if not erase:
        done = length * int(torn) // 100
        return after[:done] + before[done:]
    quarter = length // 4
    if torn == 25:
        return after[:quarter] + before[quarter:]
    if torn == 75:
        return before[:quarter] + after[quarter:]
    if torn == 50:
        mixed = bytearray(before)
        state = number
        for index in range(length):
            state = (state * 25173 + 13849) & 0xFFFF
            if state & 0x8000:
                mixed[index] = after[index]
        return bytes(mixed)
    return before


def _one_bit(before: bytes, after: bytes, number: int) -> bytes:
    """`before` with one of the bits changed that differ in `after`."""
    places = [index for index in range(len(before)) if before[index] != after[index]]
    if not places:
        return before
    place = places[number * 40503 % len(places)]
    bits = [bit for bit in range(8) if (before[place] ^ after[place]) >> bit & 1]
    changed = bytearray(before)
    changed[place] ^= 1 << bits[number * 25173 % len(bits)]
    return bytes(changed)
