"""The rules of validation, one by one: what each finds, what it lets pass, and where the line is."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headend.validation import policy
from headend.validation.rules import OFF, RULES, SEVERITIES, Finding, judge
from meterlink.records import FLAG_CLOCK_CHANGED, FLAG_CLOCK_UNKNOWN, FLAG_POWER_FAILED, FLAG_SUPPLY_OFF
from tests.host.quality_rig import DAY_S, MONDAY_S, ORDINARY, PERIOD_S, House, day, past

DEFAULT = policy.Policy().of("")


def found(what: Any, **params: Any) -> dict[str, Finding]:
    """Rule -> finding; `params`: of rules, in place of the default ones."""
    judged = judge(what, DEFAULT.severities, {**DEFAULT.params, **params})
    return {one.rule: one for one in judged}


def ordinary(values: Sequence[int] = ORDINARY, **others: Any) -> Any:
    """A day of these values after four ordinary ones."""
    house = House()
    house.live(MONDAY_S - PERIOD_S, [ORDINARY[-1], *values])
    return day(house.readings(), **{"history": past(), **others})


def at(place: int) -> int:
    return MONDAY_S + place * PERIOD_S


def test_an_ordinary_day_is_not_doubted() -> None:
    assert found(ordinary()) == {}


def test_a_meter_without_a_history_is_doubted_by_itself_alone() -> None:
    assert found(ordinary([9_000 + at for at in range(96)], history=())) == {}


@pytest.mark.parametrize(("lost", "value"), [((10,), 1), (range(5, 40), 35)])
def test_missing(lost: Sequence[int], value: int) -> None:
    house = House()
    house.live(MONDAY_S, ORDINARY)
    judged = found(day(house.readings([seq for seq in house.records if seq - 1 not in lost])))
    assert (judged["missing"].value, judged["missing"].expected) == (value, 96)
    assert judged["missing"].starts == tuple(at(place) for place in lost)
    assert "outage" not in judged


def test_what_has_not_come_by_the_end_of_the_day_is_missing() -> None:
    house = House()
    house.live(MONDAY_S, ORDINARY[:90])
    assert found(day(house.readings()))["missing"].starts == tuple(at(place) for place in range(90, 96))


def test_half_a_day_of_estimates_is_held_once_the_gap_is_closed() -> None:
    for missing, held in ((47, False), (48, True)):
        house = House()
        house.live(MONDAY_S, ORDINARY)
        judged = found(day(house.readings([seq for seq in house.records if not 10 < seq <= 10 + missing])))
        assert ("estimated" in judged) == held, missing
    house = House()
    house.live(MONDAY_S, ORDINARY[:10])
    assert "estimated" not in found(day(house.readings())), "more may still come"


def test_no_record_was_made_without_power() -> None:
    house = House()
    house.live(MONDAY_S, ORDINARY[:20])
    house.live(at(30), ORDINARY[30:], FLAG_POWER_FAILED)
    judged = found(day(house.readings()))
    assert judged["outage"].starts == tuple(at(place) for place in range(20, 30))
    assert "missing" not in judged and "unplaced" not in judged


def test_duplicate() -> None:
    for flags, doubted in ((0, True), (FLAG_CLOCK_CHANGED, False), (FLAG_CLOCK_UNKNOWN, False)):
        house = House()
        house.live(MONDAY_S, ORDINARY[:40])
        house.live(at(39), ORDINARY[39:], flags)
        judged = found(day(house.readings()))
        assert ("duplicate" in judged) == ("backward" in judged) == doubted
        if doubted:
            assert judged["duplicate"].starts == judged["backward"].starts == (at(39),)


def test_clock() -> None:
    house = House()
    for place, wh in enumerate(ORDINARY):
        flags = {50: FLAG_CLOCK_UNKNOWN, 51: FLAG_CLOCK_CHANGED}.get(place, 0)
        house.record(at(place), wh, flags=flags)
    judged = found(day(house.readings()))
    assert judged["clock_unknown"].starts == (at(50),) and judged["clock_unknown"].severity == "hold"
    assert judged["clock_set"].starts == (at(51),) and judged["clock_set"].severity == "note"


def test_future() -> None:
    whole = ordinary()
    for early_s, doubted in ((0, False), (120, False), (121, True)):
        judged = found(ordinary(now_s=whole.end_s - early_s))
        assert ("future" in judged) == doubted, early_s
    assert found(ordinary(now_s=whole.end_s - 121))["future"].starts == (at(95),)


def test_register() -> None:
    house = House()
    house.live(MONDAY_S, ORDINARY[:50])
    house.record(at(50), 90, jump_wh=7)
    house.live(at(51), ORDINARY[51:])
    judged = found(day(house.readings()))
    assert (judged["register"].starts, judged["register"].value) == ((at(50),), 7)
    assert "register" not in found(day([one for one in house.readings() if one.seq != 51])), "no neighbours there"


def test_a_register_that_begins_anew_at_its_end_is_right() -> None:
    house = House(register_wh=(1 << 32) - 500)
    house.live(MONDAY_S, ORDINARY)
    assert found(day(house.readings())) == {}


def test_an_interval_that_is_full_leaves_it_to_the_registers() -> None:
    house = House()
    house.record(MONDAY_S, 90)
    house.record(at(1), 65_535, jump_wh=9_000)
    assert "register" not in found(day(house.readings(), most_w=0))


def test_negative() -> None:
    house = House()
    house.live(MONDAY_S, ORDINARY[:50])
    house.record(at(50), 90, jump_wh=-5_000)
    judged = found(day(house.readings()))
    assert (judged["negative"].starts, judged["negative"].value) == ((at(50),), -4_910)
    assert "register" not in judged


def test_energy_without_a_period() -> None:
    for jump, doubted in ((0, False), (1, True)):
        house = House()
        house.live(MONDAY_S, ORDINARY[:20])
        house.record(at(30), 90, jump_wh=jump)
        assert ("unplaced" in found(day(house.readings()))) == doubted
    house = House()
    house.live(MONDAY_S, [*ORDINARY[:20], 33])
    house.live(at(20), ORDINARY[20:], FLAG_CLOCK_CHANGED)
    judged = found(day(house.readings([seq for seq in house.records if seq != 21])))
    assert judged["unplaced"].value == 33


def test_capacity() -> None:
    for wh, doubted in ((3_000, False), (3_001, True)):
        values = [*ORDINARY[:50], wh, *ORDINARY[51:]]
        judged = found(ordinary(values, history=(), most_w=10_000))
        assert ("capacity" in judged) == doubted
    assert judged["capacity"].expected == 10_000 and judged["capacity"].starts == (at(50),)
    assert found(ordinary(values, history=(), most_w=0)) == {}, "nobody knows what it carries"
    own = {"most_w": 8_000, "percent": 100}
    assert "capacity" in found(ordinary([2_001, *ORDINARY[1:]], history=(), most_w=10_000), capacity=own)


def test_spike() -> None:
    for wh, doubted in ((1_000, False), (1_001, True)):
        judged = found(ordinary([*ORDINARY[:50], wh, *ORDINARY[51:]]))
        assert ("spike" in judged) == doubted, wh
    assert (judged["spike"].value, judged["spike"].expected) == (1_001, max(ORDINARY))


def test_zero() -> None:
    judged = found(ordinary([0] * 96))
    assert (judged["zero"].value, judged["zero"].expected) == (0, sum(ORDINARY))
    assert "low" not in judged
    assert "zero" not in found(ordinary([0] * 95 + [1]))
    assert "zero" not in found(ordinary([0] * 96, history=past([1] * 96))), "an empty home"
    assert "zero" not in found(ordinary([0] * 40)), "less than half of the day is known"
    house = House()
    house.live(MONDAY_S, [0] * 96, FLAG_SUPPLY_OFF)
    assert "zero" not in found(day(house.readings(), history=past()))


def test_stuck() -> None:
    for times, doubted in ((23, False), (24, True)):
        judged = found(ordinary([*[77] * times, *ORDINARY[times:]]))
        assert ("stuck" in judged) == doubted, times
    assert judged["stuck"].starts == tuple(at(place) for place in range(24))
    assert "stuck" not in found(ordinary([49] * 96)), "what always runs draws the same"


def test_high() -> None:
    thrice = [wh * 3 for wh in ORDINARY]
    assert "high" not in found(ordinary(thrice))
    judged = found(ordinary([thrice[0] + 1, *thrice[1:]]))
    assert (judged["high"].value, judged["high"].expected) == (sum(thrice) + 1, sum(ORDINARY))
    assert "high" not in found(ordinary([wh * 5 for wh in ORDINARY], history=past(number=1))), "one day is no history"


def test_low() -> None:
    fifth = sum(ORDINARY) * 20 // 100
    values = [1 + at % 2 for at in range(95)]
    for total, doubted in ((fifth + 1, False), (fifth - 1, True)):
        judged = found(ordinary([*values, total - sum(values)]))
        assert ("low" in judged) == doubted
    assert "low" not in found(ordinary(values)), "the day is not whole"


def test_profile() -> None:
    moved = ORDINARY[48:] + ORDINARY[:48]
    judged = found(ordinary(moved))
    assert judged["profile"].value >= 12 and judged["profile"].severity == "note"
    assert "profile" not in found(ordinary([wh + 30 for wh in ORDINARY])), "below the floor"
    assert "profile" not in found(ordinary(moved, history=past(number=1)))


def test_reversed() -> None:
    def fed(each: int, history: Any) -> dict[str, Finding]:
        house = House()
        for place, wh in enumerate(ORDINARY):
            house.record(at(place), wh, each if 40 <= place < 50 else 0)
        return found(day(house.readings(), history=history))

    assert fed(10, past())["reversed"].value == 100
    assert "reversed" not in fed(9, past())
    assert "reversed" not in fed(500, past(out_wh=3)), "it is known to feed in"
    assert "reversed" in fed(500, ())


def test_load_while_off() -> None:
    def off(wh: int, places: range) -> dict[str, Finding]:
        house = House()
        for place, usual in enumerate(ORDINARY):
            is_off = place in places
            house.record(at(place), wh if is_off else usual, flags=FLAG_SUPPLY_OFF if is_off else 0)
        return found(day(house.readings()))

    judged = off(10, range(40, 50))
    assert judged["load_off"].starts == tuple(at(place) for place in range(41, 49))
    assert judged["load_off"].value == 80
    assert "load_off" not in off(9, range(40, 50))
    assert "load_off" not in off(500, range(40, 42)), "it was off for a part of both"


# --- the table --------------------------------------------------------------------------------------------------------


def test_the_table_is_whole() -> None:
    assert len(RULES) >= 10
    fields = {"value": 1, "expected": 2, "count": 3}
    for code, rule in RULES.items():
        for text in (rule.title, rule.text, rule.looks_at):
            assert all(text) and text[0] != text[1], code
        assert all(text.format(**fields) for text in rule.text)
        assert rule.severity in SEVERITIES
        assert all(one.low <= one.default <= one.high for one in rule.params.values()), code


READINGS = st.lists(
    st.tuples(
        st.integers(-4, 110), st.integers(0, 70_000), st.integers(0, 300), st.integers(0, 63), st.integers(-99, 99),
        st.booleans(),
    ),
    max_size=40,
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(READINGS, st.sampled_from([(), past()]))
def test_any_day_can_be_judged_and_twice_gives_the_same(given_: Any, history: Any) -> None:
    house = House()
    for place, wh, out_wh, flags, jump_wh, _ in given_:
        house.record(at(place), min(wh, 65_535), out_wh, flags, jump_wh=jump_wh)
    kept = [seq for seq, one in enumerate(given_, start=1) if one[5]]
    readings = house.readings(kept)
    before = list(readings)
    judged = [judge(day(readings, history=history), DEFAULT.severities, DEFAULT.params) for _ in range(2)]
    assert judged[0] == judged[1] and readings == before
    for one in judged[0]:
        assert list(one.starts) == sorted(set(one.starts)) and one.severity == RULES[one.rule].severity
        assert one.starts and all(MONDAY_S <= start < MONDAY_S + DAY_S for start in one.starts), one
    off = dict.fromkeys(RULES, OFF)
    assert judge(day(readings, history=history), off, DEFAULT.params) == ()
