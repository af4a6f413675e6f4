"""Secrets of second factors, sealed by a key that stands in a file of its own, never in the database.

AES-256-GCM (NIST SP 800-38D), a fresh 96-bit nonce each, bound to the name that the secret is of.
"""

import os
from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from headend.refusals import Refused

KEY_LENGTH = 32
NONCE_LENGTH = 12


class Sealer:
    """Seals and opens with one key, which `key()` gives when it is first needed."""

    def __init__(self, key: Callable[[], bytes], entropy: Callable[[int], bytes] = os.urandom) -> None:
        self._key = key
        self._entropy = entropy

    @classmethod
    def of_file(cls, path: Path) -> "Sealer":
        """The key of a file (mode 0600), which is made at first use where there is none."""
        return cls(partial(read_key, path))

    @cached_property
    def _cipher(self) -> AESGCM:
        return AESGCM(self._key())

    def seal(self, secret: bytes, name: str) -> bytes:
        nonce = self._entropy(NONCE_LENGTH)
        return nonce + self._cipher.encrypt(nonce, secret, name.encode())

    def open(self, sealed: bytes, name: str) -> bytes:
        """Raises Refused where it was sealed for another name, or by another key."""
        try:
            return self._cipher.decrypt(sealed[:NONCE_LENGTH], sealed[NONCE_LENGTH:], name.encode())
        except InvalidTag:
            raise Refused("access_key", "a key", "the one that this second factor was sealed by") from None


def read_key(path: Path) -> bytes:
    """The key of a file, made where there is none; raises Refused."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        made = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        pass
    except OSError as error:
        raise Refused("access_key", str(path), f"a file that can be made ({error.strerror})") from error
    else:
        with os.fdopen(made, "wb") as file:
            file.write(os.urandom(KEY_LENGTH))
            file.flush()
            os.fsync(file.fileno())
    try:
        key = path.read_bytes()
    except OSError as error:
        raise Refused("access_key", str(path), f"a file that can be read ({error.strerror})") from error
    if len(key) != KEY_LENGTH or path.stat().st_mode & 0o077:
        raise Refused("access_key", str(path), f"{KEY_LENGTH} bytes that nobody else can read (mode 0600)")
    return key
