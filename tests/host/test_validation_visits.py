"""Visits to meters that nobody hears: opened once, ended when the meter speaks, listed for whoever goes there."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import exc, select, update

from headend.refusals import Refused
from headend.registry import areas
from headend.store import CommitFailed, Store
from headend.store.schema import meter_state
from headend.store.schema_audit import audit
from headend.store.schema_fleet import meter_life
from headend.store.schema_quality import visit
from headend.validation import policy, visits
from headend.validation.visits import UnknownVisit
from tests.host.books import NOW_S, open_books
from tests.host.quality_rig import DAY_S, ORDINARY, House

CLERK = "user:clerk"
FIRST, SECOND, THIRD = 17, 18, 19


@pytest.fixture
def store(any_store_url: str) -> Iterator[Store]:
    with open_books(any_store_url, (FIRST, SECOND, THIRD), inline=True) as opened:
        yield opened


def hear(store: Store, number: int, at_s: int) -> None:
    """A report of a meter was taken."""
    here = update(meter_state).where(meter_state.c.meter == number).values(report_taken_s=at_s)
    store.write(lambda conn: conn.execute(here)).result()


def look(store: Store, now_s: int) -> tuple[int, int]:
    """(opened, closed) in one round."""
    closed = store.write(visits.close_some, now_s).result()[0]
    return store.write(visits.open_some, now_s).result()[0], closed


def standing(store: Store, **chosen: Any) -> list[Any]:
    return store.read(lambda conn: visits.listed(conn, **chosen))


def test_a_silent_meter_gets_one_visit_until_it_speaks(store: Store) -> None:
    hear(store, FIRST, NOW_S)
    hear(store, SECOND, NOW_S + 3_600)
    assert look(store, NOW_S + DAY_S) == (0, 0), "a day is not more than a day"
    assert look(store, NOW_S + DAY_S + 1) == (2, 0)
    assert [(row.meter, row.heard_s) for row in standing(store)] == [(FIRST, NOW_S), (THIRD, None)]
    assert look(store, NOW_S + 2 * DAY_S) == (1, 0), "one for each"
    hear(store, FIRST, NOW_S + 2 * DAY_S + 5)
    assert look(store, NOW_S + 2 * DAY_S + 10) == (0, 1)
    (over,) = [row for row in standing(store, standing=False) if row.meter == FIRST]
    assert (over.how, over.closed_s, over.actor) == ("spoke", NOW_S + 2 * DAY_S + 10, "system")
    assert [row.meter for row in standing(store)] == [THIRD, SECOND]
    assert look(store, NOW_S + 4 * DAY_S) == (1, 0), "silent again"


def test_records_are_a_sign_of_life_as_well(store: Store) -> None:
    now_s = NOW_S + DAY_S + 3_600
    house = House(FIRST)
    house.live(NOW_S, ORDINARY[:8])
    house.arrive(store, now_s - 7_200)
    look(store, now_s)
    assert FIRST not in {row.meter for row in standing(store)}
    assert look(store, now_s + DAY_S)[0] == 1
    house.arrive(store, now_s + DAY_S + 7_200, house.live(NOW_S + 8 * 900, ORDINARY[8:12]))
    assert look(store, now_s + DAY_S + 7_300) == (0, 1)


def test_a_person_closes_it_with_a_note(store: Store) -> None:
    look(store, NOW_S + DAY_S + 1)
    one = standing(store)[0]
    for note in ("", "x" * 201):
        with pytest.raises(Refused, match="note"):
            store.write(visits.close, NOW_S, one.id, CLERK, note).result()
    with pytest.raises(UnknownVisit):
        store.write(visits.close, NOW_S, 999, CLERK, "who?").result()
    at_s = NOW_S + DAY_S + 50
    closed = store.write(visits.close, at_s, one.id, CLERK, "antenna replaced").result()
    assert (closed.how, closed.actor, closed.note) == ("person", CLERK, "antenna replaced")
    with pytest.raises(Refused, match="this one ended"):
        store.write(visits.close, at_s, one.id, CLERK, "again").result()
    told = store.read(lambda conn: conn.execute(select(audit).where(audit.c.action == "visit.closed")).one())
    assert (told.actor, told.subject) == (CLERK, f"meter:{one.meter}")
    assert look(store, at_s + DAY_S) == (0, 0), "it has as long again"
    assert look(store, at_s + DAY_S + 1) == (1, 0)
    for forbidden in (visit.delete(), update(visit).where(visit.c.id == one.id).values(note="another")):
        with pytest.raises((exc.IntegrityError, CommitFailed)):
            store.write(lambda conn, what=forbidden: conn.execute(what)).result()


def test_how_long_is_a_matter_of_area_and_carrier(store: Store) -> None:
    store.write(areas.place, NOW_S, FIRST, "north/f-1", CLERK).result()
    scopes = [{"area": "north", "silent_s": {"mqtt": 7_200}}, {"area": "", "silent_s": {"mqtt": 2 * DAY_S}}]
    store.write(policy.put, NOW_S, scopes, CLERK, "the north is near").result()
    assert look(store, NOW_S + 7_201) == (1, 0)
    assert look(store, NOW_S + 2 * DAY_S + 1) == (2, 0)
    assert [row.meter for row in standing(store, within=("north",))] == [FIRST]
    assert [row.meter for row in standing(store, area="north/f-1")] == [FIRST]
    assert standing(store, within=("south",)) == []


def test_nobody_goes_to_a_meter_that_was_taken_away(store: Store) -> None:
    def life(number: int, state: str) -> None:
        moved = update(meter_life).where(meter_life.c.meter == number).values(state=state)
        store.write(lambda conn: conn.execute(moved)).result()

    life(FIRST, "removed")
    assert look(store, NOW_S + 2 * DAY_S) == (2, 0)
    life(SECOND, "retired")
    assert look(store, NOW_S + 2 * DAY_S + 1) == (0, 1)
    assert [row.how for row in standing(store, standing=False) if row.meter == SECOND] == ["away"]


def test_long_lists_go_on_where_they_stopped(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visits, "BATCH", 2)
    opened, behind = store.write(visits.open_some, NOW_S + 2 * DAY_S).result()
    assert (opened, behind) == (2, SECOND)
    assert store.write(visits.open_some, NOW_S + 2 * DAY_S, behind).result() == (1, 0)
    store.write(visits.open_some, NOW_S + 3 * DAY_S).result()
    first = standing(store, limit=2)
    assert [row.meter for row in standing(store, after=first[-1].id)] == [THIRD]


@pytest.mark.parametrize(
    ("scopes", "field"),
    [
        ({}, "scopes"),
        ([{"areas": "x"}], "scopes[0]"),
        ([{"area": "A B"}], "scopes[0].area"),
        ([{"meter_type": 3}], "scopes[0].meter_type"),
        ([{"rules": {"nothing": {}}}], "scopes[0].rules"),
        ([{"rules": {"spike": {"percent": 100}}}], "scopes[0].rules.spike.percent"),
        ([{"rules": {"spike": {"percent": True}}}], "scopes[0].rules.spike.percent"),
        ([{"rules": {"spike": {"severity": "loud"}}}], "scopes[0].rules.spike.severity"),
        ([{"rules": {"spike": {"loud": 1}}}], "scopes[0].rules.spike"),
        ([{"silent_s": {"mqtt": 3_599}}], "scopes[0].silent_s.mqtt"),
        ([{"silent_s": {"pigeon": 86_400}}], "scopes[0].silent_s"),
        ([{}, {}], "scopes[1]"),
    ],
)
def test_a_policy_that_does_not_fit_is_refused_by_the_name_of_its_field(scopes: Any, field: str) -> None:
    with pytest.raises(Refused) as refused:
        policy.read(scopes)
    assert refused.value.field == field


def test_a_narrower_scope_overrides_a_wider_one() -> None:
    scopes = policy.read(
        [
            {"area": "north", "meter_type": "pv", "rules": {"reversed": {"severity": "off"}}},
            {"area": "north/f-1", "rules": {"spike": {"percent": 900}}},
            {"area": "north", "rules": {"spike": {"percent": 700, "severity": "note"}}},
            {"meter_type": "pv", "rules": {"reversed": {"severity": "note"}}},
        ]
    )
    what = policy.Policy(3, tuple(scopes))
    assert what.of("north/f-1/t-2").params["spike"]["percent"] == 900
    assert what.of("north/f-1").severities["spike"] == "note"
    assert what.of("north/f-2").params["spike"]["percent"] == 700
    assert what.of("northern").params["spike"] == what.of("").params["spike"]
    assert [what.of(area, "pv").severities["reversed"] for area in ("south", "north")] == ["note", "off"]
    assert what.of("north").severities["reversed"] == "hold"
