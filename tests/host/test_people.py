"""Personal data: sealed per person, found without being known, erased for good, and nowhere else in the clear."""

import logging
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from headend.epochs import life
from headend.keys.sealed import KeyFileError
from headend.ledger import payments
from headend.orders import statements
from headend.people import cli, holdings, persons
from headend.people.keyring import CannotOpen, KeyRing, RingFile
from headend.refusals import Refused
from headend.registry import exclusions
from headend.registry.evidence import Evidence
from headend.store import Store, open_store, wipe
from headend.store.schema_audit import audit
from headend.store.schema_people import person_field, person_index, person_key
from meterlink import reasons
from tests.host.books import CHANNEL, METER, NOW_S, dump, open_books

CLERK = "user:clerk"
LI = {"name": "Li  Wei", "phone": "+86 138 0013 8000", "address": "12 Garden Road", "id_number": "11010519491231002x"}
NEW = 18


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def store(folder: Path) -> Iterator[Store]:
    with open_books(f"sqlite:///{folder}/books.sqlite", (METER, NEW), inline=True) as opened:
        yield opened


@pytest.fixture
def ring() -> KeyRing:
    return KeyRing({1: bytes(range(32))})


ENTROPY = random.Random(5).randbytes


def add(store: Store, ring: KeyRing, values: dict[str, str] = LI) -> str:
    return store.write(persons.add, NOW_S, ring, ENTROPY, values, CLERK).result()


def read(store: Store, ring: KeyRing, pseudonym: str) -> persons.Person:
    return store.write(persons.read, NOW_S, ring, pseudonym, CLERK).result()


def find(store: Store, ring: KeyRing, field: str, value: str) -> list[str]:
    return store.write(persons.find, NOW_S, ring, field, value, CLERK).result()


def on_disk(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.glob("books.sqlite*")))


def test_what_is_kept_is_read_again_and_that_is_recorded(store: Store, ring: KeyRing) -> None:
    whose = add(store, ring)
    assert len(whose) == 26
    found = read(store, ring, whose)
    assert (found.values, found.version) == (LI, 1)
    rows = store.read(lambda conn: conn.execute(select(audit).where(audit.c.actor == CLERK).order_by(audit.c.id)).all())
    assert [(row.action, row.actor, row.subject) for row in rows] == [
        ("person.add", CLERK, f"person:{whose}"),
        ("person.read", CLERK, f"person:{whose}"),
    ]
    assert '"fields":"address id_number name phone"' in rows[1].detail


def test_a_change_leaves_nothing_of_what_was(store: Store, ring: KeyRing) -> None:
    whose = add(store, ring)
    before = store.read(lambda conn: conn.execute(select(person_field.c.sealed)).scalars().all())
    change = {"phone": "139 1111 2222", "address": None}
    assert store.write(persons.change, NOW_S, ring, ENTROPY, whose, 1, change, CLERK).result() == 2
    assert read(store, ring, whose).values == {
        "name": LI["name"],
        "phone": "139 1111 2222",
        "id_number": LI["id_number"],
    }
    assert (find(store, ring, "phone", LI["phone"]), find(store, ring, "phone", "13911112222")) == ([], [whose])
    with pytest.raises(persons.PersonChanged):
        store.write(persons.change, NOW_S, ring, ENTROPY, whose, 1, {"note": "late"}, CLERK).result()
    after = store.read(lambda conn: conn.execute(select(person_field.c.sealed)).scalars().all())
    gone = [sealed for sealed in before if sealed not in after]
    assert len(gone) == 2 and wipe.flush(store.writes)
    assert all(sealed not in on_disk(Path(store.writes.url.database or "").parent) for sealed in gone)


@pytest.mark.parametrize(
    ("field", "value", "found"),
    [
        ("name", "li wei", True),
        ("name", "ＬＩ WEI", True),  # full-width letters
        ("name", "Li", False),
        ("phone", "008613800138000", True),
        ("phone", "13800138001", False),
        ("id_number", "11010519491231002X", True),
    ],
)
def test_a_person_is_found_by_what_is_known(store: Store, ring: KeyRing, field: str, value: str, found: bool) -> None:
    whose = add(store, ring)
    add(store, ring, {"name": "Somebody Else", "phone": "1"})
    assert find(store, ring, field, value) == ([whose] if found else [])


