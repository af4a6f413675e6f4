"""Writes the generated parts of docs/fleet.md from the tables of the fleet: ``gen_fleet.py [--check]``."""

import sys
from pathlib import Path

from gen_protocol import fill, table
from headend.fleet import columns, grid, lifecycle, swaps, types, words

PAGE = Path(__file__).resolve().parent.parent / "docs" / "fleet.md"


def kinds() -> str:
    """What the grid is made of."""
    rows: list[tuple[object, ...]] = [
        (f"`{kind}`", words.KINDS[kind][1], f"`{above}`" if above else "nothing") for kind, above in grid.PARENT.items()
    ]
    return table(("kind", "中文", "stands below"), rows)


def features() -> str:
    """What of a tariff and of tokens a type may understand."""
    return table(("feature", "", "中文"), [(f"`{name}`", *text) for name, text in types.FEATURES.items()])


def evidence() -> str:
    """What a swap is told by."""
    rows: list[tuple[object, ...]] = [
        (f"`{kind}`", *words.REASONS[kind], f"{most:g}") for kind, most in swaps.MOST.items()
    ]
    return table(("evidence", "", "中文", "counts at most"), rows)


PARTS = {
    "kinds": kinds,
    "life": lifecycle.markdown,
    "features": features,
    "files": columns.markdown,
    "evidence": evidence,
}


if __name__ == "__main__":
    sys.exit(fill(PAGE, PARTS, sys.argv[1:]))
