"""docs/protocol.md says what the sources say; where it does not, the generator tells."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def check(root: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(root / "tools" / "gen_protocol.py"), "--check"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def copy_of_the_page(folder: Path, text: str) -> Path:
    (folder / "tools").mkdir()
    (folder / "docs").mkdir()
    (folder / "tools" / "gen_protocol.py").write_bytes((ROOT / "tools" / "gen_protocol.py").read_bytes())
    (folder / "docs" / "protocol.md").write_text(text, encoding="utf-8")
    return folder


def test_the_page_is_what_the_sources_say() -> None:
    done = check(ROOT)
    assert done.returncode == 0, done.stderr


def test_a_page_that_says_something_else_is_told(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
    done = check(copy_of_the_page(tmp_path, page.replace("`bad_tag`", "`good_tag`")))
    assert done.returncode == 1
    assert "make docs" in done.stderr


def test_a_page_without_one_of_its_parts_is_told(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
    done = check(copy_of_the_page(tmp_path, page.replace("<!-- generated: results -->", "")))
    assert done.returncode == 1
    assert "generated parts" in done.stderr
