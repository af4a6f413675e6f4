"""What an account must come to, written from the rules and not from the firmware: plain sums, one customer.

Money in micro-currency. Days are numbers since 1970-01-01, a Thursday.
"""

import datetime
from dataclasses import dataclass, field

from meterlink import bodies

SMETS2 = "share of the debts, what is due, what is below zero, the rest"
STATE_GRID = "what is below zero, share of the debts, what is due, the rest"


@dataclass
class ModelDebt:
    number: int
    terms: bodies.DebtTerms
    collected: int = 0
    due: int = 0
    of_period: int = 0

    def owed(self) -> int:
        return max(0, self.terms.placed_uc - self.terms.withdrawn_uc - self.collected)


@dataclass
class CreditModel:
    """balance, waiting: money · standing, energy: charged so far · granted: emergency credit taken."""

    limits: bodies.Limits
    daily_uc: int
    day: int
    balance: int = 0
    waiting: int = 0
    energy: int = 0
    standing: int = 0
    standing_due: int = 0
    granted: int = 0
    local: bool = True
    debts: dict[int, ModelDebt] = field(default_factory=dict)

    def in_turn(self) -> list[ModelDebt]:
        return sorted(self.debts.values(), key=lambda debt: (debt.terms.priority, debt.number))

    # -- what happens --------------------------------------------------------------------------------------------------

    def order(self, sales: list[int], refund: int = 0) -> None:
        """One order: its sales one by one, then its refund, then the hoarding limit."""
        before = self.balance
        for sale in sales:
            self.balance += sale - (self._pay(sale) if self.local else 0)
        self.balance -= refund
        over = min(self.balance - max(self.limits.credit_limit_uc, 0), sum(sales))
        if over > 0:
            self.balance -= over
            self.waiting += over
        self.flow()
        assert self.balance >= min(before, self.limits.credit_limit_uc) - refund

    def _pay(self, sale: int) -> int:
        """What of a sale goes elsewhere than into the balance."""
        order = SMETS2 if self.limits.settlement == bodies.SETTLEMENT_SMETS2 else STATE_GRID
        left = sale
        if order == STATE_GRID:
            left -= min(left, -self.balance) if self.balance < 0 else 0
        base = left
        for debt in self.in_turn():
            if debt.terms.kind == bodies.DEBT_SHARED:
                share = min(base * debt.terms.share // 10_000, debt.owed() - debt.due, left)
                if debt.terms.cap_uc:
                    share = min(share, max(0, debt.terms.cap_uc - debt.of_period))
                debt.collected += share
                debt.of_period += share
                left -= share
        part = min(left, self.standing_due)
        self.standing_due -= part
        self.standing += part
        left -= part
        for debt in self.in_turn():
            part = min(left, debt.due)
            debt.due -= part
            debt.collected += part
            left -= part
        return base - left

    def spend(self, amount: int) -> None:
        """Energy was drawn."""
        if self.local:
            self.balance -= amount
            self.energy += amount
        self.flow()

    def begin_day(self, day: int) -> None:
        """The next local day has begun."""
        self.day += 1
        assert self.day == day
        suspended = self.local and self.limits.rules & bodies.RULE_SUSPEND and self.granted
        if suspended:
            self.standing_due += self.daily_uc
        elif self.local:
            self.balance -= self.daily_uc
            self.standing += self.daily_uc
        for debt in self.in_turn():
            if not begins(debt.terms.period, day):
                continue
            debt.of_period = 0
            amount = min(debt.terms.amount_uc, debt.owed() - debt.due)
            if suspended:
                debt.due += amount
            elif self.local:
                debt.collected += amount
                self.balance -= amount
        self.flow()

    def place(self, number: int, terms: bodies.DebtTerms) -> None:
        debt = self.debts.setdefault(number, ModelDebt(number, terms))
        debt.terms = terms
        debt.due = min(debt.due, debt.owed())

    def flow(self) -> None:
        """What waits goes where there is room."""
        part = max(0, min(self.waiting, self.limits.credit_limit_uc - self.balance))
        self.balance += part
        self.waiting -= part

    def second(self) -> None:
        """A second has passed in which nothing was drawn."""
        self.flow()
        if self.balance > self.limits.emergency_from_uc:
            self.granted = 0

    def may_take(self) -> bool:
        lowest = -self.limits.overdraft_uc - self.limits.emergency_uc
        offered = lowest < self.balance <= self.limits.emergency_from_uc
        return bool(self.local and self.limits.emergency_uc and not self.granted and offered)


def begins(period: int, day: int) -> bool:
    """Whether a day is the first of its day, week or month."""
    date = datetime.date(1970, 1, 1) + datetime.timedelta(days=day)
    return period == bodies.PERIOD_DAY or (date.weekday() == 0 if period == bodies.PERIOD_WEEK else date.day == 1)
