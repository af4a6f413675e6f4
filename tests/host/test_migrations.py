"""The migrations lead to exactly what `schema.py` says, and the database refuses what must never happen."""

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, create_engine, delete, exc, insert, inspect, select, text, update

from headend.ledger import payments
from headend.store import CommitFailed, Store, migrate, open_store
from headend.store.schema import entry, order, outbox, payment
from headend.store.tables import metadata
from tests import postgres
from tests.host.books import CHANNEL, METER, NOW_S, open_books, start


def definitions(conn: Connection) -> dict[str, list[str]]:
    """Name -> SQL of every table and index that is not the migration tool's own; table constraints in sorted order."""
    found = conn.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE type IN ('table', 'index') AND sql NOTNULL")
    return {name: _parts(re.sub(r"\s+", " ", sql)) for name, sql in found if name != "alembic_version"}


def _parts(sql: str) -> list[str]:
    table = re.fullmatch(r"(CREATE TABLE \S+) \((.*)\)([^()]*)", sql)
    if table is None:
        return [sql]
    columns, *constraints = table[2].strip().split(", CONSTRAINT ")
    name = table[1].replace('"', "")  # a table that was copied to change it is quoted
    return [name, columns, *sorted(part.strip() for part in constraints), table[3].strip()]


def test_migrations_make_what_the_schema_says() -> None:
    with open_store("sqlite://") as store:
        migrated = store.read(definitions)
    engine = create_engine("sqlite://")
    metadata.create_all(engine)
    with engine.connect() as conn:
        assert migrated == definitions(conn)


def test_the_migration_tool_sees_no_difference(any_store: Store) -> None:
    assert any_store.read(difference) == []


def difference(conn: Connection) -> list[object]:
    defaults = conn.dialect.name == "postgresql"  # what SQLite says of them is compared as text, above
    context = MigrationContext.configure(conn, opts={"compare_server_default": defaults})
    return list(compare_metadata(context, metadata))


def revisions(store: Store) -> list[str]:
    """Oldest first."""
    scripts = ScriptDirectory.from_config(store.read(migrate.config))
    return [step.revision for step in scripts.walk_revisions()][::-1]


def test_each_step_goes_back_and_forth_with_data_in_place(any_store_url: str) -> None:
    """Each step is undone, made and undone again, down to the first; then all are made: all is as it was."""
    with open_books(any_store_url, inline=True) as store:
        store.write(payments.take, NOW_S, CHANNEL, "p1", METER, 1_000).result()
        money = store.read(lambda conn: conn.execute(_MONEY).all())
        guards = store.read(guard_names)
        steps = revisions(store)
        for before, step in list(itertools.pairwise(steps))[::-1]:
            migrate.downgrade(store.port, before)
            migrate.upgrade(store.port, step)
            migrate.downgrade(store.port, before)
            assert store.read(lambda conn: conn.execute(_MONEY).all()) == money
        migrate.upgrade(store.port)
        assert store.read(difference) == []
        assert store.read(guard_names) == guards
        assert store.read(lambda conn: conn.execute(_MONEY).all()) == money
        store.write(payments.take, NOW_S, CHANNEL, "p2", METER, 1_000).result()
        for forbidden in ("change an entry", "delete a payment"):
            with pytest.raises((exc.IntegrityError, CommitFailed)):
                store.write(lambda conn, what: conn.execute(FORBIDDEN[what]), forbidden).result()


def test_all_the_way_down_nothing_is_left(any_store_url: str) -> None:
    with open_store(any_store_url, inline=True) as store:
        migrate.downgrade(store.port, "base")
        assert store.read(lambda conn: inspect(conn).get_table_names()) == ["alembic_version"]
        migrate.upgrade(store.port)
        assert store.read(difference) == []


# What an entry says since the first revision.
_MONEY = text("SELECT at_s, kind, debit, credit, amount_uc, meter, cause FROM entry ORDER BY id")
_GUARDS = {
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'trigger'",
    "postgresql": "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal",
}


def guard_names(conn: Connection) -> list[str]:
    return sorted(conn.execute(text(_GUARDS[conn.dialect.name])).scalars())


def test_the_history_is_one_line() -> None:
    with open_store("sqlite://") as store:
        scripts = ScriptDirectory.from_config(store.read(migrate.config))
    steps = list(scripts.walk_revisions())
    assert [len(step.nextrev) for step in steps] == [0] + [1] * (len(steps) - 1)
    assert all(re.fullmatch(r"\d{4}", step.revision) for step in steps)


def test_opening_again_changes_nothing(any_store_url: str) -> None:
    for _ in range(2):
        with open_store(any_store_url) as store:
            assert store.read(lambda conn: conn.execute(text("SELECT version_num FROM alembic_version")).all())


def test_a_database_of_today_is_opened_without_the_migration_tool(any_store_url: str) -> None:
    """Loading it takes longer than most commands do."""
    script = "import sys; from headend.store import open_store; open_store(sys.argv[1]).close()"
    child = start("-c", script + "; print('alembic' in sys.modules)", any_store_url)
    assert (child.communicate()[0].strip(), child.returncode) == ("False", 0)


