"""Files that somebody else reads while they are written: whole, or as they were before."""

import os
from pathlib import Path


def write(path: Path, content: bytes, mode: int) -> None:
    """Put a file in place of another in one step, on disk, with these permissions from its first byte on."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    made = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        os.fchmod(made, mode)
        with open(made, "wb", closefd=False) as file:
            file.write(content)
        os.fsync(made)
    finally:
        os.close(made)
    beside.replace(path)
    _sync(path.parent)


def append(path: Path, line: str) -> None:
    """Add a line, on disk before this returns; half a line of an earlier try is left behind alone."""
    made = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        size = os.fstat(made).st_size
        torn = size > 0 and os.pread(made, 1, size - 1) != b"\n"
        if torn:
            os.ftruncate(made, _whole(made, size))
        os.write(made, line.encode() + b"\n")
        os.fsync(made)
    finally:
        os.close(made)
    _sync(path.parent)


def _whole(made: int, size: int) -> int:
    """Where the last whole line ends."""
    at = size
    while at > 0:
        begins = max(0, at - 4096)
        found = os.pread(made, at - begins, begins).rfind(b"\n")
        if found >= 0:
            return begins + found + 1
        at = begins
    return 0


def _sync(folder: Path) -> None:
    made = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(made)
    finally:
        os.close(made)
