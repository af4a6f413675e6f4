"""Interval records a second from the wire into a database that holds ten million: sealed batches through the engine.

The whole way of a batch: the meter's key, MAC, CRCs, numbers, the lock of its records, cursor, what is stored, the
acknowledgement; on disk (WAL, `synchronous=FULL`; PostgreSQL as it comes). In the order of profiles (a day of one meter
after the other, in batches of 40) and in the order of slots (one record of every meter in turn, each a message of its
own, as fifty thousand meters say them live). The peer puts the same records into a table of one row a record, which
holds as many, with nothing but `executemany` or COPY, as many in a commit.
"""

import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from os import environ, urandom
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

from sqlalchemy import event

from headend.clock import ManualClock
from headend.engine import Engine
from headend.watch import heap
from meterlink import topics
from meterlink.batches import MAX_RECORDS
from openprepay.bench import postgres, readings
from openprepay.bench.figure import Figure, against, race, timed
from openprepay.bench.readings import HELD, METERS, PERIOD_S, SLOTS, Message, Row
from openprepay.bench.scene import NOW_S, Scene, raw_sqlite

CALLERS = 4  # threads that carriers bring messages with
LISTED = 1_000  # messages that one of them hands on at once
PROFILES = 1_000  # meters whose day is brought in a round
MESSAGES = 20_000  # single records in a round
FEW = 50  # meters where it is only tried whether all of this runs
COMMIT_MS = 200.0  # the longest that the design allows to a commit

T = TypeVar("T")
Put = Callable[[Sequence[Row]], None]  # rows of a commit into the peer's table


def run(seconds: float) -> Iterator[Figure]:
    """On SQLite, and on PostgreSQL where it is installed."""
    meters = METERS if seconds else FEW
    with tempfile.TemporaryDirectory(prefix="openprepay-bench-", dir=environ.get("TMPDIR", "/var/tmp")) as name:
        folder = Path(name)
        peer = raw_sqlite(folder / "peer.sqlite")
        try:
            for statement in readings.peer_statements("sqlite", meters):
                peer.execute(statement)
            yield from _measure(folder, "", _into_sqlite(peer), seconds / 2, meters)
        finally:
            peer.close()
        if postgres.programs() is not None:
            with postgres.serving(folder) as url, _into_postgresql(url, meters) as put:
                yield from _measure(folder, url, put, seconds / 2, meters)


def _measure(folder: Path, url: str, put: Put, seconds: float, meters: int) -> Iterator[Figure]:
    scene = Scene(folder, 0, database=url)
    try:
        readings.fill(scene.store, meters)
        heap.settle()  # as `openprepay serve` does
        ingest = _Ingest(scene, put, meters)
        where = "_postgresql" if url else ""
        tool = "COPY" if url else "sqlite3's executemany"
        for name, make in (("profiles", ingest.profiles), ("slots", ingest.slots)):
            yield ingest.measure(f"ingest_{name}{where}", make, tool, seconds / 2)
        yield against(f"ingest_longest_commit{where}", ingest.longest_ms, "ms", "what the design allows", COMMIT_MS)
    finally:
        scene.store.close()


