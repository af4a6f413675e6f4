"""The calendar's rules: when nobody is stopped, in the utility's own time. Pure.

A rule forbids where area, reason, local date, weekday and quarter of an hour all fit. So one form says nights and
weekends, holidays with a name, and the weeks of heat or frost. The day of a rule is the local day on which its hours
lie: a night over midnight is two rules.
"""

from datetime import date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import msgspec

from headend.access import areas
from headend.refusals import Refused
from headend.registry.kinds import ALL_BUT_SAFETY
from meterlink.reasons import HOLD_ARREARS

QUARTER_S = 900
QUARTERS = 96  # of a day
HORIZON_S = 400 * 86_400  # beyond it, a calendar that always forbids forbids for good
MAX_RULES = 100
MAX_NAME = 80


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When nobody below `area` is stopped for one of `reasons`; all parts must fit.

    name_*: for people, 1..80 characters · area: a path, empty: everywhere · reasons: holds 1 (arrears) to 6, never
    safety · weekdays: 1 (Monday) to 7 · from_quarter 0..95, until_quarter 1..96: quarters of an hour of the local day,
    the last one not in it · first_day, last_day: local days; None: from ever, for ever.
    """

    name_en: str
    name_zh: str
    area: str = ""
    reasons: tuple[int, ...] = (HOLD_ARREARS,)
    weekdays: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 7)
    from_quarter: int = 0
    until_quarter: int = QUARTERS
    first_day: date | None = None
    last_day: date | None = None

    def check(self) -> None:
        """Raise Refused for parts that do not fit, alone or together."""
        for field, name in (("name.en", self.name_en), ("name.zh", self.name_zh)):
            if not 1 <= len(name) <= MAX_NAME or not name.isprintable():
                raise Refused(field, name, f"1..{MAX_NAME} printable characters")
        areas.check(self.area)
        if not self.reasons or not set(self.reasons) <= ALL_BUT_SAFETY:
            raise Refused("reasons", self.reasons, "holds other than safety")
        if not self.weekdays or not set(self.weekdays) <= set(range(1, 8)):
            raise Refused("weekdays", self.weekdays, "1 (Monday) to 7 (Sunday)")
        if not 0 <= self.from_quarter < self.until_quarter <= QUARTERS:
            raise Refused("until_quarter", self.until_quarter, f"{self.from_quarter + 1}..{QUARTERS}")
        if self.first_day and self.last_day and self.last_day < self.first_day:
            raise Refused("last_day", str(self.last_day), f"{self.first_day} or later")

    def covers(self, at: datetime, area: str, reason: int) -> bool:
        """Whether it forbids at this local time."""
        day, quarter = at.date(), (at.hour * 60 + at.minute) // 15
        return (
            reason in self.reasons
            and areas.covers(self.area, area)
            and (self.first_day is None or self.first_day <= day)
            and (self.last_day is None or day <= self.last_day)
            and day.isoweekday() in self.weekdays
            and self.from_quarter <= quarter < self.until_quarter
        )


class Rules(msgspec.Struct, frozen=True):
    """All rules of one version of the calendar."""

    rules: tuple[Rule, ...]

    def barred(self, tz: ZoneInfo, now_s: int, area: str, reason: int) -> tuple[Rule, int] | None:
        """The rule that forbids now, and when a stop is allowed again; None where none does."""
        first = self._covering(tz, now_s, area, reason)
        if first is None:
            return None
        next_s, rule = now_s, first
        while next_s < now_s + HORIZON_S:
            next_s = _over_s(rule, tz, next_s)
            found = self._covering(tz, next_s, area, reason)
            if found is None:
                break
            rule = found
        return first, next_s

    def _covering(self, tz: ZoneInfo, at_s: int, area: str, reason: int) -> Rule | None:
        at = datetime.fromtimestamp(at_s, tz)
        return next((rule for rule in self.rules if rule.covers(at, area, reason)), None)


def _over_s(rule: Rule, tz: ZoneInfo, at_s: int) -> int:
    """When the hours of a rule that covers `at_s` are over that day."""
    at = datetime.fromtimestamp(at_s, tz)
    hours, quarters = divmod(rule.until_quarter, 4)
    day = at.date() + timedelta(days=hours // 24)
    over = datetime.combine(day, time(hours % 24, quarters * 15), tz).replace(fold=at.fold)
    over_s = int(over.timestamp())
    # An hour that the clocks repeat may have its end behind it already: go on by quarters there.
    return over_s if over_s > at_s else (at_s // QUARTER_S + 1) * QUARTER_S


@lru_cache(maxsize=64)
def decode(text: str) -> Rules:
    """Rules as the database keeps them."""
    return Rules(msgspec.json.decode(text, type=tuple[Rule, ...]))


def encode(given: tuple[Rule, ...]) -> str:
    """Check rules and write them for the database; raises Refused."""
    if len(given) > MAX_RULES:
        raise Refused("rules", len(given), f"at most {MAX_RULES}")
    for rule in given:
        rule.check()
    return msgspec.json.encode(given).decode()


@lru_cache(maxsize=16)
def zone(name: str) -> ZoneInfo:
    """A time zone of the tz database; raises Refused."""
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError) as error:
        raise Refused("time_zone", name, "a name of the tz database, such as Asia/Shanghai") from error
