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
