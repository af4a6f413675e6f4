"""Meters to provision, from a CSV file: one line a meter, judged by itself.

The file is UTF-8, with or without a byte order mark, its cells are separated by commas, semicolons or tabs, and its
first line names the columns (`COLUMNS`); an empty cell says nothing. A cell that a spreadsheet would take for a formula
is refused, and none is ever written.
"""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from headend.refusals import Refused
from meterlink.orders import MAX_METER

MAX_BYTES = 16_000_000
_SEPARATORS = ",;\t"
_FORMULA = ("=", "+", "-", "@", "\t", "\r")

TEXT = None
# Column -> the range of its number, or TEXT.
COLUMNS: dict[str, tuple[int, int] | None] = {
    "meter": (1, MAX_METER),
    "carrier": TEXT,
    "address": TEXT,
    "label": TEXT,
    "account_epoch": (1, 0xFFFF),
    "interval_minutes": (1, 60),
    "imp_per_kwh": (1, 1_000_000),
    "pan": TEXT,
    "supply_group": (0, 999_999),
    "key_type": (0, 3),
    "tariff_index": (0, 99),
    "key_revision": (1, 9),
    "key_expiry": (0, 255),
    "base_date": (1993, 2035),
}
OF_FLEET = ("carrier", "address", "label", "account_epoch", "interval_minutes")
OF_DECODER = ("pan", "supply_group", "key_type", "tariff_index", "key_revision", "key_expiry", "base_date")


@dataclass(frozen=True)
class Wanted:
    """A line that can be read: its number in the file, the meter, and what its other cells say, by column."""

    line: int
    meter: int
    given: dict[str, int | str]


@dataclass(frozen=True)
class BadLine:
    """A line that is not carried out: its number, its meter as far as it was read, and why."""

    line: int
    meter: str
    field: str
    value: str
    expected: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.field}: {self.value} given, {self.expected} expected"


def bad(line: int, meter: object, refused: Refused) -> BadLine:
    """A refusal, with the line that it is about."""
    return BadLine(line, str(meter), refused.field, refused.value, refused.expected)


def read(path: Path) -> list[Wanted | BadLine]:
    """All lines of a file. Raises Refused where it cannot be such a file at all: then nothing of it is known."""
    return list(_lines(_text(path)))


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise Refused("file", str(path), f"a file that can be read ({error.strerror})") from error
    if len(raw) > MAX_BYTES:
        raise Refused("file", str(path), f"at most {MAX_BYTES} bytes")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise Refused("encoding", f"byte {raw[error.start]:#04x} in line {line}", "UTF-8") from error
    if "\0" in text:
        raise Refused("encoding", "a NUL character", "UTF-8 text")
    return text


def _lines(text: str) -> Iterator[Wanted | BadLine]:
    first = text.split("\n", 1)[0]
    separator = max(_SEPARATORS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        header = [name.strip().lower() for name in next(reader, [])]
    except csv.Error as error:
        raise Refused("header", first, f"names of columns ({error})") from error
    unknown = [name for name in header if name not in COLUMNS]
    if unknown or "meter" not in header or len(set(header)) != len(header):
        wrong = ", ".join(unknown) or ", ".join(header) or "nothing"
        raise Refused("header", wrong, f"meter, and of the others each once: {', '.join(COLUMNS)}")
    seen: dict[int, int] = {}
    while True:
        at = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:  # the rest cannot be told apart any more
            yield BadLine(at, "", "line", "text", f"quoted cells that end ({error})")
            return
        if cells is None:
            return
        if not any(cell.strip() for cell in cells):
            continue
        one = _line(at, header, cells)
        if isinstance(one, Wanted) and one.meter in seen:
            words = f"each meter once (line {seen[one.meter]} has it too)"
            one = BadLine(at, str(one.meter), "meter", str(one.meter), words)
        elif isinstance(one, Wanted):
            seen[one.meter] = at
        yield one


def _line(at: int, header: list[str], cells: list[str]) -> Wanted | BadLine:
    number = cells[header.index("meter")].strip() if len(cells) == len(header) else ""
    try:
        if len(cells) != len(header):
            raise Refused("cells", len(cells), f"{len(header)}, as in the first line")
        given = {name: _cell(name, cell) for name, cell in zip(header, cells, strict=True) if cell.strip()}
        if "meter" not in given:
            raise Refused("meter", "", f"1..{MAX_METER}")
    except Refused as refused:
        return bad(at, number, refused)
    return Wanted(at, int(given.pop("meter")), given)


def _cell(name: str, cell: str) -> int | str:
    if cell.startswith(_FORMULA) or cell.strip().startswith(_FORMULA):
        raise Refused(name, cell, "a cell that no spreadsheet takes for a formula (= + - @ at its beginning)")
    text = cell.strip()
    if not text.isprintable():
        raise Refused(name, text, "printable characters")
    span = COLUMNS[name]
    if span is None:
        return text
    low, high = span
    if not (text.isascii() and text.isdigit() and len(text) <= 15 and low <= int(text) <= high):
        raise Refused(name, text, f"{low}..{high}, in digits alone")
    return int(text)
