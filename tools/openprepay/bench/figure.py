"""A measured figure, and how two ways to do one thing are measured against each other."""

import json
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

DIGITS = 4  # that a figure is worth


class Figure(NamedTuple):
    """One line. `ratio` is value / the peer's value in the same unit; both None where nothing is compared."""

    name: str
    value: float
    unit: str
    peer: str | None = None
    ratio: float | None = None

    def line(self) -> str:
        """As a JSON object on one line."""
        ratio = None if self.ratio is None else significant(self.ratio)
        return json.dumps({**self._asdict(), "value": significant(self.value), "ratio": ratio}, ensure_ascii=False)


def against(name: str, value: float, unit: str, peer: str, peer_value: float) -> Figure:
    """A figure beside its peer's."""
    return Figure(name, value, unit, peer, value / peer_value)


def significant(value: float) -> float:
    """`value` to the digits that it is worth; whole numbers stay whole."""
    return value if isinstance(value, int) else float(f"{value:.{DIGITS}g}")


def race(
    runners: Sequence[Callable[[], float]],
    seconds: float,
    rounds: int = 1,
    pick: Callable[[list[float]], float] = min,
) -> list[float]:
    """What `pick` takes of all that each runner returned, in turn until `seconds` have passed and `rounds` are over.

    In turn, and the least of many: what else the machine does then slows all alike, and at some time none. Where a disk
    is waited for there is no such time: then the median.
    """
    found: list[list[float]] = [[] for _ in runners]
    ends = time.perf_counter() + seconds
    while rounds > 0 or time.perf_counter() < ends:
        for taken, runner in zip(found, runners, strict=True):
            taken.append(runner())
        rounds -= 1
    return [pick(taken) for taken in found]


def timed(work: Callable[[], object]) -> Callable[[], float]:
    """A runner for `race`: the seconds that `work` takes."""

    def runner() -> float:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    return runner
