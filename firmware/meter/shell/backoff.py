"""How long to wait before the next attempt to reconnect: exponential, jittered, capped. Pure; milliseconds.

The n-th wait after a success lies anywhere between half of `base_ms` and `base_ms`·2^(n−1), at most `cap_ms`. The lower
end keeps a failing link from spinning; the spread keeps a fleet that lost its broker at once from returning at once.
"""


class Backoff:
    """`random(n)`: an integer 0 … n−1, as random.randrange is. `attempts`: waits since the last `reset()`."""

    def __init__(self, base_ms, cap_ms, random):
        if not 2 <= base_ms <= cap_ms:
            raise ValueError("back-off from %d ms to %d ms: 2 ms or more, and rising" % (base_ms, cap_ms))
        self._base_ms = base_ms
        self._cap_ms = cap_ms
        self._random = random
        self.reset()

    def reset(self):
        """The link stood: begin again with the short waits."""
        self.attempts = 0
        self._limit_ms = self._base_ms

    def next_ms(self):
        low_ms = self._base_ms >> 1
        limit_ms = self._limit_ms
        self.attempts += 1
        self._limit_ms = min(self._cap_ms, limit_ms << 1)
        return low_ms + self._random(limit_ms - low_ms + 1)
