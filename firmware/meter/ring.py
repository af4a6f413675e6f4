"""A ring of fixed-size records in flash: intervals, events. The newest push out the oldest, a whole sector at a time.

Each record brings its own sequence number and check, which `check` reads; here they only get a place. Sequence numbers
rise from record to record; gaps are allowed and none is ever used twice. A ring that lost its newest records to decay
does not know of them, so the caller keeps its next number in the journal too and goes on with the higher of the two.

Sector: 16 bytes of header, then slots. The header is the same 8 bytes twice, each valid by itself, so that one decayed
bit costs no sector: magic 1, generation 3, CRC-32 4 over these four and the record size. It is written at once after
the erase and says that the erase was complete. The generation counts all erases of the ring, so it gives the order of
the sectors and their wear, and what a torn erase has left cannot pose as new. Slots fill in order, each programmed
once; a torn one is not valid and is left behind.

The sector after the head is the oldest. It is erased once no more than `ahead` slots are free in the head: by
`erase_step` while the line is quiet, or by `append` when the head is full. So (sectors - 1) · slots - `ahead` records
are always held (`guaranteed`).
"""

import struct
from binascii import crc32

from meter.sectors import DAMAGED, FRESH, OK, UNIT_BYTES, Sectors, StorageError

HEADER_BYTES = 16

_HALF_BYTES = 8
_MAGIC = 0x52
_NONE = -1


