"""What the meter keeps in flash: one journal for its state, rings for its records; and the checkpoint's layout.

Every decision is one commit: the order, all that it changes and a checkpoint of the registers, or nothing. Events of a
decision ride in its commit (KEY_EVENTS), an interval in the commit that closes it (KEY_PERIOD), records of the other
logs likewise (KEY_LOGS); they go to their ring afterwards, and a start appends what a power cut kept from it. So a
record's number names one content for ever, and none is lost or doubled.

Each commit but a tick carries a seal (KEY_SEAL): a sum over all values that nothing else could tell. Where flash shows
damage, the seal of the newest state says whether anything that counts is missing or old (`whole`).
"""

import struct
from binascii import crc32

from meter import tick
from meter.eventlog import split
from meter.journal import Journal
from meter.ring import Ring
from meter.sectors import DAMAGED, StorageError
from meterlink import flashmap as m
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
KEY_LINE = 30  # settings of the bus
KEY_UPDATE = 38  # read and written alike by every release
KEY_TARIFF_BODIES = 33  # and the 2 after it: bodies of tariffs; KEY_TARIFF and KEY_TARIFF_PASSIVE say which is which
KEY_RUNNING = 36  # what the tariff counts over time
KEY_CHARGES = 40  # what was collected of debts, and what is due
KEY_DEBT = 41  # and the 2 after it: the terms of debts
KEY_EMERGENCY = 44
KEY_COVER = 45
KEY_LOAD = 48  # load control as ordered
KEY_SEAL = 52
KEY_LOGS = 52  # + records.KIND_*: what the last commit with such records gave to their ring
KEY_TICK = 57  # a short checkpoint, see `tick`
KEY_FORMAT = 58  # of the flash: FORMAT_*
KEY_FREEZE = 59
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
CHECKPOINT_COUNT = 28  # of values
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

FORMAT_MOVED = b"\1"  # all is here, and what lay elsewhere in format 1 is to be erased
FORMAT_2 = b"\2"

# Values that can be told again, or that each checkpoint states anew: no seal covers them, no history is lost with them.
_LIGHT = (
    KEY_CHECKPOINT,
    KEY_TICK,
    KEY_SEAL,
    KEY_PERIOD,
    KEY_EVENTS,
    KEY_CURSORS,
    KEY_LATCHES,
    KEY_STARTS,
    KEY_FREEZE,
    KEY_LINE,
    KEY_LOGS + records.KIND_SWITCH,
    KEY_LOGS + records.KIND_TOPUP,
    KEY_LOGS + records.KIND_DAILY,
    KEY_LOGS + records.KIND_MONTHLY,
)

_FORGET = 64  # keys a commit

RETRY_S = 60  # pause before flash that failed is tried again


NUISANCE = 0  # place in Store.logs; the others are records.KIND_*


