"""`Store`: write through the one writer, read beside it."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self, TypeVar

from sqlalchemy import Engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError

from headend.refusals import Refused
from headend.store.jobs import ORDERS, Job, Lane, StoreClosed
from headend.store.port import Port
from headend.store.sqlite import Sqlite
from headend.store.writer import LANE_CAPACITY, Writer

URLS = "a URL such as sqlite:///var/openprepay.sqlite or postgresql+psycopg://user@host/openprepay"

R = TypeVar("R")


class Store:
    """A database that is up to date.

    `inline=True` runs every write at once in the calling thread, one group each: for simulation (deterministic) and for
    short commands. A database in memory is always inline. Otherwise one thread writes to SQLite, several to PostgreSQL,
    and any thread reads.
    """

    def __init__(self, url: str, *, inline: bool = False, capacity: int = LANE_CAPACITY) -> None:
        self.port = _port(url)
        self.writes: Engine = self.port.writes
        threaded = not inline and not self.port.shared
        if threaded:
            self.port.serve()
        self._writer = Writer(self.port.run, self.port.reach, capacity) if threaded else None
        self._inline = threading.RLock()
        self._inside: int | None = None  # the thread that runs a function inline
        self._closed = False

    def write(self, fn: Callable[..., R], *args: Any, lane: Lane = ORDERS) -> Future[R]:
        """Run `fn(conn, *args)` in a writer; the future completes after the COMMIT, or carries what `fn` raised.

        `fn` does nothing but through `conn`: where it lost a race it is undone and run again. Writes of several threads
        are not kept in order; who needs one waits for the future. Raises Overloaded, StoreClosed. The future raises
        CommitFailed where the database did not take it (OutcomeUnknown: where nobody can tell).
        """
        job = Job(fn, args, lane)
        if self._writer is not None:
            self._writer.submit(job)
        else:
            with self._alone():
                self.port.run(job, _no_more)
        return job.future

    def read(self, fn: Callable[..., R], *args: Any) -> R:
        """Run `fn(conn, *args)` at once on a connection that cannot write; it sees one moment of the database."""
        if self.port.shared:
            with self._alone(), self.port.reading() as conn:
                return fn(conn, *args)
        self._not_within()
        try:
            with self.port.reading() as conn:
                return fn(conn, *args)
        except DBAPIError as error:
            if not self.port.lost(error):
                raise
        with self.port.reading() as conn:  # once more, on a new connection
            return fn(conn, *args)

    def close(self) -> None:
        """Finish what was taken on, then let go of the database. Idempotent."""
        if self._writer is not None:
            self._writer.close()
        self._closed = True
        self.port.close()

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


def _port(url: str) -> Port:
    """What stands beneath a URL; raises Refused for one that cannot be used."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise Refused("database", "text that is no URL", URLS) from None
    if parsed.get_backend_name() == "sqlite":
        return Sqlite(parsed)
    if parsed.drivername != "postgresql+psycopg":
        raise Refused("database", parsed.render_as_string(), URLS)
    try:
        from headend.store.postgres import Postgres

        return Postgres(parsed)
    except ImportError as missing:
        raise Refused("database", parsed.render_as_string(), f"openprepay[postgresql] installed ({missing})") from None


def open_store(url: str, *, inline: bool = False, capacity: int = LANE_CAPACITY) -> Store:
    """Bring the database at `url` up to date and open it.

    "sqlite:///path", "sqlite://" (in memory) or "postgresql+psycopg://[user@]host/name" (a password may stand in
    ~/.pgpass or a service file instead). Raises Refused for a URL that cannot be used, a database that does not answer,
    and a server that would answer before a commit is on disk.
    """
    from headend.store.migrate import upgrade

    store = Store(url, inline=inline, capacity=capacity)
    try:
        store.port.check()
        upgrade(store.port)
    except OperationalError as error:
        store.close()
        told = str(error.orig).strip().splitlines()[:1]
        raise Refused("database", make_url(url).render_as_string(), f"one that answers ({' '.join(told)})") from error
    except BaseException:
        store.close()
        raise
    return store
