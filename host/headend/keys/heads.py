"""Signatures over the heads of the books: that this head end had these books on that day.

A signature is ECDSA P-256 by the newest control key over SHA-256(LABEL + digest), `digest` being SHA-256 of the line
that is signed. Orders are signed over SHA-256("OP1O" + …), so neither can pass as the other.
"""

import hashlib

import msgspec

from headend.keys.holder import KeyHolder
from headend.refusals import Refused
from meterlink.orders import ROLE_CONTROL

LABEL = b"openprepay books head 1\n"
DIGEST_LENGTH = 32


class HeadSignature(msgspec.Struct, frozen=True):
    """`role`, `version`, `public` (X||Y): the key that signed · `signature`: r||s, 64 bytes."""

    role: int
    version: int
    public: bytes
    signature: bytes


def digest_of(digest: bytes) -> bytes:
    """What is signed for a line with this SHA-256. Raises Refused for anything but 32 bytes."""
    if len(digest) != DIGEST_LENGTH:
        raise Refused("digest", f"{len(digest)} bytes", f"{DIGEST_LENGTH} bytes")
    return hashlib.sha256(LABEL + digest).digest()


def sign(keys: KeyHolder, digest: bytes) -> HeadSignature:
    """Sign the line with this SHA-256. Raises Refused, NoSuchKey."""
    name = keys.newest(ROLE_CONTROL)
    return HeadSignature(name.role, name.version, keys.public_key(name), keys.sign(name, digest_of(digest)))
