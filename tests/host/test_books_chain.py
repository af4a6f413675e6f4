"""Seals: every committed row once, in a chain that nobody can change without notice once a head of it is out."""

import shutil
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, func, select, text
from sqlalchemy.exc import IntegrityError

from headend.books import chain, sealer, verifier
from headend.keys.keystore import KeyStore
from headend.store import Store, open_store
from headend.store.schema import entry
from headend.store.schema_audit import audit
from headend.store.schema_books import seal, seal_sum
from tests import sqlite
from tests.host import books_rig as rig
from tests.host.books import NOW_S, ROOT
from tests.host.peer import Noise

KEYS = KeyStore.generate(Noise())
DAY_S = 86_400


def numbers(store: Store, name: str) -> list[tuple[int, int]]:
    """(number, row) of each seal."""
    query = select(seal.c.seq, seal.c.row_id).where(seal.c.chain == name).order_by(seal.c.seq)
    return store.read(lambda conn: [tuple(row) for row in conn.execute(query)])


# --- the chain --------------------------------------------------------------------------------------------------------


def test_every_column_is_sealed() -> None:
    for one in chain.CHAINS.values():
        assert [column.name for column in one.columns] == [column.name for column in one.table.c]
    spoken = {name: one.columns for name, one in chain.CHAINS.items()}
    assert {name: tuple(c.name for c in columns) for name, columns in spoken.items()} == {
        name: columns for name, (columns, _, _) in verifier.CHAINS.items()
    }


@given(st.lists(st.lists(st.none() | st.integers() | st.text(max_size=6), max_size=4), min_size=2, max_size=2))
def test_no_two_rows_have_the_same_bytes(rows: list[list[int | str | None]]) -> None:
    one, other = rows
    alike = [None if value is None else str(value) for value in one] == [
        None if value is None else str(value) for value in other
    ]
    assert (chain.row_bytes(one) == chain.row_bytes(other)) == alike
    assert verifier.row_bytes(one) == chain.row_bytes(one)


def test_the_bytes_of_a_row_are_those_of_the_page() -> None:
    row = (7, 1_800_000_000, "payment", "channel:pos-1", "meter:000000000017", 5_000_000, 17, "payment:pos-1:p1")
    page = (ROOT / "docs" / "books.md").read_text(encoding="utf-8")
    assert f"\n    {chain.row_bytes(row).decode()}\n" in page


def test_what_is_committed_is_sealed_once(any_store: Store) -> None:
    rig.establish(any_store)
    rig.fill(any_store, 3)
    assert sealer.seal_all(any_store, NOW_S) == 4 + 3
    assert sealer.seal_all(any_store, NOW_S) == 0
    rig.fill(any_store, 0, NOW_S + 1)
    assert sealer.seal_all(any_store, NOW_S + 1) == 1
    assert numbers(any_store, chain.ENTRY) == [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5)]
    head = rig.head_of(any_store, KEYS)
    said = rig.verdict(any_store, head)
    assert (said.wrong, said.sealed, said.unsealed) == ([], {"entry": 5, "audit": 3}, {"entry": 0, "audit": 0})


def test_one_chain_can_be_sealed_before_the_other(any_store: Store) -> None:
    rig.establish(any_store)
    rig.act(any_store, 1)
    sealer.seal_all(any_store, NOW_S)
    said = rig.verdict(any_store)
    assert (said.wrong, said.sealed) == ([], {"entry": 0, "audit": 1})


def test_the_sums_are_those_of_the_rows(any_store: Store) -> None:
    rig.establish(any_store)
    rig.fill(any_store, 5)
    sealer.seal_all(any_store, NOW_S)
    by_kind = select(entry.c.kind, func.count(), func.sum(entry.c.amount_uc)).group_by(entry.c.kind)
    rows = any_store.read(lambda conn: {kind: (count, int(sums)) for kind, count, sums in conn.execute(by_kind)})
    stated = any_store.read(lambda conn: conn.execute(select(seal_sum).where(seal_sum.c.chain == "entry")).all())
    assert {row.kind: (row.counted, int(row.amount_uc)) for row in stated} == rows


@settings(max_examples=8, deadline=None)
@given(
    st.lists(st.sampled_from(["pay", "act", "charge", "seal", "head", "some"]), max_size=25),
    st.integers(1, 4),
)
def test_in_whatever_order_things_happen_the_books_verify(happens: list[str], most: int) -> None:
    with sqlite.open_new("sqlite://") as store:
        rig.establish(store)
        now_s, found = NOW_S, []
        for number, what in enumerate(happens):
            now_s += 40  # now and then rows that may have come late are looked for
            if what == "pay":
                rig.pay(store, number, now_s)
            elif what == "act":
                rig.act(store, number, now_s)
            elif what == "charge":
                store.write(rig.charge, now_s, number + 1, f"n{number}").result()
            elif what == "seal":
                sealer.seal_all(store, now_s)
            elif what == "some":
                store.write(sealer.seal_some, now_s, chain.ENTRY, most).result()
            else:
                found.append(rig.head_of(store, KEYS, f"head {number}", now_s))
        said = rig.verdict(store, *found)
        assert said.wrong == []
        sealer.seal_all(store, now_s)
        assert rig.verdict(store, *found).unsealed == {"entry": 0, "audit": 0}


