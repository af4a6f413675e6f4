"""What stands in for readings that are not there: a figure for each period of a gap, and how it was made. Pure.

Where the registers on both sides of a gap tell what flowed meanwhile, the estimates come to exactly that, to the
watt-hour (`REGISTERS`): shares by largest remainder, of equal ones the earlier period first. Else they are as the
method gives them (`FREE`). Methods, the first that can be applied:

    LINEAR   a short gap: a straight line between its neighbours
    PROFILE  what these times of the same weekday had in the weeks before, at the level of the day's own readings
    AREA     what other meters of the area had in these periods
    LINEAR   a long gap with neighbours, of a meter without a history
    EVEN     nothing is known: even shares, or nothing
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from headend.validation.day import Gap, Slot
from meterlink.labels import Text

LINEAR, PROFILE, AREA, EVEN, NO_RECORD = "linear", "profile", "area", "even", "no_record"
METHODS: Mapping[str, Text] = {
    LINEAR: ("a line between its neighbours", "线性插值"),
    PROFILE: ("the meter's own weeks before", "本户历史规律"),
    AREA: ("other meters of the area", "同区域规律"),
    EVEN: ("even shares", "平均分摊"),
    NO_RECORD: ("no record was made: nothing flowed", "表计未记录，电量为零"),
}
REGISTERS, FREE = "registers", "free"
TOTALS: Mapping[str, Text] = {
    REGISTERS: ("sums up to the registers", "与示值差一致"),
    FREE: ("not bound by registers", "无示值约束"),
}
SHORT_PERIODS = 4  # up to here a line is better than history
MOST_LEVEL = 4  # the day's level may be so many times that of the weeks before


class Estimate(NamedTuple):
    """Stands in for a period: `method` and `total` say how it was made."""

    start_s: int
    length_s: int
    import_wh: int
    export_wh: int
    method: str
    total: str


@dataclass(frozen=True)
class Basis:
    """What estimates can rest on.

    `usual`, `area`: start of a period -> Wh, by the meter's own weeks before and by other meters of the area ·
    `usual_out`, `area_out`: the same for export · `level`: (measured, usual) Wh of the periods of these days that have
    both.
    """

    usual: Mapping[int, int]
    usual_out: Mapping[int, int]
    area: Mapping[int, int]
    area_out: Mapping[int, int]
    level: tuple[int, int] = (1, 1)


NOTHING = Basis({}, {}, {}, {})


def estimate(gap: Gap, basis: Basis = NOTHING) -> list[Estimate]:
    """A figure for each period of a gap. Where no record was made the registers usually show that nothing flowed; what
    they show beyond it is shared out all the same."""
    if not gap.slots:
        return []
    bound = gap.import_wh is not None and gap.export_wh is not None
    if gap.made_none and not gap.import_wh and not gap.export_wh:
        total = REGISTERS if bound else FREE
        return [Estimate(start, length, 0, 0, NO_RECORD, total) for start, length in gap.slots]
    method, into, out = _shape(gap, basis)
    if gap.import_wh is not None and gap.export_wh is not None:
        lengths = [length for _, length in gap.slots]
        into = apportion(gap.import_wh, into if any(into) else lengths)
        out = apportion(gap.export_wh, out if any(out) else lengths)
    pairs = zip(gap.slots, into, out, strict=True)
    total = REGISTERS if bound else FREE
    return [Estimate(start, length, wh, fed, method, total) for (start, length), wh, fed in pairs]


def apportion(total: int, weights: Sequence[int]) -> list[int]:
    """`total` (>= 0) in shares by weight (>= 0, not all 0) that sum up to it; the rest goes to the largest remainders,
    of equal ones to the first."""
    whole = sum(weights)
    shares = [total * weight // whole for weight in weights]
    rest = total - sum(shares)
    by_remainder = sorted(range(len(weights)), key=lambda at: (-(total * weights[at] % whole), at))
    for at in by_remainder[:rest]:
        shares[at] += 1
    return shares


def _shape(gap: Gap, basis: Basis) -> tuple[str, list[int], list[int]]:
    """(method, import, export) of each period, before they are bound to a total."""
    slots = gap.slots
    both = gap.before is not None and gap.after is not None
    if both and len(slots) <= SHORT_PERIODS:
        return LINEAR, _line(gap, "import_wh"), _line(gap, "export_wh")
    for method, into, out in ((PROFILE, basis.usual, basis.usual_out), (AREA, basis.area, basis.area_out)):
        if slots and all(start - start % _length(slots) in into for start, _ in slots):
            measured, usual = basis.level if method == PROFILE else (1, 1)
            return method, _by(slots, into, measured, usual), _by(slots, out, 1, 1)
    if gap.before is not None or gap.after is not None:
        return LINEAR, _line(gap, "import_wh"), _line(gap, "export_wh")
    return EVEN, [0] * len(slots), [0] * len(slots)


def _by(slots: Sequence[Slot], usual: Mapping[int, int], measured: int, of: int) -> list[int]:
    """The usual figures, at the level of what was measured; of a period that is not whole its part."""
    if of <= 0 or measured < 0:
        measured, of = 1, 1
    measured = min(measured, MOST_LEVEL * of)
    whole_s = _length(slots)
    return [usual.get(start - start % whole_s, 0) * length * measured // (whole_s * of) for start, length in slots]


def _length(slots: Sequence[Slot]) -> int:
    return max(length for _, length in slots)


def _line(gap: Gap, name: str) -> list[int]:
    """A straight line between the energies of the neighbours; of one alone, its own."""
    known = [getattr(one, name) for one in (gap.before, gap.after) if one is not None]
    first, last = known[0], known[-1]
    steps = len(gap.slots) + 1
    return [(first * (steps - at) + last * at) // steps for at in range(1, steps)]
