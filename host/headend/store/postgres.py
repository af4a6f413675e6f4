"""PostgreSQL, for fleets and for several processes: how connections are set up, and how writes are run.

Each function is a transaction of its own, READ COMMITTED, in one of several threads; the row of a meter (`lock_meter`)
is what keeps those of one meter apart. Functions are pure on their connection, so one that lost a race (a deadlock, a
serialization failure, another's row of the same key) is undone and run again. Reads are REPEATABLE READ, READ ONLY.
"""

import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import URL, Connection, Engine, Table, create_engine, event, text
from sqlalchemy.exc import DBAPIError, OperationalError

from headend.refusals import Refused
from headend.store import commits, prepared
from headend.store.jobs import MONEY, ORDERS, READS, CommitFailed, Job, OutcomeUnknown
from headend.store.port import Port
from headend.store.writer import More

MINIMUM_VERSION = 130_000  # 13
READERS = 10
ATTEMPTS = 8
ALONE = 0x6F70656E  # of the advisory lock under which a database is brought up to date

# One thread is kept for money, one for money and orders; the others take what comes.
REACH = (MONEY, ORDERS, READS, READS)

_SESSION = {
    "timezone": "UTC",
    "statement_timeout": "30s",
    "lock_timeout": "15s",
    "idle_in_transaction_session_timeout": "60s",
}
# A process that is stopped or cut off in the middle of a transaction keeps a meter locked: for less long than others
# wait for the lock, so that no payment fails of it. Nothing that writes does anything else in between.
_WRITING = {"idle_in_transaction_session_timeout": "10s"}
_CONNECT = {
    "application_name": "openprepay",
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
    "prepare_threshold": None,  # hot statements are prepared by `wired`; psycopg would throw those away with its own
}
_RACES = ("40001", "40P01")  # serialization failure, deadlock
_TIMED_OUT = ("55P03", "57014")  # a lock, a statement
_READ_ONLY = ("25006", "0A000")  # a session that may not write; a server that follows another one
_ITS_OWN = ("0A", "22", "23", "42")  # classes of errors that a statement makes, not the COMMIT that is sent with it
_OUTDATED = "0A000"  # the server's own answer, though the connection is not used any further
_UNIQUE = "23505"  # may be the trace of a race: run again, the function sees the other's row
_NOW_S = text("SELECT floor(extract(epoch FROM clock_timestamp()))::bigint")
_DURABLE = {
    "fsync": ("on",),
    "full_page_writes": ("on",),
    "synchronous_commit": ("on", "local", "remote_write", "remote_apply"),
}


class Postgres(Port):
    """A database on a PostgreSQL server."""

    shared = False
    across_machines = True
    reach = REACH

    def __init__(self, url: URL) -> None:
        self.writes = _engine(url, len(REACH), "READ COMMITTED", read_only=False)
        commits.guard(self.writes)
        event.listen(self.writes, "before_cursor_execute", _flush)
        self._reads = _engine(url, READERS, "REPEATABLE READ", read_only=True)

    def run(self, first: Job, more: More) -> None:
        if first.future.set_running_or_notify_cancel():
            _run(self.writes, first)
            first.settle()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        with self._reads.connect() as conn, conn.begin():
            yield conn

    def lost(self, error: DBAPIError) -> bool:
        if not _lost(error):
            return False
        self._reads.dispose()
        return True

    def alone(self, conn: Connection) -> None:
        conn.execute(text("SET LOCAL statement_timeout = 0"))
        conn.execute(text("SET LOCAL lock_timeout = 0"))
        conn.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        conn.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ALONE})

    def check(self) -> None:
        with self.writes.connect() as conn:
            version = int(conn.execute(text("SHOW server_version_num")).scalar_one())
            if version < MINIMUM_VERSION:
                raise Refused("database", f"PostgreSQL {version // 10_000}", "PostgreSQL 13 or newer")
            for name, wanted in _DURABLE.items():
                value = conn.execute(text(f"SHOW {name}")).scalar_one()
                if value not in wanted:
                    raise Refused(f"database: {name}", value, f"{wanted[0]}: what is answered must be on disk by then")

    def close(self) -> None:
        self._reads.dispose()
        self.writes.dispose()


