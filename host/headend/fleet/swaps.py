"""Whether two meters stand in each other's place, as a pure judgement of evidence.

For each kind of evidence the score is how much more likely it is if the two were swapped than if they were not, as a
natural logarithm; sums beyond `SURE` are told to a person, who looks on site. No score does anything by itself.

- register: what the fitter read at commissioning against what the meters recorded then.
- use: what each records against what was used at its place before.
- outages: whether a meter lost power with the transformer that it is said to be below.
- balance: whether the sums below two transformers agree better with their own meters when the two change sides.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import log
from statistics import median, pvariance

SURE = 9.0  # once in 8 000 at even odds; few pairs are swapped, so each kind of evidence has a most
MOST = {"register": 9.3, "use": 6.0, "outages": 10.0, "balance": 6.0}
SOME = 2.0  # of a kind that is named as a reason

CLOSE_WH = 3_000  # a fitter reads kilowatt-hours, and some flow until the first record
_MISREAD = log(0.01)  # how likely a register is that is not the one which was read
DAYS = 7  # of consumption, before it says anything
SPREAD = 0.5  # of the logarithm of a household's consumption, from one month to another
LEAST_WH = 50  # a day
SAME_OUTAGE_S = 180
_SEEN, _UNSEEN = log(0.95 / 0.02), log(0.05 / 0.98)  # of an outage at one's own transformer against another's
BALANCE_DAYS = 14
_NOISE = 400.0**2  # variance of a transformer's balance that nothing explains, Wh²


@dataclass(frozen=True)
class Evidence:
    """Of a meter at its place. Times UTC seconds, rising; energy Wh.

    transformer: its path · stated_wh: what the fitter read, None: nothing · shown_wh: what the meter recorded then ·
    before_wh, since_wh: days of consumption at the place before, and of the meter since · lost_s: when it lost power,
    within from_s..to_s, where all of that is known · outages_s: when its transformer did, by the others · daily_wh,
    balance_wh: by day, the meter's consumption, and what the transformer's own meter shows beyond the sum of those
    below.
    """

    meter: int
    transformer: str
    stated_wh: int | None = None
    shown_wh: int | None = None
    before_wh: Sequence[int] = ()
    since_wh: Sequence[int] = ()
    lost_s: Sequence[int] = ()
    outages_s: Sequence[int] = ()
    from_s: int = 0
    to_s: int = 0
    daily_wh: Mapping[int, int] = field(default_factory=dict)
    balance_wh: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Score:
    """How much speaks for a swap, by kind of evidence."""

    parts: dict[str, float] = field(default_factory=dict)

    @property
    def total(self) -> float:
        return sum(self.parts.values())

    @property
    def swapped(self) -> bool:
        return self.total >= SURE

    @property
    def reasons(self) -> list[str]:
        """The kinds that speak for it, the strongest first."""
        return sorted((kind for kind, value in self.parts.items() if value >= SOME), key=lambda kind: -self.parts[kind])


def score(one: Evidence, other: Evidence) -> Score:
    """Judge a pair; the same whichever comes first."""
    parts = {"register": _register(one, other), "use": _use(one, other)}
    if one.transformer != other.transformer:
        parts |= {"outages": _outages(one, other), "balance": _balance(one, other)}
    return Score({kind: max(-MOST[kind], min(MOST[kind], value)) for kind, value in parts.items()})


def _register(one: Evidence, other: Evidence) -> float:
    if None in (one.stated_wh, one.shown_wh, other.stated_wh, other.shown_wh):
        return 0.0
    crossed = _read_as(one.stated_wh, other.shown_wh) + _read_as(other.stated_wh, one.shown_wh)
    return crossed - _read_as(one.stated_wh, one.shown_wh) - _read_as(other.stated_wh, other.shown_wh)


def _read_as(stated_wh: int | None, shown_wh: int | None) -> float:
    assert stated_wh is not None and shown_wh is not None
    return 0.0 if abs(stated_wh - shown_wh) <= CLOSE_WH else _MISREAD


def _use(one: Evidence, other: Evidence) -> float:
    days = one.before_wh, one.since_wh, other.before_wh, other.since_wh
    if min(map(len, days)) < DAYS:
        return 0.0
    before, since, others_before, others_since = (log(max(LEAST_WH, median(some))) for some in days)
    own = abs(since - before) + abs(others_since - others_before)
    crossed = abs(since - others_before) + abs(others_since - before)
    return (own - crossed) / SPREAD


def _outages(one: Evidence, other: Evidence) -> float:
    from_s, to_s = max(one.from_s, other.from_s), min(one.to_s, other.to_s)
    found = 0.0
    for here, there in ((one, other), (other, one)):
        for at_s in here.outages_s:
            if from_s <= at_s <= to_s and not _near(there.outages_s, at_s):
                found += _lost(there, at_s) - _lost(here, at_s)
    return found


def _lost(of: Evidence, at_s: int) -> float:
    return _SEEN if _near(of.lost_s, at_s) else _UNSEEN


def _near(times_s: Sequence[int], at_s: int) -> bool:
    first = bisect_left(times_s, at_s - SAME_OUTAGE_S)
    return first < len(times_s) and times_s[first] <= at_s + SAME_OUTAGE_S


def _balance(one: Evidence, other: Evidence) -> float:
    days = sorted(one.daily_wh.keys() & one.balance_wh.keys() & other.daily_wh.keys() & other.balance_wh.keys())
    if len(days) < BALANCE_DAYS:
        return 0.0
    here, there = [one.balance_wh[day] for day in days], [other.balance_wh[day] for day in days]
    more = [one.daily_wh[day] - other.daily_wh[day] for day in days]
    crossed_here = [left + change for left, change in zip(here, more, strict=True)]
    crossed_there = [left - change for left, change in zip(there, more, strict=True)]
    return len(days) / 2 * (_spread(here) + _spread(there) - _spread(crossed_here) - _spread(crossed_there))


def _spread(balance_wh: Sequence[int]) -> float:
    return log(pvariance(balance_wh) + _NOISE)
