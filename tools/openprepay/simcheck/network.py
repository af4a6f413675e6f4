"""A network that keeps no promise: it loses, repeats, delays and reorders. (A changed bit is what a MAC is for.)"""

import heapq
import random
from collections.abc import Callable


class Network:
    """Messages in flight on a virtual clock.

    loss, repeat: percent of messages · delay_s: longest delay; each copy draws its own, so messages overtake each
    other. `quiet` ends all faults: from then on everything arrives once, at once. Counts: sent, lost, repeated.
    """

    def __init__(self, rng: random.Random, loss: int = 20, repeat: int = 15, delay_s: int = 40) -> None:
        self._rng = rng
        self._loss = loss
        self._repeat = repeat
        self._delay_s = delay_s
        self._flying: list[tuple[int, int, Callable[[], None]]] = []
        self._number = 0
        self.is_quiet = False
        self.sent = 0
        self.lost = 0
        self.repeated = 0

    def quiet(self) -> None:
        """End all faults."""
        self.is_quiet = True
        self._loss = self._repeat = self._delay_s = 0

    def send(self, now_s: int, arrive: Callable[[], None]) -> None:
        """Take a message; `arrive` is called at its arrival, perhaps never, perhaps twice."""
        self.sent += 1
        copies = 1
        if self._rng.randrange(100) < self._loss:
            copies = 0
            self.lost += 1
        elif self._rng.randrange(100) < self._repeat:
            copies = 2
            self.repeated += 1
        for _ in range(copies):
            self._number += 1
            heapq.heappush(self._flying, (now_s + self._rng.randrange(self._delay_s + 1), self._number, arrive))

    def wipe(self) -> int:
        """All that is on its way is lost; how many messages that were."""
        wiped = len(self._flying)
        self._flying.clear()
        self.lost += wiped
        return wiped

    def arrivals(self, now_s: int) -> list[Callable[[], None]]:
        """What arrives by now, in the order of arrival."""
        due = []
        while self._flying and self._flying[0][0] <= now_s:
            due.append(heapq.heappop(self._flying)[2])
        return due
