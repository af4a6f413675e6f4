"""What a running head end does by itself, beside orders and messages: a table of chores, each with its pace.

A chore is one function that is called again and again, in a thread, one chore at a time; it takes what is due and
leaves the rest for the next call, so it may be cut off at any moment. One that fails is told of once, shows as trouble,
and is tried again.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from headend.clock import Clock

TICK_S = 1.0
AGAIN_S = 60  # after a chore that failed
LONGEST_S = 0.5  # of one call of a chore that can stop anywhere

log = logging.getLogger("openprepay.chores")


@dataclass
class Chore:
    """`run(now_s)` every `every_s` seconds; True from it means that there is more to do at once.

    `role`: of several workers only the one that has it does this (`workers.roles`); "": each does.
    """

    name: str
    every_s: int
    run: Callable[[int], object]
    role: str = ""
    next_s: int = field(default=0, init=False)


class Walk:
    """A chore that goes from row to row: some at each call, from where the last one stopped.

    `some(now_s, behind)`: does what is due of the next ones above the number `behind`, in short transactions, and
    returns (how many that were, where to go on: 0 at the end).
    """

    def __init__(self, some: Callable[[int, int], tuple[int, int]]) -> None:
        self._some = some
        self._behind = 0

    def run(self, now_s: int) -> bool:
        """Whether there is more to do at once."""
        ends = time.monotonic() + LONGEST_S
        while True:
            _, self._behind = self._some(now_s, self._behind)
            if not self._behind or time.monotonic() > ends:
                return self._behind > 0


class Chores:
    """Runs chores until it is stopped. `trouble` tells which failed at their last try, and why.

    `has(role)`: whether this process has a role at this moment.
    """

    def __init__(self, chores: Sequence[Chore], clock: Clock, has: Callable[[str], bool] = lambda role: True) -> None:
        self._chores = chores
        self._has = has
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="chores")
        self._stopped = False
        self._trouble: dict[str, str] = {}

    @property
    def trouble(self) -> Mapping[str, str]:
        return self._trouble

    async def go(self) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        while not self._stopped:
            await loop.run_in_executor(self._thread, self.round)
            await asyncio.sleep(TICK_S)

    def round(self) -> None:
        """Run each chore that is due, once."""
        for chore in self._chores:
            now_s = self._clock.now_s()
            # A clock that was set back makes nothing wait longer than its pace.
            if self._stopped or chore.next_s - chore.every_s <= now_s < chore.next_s:
                continue
            if chore.role and not self._has(chore.role):
                self._trouble.pop(chore.name, None)
                continue
            try:
                more = chore.run(now_s)
            except Exception as error:  # the others go on, and this one is tried again
                if chore.name not in self._trouble:
                    log.exception("The chore %s failed.", chore.name)
                self._trouble[chore.name] = f"Its last run failed: {type(error).__name__}."
                chore.next_s = now_s + min(AGAIN_S, chore.every_s)
            else:
                self._trouble.pop(chore.name, None)
                chore.next_s = now_s if more is True else now_s + chore.every_s

    def close(self) -> None:
        """Finish the chore that is under way, begin no other. Idempotent."""
        self._stopped = True
        self._thread.shutdown(wait=True)
