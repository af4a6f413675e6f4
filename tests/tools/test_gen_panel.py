"""docs/panel.md says what the firmware shows; each code of the panel has a meaning in both languages."""

import subprocess
import sys
from pathlib import Path

from meter.panel import ANSWER
from meter.panel_items import ITEMS, REASON
from meterlink import names
from metersim import panel_text

ROOT = Path(__file__).resolve().parents[2]


def check(root: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, str(root / "tools" / "gen_panel.py"), "--check"], capture_output=True, text=True, check=False
    )


def test_the_page_is_what_the_sources_say() -> None:
    done = check(ROOT)
    assert done.returncode == 0, done.stderr


def test_a_page_that_says_something_else_is_told(tmp_path: Path) -> None:
    (tmp_path / "tools").mkdir()
    (tmp_path / "docs").mkdir()
    for name in ("gen_panel.py", "gen_protocol.py"):
        (tmp_path / "tools" / name).write_bytes((ROOT / "tools" / name).read_bytes())
    page = (ROOT / "docs" / "panel.md").read_text(encoding="utf-8")
    for changed in (page.replace("`OFF tamper`", "`OFF temper`"), page.replace("<!-- generated: items -->", "")):
        (tmp_path / "docs" / "panel.md").write_text(changed, encoding="utf-8")
        done = check(tmp_path)
        assert done.returncode == 1 and "panel.md" in done.stderr


def test_every_code_has_a_meaning() -> None:
    assert [row[0] for row in ITEMS] == list(panel_text.ITEM)
    every_reason = {*names.HOLD, *(20 + cause for cause in names.CAUSE)} - {names.code(names.HOLD, "protection")}
    assert every_reason <= set(REASON)
    for text in (*map(panel_text.reason, REASON), *panel_text.ITEM.values(), panel_text.alarm(1), panel_text.alarm(2)):
        assert all(text)
    refused_or_not = {code for code, name in names.TYPED.items() if name not in {"none", "display", "locked"}}
    assert refused_or_not == set(ANSWER), "each result of a token has words"
