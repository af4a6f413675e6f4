"""A bill by pencil: exact fractions, `datetime`, `zoneinfo`; it shares no line with the engine that it judges."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from zoneinfo import ZoneInfo

QUARTER = timedelta(minutes=15)


@dataclass
class Book:
    """A tariff as a person would write it down. prices: a list for each step, by rate · days: by name, the rate of
    each of the 96 quarters · week: (season's first day as MM-DD, names of Monday .. Sunday) · charges: per day, month.
    """

    zone: str
    prices: list[list[int]]
    export_prices: list[int]
    steps_wh: list[int]
    yearly: bool
    days: dict[str, list[int]]
    week: list[tuple[str, list[str]]]
    holidays: dict[date, str]
    per_day_uc: int = 0
    per_month_uc: int = 0
    used_wh: dict[object, int] = field(default_factory=lambda: defaultdict(int))

    def quarter_of(self, local: datetime) -> int:
        return local.hour * 4 + local.minute // 15

    def rate(self, local: datetime) -> int:
        name = self.holidays.get(local.date())
        if name is None:
            begun = [names for first, names in self.week if first <= f"{local:%m-%d}"]
            name = (begun or [self.week[-1][1]])[-1][local.weekday()]
        return self.days[name][self.quarter_of(local)]

    def energy(self, local: datetime, import_wh: int) -> Fraction:
        """What energy of one quarter of an hour costs: each step's share of it at that step's price."""
        period = local.year if self.yearly else (local.year, local.month)
        before, rate = self.used_wh[period], self.rate(local)
        self.used_wh[period] = after = before + import_wh
        edges = [0, *self.steps_wh, max(after, *self.steps_wh, 0) + 1]
        total = Fraction(0)
        for low, high, prices in zip(edges, edges[1:], self.prices, strict=False):
            share = max(0, min(after, high) - max(before, low))
            total += Fraction(share, 1000) * prices[rate]
        return total


def bill(book: Book, start: datetime, quarters: Iterable[tuple[int, int]]) -> tuple[Fraction, Fraction]:
    """(charged, earned) for the import and export of each quarter of an hour from `start` (UTC) on."""
    zone = ZoneInfo(book.zone)
    charged = earned = Fraction(0)
    at = start
    seen = {at.astimezone(zone).date()}
    for import_wh, export_wh in quarters:
        local = at.astimezone(zone)
        if local.date() not in seen:
            seen.add(local.date())
            charged += book.per_day_uc + (book.per_month_uc if local.day == 1 else 0)
        charged += book.energy(local, import_wh)
        if book.export_prices:
            earned += Fraction(export_wh * book.export_prices[book.rate(local)], 1000)
        at += QUARTER
    return charged, earned


def offsets(zone: str, years: range) -> list[tuple[int, int]]:
    """(UTC second, offset in quarters of an hour) of each change of a zone's offset, found by looking every quarter."""
    found = []
    at, end = datetime(years[0], 1, 1, tzinfo=UTC), datetime(years[-1] + 1, 1, 1, tzinfo=UTC)
    before = None
    while at < end:
        offset = at.astimezone(ZoneInfo(zone)).utcoffset()
        assert offset is not None
        if offset != before:
            found.append((int(at.timestamp()), int(offset.total_seconds()) // 900))
            before = offset
        at += QUARTER
    return found
