"""Meters in each other's place are found, and no pair is that is as it should be."""

import random
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import insert

from headend.epochs import findings
from headend.fleet import grid, life, points, swap_check, swaps
from headend.fleet.placement import Place, Readings
from headend.fleet.swaps import Evidence
from headend.store import Store
from headend.store.schema import meter_event
from meterlink.events import POWER_DOWN
from tests.host import readings
from tests.host.books import open_books

DAY_S = 86_400
DAYS = 21
T0_S = 1_800_000_000


class Street:
    """Two transformers with households; what each meter would have seen where it really stands."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def use(self, mean_wh: float, days: int) -> list[int]:
        return [max(0, int(mean_wh * self.random.lognormvariate(0, 0.35))) for _ in range(days)]

    def pair(
        self, *, swapped: bool, same: bool = False, fresh: bool = False, read: bool = True
    ) -> tuple[Evidence, Evidence]:
        """What the books have of two meters. same: below one transformer · fresh: both registers began at 0 · read: the
        fitter read them."""
        rand = self.random
        outages = [sorted(T0_S + rand.randrange(DAYS * DAY_S) for _ in range(rand.randrange(4))) for _ in range(2)]
        means = [rand.lognormvariate(9, 0.7) for _ in range(2)]  # around 8 kWh a day
        registers = [0 if fresh else rand.randrange(200_000_000) for _ in range(2)]
        before = [self.use(mean * rand.lognormvariate(0, 0.3), 28) for mean in means]
        since = [self.use(mean, DAYS) for mean in means]
        # What flows past a place's transformer and is not sold: losses, and meters that are read late.
        balance = [[int(rand.gauss(2_000, 500)) for _ in range(DAYS)] for _ in range(2)]
        order = (1, 0) if swapped else (0, 1)
        found = []
        for place in (0, 1):
            stands = order[place]  # where the meter is that the books have at this place
            lost = [at for at in outages[0 if same else stands] if rand.random() < 0.97]
            left = [b + r - s for b, r, s in zip(balance[place], since[place], since[stands], strict=True)]
            found.append(
                Evidence(
                    meter=100 + place,
                    transformer="n/f/t-1" if same or place == 0 else "n/f/t-2",
                    stated_wh=registers[place] + rand.randrange(-900, 900) if read and rand.random() > 0.03 else None,
                    shown_wh=registers[stands],
                    before_wh=before[place],
                    since_wh=since[stands],
                    lost_s=lost,
                    outages_s=outages[0 if same else place],
                    from_s=T0_S,
                    to_s=T0_S + DAYS * DAY_S,
                    daily_wh=dict(enumerate(since[stands])),
                    balance_wh=dict(enumerate(left)),
                )
            )
        return found[0], found[1]


def test_no_false_alarm_among_pairs_that_stand_where_they_should() -> None:
    street = Street(1)
    for number in range(1_000):
        one, other = street.pair(swapped=False, same=number % 3 == 0, fresh=number % 4 == 0)
        judged = swaps.score(one, other)
        assert not judged.swapped, (number, judged, one, other)


def test_wrong_notes_of_a_fitter_alone_raise_no_alarm() -> None:
    street = Street(2)
    for number in range(300):
        one, other = street.pair(swapped=False, same=number % 2 == 0)
        wrong = replace(one, stated_wh=street.random.randrange(200_000_000))
        assert not swaps.score(wrong, other).swapped


@pytest.mark.parametrize(
    ("options", "share"),
    [({}, 0.97), ({"same": True}, 0.85), ({"fresh": True}, 0.85), ({"read": False}, 0.85)],
)
def test_most_swapped_pairs_are_found(options: dict[str, bool], share: float) -> None:
    street = Street(3)
    judged = [swaps.score(*street.pair(swapped=True, **options)) for _ in range(300)]
    assert sum(one.swapped for one in judged) >= share * len(judged)
    assert all(one.reasons for one in judged if one.swapped)


def test_a_pair_is_judged_the_same_from_either_side() -> None:
    street = Street(4)
    for number in range(100):
        one, other = street.pair(swapped=number % 2 == 0)
        mine, theirs = swaps.score(one, other), swaps.score(other, one)
        assert mine.parts.keys() == theirs.parts.keys()
        assert all(abs(mine.parts[kind] - theirs.parts[kind]) < 1e-9 for kind in mine.parts)


def test_nothing_known_says_nothing() -> None:
    assert swaps.score(Evidence(1, "a/b/c"), Evidence(2, "a/b/d")).total == 0


# --- from what is stored ----------------------------------------------------------------------------------------------

OLD, NEW, SUM = (31, 32), (41, 42), (51, 52)
NEIGHBOURS = {0: (61, 62), 1: (71, 72)}
USE_WH = (300, 900)  # in an hour, at the two places
READ_WH = (5_000_000, 77_000_000)  # registers of the new meters
ENGINEER = "user:engineer"


def exchanged(url: str, stands: tuple[int, int]) -> Store:
    """Two supply points below two transformers whose meters were exchanged; `stands[n]`: where the nth really is."""
    every = (*OLD, *NEW, *SUM, *NEIGHBOURS[0], *NEIGHBOURS[1])
    store = open_books(url, every, inline=True)

    def write(fn: Any, at_s: int, *arguments: Any, **options: Any) -> Any:
        return store.write(lambda conn: fn(conn, at_s, *arguments, **options)).result()

    top = write(grid.add, T0_S, "substation", None, "n", ("", ""), ENGINEER)
    feeder = write(grid.add, T0_S, "feeder", top, "f", ("", ""), ENGINEER)
    for place in (0, 1):
        node = write(grid.add, T0_S, "transformer", feeder, f"t-{place}", ("", ""), ENGINEER)
        write(life.commission, T0_S, SUM[place], Place(node=node), ENGINEER)
        for number, code in ((OLD[place], f"P-{place}"), *((one, f"N-{one}") for one in NEIGHBOURS[place])):
            write(points.add, T0_S, code, node, ENGINEER)
            write(life.commission, T0_S, number, Place(code), ENGINEER)
    begun_s = T0_S + 30 * DAY_S
    for place in (0, 1):
        stated = Readings(READ_WH[stands.index(place)], 0)  # what the fitter sees there
        write(life.exchange, begun_s, OLD[place], NEW[place], ENGINEER, read=stated)
    ends_s = begun_s + 22 * DAY_S
    for place in (0, 1):
        record_days(store, OLD[place], T0_S, begun_s, USE_WH[place], 0)
        record_days(store, NEW[place], begun_s, ends_s, USE_WH[stands[place]], READ_WH[place])
        for number in NEIGHBOURS[place]:
            record_days(store, number, begun_s, ends_s, 100, 0)
        record_days(store, SUM[place], begun_s, ends_s, USE_WH[place] + 210, 0)
        at_s = begun_s + (4 + place) * DAY_S
        lost = (NEW[stands.index(place)], *NEIGHBOURS[place])
        rows = [
            dict(zip(meter_event.c.keys(), (number, 1, 1, at_s + turn, POWER_DOWN, 1, 0, 0, 0), strict=True))
            for turn, number in enumerate(lost)
        ]
        store.write(lambda conn, rows=rows: conn.execute(insert(meter_event), rows)).result()
    return store


def record_days(store: Store, number: int, from_s: int, to_s: int, hour_wh: int, register_wh: int) -> None:
    """Hours of the same shape, with a day and a night, so that days differ from each other."""
    rows = []
    for seq, start_s in enumerate(range(from_s, to_s, 3_600), start=1):
        used_wh = hour_wh * (1 + start_s // DAY_S % 3)
        register_wh += used_wh
        fields = {"seq": seq, "start_s": start_s, "import_reg_wh": register_wh, "import_wh": used_wh, "minutes": 60}
        rows.append({**fields, "export_reg_wh": 0, "export_wh": 0, "flags": 0})
    store.write(readings.put, to_s, number, 1, rows).result()


@pytest.mark.parametrize("stands", [(0, 1), (1, 0)])
def test_swapped_meters_become_findings_of_both(any_store_url: str, stands: tuple[int, int]) -> None:
    with exchanged(any_store_url, stands) as store:
        now_s = T0_S + 52 * DAY_S
        while swap_check.follow(store, now_s):
            pass
        found = {row.meter: row.note for row in store.read(findings.standing)}
        assert found.keys() == (set(NEW) if stands == (1, 0) else set())
        for note in found.values():
            assert all(word in note for word in ("registers", "consumption", "outages", "sums")), note
        assert not swap_check.follow(store, now_s)  # each placement once