class _Ingest:
    """Feeds a scene, and beside it the peer's table, with records that neither has seen."""

    def __init__(self, scene: Scene, put: Put, meters: int) -> None:
        self._scene = scene
        self._half = meters // 2  # of the meters
        self._profiles = min(PROFILES, self._half)
        self._messages = min(MESSAGES, 4 * self._half)
        self._clock = ManualClock(NOW_S)
        self._engine = Engine(scene.store, scene.keys, self._clock, urandom)
        self._put = put
        self._commits = 0
        self._here = threading.local()
        self._days = 0  # profiles that were brought
        self._said = 0  # single records that were brought
        self.longest_ms = 0.0
        event.listen(scene.store.writes, "begin", self._begin)
        event.listen(scene.store.writes.pool, "checkin", self._end)

    def profiles(self) -> tuple[list[Message], list[Row]]:
        """The next day of the next meters, of those in the first half."""
        made: list[Message] = []
        wanted: list[Row] = []
        for _ in range(self._profiles):
            day, place = divmod(self._days, self._half)
            number, first = 1 + place, 1 + HELD + SLOTS * day
            for at in range(first, first + SLOTS, MAX_RECORDS):
                count = min(MAX_RECORDS, first + SLOTS - at)
                made.append(readings.sealed(self._scene.keys, number, at, readings.numbered(at, count)))
            wanted += readings.rows(number, first, SLOTS)
            self._days += 1
        return made, wanted

    def slots(self) -> tuple[list[Message], list[Row]]:
        """The next record of the next meters, of those in the other half; these take turns."""
        made: list[Message] = []
        wanted: list[Row] = []
        for _ in range(self._messages):
            slot, place = divmod(self._said, self._half)
            number, seq = 1 + self._half + place, 1 + HELD + slot
            made.append(readings.sealed(self._scene.keys, number, seq, readings.numbered(seq, 1)))
            wanted += readings.rows(number, seq, 1)
            self._said += 1
        return made, wanted

    def measure(
        self, name: str, make: Callable[[], tuple[list[Message], list[Row]]], tool: str, seconds: float
    ) -> Figure:
        """Records a second."""
        fed: list[Any] = [[], []]
        rows, rounds = 0, 0
        self._commits = 0

        def ours() -> float:
            nonlocal rows, rounds
            fed[:] = make()
            rows, rounds = len(fed[1]), rounds + 1
            return timed(lambda: self._feed(fed[0]))()

        def in_commit() -> int:
            return max(1, rounds * rows // max(1, self._commits))

        def bare() -> float:
            return timed(lambda: [self._put(some) for some in _cut(fed[1], in_commit())])()

        ours_s, bare_s = race([ours, bare], seconds, rounds=2, pick=median)
        peer = f"{tool} alone, a row a record, {in_commit()} in a commit alike"
        return against(name, rows / ours_s, "rows/s", peer, rows / bare_s)

    def _feed(self, fed: Sequence[Message]) -> None:
        self._clock.advance(PERIOD_S * self._messages // self._half)  # as long as that many records take to come
        stored = self._engine.counts["stored"]
        lists = [[(number, topics.UP_INTERVALS, raw, "mqtt") for number, raw in some] for some in _cut(fed, LISTED)]
        with ThreadPoolExecutor(CALLERS) as pool:
            answers = list(pool.map(self._engine.up_many, lists))
        assert not any(isinstance(one, BaseException) for some in answers for one in some), answers
        assert self._engine.counts["stored"] - stored == len(fed), self._engine.counts

    def _begin(self, _: object) -> None:
        self._here.began = time.perf_counter()

    def _end(self, *_: object) -> None:
        self._commits += 1
        self.longest_ms = max(self.longest_ms, 1000 * (time.perf_counter() - self._here.began))


def _cut(whole: Sequence[T], length: int) -> Iterator[Sequence[T]]:
    return (whole[at : at + length] for at in range(0, len(whole), length))


def _into_sqlite(peer: Any) -> Put:
    statement = f"INSERT INTO peer VALUES ({', '.join('?' * 10)})"  # noqa: S608 - placeholders alone

    def put(some: Sequence[Row]) -> None:
        peer.execute("BEGIN IMMEDIATE")
        peer.executemany(statement, some)
        peer.execute("COMMIT")

    return put


@contextmanager
def _into_postgresql(url: str, meters: int) -> Iterator[Put]:
    import psycopg

    with psycopg.connect(url.replace("+psycopg", "")) as peer:
        for statement in readings.peer_statements("postgresql", meters):
            peer.execute(statement)
        peer.commit()

        def put(some: Sequence[Row]) -> None:
            with peer.cursor() as cursor, cursor.copy("COPY peer FROM STDIN") as copy:
                for row in some:
                    copy.write_row(row)
            peer.commit()

        yield put
