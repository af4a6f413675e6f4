"""The utility's local days, and each meter's own moment in the window of the daily look."""

from zoneinfo import ZoneInfo

from headend.collection.policy import Rule
from headend.ledger import zone

_GOLDEN = 2_654_435_769  # 2^32 / golden ratio: neighbouring numbers fall far apart (Knuth, TAOCP 3, 6.4)


def moment_s(where: ZoneInfo, day: int, meter: int, rule: Rule) -> int:
    """The UTC second of a local day at which the meter is looked at: always the same one for a meter and a rule."""
    return zone.start_s(where, day) + rule.from_minute * 60 + share(meter, rule.spread_minutes * 60)


def share(meter: int, spread_s: int) -> int:
    """A meter's own second, 0..spread_s - 1."""
    return (meter * _GOLDEN & 0xFFFFFFFF) * spread_s >> 32


def next_moment_s(where: ZoneInfo, now_s: int, meter: int, rule: Rule) -> int:
    """The first such moment after now."""
    day = zone.day_of(where, now_s)
    return next(at_s for at_s in (moment_s(where, day + ahead, meter, rule) for ahead in range(-1, 3)) if at_s > now_s)


def deadline_s(where: ZoneInfo, day: int, minute: int) -> int:
    """Until when records of a local day count as read in time: full hours of UTC, as arrivals are kept by these."""
    return (zone.start_s(where, day + 1) + minute * 60) // 3600 * 3600
