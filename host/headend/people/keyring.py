"""The keys under which the keys of persons are sealed: in a file of mode 0600, never in the database.

A key ring holds versions of one key; the newest seals, all open. Keys are of 32 bytes. Sealing is AES-256-GCM
(NIST SP 800-38D) with a random nonce of 12 bytes in front, bound to whose it is. The blind index of a value is
HMAC-SHA-256 (RFC 2104) under a key that HKDF-Expand (RFC 5869 2.3) derives from the ring's key.
"""

import hashlib
import hmac
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from headend.keys.sealed import MODE, KeyFileError, read_secret, write_secret

Entropy = Callable[[int], bytes]

KEY = 32
NONCE = 12
BLIND = 16  # bytes of an index entry that are kept
_FORMAT = "openprepay persons 1"


class CannotOpen(Exception):
    """Something sealed does not open: not under the keys at hand, or not as it was stored."""


@dataclass(frozen=True)
class KeyRing:
    """`keys`: version (1, 2, …) -> 32 bytes."""

    keys: dict[int, bytes]

    def __repr__(self) -> str:
        return f"KeyRing(versions {', '.join(map(str, sorted(self.keys)))})"

    @property
    def newest(self) -> int:
        return max(self.keys)

    def wrap(self, entropy: Entropy, pseudonym: str, key: bytes) -> tuple[int, bytes]:
        """Seal a person's key under the newest version, which is returned with it."""
        return self.newest, seal(entropy, self.keys[self.newest], _bound("key", pseudonym), key)

    def unwrap(self, pseudonym: str, version: int, sealed: bytes) -> bytes:
        """A person's key; raises CannotOpen."""
        if version not in self.keys:
            raise CannotOpen(f"A person's key is sealed under version {version}, which is not in the key file.")
        return unseal(self.keys[version], _bound("key", pseudonym), sealed)

    def blind(self, field: str, sought: bytes, version: int | None = None) -> bytes:
        """The index entry of a value, 16 bytes; under the newest version unless another is named."""
        root = self.keys[self.newest if version is None else version]
        key = HKDFExpand(SHA256(), KEY, b"openprepay person index " + field.encode()).derive(root)
        return hmac.digest(key, sought, hashlib.sha256)[:BLIND]

    def blinds(self, field: str, sought: bytes) -> list[bytes]:
        """The index entries of a value under all versions."""
        return [self.blind(field, sought, version) for version in sorted(self.keys)]


def seal_field(entropy: Entropy, key: bytes, pseudonym: str, field: str, value: str) -> bytes:
    """Seal a value under a person's key."""
    return seal(entropy, key, _bound(field, pseudonym), value.encode())


def unseal_field(key: bytes, pseudonym: str, field: str, sealed: bytes) -> str:
    """Raises CannotOpen."""
    return unseal(key, _bound(field, pseudonym), sealed).decode()


def seal(entropy: Entropy, key: bytes, bound: bytes, plain: bytes) -> bytes:
    nonce = entropy(NONCE)
    return nonce + AESGCM(key).encrypt(nonce, plain, bound)


def unseal(key: bytes, bound: bytes, sealed: bytes) -> bytes:
    try:
        return AESGCM(key).decrypt(sealed[:NONCE], sealed[NONCE:], bound)
    except (InvalidTag, ValueError) as error:
        raise CannotOpen("Sealed personal data does not open: it was changed, or belongs elsewhere.") from error


def _bound(what: str, pseudonym: str) -> bytes:
    return f"{_FORMAT}\0{what}\0{pseudonym}".encode()


class RingFile:
    """The file of a key ring. `ring` reads it again where it has changed, so a rotation reaches who runs already."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: tuple[int, int, int] | None = None
        self._ring: KeyRing | None = None

    def ring(self) -> KeyRing:
        """Raises KeyFileError where it is missing, open to others, or no key ring."""
        try:
            found = self.path.stat()
        except OSError as error:
            raise KeyFileError(f"{self.path} cannot be read: {error.strerror}.") from error
        seen = found.st_ino, found.st_mtime_ns, found.st_size
        if self._ring is None or seen != self._seen:
            self._ring, self._seen = _decode(self.path, read_secret(self.path)), seen
        return self._ring

    def make(self, entropy: Entropy) -> KeyRing:
        """Make the file with a first key; raises KeyFileError where it is there."""
        ring = KeyRing({1: entropy(KEY)})
        write_secret(self.path, _encode(ring))
        return ring

    def add(self, entropy: Entropy) -> KeyRing:
        """Add a version, which seals from now on."""
        old = self.ring()
        return self._put(KeyRing({**old.keys, old.newest + 1: entropy(KEY)}))

    def drop_old(self) -> KeyRing:
        """Keep the newest version alone: what is sealed under others stays sealed for ever."""
        old = self.ring()
        return self._put(KeyRing({old.newest: old.keys[old.newest]}))

    def note_erased(self, pseudonym: str) -> None:
        """Keep in a file beside the keys who was erased: a copy of the database that is put back knows them again."""
        descriptor = os.open(_erased(self.path), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, MODE)
        try:
            os.write(descriptor, f"{pseudonym}\n".encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def erased(self) -> list[str]:
        """Everybody who was erased, as noted."""
        path = _erased(self.path)
        return list(dict.fromkeys(path.read_text().split())) if path.exists() else []

    def _put(self, ring: KeyRing) -> KeyRing:
        write_secret(self.path, _encode(ring), replace=True)
        return ring


def _erased(path: Path) -> Path:
    return path.with_name(path.name + ".erased")


def _encode(ring: KeyRing) -> bytes:
    keys = {str(version): key.hex() for version, key in sorted(ring.keys.items())}
    return (json.dumps({"format": _FORMAT, "keys": keys}, indent=1) + "\n").encode()


def _decode(path: Path, raw: bytes) -> KeyRing:
    try:
        held = json.loads(raw)
        keys = {int(version): bytes.fromhex(key) for version, key in held["keys"].items()}
        if held["format"] != _FORMAT or not keys or {len(key) for key in keys.values()} != {KEY} or min(keys) < 1:
            raise ValueError
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise KeyFileError(f"{path} is not a key file of persons.") from error
    return KeyRing(keys)
