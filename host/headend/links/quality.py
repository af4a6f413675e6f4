"""What lines are like: counts of each unit on each line since they were last taken away to be stored."""

from collections.abc import Mapping
from threading import Lock

from headend.collection.line_counts import Counts
from headend.links import failures

# How a transaction ended -> what is counted.
_ENDS = {
    failures.SILENT: "silent",
    failures.GARBLED: "garbled",
    failures.FOREIGN: "foreign",
    failures.REFUSED: "refused",
    failures.UNREACHABLE: "unreachable",
    failures.LOST: "unreachable",
    failures.RESTING: "skipped",
}


class Quality:
    """Of all lines of a carrier. Callable in any thread."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, int], Counts] = {}
        self._lock = Lock()

    def sent(self, link: str, unit: int) -> None:
        """A request went out."""
        with self._lock:
            self._of(link, unit).sent += 1

    def answered(self, link: str, unit: int, took_s: float) -> None:
        """Its answer came."""
        with self._lock:
            counts = self._of(link, unit)
            counts.answered += 1
            counts.times.add(int(took_s * 1_000_000))

    def failed(self, link: str, unit: int, outcome: str) -> None:
        """It ended as `outcome` (failures.*) says."""
        name = _ENDS.get(outcome)
        if name is not None:
            with self._lock:
                counts = self._of(link, unit)
                setattr(counts, name, getattr(counts, name) + 1)

    def late(self, link: str, unit: int) -> None:
        """Something came when its time was over."""
        with self._lock:
            self._of(link, unit).late += 1

    def take(self) -> Mapping[tuple[str, int], Counts]:
        """(link, unit) -> what was counted since the last call."""
        with self._lock:
            taken, self._counts = self._counts, {}
            return taken

    def put_back(self, taken: Mapping[tuple[str, int], Counts]) -> None:
        """It could not be stored."""
        with self._lock:
            for (link, unit), counts in taken.items():
                self._of(link, unit).add_all(counts)

    def _of(self, link: str, unit: int) -> Counts:
        return self._counts.setdefault((link, unit), Counts())
