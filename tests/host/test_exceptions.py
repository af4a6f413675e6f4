"""The list of exceptions and the board agree, however the list is cut into pages."""

import random
from collections import defaultdict
from collections.abc import Iterator

import pytest
from sqlalchemy import select, update

from headend.books import sweep
from headend.epochs import findings
from headend.orders import facts, lifecycle, statements
from headend.store.schema import meter, order
from headend.web import board, exceptions
from headend.web.words import CONCERNS
from meterlink import reasons, states
from tests.host.books import NOW_S
from tests.host.peer import CLOSED, OPEN, READY
from tests.host.site import API, Site

METERS = tuple(range(17, 37))
AREAS = ("", "north", "north/f-1", "north/f-10", "south")
EVERY_S = 900


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Twenty meters in every kind of trouble."""
    with Site(tmp_path_factory.mktemp("site"), meters=METERS) as made:
        rng = random.Random(5)
        for number in METERS:
            standing = rng.choice((CLOSED, OPEN, READY, {**CLOSED, "control": states.CONTROL_DISCONNECTED}))
            drawing = {"load_ma": 900, "no_load_s": 0} if standing is OPEN and rng.random() < 0.4 else {}
            failed = {"diagnosis": states.DIAGNOSIS_FAILED_TO_CLOSE} if standing is OPEN and rng.random() < 0.4 else {}
            lost = {"alarms": 1 << states.ALARM_HISTORY_LOST} if rng.random() < 0.1 else {}
            money = {"balance_uc": rng.choice((-5, 0, 1_000_000))}
            made.peer(number).be(**(standing | drawing | failed | lost | money))
            if number % 5:
                made.born(number)
            area = rng.choice(AREAS)
            made.store.write(lambda conn, n=number, a=area: conn.execute(_area(n, a))).result()
        for number in METERS[::3]:
            body = {"payment_id": f"p{number}", "meter": str(number), "amount": "5.00"}
            assert made.client().post(f"{API}/payments", json=body).status_code == 201
        for number in METERS[::4]:
            arguments = (made.clock.now_s(), number, reasons.HOLD_TAMPER, "channel:ops")
            made.store.write(statements.release, *arguments).result()
        silent = METERS[::2]
        made.run(400, *silent)
        made.store.write(findings.note, NOW_S, METERS[3], "unsold_credit", "found", 5).result()
        made.clock.advance(6_000)
        made.store.write(_fail_one).result()
        sweep.sweep(made.store, made.clock.now_s())
        yield made


def _area(number: int, area: str) -> object:
    return update(meter).where(meter.c.meter == number).values(area=area)


def _fail_one(conn: object) -> None:
    queued = conn.execute(select(order.c.id).where(order.c.state == lifecycle.QUEUED)).scalars().all()  # type: ignore[attr-defined]
    for order_id in queued[:2]:
        if conn.execute(select(order.c.aspect).where(order.c.id == order_id)).scalar_one() != 1:  # type: ignore[attr-defined]
            lifecycle.move(conn, NOW_S, order_id, "fail", "a test")  # type: ignore[arg-type]


def on_the_board(site: Site) -> dict[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for one in site.store.read(facts.of_fleet, 0, 1000):
        for concern in site.store.read(board.concerns_of, site.clock.now_s(), EVERY_S, one):
            found[concern.code].append(one.number)
    return found


def test_most_kinds_are_here(site: Site) -> None:
    assert len(on_the_board(site)) >= 8, "the fleet of this test is in trouble enough"


@pytest.mark.parametrize("limit", [1, 3, 200])
@pytest.mark.parametrize("kind", list(exceptions.kinds()))
def test_the_list_says_what_the_board_says(site: Site, kind: str, limit: int) -> None:
    got: list[int] = []
    after: int | None = 0
    while after is not None:
        page = site.store.read(
            lambda conn, at=after: exceptions.of_kind(conn, site.clock.now_s(), kind, EVERY_S, after=at, limit=limit)
        )
        assert len(page.found) <= max(limit, 2)
        got += [found.concern.number for found in page.found]
        after = page.next_after
    assert sorted(set(got)) == got or kind == "finding"
    assert got == on_the_board(site)[kind]


@pytest.mark.parametrize("areas", [("north",), ("north/f-1",), ("south", "north/f-10"), ()])
def test_nobody_is_told_of_other_areas(site: Site, areas: tuple[str, ...]) -> None:
    rows = site.store.read(lambda conn: dict(conn.execute(select(meter.c.meter, meter.c.area)).all()))
    for kind in exceptions.kinds():
        page = site.store.read(
            lambda conn, of=kind: exceptions.of_kind(conn, site.clock.now_s(), of, EVERY_S, areas=areas, limit=200)
        )
        wanted = [
            number
            for number in on_the_board(site)[kind]
            if any(rows[number] == area or rows[number].startswith(f"{area}/") for area in areas)
        ]
        assert [found.concern.number for found in page.found] == wanted


def test_every_kind_that_is_listed_is_a_concern() -> None:
    assert set(exceptions.CANDIDATES) <= set(CONCERNS)
    assert set(CONCERNS) == set(exceptions.CANDIDATES), "none is left out"
