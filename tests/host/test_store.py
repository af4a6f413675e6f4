"""Writing and reading: what holds on every kind of database; groups, lanes and failures of SQLite's one writer.

What is PostgreSQL's own stands in test_store_postgres.py.
"""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, wait
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event, insert, select, text

from headend.refusals import Refused
from headend.store import (
    MONEY,
    ORDERS,
    READS,
    CommitFailed,
    Overloaded,
    Store,
    StoreClosed,
    UnknownMeter,
    checkpoints,
    groups,
    jobs,
    lock_meter,
    open_store,
)
from headend.store.schema import account, meter_state
from tests import postgres
from tests.host.books import METER, open_books


def add(conn: Connection, name: str) -> str:
    conn.execute(insert(account).values(account=name, kind="customer"))
    return name


def add_and_fail(conn: Connection, name: str) -> None:
    add(conn, name)
    raise LookupError(name)


def add_orphan(conn: Connection) -> None:
    """A broken foreign key that the database finds at the COMMIT only."""
    conn.execute(text(_DEFERRED[conn.dialect.name]))
    conn.execute(insert(meter_state).values(meter=99))


_DEFERRED = {
    "sqlite": "PRAGMA defer_foreign_keys=ON",
    "postgresql": "ALTER TABLE meter_state ALTER CONSTRAINT fk_meter_state_meter DEFERRABLE INITIALLY DEFERRED",
}


def names(conn: Connection) -> list[str]:
    return list(conn.execute(select(account.c.account).order_by(account.c.account)).scalars())