class Store:
    """journal, intervals, events: as they are named · logs: the other rings, NUISANCE and by records.KIND_* · newest:
    number of the last record of each records.KIND_* · failed: flash refused the last write; nothing is decided until a
    checkpoint goes through again."""

    def __init__(self, flash) -> None:
        event, check = records.RECORD_LENGTH, records.check
        self.journal = Journal(flash, m.JOURNAL_FIRST, m.JOURNAL_SECTORS, m.MAX_COMMIT)
        self.intervals = Ring(flash, m.INTERVALS_FIRST, m.INTERVALS_SECTORS, event, check, m.INTERVALS_AHEAD)
        self.events = Ring(flash, m.EVENTS_FIRST, m.EVENTS_SECTORS, event, check, m.EVENTS_AHEAD)
        self.logs = {
            NUISANCE: Ring(flash, m.NUISANCE_FIRST, m.NUISANCE_SECTORS, event, check, m.NUISANCE_AHEAD),
            records.KIND_SWITCH: Ring(
                flash, m.SWITCHES_FIRST, m.SWITCHES_SECTORS, records.SWITCH_LENGTH, check, m.SWITCHES_AHEAD
            ),
            records.KIND_TOPUP: Ring(
                flash, m.TOPUPS_FIRST, m.TOPUPS_SECTORS, records.TOPUP_LENGTH, check, m.TOPUPS_AHEAD
            ),
            records.KIND_DAILY: Ring(
                flash, m.DAILY_FIRST, m.DAILY_SECTORS, records.FREEZE_LENGTH, check, m.DAILY_AHEAD
            ),
            records.KIND_MONTHLY: Ring(
                flash, m.MONTHLY_FIRST, m.MONTHLY_SECTORS, records.FREEZE_LENGTH, check, m.MONTHLY_AHEAD
            ),
        }
        self.newest = {kind: 0 for kind in self.logs if kind}
        self.failed = False
        self._retry_at_s = 0
        self._marks: "dict[int, int]" = {}  # of each value that the seal covers

    def mount(self) -> int:
        """Find the state in the journal: FRESH, OK or DAMAGED."""
        try:
            status = self.journal.mount()
        except StorageError:
            self.failed = True
            return DAMAGED
        self._marks = {}
        for key in self.journal.keys():
            value = None if key in _LIGHT else self.get(key)
            if value is not None:
                self._marks[key] = _mark(key, value)
        return status

    def whole(self) -> bool:
        """Whether nothing that counts is missing or old, whatever was damaged.

        The checkpoint is the newest one where no damage lies behind it, or a tick behind the damage goes on from it;
        and the values agree with the seal of its commit.
        """
        journal = self.journal
        full = self.get(KEY_CHECKPOINT)
        if not full:
            return False
        if journal.doubtful(KEY_CHECKPOINT):
            if journal.doubtful(KEY_TICK) or not tick.goes_on(self.get(KEY_TICK) or b"", full):
                return False
        return self.get(KEY_SEAL) == _seal(self._marks)

    def get(self, key: int) -> "bytes | None":
        """A value, or None where there is none or it cannot be read (then `failed`)."""
        try:
            return self.journal.get(key)
        except StorageError:
            self.failed = True
            return None

    def commit(self, items: "list[tuple[int, bytes]]", mono_s: int) -> bool:
        """All of it or nothing; whether it is durable."""
        marks = {key: _mark(key, value) for key, value in items if key not in _LIGHT}
        sealed = items
        if items[0][0] != KEY_TICK:
            seal = dict(self._marks)
            seal.update(marks)
            sealed = items + [(KEY_SEAL, _seal(seal))]
        try:
            self.journal.commit(sealed)
        except StorageError:
            self.rest(mono_s)
            return False
        self._marks.update(marks)
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

    def log(self, packed: "dict[int, bytes]") -> None:
        """Committed records go to their rings: by kind, one behind the other, numbered on from `newest`."""
        for kind in packed:
            ring = self.logs[kind]
            for seq, record in split(packed[kind], struct.calcsize(records.FORMAT_OF[kind])):
                self.append(ring, seq, record)
                self.newest[kind] = seq

    def _housekeeping(self):
        """The part that has some, or None; the journal comes first."""
        for part in (self.journal, self.intervals, self.events):
            if part.erase_due():
                return part
        for part in self.logs.values():
            if part.erase_due():
                return part
        return None

    def erase_due(self) -> bool:
        """Whether `erase_step` has something to do."""
        return self._housekeeping() is not None

    def erase_step(self) -> bool:
        """One erase or copy ahead of its need; whether flash did it."""
        part = self._housekeeping()
        try:
            if part:
                part.erase_step()
        except StorageError:
            return False
        return True


def _mark(key: int, value: bytes) -> int:
    """What a value adds to the seal; a small integer on 32-bit ports."""
    return crc32(value, key) & 0x3FFFFFFF


def _seal(marks: "dict[int, int]") -> bytes:
    return struct.pack(">I", sum(marks.values()) & 0xFFFFFFFF)
