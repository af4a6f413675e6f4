"""The rules as they stand by default, on a year of a measured household: hardly a false alarm, and faults are found."""

from collections.abc import Callable
from typing import Any

import pytest

from headend.reads.series import Reading, decoded
from headend.validation import policy
from headend.validation.day import Day, Past
from headend.validation.rules import HOLD, judge
from openprepay.bench import household
from tests.host.quality_rig import DAY_S, PERIOD_S

DAYS = [tuple(decoded(1, day)) for day in household.days()]
FIRST = 28
DEFAULT = policy.Policy().of("")


def held(at: int, readings: tuple[Reading, ...]) -> set[str]:
    """The rules that hold a day of these readings for review."""
    start_s = DAYS[at][0].start_s
    past = tuple(Past(DAYS[at - 7 * week][0].start_s, DAYS[at - 7 * week]) for week in (1, 2, 3, 4))
    day = Day(start_s, start_s + DAY_S, start_s + 2 * DAY_S, PERIOD_S, readings, DAYS[at - 1][-1], None, past)
    return {one.rule for one in judge(day, DEFAULT.severities, DEFAULT.params) if one.severity == HOLD}


def test_hardly_a_day_is_held_in_vain() -> None:
    found = [at for at in range(FIRST, len(DAYS)) if held(at, DAYS[at])]
    assert len(found) <= 0.03 * (len(DAYS) - FIRST), found


def _at(readings: tuple[Reading, ...], place: int, **fields: Any) -> tuple[Reading, ...]:
    return (*readings[:place], readings[place]._replace(**fields), *readings[place + 1 :])


def _stopped(readings: tuple[Reading, ...]) -> tuple[Reading, ...]:
    registers = {"import_reg_wh": readings[0].import_reg_wh, "import_wh": 0}
    return tuple(one._replace(**registers) for one in readings)


def _scaled(readings: tuple[Reading, ...], by: int) -> tuple[Reading, ...]:
    """A transformer ratio that was set wrong: the meter is right with itself."""
    before_wh, found, made = readings[0].import_reg_wh - readings[0].import_wh, 0, []
    for one in readings:
        found += one.import_wh * by
        made.append(one._replace(import_wh=one.import_wh * by, import_reg_wh=before_wh + found))
    return tuple(made)


FAULTS: dict[str, tuple[Callable[[tuple[Reading, ...]], tuple[Reading, ...]], str]] = {
    "a digit too much": (lambda day: _at(day, 40, import_wh=day[40].import_wh + 20_000), "spike"),
    "a bit of a register": (lambda day: _at(day, 40, import_reg_wh=day[40].import_reg_wh ^ 1 << 20), "register"),
    "the meter stopped": (_stopped, "zero"),
    "ten times as much": (lambda day: _scaled(day, 10), "high"),
    "wires swapped": (
        lambda day: tuple(one._replace(import_wh=0, export_wh=one.import_wh) for one in day),
        "reversed",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_found_whatever_the_day(fault: str) -> None:
    spoil, rule = FAULTS[fault]
    days = range(FIRST, len(DAYS), 5)
    missed = [at for at in days if rule not in held(at, spoil(DAYS[at]))]
    assert len(missed) <= 0.05 * len(days), missed
