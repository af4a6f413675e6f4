"""Writes the generated parts of docs/campaigns.md from the table of campaigns: ``gen_campaigns.py [--check]``.

A generated part stands between ``<!-- generated: NAME -->`` and ``<!-- end -->``. With --check nothing is written; exit
code 1 tells that the page is not what the sources say.
"""

import sys
from pathlib import Path

from gen_protocol import fill, table
from headend.campaigns import lifecycle, progress, words
from headend.firmware import lifecycle as firmware
from headend.firmware import words as firmware_words

PAGE = Path(__file__).resolve().parent.parent / "docs" / "campaigns.md"


def diagram() -> str:
    """The life cycle as Mermaid draws it."""
    lines = [f"    {at} --> {to}: {event}" for (at, event), to in lifecycle.TABLE.items()]
    ends = [f"    {state} --> [*]" for state in lifecycle.STATES if state in lifecycle.ENDS]
    start = f"    [*] --> {lifecycle.PREPARING}: make"
    return "\n".join(["```mermaid", "stateDiagram-v2", start, *lines, *ends, "```"])


def states() -> str:
    """How a campaign stands."""
    return table(("state", "", "中文"), [(f"`{state}`", *text) for state, text in lifecycle.STATES.items()])


def events() -> str:
    """What happens to it."""
    return table(("event", "", "中文"), [(f"`{event}`", *text) for event, text in lifecycle.EVENTS.items()])


def stands() -> str:
    """How one of its meters stands."""
    return table(("", "", "中文"), [(f"`{code}`", *text) for code, text in progress.STANDS.items()])


def rules() -> str:
    """Why a meter is not in, beside what gate and registry say."""
    return table(("rule", "sentence", "中文"), [(f"`{rule}`", *text) for rule, text in words.RULES.items()])


def images() -> str:
    """How an image stands on its way to a meter."""
    return table(("state", "", "中文"), [(f"`{state}`", *text) for state, text in firmware.STATES.items()])


def image_rules() -> str:
    """Whom an image is nothing for."""
    return table(("rule", "sentence", "中文"), [(f"`{rule}`", *text) for rule, text in firmware_words.RULES.items()])


PARTS = {"diagram": diagram, "states": states, "events": events, "stands": stands, "rules": rules}
PARTS |= {"images": images, "bars": image_rules}


if __name__ == "__main__":
    sys.exit(fill(PAGE, PARTS, sys.argv[1:]))
