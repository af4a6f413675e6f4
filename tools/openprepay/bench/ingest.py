"""Interval records a second from the wire into SQLite: sealed batches through the engine, each call back after COMMIT.

The whole way of a batch: the meter's key, MAC, CRCs, the lock of the meter's row, what stands there already, insert,
cursor, acknowledgement, questions for gaps, orders that wait; on disk (WAL, synchronous=FULL). The peer inserts the
same rows with a bare `executemany`, with the same number of them in a commit. One caller makes a commit of every batch;
many at once share commits.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from statistics import median

from sqlalchemy import event
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateTable

from headend.reads.batches import decode
from headend.store.schema import interval
from meterlink import topics
from meterlink.batches import MAX_RECORDS, Batch
from openprepay.bench.figure import Figure, against, race, timed
from openprepay.bench.scene import Scene, open_scene, raw_sqlite

METERS = 32
CALLERS = 8  # threads that a carrier brings messages with
BATCHES = 8  # of a caller in a round
_INSERT = f"INSERT INTO interval VALUES ({', '.join('?' * len(interval.c))})"  # noqa: S608 - placeholders alone

Sealed = tuple[int, bytes]  # a meter's number and its batch


def run(seconds: float) -> Iterator[Figure]:
    """Whole batches from one caller, from many, and single records as meters say them live."""
    with open_scene(METERS) as scene:
        ingest = Ingest(scene)
        for name, records, callers in (
            ("ingest_rows", MAX_RECORDS, 1),
            ("ingest_rows_grouped", MAX_RECORDS, CALLERS),
            ("ingest_rows_single", 1, CALLERS),
        ):
            yield ingest.measure(name, records, callers, BATCHES * callers, seconds / 3)
        ingest.close()


class Ingest:
    """Feeds a scene, and beside it a bare database, with batches that neither has seen."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._next = dict.fromkeys(scene.meters, 1)
        self._commits = 0
        event.listen(scene.store.writes, "commit", self._count)
        self._peer = raw_sqlite(scene.folder / "peer.sqlite")
        self._peer.execute(str(CreateTable(interval).compile(dialect=sqlite.dialect())))

    def close(self) -> None:
        """Let go of the bare database."""
        self._peer.close()

    def measure(self, name: str, records: int, callers: int, number: int, seconds: float) -> Figure:
        """Rows a second: so many records in a batch, callers at once, batches in a round."""
        fed: list[Sealed] = []
        rounds = 0
        self._commits = 0

        def ours() -> float:
            nonlocal rounds
            rounds += 1
            fed[:] = self._make(number, records)
            return timed(lambda: self._feed(fed, callers))()

        def in_commit() -> int:
            return max(1, round(rounds * number / self._commits)) * records

        def bare() -> float:
            rows = [(batch.meter, batch.log_id, *row) for batch in map(self._read, fed) for row in decode(batch)[0]]
            assert len(rows) == number * records
            return timed(lambda: self._insert(rows, in_commit()))()

        ours_s, bare_s = race([ours, bare], seconds, rounds=2, pick=median)
        rows = number * records
        peer = f"sqlite3's executemany alone, {in_commit()} rows in a commit alike"
        return against(name, rows / ours_s, "rows/s", peer, rows / bare_s)

    def _make(self, number: int, records: int) -> list[Sealed]:
        """The next batches of the meters in turn."""
        made = []
        for place in range(number):
            meter = self._scene.meters[place % METERS]
            made.append((meter, self._scene.batch(meter, self._next[meter], records)))
            self._next[meter] += records
        return made

    def _read(self, sealed: Sealed) -> Batch:
        return Batch(sealed[1], self._scene.keys.mac_key(sealed[0], 1))

    def _feed(self, fed: list[Sealed], callers: int) -> None:
        stored = self._scene.engine.counts["stored"]
        if callers == 1:
            for one in fed:
                self._up(one)
        else:
            with ThreadPoolExecutor(callers) as pool:
                list(pool.map(self._up, fed))
        assert self._scene.engine.counts["stored"] - stored == len(fed), self._scene.engine.counts

    def _up(self, sealed: Sealed) -> None:
        self._scene.engine.up(sealed[0], topics.UP_INTERVALS, sealed[1], "mqtt")

    def _insert(self, rows: list[tuple[int, ...]], in_commit: int) -> None:
        for at in range(0, len(rows), in_commit):
            self._peer.execute("BEGIN IMMEDIATE")
            self._peer.executemany(_INSERT, rows[at : at + in_commit])
            self._peer.execute("COMMIT")

    def _count(self, _: object) -> None:
        self._commits += 1