class Ring:
    """`check(record) -> int | None`: the sequence number (0..2^32-1) of a valid record, None for any other bytes.

    newest, oldest: sequence numbers held, -1 while there is none · generation: erases so far, less one ·
    damaged_sectors: sectors that held something which is not readable, as `mount` found · guaranteed: how many records
    are held at least, once so many were appended (a torn or damaged slot costs one). `mount()` before anything else.
    ValueError for a size that is no multiple of 8 or does not fit.
    """

    def __init__(self, bdev, first_sector, sector_count, record_size, check, ahead=0):
        self._flash = Sectors(bdev, first_sector, sector_count)
        self._count = sector_count
        self._size = record_size
        self.slots = (self._flash.size - HEADER_BYTES) // record_size
        if sector_count < 2 or record_size % UNIT_BYTES or not 0 < record_size < 256 or not 0 <= ahead < self.slots:
            raise ValueError("a ring of {} sectors with records of {}".format(sector_count, record_size))
        self._check = check
        self._ahead = ahead
        self.guaranteed = (sector_count - 1) * self.slots - ahead
        self._buf = bytearray(record_size)
        self._scratch = memoryview(bytearray(256))
        self._reset()

    def _reset(self) -> None:
        self.newest = self.oldest = _NONE
        self.damaged_sectors = 0
        self.generation = -1  # of the head
        self._first = [_NONE] * self._count  # sequence number of the first record of each sector that counts
        self._head = self._count - 1
        self._slot = self.slots  # the next one to be written in the head
        self._next_clean = False

    # -- reading -------------------------------------------------------------------------------------------------------

    def read_into(self, seq: int, buf: bytearray) -> bool:
        """Fill `buf` (of the record's size) with a record and say whether it is there; if not, `buf` holds anything."""
        if not self.oldest <= seq <= self.newest or seq < 0:
            return False
        sector = self._sector_of(seq)
        last = (self._slot if sector == self._head else self.slots) - 1
        start = min(seq - self._first[sector], last)  # gaps bring it before that slot, torn slots behind
        for step in (1, -1):
            slot = start if step > 0 else start - 1
            while 0 <= slot <= last:
                self._flash.read(sector, self._place(slot), buf)
                found = self._check(buf)
                if found == seq:
                    return True
                if found is not None and (found > seq) == (step > 0):
                    break
                slot += step
        return False

    def _sector_of(self, seq: int) -> int:
        """The newest sector that starts at or before a sequence number."""
        for back in range(self._count):
            sector = (self._head - back) % self._count
            if 0 <= self._first[sector] <= seq:
                return sector
        return self._head

    # -- writing -------------------------------------------------------------------------------------------------------

    def append(self, record: "bytes | bytearray") -> int:
        """Store a record; its sequence number. It is durable when this returns.

        ValueError for one that is not valid or not above `newest`; StorageError where flash failed (what is held stays
        readable).
        """
        seq = self._check(record) if len(record) == self._size else None
        if seq is None or seq <= self.newest:
            raise ValueError("record {} of {} bytes after {}".format(seq, len(record), self.newest))
        for _ in range(2):  # a slot that does not take costs a slot, not the record
            self._find_slot()
            slot = self._slot
            self._slot += 1
            try:
                self._flash.program(self._head, self._place(slot), record)
            except StorageError:
                continue
            self._flash.read(self._head, self._place(slot), self._buf)
            if self._buf == record:
                if self._first[self._head] < 0:
                    self._first[self._head] = seq
                if self.oldest < 0:
                    self.oldest = seq
                self.newest = seq
                return seq
        raise StorageError("sector {}: a record did not read back as written".format(self._head))

    def _find_slot(self) -> None:
        """Bring head and slot to a blank place."""
        for _ in range(2 * self.slots + 1):
            if self._slot < self.slots:
                self._flash.read(self._head, self._place(self._slot), self._buf)
                if min(self._buf) == 0xFF:
                    return
                self._slot += 1
            else:
                if not self._next_clean:
                    self._erase_next()
                self._head = self._after(self._head)
                self.generation += 1
                self._slot = 0
                self._next_clean = False
        raise StorageError("sector {}: no blank slot".format(self._head))

    def erase_due(self) -> bool:
        """Whether `erase_step` has something to do, best done while the line is quiet."""
        return not self._next_clean and self.slots - self._slot <= self._ahead

    def erase_step(self) -> None:
        """Erase the oldest sector if that is due. StorageError where flash failed."""
        if self.erase_due():
            self._erase_next()

    def _erase_next(self) -> None:
        sector = self._after(self._head)
        self._first[sector] = _NONE
        self._find_oldest()
        self._flash.erase(sector, self._scratch)
        mark = struct.pack(">I", _MAGIC << 24 | (self.generation + 1))
        mark += struct.pack(">I", crc32(mark, self._size))
        self._flash.program(sector, 0, mark + mark)
        self._flash.read(sector, 0, self._scratch[:HEADER_BYTES])
        if self._scratch[:HEADER_BYTES] != mark + mark:
            raise StorageError("sector {}: its header did not read back as written".format(sector))
        self._next_clean = True

    # -- mounting ------------------------------------------------------------------------------------------------------

    def mount(self) -> int:
        """Find the records: FRESH, OK or DAMAGED. Never raises for what the flash holds, writes nothing.

        Reads the header and the slots up to the first valid one of each sector, and a few slots of the head.
        """
        self._reset()
        generations = [self._generation_of(sector) for sector in range(self._count)]
        first = [_NONE] * self._count
        for sector in range(self._count):
            if generations[sector] >= 0:
                first[sector] = self._first_of(sector)
            if first[sector] >= 0 and generations[sector] > self.generation:
                self._head, self.generation = sector, generations[sector]
        if self.generation >= 0:
            self._trust(first, generations)
            self._find_end()
        after = self._after(self._head)
        self._next_clean = generations[after] == self.generation + 1
        for sector in range(self._count):
            if self._first[sector] < 0 and sector != after and not self._looks_unused(sector):
                self.damaged_sectors += 1
        if self.damaged_sectors:
            return DAMAGED
        return OK if self.newest >= 0 else FRESH

    def _trust(self, first: "list[int]", generations: "list[int]") -> None:
        """Take the sectors, from the head backwards, whose generations and first records fall as they must."""
        below = first[self._head] + 1
        for back in range(self._count):
            sector = (self._head - back) % self._count
            if generations[sector] == self.generation - back and 0 <= first[sector] < below:
                self._first[sector] = below = first[sector]
        self._find_oldest()

    def _find_end(self) -> None:
        """Set the next slot of the head by bisection, as its slots fill in order, and the newest record."""
        low, high = 0, self.slots
        while low < high:
            middle = (low + high) // 2
            self._flash.read(self._head, self._place(middle), self._buf)
            if min(self._buf) == 0xFF:
                high = middle
            else:
                low = middle + 1
        self._slot = low
        self.newest = self._first[self._head]
        for slot in range(low - 1, -1, -1):
            seq = self._seq_at(self._head, slot)
            if seq is not None and seq >= self.newest:
                self.newest = seq
                return

    def _find_oldest(self) -> None:
        self.oldest = _NONE
        for step in range(1, self._count + 1):
            seq = self._first[(self._head + step) % self._count]
            if seq >= 0:
                self.oldest = seq
                return

    def _first_of(self, sector: int) -> int:
        """Sequence number of the first valid record of a sector, or -1."""
        for slot in range(self.slots):
            seq = self._seq_at(sector, slot)
            if seq is not None:
                return seq
            if min(self._buf) == 0xFF:
                return _NONE
        return _NONE

    def _seq_at(self, sector: int, slot: int) -> "int | None":
        self._flash.read(sector, self._place(slot), self._buf)
        return self._check(self._buf)

    def _generation_of(self, sector: int) -> int:
        """The generation that the header of a sector tells, or -1 where neither copy is valid."""
        header = self._scratch[:HEADER_BYTES]
        self._flash.read(sector, 0, header)
        for at in (0, _HALF_BYTES):
            mark, crc = struct.unpack_from(">II", header, at)
            if mark >> 24 == _MAGIC and crc == crc32(header[at : at + 4], self._size):
                return mark & 0xFFFFFF
        return _NONE

    def _looks_unused(self, sector: int) -> bool:
        """Whether a sector without records has none because it never held one: its first slot is blank."""
        self._flash.read(sector, self._place(0), self._buf)
        return min(self._buf) == 0xFF

    def _place(self, slot: int) -> int:
        return HEADER_BYTES + slot * self._size

    def _after(self, sector: int) -> int:
        return (sector + 1) % self._count
