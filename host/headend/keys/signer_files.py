"""The files of the signer's log: what they are called, and how those beside the lines are written and read.

A file of books or digests ends in SHA-256 of what stands before; one that is torn is taken for missing.
"""

import hashlib
import os
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from headend.keys.sealed import KeyFileError
from headend.keys.signer_books import Books
from headend.keys.signer_lines import DIGEST_LENGTH, AnyLine, BeginLine, TokenLine, decode, digests, read

_SUM_LENGTH = 32


class Kept(msgspec.Struct):
    """A file of books: chain and number of lines at the end of its full file, and what they add up to."""

    chain: bytes
    lines: int
    books: Books


def beside(path: Path, ending: object) -> Path:
    """LOG.ending."""
    return path.with_name(f"{path.name}.{ending}")


def numbers(path: Path) -> list[int]:
    """The numbers of the full files that are there, rising."""
    form = re.compile(re.escape(path.name) + r"\.([1-9][0-9]*)")
    matches = (form.fullmatch(name) for name in os.listdir(path.parent))
    return sorted(int(match[1]) for match in matches if match)


def number_of(file: BinaryIO) -> int:
    """Which file of its log this is, by its first line; the file is put back to its start."""
    try:
        return msgspec.json.decode(file.readline(), type=BeginLine).file
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return 1
    finally:
        file.seek(0)


def lines_of(path: Path, number: int | None, chain: bytes) -> Iterator[tuple[AnyLine, bytes, int]]:
    """The lines of a full file, or of LOG for None, see `signer_lines.read`; KeyFileError where it is not there."""
    with _opened(path if number is None else beside(path, number)) as file:
        yield from read(file, file.name, chain)


def tokens_of(path: Path, number: int | None, pan: str) -> list[TokenLine]:
    """The tokens of a PAN in a full file, or in LOG for None, in their order; the chain is not looked at."""
    mark = f'"pan":"{pan}"'.encode()
    with _opened(path if number is None else beside(path, number)) as file:
        lines = (decode(raw, f"{file.name}, line {at}") for at, raw in enumerate(file, 1) if mark in raw)
        return [line for line in lines if isinstance(line, TokenLine)]


# --- books and digests ------------------------------------------------------------------------------------------------


def write_books(path: Path, number: int, kept: Kept) -> None:
    """Raises OSError."""
    _write_summed(beside(path, f"{number}.books"), msgspec.msgpack.encode(kept))


def read_books(path: Path, number: int) -> Kept | None:
    """None where they are missing or torn."""
    raw = _read_summed(beside(path, f"{number}.books"))
    try:
        return None if raw is None else msgspec.msgpack.decode(raw, type=Kept)
    except msgspec.MsgspecError:  # of another version
        return None


def write_index(path: Path, number: int, found: Iterable[bytes]) -> None:
    """Raises OSError."""
    _write_summed(beside(path, f"{number}.digests"), b"".join(sorted(found)))


def index(path: Path, number: int) -> bytes:
    """The sorted digests of a full file; made from its lines where they are missing."""
    held = _read_summed(beside(path, f"{number}.digests"))
    if held is None:
        with _opened(beside(path, number)) as file:
            lines = (decode(raw, f"{file.name}, line {at}") for at, raw in enumerate(file, 1))
            held = b"".join(sorted(set(digests(lines))))
    return held


def found(index: bytes, digest: bytes) -> bool:
    """Whether a digest of 8 bytes stands in an index."""
    size = DIGEST_LENGTH
    places = range(len(index) // size)
    at = bisect_left(places, digest, key=lambda place: index[size * place : size * place + size])
    return index[size * at : size * at + size] == digest


# --- files ------------------------------------------------------------------------------------------------------------


def write(path: Path, raw: bytes) -> None:
    """Write a file of mode 0600 that is on disk, whole, when this returns; the folder is not synced. Raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(raw)
        file.flush()
        os.fsync(file.fileno())


def _write_summed(path: Path, raw: bytes) -> None:
    write(path, raw + hashlib.sha256(raw).digest())


def _read_summed(path: Path) -> bytes | None:
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    content = raw[:-_SUM_LENGTH]
    return content if hashlib.sha256(content).digest() == raw[-_SUM_LENGTH:] else None


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise KeyFileError(f"{path} cannot be read: {error.strerror}.") from error
