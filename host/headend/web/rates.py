"""How many requests one caller may make: a token bucket for each kind of work, beside the budget of errors.

The limits keep one caller from taking the machine from the others; a bank's normal day is far below them. Answers carry
`RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers), 429 also Retry-After.
"""

from collections import OrderedDict
from collections.abc import Mapping
from math import ceil
from typing import NamedTuple

from headend.access.permissions import PAYMENTS

CALLERS = 4096


class Rate(NamedTuple):
    """So many requests a second in the long run, and so many at once."""

    per_s: float
    burst: int


PAY, LOOK, ACT, OPEN = "pay", "look", "act", "open"
RATES: Mapping[str, Rate] = {
    PAY: Rate(2_000, 4_000),  # payments and sales
    LOOK: Rate(500, 2_000),
    ACT: Rate(100, 1_000),  # everything else that changes something
    OPEN: Rate(200, 500),  # without a token: by address
}


def kind_of(method: str, scope: str | None) -> str:
    """Which bucket an operation draws from."""
    if scope is None:
        return OPEN
    if scope == PAYMENTS:
        return PAY
    return LOOK if method == "GET" else ACT


class Rates:
    """The buckets, of the callers that came last; one that was forgotten begins with a full one."""

    def __init__(self, rates: Mapping[str, Rate] = RATES, callers: int = CALLERS) -> None:
        self._rates = rates
        self._callers = callers
        self._left: OrderedDict[tuple[str, str], tuple[float, float]] = OrderedDict()  # -> (left, when)

    def take(self, caller: str, kind: str, now: float) -> tuple[int, int]:
        """Take one request; returns how many are left, and for how many seconds to wait: 0 when it may go on."""
        rate, key = self._rates[kind], (caller, kind)
        left, at = self._left.get(key, (float(rate.burst), now))
        left = min(float(rate.burst), left + max(0.0, now - at) * rate.per_s)
        wait_s = 0 if left >= 1 else ceil((1 - left) / rate.per_s)
        if not wait_s:
            left -= 1
        self._left[key] = (left, now)
        self._left.move_to_end(key)
        while len(self._left) > self._callers:
            self._left.popitem(last=False)
        return int(left), wait_s

    def headers(self, kind: str, left: int, wait_s: int) -> dict[str, str]:
        """What tells a caller how it stands."""
        rate = self._rates[kind]
        window_s = max(1, round(rate.burst / rate.per_s))
        told = {
            "RateLimit-Policy": f'"{kind}";q={rate.burst};w={window_s}',
            "RateLimit": f'"{kind}";r={left};t={wait_s or window_s}',
        }
        return {**told, "Retry-After": str(wait_s)} if wait_s else told
