"""Rules of presence and time: what is missing, there twice, or at a time that cannot be."""

from collections import Counter

from headend.reads.series import Reading
from headend.validation.day import Day, Gap
from headend.validation.rules.kinds import Found, Values
from meterlink.records import FLAG_CLOCK_CHANGED, FLAG_CLOCK_UNKNOWN

_CLOCK = FLAG_CLOCK_UNKNOWN | FLAG_CLOCK_CHANGED


def missing(day: Day, _: Values) -> Found | None:
    """Records exist, or should, and have not come."""
    starts = _of_gaps(day, [gap for gap in day.gaps if not gap.made_none])
    return Found(starts, len(starts), day.places) if starts else None


def estimated(day: Day, params: Values) -> Found | None:
    """Much of the day lies in gaps that later readings have closed: what is billed would be an estimate."""
    starts = _of_gaps(day, [gap for gap in day.gaps if not gap.made_none and gap.after is not None])
    least = day.places * params["percent"]
    return Found(starts, len(starts), day.places) if starts and len(starts) * 100 >= least else None


def outage(day: Day, _: Values) -> Found | None:
    """No record was made: the meter was without power, or its clock was moved over that time."""
    starts = _of_gaps(day, [gap for gap in day.gaps if gap.made_none])
    return Found(starts, len(starts), 0) if starts else None


def duplicate(day: Day, _: Values) -> Found | None:
    """Two records name the same period, and no clock was moved."""
    sure = [one for one in day.readings if not one.flags & _CLOCK]
    twice = sorted(start for start, number in Counter(one.start_s for one in sure).items() if number > 1)
    return Found(tuple(twice), len(twice), 0) if twice else None


def clock_unknown(day: Day, _: Values) -> Found | None:
    """The meter did not know the time."""
    return _flagged(day.readings, FLAG_CLOCK_UNKNOWN)


def clock_set(day: Day, _: Values) -> Found | None:
    """The clock was set within a period."""
    return _flagged(day.readings, FLAG_CLOCK_CHANGED)


def future(day: Day, params: Values) -> Found | None:
    """The period had not ended when it was judged."""
    latest_s = day.now_s + params["ahead_s"]
    late = [one for one in day.readings if one.start_s + one.minutes * 60 > latest_s]
    if not late:
        return None
    ahead_s = max(one.start_s + one.minutes * 60 for one in late) - day.now_s
    return Found(_starts(late), ahead_s, params["ahead_s"])


def backward(day: Day, _: Values) -> Found | None:
    """A later record names an earlier period, and the meter does not say that its clock was moved."""
    back = [b for a, b in day.steps() if b.start_s <= a.start_s and not (a.flags | b.flags) & _CLOCK]
    return Found(_starts(back), len(back), 0) if back else None


def _flagged(readings: tuple[Reading, ...], flag: int) -> Found | None:
    found = [one for one in readings if one.flags & flag]
    return Found(_starts(found), len(found), 0) if found else None


def _starts(readings: list[Reading]) -> tuple[int, ...]:
    return tuple(sorted({one.start_s for one in readings}))


def _of_gaps(day: Day, gaps: list[Gap]) -> tuple[int, ...]:
    return tuple(sorted({start for gap in gaps for start, _ in gap.slots if day.within(start)}))