def test_the_database_refuses_to_change_seals(any_store: Store) -> None:
    rig.establish(any_store)
    rig.fill(any_store, 1)
    sealer.seal_all(any_store, NOW_S)
    for statement in ("UPDATE seal SET row_id = 9 WHERE seq = 1", "DELETE FROM seal"):
        with pytest.raises(IntegrityError, match="a seal stays as it is"):
            any_store.write(lambda conn, said=statement: conn.execute(text(said))).result()


# --- what commits late, and two sealers -------------------------------------------------------------------------------


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of an empty PostgreSQL database."""
    from tests import postgres

    url = postgres.server().database()
    yield url
    postgres.server().drop(url)


def test_a_row_that_commits_late_gets_a_later_number(server: str) -> None:
    with open_store(server, inline=True) as store:
        rig.establish(store)
        rig.pay(store, 1)
        engine = create_engine(server)
        with engine.connect() as slow:
            late = rig.charge(slow, NOW_S, 5, "slow")
            rig.pay(store, 2)
            assert sealer.seal_all(store, NOW_S) == 2
            slow.commit()
        engine.dispose()
        assert sealer.seal_all(store, NOW_S + 1) == 0  # below what is sealed nobody looks each time …
        head_now = NOW_S + sealer.LOOK_BACK_S
        assert sealer.seal_all(store, head_now) == 1  # … but soon
        assert [row for _, row in numbers(store, chain.ENTRY)] == [1, 3, late]
        assert rig.verdict(store, rig.head_of(store, KEYS)).wrong == []


def test_before_a_head_all_rows_are_looked_at(server: str) -> None:
    with open_store(server, inline=True) as store:
        rig.establish(store)
        engine = create_engine(server)
        with engine.connect() as slow:
            rig.charge(slow, NOW_S, 5, "very slow")
            for minute in range(4):
                rig.pay(store, minute, NOW_S + 61 * minute)
                sealer.seal_all(store, NOW_S + 61 * minute)
            slow.commit()
        engine.dispose()
        head = rig.head_of(store, KEYS, now_s=NOW_S + 300)
        assert head.stated["chains"]["entry"]["seq"] == 5
        assert rig.verdict(store, head).wrong == []


def test_two_sealers_take_turns(any_store_url: str) -> None:
    with open_store(any_store_url, inline=True) as store:
        rig.establish(store)
        rig.fill(store, 40)
    failed: list[BaseException] = []

    def seal_them() -> None:
        try:
            with open_store(any_store_url) as own:
                while own.write(sealer.seal_some, NOW_S, chain.ENTRY, 3).result():
                    pass
        except BaseException as error:  # noqa: BLE001 - told below
            failed.append(error)

    sealers = [threading.Thread(target=seal_them) for _ in range(2)]
    for one in sealers:
        one.start()
    for one in sealers:
        one.join()
    assert not failed
    with open_store(any_store_url, inline=True) as store:
        assert [seq for seq, _ in numbers(store, chain.ENTRY)] == list(range(1, 42))
        assert rig.verdict(store, rig.head_of(store, KEYS)).wrong == []


# --- tampering --------------------------------------------------------------------------------------------------------

Book = tuple[Path, verifier.Head]


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Book:
    """A file with books, a head of them, and more behind the head."""
    path = tmp_path_factory.mktemp("sealed") / "books.sqlite"
    with sqlite.open_new(f"sqlite:///{path}", inline=True) as store:
        rig.establish(store)
        rig.fill(store)
        head = rig.head_of(store, KEYS)
        rig.pay(store, 90, NOW_S + DAY_S)
        rig.act(store, 90, NOW_S + DAY_S)
        sealer.seal_all(store, NOW_S + DAY_S)
    return path, head


@pytest.fixture
def book(sealed: Book, tmp_path: Path) -> Book:
    """A copy of that file, without the database's own guards: whoever holds the file can take them away."""
    path = tmp_path / "books.sqlite"
    shutil.copy(sealed[0], path)
    with sqlite3.connect(path) as conn:
        names = conn.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for (name,) in names:
            conn.execute(f"DROP TRIGGER {name}")
    assert rig.verdict_of_file(path, sealed[1]).wrong == []
    return path, sealed[1]


def change(path: Path, *statements: str) -> None:
    with sqlite3.connect(path) as conn:
        for statement in statements:
            conn.execute(statement)


def reseal(path: Path) -> None:
    """Chain all rows anew, as one would who hides a change."""
    with open_store(f"sqlite:///{path}", inline=True) as store:
        change(
            path,
            "DELETE FROM seal",
            "DELETE FROM seal_sum",
            "UPDATE seal_chain SET seq = 0, top_id = 0, low_id = 0, mark_id = 0, origin = ''",
        )
        sealer.seal_all(store, NOW_S + DAY_S, all_rows=True)


