"""What one worker holds, as far as it can know without asking: by its own clock, which never says longer than the
database does.

`beat` asks the database. Whatever was held runs out by itself when beats fail, a little before it does there; a clock
that goes on while the process is stopped or the machine sleeps tells, so that a worker that wakes knows at once.
"""

import secrets
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterable

from headend.store import MONEY, Store
from headend.workers import leases, roles, turns
from headend.workers.leases import Lease
from headend.workers.turns import Patience

_EARLY_S = 1.5  # the database counts whole seconds

Key = tuple[str, int]  # kind and number of a lease


def _running_s() -> float:
    """Seconds that also pass while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def name_of_process(given: str = "") -> str:
    """A holder's name that nobody had before: of the machine, or as `given`, and a number drawn by lot."""
    return f"{(given or socket.gethostname())[:60]}:{secrets.token_hex(6)}"


class Tenure:
    """Of the worker `name`, which serves `serves` (kinds of leases, and roles that are done alone). For any thread.

    `beats`: how many went well.
    """

    def __init__(
        self,
        store: Store,
        name: str,
        serves: Collection[str],
        patience: Patience | None = None,
        running_s: Callable[[], float] = _running_s,
    ) -> None:
        self.name = name
        self.patience = patience or Patience()
        self.beats = 0
        self._store = store
        self._serves = frozenset(serves)
        self._running_s = running_s
        self._lock = threading.Lock()
        self._until: dict[Key, float] = {}  # by `running_s`
        self._leases: dict[Key, Lease] = {}
        self._leaving: set[Key] = set()

    def serve(self, serves: Collection[str]) -> None:
        """From the next beat on."""
        self._serves = frozenset(serves)

    @property
    def serves(self) -> frozenset[str]:
        return self._serves

    def beat(self) -> list[Lease]:
        """Ask the database; raises what the store raises, and then nothing is held for longer than before.

        Returns what is to be given back (`give_back`) when nothing is done under it any more; it is not `held` now.
        """
        begun = self._running_s()
        arguments = (self.name, self._serves, self.patience)
        found = self._store.write(turns.turn, *arguments, lane=MONEY).result()
        until = begun + self.patience.lease - _EARLY_S
        with self._lock:
            self._leases = {(one.kind, one.number): one for one in found.held}
            self._until = dict.fromkeys(self._leases, until)
            self._leaving = {(one.kind, one.number) for one in found.surplus}
        self.beats += 1
        return list(found.surplus)

    def holds(self, kind: str, number: int) -> bool:
        """Whether it is held at this moment."""
        key = kind, number
        with self._lock:
            return self._until.get(key, 0.0) > self._running_s()

    def alone(self, role: str) -> bool:
        """Whether this worker is the one that has a role of `roles.ALONE`."""
        number = roles.ALONE.index(role)
        with self._lock:
            leaving = (roles.ROLE, number) in self._leaving
        return not leaving and self.holds(roles.ROLE, number)

    def numbers(self, kind: str) -> frozenset[int]:
        """What is held of a kind and is to stay."""
        now = self._running_s()
        with self._lock:
            found = [key for key, until in self._until.items() if until > now and key not in self._leaving]
        return frozenset(number for of_kind, number in found if of_kind == kind)

    def doubt(self, kind: str, number: int) -> None:
        """Somebody else seems to hold it: hold it no more until a beat says otherwise."""
        with self._lock:
            self._until.pop((kind, number), None)

    def give_back(self, surplus: Iterable[Lease]) -> None:
        """Nothing is done under these any more."""
        given = list(surplus)
        with self._lock:
            for one in given:
                self._until.pop((one.kind, one.number), None)
        if given:
            self._store.write(leases.release, given, lane=MONEY).result()

    def end(self) -> None:
        """Give everything back, and be gone: others need not wait."""
        with self._lock:
            self._until, self._leases, self._leaving = {}, {}, set()
        self._store.write(turns.leave, self.name, lane=MONEY).result()
