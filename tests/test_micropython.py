"""Every test_both_*.py, which pytest runs on CPython, runs here on MicroPython as well."""

from pathlib import Path

import pytest

from tests import upyhost

TESTS = Path(__file__).resolve().parent
BOTH = sorted(TESTS.rglob("test_both_*.py"))


@pytest.mark.parametrize("file", BOTH, ids=lambda path: str(path.relative_to(TESTS)))
def test_on_micropython(file: Path) -> None:
    """All functions of the file pass; what they print is shown when one does not."""
    print(upyhost.run(TESTS / "upy.py", str(file), timeout=300).stdout)


@pytest.mark.parametrize(
    ("source", "code", "shown"),
    [
        ("def test_a():\n    assert 1 + 1 == 2\n", 0, "1 passed, 0 failed"),
        ("def test_a():\n    pass\ndef test_b():\n    assert 1 == 2, 'planted'\n", 1, "AssertionError: planted"),
        ("import a_module_that_nobody_has\n", 1, "ImportError"),
        ("import meterlink\ndef helper():\n    pass\n", 1, "0 passed"),
    ],
)
def test_the_runner_tells_a_pass_from_a_failure(tmp_path: Path, source: str, code: int, shown: str) -> None:
    """A failed assertion, an error while importing and a file without tests all end with a code other than 0."""
    file = tmp_path / "test_both_planted.py"
    file.write_text(source, encoding="utf-8")
    done = upyhost.run(TESTS / "upy.py", str(file), check=False)
    assert (done.returncode, shown in done.stdout + done.stderr) == (code, True), done
