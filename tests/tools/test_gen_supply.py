"""docs/supply.md draws the transitions that the firmware has."""

import subprocess
import sys
from pathlib import Path

import gen_supply
from meter import transitions

ROOT = Path(__file__).resolve().parents[2]


def check(root: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, str(root / "tools" / "gen_supply.py"), "--check"], capture_output=True, text=True, check=False
    )


def test_the_page_is_what_the_firmware_does() -> None:
    done = check(ROOT)
    assert done.returncode == 0, done.stderr


def test_a_page_that_says_something_else_is_told(tmp_path: Path) -> None:
    (tmp_path / "tools").mkdir()
    (tmp_path / "docs").mkdir()
    for name in ("gen_supply.py", "gen_protocol.py"):
        (tmp_path / "tools" / name).write_bytes((ROOT / "tools" / name).read_bytes())
    page = (ROOT / "docs" / "supply.md").read_text(encoding="utf-8")
    for changed in (
        page.replace("ready --> connected : e", "ready --> connected : x"),
        page.replace(": modes -->", ""),
    ):
        (tmp_path / "docs" / "supply.md").write_text(changed, encoding="utf-8")
        done = check(tmp_path)
        assert done.returncode == 1 and "supply.md" in done.stderr


def test_every_transition_is_drawn() -> None:
    drawn = [line for line in gen_supply.diagram().splitlines() if "-->" in line]
    assert len(drawn) == len(transitions.TRANSITIONS)
