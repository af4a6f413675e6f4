"""The bill of a meter, by its intervals: what the meter must have charged, to the unit."""

from meterlink.billing import Running
from meterlink.tariff import Tariff


class Bill:
    """charged_uc with `remainder` (0..999 thousandths), of which standing_uc for time; earned_uc with `earned_rest`.

    plan: the tariff in force · running: what its steps and standing charges have come to. A bill that begins in the
    middle is given what the meter had then: remainders, and `running`.
    """

    def __init__(
        self, plan: Tariff, remainder: int = 0, earned_rest: int = 0, running: "Running | None" = None
    ) -> None:
        self.plan = plan
        self.running = running or Running()
        self.charged_uc = 0
        self.standing_uc = 0
        self.remainder = remainder
        self.earned_uc = 0
        self.earned_rest = earned_rest

    def turn(self, unix_s: int) -> None:
        """The time has come to `unix_s`: the standing charges of the days that have begun."""
        due_uc = self.running.turn(self.plan, unix_s)
        self.standing_uc += due_uc
        self.charged_uc += due_uc

    def switch(self, plan: Tariff, unix_s: int) -> None:
        """Another tariff takes over at `unix_s`."""
        self.turn(unix_s - 1)
        self.running.switch(plan, unix_s)
        self.plan = plan
        self.turn(unix_s)

    def add(self, start_s: int, import_wh: int, export_wh: int = 0, clock_known: bool = True) -> None:
        """Energy of an interval that holds no boundary of rates, days or periods."""
        if clock_known:
            self.turn(start_s)
        rate = self.plan.rate_at(start_s, clock_known)
        cost_uc, self.remainder = self.plan.cost(import_wh, rate, self.remainder, self.running.step_wh)
        self.charged_uc += cost_uc
        self.running.step_wh += import_wh
        earned_uc, self.earned_rest = self.plan.earning(export_wh, rate, self.earned_rest)
        self.earned_uc += earned_uc
