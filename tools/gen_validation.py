"""Writes the generated parts of docs/validation.md from the table of rules: ``gen_validation.py [--check]``.

A generated part stands between ``<!-- generated: NAME -->`` and ``<!-- end -->``. With --check nothing is written; exit
code 1 tells that the page is not what the sources say.
"""

import sys
from pathlib import Path

from gen_protocol import fill, table
from headend.validation.estimating import METHODS, TOTALS
from headend.validation.rules import RULES, SEVERITIES

PAGE = Path(__file__).resolve().parent.parent / "docs" / "validation.md"


def rules() -> str:
    """The table of rules."""
    rows: list[tuple[object, ...]] = [
        (
            f"`{code}`",
            rule.title[0],
            rule.title[1],
            rule.looks_at[0],
            SEVERITIES[rule.severity][0],
            rule.doubts,
            ", ".join(f"{name} {one.default}" for name, one in rule.params.items()) or "–",
        )
        for code, rule in RULES.items()
    ]
    return table(("rule", "", "中文", "judges by", "by default", "doubts", "figures by default"), rows)


def methods() -> str:
    """How an estimate is made."""
    return table(("method", "", "中文"), [(f"`{code}`", *text) for code, text in METHODS.items()])


def totals() -> str:
    """What the estimates of a gap come to."""
    return table(("total", "", "中文"), [(f"`{code}`", *text) for code, text in TOTALS.items()])


PARTS = {"rules": rules, "methods": methods, "totals": totals}


if __name__ == "__main__":
    sys.exit(fill(PAGE, PARTS, sys.argv[1:]))
