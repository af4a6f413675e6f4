"""The meter's state in flash: key → bytes, committed all or nothing, whatever the power does.

A log in a circle of NOR sectors. One commit is one record that carries all its values; a value counts until a later
record carries its key again. Mounting only reads; only `commit` and `erase_step` write.

Sector: 16 bytes of header (magic 4, sector count 1, version 1, zero 2, erase count 4, CRC-32 4), written at once after
the erase: it says that the erase was complete. Then records, each starting at a multiple of 8 bytes:

======  ====  =====================================================================================================
offset  size  field, big-endian
======  ====  =====================================================================================================
0       4     number: consecutive over all records, so that a lost one leaves a hole
4       4     sequence: of the commit; a copy carries that of the latest commit
8       2     length of the payload, 0..`max_payload`
10      1     back: how many sectors before this one the oldest value lies that still counts
11      1     kind: 0xC3 commit, 0xC5 copy
12      4     CRC-32 over the 12 bytes before and the payload
16            payload: entries of key 2, length 2 and so many bytes; length 65535: the value was lost
======  ====  =====================================================================================================

End of the log: a blank header. A record that is not valid is the torn last one, and then its sector takes no more (its
cells may be half programmed), or a damaged one, and then the scan goes on in steps of 8 bytes; the hole in the numbers
tells the two apart. The very last record torn and the very last record decayed look alike: for that the caller compares
`sequence` with its witness.

Room: sectors before the oldest value that counts are dead. Copying the values of the oldest sector forward, record by
record, needs no more room than that sector has; so one sector is kept that only copies may enter. While the newest
record still leans on all sectors, its sector holds nothing but copies and is forgotten at boot: cuts can be repeated
for ever without using up room.
"""

import struct
from binascii import crc32

from meter.sectors import DAMAGED, FRESH, OK, UNIT_BYTES, Sectors, StorageError
from meterlink import flashmap
from meterlink.flashmap import record_bytes

HEADER_BYTES = flashmap.SECTOR_HEADER_BYTES
RECORD_BYTES = flashmap.JOURNAL_RECORD_BYTES
ENTRY_BYTES = flashmap.JOURNAL_ENTRY_BYTES
WINDOW = flashmap.JOURNAL_WINDOW
MAX_PAYLOAD = 640  # unless the journal is given another
MAX_VALUE = MAX_PAYLOAD - ENTRY_BYTES
MIN_SECTORS = 4
MAX_SECTORS = 64

_HEADER = ">4sBBHII"
_MAGIC = b"MJnl"
_VERSION = 1
_RECORD = ">IIHBBI"
_COMMIT = 0xC3
_COPY = 0xC5
_LOST = 0xFFFF  # length of an entry whose value could not be read when it was to be copied

# An index entry is place << 10 | length of the value: below 2^30, so no heap object on a 32-bit port.
_LENGTH_BITS = 10
_LENGTH_MASK = 1023
_LOST_LENGTH = 1023

_BAD = -1
_BLANK = -2


class JournalFull(StorageError):
    """The values that count would take more room than the sectors can turn over; nothing was changed."""


MAX_RECORD = record_bytes(MAX_PAYLOAD)


def capacity_bytes(sector_count: int, sector_bytes: int, max_payload: int = MAX_PAYLOAD) -> int:
    """What all values may take together, each counted as a record of its own.

    Half of what the log could hold when packed, so that clearing a sector frees half of one on average.
    """
    return (sector_count - 3) * (sector_bytes - HEADER_BYTES - record_bytes(max_payload)) // 2