@pytest.mark.parametrize(("table", "column"), rig.COLUMNS)
@pytest.mark.parametrize("hidden", [False, True], ids=["left", "sealed anew"])
def test_a_change_of_any_column_is_found(book: Book, table: str, column: str, hidden: bool) -> None:
    path, head = book
    with sqlite3.connect(path) as conn:
        (kind,) = conn.execute(f"SELECT typeof({column}) FROM {table} WHERE id = 2").fetchone()  # noqa: S608
    other = f"{column} + 100" if kind == "integer" else f"{column} || ' '"
    change(path, f"UPDATE {table} SET {column} = {other} WHERE id = 2")  # noqa: S608
    if hidden:
        reseal(path)
    wrong = rig.verdict_of_file(path, head).wrong
    assert any(text.startswith(table) for text in wrong)
    if not hidden:
        assert "row 2 " in wrong[0] or "row 102 " in wrong[0] or "number 2 " in wrong[0]


@pytest.mark.parametrize(
    ("what", "statements"),
    [
        ("deleted", ["DELETE FROM entry WHERE id = 3"]),
        ("deleted with its seal", ["DELETE FROM entry WHERE id = 3", "DELETE FROM seal WHERE row_id = 3"]),
        ("tail cut off", ["DELETE FROM entry WHERE id > 4", "DELETE FROM seal WHERE chain = 'entry' AND seq > 4"]),
        (
            "swapped",
            [
                "UPDATE entry SET id = -1 WHERE id = 1",
                "UPDATE entry SET id = 1 WHERE id = 2",
                "UPDATE entry SET id = 2 WHERE id = -1",
            ],
        ),
        ("all gone", ["DELETE FROM entry", "DELETE FROM seal"]),
        (
            "no meter becomes a meter",
            ["UPDATE entry SET meter = 17 WHERE meter IS NULL"],
        ),
    ],
)
def test_what_is_gone_or_moved_is_found(book: Book, what: str, statements: list[str]) -> None:
    path, head = book
    change(path, *statements)
    assert rig.verdict_of_file(path, head).wrong
    reseal(path)
    assert rig.verdict_of_file(path, head).wrong, "hidden by sealing anew"


INSERT = (
    "INSERT INTO entry (at_s, kind, debit, credit, amount_uc, cause) "
    "VALUES ({}, 'consumption', 'meter:000000000017', 'income:energy', 5, 'forged')"
)


def test_an_entry_put_in_with_an_old_date_is_found(book: Book) -> None:
    path, head = book
    change(path, INSERT.format(NOW_S - 7200))
    (told,) = rig.verdict_of_file(path, head).wrong
    assert "older than a head that does not cover it, and is not sealed" in told
    with open_store(f"sqlite:///{path}", inline=True) as store:
        sealer.seal_all(store, NOW_S + DAY_S)
    (told,) = rig.verdict_of_file(path, head).wrong
    assert "is sealed as number 7, behind that head" in told


def test_a_head_of_another_database_does_not_fit(book: Book) -> None:
    path, _ = book
    with sqlite.open_new("sqlite://") as store:
        store.write(rig.identity.establish, NOW_S + 1, 1, 1, 156).result()
        other = rig.head_of(store, KEYS, "other.head")
    assert "is of database" in rig.verdict_of_file(path, other).wrong[0]


def test_seals_that_were_changed_are_found(book: Book) -> None:
    path, head = book
    change(path, "UPDATE seal SET hash = zeroblob(32) WHERE chain = 'audit' AND seq = 2")
    assert "audit: row 2 and seal 2 are not of each other" in rig.verdict_of_file(path, head).wrong[0]


def test_an_unsealed_row_of_today_is_no_fault(any_store: Store) -> None:
    rig.establish(any_store)
    rig.fill(any_store, 1)
    head = rig.head_of(any_store, KEYS)
    rig.act(any_store, 2, NOW_S + 5)
    said = rig.verdict(any_store, head)
    assert (said.wrong, said.unsealed["audit"]) == ([], 1)


def test_row_ids_of_the_audit_are_chained_like_entries(any_store: Store) -> None:
    rig.establish(any_store)
    rig.fill(any_store, 2)
    sealer.seal_all(any_store, NOW_S)
    told = any_store.read(lambda conn: conn.execute(select(func.count()).select_from(audit)).scalar_one())
    assert len(numbers(any_store, chain.AUDIT)) == told == 2


def test_both_chains_bear_one_name_though_the_database_got_other_numbers_between(any_store: Store) -> None:
    """As by a restore between the first seals of the two: the verifier knows one database."""
    rig.establish(any_store)
    rig.act(any_store, 1)
    sealer.seal_all(any_store, NOW_S)
    any_store.write(lambda conn: conn.execute(text("UPDATE database SET signing_epoch = signing_epoch + 1"))).result()
    rig.pay(any_store, 1)
    sealer.seal_all(any_store, NOW_S + 60)
    names = any_store.read(lambda conn: {row[0] for row in conn.execute(text("SELECT origin FROM seal_chain"))})
    assert len(names) == 1 and names != {""}
