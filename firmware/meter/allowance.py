"""Who prices, and what supply is covered by: the mode of fee control and the allowance that goes with it.

- *local*: the meter charges its account; covered from a balance on that the credit side names.
- *remote*: the head end charges. Covered up to a register; beyond it while the balance that was stated, counted down at
  the tariff, is positive, so that time alone cuts nobody off who has credit; then for a grace of energy and of time,
  whichever ends first, once for each statement.
- *postpaid*: the head end bills; always covered.

A typed allowance covers up to a register of its own in any mode, until the account is closed.
"""

import struct

from meterlink import states
from meterlink.bodies import MAX_UC

_STATED = ">BQQII"
_COUNTED = ">qHQI"
_NOT_BEGUN = 0xFFFFFFFFFFFFFFFF
_UNCOUNTED = (0, 0, _NOT_BEGUN, 0)


class Allowance:
    """mode: states.MODE_* · counting: whether `pack_counted` belongs into each checkpoint."""

    def __init__(self, energy, account) -> None:
        self._energy = energy
        self._account = account
        self.open()

    def open(self) -> None:
        """As a new account has it: local, nothing stated."""
        self.restore((states.MODE_LOCAL, 0, 0, 0, 0) + _UNCOUNTED)

    def state(self) -> tuple:
        """For `restore`."""
        return (
            self.mode,
            self._stated_wh,
            self._typed_wh,
            self._grace_wh,
            self._grace_s,
            self._left_uc,
            self._remainder,
            self._grace_from_wh,
            self._grace_used_s,
        )

    def restore(self, state: tuple) -> None:
        """Back to a `state`."""
        self.mode, self._stated_wh, self._typed_wh, self._grace_wh, self._grace_s = state[:5]
        self._left_uc, self._remainder, self._grace_from_wh, self._grace_used_s = state[5:]

    def take(self, mode: int, until_wh: int, balance_uc: int, grace_wh: int, grace_s: int) -> None:
        """What a mode order states; the countdown and the grace begin anew."""
        self.restore((mode, until_wh, self._typed_wh, grace_wh, grace_s, balance_uc, 0, _NOT_BEGUN, 0))

    def extend(self, energy_wh: int) -> None:
        """A typed allowance: covered for so much energy beyond what is covered already. The caller stores `pack`
        (KEY_ALLOWANCE)."""
        self._typed_wh = max(self.until_wh(), self._energy.import_wh) + energy_wh

    def until_wh(self) -> int:
        """The import register up to which supply is covered; 0 where none was stated."""
        return max(self._stated_wh, self._typed_wh)

    @property
    def counting(self) -> bool:
        """Whether the meter counts down what was stated."""
        return self.mode == states.MODE_REMOTE

    def charge(self, energy_wh: int, plan, rate: int, used_wh: int = 0) -> None:
        """Energy was drawn after `used_wh` in the period of the steps: charge the account, or count down what was
        stated."""
        if self.mode == states.MODE_LOCAL:
            self._account.charge(energy_wh, plan, rate, used_wh)
        elif self.counting:
            cost_uc, self._remainder = plan.cost(energy_wh, rate, self._remainder, used_wh)
            self._count_down(cost_uc)

    def charge_time(self, amount_uc: int) -> int:
        """Days have begun that cost something: the same. What the account is charged with."""
        if self.mode == states.MODE_LOCAL:
            self._account.charge_uc(amount_uc)
            return amount_uc
        if self.counting:
            self._count_down(amount_uc)
        return 0

    def earn(self, exported_wh: int, plan, rate: int) -> None:
        """Energy was exported: the account earns it where the meter prices."""
        if self.mode == states.MODE_LOCAL:
            self._account.earn(exported_wh, plan, rate)

    def _count_down(self, amount_uc: int) -> None:
        self._left_uc = max(self._left_uc - amount_uc, -MAX_UC)

    def cover_uc(self, price_uc_per_kwh: int) -> int:
        """What the alarms go by: the balance, or what the allowance is worth."""
        if self.mode == states.MODE_LOCAL:
            return self._account.balance_uc()
        if not self.counting:
            return MAX_UC
        return max(self._left_uc, (self._stated_wh - self._energy.import_wh) * price_uc_per_kwh // 1000)

    def covers(self, elapsed_s: int, least_uc: int) -> bool:
        """Whether supply is covered at this moment, in local mode by a balance of at least `least_uc`; seconds count
        towards the grace once it has begun."""
        import_wh = self._energy.import_wh
        if not self.counting:
            covered = self.mode == states.MODE_POSTPAID or self._account.balance_uc() >= least_uc
        else:
            covered = self._left_uc > 0
        if covered or import_wh < self.until_wh():
            return True
        if not self.counting:
            return False
        if self._grace_from_wh == _NOT_BEGUN:
            self._grace_from_wh = import_wh
        else:
            self._grace_used_s = min(self._grace_used_s + elapsed_s, self._grace_s)
        return import_wh - self._grace_from_wh < self._grace_wh and self._grace_used_s < self._grace_s

    # -- in the journal ------------------------------------------------------------------------------------------------

    def pack(self) -> bytes:
        """What was stated and typed."""
        return struct.pack(_STATED, *self.state()[:5])

    def counted(self) -> tuple:
        """What has become of it: nothing in the modes that do not count."""
        return self.state()[5:] if self.counting else ()

    def pack_counted(self) -> bytes:
        """What has become of it; checkpointed in the modes that count."""
        return struct.pack(_COUNTED, *self.state()[5:])

    def unpack(self, stated: bytes, counted: "bytes | None") -> None:
        """From the journal; what was counted belongs to the modes that count."""
        self.restore(struct.unpack(_STATED, stated) + _UNCOUNTED)
        if self.counting and counted:
            self.restore(self.state()[:5] + struct.unpack(_COUNTED, counted))
