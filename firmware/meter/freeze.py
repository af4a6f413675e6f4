"""Frozen registers: at the end of each local day and month, as the tariff in force has them.

- The registers are taken in the second in which the day ends; each midnight at which the meter runs has its record.
- Power was away at midnight, or the clock jumped over it: nothing was metered meanwhile, so the registers of the return
  are those of the latest midnight that passed. It has one record (FLAG_POWER_FAILED, FLAG_CLOCK_CHANGED); days that
  passed wholly without power have none, as nothing of them is lost.
- The clock went back: the same day may end again, told apart by the sequence number.
- The clock is unknown: nothing is frozen until it is known; then as after a jump.
"""

import struct

from meter.store import KEY_FREEZE
from meterlink import calendar, records

_STATE = ">IBIIBII"
_LONGEST_S = 25 * 3600  # a local day, where an hour is put in
_NONE = 0, 0, 0


class Freeze:
    """A kept part (see `core.Meter`). day: the local day when this was last looked at, 0 = never."""

    key = KEY_FREEZE

    def __init__(self) -> None:
        self.fresh = False
        self.day = 0
        self._next_s = 0
        self._of_day = _NONE  # flags; highest demand in W, and when its interval began
        self._of_month = _NONE

    def interval(self, record: bytes) -> None:
        """An interval has ended: what it adds to its day and month."""
        _, start_s, _, _, import_wh, _, minutes, flags = records.unpack_interval(record)
        power_w = 0 if flags & records.FLAG_SHORT else import_wh * 60 // minutes
        self._of_day = _with(self._of_day, flags, power_w, start_s)
        self._of_month = _with(self._of_month, flags, power_w, start_s)
        self.fresh = True

    def turn(self, meter, at_s: int, flags: int = 0) -> None:
        """The clock stands at `at_s`, where it came by running or as `flags` say: note the records of what has ended
        before. The caller commits."""
        plan = meter.pricing.active
        if not meter.clock.known or not plan or (not flags and at_s < self._next_s):
            return
        before, self.day = self.day, plan.day(at_s)
        self._next_s = plan.next_day_s(at_s)
        if self.day == before:
            return
        self.fresh = True
        if not before or self.day < before:
            return
        end_s = _began(plan, at_s)
        self._take(meter, records.KIND_DAILY, end_s, self._of_day, flags)
        self._of_day = _NONE
        if calendar.month_of(self.day) != calendar.month_of(before):
            self._take(meter, records.KIND_MONTHLY, end_s, self._of_month, flags)
            self._of_month = _NONE

    def _take(self, meter, kind: int, end_s: int, seen: tuple, flags: int) -> None:
        energy, account = meter.energy, meter.account
        meter.log.record(
            kind,
            (end_s, self.day - 1, meter.account_epoch, seen[0] | flags, 0, energy.import_wh, energy.export_wh)
            + tuple(energy.import_rates)
            + tuple(energy.export_rates)
            + (account.balance_uc(), account.charged_uc, account.credited_uc, account.earned_uc)
            + seen[1:],
        )

    def state(self) -> tuple:
        """For `restore`."""
        return self.day, self.fresh, self._next_s, self._of_day, self._of_month

    def restore(self, state: tuple) -> None:
        """Back to a `state`."""
        self.day, self.fresh, self._next_s, self._of_day, self._of_month = state

    def pack(self) -> bytes:
        """For the journal."""
        return struct.pack(_STATE, self.day, *(self._of_day + self._of_month))

    def unpack(self, raw: bytes) -> None:
        """From the journal."""
        f = struct.unpack(_STATE, raw)
        self.day, self._of_day, self._of_month = f[0], f[1:4], f[4:]


def _with(seen: tuple, flags: int, power_w: int, start_s: int) -> tuple:
    """What was seen of a period, with one more interval."""
    return (seen[0] | flags,) + ((power_w, start_s) if power_w > seen[1] else seen[1:])


def _began(plan, at_s: int) -> int:
    """The first second of the local day that `at_s` lies in."""
    found_s = next_s = max(0, at_s - _LONGEST_S)
    while next_s <= at_s:
        found_s, next_s = next_s, plan.next_day_s(next_s)
    return found_s
