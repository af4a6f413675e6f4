"""Civil days in integers (proleptic Gregorian calendar, ISO 8601), from 1970 on: what a tariff's local days need.

A day is a number of days since 1970-01-01, a month a number of months since the year 0.
"""

DAY_S = 86_400

_STARTS = (0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334)


def _start(year: int, month: int) -> int:
    """The first day of a month."""
    before = year if month > 2 else year - 1  # the last year whose leap day lies before that month
    leaps = before // 4 - before // 100 + before // 400 - 477
    return 365 * (year - 1970) + leaps + _STARTS[month - 1]


def day_of(year: int, month: int, day: int) -> int:
    """The number of a date; month 1..12."""
    return _start(year, month) + day - 1


def date_of(day: int) -> "tuple[int, int, int]":
    """(year, month, day) of a day's number."""
    year, month = 1970 + day // 365, 12  # at most one too late before 3400
    if _start(year, 1) > day:
        year -= 1
    while _start(year, month) > day:
        month -= 1
    return year, month, day - _start(year, month) + 1


def month_of(day: int) -> int:
    """The number of the month that a day lies in."""
    date = date_of(day)
    return date[0] * 12 + date[1] - 1


def weekday_of(day: int) -> int:
    """0 Monday .. 6 Sunday."""
    return (day + 3) % 7


def is_date(year: int, month: int, day: int) -> bool:
    """Whether there is such a day."""
    return 1 <= month <= 12 and 1 <= day <= 31 and date_of(day_of(year, month, day)) == (year, month, day)
