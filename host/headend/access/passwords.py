"""Passwords: argon2id (RFC 9106) with the work that the OWASP Password Storage Cheat Sheet asks for.

19 MiB and two passes each, about 25 ms; `Hasher` bounds how many run at once, so that a flood of guesses costs neither
the memory of the machine nor the time of those who have signed in.
"""

import unicodedata
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from threading import Lock
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from headend.refusals import Refused

MIN_LENGTH = 12
MAX_LENGTH = 128
MIN_DIFFERENT = 5
SALT_LENGTH = 16
R = TypeVar("R")

AT_ONCE = 2
WAITING = 16

_WORK = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1, hash_len=32, salt_len=SALT_LENGTH)


class Busy(Exception):
    """Too many passwords are being checked."""


def check(password: str, name: str) -> str:
    """The password in the one form that is hashed (NFKC); raises Refused, which never shows it."""
    plain = unicodedata.normalize("NFKC", password)
    told = f"{len(plain)} characters"
    if not MIN_LENGTH <= len(plain) <= MAX_LENGTH:
        raise Refused("password", told, f"{MIN_LENGTH}..{MAX_LENGTH} characters")
    if len(set(plain)) < MIN_DIFFERENT or name in plain.lower():
        raise Refused("password", told, f"{MIN_DIFFERENT} different characters, without the name")
    return plain


def make(password: str, entropy: Callable[[int], bytes]) -> str:
    """What is stored of a password: algorithm, parameters, salt and hash in one text."""
    return _WORK.hash(unicodedata.normalize("NFKC", password), salt=entropy(SALT_LENGTH))


def fits(stored: str | None, password: str) -> bool:
    """Whether this is the password; takes as long where nobody has that name (None)."""
    try:
        found = _WORK.verify(stored or _nobody(), unicodedata.normalize("NFKC", password))
    except (Argon2Error, InvalidHashError):
        return False
    return found and stored is not None


@cache
def _nobody() -> str:
    return _WORK.hash("nobody has this password", salt=bytes(SALT_LENGTH))


class Hasher:
    """Runs `make` and `fits` beside the loop: `AT_ONCE` at a time, `WAITING` more in a queue."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="passwords")
        self._taken = 0
        self._lock = Lock()

    def submit(self, fn: Callable[..., R], *args: object) -> "Future[R]":
        """Raises Busy where the queue is full."""
        with self._lock:
            if self._taken >= AT_ONCE + WAITING:
                raise Busy("Too many passwords are being checked; try again in a moment.")
            self._taken += 1
        future = self._threads.submit(fn, *args)
        future.add_done_callback(self._done)
        return future

    def _done(self, _: object) -> None:
        with self._lock:
            self._taken -= 1

    def close(self) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)
