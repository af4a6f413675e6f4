"""What PostgreSQL adds: races that are run again, connections that are lost, a server that would lie about its disk."""

import threading
from collections.abc import Iterator
from concurrent.futures import wait

import psycopg
import pytest
from sqlalchemy import Connection, select, text, update

from headend.ledger import accounts
from headend.refusals import Refused
from headend.store import CommitFailed, OutcomeUnknown, Store, lock_meter, open_store
from headend.store.schema import account, meter_state
from tests import postgres
from tests.host.books import METER, open_books

OTHER = METER + 1


_END_OTHERS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


@pytest.fixture
def url() -> Iterator[str]:
    made = postgres.server().database()
    yield made
    postgres.server().drop(made)


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with open_books(url, meters=(METER, OTHER)) as opened:
        yield opened


def names(conn: Connection) -> set[str]:
    return set(conn.execute(select(account.c.account)).scalars())


def touched(conn: Connection) -> dict[int, int]:
    """Meter -> how often its row was locked."""
    return {row.meter: row.touched for row in conn.execute(select(meter_state.c.meter, meter_state.c.touched))}


class Meeting:
    """Two functions meet here in their first run; in a further one they pass."""

    def __init__(self) -> None:
        self._barrier = threading.Barrier(2)
        self.runs = 0

    def meet(self) -> None:
        self.runs += 1
        if self.runs <= 2:
            self._barrier.wait(30)


def test_a_deadlock_is_run_again(store: Store) -> None:
    meeting = Meeting()

    def both(conn: Connection, first: int, then: int) -> None:
        lock_meter(conn, first)
        meeting.meet()
        lock_meter(conn, then)

    before = store.read(touched)
    wait([store.write(both, METER, OTHER), store.write(both, OTHER, METER)])
    assert meeting.runs >= 3  # the one that was run again may have met the other a second time
    assert store.read(touched) == {meter: times + 2 for meter, times in before.items()}


def test_two_that_add_the_same_row_both_find_it(store: Store) -> None:
    meeting = Meeting()

    def open_it(conn: Connection) -> None:
        missing = "income:x" not in names(conn)
        meeting.meet()
        if missing:
            accounts.open_account(conn, "income:x")

    futures = [store.write(open_it), store.write(open_it)]
    assert [future.exception() for future in futures] == [None, None]
    assert "income:x" in store.read(names)


def test_a_row_that_really_stands_there_is_an_error(store: Store) -> None:
    store.write(accounts.open_account, "income:x").result()
    twice = store.write(lambda conn: conn.execute(account.insert().values(account="income:x", kind="income")))
    with pytest.raises(Exception, match="pk_account"):
        twice.result()


def test_an_error_that_was_passed_over_stores_nothing(store: Store) -> None:
    def careless(conn: Connection) -> None:
        accounts.open_account(conn, "income:x")
        try:
            conn.execute(text("SELECT no_such_column FROM account"))
        except Exception:  # noqa: BLE001, S110 - what a store function must not do
            pass

    assert isinstance(store.write(careless).exception(), CommitFailed)
    assert "income:x" not in store.read(names)


def test_a_connection_that_is_lost_before_the_commit_stores_nothing(store: Store) -> None:
    def cut(conn: Connection) -> None:
        accounts.open_account(conn, "income:x")
        conn.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

    error = store.write(cut).exception()
    assert isinstance(error, CommitFailed) and not isinstance(error, OutcomeUnknown)
    assert "income:x" not in store.read(names)
    store.write(accounts.open_account, "income:y").result()
    assert "income:y" in store.read(names)


def test_a_connection_that_is_lost_at_the_commit_says_that_nobody_knows(store: Store, url: str) -> None:
    def cut(conn: Connection) -> None:
        accounts.open_account(conn, "income:x")
        pid = conn.execute(text("SELECT pg_backend_pid()")).scalar_one()
        with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s)", (pid,))
            while other.execute("SELECT 1 FROM pg_stat_activity WHERE pid = %s", (pid,)).fetchone():
                pass

    assert isinstance(store.write(cut).exception(), OutcomeUnknown)
    store.write(accounts.open_account, "income:x").result()
    assert "income:x" in store.read(names)


def test_a_server_that_was_started_anew_is_met_by_whatever_comes_next(store: Store, url: str) -> None:
    entered = threading.Barrier(4)
    readers = [
        threading.Thread(target=store.read, args=(lambda conn: (names(conn), entered.wait(30)),)) for _ in "abcd"
    ]
    wait([store.write(lock_meter, METER) for _ in range(8)])
    for reader in readers:  # several connections in the pool
        reader.start()
    for reader in readers:
        reader.join()
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as other:
        while other.execute(_END_OTHERS).fetchall():
            pass
    assert [store.write(lock_meter, METER).exception() for _ in range(8)] == [None] * 8
    assert all(store.read(names) for _ in range(8))


def test_a_server_that_cannot_be_reached_fails_the_write() -> None:
    store = Store("postgresql+psycopg://op:secret@/nothing?host=/no/such/folder")
    with store:
        error = store.write(names).exception()
    assert isinstance(error, CommitFailed)
    assert "secret" not in str(error)


def test_a_session_that_answers_before_the_disk_is_refused(url: str) -> None:
    with pytest.raises(Refused, match="synchronous_commit: 'off' given, on"):
        open_store(f"{url}&options=-c%20synchronous_commit%3Doff")


@pytest.mark.parametrize("name", ["fsync", "full_page_writes"])
def test_a_server_that_answers_before_the_disk_is_refused(name: str, url: str) -> None:
    postgres.server().set(name, "off")
    try:
        with pytest.raises(Refused, match=f"{name}: 'off' given, on"):
            open_store(url)
    finally:
        postgres.server().set(name, None)
    open_store(url).close()


def test_every_wait_is_bounded(store: Store) -> None:
    settings = "statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "TimeZone"

    def show(conn: Connection) -> list[str]:
        return [conn.execute(text(f"SHOW {name}")).scalar_one() for name in settings]

    assert store.read(show) == ["30s", "15s", "1min", "UTC"]
    assert store.write(show).result() == ["30s", "15s", "10s", "UTC"], "it keeps nobody else waiting in vain"


def test_a_row_that_is_held_does_not_hold_up_another_meter(store: Store) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def hold(conn: Connection) -> None:
        lock_meter(conn, METER)
        entered.set()
        go_on.wait()

    held = store.write(hold)
    entered.wait()
    assert store.write(lock_meter, OTHER).result().meter == OTHER
    go_on.set()
    held.result()


def test_a_write_is_undone_when_its_function_is_run_again(store: Store) -> None:
    runs = []

    def count(conn: Connection) -> None:
        runs.append(conn.execute(update(meter_state).where(meter_state.c.meter == METER).values(next_ask_s=7)).rowcount)
        accounts.open_account(conn, "income:x")
        if len(runs) == 1:
            conn.execute(text("DO $$ BEGIN RAISE EXCEPTION 'again' USING ERRCODE = '40001'; END $$"))

    assert store.write(count).exception() is None
    assert runs == [1, 1]


def test_a_server_that_is_not_there_is_named_without_its_password() -> None:
    with pytest.raises(Refused, match="one that answers") as refused:
        open_store("postgresql+psycopg://openprepay:hunter2@127.0.0.1:1/openprepay")
    assert "hunter2" not in str(refused.value) and refused.value.field == "database"
