"""The signer's own memory: an append-only file, one JSON object a line, on disk before a signature leaves.

Each line ends in `chain`, SHA-256 of the previous line's chain and of its own canonical text, so that a line which was
changed, taken out or put in is seen when the file is next opened. A last line without its end is a signature that never
left: it is cut off. One process at a time holds the file.
"""

import fcntl
import hashlib
import json
import os
import stat
from pathlib import Path
from typing import Any, NamedTuple

from headend.keys.sealed import KeyFileError
from meterlink.orders import ASPECT_CREDIT

Totals = dict[tuple[int, int, int], int]
"""(meter, account epoch, source) -> highest total ever signed, micro-currency."""

_FIRST = bytes(32)


class Line(NamedTuple):
    """What was signed. `total_uc` is 0 for all but credit; `digest` is the statement's, 64 hexadecimal digits."""

    at_s: int
    order_id: int
    meter: int
    account_epoch: int
    aspect: int
    selector: int
    signing_epoch: int
    version: int
    total_uc: int
    digest: str


class SignerLog:
    """Remembers the totals that were signed. `path` None keeps them in memory only: for simulation.

    Raises KeyFileError where the file cannot be used: held by another, changed, or not writable.
    """

    def __init__(self, path: Path | None) -> None:
        self.totals: Totals = {}
        self._chain = _FIRST
        self._path = path
        self._file = None if path is None else self._open(path)
        self._broken = False

    def append(self, lines: list[Line]) -> None:
        """Write lines and return when they are on disk. After a failure the log takes no more until it is opened
        anew.
        """
        if self._broken:
            raise KeyFileError(f"{self._path} could not be written before; the signer has to be started again.")
        chain, text = self._chain, b""
        for line in lines:
            written, chain = _link(chain, line._asdict())
            text += written
        if self._file is not None:
            try:
                if os.write(self._file, text) != len(text):
                    raise OSError("the disk is full")
                os.fsync(self._file)
            except OSError as error:
                self._broken = True
                raise KeyFileError(f"{self._path} cannot be written: {error}.") from error
        self._chain = chain
        for line in lines:
            self._count(line)

    def close(self) -> None:
        """Let go of the file. Idempotent."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
            self._broken = True

    def _open(self, path: Path) -> int:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        except OSError as error:
            raise KeyFileError(f"{path} cannot be opened: {error.strerror}.") from error
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise KeyFileError(f"{path} is not a regular file.")
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._load(path, descriptor)
        except BlockingIOError as error:
            os.close(descriptor)
            raise KeyFileError(f"{path} is held by another signer.") from error
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _load(self, path: Path, descriptor: int) -> None:
        end = 0
        with open(descriptor, "rb", closefd=False) as file:
            for number, raw in enumerate(file, 1):
                if not raw.endswith(b"\n"):
                    os.ftruncate(descriptor, end)
                    os.fsync(descriptor)
                    break
                end += len(raw)
                self._take(path, number, raw)

    def _take(self, path: Path, number: int, raw: bytes) -> None:
        try:
            held = json.loads(raw)
            held.pop("chain")
            line = Line(**held)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise KeyFileError(f"{path}, line {number}: not a line of this log.") from error
        expected, self._chain = _link(self._chain, held)
        if expected != raw:
            raise KeyFileError(f"{path}, line {number}: it, or a line before it, was changed.")
        self._count(line)

    def _count(self, line: Line) -> None:
        if line.aspect == ASPECT_CREDIT:
            key = (line.meter, line.account_epoch, line.selector)
            self.totals[key] = max(self.totals.get(key, 0), line.total_uc)


def _link(chain: bytes, held: dict[str, Any]) -> tuple[bytes, bytes]:
    text = json.dumps(held, separators=(",", ":"))
    following = hashlib.sha256(chain + text.encode()).digest()
    return json.dumps(held | {"chain": following.hex()}, separators=(",", ":")).encode() + b"\n", following