def test_an_address_is_not_sought(store: Store, ring: KeyRing) -> None:
    for field, value in (("address", "12 Garden Road"), ("phone", "---")):
        with pytest.raises(Refused):
            find(store, ring, field, value)


@pytest.mark.parametrize("values", [{"shoe": "43"}, {"name": ""}, {"name": "x" * 121}, {"name": "a\nb"}])
def test_what_does_not_fit_is_refused_and_not_repeated(store: Store, ring: KeyRing, values: dict[str, str]) -> None:
    with pytest.raises(Refused) as told:
        add(store, ring, values)
    assert "x" * 40 not in str(told.value)
    assert store.read(lambda conn: conn.execute(select(person_key)).first()) is None


def test_another_key_reads_nothing(store: Store, ring: KeyRing) -> None:
    whose = add(store, ring)
    for other in (KeyRing({1: bytes(32)}), KeyRing({2: ring.keys[1]})):
        with pytest.raises(CannotOpen):
            read(store, other, whose)
        assert find(store, other, "name", LI["name"]) == ([whose] if other.keys.get(2) == ring.keys[1] else [])


def test_sealed_values_cannot_change_places(store: Store, ring: KeyRing) -> None:
    first, second = add(store, ring), add(store, ring, {"name": "Wang Fang", "phone": "2"})
    rows = store.read(lambda conn: conn.execute(select(person_field)).all())
    sealed = {(row.pseudonym, row.field): row.sealed for row in rows}

    def swap(conn: Any, field: str, value: bytes) -> None:
        mine = person_field.c.pseudonym == second, person_field.c.field == field
        conn.execute(person_field.update().where(*mine).values(sealed=value))

    for value in (sealed[first, "phone"], sealed[second, "name"]):
        store.write(swap, "phone", value).result()
        with pytest.raises(CannotOpen):
            read(store, ring, second)


# --- accounts ---------------------------------------------------------------------------------------------------------


def test_an_account_is_held_and_goes_with_its_customer(store: Store, ring: KeyRing) -> None:
    first, second = add(store, ring), add(store, ring, {"name": "Wang Fang"})
    store.write(holdings.put, NOW_S, METER, first, CLERK).result()
    store.write(life.open_epoch, NOW_S + 1, METER, life.REPAIRED, CLERK).result()
    assert [store.read(holdings.pseudonym_of, METER, epoch) for epoch in (1, 2)] == [first, first]
    store.write(life.exchange, NOW_S + 2, METER, NEW, CLERK).result()
    assert [(row.meter, row.account_epoch) for row in store.read(holdings.open_of, first)] == [(NEW, 1)]
    store.write(life.open_epoch, NOW_S + 3, NEW, life.TENANT, CLERK).result()
    assert store.read(holdings.open_of, first) == [] and store.read(holdings.pseudonym_of, NEW, 2) is None
    store.write(holdings.put, NOW_S + 4, NEW, second, CLERK).result()
    assert store.read(holdings.pseudonym_of, NEW, 2) == second
    assert store.read(holdings.pseudonym_of, NEW, 1) == first  # who held it last


def test_one_holds_an_account_at_a_time(store: Store, ring: KeyRing) -> None:
    first, second = add(store, ring), add(store, ring)
    for whose in (first, first, second):
        store.write(holdings.put, NOW_S, METER, whose, CLERK).result()
    assert [(row.pseudonym, row.until_s) for row in store.read(holdings.of_meter, METER)] == [
        (second, None),
        (first, NOW_S),
    ]
    with pytest.raises(Refused, match="pseudonym"):
        store.write(holdings.put, NOW_S, METER, "nobody", CLERK).result()
    store.write(holdings.end, NOW_S, METER, CLERK).result()
    with pytest.raises(Refused, match="somebody holds"):
        store.write(holdings.end, NOW_S, METER, CLERK).result()


