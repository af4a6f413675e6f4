"""Whether credit covers supply, second by second: the causes that the account finds.

- out of credit: the balance is not above what overdraft and emergency credit allow, or the allowance is used up. Once
  it has opened the relay it stands until the balance is at least `min_close_uc` (and above zero), emergency credit is
  taken, or somebody else charges.
- reminder (bodies.RULE_REMINDER): the balance has come to the second alarm: once, until a key press of 3 s while supply
  is off, or until the balance is above the alarm. Being out of credit reminds as well.

In friendly time neither begins. When it ends, what is not covered goes on for a random part of `friendly_jitter_s`, so
that a street does not go dark in one second; then comes the trip's delay.
"""

import struct

from meter.store import KEY_COVER
from meterlink import events, reasons, states
from meterlink.bodies import FRIENDLY_SPECIAL, RULE_REMINDER
from meterlink.tariff import QUARTER_S

REMIND_S = 3  # the key, for so long

_ARMED, _STANDS, _DONE = 0, 1, 2  # the reminder
_STATE = ">BB"


class Cover:
    """tripped: the account keeps an open relay open · friendly: friendly time is what keeps supply on now. A kept
    part."""

    key = KEY_COVER

    def __init__(self, meter) -> None:
        self._meter = meter
        self.fresh = False
        self.tripped = False
        self.friendly = False
        self._reminder = _ARMED
        self._jitter_s = -1  # left after a friendly time; -1: there was none

    def open(self) -> None:
        """A new account."""
        self.restore((False, _ARMED, True))

    def state(self) -> tuple:
        """For `restore`."""
        return self.tripped, self._reminder, self.fresh

    def restore(self, state: tuple) -> None:
        """Back to a `state`."""
        self.tripped, self._reminder, self.fresh = state

    def pack(self) -> bytes:
        """For the journal."""
        return struct.pack(_STATE, self.tripped, self._reminder)

    def unpack(self, raw: bytes) -> None:
        """From the journal."""
        tripped, self._reminder = struct.unpack(_STATE, raw)
        self.tripped = bool(tripped)

    # -- causes --------------------------------------------------------------------------------------------------------

    def causes(self, elapsed_s: int) -> int:
        """Bits of reasons.CAUSE_OUT_OF_CREDIT and CAUSE_REMINDER."""
        meter = self._meter
        on = meter.supply.control == states.CONTROL_CONNECTED
        charging = meter.charging()
        out = not meter.allowance.covers(elapsed_s, self._least_uc())
        out = not self._kept_by_friendly(elapsed_s, out and charging and not self.tripped) and out
        self._keep(out and charging and not on, self._remind(out, charging, on))
        reminds = self._reminder == _STANDS and not (on and meter.friendly())
        return out << reasons.CAUSE_OUT_OF_CREDIT | reminds << reasons.CAUSE_REMINDER

    def _least_uc(self) -> int:
        """The lowest balance that covers supply as it is."""
        limits = self._meter.supply.limits
        if self.tripped:
            return max(1, min(limits.min_close_uc, limits.credit_limit_uc))
        return self._meter.emergency.floor_uc() + 1

    def _kept_by_friendly(self, elapsed_s: int, lacks: bool) -> bool:
        """Whether friendly time, or what is drawn of its end, keeps supply on that `lacks` cover."""
        meter = self._meter
        self.friendly = False
        if not lacks:
            self._jitter_s = -1
        elif meter.friendly():
            self.friendly = True
            if self._jitter_s < 0:
                meter.note(events.FRIENDLY_KEEPS, meter.account.balance_uc() // 1000)
                widest_s = meter.supply.limits.friendly_jitter_s
                self._jitter_s = int.from_bytes(meter.board.entropy(2), "big") % (widest_s + 1)
        elif self._jitter_s > 0:
            self._jitter_s = max(0, self._jitter_s - elapsed_s)
            self.friendly = self._jitter_s > 0
        return self.friendly

    def _remind(self, out: bool, charging: bool, on: bool) -> int:
        """Where the reminder stands from now on."""
        meter = self._meter
        limits = meter.supply.limits
        if not limits.rules & RULE_REMINDER or meter.account.balance_uc() > limits.alarm2_uc:
            return _ARMED
        if out or not charging:
            return _DONE if out or self._reminder else _ARMED
        if self._reminder == _ARMED and on and not meter.friendly():
            return _STANDS
        return self._reminder

    def _keep(self, tripped: bool, reminder: int) -> None:
        if (tripped, reminder) != (self.tripped, self._reminder):
            self.tripped, self._reminder, self.fresh = tripped, reminder, True

    # -- the customer --------------------------------------------------------------------------------------------------

    def press(self, held_s: int) -> None:
        """The reconnection key was held for so long: the reminder is heard."""
        off = self._meter.supply.control != states.CONTROL_CONNECTED
        if held_s >= REMIND_S and off and self._reminder == _STANDS:
            self._keep(self.tripped, _DONE)
            self._meter.note(events.REMINDER_HEARD)

    def take_emergency(self) -> bool:
        """Emergency credit is taken, and lifts what its lack has tripped; the caller commits."""
        taken = self._meter.emergency.take()
        if taken:
            self._keep(False, self._reminder)
        return taken

    def reconnect_uc(self) -> int:
        """The least top-up after which credit no longer keeps supply off; 0 where it does not."""
        meter = self._meter
        if not self.tripped:
            return 0
        charges, balance_uc = meter.charges, meter.account.balance_uc()
        settlement = meter.supply.limits.settlement
        low_uc, least_uc = 0, self._least_uc() - balance_uc
        high_uc = max(1, least_uc) + charges.due_uc() + sum([debt.owed_uc() for debt in charges.debts])
        while high_uc - low_uc > 1:
            middle_uc = (low_uc + high_uc) // 2
            shares, dues = charges.split(middle_uc, balance_uc, settlement)
            if middle_uc - sum(shares) - sum(dues) >= least_uc:
                high_uc = middle_uc
            else:
                low_uc = middle_uc
        return high_uc


def in_friendly_time(limits, plan, unix_s: int) -> bool:
    """Whether want of credit trips nothing at a UTC second. A time over midnight is of the day on which it begins."""
    days = limits.friendly_days
    if days & FRIENDLY_SPECIAL and plan.friendly(unix_s):
        return True
    begin, end = limits.friendly_from, limits.friendly_until
    weekday, second = plan.local(unix_s)[3:]
    quarter = second // QUARTER_S
    if begin <= end:
        inside = begin <= quarter < end
    else:
        inside = quarter >= begin or quarter < end
        if quarter < end:
            weekday = (weekday + 6) % 7
    return bool(inside and days >> weekday & 1)
