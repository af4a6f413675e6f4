"""The migrations lead to exactly what `schema.py` says, and the database refuses what must never happen."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, delete, exc, insert, select, text, update
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from headend.ledger import payments
from headend.store import CommitFailed, Store, migrate, open_store
from headend.store.schema import entry, order, outbox, payment
from headend.store.tables import metadata
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


def test_the_migration_tool_sees_no_difference() -> None:
    with open_store("sqlite://") as store:
        assert store.read(lambda conn: compare_metadata(MigrationContext.configure(conn), metadata)) == []


def test_the_history_is_one_line() -> None:
    with open_store("sqlite://") as store:
        scripts = ScriptDirectory.from_config(store.read(migrate.config))
    steps = list(scripts.walk_revisions())
    assert [len(step.nextrev) for step in steps] == [0] + [1] * (len(steps) - 1)
    assert all(re.fullmatch(r"\d{4}", step.revision) for step in steps)


def test_opening_again_changes_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.sqlite"
    for _ in range(2):
        with open_store(url) as store:
            assert store.read(lambda conn: conn.execute(text("SELECT version_num FROM alembic_version")).all())


def test_a_migration_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = command.upgrade

    def fail(*arguments: object) -> None:
        real(*arguments)  # type: ignore[arg-type]
        raise LookupError("half way")

    monkeypatch.setattr(command, "upgrade", fail)
    url = f"sqlite:///{tmp_path}/store.sqlite"
    with pytest.raises(LookupError):
        open_store(url)
    engine = create_engine(url)
    with engine.connect() as conn:
        assert conn.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar() == 0


def test_several_may_open_a_new_database_at_once(tmp_path: Path) -> None:
    script = "import sys; from headend.store import open_store; open_store(sys.argv[1]).close()"
    children = [start("-c", script, f"sqlite:///{tmp_path}/store.sqlite") for _ in range(3)]
    assert [child.wait() for child in children] == [0, 0, 0]


@pytest.fixture
def store() -> Iterator[Store]:
    with open_books() as opened:
        opened.write(payments.take, NOW_S, CHANNEL, "p1", METER, 1_000).result()
        yield opened


FORBIDDEN = {
    "change an entry": update(entry).values(amount_uc=1),
    "delete an entry": delete(entry),
    "replace an entry": insert(entry)
    .prefix_with("OR REPLACE")
    .values(
        id=1, at_s=0, kind="payment", debit="channel:pos-1", credit="meter:000000000017", amount_uc=1, cause="forged"
    ),
    "upsert an entry": sqlite_insert(entry)
    .values(id=1, at_s=0, kind="payment", debit="channel:pos-1", credit="meter:000000000017", amount_uc=1, cause="x")
    .on_conflict_do_update(index_elements=["id"], set_={"amount_uc": 1}),
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


def test_a_payment_can_be_marked_as_arrived(store: Store) -> None:
    assert store.write(payments.shown, METER, 1_000, NOW_S + 5).result() == 1
    assert store.read(payments.get, CHANNEL, "p1").on_meter_s == NOW_S + 5


def test_an_order_that_a_payment_names_stays(store: Store) -> None:
    with pytest.raises((exc.IntegrityError, CommitFailed)):
        store.write(lambda conn: (conn.execute(delete(outbox)), conn.execute(delete(order)))).result()