class Journal:
    """A journal in `sector_count` (4..64) sectors of `bdev` from `first_sector` on. `mount()` before anything else.
    max_payload: of a commit, its values and 4 bytes for each of them.

    status: FRESH, OK or DAMAGED, as `mount` found it · lost_records: holes that it found (at least so many records) ·
    torn: the log ended in a record that was not complete · sequence: of the latest commit, 0 before the first; it never
    falls while powered, and after a boot it is below the witness exactly when commits are missing · erase_count: of the
    most worn sector. Keys are 0..65535, values 0..1022 bytes. Not to be called from interrupts.
    """

    def __init__(self, bdev, first_sector, sector_count, max_payload=MAX_PAYLOAD):
        if not MIN_SECTORS <= sector_count <= MAX_SECTORS:
            raise ValueError("sector_count is {}, not {}..{}".format(sector_count, MIN_SECTORS, MAX_SECTORS))
        self._flash = Sectors(bdev, first_sector, sector_count)
        self._count = sector_count
        self._size = self._flash.size
        self._max_payload = max_payload
        self._max_record = record_bytes(max_payload)
        self._capacity = capacity_bytes(sector_count, self._size, max_payload)
        if self._capacity <= 0 or (sector_count * self._size // UNIT_BYTES) << _LENGTH_BITS >= 1 << 30:
            raise ValueError("{} sectors of {} bytes: too small or too large".format(sector_count, self._size))
        self._buf = bytearray(self._max_record)
        self._view = memoryview(self._buf)
        self._number = 0  # of the record in the buffer, as are the next two
        self._commit = 0
        self._back = 0
        self._reset()

    def _reset(self) -> None:
        """The state of an empty journal: the head is behind the last sector, so that the first one comes next."""
        self.status = FRESH
        self.lost_records = 0
        self.torn = False
        self.sequence = 0
        self._skipped = 0
        self.erase_count = 0
        self._index: "dict[int, int]" = {}
        self._doubtful: "set[int]" = set()
        self._live_bytes = 0
        self._last = 0  # number of the newest record
        self._head = self._count - 1  # sector of the newest record
        self._offset = self._size  # where the next record goes
        self._dirty = True  # the rest of the head cannot be used
        self._tail = self._head  # oldest sector that counts, as the newest record says
        self._next_clean = False  # the sector after the head is erased and marked so
        self._erase_first = False  # it holds the remains of a cut: to be erased before anything is written
        self._hurt = -1  # newest sector that shows damage; its values are copied away

    # -- reading -------------------------------------------------------------------------------------------------------

    def get(self, key: int) -> "bytes | None":
        """The value of a key as a copy; None where there is none. StorageError where it is damaged."""
        at, length = self._find(key)
        return None if at < 0 else bytes(self._view[at : at + length])

    def read_into(self, key: int, buf: bytearray) -> int:
        """Copy the value of a key to the front of `buf`; its length, or -1 where there is none.

        ValueError where `buf` is too short; StorageError where the value is damaged.
        """
        at, length = self._find(key)
        if at < 0:
            return -1
        if length > len(buf):
            raise ValueError("key {}: a value of {} bytes does not fit {}".format(key, length, len(buf)))
        buf[:length] = self._view[at : at + length]
        return length

    def doubtful(self, key: int) -> bool:
        """Whether a later value of this key than the one held (or the only one) may have been lost to damage."""
        return key in self._doubtful or (self.status == DAMAGED and key not in self._index)

    def keys(self) -> "list[int]":
        """The keys that have a value, or had one that was lost."""
        return list(self._index)

    def lost(self) -> "list[int]":
        """The keys whose values were lost; they are told until they are stored again."""
        return [key for key, where in self._index.items() if where & _LENGTH_MASK == _LOST_LENGTH]

    def _find(self, key: int) -> tuple:
        """(place in the buffer, length) of a value; (-1, 0) where there is none."""
        where = self._index.get(key)
        if where is None or where & _LENGTH_MASK == _LOST_LENGTH:
            return -1, 0
        sector, offset = self._position(where)
        for entry, at, length in self._entries(self._load(sector, offset)):
            if entry == key:
                return at, length
        raise StorageError("key {}: its record at sector {} offset {} is damaged".format(key, sector, offset))

    # -- writing -------------------------------------------------------------------------------------------------------

    def commit(self, items: "list[tuple[int, bytes]]") -> int:
        """Store several values, all or none; the sequence of the commit. It is durable when this returns.

        ValueError for what cannot be stored at all and JournalFull change nothing. StorageError: flash failed twice;
        what was stored before stays readable, and whether this commit holds is open until the next one or the next
        boot.
        """
        payload = self._admit(items)
        self._make_room(record_bytes(payload))
        for attempt in range(2):  # a program that did not take costs the rest of its sector, not the commit
            if attempt:
                self._make_room(record_bytes(payload))
            at = RECORD_BYTES
            for key, value in items:
                struct.pack_into(">HH", self._buf, at, key, len(value))
                at += ENTRY_BYTES
                self._buf[at : at + len(value)] = value
                at += len(value)
            sequence = max(self.sequence, self._skipped) + 1
            if self._write(_COMMIT, sequence, payload):
                self.sequence = sequence
                return sequence
        raise self._not_written()

    def skip_to(self, sequence: int) -> None:
        """Let the next commit have a sequence above this one: for a journal that was older than its witness."""
        self._skipped = sequence

    def erase_due(self) -> bool:
        """Whether `erase_step` has something to do, best done while the line is quiet."""
        return not self._next_clean or self._used() > self._window() or self._hurt >= 0

    def _window(self) -> int:
        """How far back values are left: a start reads from the oldest on. Copying them costs a third of what is new."""
        return min(self._count - 2, 2 + self._live_bytes // (self._size // WINDOW))

    def erase_step(self) -> None:
        """One step of what is due: erase and mark one sector, or copy one record forward. StorageError as `commit`."""
        if self._used() < self._count and not self._next_clean:
            self._erase_next()
        elif self._hurt == self._head and self._used() < self._count:
            self._advance()
        elif self.erase_due() and not self._copy_one():
            raise self._not_written()

    def _admit(self, items: "list[tuple[int, bytes]]") -> int:
        """Length of the payload of a commit that can be stored."""
        payload = 0
        live = self._live_bytes
        seen = []
        for key, value in items:
            if not 0 <= key <= 0xFFFF or key in seen:
                raise ValueError("key {} is out of 0..65535 or named twice".format(key))
            seen.append(key)
            payload += ENTRY_BYTES + len(value)
            if len(value) >= _LOST_LENGTH:
                raise ValueError("key {}: a value of {} bytes".format(key, len(value)))
            live += _cost(len(value)) - self._cost_of(key)
        limit = self._max_payload
        if not items or payload > limit:
            raise ValueError("a commit of {} bytes; 1 entry to {} bytes are possible".format(payload, limit))
        if live > self._capacity:
            raise JournalFull("{} bytes of values do not fit {}".format(live, self._capacity))
        return payload

    def _make_room(self, size: int) -> None:
        """Bring the head to where a commit of `size` bytes may go, leaving the sector that is kept for copies."""
        if self._erase_first:
            self._erase_next()
        failures = 0
        while failures < 2:
            if self._used() < self._count:
                if not self._dirty and self._offset + size <= self._size:
                    return
                self._advance()
            elif not self._copy_one():
                failures += 1
        raise self._not_written()

    def _not_written(self) -> StorageError:
        return StorageError("sector {}: a record did not read back as written".format(self._head))

    def _copy_one(self) -> bool:
        """Write one record of the oldest sector again, with what still counts of it; an empty one where nothing does.

        Or bring the head to where there is room for it. False where a record did not take.
        """
        place = -1
        for where in self._index.values():
            if where >> _LENGTH_BITS < place or place < 0:
                if self._sector_of(where) == self._tail:
                    place = where >> _LENGTH_BITS
        payload = self._gather(place) if place >= 0 else 0
        if not self._dirty and self._offset + record_bytes(payload) <= self._size:
            return self._write(_COPY, self.sequence, payload)
        if self._used() < self._count:
            self._advance()
        else:
            self._drop_copies()
        return True

    def _gather(self, place: int) -> int:
        """Bring what still counts of the record at `place` to the buffer; the length of this payload."""
        sector, offset = self._position(place << _LENGTH_BITS)
        end = RECORD_BYTES
        length = self._load(sector, offset)
        if length < 0:  # decayed since mounting: copied as lost, so that it is not taken for never stored
            for key, where in self._index.items():
                if where >> _LENGTH_BITS == place:
                    struct.pack_into(">HH", self._buf, end, key, _LOST)
                    end += ENTRY_BYTES
            self.status = DAMAGED
            self.lost_records += 1
            return end - RECORD_BYTES
        for key, at, size in self._entries(length):
            if self._index[key] >> _LENGTH_BITS == place:
                entry_end = at if size == _LOST else at + size
                entry = bytes(self._view[at - ENTRY_BYTES : entry_end])
                self._buf[end : end + len(entry)] = entry
                end += len(entry)
        return end - RECORD_BYTES

    def _drop_copies(self) -> None:
        """The sector kept for copies failed with copies alone in it: take it again from the start."""
        lost_records, status, doubtful, skipped = self.lost_records, self.status, self._doubtful, self._skipped
        self._erase(self._head)
        self.mount()
        self.lost_records = max(self.lost_records, lost_records)
        self.status = max(self.status, status)
        self._doubtful |= doubtful
        self._skipped = skipped

    def _write(self, kind: int, sequence: int, payload: int) -> bool:
        """Program the record in the buffer at the head and read it back; whether it is there."""
        sector, offset, number = self._head, self._offset, self._last + 1
        keys = [entry[0] for entry in self._entries(payload)]
        back = 0
        for key in self._index:
            if key not in keys:
                back = max(back, (sector - self._sector_of(self._index[key])) % self._count)
        struct.pack_into(_RECORD, self._buf, 0, number, sequence, payload, back, kind, 0)
        crc = crc32(self._view[RECORD_BYTES : RECORD_BYTES + payload], crc32(self._view[:12]))
        struct.pack_into(">I", self._buf, 12, crc)
        size = record_bytes(payload)
        for at in range(RECORD_BYTES + payload, size):
            self._buf[at] = 0xFF
        self._dirty = True
        try:
            self._flash.program(sector, offset, self._view[:size])
        except StorageError:
            return False
        if self._load(sector, offset) != payload or self._number != number or self._commit != sequence:
            return False
        self._dirty = False
        self._offset = offset + size
        self._last = number
        self._tail = (sector - back) % self._count
        if self._hurt >= 0 and (sector - self._hurt) % self._count > back:
            self._hurt = -1
        self._apply(sector, offset, payload)
        return True

    def _advance(self) -> None:
        """Move the head to the next sector."""
        if not self._next_clean:
            self._erase_next()
        self._head = self._after(self._head)
        self._offset = HEADER_BYTES
        self._dirty = False
        self._next_clean = False

    def _erase_next(self) -> None:
        self._next_clean = False
        self._erase(self._after(self._head))
        self._next_clean = True
        self._erase_first = False

    def _erase(self, sector: int) -> None:
        """Erase a sector and mark it with its erase count; where that is not known, the highest one is taken."""
        count = self._erases_of(sector)
        count = max(1, self.erase_count) if count < 0 else count + 1
        self.erase_count = max(self.erase_count, count)
        self._flash.erase(sector, self._view)
        struct.pack_into(_HEADER, self._buf, 0, _MAGIC, self._count, _VERSION, 0, count, 0)
        struct.pack_into(">I", self._buf, 12, crc32(self._view[:12]))
        self._flash.program(sector, 0, self._view[:HEADER_BYTES])
        if self._erases_of(sector) != count:
            raise StorageError("sector {}: its header did not read back as written".format(sector))

    # -- mounting ------------------------------------------------------------------------------------------------------

    def mount(self) -> int:
        """Find the state; FRESH, OK or DAMAGED. Never raises for what the flash holds, writes nothing.

        Reads each byte of the sectors that count twice at most. DAMAGED is told until `erase_step` has copied the
        values away from the damage: whoever must remember it commits that before anything else. A value that was lost
        is told until its key is stored again.
        """
        self._reset()
        first = []  # per sector the number of its first valid record, or -1
        for sector in range(self._count):
            self.erase_count = max(self.erase_count, self._erases_of(sector))
            first.append(self._number if self._seek(sector, HEADER_BYTES) >= 0 else -1)
        if max(first) < 0:
            self.status = FRESH if self._untouched() else DAMAGED
        else:
            self.status = OK
            forgotten_sequence = self._choose_head(first)
            self._replay(first)
            if forgotten_sequence > self.sequence:
                self._lose(1, -1)
        after = self._after(self._head)
        blank = self._flash.blank(after, HEADER_BYTES, self._view)
        self._next_clean = blank and self._erases_of(after) >= 0
        self._erase_first = not blank and first[after] < 0
        self.torn = self._erase_first or (self._dirty and max(first) >= 0)
        return self.status

    def _choose_head(self, first: "list[int]") -> int:
        """Set head, tail, last and sequence from the newest record.

        Returns the sequence that a forgotten sector of copies carried, or -1.
        """
        forgotten = -1
        while True:
            newest = max(first)
            self._head = first.index(newest)
            for _ in first:
                if first[self._after(self._head)] == newest:  # it had failed and was done again there
                    self._head = self._after(self._head)
            self._last = back = 0
            offset = self._seek(self._head, HEADER_BYTES)
            while offset >= 0:
                if self._number > self._last:
                    self._last, self.sequence = self._number, self._commit
                    back = min(self._back, self._count - 1)
                offset = self._seek(self._head, offset + record_bytes(self._length))
            self._tail = (self._head - back) % self._count
            previous = (self._head - 1) % self._count
            if forgotten >= 0 or self._used() < self._count or first[previous] < 0:
                return forgotten
            forgotten = self.sequence
            first[self._head] = -1

    def _replay(self, first: "list[int]") -> None:
        """Build the index from the sectors that count, oldest first, and note every hole in the numbers."""
        expected = -1
        for step in range(self._used()):
            sector = (self._tail + step) % self._count
            if first[sector] < 0:
                continue
            limit = self._last + 1
            for later in range(step + 1, self._used()):
                number = first[(self._tail + later) % self._count]
                if number >= first[sector]:
                    limit = number
                    break
            offset = HEADER_BYTES
            while True:
                at = self._seek(sector, offset)
                if at < 0:
                    break
                offset = at + record_bytes(self._length)
                # Not in the order of the log: what a write left that had failed and was done again elsewhere.
                if expected <= self._number < limit:
                    if expected < 0:
                        if step or at > HEADER_BYTES:
                            self._lose(1, sector)
                    elif self._number > expected:
                        self._lose(self._number - expected, sector)
                    expected = self._number + 1
                    self._apply(sector, at, self._length)
            self._offset = offset
        self._dirty = not self._flash.blank(self._head, self._offset, self._view)
        for where in self._index.values():
            if where & _LENGTH_MASK == _LOST_LENGTH:
                self.status = DAMAGED

    def _untouched(self) -> bool:
        """Whether nothing was ever committed: blank but for erase marks and, in the first sector, one torn record."""
        for sector in range(self._count):
            if not self._flash.blank(sector, HEADER_BYTES + (0 if sector else self._max_record), self._view):
                return False
            if sector and self._erases_of(sector) < 0 and not self._flash.blank(sector, 0, self._view):
                return False
        return True

    def _lose(self, records: int, sector: int) -> None:
        """Note lost records before one in `sector`: any value held so far may have had a successor there."""
        self.status = DAMAGED
        self._hurt = sector
        self.lost_records += records
        self._doubtful.update(self._index)

    # -- records -------------------------------------------------------------------------------------------------------

    def _seek(self, sector: int, offset: int) -> int:
        """Offset of the next valid record, which is then in the buffer, or -1 where the log of the sector ends."""
        start = offset
        while offset + RECORD_BYTES <= self._size:
            self._length = self._load(sector, offset)
            if self._length >= 0:
                return offset
            if self._length == _BLANK and offset == start:
                return -1
            offset += UNIT_BYTES
        return -1

    def _load(self, sector: int, offset: int) -> int:
        """Read the record at a place to the buffer; the length of its payload, _BAD or _BLANK."""
        head = self._view[:RECORD_BYTES]
        self._flash.read(sector, offset, head)
        self._number, self._commit, length, self._back, kind, crc = struct.unpack_from(_RECORD, self._buf, 0)
        if (kind != _COMMIT and kind != _COPY) or length > min(self._max_payload, self._size - offset - RECORD_BYTES):
            return _BLANK if min(head) == 0xFF else _BAD
        payload = self._view[RECORD_BYTES : RECORD_BYTES + length]
        if length:
            self._flash.read(sector, offset + RECORD_BYTES, payload)
        return length if crc32(payload, crc32(self._view[:12])) == crc else _BAD

    def _entries(self, payload):
        """(key, place of the value in the buffer, length or _LOST) of each entry of the record in the buffer."""
        at = RECORD_BYTES
        end = at + payload
        while at + ENTRY_BYTES <= end:
            key, length = struct.unpack_from(">HH", self._buf, at)
            at += ENTRY_BYTES
            yield key, at, length
            if length != _LOST:
                at += length

    def _apply(self, sector: int, offset: int, payload: int) -> None:
        """Let the index point to the values of the record in the buffer."""
        place = (sector * self._size + offset) // UNIT_BYTES << _LENGTH_BITS
        for key, _, length in self._entries(payload):
            self._live_bytes -= self._cost_of(key)
            if length == _LOST:
                self._index[key] = place | _LOST_LENGTH
                self._doubtful.add(key)
            else:
                self._index[key] = place | length
                self._doubtful.discard(key)
            self._live_bytes += self._cost_of(key)

    def _position(self, where: int) -> tuple:
        """(sector, offset) of an index entry's record."""
        return divmod((where >> _LENGTH_BITS) * UNIT_BYTES, self._size)

    def _sector_of(self, where: int) -> int:
        return (where >> _LENGTH_BITS) * UNIT_BYTES // self._size

    def _cost_of(self, key: int) -> int:
        where = self._index.get(key)
        return 0 if where is None else _cost(where & _LENGTH_MASK)

    def _used(self) -> int:
        """How many sectors count, the head included."""
        return (self._head - self._tail) % self._count + 1

    def _after(self, sector: int) -> int:
        return (sector + 1) % self._count

    def _erases_of(self, sector: int) -> int:
        """How often a sector was erased, from its header, or -1 where that is not valid."""
        head = self._view[:HEADER_BYTES]
        self._flash.read(sector, 0, head)
        magic, sectors, version, _, count, crc = struct.unpack(_HEADER, head)
        if magic != _MAGIC or sectors != self._count or version != _VERSION or crc32(head[:12]) != crc:
            return -1
        return count


def _cost(length: int) -> int:
    """Flash that one value takes in a record of its own, from the length that stands in the index."""
    return record_bytes(ENTRY_BYTES + (0 if length == _LOST_LENGTH else length))
