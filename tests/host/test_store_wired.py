"""Statements straight through libpq: plans that follow a table as it grows, and a COMMIT sent with the last of them."""

from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import Connection, bindparam, insert, select, text, update

from headend.ledger import accounts
from headend.store import OutcomeUnknown, Store, wired
from headend.store.prepared import Prepared, prepared
from headend.store.schema import account, meter_state
from tests import postgres
from tests.host.books import METER, open_books

_TOUCH = prepared(
    update(meter_state)
    .where(meter_state.c.meter == bindparam("of"))
    .values(touched=meter_state.c.touched + bindparam("by"))
)
_TOUCHED = prepared(select(meter_state.c.touched).where(meter_state.c.meter == bindparam("of")))
_NAMED = prepared(select(account.c.account).where(account.c.account == bindparam("name")))
_AGAIN = prepared(insert(account).values(account=bindparam("name"), kind="income"))
_PID = text("SELECT pg_backend_pid()")


@pytest.fixture
def url() -> Iterator[str]:
    made = postgres.server().database()
    yield made
    postgres.server().drop(made)


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with open_books(url, inline=True) as opened:
        yield opened


def touched(store: Store) -> int:
    return int(store.read(lambda conn: _TOUCHED(conn, {"of": METER}).scalar_one()))


def plan(conn: Connection, statement: Prepared, **values: str) -> str:
    """How this connection would run a statement that it has prepared, now."""
    compiled = statement.compiled(conn, values).wired
    assert compiled is not None
    given = ", ".join(f"'{values[name]}'" for name in compiled.order)
    rows = conn.execute(text(f"EXPLAIN EXECUTE {compiled.name.decode()} ({given})"))
    return "\n".join(line for (line,) in rows)


def test_plans_are_made_anew_while_a_table_grows(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1e9
    monkeypatch.setattr(wired.time, "monotonic", lambda: now)

    def look(conn: Connection) -> str:
        for _ in range(8):  # from the sixth time on, the server keeps one plan for all values
            _NAMED(conn, {"name": "income:x"})
        return plan(conn, _NAMED, name="income:x")

    def forget_and_analyse(conn: Connection) -> None:
        conn.execute(text("SET plan_cache_mode = force_generic_plan"))
        conn.execute(text("ANALYZE account"))

    store.write(forget_and_analyse).result()
    assert "Seq Scan" in store.write(look).result(), "a handful of rows lie in one page"

    def grow(conn: Connection) -> None:
        conn.execute(insert(account), [{"account": f"income:{number}", "kind": "income"} for number in range(5_000)])

    store.write(grow).result()
    now += 3_600
    store.write(lambda conn: _NAMED(conn, {"name": "income:x"}).all()).result()
    assert "Index" in store.write(look).result()


def test_the_commit_goes_with_the_last_statements(store: Store) -> None:
    def write(conn: Connection) -> None:
        _TOUCHED(conn, {"of": METER})
        _TOUCH.later(conn, {"of": METER, "by": 3})

    before = touched(store)
    store.write(write).result()
    assert touched(store) == before + 3


def test_where_the_last_statement_fails_nothing_is_stored(store: Store) -> None:
    def write(conn: Connection) -> None:
        _TOUCH.later(conn, {"of": METER, "by": 3})
        accounts.open_account(conn, "income:x")
        _AGAIN.later(conn, {"name": "income:x"})

    before = touched(store)
    assert store.write(write).exception() is not None
    assert touched(store) == before
    store.write(accounts.open_account, "income:x").result()


def test_a_connection_lost_under_the_last_statements_and_their_commit_says_that_nobody_knows(
    store: Store, url: str
) -> None:
    def cut(conn: Connection) -> None:
        pid = conn.execute(_PID).scalar_one()
        _TOUCH.later(conn, {"of": METER, "by": 3})
        with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s)", (pid,))
            while other.execute("SELECT 1 FROM pg_stat_activity WHERE pid = %s", (pid,)).fetchone():
                pass

    before = touched(store)
    error = store.write(cut).exception()
    assert isinstance(error, OutcomeUnknown)
    assert touched(store) == before
    store.write(lambda conn: _TOUCH(conn, {"of": METER, "by": 1})).result()
    assert touched(store) == before + 1
