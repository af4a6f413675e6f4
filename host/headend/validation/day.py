"""A meter's day as the rules see it: readings in the order in which they were made, and the gaps between them. Pure.

Periods begin at multiples of their length in UTC, and the sequence numbers of a log have no holes. So what lies between
two readings is told apart: with numbers missing, records exist and have not come; without, none was made, since the
meter had no power or its clock was moved over that time.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

from headend.reads.series import Reading
from meterlink.records import DELTA_LARGE, FLAG_CLOCK_CHANGED, FLAG_CLOCK_UNKNOWN, FLAG_SUPPLY_OFF

REGISTER = 1 << 32
_CLOCK_MOVED = FLAG_CLOCK_CHANGED | FLAG_CLOCK_UNKNOWN

Slot = tuple[int, int]  # start_s and length_s of a period that has no reading


@dataclass(frozen=True)
class Gap:
    """Time without a reading, or numbers without a record.

    `slots`: its periods, none where the clock went back · `missing`: records that exist and are not here; None: not
    known (another log, or nothing came since) · `before`, `after`: its neighbours; one is None at an open end ·
    `import_wh`, `export_wh`: what flowed meanwhile by the registers; None where they do not tell.
    """

    slots: tuple[Slot, ...]
    missing: int | None
    before: Reading | None
    after: Reading | None
    import_wh: int | None = None
    export_wh: int | None = None

    @property
    def made_none(self) -> bool:
        """Whether no record was made in this time."""
        return self.missing == 0

    @property
    def clock_moved(self) -> bool:
        """Whether the clock was moved over it."""
        return any(one is not None and one.flags & _CLOCK_MOVED for one in (self.before, self.after))


class Past(NamedTuple):
    """A day of the weeks before: when it began, and its readings."""

    start_s: int
    readings: tuple[Reading, ...]

    @property
    def import_wh(self) -> int:
        return sum(one.import_wh for one in self.readings)


@dataclass(frozen=True)
class Day:
    """What is judged. Readings are in the order of `chain`.

    `start_s`, `end_s`: the day, UTC; the latter is not in it · `period_s`: of the meter's records · `readings`: those
    that begin in the day · `before`, `after`: the neighbours of the first and the last, where they are known ·
    `history`: the same weekday in the weeks before, those days that nobody doubted · `most_w`: what the connection
    carries, 0 = not known · `gaps`: those that touch the day.
    """

    start_s: int
    end_s: int
    now_s: int
    period_s: int
    readings: tuple[Reading, ...]
    before: Reading | None = None
    after: Reading | None = None
    history: tuple[Past, ...] = ()
    most_w: int = 0
    gaps: tuple[Gap, ...] = ()

    def steps(self) -> Iterator[tuple[Reading, Reading]]:
        """Neighbours whose second one is in the day, of the same log."""
        known = [*([self.before] if self.before else []), *self.readings]
        return ((one, other) for one, other in pairwise(known) if one.log_id == other.log_id)

    def within(self, start_s: int) -> bool:
        return self.start_s <= start_s < self.end_s

    def place(self, start_s: int) -> int:
        """Which period of the day this is, from 0."""
        return (start_s - self.start_s) // self.period_s

    @property
    def places(self) -> int:
        return -(-(self.end_s - self.start_s) // self.period_s)

    @cached_property
    def import_wh(self) -> int:
        return sum(one.import_wh for one in self.readings)

    @cached_property
    def usual_wh(self) -> int:
        """What the days before came to, in the mean; 0 where there are none."""
        return sum(past.import_wh for past in self.history) // max(len(self.history), 1)

    @cached_property
    def was_off(self) -> bool:
        """Whether supply was off at some time."""
        return any(one.flags & FLAG_SUPPLY_OFF for one in self.readings)


def chain(readings: Sequence[Reading]) -> list[Reading]:
    """Readings in the order in which the meter made them: log by log, as the logs began."""
    begun: dict[int, int] = {}
    for one in readings:
        begun[one.log_id] = min(one.start_s, begun.get(one.log_id, one.start_s))
    return sorted(readings, key=lambda one: (begun[one.log_id], one.log_id, one.seq))


def grown(before_wh: int, after_wh: int) -> int:
    """By how much a register has grown, modulo 2^32; negative where it went back."""
    difference = (after_wh - before_wh) % REGISTER
    return difference - REGISTER if difference >= REGISTER // 2 else difference


def gaps(readings: Sequence[Reading], from_s: int, to_s: int, period_s: int) -> list[Gap]:
    """What is missing between readings (in the order of `chain`), and between them and `from_s`, `to_s`."""
    if not readings:
        slots = _slots(from_s, to_s, period_s)
        return [Gap(slots, None, None, None)] if slots else []
    found = []
    first, last = readings[0], readings[-1]
    head = _slots(from_s, first.start_s, period_s)
    if head:
        found.append(Gap(head, None, None, first))
    for one, other in pairwise(readings):
        slots = _slots(end_s(one), other.start_s, period_s)
        if one.log_id != other.log_id:
            if slots:
                found.append(Gap(slots, None, one, other))
        elif slots or other.seq != one.seq + 1:
            found.append(_between(slots, one, other))
    tail = _slots(end_s(last), to_s, period_s)
    if tail:
        found.append(Gap(tail, None, last, None))
    return found


def end_s(reading: Reading) -> int:
    """The first second after its period."""
    return reading.start_s + reading.minutes * 60


def _between(slots: tuple[Slot, ...], one: Reading, other: Reading) -> Gap:
    into = grown(one.import_reg_wh, other.import_reg_wh) - other.import_wh
    out = grown(one.export_reg_wh, other.export_reg_wh) - other.export_wh
    saturated = DELTA_LARGE in (other.import_wh, other.export_wh)
    sure = into >= 0 and out >= 0 and not saturated
    return Gap(slots, other.seq - one.seq - 1, one, other, into if sure else None, out if sure else None)


def _slots(from_s: int, to_s: int, period_s: int) -> tuple[Slot, ...]:
    found = []
    while from_s < to_s:
        next_s = min(from_s - from_s % period_s + period_s, to_s)
        found.append((from_s, next_s - from_s))
        from_s = next_s
    return tuple(found)
