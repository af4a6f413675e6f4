"""Validation of readings: what judging a day costs, and how far estimates are from what was measured.

Judging loads a day, its neighbours and the same weekday of four weeks from SQLite (packed days), asks all rules and
looks up what stands; its peer reads the same readings through the same view and does nothing with them. The estimates
stand in for a third of a day, each of its thirds on each day of a year of a measured household; their peer shares what
the registers tell evenly.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from statistics import fmean

from headend.reads import recent, series
from headend.reads.packer import Packer
from headend.reads.series import Reading, decoded
from headend.validation import judging, policy
from headend.validation.basis import basis_of_days
from headend.validation.day import Day, Gap, Past
from headend.validation.estimating import apportion, estimate
from headend.validation.judging import WEEKS
from headend.validation.rules import HOLD, judge
from meterlink.records import RECORD_LENGTH
from openprepay.bench import household
from openprepay.bench.figure import Figure, against, race, timed
from openprepay.bench.scene import LOG_ID, Scene, open_scene

METERS = 20
DAY_S = 86_400
FIRST = 7 * WEEKS  # the first day of the year with a whole history
FEW = range(243, 250)  # some of them after a month in which nobody was at home
PERIOD_S = household.MINUTES * 60
LOST = (range(32), range(32, 64), range(64, 95))  # night, day and evening, one after the other
RUN = 32  # records as they arrive

READ = "the same readings read through the same view"
EVEN = "even shares of what the registers tell"
DAYS = "all days"


def run(seconds: float) -> Iterator[Figure]:
    days = [tuple(decoded(LOG_ID, day)) for day in household.days()]
    chosen = range(FIRST, len(days)) if seconds else FEW
    yield _held(days, chosen)
    yield _apart(days, chosen)
    yield _judged(METERS if seconds else 2, seconds)


def _past(days: Sequence[tuple[Reading, ...]], at: int) -> tuple[Past, ...]:
    return tuple(Past(days[at - 7 * week][0].start_s, days[at - 7 * week]) for week in range(1, WEEKS + 1))


def _day(days: Sequence[tuple[Reading, ...]], at: int) -> Day:
    start_s = days[at][0].start_s
    return Day(
        start_s, start_s + DAY_S, start_s + 2 * DAY_S, PERIOD_S, days[at], days[at - 1][-1], None, _past(days, at)
    )


def _held(days: Sequence[tuple[Reading, ...]], chosen: range) -> Figure:
    """Days of the household that a person would have to look at, by default."""
    rules = policy.Policy().of("")
    judged = [judge(_day(days, at), rules.severities, rules.params) for at in chosen]
    held = sum(any(one.severity == HOLD for one in found) for found in judged)
    return against("judge_held", held, "days of a year", DAYS, len(judged))


def _apart(days: Sequence[tuple[Reading, ...]], chosen: range) -> Figure:
    """How far estimates are from the truth, in the mean of all periods."""
    ours: list[int] = []
    even: list[int] = []
    for at in chosen:
        day = _day(days, at)
        for lost in LOST:
            true = [days[at][place].import_wh for place in lost]
            gap = _gap(days, at, lost)
            made = [one.import_wh for one in estimate(gap, basis_of_days([day]))]
            assert sum(made) == sum(true), "estimates come to what the registers tell"
            ours += [abs(one - other) for one, other in zip(made, true, strict=True)]
            even += [abs(one - other) for one, other in zip(apportion(sum(true), [1] * len(true)), true, strict=True)]
    return against("judge_estimates", fmean(ours), "Wh a period apart", EVEN, fmean(even))


def _gap(days: Sequence[tuple[Reading, ...]], at: int, lost: range) -> Gap:
    """What is not there between what was measured before and behind it."""
    before, *between, after = [one for day in days[at - 1 : at + 2] for one in day][lost[0] + 95 : lost[-1] + 98]
    slots = tuple((one.start_s, PERIOD_S) for one in between)
    return Gap(slots, len(slots), before, after, sum(one.import_wh for one in between), 0)


def _judged(meters: int, seconds: float) -> Figure:
    """Days judged in a second."""
    raw = b"".join(household.days()[: FIRST + 2])
    now_s = household.START_S + (FIRST + 2) * DAY_S
    last = household.START_S // DAY_S + FIRST
    with open_scene(meters) as scene:
        _store(scene, raw, now_s)

        def ours() -> None:
            for number in scene.meters:
                found = scene.store.read(judging.judge, now_s, number, last, last)
                assert not found.open

        def bare() -> None:
            spans = [(last - 1, last + 2), *((last - 7 * week, last - 7 * week + 1) for week in range(1, WEEKS + 1))]
            for number in scene.meters:
                for first, end in spans:
                    assert scene.store.read(series.between, number, first * DAY_S, end * DAY_S)

        ours_s, bare_s = race([timed(ours), timed(bare)], seconds, rounds=2)
    return against("judge_days", meters / ours_s, "days/s", READ, meters / bare_s)


def _store(scene: Scene, raw: bytes, now_s: int) -> None:
    """The records of all meters, as they would have come."""
    places = range(0, len(raw) + 1, RUN * RECORD_LENGTH)
    runs = [(low // RECORD_LENGTH + 1, raw[low:high]) for low, high in pairwise([*places, len(raw)]) if raw[low:high]]
    for number in scene.meters:
        scene.store.write(recent.put, now_s, [(number, LOG_ID, first, body) for first, body in runs]).result()
    packer = Packer(scene.store)
    while packer.run(now_s + 3 * DAY_S):
        pass
