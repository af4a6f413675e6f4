"""Whatever somebody has of a meter finds it, in the areas that they may look at."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.fleet import grid, life, points, search
from headend.fleet.meters import add_meter
from headend.fleet.placement import Place
from headend.people import holdings, persons
from headend.people.keyring import KeyRing
from headend.refusals import Refused
from headend.store import Store
from headend.tokens import decoder
from headend.tokens.decoder import Decoder
from tests.host.books import NOW_S, open_books, record

ACTOR = "user:engineer"
EVERYWHERE = ("",)
LONG = 31_000_000_001_234
MODBUS = {"carrier": "modbus", "address": "tcp://10.20.0.8:502?unit=9"}


@pytest.fixture
def store(any_store_url: str) -> Iterator[Store]:
    with open_books(any_store_url, (17, 170, 171, 1_234, LONG), inline=True) as opened:

        def fill(conn: object, now_s: int) -> None:
            top = grid.add(conn, now_s, "substation", None, "north", ("North", "城北站"), ACTOR)  # type: ignore[arg-type]
            feeder = grid.add(conn, now_s, "feeder", top, "f-3", ("", ""), ACTOR)  # type: ignore[arg-type]
            t = grid.add(conn, now_s, "transformer", feeder, "t-17", ("", "一号台区"), ACTOR)  # type: ignore[arg-type]
            points.add(conn, now_s, "GP-0017", t, ACTOR)  # type: ignore[arg-type]
            points.add(conn, now_s, "GP-0018", t, ACTOR)  # type: ignore[arg-type]
            add_meter(conn, now_s, record(300, label="东门 2 号 Kiosk_A", **MODBUS))  # type: ignore[arg-type]
            life.commission(conn, now_s, 17, Place("GP-0017"), ACTOR)  # type: ignore[arg-type]
            life.describe(conn, now_s, 170, ACTOR, kind=None, serial="SN-77%x")  # type: ignore[arg-type]
            decoder.put(conn, 171, Decoder(decoder.pan_of(171), 123456))  # type: ignore[arg-type]

        opened.write(fill, NOW_S).result()
        yield opened


def found(store: Store, text: str, within: tuple[str, ...] = EVERYWHERE, limit: int = 20) -> list[object]:
    """What was found: meters by number, else supply points and paths."""
    hits = store.read(search.find, text, within, limit).hits
    return [one.meter or one.supply_point or one.text for one in hits]


# What is typed -> what is found, in its order.
FINDS: tuple[tuple[str, list[object]], ...] = (
    ("17", [17, 170, 171]),
    ("000000000017", [17]),
    ("00000000017", [17, 170, 171]),
    ("31000000001234", [LONG]),
    ("310", [LONG]),
    (decoder.pan_of(171), [171]),
    ("gp-0017", [17]),
    ("GP-001", [17, "GP-0018"]),
    ("north/f-3/t", ["north/f-3/t-17"]),
    ("城北", ["north"]),
    ("台区", ["north/f-3/t-17"]),
    ("t-17", ["north/f-3/t-17"]),
    ("sn-77", [170]),
    ("７７%", [170]),  # a full-width 7 is a 7, and a % is a %
    ("77_x", []),
    ("东门", [300]),
    ("KIOSK_", [300]),
    ("tcp://10.20", [300]),
    ("20.0.8", [300]),
    ("unit=9", [300]),
    ("nothing like it", []),
)


def test_whatever_somebody_has_finds_it(store: Store) -> None:
    for text, expected in FINDS:
        assert found(store, text) == expected, text


def test_only_where_one_may_look(store: Store) -> None:
    assert found(store, "17", ("north/f-3",)) == [17]
    assert found(store, "17", ("south",)) == found(store, "GP-0017", ("north/f",)) == []
    assert found(store, "东门", ("north",)) == found(store, "north", ()) == []


def test_a_long_list_says_so(store: Store) -> None:
    whole = store.read(search.find, "17", EVERYWHERE, 3)
    some = store.read(search.find, "17", EVERYWHERE, 2)
    assert (len(whole.hits), whole.more, len(some.hits), some.more) == (3, False, 2, True)


def test_a_fleet_too_large_to_look_through_says_so(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not store.read(search.find, "kiosk_a", EVERYWHERE).partly
    monkeypatch.setattr(search, "SCANNED", 1)
    answer = store.read(search.find, "kiosk_a", EVERYWHERE)
    assert answer.partly


def test_a_holder_is_found_by_pseudonym_and_told_in_the_audit(store: Store) -> None:
    ring, entropy = KeyRing({1: bytes(32)}), iter(range(1, 100))
    whose = store.write(
        persons.add, NOW_S, ring, lambda n: bytes([next(entropy)]) * n, {"name": "Li Wei"}, ACTOR
    ).result()
    store.write(holdings.put, NOW_S, 17, whose, ACTOR).result()
    (hit,) = store.write(search.holder, NOW_S, whose, EVERYWHERE, ACTOR).result()
    assert (hit.meter, hit.supply_point, hit.by) == (17, "GP-0017", "holder")
    assert store.write(search.holder, NOW_S, whose, ("south",), ACTOR).result() == []
    assert found(store, "Li Wei") == []  # names are sought elsewhere


@pytest.mark.parametrize("text", ["", "  ", "x" * 61, "a\0b"])
def test_a_text_that_nothing_can_be_found_by_is_refused(store: Store, text: str) -> None:
    with pytest.raises(Refused, match="q: "):
        found(store, text)


@given(text=st.text("0123456789", min_size=1, max_size=14), number=st.integers(1, 10**14 - 1))
def test_ranges_hold_the_numbers_whose_digits_begin_so(text: str, number: int) -> None:
    within = any(low <= number < high for low, high in search._ranges(text))
    printed = f"{number:012d}"
    begins = str(number).startswith(text) or (text[0] == "0" and printed.startswith(text) and len(printed) == 12)
    assert within == (begins or number == int(text))