def test_a_database_of_a_later_version_is_not_opened(any_store_url: str) -> None:
    with open_store(any_store_url, inline=True) as store:
        later = text("UPDATE alembic_version SET version_num = '9999'")
        store.write(lambda conn: conn.execute(later)).result()
    with pytest.raises(CommandError, match="9999"):
        open_store(any_store_url)


def test_a_migration_that_fails_leaves_nothing(empty_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = command.upgrade

    def fail(*arguments: object) -> None:
        real(*arguments)  # type: ignore[arg-type]
        raise LookupError("half way")

    monkeypatch.setattr(command, "upgrade", fail)
    with pytest.raises(LookupError):
        open_store(empty_url)
    with create_engine(empty_url).connect() as conn:
        assert inspect(conn).get_table_names() == []


def test_two_may_open_a_new_database_at_once(empty_url: str) -> None:
    script = "import sys; from headend.store import open_store; open_store(sys.argv[1]).close()"
    children = [start("-c", script, empty_url) for _ in range(2)]
    assert [child.wait() for child in children] == [0, 0]
    with open_store(empty_url) as store:
        assert store.read(difference) == []


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database without a table."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/store.sqlite"
        return
    url = postgres.server().empty()
    yield url
    postgres.server().drop(url)


@pytest.fixture
def store(any_store_url: str) -> Iterator[Store]:
    with open_books(any_store_url, inline=True) as opened:
        opened.write(payments.take, NOW_S, CHANNEL, "p1", METER, 1_000).result()
        yield opened


FORBIDDEN: dict[str, Any] = {
    "change an entry": update(entry).values(amount_uc=1),
    "delete an entry": delete(entry),
    "upsert an entry": text(
        "INSERT INTO entry (id, at_s, kind, debit, credit, amount_uc, cause)"
        " VALUES (1, 0, 'payment', 'channel:pos-1', 'meter:000000000017', 1, 'forged')"
        " ON CONFLICT (id) DO UPDATE SET amount_uc = 1"
    ),
    "an entry of nothing": insert(entry).values(
        at_s=0, kind="payment", debit="channel:pos-1", credit="meter:000000000017", amount_uc=0, cause="forged"
    ),
    "an entry to itself": insert(entry).values(
        at_s=0, kind="payment", debit="channel:pos-1", credit="channel:pos-1", amount_uc=1, cause="forged"
    ),
    "an entry on no account": insert(entry).values(
        at_s=0, kind="payment", debit="channel:pos-1", credit="nobody", amount_uc=1, cause="forged"
    ),
    "the same cause again": insert(entry).values(
        at_s=0,
        kind="payment",
        debit="channel:pos-1",
        credit="meter:000000000017",
        amount_uc=1,
        cause="payment:pos-1:p1",
    ),
    "change a payment": update(payment).values(amount_uc=1),
    "move a payment": update(payment).values(meter=18),
    "delete a payment": delete(payment),
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_the_database_refuses(store: Store, what: str) -> None:
    before = store.read(lambda conn: (conn.execute(select(entry)).all(), conn.execute(select(payment)).all()))
    with pytest.raises((exc.IntegrityError, CommitFailed)):
        store.write(lambda conn: conn.execute(FORBIDDEN[what])).result()
    after = store.read(lambda conn: (conn.execute(select(entry)).all(), conn.execute(select(payment)).all()))
    assert before == after


def test_sqlite_refuses_to_replace_an_entry() -> None:
    with open_books() as store:
        store.write(payments.take, NOW_S, CHANNEL, "p1", METER, 1_000).result()
        forged = {"at_s": 0, "kind": "payment", "debit": "channel:pos-1", "credit": "meter:000000000017"}
        replace = insert(entry).prefix_with("OR REPLACE").values(id=1, amount_uc=1, cause="forged", **forged)
        with pytest.raises(exc.IntegrityError):
            store.write(lambda conn: conn.execute(replace)).result()


def test_postgresql_refuses_to_empty_a_table_of_money() -> None:
    url = postgres.server().database()
    with open_books(url, inline=True) as store:
        store.write(payments.take, NOW_S, CHANNEL, "p1", METER, 1_000).result()
        with pytest.raises(exc.IntegrityError, match="never deleted"):
            store.write(lambda conn: conn.execute(text("TRUNCATE entry CASCADE"))).result()


def test_a_payment_can_be_marked_as_arrived(store: Store) -> None:
    assert store.write(payments.shown, METER, 1_000, NOW_S + 5).result() == 1
    assert store.read(payments.get, CHANNEL, "p1").on_meter_s == NOW_S + 5


def test_an_order_that_a_payment_names_stays(store: Store) -> None:
    with pytest.raises((exc.IntegrityError, CommitFailed)):
        store.write(lambda conn: (conn.execute(delete(outbox)), conn.execute(delete(order)))).result()
