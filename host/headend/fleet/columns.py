"""What stands in each file of the fleet, as a table: the reader, the writer and the documents all take it from here."""

from collections.abc import Mapping
from typing import NamedTuple


class Column(NamedTuple):
    """A column. `needed`: no line goes without it; else an empty cell says nothing."""

    name: str
    what: str
    needed: bool = False


GRID = "grid"
TYPES = "types"
POINTS = "points"
METERS = "meters"

# File -> its columns, the first one the key. Each file names what stands in those before it.
FILES: Mapping[str, tuple[Column, ...]] = {
    GRID: (
        Column("path", "codes from the substation on, `/` between them; a line stands behind its parent's", True),
        Column("kind", "`substation`, `feeder` or `transformer`", True),
        Column("title_en", "name in English"),
        Column("title_zh", "name in Chinese"),
    ),
    TYPES: (
        Column("type", "1..40 of a-z 0-9 . _ -, a letter first", True),
        Column("title_en", "name in English", True),
        Column("title_zh", "name in Chinese", True),
        Column("carriers", "`mqtt`, `modbus`, or both with a space between them", True),
        Column("phases", "`1` or `3`", True),
        Column("relay", "`1`: it can disconnect; `0`", True),
        Column("limit_w", "the most power that it is built for, W", True),
        Column("intervals", "minutes that an interval may have, spaces between them", True),
        Column("tariff", "what it understands: `steps` `rates` `time_charges` `export` `remote` `typed`"),
        Column("firmware", "the board that its images are for, such as `esp32s3`", True),
    ),
    POINTS: (
        Column("supply_point", "code, 1..40 of A-Z 0-9 -; no address: that is kept of the person", True),
        Column("transformer", "path of its transformer", True),
        Column("phases", "`1` (this where empty) or `3`"),
        Column("limit_w", "contracted power, W; `0` (this where empty): none"),
        Column("households", "behind it; `1` where empty"),
    ),
    METERS: (
        Column("meter", "number as printed on it", True),
        Column("carrier", "`mqtt` or `modbus`", True),
        Column("address", "Modbus: where it is reached"),
        Column("interval_minutes", "a divisor of 60; `15` where empty"),
        Column("account_epoch", "the account that it serves; `1` where empty"),
        Column("tag_key_version", "version of its per-meter key; that of a new meter here where empty"),
        Column("label", "words for people; no personal data"),
        Column("type", "meter type"),
        Column("serial", "the maker's serial number"),
        Column("state", "`in_stock`, `commissioned`, `removed`, `retired`; where empty, by whether a place is given"),
        Column("supply_point", "where it stands"),
        Column("node", "path of the node whose flow it measures, instead of a supply point"),
        Column("since", "when it came there, such as 2026-01-31T23:59:00Z; now where empty"),
        Column("start_import_wh", "import register that was read then, Wh"),
        Column("start_export_wh", "export register that was read then, Wh"),
        Column("area", "where it stands, of a meter without a place in the grid"),
        Column("tariff", "the tariff that it was made with, hexadecimal; the one given with the import where empty"),
        Column("limits", "its limits likewise"),
    ),
}


def names(kind: str) -> tuple[str, ...]:
    """The columns of a file."""
    return tuple(column.name for column in FILES[kind])


def markdown() -> str:
    """All files for people."""
    lines = []
    for kind, columns in FILES.items():
        lines += [f"### `{kind}`", "", "| column | needed | what |", "|---|---|---|"]
        lines += [f"| `{one.name}` | {'yes' if one.needed else ''} | {one.what} |" for one in columns]
        lines.append("")
    return "\n".join(lines)