def _engine(url: URL, connections: int, isolation: str, *, read_only: bool) -> Engine:
    given = {name: value for name, value in _CONNECT.items() if name not in url.query}
    engine = create_engine(
        url, pool_size=connections, max_overflow=0, pool_timeout=30, isolation_level=isolation, connect_args=given
    )

    def on_connect(raw: Any, _record: object) -> None:
        raw.read_only = read_only
        with raw.cursor() as cursor:
            for name, value in {**_SESSION, **({} if read_only else _WRITING)}.items():
                cursor.execute("SELECT set_config(%s, %s, false)", (name, value))
        raw.commit()

    event.listen(engine, "connect", on_connect)
    return engine


def _flush(conn: Connection, *_: object) -> None:
    prepared.flush(conn)


def _run(engine: Engine, job: Job) -> None:
    """Run a job until it is committed, has raised, or has lost too often; leave its outcome in it."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            job.value, job.error = _once(engine, job), None
        except DBAPIError as error:
            job.error = error
            if _lost(error):
                engine.dispose()  # a server that was started anew leaves every connection of the pool dead
            if attempt < _tries(error):
                time.sleep(random.uniform(0, 0.002 * 2**attempt))
                continue
            if _nobody_s_fault(error):
                job.error = CommitFailed(f"Nothing was stored: {error.orig}")
                job.error.__cause__ = error
        except BaseException as error:  # noqa: BLE001 - it belongs to the caller who waits on the future
            job.error = error
            if isinstance(error, OutcomeUnknown):
                engine.dispose()
        return


def _once(engine: Engine, job: Job) -> Any:
    with engine.connect() as conn:  # leaving it undoes what is not committed
        transaction = conn.begin()
        prepared.forget(conn)
        try:
            value = job.fn(conn, *job.args)
        except BaseException as error:
            if not transaction.is_active:
                raise CommitFailed(f"{job.fn!r} left no transaction behind") from error
            raise
        if not transaction.is_active or _spoilt(conn):  # it ended the transaction, or passed over an error that did
            raise CommitFailed(f"{job.fn!r} left no transaction behind")
        statements_ran = False
        try:
            prepared.commit(conn)
            statements_ran = True
            commits.let_commit(conn)
            transaction.commit()
        except DBAPIError as error:
            if _lost(error) and _code(error) != _OUTDATED:
                raise OutcomeUnknown(f"The connection was lost at the COMMIT: {error.orig}") from error
            if _code(error) in _RACES or (not statements_ran and _code(error)[:2] in _ITS_OWN):
                raise
            raise CommitFailed(f"Nothing was stored: {error.orig}") from error
        return value


def _spoilt(conn: Connection) -> bool:
    """Whether a COMMIT would undo all: a statement failed and was not undone by itself, or the server is gone."""
    raw: Any = None if conn.invalidated else conn.connection.dbapi_connection
    return raw is None or raw.info.transaction_status.name not in ("IDLE", "INTRANS")  # IDLE: no statement so far


def _tries(error: DBAPIError) -> int:
    """How often a function that met this error is run before its caller hears of it."""
    if _lost(error):
        return 2
    return {_UNIQUE: 3}.get(_code(error), ATTEMPTS if _code(error) in _RACES else 1)


def _nobody_s_fault(error: DBAPIError) -> bool:
    return _lost(error) or _code(error) in (*_RACES, *_TIMED_OUT, *_READ_ONLY)


def _code(error: DBAPIError) -> str:
    """SQLSTATE (PostgreSQL, appendix A); "" where the server said nothing."""
    return getattr(error.orig, "sqlstate", None) or ""


def _lost(error: DBAPIError) -> bool:
    unreachable = isinstance(error, OperationalError) and not _code(error)
    return error.connection_invalidated or unreachable or (_code(error)[:2] in ("08", "57") and _code(error) != "57014")


def copy_in(conn: Connection, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert whole rows with COPY."""
    raw: Any = conn.connection.dbapi_connection
    with raw.cursor() as cursor, cursor.copy(f'COPY "{table.name}" FROM STDIN') as copy:
        for row in rows:
            copy.write_row(row)


def now_s(conn: Connection) -> int:
    """The server's clock at this moment, not at the beginning of the transaction."""
    return int(conn.execute(_NOW_S).scalar_one())
