"""Runs a measuring program on MicroPython, over the firmware as it is compiled for a board."""

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from metersim import build

TIMEOUT_S = 120


def measure(program: str, heap: str, *folders: Path, **values: object) -> dict[str, Any]:
    """What `program` prints on MicroPython, as JSON.

    It is built as an image with what it uses of the firmware (`build.build`). heap: as MicroPython's -X heapsize= ·
    folders: searched for imports before the firmware · values: numbers, strings and bytes that the program finds under
    their names. Raises RuntimeError with its output when it fails.
    """
    if values:
        program = f"from given import {', '.join(values)}\n{program}"
    with tempfile.TemporaryDirectory() as given:
        # A file, not arguments: MicroPython takes none of more than 255 bytes.
        lines = (f"{name} = {value!r}\n" for name, value in values.items())
        (Path(given) / "given.py").write_text("".join(lines), encoding="utf-8")
        return run(f"import {build.PROGRAM}", heap, [Path(given), *folders, build.build(program=program)])


def run(program: str, heap: str, folders: list[Path]) -> dict[str, Any]:
    """What a program prints on MicroPython, as JSON; `folders` are searched for imports."""
    done = subprocess.run(
        [build.program("micropython"), "-X", f"heapsize={heap}", "-c", program],
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
        env={**os.environ, "MICROPYPATH": ":".join([*map(str, folders), ".frozen"])},
    )
    if done.returncode != 0:
        raise RuntimeError(f"micropython ended with {done.returncode}: {done.stdout}{done.stderr}")
    measured: dict[str, Any] = json.loads(done.stdout)
    return measured
