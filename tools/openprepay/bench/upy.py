"""Runs a measuring program on MicroPython, over the firmware as it is compiled for a board."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from metersim import build

TIMEOUT_S = 120


def measure(program: str, heap: str, *folders: Path, **values: object) -> dict[str, Any]:
    """What `program` prints on MicroPython, as JSON.

    heap: as MicroPython's -X heapsize= · folders: searched for imports before the firmware · values: numbers, strings
    and bytes that the program finds under their names. Raises RuntimeError with its output when it fails.
    """
    paths = [str(folder) for folder in (*folders, build.build())]
    # In the program, not as arguments: MicroPython takes none of more than 255 bytes.
    given = "".join(f"{name} = {value!r}\n" for name, value in values.items())
    done = subprocess.run(
        [build.program("micropython"), "-X", f"heapsize={heap}", "-c", given + program],
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
        env={**os.environ, "MICROPYPATH": ":".join([*paths, ".frozen"])},
    )
    if done.returncode != 0:
        raise RuntimeError(f"micropython ended with {done.returncode}: {done.stdout}{done.stderr}")
    measured: dict[str, Any] = json.loads(done.stdout)
    return measured
