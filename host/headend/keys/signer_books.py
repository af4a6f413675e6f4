"""What the signer's log adds up to, and the caps that are held against it.

Everything here follows from the log's lines and from nothing else, so it is the same after every start. A day is a day
of UTC; a clock that is set back goes on counting in the later day.
"""

import time
from typing import Any, NamedTuple

import msgspec

from headend.keys.signer_lines import AnyLine, EvidenceLine, OrderLine, TokenLine
from headend.refusals import Refused
from meterlink.bodies import MAX_UC
from meterlink.orders import ASPECT_CREDIT

DAY_S = 86_400

Account = tuple[int, int, int]
"""(meter, account epoch, source)."""


class Caps(NamedTuple):
    """The most that may be signed: micro-currency that credit orders add, watt-hours that typed tokens give."""

    increase_uc: int  # by one order
    meter_day_uc: int = MAX_UC
    channel_day_uc: int = MAX_UC
    day_uc: int = MAX_UC
    token_day_wh: int = 0  # for one meter, which is one PAN
    token_month_wh: int = 0

    def checked(self) -> "Caps":
        """Itself; raises Refused where one is out of its range (0 allows nothing, and one order has to be allowed)."""
        for name, value in zip(self._fields, self, strict=True):
            low = 1 if name == "increase_uc" else 0
            if not low <= value <= MAX_UC:
                raise Refused(f"max_{name}", value, f"{low}..{MAX_UC}")
        return self


class Books(msgspec.Struct):
    """Counted line by line with `count`; read and changed by one thread at a time."""

    totals: dict[Account, int] = {}  # highest total ever signed, micro-currency
    refunded: dict[Account, int] = {}
    day: int = 0  # days since 1970
    day_uc: int = 0
    meter_day_uc: dict[int, int] = {}
    channel_day_uc: dict[str, int] = {}
    token_day_wh: dict[str, int] = {}  # by PAN
    month: tuple[int, int] = (0, 0)
    token_month_wh: dict[str, int] = {}
    token_s: dict[str, int] = {}  # PAN -> the latest minute that is the TID of one of its tokens

    def turn(self, at_s: int) -> None:
        """Begin a new day where `at_s` lies in one."""
        day = at_s // DAY_S
        if day <= self.day:
            return
        self.day = day
        self.day_uc = 0
        self.meter_day_uc.clear()
        self.channel_day_uc.clear()
        self.token_day_wh.clear()
        now = time.gmtime(day * DAY_S)
        if (now.tm_year, now.tm_mon) != self.month:
            self.month = (now.tm_year, now.tm_mon)
            self.token_month_wh.clear()

    def check_credit(self, caps: Caps, account: Account, channel: str, total_uc: int) -> int:
        """What a credit statement adds (0 where as much was signed before); raises Refused above a cap.

        Call `turn` first.
        """
        known_uc = self.totals.get(account, 0)
        increase_uc = total_uc - known_uc
        if increase_uc <= 0:
            return 0
        over = self._over(caps, account[0], channel, increase_uc)
        if over is not None:
            raise Refused("total_uc", total_uc, f"at most {known_uc + over[0]} ({over[1]})")
        return increase_uc

    def check_increase(self, caps: Caps, meter: int, channel: str, increase_uc: int) -> None:
        """Raises Refused where an order that adds this goes above a cap. Call `turn` first."""
        over = self._over(caps, meter, channel, increase_uc)
        if over is not None:
            raise Refused("increase_uc", increase_uc, f"at most {over[0]} ({over[1]})")

    def _over(self, caps: Caps, meter: int, channel: str, increase_uc: int) -> tuple[int, str] | None:
        """What is left below the first cap that stands in the way, and its name; None where none does."""
        for cap_uc, used_uc, words in (
            (caps.increase_uc, 0, "cap of one order"),
            (caps.meter_day_uc, self.meter_day_uc.get(meter, 0), "cap of one meter and day"),
            (caps.channel_day_uc, self.channel_day_uc.get(channel, 0), "cap of one channel and day"),
            (caps.day_uc, self.day_uc, "cap of one day"),
        ):
            if used_uc + increase_uc > cap_uc:
                return max(0, cap_uc - used_uc), words
        return None

    def check_token(self, caps: Caps, pan: str, tid: int, tid_s: int, amount_wh: int) -> None:
        """Raises Refused where a TID (the minute `tid_s`) is not above all before it, or energy goes above a cap.

        Call `turn` first.
        """
        newest_s = self.token_s.get(pan, -1)
        if tid_s <= newest_s:
            raise Refused("tid", tid, f"{(newest_s - tid_s) // 60 + tid + 1} or later, or the token that had this one")
        for cap_wh, used_wh, words in (
            (caps.token_day_wh, self.token_day_wh.get(pan, 0), "cap of one meter and day"),
            (caps.token_month_wh, self.token_month_wh.get(pan, 0), "cap of one meter and month"),
        ):
            if amount_wh and used_wh + amount_wh > cap_wh:
                raise Refused("amount_wh", amount_wh, f"at most {max(0, cap_wh - used_wh)} ({words})")

    def count(self, line: AnyLine) -> None:
        """Take a line in."""
        if isinstance(line, OrderLine):
            self.turn(line.at_s)
            if line.aspect == ASPECT_CREDIT:
                self._raise((line.meter, line.account_epoch, line.selector), line.total_uc, line.refunded_uc)
            for source, total_uc, refunded_uc in line.recovered:
                self._raise((line.meter, line.account_epoch, source), total_uc, refunded_uc)
            if line.increase_uc:
                self.day_uc += line.increase_uc
                _add(self.meter_day_uc, line.meter, line.increase_uc)
                _add(self.channel_day_uc, line.channel, line.increase_uc)
        elif isinstance(line, EvidenceLine):
            self._raise((line.meter, line.account_epoch, line.source), line.total_uc, line.refunded_uc)
        elif isinstance(line, TokenLine):
            self.turn(line.at_s)
            _add(self.token_day_wh, line.pan, line.amount_wh)
            _add(self.token_month_wh, line.pan, line.amount_wh)
            self.token_s[line.pan] = max(self.token_s.get(line.pan, 0), line.tid_s)

    def _raise(self, account: Account, total_uc: int, refunded_uc: int) -> None:
        if total_uc > self.totals.get(account, -1):
            self.totals[account] = total_uc
        if refunded_uc > self.refunded.get(account, 0):
            self.refunded[account] = refunded_uc


def _add(counts: dict[Any, int], key: Any, value: int) -> None:
    counts[key] = counts.get(key, 0) + value
