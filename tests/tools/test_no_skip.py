"""Under CI a skip is a failure that names the missing thing; elsewhere it stays a skip."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent.parent

PLANTED = """
import pytest
from tests import needs

def test_passes():
    pass

def test_wants_a_program():
    needs.program("a-program-that-nobody-has")

@pytest.mark.skip(reason="marked for a reason")
def test_marked():
    pass

@pytest.mark.xfail(reason="known to fail", strict=True)
def test_expected_to_fail():
    assert False
"""


def pytest_run(folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run the planted tests with this project's conftest.py in a process of its own."""
    (folder / "conftest.py").write_text((TESTS / "conftest.py").read_text(encoding="utf-8"), encoding="utf-8")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CI", "OPENPREPAY_", "PYTEST_"))}
    env = {**kept, "PYTHONPATH": str(TESTS.parent), **settings}
    command = [sys.executable, "-m", "pytest", "-rs", "-p", "no:cacheprovider", "--import-mode=importlib", str(folder)]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("setting", ["CI", "OPENPREPAY_NO_SKIP"])
def test_a_skip_fails_under_ci(tmp_path: Path, setting: str) -> None:
    (tmp_path / "test_planted.py").write_text(PLANTED, encoding="utf-8")
    done = pytest_run(tmp_path, **{setting: "1"})
    assert done.returncode == 1, done.stdout
    assert "needs the program a-program-that-nobody-has, which is not installed" in done.stdout
    assert "marked for a reason" in done.stdout
    assert "1 failed, 1 passed, 1 xfailed, 1 error" in done.stdout


@pytest.mark.parametrize("setting", ["", "false"])
def test_a_skip_stays_a_skip_elsewhere(tmp_path: Path, setting: str) -> None:
    (tmp_path / "test_planted.py").write_text(PLANTED, encoding="utf-8")
    done = pytest_run(tmp_path, CI=setting)
    assert done.returncode == 0, done.stdout
    assert "needs the program a-program-that-nobody-has, which is not installed" in done.stdout
    assert "1 passed, 2 skipped, 1 xfailed" in done.stdout


def test_a_file_that_skips_itself_fails_under_ci(tmp_path: Path) -> None:
    source = "import pytest\npytest.importorskip('a_module_that_nobody_has')\n\ndef test_x():\n    pass\n"
    (tmp_path / "test_planted.py").write_text(source, encoding="utf-8")
    done = pytest_run(tmp_path, CI="1")
    assert done.returncode != 0, done.stdout
    assert "a_module_that_nobody_has" in done.stdout and "under CI no test may be" in done.stdout
