"""Runs Python on MicroPython with words of 32 bits: its WebAssembly build, under Node.

Integers of more than 31 bits are objects there, as on a meter's controller, and objects take the bytes that they take
on one. It has no sockets, ptys or TLS. The package is locked in simulator/wasm/; set-up lays it into the environment.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

_RUNNER = Path(__file__).with_suffix(".mjs")
_PACKAGE = Path(sys.prefix) / "wasm" / "node_modules" / "@micropython" / "micropython-webassembly-pyscript"
SKIPPED = {"__pycache__"}

Step = tuple[str, str]
"""(name, code)"""


class WasmError(RuntimeError):
    """The interpreter is not installed; the text names what is missing."""


def interpreter() -> Path:
    """The interpreter's module for Node; WasmError where it, or Node, is missing."""
    if shutil.which("node") is None:
        raise WasmError("the program node, which is not installed; apt-get install nodejs npm brings it")
    found = _PACKAGE / "micropython.mjs"
    if not found.exists():
        raise WasmError(f"{found}, which is not there; make setup brings it (with npm)")
    return found


def run(
    steps: Iterable[Step], folders: Mapping[str, Path], path: Iterable[str], heap: int, timeout: float = 300
) -> subprocess.CompletedProcess[str]:
    """Run steps one after the other in one interpreter; what they print is stdout, what they raise is on stderr.

    folders: folder in there ("/repo/tests") -> folder here, copied with all that it holds · path: `sys.path` · heap:
    bytes to begin with; it grows.
    """
    files = {}
    for there, here in folders.items():
        for file in here.rglob("*"):
            if file.is_file() and not SKIPPED & set(file.parts):
                files[f"{there}/{file.relative_to(here).as_posix()}"] = str(file)
    first = ("path", f"import sys\nsys.path[:] = {[*path, '.frozen']!r}")
    job = {"heap": heap, "files": files, "steps": [first, *steps]}
    command = ["node", str(_RUNNER), str(interpreter())]
    return subprocess.run(command, input=json.dumps(job), capture_output=True, text=True, timeout=timeout, check=False)
