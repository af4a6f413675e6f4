"""What a board's frozen image and its package name is there, is whole, and compiles for the board's processor."""

import ast
import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from meter import slots
from meterlink import flashmap
from metersim import build

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ROOT / "firmware" / "images"
MARCH = {"esp32s3": "xtensawin", "pico_w": "armv6m"}


def named(board: str) -> dict[str, Path]:
    """Every file of ours that a manifest freezes: name in the image -> path."""
    folder = IMAGES / board
    found: dict[str, Path] = {}

    def module(name: str, base_path: str = ".", opt: int | None = None) -> None:
        found[name] = folder / base_path / name

    def package(name: str, files: tuple[str, ...], base_path: str, opt: int | None = None) -> None:
        for file in files:
            found[f"{name}/{file}"] = folder / base_path / name / file

    given: dict[str, Any] = {"module": module, "package": package}
    given |= {"include": lambda path: None, "freeze": lambda path, script: None}
    exec((folder / "manifest.py").read_text(encoding="utf-8"), given)  # noqa: S102 - as MicroPython's build does
    return found


@pytest.mark.parametrize("board", MARCH)
def test_every_file_is_there_and_compiles_for_the_board(board: str, tmp_path: Path) -> None:
    files = named(board)
    assert {"main.py", f"meter/boards/{board}_main.py", "meter/core.py", "meterlink/orders.py"} <= set(files)
    for name, path in files.items():
        made = tmp_path / (name.replace("/", ".") + ".mpy")
        done = subprocess.run(
            [build.program("mpy-cross"), f"-march={MARCH[board]}", "-O3", "-o", made, path],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{name}: {done.stderr}"


@pytest.mark.parametrize("board", MARCH)
def test_nothing_that_is_imported_is_missing(board: str) -> None:
    files = named(board)
    missing = set()
    for path in files.values():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in ("meter", "meterlink"):
                base = node.module.replace(".", "/")
                for alias in node.names:
                    if not {f"{base}.py", f"{base}/{alias.name}.py", f"{base}/__init__.py"} & set(files):
                        missing.add(f"{path.name}: {node.module}.{alias.name}")
    assert not missing


@pytest.mark.parametrize("board", MARCH)
def test_the_package_has_the_same_files(board: str) -> None:
    package = json.loads((IMAGES / board / "package.json").read_text(encoding="utf-8"))
    urls = {name: (IMAGES / board / url).resolve() for name, url in package["urls"]}
    frozen = {name: path.resolve() for name, path in named(board).items() if name not in ("boot.py", "_boot.py")}
    assert urls == frozen


def test_the_lists_are_what_the_boards_reach() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "gen_firmware.py", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_partitions_fit_what_lies_in_them() -> None:
    text = (IMAGES / "esp32s3" / "partitions.csv").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in row] for row in csv.reader(text.splitlines()) if not row[0].startswith("#")]
    size = {row[0]: int(row[4], 0) for row in rows}
    flags = {row[0]: row[5] for row in rows}
    at = 0x11000
    for row in rows:
        assert int(row[3], 0) >= at and int(row[3], 0) % 4096 == 0 and int(row[4], 0) % 4096 == 0, row
        at = int(row[3], 0) + int(row[4], 0)
    assert at <= 16 << 20
    assert size["meter"] == 2 * flashmap.TOTAL_SECTORS * flashmap.SECTOR_BYTES and not flags["meter"]
    assert size["romfs"] == slots.TOTAL_SECTORS * slots.SECTOR_BYTES
    assert flags["vfs"] == flags["nvs_key"] == "encrypted"
