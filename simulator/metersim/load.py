"""What a household draws: watts at a moment, from a standard profile or from a file.

A load is any object with `watts(unix_s) -> int`. Both kinds here repeat (yearly, or over the file's span), so a
simulation may run as long as it likes.
"""

import bisect
import csv
import datetime
import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

QUARTER_S = 900


class Load(Protocol):
    """A source of consumption."""

    def watts(self, unix_s: int) -> int:
        """Power drawn at a UTC second while supply is on; 0 or more."""


class LoadError(ValueError):
    """A load file that cannot be read; the text names line, field, value and expectation."""


class Constant:
    """The same power at all times."""

    def __init__(self, watts: int) -> None:
        self._watts = watts

    def watts(self, unix_s: int) -> int:
        return self._watts


@lru_cache(maxsize=4)
def _bdew_household(year: int) -> tuple[float, ...]:
    """Watts per kWh of yearly consumption, for each quarter-hour of a year (BDEW standard profile H25, 2025
    revision)."""
    import pandas  # heavy, and needed only for this
    from demandlib import bdew

    days = 366 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 365
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # demandlib's own, about pandas to come; the locked pandas is this one
        profile = bdew.H25(pandas.date_range(f"{year}-01-01", periods=days * 96, freq="15min"))
    kwh = float(profile.sum()) / 4
    return tuple(float(value) * 1000 / kwh for value in profile)


class Household:
    """The BDEW household profile (H25) scaled to a yearly consumption, in UTC."""

    def __init__(self, yearly_kwh: int = 3500, year: int = 2026) -> None:
        if not 1 <= yearly_kwh <= 1_000_000:
            raise LoadError(f"yearly_kwh: {yearly_kwh} given, 1..1000000 expected")
        self._watts = [round(yearly_kwh * share) for share in _bdew_household(year)]
        self._start_s = int(datetime.datetime(year, 1, 1, tzinfo=datetime.UTC).timestamp())

    def watts(self, unix_s: int) -> int:
        return self._watts[(unix_s - self._start_s) // QUARTER_S % len(self._watts)]


class CsvLoad:
    """Power read from a CSV file with the header ``timestamp,watts``; each value holds until the next line.

    Timestamps are UTC seconds or ISO 8601 (without offset: UTC) and rise; watts are 0..1 000 000. Before the first and
    after the last line the file repeats. At most 10 000 000 lines.
    """

    MAX_LINES = 10_000_000

    def __init__(self, path: Path) -> None:
        self._starts: list[int] = []
        self._watts: list[int] = []
        self._span_s = 1
        try:
            with path.open(newline="", encoding="utf-8") as file:
                self._read(csv.reader(file), path)
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise LoadError(f"{path}: cannot be read as CSV ({error})") from error

    def _read(self, rows: Any, path: Path) -> None:
        header = next(iter(rows), None)
        if header is None or [cell.strip() for cell in header] != ["timestamp", "watts"]:
            raise LoadError(f"{path} line 1: {header} given, the header 'timestamp,watts' expected")
        for row in rows:
            line = rows.line_num
            if len(row) != 2:
                raise LoadError(f"{path} line {line}: {len(row)} fields given, 2 expected")
            start_s = _timestamp(row[0], path, line)
            if self._starts and start_s <= self._starts[-1]:
                raise LoadError(
                    f"{path} line {line}: timestamp {row[0]!r} given, one after {self._starts[-1]} expected"
                )
            self._starts.append(start_s)
            self._watts.append(_power(row[1], path, line))
            if len(self._starts) > self.MAX_LINES:
                raise LoadError(f"{path}: more than {self.MAX_LINES} lines")
        if not self._starts:
            raise LoadError(f"{path}: no line with a load, at least one expected")
        last_step_s = self._starts[-1] - self._starts[-2] if len(self._starts) > 1 else 1
        self._span_s = self._starts[-1] + last_step_s - self._starts[0]

    def watts(self, unix_s: int) -> int:
        at_s = self._starts[0] + (unix_s - self._starts[0]) % self._span_s
        return self._watts[bisect.bisect_right(self._starts, at_s) - 1]


def _timestamp(text: str, path: Path, line: int) -> int:
    text = text.strip()
    if text.isdigit():
        return int(text)
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise LoadError(f"{path} line {line}: timestamp {text!r} given, seconds or ISO 8601 expected") from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)).timestamp())


def _power(text: str, path: Path, line: int) -> int:
    try:
        watts = round(float(text))
    except (ValueError, OverflowError):
        raise LoadError(f"{path} line {line}: watts {text!r} given, a number expected") from None
    if not 0 <= watts <= 1_000_000:
        raise LoadError(f"{path} line {line}: watts {text!r} given, 0..1000000 expected")
    return watts
