"""How long to wait for a unit's answer: as long as it usually takes, and four times how much that varies.

The estimator of RFC 6298 (2, 5), on the time between the end of a request and the begin of its answer, in seconds. What
follows a time-out is waited for twice as long, until the unit answers again; one that never answered costs no more than
at the start. A unit that is silent several times in a row rests, ever longer, so that its line is free for others.
"""

from dataclasses import dataclass

_ALPHA, _BETA = 1 / 8, 1 / 4
LEAST, MOST = 1 / 2, 2  # of the time at the start: no wait is shorter or longer
IN_A_ROW = 3  # silences before a unit rests
REST_MOST_S = 300.0


@dataclass
class Answering:
    """One unit. first_s: the wait while nothing is known of it."""

    first_s: float
    usual_s: float | None = None
    varies_s: float = 0.0
    doubled: int = 0
    silences: int = 0  # in a row
    rests_until: float = 0.0  # by the clock of the loop

    @property
    def wait_s(self) -> float:
        """How long to wait now."""
        if self.usual_s is None:
            return self.first_s
        wait_s: float = (self.usual_s + 4 * self.varies_s) * 2**self.doubled
        return min(max(wait_s, self.first_s * LEAST), self.first_s * MOST)

    def answered(self, took_s: float) -> None:
        """It answered within its time."""
        took_s = max(took_s, 0.0)
        if self.usual_s is None:
            self.usual_s, self.varies_s = took_s, took_s / 2
        else:
            self.varies_s += _BETA * (abs(self.usual_s - took_s) - self.varies_s)
            self.usual_s += _ALPHA * (took_s - self.usual_s)
        self.doubled = self.silences = 0

    def silent(self, now: float, rest_s: float) -> None:
        """It did not. rest_s: the first rest, 0 for none."""
        self.doubled = min(self.doubled + 1, 8)
        self.silences += 1
        if rest_s and self.silences >= IN_A_ROW:
            self.rests_until = now + min(rest_s * 2 ** min(self.silences - IN_A_ROW, 16), REST_MOST_S)
