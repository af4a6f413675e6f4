"""What a tariff counts over time: the consumption that its steps go by, and the days that it has charged for.

The meter keeps it beside its account; `shadow.Bill` is the whole bill, for everyone else.
"""

from meterlink.tariff import Tariff

MAX_DAYS = 400  # that are charged at once, after an outage; and by which a clock that was wrong can have charged ahead


class Running:
    """step_wh: consumed in the step period `period` (`Tariff.period`, 0 = none has begun) · day: the last local day
    that is charged for, 0 = none yet: the day of the first `turn` is not."""

    def __init__(self) -> None:
        self.step_wh = 0
        self.period = 0
        self.day = 0

    def turn(self, plan: "Tariff", unix_s: int) -> int:
        """The time has come to `unix_s`: begin what begins; the standing charges that fall due, in micro-currency.

        To be called at each quarter of an hour, and after any gap. A clock that goes back charges no day twice, nor
        does one that went ahead hold up charges for longer than MAX_DAYS.
        """
        period = plan.period(unix_s)
        if period != self.period:
            if self.period:
                self.step_wh = 0
            self.period = period
        day = plan.day(unix_s)
        charged = max(day - MAX_DAYS, min(self.day or day, day + MAX_DAYS))
        self.day = max(day, charged)
        return plan.standing_uc(charged, self.day)

    def switch(self, plan: "Tariff", unix_s: int) -> None:
        """`plan` takes over at `unix_s`: what was consumed counts as consumption of the period that it is in."""
        if self.period:
            self.period = plan.period(unix_s - 1)
