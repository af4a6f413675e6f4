"""What the meter keeps in flash: one journal for its state, two rings for its records; and the checkpoint's layout.

Every decision is one commit: the order, all that it changes and a checkpoint of the registers, or nothing. Events of a
decision ride in its commit (KEY_EVENTS), an interval in the commit that closes it (KEY_PERIOD); both go to their ring
afterwards, and a start appends what a power cut kept from it. So a record's number names one content for ever, and none
is lost or doubled.
"""

import struct

from meter import flashmap
from meter.journal import Journal
from meter.ring import Ring
from meter.sectors import StorageError
from meterlink import records

# Keys of the journal. Order keys: aspect << 8 | reason of a supply order, place of a credit source, else 0.
KEY_PROVISION_TAIL = 1  # the provisioning record from PROVISION_SPLIT on, committed before its head
KEY_PROVISION = 2
KEY_LIFE = 3
KEY_CHECKPOINT = 4
KEY_SUPPLY = 5
KEY_SOURCES = 6
KEY_TARIFF = 7
KEY_TARIFF_PASSIVE = 8
KEY_LIMITS = 9
KEY_PERIOD = 10
KEY_EVENTS = 11
KEY_CURSORS = 12
KEY_ACCOUNT = 13  # which account is open, and below which version orders are old
KEY_CLOSING = 14  # what the account closed last stood at
KEY_ALLOWANCE = 15  # mode and allowance as stated
KEY_COUNTDOWN = 16  # what is left of them; beside each checkpoint in the modes that count it
KEY_LATCHES = 17
KEY_STARTS = 18  # times of the last unclean starts
KEY_TAG_KEYS = 19  # where an order has changed those of the provisioning record
KEY_SIGNING_KEYS = 20
KEY_TYPED = 21  # typed tokens: lock-out, sums of the month, limit of power, sections of a key change
KEY_DECODER = 22  # their key and its attributes, and how far keys before it had come
KEY_TIDS = 24  # and the 4 after it: those that were taken
KEY_UPDATE = 38  # read and written alike by every release
KEY_TARIFF_BODIES = 33  # and the 2 after it: bodies of tariffs; KEY_TARIFF and KEY_TARIFF_PASSIVE say which is which
KEY_RUNNING = 36  # what the tariff counts over time
KEY_CHARGES = 40  # what was collected of debts, and what is due
KEY_DEBT = 41  # and the 2 after it: the terms of debts
KEY_EMERGENCY = 44
KEY_COVER = 45
KEY_LOAD = 48  # load control as ordered
KEY_CALIBRATION = 60
KEY_TAMPER = 61  # inputs as they were last told
KEY_FOLDED = 0x60  # and the 31 after it: one a credit source that was folded

PROVISION_SPLIT = 256

# time, import Wh and rest, export Wh and rest, credited, earned, refunded, adjusted, charged, balance, remainder,
# seconds to the armed trip, alarms, newest event, flags of the open interval, format; import Wh and export Wh of four
# rates each, waiting, rest of earned, Wh in the period of the tariff's steps: every value of money and energy in one
# place, so that each checkpoint balances by itself.
CHECKPOINT = ">IQIQIQQQQQqHHHIBB8QQHQ"
CHECKPOINT_LENGTH = struct.calcsize(CHECKPOINT)
CHECKPOINT_FORMAT = 2

# boot, log id, unclean starts, day and seconds of clock shifts, flags
LIFE = ">IIIIHB"
CURSORS = ">II"  # last interval and event acknowledged

LIFE_HISTORY_LOST = 1
LIFE_RTC_PENDING = 2  # a clock order is durable, and whether the RTC was set is not known
LIFE_STOPPED = 4  # the last run ended with a warning

ACCOUNT = ">HBBHI"  # account epoch, flags, folded sources that no longer count, floor: signing epoch and version
ACCOUNT_RETIRED = 1
CLOSING = ">HQ"  # account epoch, credited by typed tokens; then a checkpoint
CLOSING_LENGTH = 10

_FORGET = 64  # keys a commit

RETRY_S = 60  # pause before flash that failed is tried again


class Store:
    """journal, intervals, events: as they are named · failed: flash refused the last write; nothing is decided until a
    checkpoint goes through again."""

    def __init__(self, flash) -> None:
        self.journal = Journal(flash, flashmap.JOURNAL_FIRST, flashmap.JOURNAL_SECTORS, flashmap.MAX_COMMIT)
        self.intervals = Ring(
            flash,
            flashmap.INTERVALS_FIRST,
            flashmap.INTERVALS_SECTORS,
            records.RECORD_LENGTH,
            records.check,
            flashmap.INTERVALS_AHEAD,
        )
        self.events = Ring(
            flash,
            flashmap.EVENTS_FIRST,
            flashmap.EVENTS_SECTORS,
            records.RECORD_LENGTH,
            records.check,
            flashmap.EVENTS_AHEAD,
        )
        self.failed = False
        self._retry_at_s = 0

    def get(self, key: int) -> "bytes | None":
        """A value, or None where there is none or it cannot be read (then `failed`)."""
        try:
            return self.journal.get(key)
        except StorageError:
            self.failed = True
            return None

    def commit(self, items: "list[tuple[int, bytes]]", mono_s: int) -> bool:
        """All of it or nothing; whether it is durable."""
        try:
            self.journal.commit(items)
        except StorageError:
            self.rest(mono_s)
            return False
        self.failed = False
        return True

    def put(self, key: int, value: bytes, mono_s: int) -> bool:
        """Store one value that nothing names yet, ahead of the decision that will; whether it is durable."""
        return not self.resting(mono_s) and self.commit([(key, value)], mono_s)

    def forget_lost(self, mono_s: int) -> bool:
        """Let go of the values that damage has taken, so that it is told no more; whether that is durable."""
        lost = self.journal.lost()
        while lost:
            if not self.commit([(key, b"") for key in lost[:_FORGET]], mono_s):
                return False
            lost = lost[_FORGET:]
        return True

    def rest(self, mono_s: int) -> None:
        """Flash failed: leave it alone for a while."""
        self.failed = True
        self._retry_at_s = mono_s + RETRY_S

    def resting(self, mono_s: int) -> bool:
        """Whether flash failed so lately that it is left alone."""
        return self.failed and mono_s < self._retry_at_s

    def append(self, ring: Ring, seq: int, record: bytes) -> bool:
        """Put a committed record into its ring unless it is there; whether it is."""
        if seq <= ring.newest:
            return True
        try:
            ring.append(record)
        except StorageError:
            return False
        return True

    def erase_due(self) -> bool:
        """Whether `erase_step` has something to do."""
        return self.journal.erase_due() or self.intervals.erase_due() or self.events.erase_due()

    def erase_step(self) -> bool:
        """One erase or copy ahead of its need; whether flash did it."""
        try:
            if self.journal.erase_due():
                self.journal.erase_step()
            elif self.intervals.erase_due():
                self.intervals.erase_step()
            else:
                self.events.erase_step()
        except StorageError:
            return False
        return True
