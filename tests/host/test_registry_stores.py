"""The registry and persons on SQLite and on PostgreSQL: the same statements, the same guards, two at a time."""

import random
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import pytest
from sqlalchemy import exc, select, update

from headend.access import areas as paths
from headend.epochs import life
from headend.orders import lifecycle, statements
from headend.people import holdings, persons
from headend.people.keyring import KeyRing
from headend.refusals import Refused
from headend.registry import areas, bars, calendar, exclusions, holds, listing
from headend.registry.evidence import Evidence
from headend.registry.rules import Rule
from headend.store import CommitFailed, Store, wipe
from headend.store.schema_people import person, person_key
from headend.store.schema_registry import exclusion, exclusion_event
from meterlink import bodies, reasons
from tests.host.books import METER, NOW_S, open_books

CLERK = "user:clerk"
FILE = Evidence("file 7/2026", bytes(32))
NEW = 18
ARREARS = reasons.HOLD_ARREARS
ENTROPY = random.Random(3).randbytes
RING = KeyRing({1: bytes(range(32))})


@pytest.fixture
def store(any_store_url: str) -> Iterator[Store]:
    with open_books(any_store_url, (METER, NEW)) as opened:  # with its threads
        yield opened


def rules_at(store: Store, now_s: int, number: int = METER) -> list[str]:
    return [bar.rule for bar in store.read(bars, now_s, number, ARREARS)]


def test_exclusions(store: Store) -> None:
    stop = store.write(statements.stop, NOW_S, METER, ARREARS, CLERK).result()
    store.write(lifecycle.move, NOW_S, stop, "send").result()
    made = store.write(exclusions.put, NOW_S, METER, "many_households", CLERK, FILE).result()
    assert rules_at(store, NOW_S) == ["evidence.authority", "evidence.site_notice"]
    for version, what in enumerate(("authority", "site_notice"), start=1):
        store.write(exclusions.prove, NOW_S, made, version, what, FILE, NOW_S - 3 * 86_400, CLERK).result()
    assert rules_at(store, NOW_S) == []
    vip = store.write(exclusions.put, NOW_S, METER, "vip", CLERK, FILE).result()
    assert rules_at(store, NOW_S) == ["exclusion.vip"]
    store.write(areas.place, NOW_S, METER, "north/f_1", CLERK).result()
    for prefixes, found in ((("",), [made, vip]), (("north",), [made, vip]), (("north/f", "south"), []), ((), [])):
        assert [row.id for row in store.read(listing.listed, NOW_S, prefixes)] == found
    assert store.read(paths.area_of, "exclusion", vip) == "north/f_1"
    store.write(life.exchange, NOW_S + 1, METER, NEW, CLERK).result()
    assert (rules_at(store, NOW_S + 1), rules_at(store, NOW_S + 1, NEW)) == ([], ["exclusion.vip"])
    for forbidden in (exclusion_event.delete(), update(exclusion).values(kind="vip")):
        with pytest.raises((exc.IntegrityError, CommitFailed)):
            store.write(lambda conn, what=forbidden: conn.execute(what)).result()


def test_one_exclusion_of_a_kind_whoever_is_first(store: Store) -> None:
    both: list[Future[int]] = [store.write(exclusions.put, NOW_S, METER, "vip", CLERK, FILE) for _ in range(6)]
    outcomes = [one.exception() for one in both]
    assert sum(error is None for error in outcomes) == 1
    assert all(isinstance(error, Refused) for error in outcomes if error is not None)


def test_the_calendar_has_one_next_version(store: Store) -> None:
    ban = (Rule("night", "夜间"),)
    many = [store.write(calendar.put, NOW_S, 0, "Asia/Shanghai", ban, CLERK, f"try {n}") for n in range(6)]
    assert sum(one.exception() is None for one in many) == 1
    newest = store.read(calendar.current)
    assert newest is not None and newest.version == 1
    assert rules_at(store, NOW_S) == ["calendar"]


def test_holds(store: Store) -> None:
    store.write(holds.set_safety, NOW_S, METER, FILE, CLERK).result()
    (hold,) = store.read(holds.standing, METER)
    assert (hold.reason, len(hold.evidence)) == (reasons.HOLD_SAFETY, 1)
    store.write(life.open_epoch, NOW_S, METER, life.TENANT, CLERK).result()
    assert store.read(holds.safety_stands, METER)
    release = {"close": bodies.CLOSE_PERMIT}
    store.write(lambda conn: holds.release_safety(conn, NOW_S, METER, FILE, CLERK, **release)).result()
    assert not store.read(holds.safety_stands, METER) and len(store.read(holds.history, METER, 2**53, 9)) == 2


def test_persons(store: Store) -> None:
    li = {"name": "Li Wei", "phone": "138 0013 8000"}
    whose = store.write(persons.add, NOW_S, RING, ENTROPY, li, CLERK).result()
    store.write(holdings.put, NOW_S, METER, whose, CLERK).result()
    assert store.write(persons.find, NOW_S, RING, "name", "li wei", CLERK).result() == [whose]
    assert store.write(persons.change, NOW_S, RING, ENTROPY, whose, 1, {"phone": None}, CLERK).result() == 2
    later = KeyRing({**RING.keys, 2: bytes(32)})
    assert store.write(persons.rewrap, later, ENTROPY, "", 10).result() is None
    assert store.write(persons.read, NOW_S, later, whose, CLERK).result().values == {"name": "Li Wei"}
    with pytest.raises(Refused, match="holds no account"):
        store.write(persons.erase, NOW_S, whose, 2, CLERK).result()
    store.write(life.open_epoch, NOW_S, METER, life.TENANT, CLERK).result()
    store.write(persons.erase, NOW_S, whose, 2, CLERK).result()
    assert wipe.flush(store.writes) and wipe.rewrite(store.writes, persons.TABLES)
    assert store.read(lambda conn: conn.execute(select(person_key)).first()) is None
    assert store.read(holdings.pseudonym_of, METER, 1) == whose
    with pytest.raises((exc.IntegrityError, CommitFailed)):
        store.write(lambda conn: conn.execute(person.delete())).result()


def test_an_erased_person_gets_no_account_whoever_is_first(store: Store) -> None:
    for _ in range(8):
        whose = store.write(persons.add, NOW_S, RING, ENTROPY, {"name": "Li Wei"}, CLERK).result()
        erased: Future[Any] = store.write(persons.erase, NOW_S, whose, 1, CLERK)
        given: Future[Any] = store.write(holdings.put, NOW_S, METER, whose, CLERK)
        assert (erased.exception() is None) != (given.exception() is None)
        assert bool(store.read(holdings.open_of, whose)) == (given.exception() is None)
        if given.exception() is None:
            store.write(holdings.end, NOW_S, METER, CLERK).result()
