"""A board's main runs: metering, links, panel; from the sources and as the image that is flashed."""

import subprocess
import sys

import pytest

from meter.boards import esp32s3_wiring
from meterlink.flashmap import TOTAL_SECTORS
from metersim import build
from tests import upyhost

BOARDS = ("esp32s3", "pico_w")
FOLDERS = [str(upyhost.ROOT / folder) for folder in ("protocol", "firmware", "simulator", "")]
PROGRAM = """
import sys
sys.path[:0] = {folders}
from tests.firmware.chips import ports
ports.install()
import machine
from meter.boards import {board}_main
from tests.firmware import board_program
board_program.run("{board}", {board}_main, {select}, {sectors})
"""


def program(board: str, folders: list[str]) -> str:
    return PROGRAM.format(folders=folders, board=board, select=esp32s3_wiring.SPI_CS, sectors=TOTAL_SECTORS)


def ran(board: str, done: subprocess.CompletedProcess[str]) -> None:
    lines = done.stdout.splitlines()
    assert f"ran {board} True True True" in lines, done.stdout + done.stderr
    assert any(line.startswith("BENCH") for line in lines)
    assert not [line for line in lines if line.startswith("link ")], "a task of the board failed"


def test_on_cpython() -> None:
    """The other board's display is drawn with MicroPython's framebuf."""
    code = "import sys, types; sys.modules['micropython'] = types.SimpleNamespace()\n" + program("esp32s3", FOLDERS)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    ran("esp32s3", done)


@pytest.mark.parametrize("board", BOARDS)
def test_on_micropython(board: str) -> None:
    ran(board, upyhost.run(program(board, FOLDERS)))


@pytest.mark.parametrize("board", BOARDS)
def test_the_image_that_is_flashed(board: str) -> None:
    """Names are shortened in an image: what belongs to chips, pins and state machines has kept its own."""
    folder = build.build(program=program(board, []))
    done = subprocess.run(
        upyhost.command("-m", "program"), capture_output=True, text=True, timeout=60, check=False, cwd=upyhost.ROOT,
        env={**upyhost.environment(), "MICROPYPATH": ":".join([str(folder), *FOLDERS[2:], ".frozen"])},
    )  # fmt: skip
    ran(board, done)
