"""A budget of useless requests for everyone who calls."""

from collections import OrderedDict


class ErrorBudget:
    """How many useless requests one caller may make: `burst` at once, then one each `1 / refill` seconds.

    A caller is a channel that showed its token, otherwise an address. Refusals of the business itself (an unknown
    meter, a conflict) cost nothing: a busy channel is not held up by the mistakes of a few of its customers.
    """

    def __init__(self, burst: int = 60, refill_per_s: float = 1.0, callers: int = 4096) -> None:
        self._burst = burst
        self._refill_per_s = refill_per_s
        self._callers = callers
        self._spent: OrderedDict[str, tuple[float, float]] = OrderedDict()  # caller -> (spent, when)

    def wait_s(self, caller: str, now: float) -> int:
        """0 when the caller may go on, else the seconds until it may."""
        over = self._level(caller, now) - (self._burst - 1)
        return 0 if over <= 0 else int(over / self._refill_per_s) + 1

    def spend(self, caller: str, now: float) -> bool:
        """Count one useless request; True when it was the last of the budget."""
        level = min(self._level(caller, now) + 1, float(self._burst))
        self._spent[caller] = (level, now)
        self._spent.move_to_end(caller)
        while len(self._spent) > self._callers:
            self._spent.popitem(last=False)
        return level > self._burst - 1

    def _level(self, caller: str, now: float) -> float:
        spent, at = self._spent.get(caller, (0.0, now))
        return max(0.0, spent - (now - at) * self._refill_per_s)
