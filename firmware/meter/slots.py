"""Two places for images, and which of them runs: what the boot stage and the application share, outside the journal.

The flash has two sectors for the state and twice `SLOT_SECTORS` for images. A state is a record of 16 bytes, appended
behind the last one; the newest with a right CRC counts, so a write that power cuts is as if it had not begun. Where a
sector is full the other one is erased and goes on. The format is part of the boot stage, which no update changes.

    sequence 4, good 1, trial 1, tries 1, failed 1, reason 1, zeros 3, CRC-32 4

A new image is *armed*, tried by the boot stage `MAX_TRIES` times at most, and either marked good by the application
or rolled back, by itself or by the boot stage. Slot 0 is the image that is built in: it is always good.
"""

import errno
import struct
from binascii import crc32

SECTOR_BYTES = 4096
SLOT_SECTORS = 48
SLOT_BYTES = SLOT_SECTORS * SECTOR_BYTES
STATE_SECTORS = 2
TOTAL_SECTORS = STATE_SECTORS + 2 * SLOT_SECTORS

MAX_TRIES = 3  # starts of an image on trial

BUILT_IN = 0

REASON_TEST = 1  # why an image was rolled back: it did not pass its self-test in time
REASON_STARTS = 2  # it was started MAX_TRIES times and never said that it is good

_RECORD = ">IBBBBB3x"
_RECORD_LENGTH = 16
_PLACES = SECTOR_BYTES // _RECORD_LENGTH
_BLANK = b"\xff" * _RECORD_LENGTH


class Slots:
    """flash: block device (MicroPython's extended protocol) of TOTAL_SECTORS · running: slot that this program was
    started from · mapped: the same flash as memory, where the board has it mapped.

    good: slot to start · trial: slot on trial (0: none) · tries: starts of it so far · failed, reason: slot that was
    rolled back last, and why (0: none).
    """

    def __init__(self, flash, running: int = BUILT_IN, mapped: "memoryview | None" = None) -> None:
        self.running = running
        self._flash = flash
        self._mapped = mapped
        self._sequence = 0
        self._at = 0  # place of the next record
        self.good = self.trial = self.tries = self.failed = self.reason = 0
        self._load()

    # -- state ---------------------------------------------------------------------------------------------------------

    def _load(self) -> None:
        raw = bytearray(SECTOR_BYTES)
        for sector in range(STATE_SECTORS):
            self._flash.readblocks(sector, raw, 0)
            used = 0
            newest = False
            for place in range(_PLACES):
                one = bytes(raw[place * _RECORD_LENGTH : (place + 1) * _RECORD_LENGTH])
                if one == _BLANK:
                    continue
                used = place + 1
                if struct.unpack(">I", one[12:])[0] != crc32(one[:12]) & 0xFFFFFFFF:
                    continue
                f = struct.unpack(_RECORD, one[:12])
                if f[0] > self._sequence:
                    newest = True
                    self._sequence, self.good, self.trial, self.tries, self.failed, self.reason = f
            if newest or (used and not self._sequence):
                self._at = sector * _PLACES + used

    def _store(self, good: int, trial: int, tries: int, failed: int, reason: int) -> None:
        """OSError where flash did not take it: then the state is as it was."""
        place = self._at % (STATE_SECTORS * _PLACES)
        if not place % _PLACES:
            self._flash.ioctl(6, place // _PLACES)
        body = struct.pack(_RECORD, self._sequence + 1, good, trial, tries, failed, reason)
        raw = body + struct.pack(">I", crc32(body) & 0xFFFFFFFF)
        sector, offset = place // _PLACES, place % _PLACES * _RECORD_LENGTH
        self._at = place + 1
        self._flash.writeblocks(sector, raw, offset)
        held = bytearray(_RECORD_LENGTH)
        self._flash.readblocks(sector, held, offset)
        if held != raw:
            raise OSError(errno.EIO)
        self._sequence += 1
        self.good, self.trial, self.tries, self.failed, self.reason = good, trial, tries, failed, reason

    def choose(self) -> int:
        """The boot stage asks which slot to start; a start of an image on trial is counted before it is made."""
        if self.trial:
            if self.tries < MAX_TRIES:
                self._store(self.good, self.trial, self.tries + 1, 0, 0)
                return self.trial
            self.roll_back(REASON_STARTS)
        return self.good

    def arm(self, slot: int) -> None:
        """Have the next start try a slot."""
        self._store(self.good, slot, 0, 0, 0)

    def mark_good(self) -> None:
        """What runs on trial is good, and is started from now on."""
        self._store(self.trial, 0, 0, 0, 0)

    def roll_back(self, reason: int) -> None:
        """End the trial; what was good before is started next."""
        self._store(self.good, 0, 0, self.trial, reason)

    # -- images --------------------------------------------------------------------------------------------------------

    def spare(self) -> int:
        """The slot that an image may be put into: neither running nor good."""
        return 2 if 1 in (self.running, self.good) else 1

    def _sector(self, slot: int, offset: int) -> int:
        return STATE_SECTORS + (slot - 1) * SLOT_SECTORS + offset // SECTOR_BYTES

    def erase(self, slot: int, offset: int) -> None:
        """Erase the sector that begins at `offset`."""
        self._flash.ioctl(6, self._sector(slot, offset))

    def program(self, slot: int, offset: int, data: bytes) -> None:
        """Program erased bytes within one sector; OSError where they do not read back."""
        self._flash.writeblocks(self._sector(slot, offset), data, offset % SECTOR_BYTES)
        held = bytearray(len(data))
        self.read(slot, offset, held)
        if held != data:
            raise OSError(errno.EIO)

    def read(self, slot: int, offset: int, buf: "bytearray | memoryview") -> None:
        """Fill buf from within one sector."""
        self._flash.readblocks(self._sector(slot, offset), buf, offset % SECTOR_BYTES)

    def length(self, slot: int) -> int:
        """Bytes of the ROMFS in a slot, as its head says (D2 CD 31, then 4 groups of 7 bits); 0 where there is none."""
        head = bytearray(7)
        self.read(slot, 0, head)
        if head[:3] != b"\xd2\xcd\x31":
            return 0
        length = 0
        for group in head[3:]:
            length = length << 7 | group & 0x7F
        length += len(head)
        return length if length <= SLOT_BYTES else 0

    def image(self, slot: int) -> "memoryview | bytearray":
        """The image of a slot as memory: in place where flash is mapped, else a copy; empty where there is none."""
        first = self._sector(slot, 0)
        length = self.length(slot)
        if self._mapped is not None:
            return self._mapped[first * SECTOR_BYTES :][:length]
        raw = bytearray(length)
        self._flash.readblocks(first, raw, 0)
        return raw
