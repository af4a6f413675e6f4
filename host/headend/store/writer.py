"""The one writer: functions wait in lanes, run one after the other, and are committed in groups.

A group is one BEGIN IMMEDIATE … COMMIT. Each function has its own SAVEPOINT, so one that raises undoes its own work and
nothing of its neighbours'. Nobody learns an outcome, good or bad, before the COMMIT: if that fails, all of the group
fail with `CommitFailed` and nothing of it happened. A group takes what waits and never waits for more; it closes after
`GROUP_S`, and before a function of a less urgent lane than those it holds, so that a payment never waits for a read.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from enum import IntEnum
from typing import Any

from sqlalchemy import Connection, Engine

from headend.store import sqlite

GROUP_S = 0.020
LANE_CAPACITY = 10_000


class Lane(IntEnum):
    """Which work goes first when several kinds wait."""

    MONEY = 0
    ORDERS = 1
    READS = 2


MONEY = Lane.MONEY
ORDERS = Lane.ORDERS
READS = Lane.READS


class CommitFailed(Exception):
    """The transaction could not begin, hold or commit: nothing of it is in the database. The cause is chained."""


class Overloaded(Exception):
    """The lane is full: nothing was taken on. Try again later."""


class StoreClosed(Exception):
    """The store takes no more work."""


class Job:
    """A function with its arguments, and where its outcome goes."""

    __slots__ = ("args", "error", "fn", "future", "lane", "value")

    def __init__(self, fn: Callable[..., Any], args: tuple[Any, ...], lane: Lane) -> None:
        self.fn = fn
        self.args = args
        self.lane = lane
        self.future: Future[Any] = Future()
        self.value: Any = None
        self.error: BaseException | None = None

    def settle(self) -> None:
        if self.error is None:
            self.future.set_result(self.value)
        else:
            self.future.set_exception(self.error)


def run_group(engine: Engine, first: Job, more: Callable[[Lane], Job | None]) -> None:
    """Run `first`, and what `more(lane so far)` gives until None, in one transaction; then settle all futures."""
    taken: list[Job] = []
    try:
        with engine.connect() as conn, conn.begin():
            closes = time.monotonic() + GROUP_S
            lane = first.lane
            job: Job | None = first
            while job is not None:
                if job.future.set_running_or_notify_cancel():
                    taken.append(job)
                    _run(conn, job)
                lane = min(lane, job.lane)
                job = more(lane) if time.monotonic() < closes else None
            sqlite.let_commit(conn)
    except BaseException as error:  # noqa: BLE001 - whatever it was, the group has to learn of it
        failed = CommitFailed(f"Nothing was stored: {error}")
        failed.__cause__ = error
        _fail(first, taken, failed)
    for job in taken:
        job.settle()


def _fail(first: Job, taken: list[Job], failed: CommitFailed) -> None:
    if not taken and first.future.set_running_or_notify_cancel():  # it could not even begin
        taken.append(first)
    for job in taken:
        job.error = failed


def _run(conn: Connection, job: Job) -> None:
    savepoint = conn.begin_nested()
    try:
        job.value = job.fn(conn, *job.args)
    except BaseException as error:  # noqa: BLE001 - it belongs to the caller who waits on the future
        job.error = error
    # A function that ended the transaction itself, or an error that did, takes the whole group with it.
    if not savepoint.is_active or not sqlite.in_transaction(conn):
        raise CommitFailed(f"{job.fn!r} left no transaction behind") from job.error
    if job.error is None:
        savepoint.commit()
    else:
        savepoint.rollback()


class Writer:
    """The writer thread with its lanes. `submit` never blocks."""

    def __init__(self, engine: Engine, capacity: int = LANE_CAPACITY) -> None:
        self._engine = engine
        self._capacity = capacity
        self._lanes: tuple[deque[Job], ...] = tuple(deque() for _ in Lane)
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="store-writer", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Queue a job; raises Overloaded when its lane is full, StoreClosed after `close`."""
        with self._changed:
            if self._closed:
                raise StoreClosed("The store is closed.")
            waiting = self._lanes[job.lane]
            if len(waiting) >= self._capacity:
                raise Overloaded(f"{len(waiting)} writes wait in lane {job.lane.name.lower()}; try again later.")
            waiting.append(job)
            self._changed.notify()

    def close(self) -> None:
        """Take no more, finish what was taken on, end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def runs_here(self) -> bool:
        """Whether the caller is a function that the writer runs."""
        return threading.current_thread() is self._thread

    def _work(self) -> None:
        while (job := self._first()) is not None:
            run_group(self._engine, job, self._more)

    def _first(self) -> Job | None:
        with self._changed:
            while True:
                for waiting in self._lanes:
                    if waiting:
                        return waiting.popleft()
                if self._closed:
                    return None
                self._changed.wait()

    def _more(self, lane: Lane) -> Job | None:
        with self._changed:
            for waiting in self._lanes[: lane + 1]:
                if waiting:
                    return waiting.popleft()
        return None
