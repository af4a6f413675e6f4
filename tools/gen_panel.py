"""Writes the generated tables of docs/panel.md from the firmware's own: ``gen_panel.py [--check]``.

A generated part stands between ``<!-- generated: NAME -->`` and ``<!-- end -->``. With --check nothing is written; exit
code 1 tells that the page is not what the sources say.
"""

import sys
from pathlib import Path

from gen_protocol import fill, table
from meter.panel import ANSWER
from meter.panel_items import ITEMS, REASON
from meterlink import names
from meterlink.labels import LABEL
from metersim import panel_text

PAGE = Path(__file__).resolve().parent.parent / "docs" / "panel.md"


def items() -> str:
    """Every item."""
    rows: list[tuple[object, ...]] = [
        (f"{code:02d}", f"`{label}`", *panel_text.item(code), f"`{identifier:08X}`" if identifier else "")
        for code, identifier, label, _, _ in ITEMS
    ]
    return table(("code", "label", "what it shows", "中文", "DL/T 645"), rows)


def reasons() -> str:
    """Every reason for being off."""
    rows: list[tuple[object, ...]] = [
        (f"OFF-{number:02d}", f"`OFF {word}`", *panel_text.reason(number)) for number, word in sorted(REASON.items())
    ]
    return table(("code", "display", "why", "中文"), rows)


def answers() -> str:
    """Every answer to a token."""
    rows: list[tuple[object, ...]] = []
    for code, word in sorted(ANSWER.items()):
        rows.append((f"T{code:02d}", f"`{word}`", *LABEL["typed"][names.TYPED[code]]))
    return table(("code", "display", "meaning", "中文"), rows)


PARTS = {"items": items, "reasons": reasons, "answers": answers}


if __name__ == "__main__":
    sys.exit(fill(PAGE, PARTS, sys.argv[1:]))
