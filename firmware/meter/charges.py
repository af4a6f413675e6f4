"""What the account is charged for beside energy: debts, standing charges, and what a top-up pays of them.

A debt is moved to the meter by `debt` orders, which state running totals as credit does:

    owed = placed - withdrawn - collected, never below zero

A timed debt is collected at the begin of each local day, week (from Monday) or month, as often as such a one has begun
since; while the clock is unknown nothing begins. A shared debt is collected of each top-up, sale by sale, up to a cap
in each period. Both are charged to the account in the commit that collects them, so the balance tells the same.

While charges are suspended (bodies.RULE_SUSPEND, emergency credit in use) timed debts and standing charges are not
charged: they are `due`, and the next top-up pays them.
"""

import struct

from meter.store import KEY_CHARGES, KEY_DEBT
from meterlink import bodies, calendar, events
from meterlink.billing import MAX_DAYS

STANDING = bodies.DEBTS  # the place behind the debts
_PLACES = range(STANDING + 1)
_STATE = ">I10Q"
_NONE = bodies.DebtTerms(0, 0, bodies.DEBT_TIMED, 0, 0, 0, 0, 0)


class Debt:
    """One debt. raw, terms: as the last order of this account states them, b"" and _NONE without one · collected_uc:
    charged in all · due_uc: fallen due, not charged yet · taken_uc: of top-ups, in the period of the cap. The terms are
    a kept part."""

    def __init__(self, key: int) -> None:
        self.key = key
        self.fresh = False
        self.raw = b""
        self.terms = _NONE
        self.collected_uc = 0
        self.due_uc = 0
        self.taken_uc = 0

    def pack(self) -> bytes:
        """The terms for the journal."""
        return self.raw

    def unpack(self, raw: bytes) -> None:
        """From the journal; no bytes for none."""
        self.raw = raw
        self.terms = bodies.decode_debt(raw) if raw else _NONE

    @property
    def total_uc(self) -> int:
        """What was placed and not withdrawn."""
        return self.terms.placed_uc - self.terms.withdrawn_uc

    def owed_uc(self) -> int:
        """What is left of it; 0 also where more was withdrawn than was owed."""
        return max(0, self.total_uc - self.collected_uc)


