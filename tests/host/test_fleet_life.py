"""What fitters do: commissioning, moving, exchange, removal; what fits where; and two at a time."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import exc, update

from headend.fleet import grid, life, lifecycle, placement, points, types
from headend.fleet.meters import add_meter
from headend.fleet.placement import Place, Readings
from headend.refusals import Refused
from headend.registry import areas, bars
from headend.store import CommitFailed, Store
from headend.store.schema_fleet import placement as placement_row
from meterlink import reasons
from tests.host.books import METER, NOW_S, dump, open_books, record
from tests.system.world import YUAN, World

ENGINEER = "user:engineer"
NEW, SUM = 18, 19
DAY_S = 86_400
ONE_PHASE = types.MeterType("op1", "one phase", "单相", ("mqtt",), 1, True, 10_000, (15,), (), "op")
SUM_TYPE = types.MeterType("sum", "sum", "总表", ("mqtt",), 1, False, 400_000, (15,), (), "op")


class Street:
    """One transformer with two supply points, and another transformer."""

    def __init__(self, store: Store) -> None:
        self.store = store
        top = self.write(grid.add, "substation", None, "n", ("", ""), ENGINEER)
        self.feeder = self.write(grid.add, "feeder", top, "f", ("", ""), ENGINEER)
        self.here, self.there = (
            self.write(grid.add, "transformer", self.feeder, code, ("", ""), ENGINEER) for code in ("t-1", "t-2")
        )
        for code in ("P-1", "P-2"):
            self.write(points.add, code, self.here, ENGINEER)

    def write(self, fn: Any, *arguments: Any, at_s: int = NOW_S, **options: Any) -> Any:
        return self.store.write(lambda conn: fn(conn, at_s, *arguments, **options)).result()


@pytest.fixture
def street(any_store_url: str) -> Iterator[Street]:
    with open_books(any_store_url, (METER, NEW, SUM)) as store:  # with its threads
        yield Street(store)


def test_a_meter_that_was_exchanged_tells_its_last_register_itself(tmp_path: Path) -> None:
    world = World(tmp_path, METER)
    street = Street(world.store)
    write = lambda fn, *args, **options: street.write(fn, *args, at_s=world.clock.now_s(), **options)  # noqa: E731
    write(life.commission, METER, Place("P-1"), ENGINEER, read=Readings(0, 0))
    world.pay("a", 50 * YUAN)
    world.run(3_600)
    world.settle()
    world.add(NEW)
    write(life.exchange, METER, NEW, ENGINEER, end=Readings(900, 0), read=Readings(0, 0))
    (told,) = world.read(placement.history, METER)
    assert (told.end_import_wh, told.ended_by, told.provisional) == (900, "exchange_out", 1)
    world.settle()
    (told,) = world.read(placement.history, METER)
    assert told.provisional == 0 and told.closed_import_wh == world.closing(METER, 1).import_wh > 900
    assert world.read(placement.of, NEW).supply_point == "P-1"
    # The old one comes back from the workshop, to another customer.
    order = write(life.commission, METER, Place("P-2"), ENGINEER)
    assert order is not None
    world.settle()
    assert (world.points[METER].unit.meter.account_epoch, world.points[METER].account.credited_uc) == (2, 0)
    assert [one.event for one in world.read(lifecycle.history, METER)] == ["commission", "exchange_out", "commission"]
    world.check()
    world.close()


def test_what_does_not_fit_is_refused_and_leaves_nothing(street: Street) -> None:
    for kind in (ONE_PHASE, SUM_TYPE):
        street.write(types.put, kind, ENGINEER)
    street.write(points.add, "P-3", street.here, ENGINEER, phases=3, limit_w=9_000)
    street.write(points.add, "P-4", street.here, ENGINEER, limit_w=20_000)
    street.write(life.describe, METER, ENGINEER, kind="op1", serial="")
    street.write(life.describe, SUM, ENGINEER, kind="sum", serial="")
    street.write(add_meter, record(20, interval_minutes=30))
    before = dump(street.store)
    for number, place, options, field in (
        (METER, Place("P-3"), {}, "type"),  # three phases
        (METER, Place("P-4"), {}, "type"),  # more than it is built for
        (SUM, Place("P-1"), {}, "type"),  # it cannot disconnect
        (METER, Place("P-9"), {}, "supply_point"),
        (METER, Place(node=999), {}, "node"),
        (METER, Place(), {}, "place"),
        (METER, Place("P-1", street.here), {}, "place"),
        (METER, Place("P-1"), {"since_s": NOW_S + 1}, "since_s"),
        (METER, Place("P-1"), {"read": Readings(-1)}, "start_import_wh"),
    ):
        with pytest.raises(Refused) as refused:
            street.write(life.commission, number, place, ENGINEER, **options)
        assert refused.value.field == field
    with pytest.raises(Refused, match="interval_minutes: 30 given, one of 15"):
        street.write(life.describe, 20, ENGINEER, kind="op1", serial="")
    assert dump(street.store) == before
    street.write(life.commission, SUM, Place(node=street.here), ENGINEER)
    street.write(life.commission, METER, Place("P-1"), ENGINEER)
    with pytest.raises(Refused, match="type: 'op1' given, a type with 3 phases"):
        street.write(points.change, "P-1", street.here, ENGINEER, phases=3, limit_w=0, households=1)
    with pytest.raises(Refused, match="a type that can disconnect"):
        street.write(life.describe, METER, ENGINEER, kind="sum", serial="")


def test_placements_follow_each_other_and_stay_told(street: Street) -> None:
    street.write(life.commission, METER, Place("P-1"), ENGINEER, since_s=NOW_S - 9 * DAY_S, read=Readings(5, 0))
    with pytest.raises(Refused, match="end_import_wh: 4 given, 5 or more"):
        street.write(life.relocate, METER, Place("P-2"), ENGINEER, end=Readings(4))
    street.write(life.relocate, METER, Place("P-2"), ENGINEER, end=Readings(7), read=Readings(7))
    with pytest.raises(Refused, match="since_s"):  # the point was taken then
        street.write(life.commission, NEW, Place("P-1"), ENGINEER, since_s=NOW_S - 5 * DAY_S)
    street.write(life.commission, NEW, Place("P-1"), ENGINEER, since_s=NOW_S)
    whose = {at_s: [one.meter for one in street.store.read(placement.meters_at, "P-1", at_s)] for at_s in
             (NOW_S - 10 * DAY_S, NOW_S - 9 * DAY_S, NOW_S - 1, NOW_S)}  # fmt: skip
    assert list(whose.values()) == [[], [METER], [METER], [NEW]]
    street.write(life.remove, NEW, ENGINEER, end=Readings(1))
    with pytest.raises(Refused, match="event of a meter that is commissioned"):
        street.write(life.retire, METER, ENGINEER)
    street.write(life.retire, NEW, ENGINEER, note="burnt")
    with pytest.raises(Refused, match="its life is over"):
        street.write(life.commission, NEW, Place("P-1"), ENGINEER)
    for forged in (update(placement_row).values(since_s=1), placement_row.delete()):
        with pytest.raises((exc.IntegrityError, CommitFailed)):
            street.store.write(lambda conn, forged=forged: conn.execute(forged)).result()


def test_many_households_are_protected_with_their_place(street: Street) -> None:
    street.write(life.commission, METER, Place("P-1"), ENGINEER)
    arrears = NOW_S, METER, reasons.HOLD_ARREARS
    assert street.store.read(bars, *arrears) == []
    street.write(points.change, "P-1", street.there, ENGINEER, phases=1, limit_w=0, households=51)
    assert {bar.rule for bar in street.store.read(bars, *arrears)} == {"evidence.authority", "evidence.site_notice"}
    assert street.store.read(placement.of, METER).transformer == "n/f/t-2"
    with pytest.raises(Refused, match="area: 'south' given, 'n/f/t-2'"):
        street.write(areas.place, METER, "south", ENGINEER)
    street.write(areas.place, NEW, "south", ENGINEER)  # of one that stands nowhere


def test_one_of_two_at_a_time_gets_the_place(street: Street) -> None:
    for turn in range(4):
        first, second = 100 + 2 * turn, 101 + 2 * turn
        for number in (first, second):
            street.write(add_meter, record(number))
        with ThreadPoolExecutor(2) as pool:
            done = list(pool.map(lambda number: _try(street, life.commission, number, Place("P-1"), ENGINEER),
                                 (first, second)))  # fmt: skip
        assert sorted(isinstance(one, Refused) for one in done) == [False, True]
        street.write(life.remove, (first, second)[isinstance(done[0], Refused)], ENGINEER)


def test_a_meter_that_is_placed_while_its_feeder_moves_has_the_new_path(street: Street) -> None:
    substation = street.store.read(grid.at, "n")
    assert substation is not None
    for turn in range(4):
        number = 200 + turn
        street.write(add_meter, record(number))
        street.write(points.add, f"Q-{turn}", street.there, ENGINEER)

        def move(turn: int = turn) -> None:
            street.write(grid.move, street.feeder, substation.id, f"f-{turn}", ENGINEER)
            while street.write(grid.go_on):
                pass

        with ThreadPoolExecutor(2) as pool:
            moved = pool.submit(move)
            placed = pool.submit(street.write, life.commission, number, Place(f"Q-{turn}"), ENGINEER)
            moved.result()
            placed.result()
        assert street.store.read(grid.misplaced) == []
        assert street.store.read(placement.of, number).transformer == f"n/f-{turn}/t-2"


def _try(street: Street, fn: Any, *arguments: Any) -> Any:
    try:
        return street.write(fn, *arguments)
    except Refused as refused:
        return refused
