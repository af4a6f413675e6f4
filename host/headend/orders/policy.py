"""How patient the head end is: every wait and every limit of its dispatching, in one place."""

from collections.abc import Callable
from dataclasses import dataclass

Entropy = Callable[[int], bytes]


@dataclass(frozen=True)
class Policy:
    """Seconds, unless the name says otherwise."""

    retry_s: int = 4  # after a delivery or question without an answer; doubles each time …
    retry_max_s: int = 300  # … up to this
    attempts: int = 8  # tries without an authenticated answer, then the order is `unknown`
    slow_s: int = 900  # pace of an order that is `unknown`, that its meter is away for, or that the signer refused
    settle_s: int = 2  # between a delivery and the question about it
    lease_s: int = 60  # how long a worker that took a row may be silent
    database_clock: bool = False  # leases count by the database's clock, as several workers share them
    longest_s: int = 1800  # no wait of an order is longer
    jump_s: int = 60  # a clock that goes back by less than this is let be
    question_s: int = 300  # an answer that comes later confirms nothing
    poll_s: int = 900  # between two reports asked of a meter unprompted
    gap_s: int = 60  # between two tries to fetch missing records
    batch_actions: int = 100  # actions handed out at a time
    per_second: int = 500  # … and in a second by one engine, so that what waited together does not leave together
    batch_signatures: int = 200  # statements signed at a time

    def wait_s(self, attempts: int, entropy: Entropy) -> int:
        """How long to wait after `attempts` (1, 2, …) tries: doubling, bounded, plus up to half of it at random."""
        return spread(min(self.retry_s << min(max(attempts, 1) - 1, 20), self.retry_max_s), entropy)

    def slow_wait_s(self, entropy: Entropy) -> int:
        """How long to wait where haste has brought nothing."""
        return spread(self.slow_s, entropy)


def spread(wait_s: int, entropy: Entropy) -> int:
    """`wait_s` and up to half of it again, so that what failed together does not come back together."""
    return wait_s + int.from_bytes(entropy(4), "big") % (wait_s // 2 + 1)
