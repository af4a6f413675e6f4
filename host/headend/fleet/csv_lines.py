"""Lines of CSV, read as they come and written so that a spreadsheet takes nothing in them for a formula.

RFC 4180, UTF-8, a byte order mark in front is passed over. A cell that begins with = + - @ or ' is written with a '
before it, which reading takes away.
"""

import csv
import io
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from headend.fleet.columns import FILES, names
from headend.refusals import Refused

MAX_CELL = 2_000
_QUOTED = ("=", "+", "-", "@", "'")


class Line(NamedTuple):
    """A line by its number in the file (that of the header is 1): cells by column, or what is wrong with its form."""

    number: int
    cells: dict[str, str]
    problem: Refused | None = None


def read(kind: str, text: Iterable[str]) -> Iterator[Line]:
    """The lines behind the header, one after the other. Raises Refused where the header does not fit, or at the line
    that is no CSV."""
    rows = csv.reader(_without_mark(text), strict=True)
    number = 0
    header: list[str] = []
    try:
        for row in rows:
            number = rows.line_num
            if not row:
                continue
            if not header:
                header = _header(kind, row)
                continue
            problem = None
            if len(row) != len(header):
                problem = Refused("cells", len(row), f"{len(header)}, as the header has")
            elif any(len(cell) > MAX_CELL for cell in row):
                problem = Refused("cells", "a longer one", f"at most {MAX_CELL} characters each")
            yield Line(number, dict(zip(header, map(_plain, row), strict=False)), problem)
    except csv.Error as error:
        raise Refused(f"line {number + 1}", "what is no CSV", f"values with commas between them ({error})") from None
    if not header:
        raise Refused("header", "", ",".join(names(kind)))


def write(kind: str, lines: Iterable[dict[str, str]], *, header: bool = True) -> Iterator[str]:
    """The file's text, a line at a time."""
    made = io.StringIO()
    writer = csv.writer(made, lineterminator="\r\n")
    columns = names(kind)
    rows: Iterable[Iterable[str]] = ([_safe(cells.get(name, "")) for name in columns] for cells in lines)
    if header:
        writer.writerow(columns)
        yield made.getvalue()
    for row in rows:
        made.seek(0)
        made.truncate()
        writer.writerow(row)
        yield made.getvalue()


def _header(kind: str, row: list[str]) -> list[str]:
    wanted = [column.name for column in FILES[kind] if column.needed]
    known = names(kind)
    if len(set(row)) != len(row) or set(row) - set(known) or set(wanted) - set(row):
        raise Refused("header", ",".join(row), f"{','.join(known)}; needed are {','.join(wanted)}")
    return row


def _without_mark(text: Iterable[str]) -> Iterator[str]:
    for number, line in enumerate(text):
        yield line.removeprefix("\ufeff") if number == 0 else line


def _safe(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_QUOTED) else cell


def _plain(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(_QUOTED) else cell
