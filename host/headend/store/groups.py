"""How a database with one writer is written: functions run one after the other and are committed in groups.

A group is one BEGIN IMMEDIATE … COMMIT. Each function has its own SAVEPOINT, so one that raises undoes its own work and
nothing of its neighbours'. Nobody learns an outcome, good or bad, before the COMMIT: if that fails, all of the group
fail with `CommitFailed` and nothing of it happened. A group takes what waits and never waits for more; it closes after
`GROUP_S`, and before a function of a less urgent lane than those it holds, so that a payment never waits for a read.
One of nothing but the least urgent may last `READS_S`: whoever is more urgent ends it, and where a disk is slow, fewer
commits are what makes records come faster.
"""

import sqlite3
import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Engine

from headend.store.commits import let_commit
from headend.store.jobs import READS, CommitFailed, Job, Lane

GROUP_S = 0.020
READS_S = 0.060


def run_group(engine: Engine, first: Job, more: Callable[[Lane], Job | None]) -> int:
    """Run `first`, and what `more(lane so far)` gives until None, in one transaction; then settle all futures.

    Returns how many rows that changed, about.
    """
    taken: list[Job] = []
    changed = 0
    try:
        with engine.connect() as conn, conn.begin():
            before = _driver(conn).total_changes
            began = time.monotonic()
            lane = first.lane
            job: Job | None = first
            while job is not None:
                if job.future.set_running_or_notify_cancel():
                    taken.append(job)
                    _run(conn, job)
                lane = min(lane, job.lane)
                job = more(lane) if time.monotonic() - began < (READS_S if lane == READS else GROUP_S) else None
            changed = _driver(conn).total_changes - before
            let_commit(conn)
    except BaseException as error:  # noqa: BLE001 - whatever it was, the group has to learn of it
        failed = CommitFailed(f"Nothing was stored: {error}")
        failed.__cause__ = error
        _fail(first, taken, failed)
    for job in taken:
        job.settle()
    return changed


def _fail(first: Job, taken: list[Job], failed: CommitFailed) -> None:
    if not taken and first.future.set_running_or_notify_cancel():  # it could not even begin
        taken.append(first)
    for job in taken:
        job.error = failed


def _run(conn: Connection, job: Job) -> None:
    raw = _driver(conn)
    raw.execute("SAVEPOINT job")  # in the driver's words: SQLAlchemy's own three cost a tenth of a payment
    try:
        job.value = job.fn(conn, *job.args)
    except BaseException as error:  # noqa: BLE001 - it belongs to the caller who waits on the future
        job.error = error
    # A function that ended the transaction, or an error that did (disk full, I/O), takes the whole group with it.
    if not (conn.in_transaction() and raw.in_transaction):
        raise CommitFailed(f"{job.fn!r} left no transaction behind") from job.error
    if job.error is not None:
        raw.execute("ROLLBACK TO job")
    raw.execute("RELEASE job")


def _driver(conn: Connection) -> sqlite3.Connection:
    raw: Any = conn.connection.dbapi_connection
    assert isinstance(raw, sqlite3.Connection)
    return raw