class Charges:
    """debts: three Debt, number n in place n - 1 · standing_due_uc: standing charges that are due · day: the last local
    day that has begun, 0 = none yet. A kept part."""

    key = KEY_CHARGES

    def __init__(self, meter) -> None:
        self._meter = meter
        self.debts = [Debt(KEY_DEBT + place) for place in range(STANDING)]
        self.fresh = False
        self.standing_due_uc = 0
        self.day = 0

    def open(self) -> None:
        """A new account, or one that is stated anew: nothing is owed and nothing was collected."""
        self.unpack(bytes(struct.calcsize(_STATE)))
        self.fresh = True
        for debt in self.debts:
            debt.fresh = bool(debt.raw)
            debt.unpack(b"")

    # -- state in the journal ------------------------------------------------------------------------------------------

    def state(self) -> tuple:
        """For `restore`."""
        return self.pack(), self.fresh, [(debt.raw, debt.fresh) for debt in self.debts]

    def restore(self, state: tuple) -> None:
        """Back to a `state`."""
        self.unpack(state[0])
        self.fresh = state[1]
        for debt, (raw, fresh) in zip(self.debts, state[2]):
            debt.unpack(raw)
            debt.fresh = fresh

    def pack(self) -> bytes:
        """For the journal."""
        values = [self.day, self.standing_due_uc]
        for debt in self.debts:
            values += [debt.collected_uc, debt.due_uc, debt.taken_uc]
        return struct.pack(_STATE, *values)

    def unpack(self, raw: bytes) -> None:
        """From the journal."""
        f = struct.unpack(_STATE, raw)
        self.day, self.standing_due_uc = f[:2]
        for place in range(STANDING):
            debt = self.debts[place]
            debt.collected_uc, debt.due_uc, debt.taken_uc = f[3 * place + 2 : 3 * place + 5]

    # -- by order and by time ------------------------------------------------------------------------------------------

    def take(self, number: int, raw: bytes) -> None:
        """The terms that an order states of debt `number`. What was collected stays collected."""
        debt = self.debts[number - 1]
        debt.unpack(raw)
        debt.due_uc = min(debt.due_uc, debt.owed_uc())
        debt.fresh = self.fresh = True

    def turn(self, plan, unix_s: int, charging: bool, suspended: bool) -> None:
        """The time has come to `unix_s`, by a clock that is known: collect for the days, weeks and months that have
        begun. To be called as `billing.Running.turn` is.

        A clock that goes back collects for none twice, nor does one that went ahead hold up a debt for longer than
        MAX_DAYS. charging: whether the meter is the one that charges; otherwise nothing is made up for later.
        """
        day = plan.day(unix_s)
        before = max(day - MAX_DAYS, min(self.day or day, day + MAX_DAYS))
        day = max(day, before)
        if day == self.day:
            return
        self.day = day
        for place in self._in_turn():
            debt = self.debts[place]
            terms = debt.terms
            self.fresh = True
            begun = _period(terms.period, day) - _period(terms.period, before)
            if begun:
                debt.taken_uc = 0
            amount_uc = min(begun * terms.amount_uc, debt.owed_uc() - debt.due_uc)
            if charging and amount_uc:  # a shared debt has no amount
                if suspended:
                    self._defer(place, amount_uc)
                else:
                    self._charge(place, amount_uc)
                    self._meter.note(events.DEBT_COLLECTED, amount_uc // 1000, 1 << place)

    def defer_standing(self, amount_uc: int) -> None:
        """Standing charges fall due while charges are suspended."""
        self._defer(STANDING, amount_uc)

    def _defer(self, place: int, amount_uc: int) -> None:
        self.fresh = True
        if place == STANDING:
            self.standing_due_uc += amount_uc
        else:
            self.debts[place].due_uc += amount_uc

    def _charge(self, place: int, amount_uc: int) -> None:
        self.fresh = True
        self._meter.account.charge_uc(amount_uc)
        if place == STANDING:
            self._meter.pricing.standing_uc += amount_uc
            self._meter.pricing.fresh = True
        else:
            self.debts[place].collected_uc += amount_uc

    def _in_turn(self) -> "list[int]":
        """The places of the debts that there are, by priority, then by number. (MicroPython's sort is not stable.)"""
        placed = [place for place in range(STANDING) if self.debts[place].raw]
        return sorted(placed, key=lambda place: (self.debts[place].terms.priority, place))

    # -- by top-ups ----------------------------------------------------------------------------------------------------

    def due_uc(self) -> int:
        """All that is due."""
        return self.standing_due_uc + sum([debt.due_uc for debt in self.debts])

    def split(self, amount_uc: int, balance_uc: int, settlement: int) -> "tuple[list[int], list[int]]":
        """What a top-up pays that meets this balance: (shares, what is due) by place; the rest of it is credit."""
        shares, dues = [0] * len(_PLACES), [0] * len(_PLACES)
        left_uc = amount_uc
        for pay in _PAYS[settlement]:
            left_uc = pay(self, left_uc, balance_uc, shares, dues)
        return shares, dues

    def _below_zero(self, left_uc: int, balance_uc: int, shares: "list[int]", dues: "list[int]") -> int:
        return left_uc - min(left_uc, max(0, -balance_uc))

    def _shares(self, left_uc: int, balance_uc: int, shares: "list[int]", dues: "list[int]") -> int:
        """Each its share of the same amount, as far as that goes."""
        whole_uc = left_uc
        for place in self._in_turn():
            debt = self.debts[place]
            terms = debt.terms
            most_uc = debt.owed_uc() - debt.due_uc
            if terms.cap_uc:
                most_uc = min(most_uc, max(0, terms.cap_uc - debt.taken_uc))
            shares[place] = min(whole_uc * terms.share // 10_000, most_uc, left_uc)
            left_uc -= shares[place]
        return left_uc

    def _dues(self, left_uc: int, balance_uc: int, shares: "list[int]", dues: "list[int]") -> int:
        for place in [STANDING] + self._in_turn():
            due_uc = self.standing_due_uc if place == STANDING else self.debts[place].due_uc
            dues[place] = min(left_uc, due_uc)
            left_uc -= dues[place]
        return left_uc

    def settle(self, sales: "list[int]", balance_uc: int, settlement: int) -> "list[int]":
        """Top-ups of these amounts arrive at a balance of `balance_uc`: charge what they pay, one after the other; what
        each has paid."""
        paid_uc = which = 0
        each = []
        for amount_uc in sales:
            before_uc = paid_uc
            shares, dues = self.split(amount_uc, balance_uc, settlement)
            balance_uc += amount_uc
            for place in _PLACES:
                part_uc = shares[place] + dues[place]
                if part_uc:
                    self._charge(place, part_uc)
                    self._defer(place, -dues[place])
                    if place != STANDING:
                        self.debts[place].taken_uc += shares[place]
                    balance_uc -= part_uc
                    paid_uc += part_uc
                    which |= 1 << place
            each.append(paid_uc - before_uc)
        if which:
            self._meter.note(events.DEBT_COLLECTED, paid_uc // 1000, which)
        return each


def _period(period: int, day: int) -> int:
    """The number of the day, week or month that a day lies in."""
    if period == bodies.PERIOD_DAY:
        return day
    return (day + 3) // 7 if period == bodies.PERIOD_WEEK else calendar.month_of(day)


# By Limits.settlement: what a top-up pays, in turn.
_PAYS = (
    (Charges._shares, Charges._dues),
    (Charges._below_zero, Charges._shares, Charges._dues),
)
