"""Emergency credit: what the customer may take at the meter when the balance has become low.

==========  ==========================================================================================================
state       while
==========  ==========================================================================================================
NONE        the balance is above `emergency_from_uc`, there is no emergency credit, it would not bring supply back,
            or somebody else charges (remote, postpaid)
OFFERED     the balance is at or below `emergency_from_uc`, and none is taken
IN_USE      it is taken: supply is covered down to -(emergency + overdraft)
USED_UP     it is taken, and the balance is at or below that
==========  ==========================================================================================================

From OFFERED to IN_USE leads `take` alone. It is paid back, and can be offered again, once the balance is above zero
and above `emergency_from_uc`. What was granted stands until then, whatever the limits say meanwhile.
"""

import struct

from meter.store import KEY_EMERGENCY
from meterlink import events, states

_STATE = ">BQ"
_TOLD = {
    states.EMERGENCY_OFFERED: events.EMERGENCY_OFFERED,
    states.EMERGENCY_IN_USE: events.EMERGENCY_TAKEN,
    states.EMERGENCY_USED_UP: events.EMERGENCY_USED_UP,
}


class Emergency:
    """state: states.EMERGENCY_*, as of the last `update` · granted_uc: what was taken, 0 = none. A kept part."""

    key = KEY_EMERGENCY

    def __init__(self, meter) -> None:
        self._meter = meter
        self.fresh = False
        self.state = states.EMERGENCY_NONE
        self.granted_uc = 0

    def open(self) -> None:
        """A new account: none is taken."""
        self.restore((states.EMERGENCY_NONE, 0, True))

    def saved(self) -> tuple:
        """For `restore`."""
        return self.state, self.granted_uc, self.fresh

    def restore(self, saved: tuple) -> None:
        """Back to what was `saved`."""
        self.state, self.granted_uc, self.fresh = saved

    def pack(self) -> bytes:
        """For the journal."""
        return struct.pack(_STATE, self.state, self.granted_uc)

    def unpack(self, raw: bytes) -> None:
        """From the journal."""
        self.state, self.granted_uc = struct.unpack(_STATE, raw)

    def left_uc(self) -> int:
        """How much of it is left; the overdraft is used before it."""
        return max(0, min(self.granted_uc, self._meter.account.balance_uc() - self.floor_uc()))

    def floor_uc(self) -> int:
        """Supply is covered at a balance above this one."""
        return -self.granted_uc - self._meter.supply.limits.overdraft_uc

    def update(self) -> None:
        """Follow the balance, the limits and the mode."""
        limits = self._meter.supply.limits
        balance_uc = self._meter.account.balance_uc()
        if self.granted_uc and balance_uc > limits.emergency_from_uc:
            self.granted_uc = 0
            self.fresh = True
            self._meter.note(events.EMERGENCY_PAID_BACK)
        state = states.EMERGENCY_NONE
        if not self._meter.charging():
            pass
        elif self.granted_uc:
            state = states.EMERGENCY_IN_USE if balance_uc > self.floor_uc() else states.EMERGENCY_USED_UP
        elif self.floor_uc() - limits.emergency_uc < balance_uc <= limits.emergency_from_uc:
            state = states.EMERGENCY_OFFERED if limits.emergency_uc else state
        if state != self.state:
            if state > self.state:
                self._meter.note(_TOLD[state], (self.granted_uc or limits.emergency_uc) // 1000)
            self.state = state
            self.fresh = True

    def take(self) -> bool:
        """The customer asks for it; whether it is granted. The caller commits."""
        self.update()
        if self.state != states.EMERGENCY_OFFERED:
            return False
        self.granted_uc = self._meter.supply.limits.emergency_uc
        self.update()
        return True
