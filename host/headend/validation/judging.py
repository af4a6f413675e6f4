"""Judging days of a meter: load what the rules look at, judge, fill gaps, compare with what stands. Reads alone.

A gap is one thing however many days it spans: the days that are judged are extended over it, so that its estimates sum
up to what the registers tell. A judgement follows from what is stored and from the policy alone: the same again finds
the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, bindparam, select

from headend.ledger import zone
from headend.reads import series
from headend.reads.series import Reading
from headend.store import UnknownMeter
from headend.store.prepared import prepared
from headend.store.schema import meter
from headend.store.schema_fleet import meter_life, meter_type
from headend.validation import cases, estimating, policy, verdicts
from headend.validation.basis import basis_of
from headend.validation.day import Day, Gap, Past, chain, gaps
from headend.validation.estimating import Estimate
from headend.validation.policy import Rules
from headend.validation.rules import judge as judge_day
from headend.validation.verdicts import Outcome, Replaced, Verdict
from meterlink import bodies

DAY_S = 86_400
WEEKS = 4  # that a day is compared with
WHOLE_PERCENT = 90  # of its periods a day has to have, to be compared with
REACH_DAYS = 36  # how far a neighbour is looked for
MOST_DAYS = 62  # that are judged at once
_ROUNDS = 3  # of extending days over gaps
_VOLTS, _PHASES = 240, 3

_KNOWN = prepared(
    select(
        meter.c.area,
        meter.c.limits,
        meter.c.interval_minutes,
        meter_life.c.type,
        meter_type.c.limit_w,
    )
    .outerjoin(meter_life, meter_life.c.meter == meter.c.meter)
    .outerjoin(meter_type, meter_type.c.type == meter_life.c.type)
    .where(meter.c.meter == bindparam("of"))
)


def judge(conn: Connection, now_s: int, number: int, first: int, last: int) -> Outcome:
    """Judge local days `first`..`last` of a meter, and what gaps extend them over. Raises UnknownMeter."""
    known = _KNOWN(conn, {"of": number}).one_or_none()
    if known is None:
        raise UnknownMeter(number)
    days = _Days(conn, now_s, number, known, first, last)
    days.extend()
    return days.outcome()


class _Days:
    """Days of one meter while they are judged."""

    def __init__(self, conn: Connection, now_s: int, number: int, known: Any, first: int, last: int) -> None:
        self.conn, self.now_s, self.number, self.known = conn, now_s, number, known
        self.tz: ZoneInfo = zone.of(conn)
        self.rules: Rules = policy.get(conn).of(known.area, known.type or "")
        self.period_s: int = known.interval_minutes * 60
        self.first, self.last = first, last
        self.readings: list[Reading] = []
        self.gaps: list[Gap] = []

    def extend(self) -> None:
        """Load, and where gaps reach beyond the days, load these as well."""
        for _ in range(_ROUNDS):
            self._load()
            closed = [start for gap in self.gaps if gap.after is not None for start, _ in gap.slots]
            first = min([self.first, *[zone.day_of(self.tz, start) for start in closed[:1]]])
            last = max([self.last, *[zone.day_of(self.tz, start) for start in closed[-1:]]])
            if (first, last) == (self.first, self.last) or last - first > MOST_DAYS:
                return
            self.first, self.last = first, last

    @property
    def from_s(self) -> int:
        return zone.start_s(self.tz, self.first)

    @property
    def to_s(self) -> int:
        return zone.start_s(self.tz, self.last + 1)

    def _load(self) -> None:
        from_s, to_s = self.from_s, self.to_s
        found = self._between(from_s - DAY_S, to_s + DAY_S)
        if not found or found[0].start_s >= from_s:
            found = self._between(from_s - REACH_DAYS * DAY_S, from_s - DAY_S)[-1:] + found
        if (not found or found[-1].start_s < to_s) and self.now_s > to_s + DAY_S:
            found += self._between(to_s + DAY_S, to_s + REACH_DAYS * DAY_S)[:1]
        self.readings = chain(found)
        self.gaps = self._gaps(self.readings)

    def _gaps(self, readings: Sequence[Reading]) -> list[Gap]:
        """Those that touch the days; of one that is open, what lies in them."""
        if not readings:
            return []
        from_s, to_s = self.from_s, self.to_s
        tail_s = min(to_s, self.now_s - self.now_s % self.period_s)
        found = []
        for gap in gaps(readings, readings[0].start_s, tail_s, self.period_s):
            if gap.after is None:
                gap = replace(gap, slots=tuple(slot for slot in gap.slots if slot[0] >= from_s))
            inside = any(from_s <= start < to_s for start, _ in gap.slots)
            if inside or (not gap.slots and gap.after is not None and from_s <= gap.after.start_s < to_s):
                found.append(gap)
        return sorted(found, key=lambda gap: gap.slots[0][0] if gap.slots else 0)

    def _between(self, from_s: int, to_s: int) -> list[Reading]:
        return series.between(self.conn, self.number, from_s, to_s)

    # --- the verdicts -------------------------------------------------------------------------------------------------

    def outcome(self) -> Outcome:
        days = {day: self._day(day) for day in range(self.first, self.last + 1)}
        rejected = cases.rejected(self.conn, self.number, self.first, self.last)
        estimates = self._estimates(days, rejected)
        there = verdicts.standing(self.conn, self.number, self.first, self.last)
        found = []
        for number, day in days.items():
            mine = tuple(one for one in estimates if day.within(one.start_s))
            verdict = self._verdict(number, day, mine, there.get(number), rejected)
            if verdict is not None:
                found.append(verdict)
        return Outcome(self.number, found, any(gap.after is None for gap in self.gaps))

    def _day(self, number: int) -> Day:
        start_s, end_s = zone.start_s(self.tz, number), zone.start_s(self.tz, number + 1)
        places = [at for at, one in enumerate(self.readings) if start_s <= one.start_s < end_s]
        before = self.readings[places[0] - 1] if places and places[0] else None
        after = self.readings[places[-1] + 1] if places and places[-1] + 1 < len(self.readings) else None
        return Day(
            start_s=start_s,
            end_s=end_s,
            now_s=self.now_s,
            period_s=self.period_s,
            readings=tuple(self.readings[at] for at in places),
            before=before,
            after=after,
            history=self._history(number),
            most_w=self._most_w(),
            gaps=tuple(gap for gap in self.gaps if _touches(gap, start_s, end_s)),
        )

    def _history(self, number: int) -> tuple[Past, ...]:
        days = [number - 7 * week for week in range(1, WEEKS + 1)]
        doubted = cases.doubted(self.conn, self.number, days[-1], days[0])
        found = []
        for day in days:
            start_s, end_s = zone.start_s(self.tz, day), zone.start_s(self.tz, day + 1)
            readings = () if day in doubted else tuple(self._between(start_s, end_s))
            if len(readings) * self.period_s * 100 >= (end_s - start_s) * WHOLE_PERCENT:
                found.append(Past(start_s, readings))
        return tuple(found)

    def _most_w(self) -> int:
        """What the type of meter is built for; else what its limits trip at; 0 = not known."""
        if self.known.limit_w:
            return int(self.known.limit_w)
        return int(bodies.decode_limits(self.known.limits).max_current_ma * _VOLTS * _PHASES // 1000)

    def _estimates(self, days: Mapping[int, Day], rejected: Mapping[int, bool]) -> list[Estimate]:
        """What stands in, by start: for what is missing, and for what was rejected."""
        kept = [one for one in self.readings if one.start_s not in rejected]
        found = self.gaps if not rejected else self._gaps(kept)
        if not found:
            return []
        basis = basis_of(self.conn, self.number, self.known.area, list(days.values()), found)
        made = []
        for gap in found:
            if any(rejected.get(start, False) for start, _ in gap.slots):
                gap = replace(gap, import_wh=None, export_wh=None)
            made += estimating.estimate(gap, basis)
        return sorted(made)

    def _verdict(
        self, number: int, day: Day, estimates: tuple[Estimate, ...], there: Any, rejected: Mapping[int, bool]
    ) -> Verdict | None:
        """None where it would say what stands already."""
        findings = judge_day(day, self.rules.severities, self.rules.params)
        counted = {one.start_s: one for one in day.readings if one.start_s not in rejected}
        if there is None:
            if not findings and not estimates:
                return None
            return Verdict(number, 0, self.rules.version, day.places, len(counted), findings, estimates, None)
        same = (
            there.findings == verdicts.write_findings(findings)
            and bytes(there.estimates) == verdicts.write_estimates(estimates)
            and (there.expected, there.measured) == (day.places, len(counted))
        )
        if same:
            return None
        replaced = _replaced(there, day, rejected)
        return Verdict(
            number, there.version, self.rules.version, day.places, len(counted), findings, estimates, replaced
        )


def _replaced(there: Any, day: Day, rejected: Mapping[int, bool]) -> Replaced | None:
    """What of the estimates that stood is measured now."""
    measured: dict[int, tuple[int, int]] = {}
    for one in day.readings:
        if one.start_s not in rejected:
            into, out = measured.get(one.start_s, (0, 0))
            measured[one.start_s] = into + one.import_wh, out + one.export_wh
    gone = [one for one in verdicts.read_estimates(there.estimates) if one.start_s in measured]
    if not gone:
        return None
    return Replaced(
        there.version,
        len(gone),
        sum(one.import_wh for one in gone),
        sum(measured[one.start_s][0] for one in gone),
        sum(one.export_wh for one in gone),
        sum(measured[one.start_s][1] for one in gone),
    )


def _touches(gap: Gap, start_s: int, end_s: int) -> bool:
    if not gap.slots:
        return gap.after is not None and start_s <= gap.after.start_s < end_s
    return gap.slots[0][0] < end_s and gap.slots[-1][0] >= start_s
