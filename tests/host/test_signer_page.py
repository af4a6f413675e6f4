"""docs/signer.md says what the code does: settings and their defaults, lines of the log, messages of the socket."""

import re
from typing import get_args

import pytest

from headend.keys import signer_wire as wire
from headend.keys.signer import Stated
from headend.keys.signer_lines import AnyLine
from headend.keys.signer_tokens import TokenWanted
from headend.settings import Settings
from tests.host.books import ROOT

PAGE = (ROOT / "docs" / "signer.md").read_text(encoding="utf-8")


def rows(chapter: str) -> dict[str, list[str]]:
    """The rows of a chapter's tables, by their first cell."""
    lines = PAGE.split(f"\n## {chapter}\n")[1].split("\n## ")[0].splitlines()
    split = [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in lines if line.startswith("|")]
    return {cells[0]: cells[1:] for cells in split}


@pytest.mark.parametrize("name", [name for name in vars(Settings()) if name.startswith(("max_", "signer"))])
def test_every_setting_stands_there_with_its_default(name: str) -> None:
    value, shown = getattr(Settings(), name), rows("Settings")[name][0]
    if isinstance(value, str):
        assert shown == value
        return
    number, _, unit = re.sub(r"(?<=\d) (?=\d)", "", shown).partition(" ")
    scale = {"kWh": 1_000, "MWh": 1_000_000}[unit] if unit else 1_000_000 if name.endswith("_uc") else 1
    assert round(float(number) * scale) == value


@pytest.mark.parametrize("line", get_args(AnyLine))
def test_every_field_of_a_line_stands_there(line: type) -> None:
    told = re.findall(r"\w+", rows("The log")[line.__struct_config__.tag][0])  # type: ignore[attr-defined]
    assert [name for name in line.__struct_fields__ if name not in told] == []  # type: ignore[attr-defined]


@pytest.mark.parametrize("message", [*get_args(wire.Question), *get_args(wire.Answer)])
def test_every_message_stands_there(message: type) -> None:
    assert f"`{message.__struct_config__.tag}`" in PAGE  # type: ignore[attr-defined]


@pytest.mark.parametrize("struct", [Stated, TokenWanted])
def test_the_fields_of_an_array_stand_there_in_their_order(struct: type) -> None:
    fields = ", ".join(struct.__struct_fields__)  # type: ignore[attr-defined]
    assert fields in " ".join(PAGE.replace("and optionally\n", "").replace(" (year)", "").split())
