"""Small drawings for a terminal: bars, a balance over time, columns that line up in any script."""

import unicodedata
from collections.abc import Sequence

_EIGHTHS = " ▏▎▍▌▋▊▉█"
_LEVELS = " ▁▂▃▄▅▆▇█"


def width(text: str) -> int:
    """Columns that a text takes; a Chinese character takes two."""
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def pad(text: str, columns: int) -> str:
    """Filled with blanks on the right; longer texts stay as they are."""
    return text + " " * max(0, columns - width(text))


def bar(value: int, full: int, columns: int = 10) -> str:
    """`value` as a part of `full`; empty at or below 0, whole from `full` on."""
    eighths = max(0, min(value * columns * 8 // full, columns * 8)) if full > 0 else 0
    whole, rest = divmod(eighths, 8)
    body = "█" * whole + (_EIGHTHS[rest] if rest else "")
    return f"▕{body:<{columns}}▏"


def chart(samples: Sequence[tuple[int, int]], start: int, end: int, columns: int = 76, rows: int = 4) -> list[str]:
    """A value over time as an area, top row first; each column shows the last sample before its end, or nothing.

    samples: (time, value) by rising time; values at or below 0 are blank.
    """
    top = max((value for _, value in samples), default=0)
    eighths = []
    at, value = 0, 0
    for column in range(columns):
        until = start + (end - start) * (column + 1) // columns
        while at < len(samples) and samples[at][0] <= until:
            value = samples[at][1]
            at += 1
        # Something above nothing is seen, however little it is.
        eighths.append(max(1, value * rows * 8 // top) if value > 0 else 0)
    return ["".join(_LEVELS[max(0, min(height - 8 * row, 8))] for height in eighths) for row in range(rows - 1, -1, -1)]


def marks(moments: Sequence[tuple[int, str]], start: int, end: int, columns: int = 76) -> str:
    """Texts at their moments, in one row; one that has no room any more goes as near as it can."""
    row = ""
    for moment, text in sorted(moments):
        column = (moment - start) * columns // (end - start) if end > start else 0
        row = pad(row, max(column, width(row) + 1 if row else 0)) + text
    return row
