"""What a test needs from the machine: each call returns the thing, or skips the test with a reason that names it.

Under CI a skip is a failure (tests/conftest.py), so a missing program cannot hide a test.
"""

import importlib
import os
import shutil
from pathlib import Path
from types import ModuleType

import pytest

_SYSTEM_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin")  # where Debian puts mosquitto; not on everyone's PATH
_PACKAGES = {
    "mosquitto": "mosquitto",
    "mosquitto_pub": "mosquitto-clients",
    "mosquitto_sub": "mosquitto-clients",
    "mosquitto_passwd": "mosquitto",
    "mbpoll": "mbpoll",
    "softhsm2-util": "softhsm2",
    "node": "nodejs",
    "npm": "npm",
    "strace": "strace",
    "systemd-analyze": "systemd",
}


def program(name: str) -> str:
    """The path of a system program."""
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", os.defpath), *_SYSTEM_FOLDERS]))
    if found is None:
        package = _PACKAGES.get(name)
        how = f"; apt-get install {package} brings it" if package else ""
        pytest.skip(f"needs the program {name}, which is not installed{how}")
    return found


def postgresql() -> Path:
    """The folder of PostgreSQL's programs, the newest that is installed. Debian keeps it off the PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if not found:
        found = [Path(path) for path in [shutil.which("postgres")] if path]
    if not found:
        pytest.skip("needs PostgreSQL, which is not installed; apt-get install postgresql brings it")
    return found[-1].resolve().parent


def module(name: str, extra: str = "dev") -> ModuleType:
    """An optional Python module, imported; `extra` is the one of pyproject.toml that brings it."""
    try:
        return importlib.import_module(name)
    except ImportError as missing:
        pytest.skip(f'needs the module {name} ({missing}); pip install "openprepay[{extra}]" brings it')


def wasm() -> Path:
    """MicroPython with words of 32 bits, under Node."""
    from metersim import wasm as runner

    program("node")
    try:
        return runner.interpreter()
    except runner.WasmError as missing:
        pytest.skip(f"needs {missing}")


def file(path: str | Path, what: str) -> Path:
    """A file that not every machine has, such as a device node; `what` says what it is."""
    found = Path(path)
    if not found.exists():
        pytest.skip(f"needs {what}, and there is no {found}")
    return found
