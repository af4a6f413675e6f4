"""Writes the generated tables of docs/panel.md from the firmware's own: ``gen_panel.py [--check]``.

A generated part stands between ``<!-- generated: NAME -->`` and ``<!-- end -->``. With --check nothing is written; exit
code 1 tells that the page is not what the sources say.
"""

import re
import sys
from pathlib import Path

from gen_protocol import table
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


_PART = re.compile(r"(<!-- generated: (?P<name>[a-z]+) -->\n).*?(<!-- end -->)", re.DOTALL)
PARTS = {"items": items, "reasons": reasons, "answers": answers}


def main(argv: list[str]) -> int:
    """0 when the page is up to date, or was written."""
    text = PAGE.read_text(encoding="utf-8")
    found = [match["name"] for match in _PART.finditer(text)]
    if found != list(PARTS):
        print(f"{PAGE.name}: generated parts {found} found, {list(PARTS)} expected", file=sys.stderr)
        return 1
    made = _PART.sub(lambda match: f"{match[1]}\n{PARTS[match['name']]()}\n{match[3]}", text)
    if text == made:
        return 0
    if "--check" in argv:
        print(f"{PAGE.name} is not what the sources say; run: python tools/gen_panel.py", file=sys.stderr)
        return 1
    PAGE.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
