"""Bringing committed pages from SQLite's log into its file, beside the writer and not in the middle of its commits.

By itself SQLite does that in the commit that makes the log 1 000 pages long: whoever waits for that commit waits for
the file to be on disk as well. Here a thread with a connection of its own does it (a passive checkpoint: it waits for
nobody, and nobody for it). While writing never pauses the log grows nevertheless, since it begins anew only when all of
it is in the file: at `LONGEST_PAGES` the writer brings the rest over in a commit, of which there is little.
"""

import sqlite3
import threading
from contextlib import suppress
from pathlib import Path

ROWS = 2_000  # changed since, from which on there is something to bring over
REST_S = 0.5  # between two times
LONGEST_PAGES = 8_192  # of the log: 32 MiB


class Checkpoints:
    """The thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows = 0
        self._due = threading.Event()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._work, name="store-checkpoints", daemon=True)
        self._thread.start()

    def committed(self, rows: int) -> None:
        """So many rows were changed by a commit."""
        self._rows += rows
        if self._rows >= ROWS:
            self._due.set()

    def close(self) -> None:
        """End the thread, behind what it is at. Idempotent."""
        self._closed.set()
        self._due.set()
        self._thread.join()

    def _work(self) -> None:
        raw: sqlite3.Connection | None = None
        while self._due.wait() and not self._closed.is_set():
            self._rows = 0
            self._due.clear()
            raw = raw or _connect(self._path)
            with suppress(sqlite3.Error):  # whatever is wrong with the disk, the writer meets and tells of
                raw.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            self._closed.wait(REST_S)
        if raw is not None:
            raw.close()


def _connect(path: Path) -> sqlite3.Connection:
    raw = sqlite3.connect(path, isolation_level=None)
    raw.execute("PRAGMA synchronous=FULL")
    return raw
