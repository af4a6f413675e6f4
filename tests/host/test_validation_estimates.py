"""What stands in for readings that are not there: to the watt-hour what the registers tell, the same every time."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headend.validation.day import Gap, chain, gaps
from headend.validation.estimating import (
    AREA,
    EVEN,
    FREE,
    LINEAR,
    NO_RECORD,
    NOTHING,
    PROFILE,
    REGISTERS,
    Basis,
    apportion,
    estimate,
)
from tests.host.quality_rig import MONDAY_S, ORDINARY, PERIOD_S, House


def at(place: int) -> int:
    return MONDAY_S + place * PERIOD_S


def gap_of(missing: range, values: list[int] = ORDINARY) -> tuple[Gap, int]:
    """The gap that a day has without these periods, and what was in it."""
    house = House()
    house.live(MONDAY_S, values)
    kept = house.readings([seq for seq in house.records if seq - 1 not in missing])
    (gap,) = gaps(chain(kept), MONDAY_S, at(len(values)), PERIOD_S)
    return gap, sum(values[place] for place in missing)


USUAL = {at(place): wh for place, wh in enumerate(ORDINARY)}
ZEROS = dict.fromkeys(USUAL, 0)


def test_a_short_gap_is_a_line_between_its_neighbours() -> None:
    gap, total = gap_of(range(1, 4), [100, 170, 250, 380, 500])
    made = estimate(gap, Basis(USUAL, ZEROS, {}, {}))
    assert [one.import_wh for one in made] == [178, 267, 355] and total == 800
    assert {(one.method, one.total) for one in made} == {(LINEAR, REGISTERS)}
    assert [one.start_s for one in made] == [at(1), at(2), at(3)]


def test_a_long_gap_follows_the_weeks_before_at_the_level_that_the_registers_tell() -> None:
    twice = [wh * 2 for wh in ORDINARY]
    gap, total = gap_of(range(10, 90), twice)
    made = estimate(gap, Basis(USUAL, ZEROS, {}, {}))
    assert [one.import_wh for one in made] == twice[10:90], "the shape is the same, so each is exact"
    assert sum(one.import_wh for one in made) == total
    assert {(one.method, one.total) for one in made} == {(PROFILE, REGISTERS)}


def test_without_registers_the_weeks_before_at_the_level_of_the_day() -> None:
    house = House()
    house.live(MONDAY_S, ORDINARY[:20])
    (gap,) = gaps(house.readings(), MONDAY_S, at(96), PERIOD_S)
    made = estimate(gap, Basis(USUAL, ZEROS, {}, {}, level=(300, 200)))
    assert [one.import_wh for one in made] == [wh * 3 // 2 for wh in ORDINARY[20:]]
    assert {(one.method, one.total) for one in made} == {(PROFILE, FREE)}
    made = estimate(gap, Basis(USUAL, ZEROS, {}, {}, level=(10**9, 1)))
    assert [one.import_wh for one in made] == [wh * 4 for wh in ORDINARY[20:]], "a wild level is not believed"


def test_other_meters_of_the_area_stand_in_for_a_history() -> None:
    gap, total = gap_of(range(10, 90))
    made = estimate(gap, Basis({}, {}, USUAL, ZEROS))
    assert {one.method for one in made} == {AREA} and sum(one.import_wh for one in made) == total


def test_where_nothing_is_known_shares_are_even() -> None:
    gap, total = gap_of(range(10, 90), [0] * 10 + [7] * 80 + [0] * 6)
    made = estimate(gap)
    assert [one.import_wh for one in made] == [7] * 80 and total == 560
    open_gap = Gap(gap.slots, None, None, None)
    assert {(one.import_wh, one.method, one.total) for one in estimate(open_gap, NOTHING)} == {(0, EVEN, FREE)}


def test_where_no_record_was_made_nothing_flowed() -> None:
    house = House()
    house.live(MONDAY_S, ORDINARY[:20])
    house.live(at(30), ORDINARY[30:])
    (gap,) = gaps(house.readings(), MONDAY_S, at(96), PERIOD_S)
    assert {(one.import_wh, one.method, one.total) for one in estimate(gap)} == {(0, NO_RECORD, REGISTERS)}
    assert len(estimate(gap)) == 10


@pytest.mark.parametrize("other", ["log", "fell", "full"])
def test_registers_that_tell_nothing_bind_nothing(other: str) -> None:
    house = House()
    house.live(MONDAY_S, ORDINARY[:20])
    if other == "log":
        later = House(log_id=8)
        later.live(at(40), ORDINARY[40:])
        readings = house.readings() + later.readings()
    else:
        house.seq += 20
        house.record(at(40), *{"fell": (90,), "full": (65_535,)}[other], jump_wh=-10_000 if other == "fell" else 0)
        readings = house.readings()
    gap = gaps(chain(readings), MONDAY_S, at(41), PERIOD_S)[0]
    assert (gap.import_wh, len(gap.slots)) == (None, 20)
    assert {one.total for one in estimate(gap)} == {FREE}


WEIGHTS = st.lists(st.integers(0, 10**6), min_size=1, max_size=60).filter(any)


@given(st.integers(0, 2**31), WEIGHTS)
def test_shares_sum_up_and_none_is_more_than_one_off(total: int, weights: list[int]) -> None:
    shares = apportion(total, weights)
    assert sum(shares) == total and apportion(total, weights) == shares
    for share, weight in zip(shares, weights, strict=True):
        exact, rest = divmod(total * weight, sum(weights))
        assert share - exact in ((0, 1) if rest else (0,))


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 4_000), st.integers(0, 500), st.booleans()), min_size=3, max_size=96),
    st.sampled_from([NOTHING, Basis(USUAL, ZEROS, {}, {}), Basis({}, {}, USUAL, USUAL), Basis(ZEROS, ZEROS, {}, {})]),
    st.integers(0, 2**32 - 1),
)
def test_over_every_closed_gap_estimates_sum_up_to_the_registers(
    periods: list[tuple[int, int, bool]], basis: Any, register_wh: int
) -> None:
    house = House(register_wh=register_wh)
    for place, (wh, out_wh, _) in enumerate(periods):
        house.record(at(place), wh, out_wh)
    here = [seq for seq, one in enumerate(periods, start=1) if one[2]] or [1]
    found = gaps(house.readings(here), at(here[0] - 1), at(len(periods)), PERIOD_S)
    estimated = set()
    for gap in found:
        made = estimate(gap, basis)
        starts = [one.start_s for one in made]
        assert made == estimate(gap, basis) and all(min(one.import_wh, one.export_wh) >= 0 for one in made)
        assert not estimated & set(starts)
        estimated |= set(starts)
        if gap.after is not None:
            lost = [periods[(start - MONDAY_S) // PERIOD_S] for start in starts]
            assert sum(one.import_wh for one in made) == gap.import_wh == sum(one[0] for one in lost)
            assert sum(one.export_wh for one in made) == gap.export_wh == sum(one[1] for one in lost)
    measured = {at(seq - 1) for seq in here}
    assert estimated | measured == {at(place) for place in range(here[0] - 1, len(periods))}
    assert not estimated & measured
