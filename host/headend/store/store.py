"""`Store`: write through the one writer, read beside it."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from sqlalchemy import Connection, Engine, make_url

from headend.refusals import Refused
from headend.store import sqlite
from headend.store.writer import LANE_CAPACITY, ORDERS, Job, Lane, StoreClosed, Writer, run_group

R = TypeVar("R")


class Store:
    """A database that is up to date.

    `inline=True` runs every write at once in the calling thread, one group each: for simulation (deterministic) and for
    short commands. A database in memory is always inline. Otherwise one thread writes and any thread reads.
    """

    def __init__(self, url: str, *, inline: bool = False, capacity: int = LANE_CAPACITY) -> None:
        parsed = make_url(url)
        if parsed.get_backend_name() != "sqlite":
            raise Refused("database", parsed.render_as_string(), "a sqlite URL such as sqlite:///var/openprepay.sqlite")
        if not sqlite.in_memory(parsed):
            folder = Path(str(parsed.database)).resolve().parent
            if not folder.is_dir():
                raise Refused("database", parsed.render_as_string(), f"a file in a folder that exists (not {folder})")
        self.writes: Engine = sqlite.writer_engine(parsed)
        self._shared = sqlite.in_memory(parsed)
        self._reads = self.writes if self._shared else sqlite.reader_engine(parsed)
        self._writer = None if inline or self._shared else Writer(self.writes, capacity)
        self._inline = threading.RLock()
        self._inside: int | None = None  # the thread that runs a function inline
        self._closed = False

    def write(self, fn: Callable[..., R], *args: Any, lane: Lane = ORDERS) -> Future[R]:
        """Run `fn(conn, *args)` in the writer; the future completes after the COMMIT, or carries what `fn` raised.

        Raises Overloaded, StoreClosed. The future raises CommitFailed where the database did not take the group.
        """
        job = Job(fn, args, lane)
        if self._writer is not None:
            self._writer.submit(job)
        else:
            with self._alone():
                run_group(self.writes, job, _no_more)
        return job.future

    def read(self, fn: Callable[..., R], *args: Any) -> R:
        """Run `fn(conn, *args)` at once on a connection that cannot write; it sees one moment of the database."""
        if self._shared:
            with self._alone(), self._reads.connect() as conn, _query_only(conn):
                return fn(conn, *args)
        self._not_within()
        with self._reads.connect() as conn, conn.begin():
            return fn(conn, *args)

    def close(self) -> None:
        """Finish what was taken on, then let go of the database. Idempotent."""
        if self._writer is not None:
            self._writer.close()
        self._closed = True
        self._reads.dispose()
        self.writes.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with self._inline:
            if self._closed:
                raise StoreClosed("The store is closed.")
            self._not_within()
            self._inside = threading.get_ident()
            try:
                yield
            finally:
                self._inside = None

    def _not_within(self) -> None:
        runs_here = self._writer.runs_here() if self._writer else self._inside == threading.get_ident()
        if runs_here:
            raise RuntimeError("A store function called the store: use the connection that was handed in.")


def _no_more(_lane: Lane) -> Job | None:
    return None


@contextmanager
def _query_only(conn: Connection) -> Iterator[None]:
    """A transaction on the one connection of a database in memory, which meanwhile cannot write."""
    with conn.begin() as transaction:
        conn.exec_driver_sql("PRAGMA query_only=ON")
        try:
            yield
        finally:
            conn.exec_driver_sql("PRAGMA query_only=OFF")
            transaction.rollback()


def open_store(url: str, *, inline: bool = False, capacity: int = LANE_CAPACITY) -> Store:
    """Bring the database at `url` ("sqlite:///path", or "sqlite://" in memory) up to date and open it.

    Raises Refused for a URL that cannot be used.
    """
    from headend.store.migrate import upgrade  # alembic is slow to import and needed nowhere else

    store = Store(url, inline=inline, capacity=capacity)
    try:
        upgrade(store.writes)
    except BaseException:
        store.close()
        raise
    return store
