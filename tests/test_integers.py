"""Energy and money are integers: no true division and no float in the protocol or in the firmware."""

from pathlib import Path

import pytest

from tests import integers

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted([*ROOT.glob("protocol/meterlink/**/*.py"), *ROOT.glob("firmware/**/*.py")])

FAULTS = [
    "x = 1 / 2", "x /= 2", "x = 0.5", "x = 1e6", "x = 2j", "x = float(3)", "x = round(y)", "import math",
    "x = 10 ** -3", "from math import floor", "def f(x: float): pass", "x = f'{y:.2f}'", "x = struct.pack('>f', 1)",
    "x = struct.unpack_from('>Hd', b, 0)",
]  # fmt: skip
FINE = [
    "x = 1 // 2", "x //= 2", "x = 1_000_000", "x = 10 ** 6", "x = f'{y:02d}.{z:06d}'", "x = '0.5'", "x = divmod(7, 2)",
    "x = struct.pack('>HIq', 1, 2, 3)", "x = -y",
]  # fmt: skip


def test_there_are_files_to_check() -> None:
    assert any(file.is_relative_to(ROOT / "protocol") for file in FILES)
    assert any(file.is_relative_to(ROOT / "firmware") for file in FILES)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_integers_only(file: Path) -> None:
    assert integers.check(file) == []


@pytest.mark.parametrize("source", FAULTS)
def test_a_planted_fault_is_found(tmp_path: Path, source: str) -> None:
    assert integers.check(write(tmp_path, source)) != []


@pytest.mark.parametrize("source", FINE)
def test_integer_arithmetic_passes(tmp_path: Path, source: str) -> None:
    assert integers.check(write(tmp_path, source)) == []


def write(folder: Path, source: str) -> Path:
    file = folder / "planted.py"
    file.write_text(source + "\n", encoding="utf-8")
    return file
