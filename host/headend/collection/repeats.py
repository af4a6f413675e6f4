"""Records that came and were there already: harmless, and counted, as many of them tell of a line in trouble."""

from collections import Counter
from threading import Lock


class Repeats:
    """How many, by meter, since they were last taken away. Callable in any thread."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self._lock = Lock()

    def add(self, number: int, records: int) -> None:
        """So many of this meter."""
        if records > 0:
            with self._lock:
                self._counts[number] += records

    def take(self) -> Counter[int]:
        """All since the last call."""
        with self._lock:
            taken, self._counts = self._counts, Counter()
            return taken
