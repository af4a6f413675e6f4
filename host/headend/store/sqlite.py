"""SQLite as the embedded database: how a connection is set up, and how its transactions begin.

Settings of every connection: WAL (readers never wait for the writer), `synchronous=FULL` (a commit is on disk before it
is answered), foreign keys on, and 30 s of patience for another process that writes. `recursive_triggers` lets a
REPLACE run the triggers that guard what may never be deleted.
"""

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, Table, create_engine, event, insert
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import StaticPool

from headend.refusals import Refused
from headend.store import commits
from headend.store.checkpoints import LONGEST_PAGES, Checkpoints
from headend.store.groups import run_group
from headend.store.jobs import READS, Job
from headend.store.port import Port
from headend.store.writer import More

BUSY_TIMEOUT_MS = 30_000
WRITER_CACHE_KIB = 32_768  # holds the pages that a large fleet's records change in an hour; SQLite's own 2 MiB do not
MINIMUM_VERSION = (3, 35, 0)  # UPDATE … RETURNING

_PRAGMAS = (
    f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}",
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
    "PRAGMA recursive_triggers=ON",
)


class Sqlite(Port):
    """A file, or a database in memory (then one connection is all of it). One thread writes, in groups."""

    across_machines = False
    reach = (READS,)

    def __init__(self, url: URL) -> None:
        self.shared = in_memory(url)
        if not self.shared:
            folder = Path(str(url.database)).resolve().parent
            if not folder.is_dir():
                raise Refused("database", url.render_as_string(), f"a file in a folder that exists (not {folder})")
        self._url = url
        self._checkpoints: Checkpoints | None = None
        self.writes = writer_engine(url)
        self._reads = self.writes if self.shared else _engine(url, "BEGIN", ("PRAGMA query_only=ON",))

    def serve(self) -> None:
        event.listen(self.writes, "connect", _leave_checkpoints)
        self._checkpoints = Checkpoints(Path(str(self._url.database)))

    def run(self, first: Job, more: More) -> None:
        changed = run_group(self.writes, first, more)
        if self._checkpoints is not None:
            self._checkpoints.committed(changed)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        with self._reads.connect() as conn, conn.begin() as transaction:
            if self.shared:
                conn.exec_driver_sql("PRAGMA query_only=ON")
            try:
                yield conn
            finally:
                if self.shared:
                    conn.exec_driver_sql("PRAGMA query_only=OFF")
                transaction.rollback()  # a file that has decayed has nothing to commit

    def lost(self, error: DBAPIError) -> bool:
        return False

    def alone(self, conn: Connection) -> None:
        """Nothing to do: BEGIN IMMEDIATE lets one writer in."""

    def check(self) -> None:
        """Nothing to do: each connection sets `synchronous` by itself."""

    def close(self) -> None:
        if self._checkpoints is not None:
            self._checkpoints.close()
        self._reads.dispose()
        self.writes.dispose()


def in_memory(url: URL) -> bool:
    """Whether the URL names a database that lives in this process only."""
    return url.database in (None, "", ":memory:")


def writer_engine(url: URL) -> Engine:
    """An engine whose transactions take the write lock at once (BEGIN IMMEDIATE): no decision on stale rows."""
    engine = _engine(url, "BEGIN IMMEDIATE", (f"PRAGMA cache_size=-{WRITER_CACHE_KIB}",))
    commits.guard(engine)
    return engine


def _engine(url: URL, begin: str, pragmas: tuple[str, ...]) -> Engine:
    if sqlite3.sqlite_version_info < MINIMUM_VERSION:
        needed = ".".join(map(str, MINIMUM_VERSION))
        raise RuntimeError(f"SQLite {needed} or newer is needed; this Python has {sqlite3.sqlite_version}.")
    if in_memory(url):  # one connection is the whole database
        engine = create_engine(url, poolclass=StaticPool, connect_args={"check_same_thread": False})
    else:
        engine = create_engine(url, connect_args={"check_same_thread": False})

    def on_connect(raw: sqlite3.Connection, _record: object) -> None:
        raw.isolation_level = None  # the driver's own BEGINs come too late and are deferred
        for pragma in _PRAGMAS + pragmas:
            raw.execute(pragma)
        _use_wal(raw)

    def on_begin(conn: Connection) -> None:
        conn.exec_driver_sql(begin)

    event.listen(engine, "connect", on_connect)
    event.listen(engine, "begin", on_begin)
    return engine


def _leave_checkpoints(raw: sqlite3.Connection, _record: object) -> None:
    """A thread makes them (`store.checkpoints`); the writer where the log grows all the same."""
    raw.execute(f"PRAGMA wal_autocheckpoint={LONGEST_PAGES}")


def _use_wal(raw: sqlite3.Connection) -> None:
    """Switch a database file to WAL. The switch wants the file to itself for a moment and does not wait by itself."""
    deadline = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    while raw.execute("PRAGMA journal_mode").fetchone()[0] not in ("wal", "memory"):
        try:
            raw.execute("PRAGMA journal_mode=WAL").fetchone()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


@lru_cache(maxsize=64)
def _insert(table: Table) -> str:
    return str(insert(table).compile(dialect=sqlite.dialect()))


def copy_in(conn: Connection, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert whole rows, in the driver's own words: it takes the tuples as they are."""
    conn.exec_driver_sql(_insert(table), rows if isinstance(rows, list) else list(rows))


def now_s(conn: Connection) -> int:
    """The machine's clock, which is the database's."""
    return int(conn.exec_driver_sql("SELECT CAST(strftime('%s', 'now') AS INTEGER)").scalar_one())
