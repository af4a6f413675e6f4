"""What a rule is, and what it finds."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from headend.validation.day import Day
from meterlink.labels import Text

OFF = "off"
NOTE = "note"  # it is shown
HOLD = "hold"  # a person looks at it before it is billed
SEVERITIES: Mapping[str, Text] = {
    OFF: ("not looked at", "不检查"),
    NOTE: ("noted", "仅记录"),
    HOLD: ("held for review", "待复核"),
}

# What of a reading is doubted: how an estimate that stands in for it is made.
NOTHING = "nothing"
ENERGY = "energy"  # the energy of the period; the registers on both sides are believed
REGISTER = "register"  # the registers too: what stands in follows the meter's history alone


class Found(NamedTuple):
    """What a rule found in a day.

    `starts`: the periods it is about, by their start, rising · `value`, `expected`: the figures behind it.
    """

    starts: tuple[int, ...]
    value: int
    expected: int


class Finding(NamedTuple):
    """What a rule found, with its name and how severe it is."""

    rule: str
    severity: str
    starts: tuple[int, ...]
    value: int
    expected: int


class Param(NamedTuple):
    """A figure of a rule that policy sets: by default, and its bounds, both included."""

    default: int
    low: int
    high: int


Values = Mapping[str, int]


@dataclass(frozen=True)
class Rule:
    """One row of the table.

    `title`: its name · `text`: what it found, with the fields value, expected, count · `looks_at`: what it judges by ·
    `severity`: by default · `doubts`: NOTHING, ENERGY or REGISTER · `check(day, params)`: None where all is well.
    """

    title: Text
    text: Text
    looks_at: Text
    severity: str
    doubts: str
    check: Callable[[Day, Values], Found | None]
    params: Mapping[str, Param]