# --- erasure ----------------------------------------------------------------------------------------------------------


def test_an_erased_person_cannot_be_read_even_from_the_file(store: Store, ring: KeyRing, folder: Path) -> None:
    whose, other = add(store, ring), add(store, ring, {"name": "Wang Fang"})
    store.write(holdings.put, NOW_S, METER, whose, CLERK).result()
    with pytest.raises(Refused, match="holds no account"):
        store.write(persons.erase, NOW_S, whose, 1, CLERK).result()
    store.write(holdings.end, NOW_S, METER, CLERK).result()

    def sealed(conn: Any) -> list[bytes]:
        key = conn.execute(select(person_key.c.sealed).where(person_key.c.pseudonym == whose)).scalars().all()
        rest = conn.execute(select(person_field.c.sealed).where(person_field.c.pseudonym == whose)).scalars().all()
        index = conn.execute(select(person_index.c.blind).where(person_index.c.pseudonym == whose)).scalars().all()
        return [*key, *rest, *index]

    kept = store.read(sealed)
    assert wipe.flush(store.writes) and len(kept) == 1 + 4 + 3 and all(one in on_disk(folder) for one in kept)
    store.write(persons.erase, NOW_S, whose, 1, CLERK).result()
    assert wipe.flush(store.writes)
    assert not any(one in on_disk(folder) for one in kept)
    for act in (read, lambda *given: store.write(persons.erase, NOW_S, whose, 2, CLERK).result()):
        with pytest.raises(persons.Erased):
            act(store, ring, whose)
    assert find(store, ring, "name", LI["name"]) == []
    assert store.read(holdings.pseudonym_of, METER, 1) == whose  # who it was stays, under the pseudonym
    assert read(store, ring, other).values == {"name": "Wang Fang"}
    with pytest.raises(Refused):
        store.write(holdings.put, NOW_S, METER, whose, CLERK).result()


def test_rotation_and_its_end_take_what_older_copies_hold(store: Store, ring: KeyRing, folder: Path) -> None:
    whose = add(store, ring)
    copy = store.read(lambda conn: conn.execute(select(person_key)).one())
    later = KeyRing({**ring.keys, 2: bytes(reversed(range(32)))})
    assert find(store, later, "name", LI["name"]) == [whose]  # found before it is sealed anew, too
    many = [add(store, ring, {"name": f"person {number}"}) for number in range(5)]
    after: str | None = ""
    while after is not None:
        after = store.write(persons.rewrap, later, ENTROPY, after, 2).result()
    assert store.read(persons.wrapped_under) == {2}
    dropped = KeyRing({2: later.keys[2]})
    assert read(store, dropped, whose).values == LI
    assert [find(store, dropped, "name", f"person {number}") for number in range(5)] == [[one] for one in many]
    with pytest.raises(CannotOpen):
        dropped.unwrap(whose, copy.wrapping, copy.sealed)
    assert wipe.flush(store.writes) and copy.sealed not in on_disk(folder)


