"""Where the head end's time comes from. It is read once per decision and handed down as `now_s`."""

import time
from typing import Protocol


class Clock(Protocol):
    """Seconds since 1970 UTC, whole."""

    def now_s(self) -> int: ...


class SystemClock:
    """The machine's clock."""

    def now_s(self) -> int:
        return int(time.time())


class ManualClock:
    """A clock that moves only when it is told to: for simulation and tests."""

    def __init__(self, now_s: int) -> None:
        self._now_s = now_s

    def now_s(self) -> int:
        return self._now_s

    def advance(self, seconds: int) -> int:
        """Move forward by `seconds` (>= 0) and return the new time."""
        if seconds < 0:
            raise ValueError(f"seconds: {seconds} given, 0 or more expected")
        self._now_s += seconds
        return self._now_s
