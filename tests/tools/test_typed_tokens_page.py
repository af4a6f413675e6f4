"""docs/typed-tokens.md says what the sources say: results, kinds of tokens, ranges of amounts, and its examples run."""

import re
import shlex
from pathlib import Path

import pytest

import gen_protocol
from meterlink import names
from meterlink.sts import fields, results
from meterlink.sts.amount import units_of
from openprepay import cli

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "typed-tokens.md").read_text(encoding="utf-8")


def part(name: str) -> str:
    found = re.search(f"<!-- {name} -->\n(.*?)<!-- end -->", PAGE, re.DOTALL)
    assert found is not None
    return found[1]


def test_results() -> None:
    rows = gen_protocol.constants(results)
    assert [int(str(row[0])) for row in rows] == list(names.TYPED)
    assert part("results") == gen_protocol.table(("code", "result", "meaning"), rows)


def test_kinds() -> None:
    rows: list[tuple[object, ...]] = [(*kind, name, fields.unit(*kind)) for kind, name in fields.NAMES.items()]
    assert part("kinds") == gen_protocol.table(("class", "subclass", "token", "unit of the amount"), rows)


def test_ranges_of_amounts() -> None:
    for exponent in range(4):
        first, last = (f"{units_of(exponent << 14 | m):,}".replace(",", " ") for m in (0, 0x3FFF))
        assert f"| {exponent} | {first}…{last} | {10**exponent} |" in PAGE


def test_examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    Path("vending.hex").write_text("abababababababab949494949494949401234567")
    Path("decoder.hex").write_text("f94b6ed353c3bfdb113e2d3a7ea3c41d")
    keyed = re.search('KEYED="(.*)"', PAGE)
    commands = re.findall("^openprepay (sts .*)$", PAGE, re.MULTILINE)
    assert keyed is not None and len(commands) == 6
    for command in commands:
        assert cli.main(shlex.split(command.replace("$KEYED", keyed[1]), comments=True)) == 0, command
    assert len(capsys.readouterr().out.splitlines()) == 9
