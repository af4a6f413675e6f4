"""Writes the generated parts of docs/supply.md from the firmware's own tables: ``gen_supply.py [--check]``.

A generated part stands between ``<!-- generated: NAME -->`` and ``<!-- end -->``. With --check nothing is written; exit
code 1 tells that the page is not what the sources say.
"""

import sys
from pathlib import Path

from gen_protocol import fill, table
from meter import supply, transitions
from meterlink import names
from meterlink.labels import LABEL

PAGE = Path(__file__).resolve().parent.parent / "docs" / "supply.md"

TRIGGER = {
    transitions.REMOTE_OFF: "a hold stands",
    transitions.REMOTE_ON: "release with direct",
    transitions.REMOTE_PERMIT: "release with permit",
    transitions.LOCAL_OFF: "a cause stands",
    transitions.LOCAL_ON: "by itself",
    transitions.MANUAL_ON: "key",
    transitions.MANUAL_OFF: "key held for 3 s",
}
TRIPS = (
    (supply.AT_ONCE, "at once"),
    (supply.LOAD_LIMIT, f"after {supply.LOAD_LIMIT_S} s"),
    (supply.DELAYED, "after the delay"),
)


def modes_of(letter: str) -> list[int]:
    """The modes that list a transition."""
    return [mode for mode, letters in transitions.MODES.items() if letter in letters]


def diagram() -> str:
    """States and transitions; one that not every mode lists says which do."""
    lines = ["```mermaid", "stateDiagram-v2"]
    for code, name in names.CONTROL.items():
        lines.append(f"    {name} : {name} ({code})")
    for letter, trigger, start, end in transitions.TRANSITIONS:
        modes = modes_of(letter)
        only = "" if len(modes) == len(transitions.MODES) else f" [modes {', '.join(map(str, modes))}]"
        lines.append(f"    {names.CONTROL[start]} --> {names.CONTROL[end]} : {letter}, {TRIGGER[trigger]}{only}")
    return "\n".join([*lines, "```"]) + "\n"


def modes() -> str:
    """Which mode lists which transition."""
    letters = [row[0] for row in transitions.TRANSITIONS]
    rows: list[tuple[object, ...]] = [
        (mode, *("×" if letter in listed else "" for letter in letters)) for mode, listed in transitions.MODES.items()
    ]
    return table(("mode", *letters), rows)


def causes() -> str:
    """What each of the meter's own causes does."""
    rows: list[tuple[object, ...]] = []
    for number, name in names.CAUSE.items():
        bit = 1 << number
        trips = next((text for bits, text in TRIPS if bits & bit), "no, prevents a close")
        protected = "counts" if supply.DESPITE_PROTECTION & bit else "set aside"
        rows.append((number, f"`{name}`", *LABEL["cause"][name], trips, protected))
    return table(("number", "cause", "", "中文", "opens the relay", "under protection"), rows)


PARTS = {"diagram": diagram, "modes": modes, "causes": causes}


if __name__ == "__main__":
    sys.exit(fill(PAGE, PARTS, sys.argv[1:]))