def test_nothing_else_holds_personal_data(
    store: Store, ring: KeyRing, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    whose = add(store, ring)
    store.write(holdings.put, NOW_S, METER, whose, CLERK).result()
    store.write(payments.take, NOW_S, CHANNEL, "p1", METER, 5_000_000).result()
    store.write(statements.stop, NOW_S, METER, reasons.HOLD_ARREARS, CLERK).result()
    store.write(exclusions.put, NOW_S, METER, "life_support", CLERK, Evidence("file 9")).result()
    read(store, ring, whose)
    find(store, ring, "phone", LI["phone"])
    store.write(persons.change, NOW_S, ring, ENTROPY, whose, 1, {"email": "li@example.org"}, CLERK).result()
    store.write(life.open_epoch, NOW_S + 1, METER, life.TENANT, CLERK).result()
    rows = dump(store)
    assert all(rows[table] for table in ("person_field", "audit", "entry", "order", "exclusion_event", "holding"))
    wipe.flush(store.writes)
    clear = [*LI.values(), "li@example.org", "li wei", "8613800138000", "11010519491231002X"]
    for value in clear:
        assert value not in repr(rows)
        assert value.encode() not in on_disk(folder)
        assert value not in caplog.text


# --- the key file and its commands ------------------------------------------------------------------------------------


def test_the_key_file_is_its_owners_alone(tmp_path: Path) -> None:
    file = RingFile(tmp_path / "persons")
    with pytest.raises(KeyFileError, match="cannot be read"):
        file.ring()
    made = file.make(ENTROPY)
    assert file.path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(KeyFileError, match="not overwritten"):
        file.make(ENTROPY)
    running = RingFile(file.path)
    assert running.ring() == made
    added = file.add(ENTROPY)
    assert running.ring() == added and sorted(added.keys) == [1, 2]  # a rotation reaches who runs already
    assert sorted(file.drop_old().keys) == [2]
    assert added.keys[2].hex() not in repr(added)
    file.path.write_text("{}")
    with pytest.raises(KeyFileError, match="not a key file"):
        RingFile(file.path).ring()


def test_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"sqlite:///{tmp_path}/books.sqlite"
    monkeypatch.setenv("OPENPREPAY_DATABASE", url)
    monkeypatch.setenv("OPENPREPAY_PERSONS_KEY", str(tmp_path / "keys" / "persons"))
    file = RingFile(tmp_path / "keys" / "persons")
    assert cli.main(["rotate"]) == 1 and "cannot be read" in capsys.readouterr().err
    assert cli.main(["init"]) == 0
    with open_books(url, inline=True) as store:
        whose = add(store, file.ring())
        other = add(store, file.ring())
        kept = store.read(lambda conn: conn.execute(select(person_key.c.sealed)).scalars().all())
    assert cli.main(["rotate"]) == 0
    file.add(ENTROPY)
    assert cli.main(["drop"]) == 1 and "rotate once more" in capsys.readouterr().err
    assert cli.main(["rotate"]) == 0 and cli.main(["drop"]) == 0
    assert cli.main(["erase", whose]) == 0 and cli.main(["erase", whose]) == 1
    assert cli.main(["wipe"]) == 0
    assert file.erased() == [whose]
    assert cli.main(["nonsense"]) == 2
    assert not any(sealed in on_disk(tmp_path) for sealed in kept)
    with open_books(url, (), inline=True) as store:
        assert read(store, file.ring(), other).values == LI


def test_whoever_was_erased_is_erased_again_after_a_copy_was_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url, path = f"sqlite:///{tmp_path}/books.sqlite", tmp_path / "books.sqlite"
    monkeypatch.setenv("OPENPREPAY_DATABASE", url)
    monkeypatch.setenv("OPENPREPAY_PERSONS_KEY", str(tmp_path / "persons"))
    assert cli.main(["init"]) == 0
    ring = RingFile(tmp_path / "persons").ring()
    with open_books(url, inline=True) as store:
        first, second, third = (add(store, ring) for _ in range(3))
        store.write(holdings.put, NOW_S, METER, second, CLERK).result()
    copy = path.read_bytes()
    with open_store(url, inline=True) as store:
        store.write(holdings.end, NOW_S, METER, CLERK).result()
    assert [cli.main(["erase", whose]) for whose in (first, second)] == [0, 0]
    path.write_bytes(copy)
    capsys.readouterr()
    assert cli.main(["erase-again"]) == 1
    told = capsys.readouterr()
    assert first in told.out and second not in told.out and "holds no account" in told.err  # one again holds one
    with open_store(url, inline=True) as store:
        known = [store.read(persons.get, whose).erased_s is None for whose in (first, second, third)]
    assert known == [False, True, True]


def test_keys_and_blinds_differ_by_field_and_version() -> None:
    both = KeyRing({1: bytes(32), 2: bytes([1]) * 32})
    blinds = {both.blind(field, b"x", version) for field in ("name", "phone") for version in (1, 2)}
    assert len(blinds) == 4 and both.blinds("name", b"x") == [both.blind("name", b"x", 1), both.blind("name", b"x")]
