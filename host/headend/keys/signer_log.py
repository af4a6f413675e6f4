"""The signer's own memory: an append-only log, on disk before a signature leaves.

A log is a file of lines (`signer_lines.py`) and what lies beside it::

    LOG            the lines of today
    LOG.1 LOG.2 …  full files, the oldest first; each begins with the chain with which the one before it ended
    LOG.N.books    what all lines up to the end of LOG.N add up to, so that opening reads LOG alone
    LOG.N.digests  first 8 bytes of each order's digest in LOG.N, sorted
    LOG.lock       held by the one process that writes

Books and digests are made from the lines and are made again where they are missing. A last line without its end is a
signature that never left: it is cut off.
"""

import fcntl
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from headend.keys import signer_files as files
from headend.keys.sealed import KeyFileError, sync_folder
from headend.keys.signer_books import Account, Books
from headend.keys.signer_files import Kept, beside
from headend.keys.signer_lines import DIGEST_LENGTH, FIRST, AnyLine, BeginLine, TokenLine, digests, link, read

ROTATE_BYTES = 64 << 20  # some 170 000 orders; opening reads no more than that


class LogHeld(KeyFileError):
    """Another process writes this log."""


class SignerLog:
    """The lines that were signed, and `books`: what they add up to. For one thread at a time.

    `path` None keeps them in memory only: for simulation. Raises KeyFileError where the files cannot be used: held by
    another, changed, missing, or not writable.
    """

    def __init__(self, path: Path | None, *, rotate_bytes: int = ROTATE_BYTES) -> None:
        self.books = Books()
        self.chain = FIRST  # after the last line
        self._path = path
        self._rotate_bytes = rotate_bytes
        self._number = 1  # of the file that is written
        self._lines = 0  # in all files
        self._size = 0
        self._digests: set[bytes] = set()  # of this file
        self._indexes: dict[int, bytes] = {}
        self._tokens: list[TokenLine] = []  # without a file: all of them
        self._file: int | None = None
        self._lock: int | None = None
        self._broken = False
        if path is not None:
            try:
                self._open(path)
            except OSError as error:
                self.close()
                raise KeyFileError(f"{path} cannot be opened: {error.strerror}.") from error
            except BaseException:
                self.close()
                raise

    @property
    def totals(self) -> dict[Account, int]:
        """(meter, account epoch, source) -> highest total ever signed, micro-currency."""
        return self.books.totals

    def append(self, lines: Sequence[AnyLine]) -> None:
        """Write lines that `books` have counted, and return when they are on disk.

        After a failure the log takes no more until it is opened anew: the books are ahead of it then.
        """
        if self._broken:
            raise KeyFileError(f"{self._path} could not be written before; the signer has to be started again.")
        text, chain = link(self.chain, lines)
        if self._file is not None:
            try:
                if os.write(self._file, text) != len(text):
                    raise OSError("the disk is full")
                os.fsync(self._file)
            except OSError as error:
                self._broken = True
                raise KeyFileError(f"{self._path} cannot be written: {error}.") from error
        self.chain = chain
        self._lines += len(lines)
        self._size += len(text)
        self._digests.update(digests(lines))
        if self._path is None:
            self._tokens += [line for line in lines if isinstance(line, TokenLine)]
        if self._file is not None and self._size >= self._rotate_bytes:
            self._rotate()

    def has(self, digest: bytes) -> bool:
        """Whether a line stands for what has this digest (its first 8 bytes at least)."""
        digest = digest[:DIGEST_LENGTH]
        if digest in self._digests:
            return True
        return any(files.found(self._index(number), digest) for number in range(self._number - 1, 0, -1))

    def tokens_of(self, pan: str, from_s: int) -> list[TokenLine]:
        """Tokens of a PAN whose TID is the minute `from_s` or a later one, by rising TID.

        A PAN without one costs nothing; else the files are read backwards until a token before `from_s`, or a file
        that was put away.
        """
        if self.books.token_s.get(pan, -1) < from_s:
            return []
        if self._path is None:
            found = [line for line in self._tokens if line.pan == pan]
        else:
            found = files.tokens_of(self._path, None, pan)
            for number in range(self._number - 1, 0, -1):
                if (found and found[0].tid_s < from_s) or not beside(self._path, number).exists():
                    break
                found = files.tokens_of(self._path, number, pan) + found
        return [line for line in found if line.tid_s >= from_s]

    def close(self) -> None:
        """Let go of the files. Idempotent."""
        for descriptor in (self._file, self._lock):
            if descriptor is not None:
                os.close(descriptor)
        self._broken = self._broken or self._file is not None
        self._file = self._lock = None

    # --- opening ------------------------------------------------------------------------------------------------------

    def _open(self, path: Path) -> None:
        self._lock = os.open(beside(path, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LogHeld(f"{path} is held by another signer.") from error
        following = beside(path, "next")
        if following.exists():  # a rotation was cut short: before the full file had its new name, or after it
            if path.exists():
                following.unlink()
            else:
                following.rename(path)
        full = files.numbers(path)
        if full and not path.exists():
            raise KeyFileError(f"{path} is missing, but {full[-1]} full files of this log are there.")
        self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not stat.S_ISREG(os.fstat(self._file).st_mode):
            raise KeyFileError(f"{path} is not a regular file.")
        sync_folder(path.parent)
        with open(self._file, "rb", closefd=False) as file:
            self._number = files.number_of(file)
            if full and full[-1] >= self._number:
                raise KeyFileError(f"{path} is file {self._number} of its log, but file {full[-1]} is full already.")
            self._before(path)
            for line, chain, end in read(file, str(path), self.chain):
                self._take(line)
                self.chain, self._size = chain, end
        if os.fstat(self._file).st_size > self._size:
            os.ftruncate(self._file, self._size)
            os.fsync(self._file)

    def _before(self, path: Path) -> None:
        """Take in what stands in the full files: from the books beside the last, else from all lines."""
        if self._number == 1:
            return
        kept = files.read_books(path, self._number - 1)
        if kept is not None:
            self.chain, self._lines, self.books = kept.chain, kept.lines, kept.books
            return
        for number in range(1, self._number):
            for line, chain, _ in files.lines_of(path, number, self.chain):
                self._take(line)
                self.chain = chain
        self._digests.clear()

    def _take(self, line: AnyLine) -> None:
        self.books.count(line)
        self._lines += 1
        self._digests.update(digests((line,)))

    # --- full files ---------------------------------------------------------------------------------------------------

    def _rotate(self) -> None:
        """Begin a new file. Whatever instant it is cut short at, opening finds every line."""
        assert self._path is not None and self._file is not None
        path, number = self._path, self._number
        text, chain = link(self.chain, [BeginLine(number + 1, self._lines)])
        try:
            files.write_index(path, number, self._digests)
            files.write_books(path, number, Kept(self.chain, self._lines, self.books))
            following = beside(path, "next")
            files.write(following, text)
            made = os.open(following, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
            path.rename(beside(path, number))
            following.rename(path)
            sync_folder(path.parent)
        except OSError:  # what was appended is on disk; the next start cleans up
            self._broken = True
            return
        os.close(self._file)
        beside(path, f"{number - 1}.books").unlink(missing_ok=True)
        self._file, self._size, self.chain = made, len(text), chain
        self._number += 1
        self._lines += 1
        self._digests.clear()

    def _index(self, number: int) -> bytes:
        if number not in self._indexes:
            assert self._path is not None
            self._indexes[number] = files.index(self._path, number)
        return self._indexes[number]