@pytest.fixture(params=["memory", "inline file", "file", "postgresql", "inline postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    url = {"memory": "sqlite://"}.get(request.param, f"sqlite:///{tmp_path}/store.sqlite")
    if "postgresql" in request.param:
        url = postgres.server().database()
    with open_store(url, inline="inline" in request.param) as opened:
        yield opened
    if "postgresql" in request.param:
        postgres.server().drop(url)


@pytest.fixture
def threaded(tmp_path: Path) -> Iterator[Store]:
    with open_store(f"sqlite:///{tmp_path}/store.sqlite") as opened:
        yield opened


class Held:
    """Keeps the writer busy inside a function, so that everything submitted meanwhile waits for the same group."""

    def __init__(self, store: Store, lane: jobs.Lane = READS) -> None:
        self.entered, self.go_on = threading.Event(), threading.Event()
        self.future = store.write(self._hold, lane=lane)
        self.entered.wait()

    def _hold(self, conn: Connection) -> None:
        self.entered.set()
        self.go_on.wait()

    def release(self) -> None:
        self.go_on.set()


@pytest.fixture
def commits(threaded: Store) -> list[str]:
    """Grows by "commit" at every commit of the store."""
    seen: list[str] = []
    event.listen(threaded.writes, "commit", lambda _conn: seen.append("commit"))
    return seen


def test_a_write_is_there_when_its_future_completes(store: Store) -> None:
    assert store.write(add, "a").result() == "a"
    assert store.read(names) == ["a"]


def test_a_failing_function_undoes_its_own_work_only(store: Store) -> None:
    futures = [store.write(add, "a"), store.write(add_and_fail, "b"), store.write(add, "c")]
    with pytest.raises(LookupError, match="b"):
        futures[1].result()
    assert [futures[0].result(), futures[2].result()] == ["a", "c"]
    assert store.read(names) == ["a", "c"]


@pytest.mark.parametrize("spoil", [Connection.commit, Connection.rollback])
def test_a_function_cannot_end_the_transaction(store: Store, spoil: Callable[[Connection], None]) -> None:
    def meddle(conn: Connection) -> None:
        add(conn, "a")
        spoil(conn)

    with pytest.raises(CommitFailed):
        store.write(meddle).result()
    assert store.write(add, "b").result() == "b"
    assert store.read(names) == ["b"]


def test_when_the_commit_fails_nothing_is_stored_and_the_store_goes_on(store: Store) -> None:
    with pytest.raises(CommitFailed, match=r"(?i)foreign key"):
        store.write(add_orphan).result()
    assert store.write(add, "a").result() == "a"
    assert store.read(names) == ["a"]


def test_a_reader_cannot_write(store: Store) -> None:
    with pytest.raises(Exception, match=r"read-?only"):
        store.read(add, "a")
    assert store.write(add, "b").result() == "b"
    assert store.read(names) == ["b"]


def test_the_store_is_not_called_from_within(store: Store) -> None:
    with pytest.raises(RuntimeError, match="handed in"):
        store.write(lambda conn: store.read(names)).result()
    if store.port.shared:
        with pytest.raises(RuntimeError, match="handed in"):
            store.read(lambda conn: store.read(names))


def test_a_closed_store_refuses(store: Store) -> None:
    store.close()
    with pytest.raises(StoreClosed):
        store.write(add, "a")


def test_a_group_is_one_commit(threaded: Store, commits: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "GROUP_S", 3600)
    held = Held(threaded)
    futures = [threaded.write(add, f"a{n}") for n in range(20)]
    held.release()
    wait(futures)
    assert commits == ["commit"]


def test_the_time_of_a_group_is_bounded(threaded: Store, commits: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "GROUP_S", 0)
    monkeypatch.setattr(groups, "READS_S", 0)
    held = Held(threaded)
    futures = [threaded.write(add, f"a{n}") for n in range(5)]
    held.release()
    wait(futures)
    assert commits == ["commit"] * 6


def test_a_group_of_reads_alone_lasts_longer_and_a_payment_ends_it(
    threaded: Store, commits: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(groups, "GROUP_S", 0)
    monkeypatch.setattr(groups, "READS_S", 3600)
    held = Held(threaded, lane=READS)
    futures = [threaded.write(add, f"a{n}", lane=READS) for n in range(5)]
    held.release()
    wait(futures)
    assert commits == ["commit"]
    held = Held(threaded, lane=READS)
    futures = [threaded.write(add, f"b{n}", lane=READS) for n in range(5)]
    futures.append(threaded.write(add, "paid", lane=MONEY))
    held.release()
    wait(futures)
    assert commits == ["commit"] * 3, "the payment with what ran before it, then the others"


def test_urgent_work_goes_first_and_never_waits_for_less_urgent(
    threaded: Store, commits: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(groups, "GROUP_S", 3600)
    monkeypatch.setattr(groups, "READS_S", 3600)
    seen = commits

    def note(conn: Connection, what: str) -> None:
        seen.append(what)

    held = Held(threaded, lane=READS)
    futures = [
        threaded.write(note, f"{lane.name.lower()} {n}", lane=lane) for n in (1, 2) for lane in (READS, ORDERS, MONEY)
    ]
    held.release()
    wait(futures)
    assert seen == [
        *("money 1", "money 2", "commit"),  # committed with the function that was running
        *("orders 1", "orders 2", "commit"),
        *("reads 1", "reads 2", "commit"),
    ]


def test_a_failed_commit_fails_its_whole_group(threaded: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "GROUP_S", 3600)
    held = Held(threaded)
    futures: list[Any] = [threaded.write(add, "a"), threaded.write(add_and_fail, "b"), threaded.write(add_orphan)]
    held.release()
    for future in [held.future, *futures]:
        assert isinstance(future.exception(), CommitFailed)
    assert threaded.read(names) == []


def test_nobody_hears_before_the_commit(threaded: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "GROUP_S", 3600)
    held, first = Held(threaded), threading.Event()
    good, bad = threaded.write(add, "a"), threaded.write(add_and_fail, "b")

    def look(conn: Connection) -> tuple[bool, bool]:
        first.set()
        return good.done(), bad.done()

    looked = threaded.write(look)
    held.release()
    assert looked.result() == (False, False)


def test_a_full_lane_refuses_and_takes_nothing(tmp_path: Path) -> None:
    with open_store(f"sqlite:///{tmp_path}/store.sqlite", capacity=3) as store:
        held = Held(store)
        futures = [store.write(add, f"a{n}") for n in range(3)]
        with pytest.raises(Overloaded, match="3 writes wait in lane orders"):
            store.write(add, "a3")
        other = store.write(add, "m", lane=MONEY)  # lanes do not crowd each other out
        held.release()
        wait([*futures, other])
        assert store.read(names) == ["a0", "a1", "a2", "m"]


def test_a_cancelled_write_is_not_run(threaded: Store) -> None:
    held = Held(threaded)
    future = threaded.write(add, "a")
    assert future.cancel()
    held.release()
    threaded.write(add, "b").result()
    assert threaded.read(names) == ["b"]
    with pytest.raises(CancelledError):
        future.result()


def test_closing_finishes_what_was_taken_on(any_store_url: str) -> None:
    url = any_store_url
    store = open_store(url)
    futures = [store.write(add, f"a{n}") for n in range(50)]
    store.close()
    assert all(future.done() for future in futures)
    with open_store(url) as again:
        assert len(again.read(names)) == 50


def test_a_read_sees_one_moment(any_store_url: str) -> None:
    with open_store(any_store_url) as store:

        def look(conn: Connection) -> tuple[list[str], list[str]]:
            before = names(conn)
            store.write(add, "a").result()
            return before, names(conn)

        assert store.read(look) == ([], [])
        assert store.read(names) == ["a"]


def test_commits_are_on_disk_before_they_are_answered(threaded: Store) -> None:
    """`kill -9` cannot show this; the settings of the writer's own connection do."""

    def settings(conn: Connection) -> list[Any]:
        pragmas = ("journal_mode", "synchronous", "foreign_keys", "recursive_triggers")
        return [conn.exec_driver_sql(f"PRAGMA {pragma}").scalar() for pragma in pragmas]

    assert threaded.write(settings).result() == ["wal", 2, 1, 1]


def test_the_log_comes_into_the_file_beside_the_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within the time that a connection waits by itself, and not in its commits: those leave the log alone."""
    monkeypatch.setattr(checkpoints, "REST_S", 0.01)
    path = tmp_path / "store.sqlite"

    def fill(conn: Connection, first: int) -> int:
        rows = [{"account": f"{number:080d}", "kind": "customer"} for number in range(first, first + 3000)]
        conn.execute(insert(account), rows)
        return int(conn.exec_driver_sql("PRAGMA wal_autocheckpoint").scalar_one())

    with open_store(f"sqlite:///{path}") as store:
        before = path.stat().st_size
        assert store.write(fill, 0).result() == checkpoints.LONGEST_PAGES
        ends = time.monotonic() + 60
        while path.stat().st_size < before + 3000 * 160 and time.monotonic() < ends:  # a row and its key in the index
            time.sleep(0.01)
        assert path.stat().st_size >= before + 3000 * 160
        store.write(fill, 3000).result()
    with open_store(f"sqlite:///{path}") as store:
        assert len(store.read(names)) == 6000


def test_a_disk_that_is_full_fails_the_group_and_loses_nothing(threaded: Store) -> None:
    threaded.write(add, "a").result()

    def fill(conn: Connection) -> None:
        pages = conn.exec_driver_sql("PRAGMA page_count").scalar()
        conn.exec_driver_sql(f"PRAGMA max_page_count={pages}")
        for number in range(10_000):
            add(conn, f"{number:080d}")

    future = threaded.write(fill)
    assert "full" in str(future.exception())
    assert threaded.read(names) == ["a"]

    def relieve(conn: Connection) -> None:
        conn.exec_driver_sql("PRAGMA max_page_count=1000000")

    threaded.write(relieve).result()
    threaded.write(add, "b").result()
    assert threaded.read(names) == ["a", "b"]


@pytest.mark.parametrize(
    "url", ["postgresql://op:secret@db/openprepay", "sqlite:////no/such/folder/x.sqlite", "mysql://op:secret@db", "x"]
)
def test_a_url_that_cannot_be_used_is_refused(url: str) -> None:
    with pytest.raises(Refused, match="database") as refused:
        open_store(url)
    assert "secret" not in str(refused.value)


def test_the_lock_of_a_meter_returns_its_row_and_counts(any_store_url: str) -> None:
    with open_books(any_store_url) as store:
        first = store.write(lock_meter, METER).result()
        second = store.write(lock_meter, METER).result()
        assert (second.meter, second.touched) == (METER, first.touched + 1)
        with pytest.raises(UnknownMeter, match="meter: 99 given"):
            store.write(lock_meter, 99).result()
