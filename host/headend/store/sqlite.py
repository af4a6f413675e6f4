"""SQLite as the embedded database: how a connection is set up, and how its transactions begin.

Settings of every connection: WAL (readers never wait for the writer), `synchronous=FULL` (a commit is on disk before it
is answered), foreign keys on, and 30 s of patience for another process that writes. `recursive_triggers` lets a
REPLACE run the triggers that guard what may never be deleted.
"""

import sqlite3
import time
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.pool import StaticPool

BUSY_TIMEOUT_MS = 30_000
MINIMUM_VERSION = (3, 35, 0)  # UPDATE … RETURNING

_PRAGMAS = (
    f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}",
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
    "PRAGMA recursive_triggers=ON",
)

_MAY_COMMIT = "may_commit"


def in_memory(url: URL) -> bool:
    """Whether the URL names a database that lives in this process only."""
    return url.database in (None, "", ":memory:")


def writer_engine(url: URL) -> Engine:
    """An engine whose transactions take the write lock at once (BEGIN IMMEDIATE): no decision on stale rows."""
    engine = _engine(url, "BEGIN IMMEDIATE", ())
    event.listen(engine, "commit", _check_commit)
    return engine


def reader_engine(url: URL) -> Engine:
    """An engine that cannot write; each transaction sees one moment of the database."""
    return _engine(url, "BEGIN", ("PRAGMA query_only=ON",))


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


def let_commit(conn: Connection) -> None:
    """The one who opened the writing transaction is about to commit it. Nobody else may: a COMMIT from within would
    store half of a group whose callers are then told that it failed.
    """
    conn.info[_MAY_COMMIT] = True


def _check_commit(conn: Connection) -> None:
    if not conn.info.pop(_MAY_COMMIT, False):
        _raw(conn).rollback()
        raise RuntimeError("A store function must not commit; the store does.")


def in_transaction(conn: Connection) -> bool:
    """Whether SQLite still has the transaction open; some errors (disk full, I/O) end it on the spot."""
    return _raw(conn).in_transaction


def _raw(conn: Connection) -> sqlite3.Connection:
    raw: Any = conn.connection.dbapi_connection
    assert isinstance(raw, sqlite3.Connection)
    return raw
