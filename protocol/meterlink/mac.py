"""HMAC-SHA-256 (RFC 2104) under the per-meter key, with one label per use, and constant-time comparison.

One key serves five uses; a label of four bytes in front of every message keeps them apart, so that a report can never
be taken for an order's tag. MicroPython has `hashlib.sha256` in C but no `hmac`, so the construction is here.
"""

import hashlib

LABEL_ORDER_DIGEST = b"OP1O"  # not a MAC: the prefix of what is hashed and signed
LABEL_ORDER_TAG = b"OP1T"
LABEL_REPORT = b"OP1R"
LABEL_BATCH = b"OP1B"
LABEL_ACK = b"OP1A"
LABEL_WRAP = b"OP1K"  # key stream that hides a new key on its way

KEY_LENGTH = 32
MAC_LENGTH = 16  # reports and batches: HMAC-SHA-256-128 (RFC 4868 2.1)
TAG_LENGTH = 8  # orders and acknowledgements: only a gate before the signature, hence short

_BLOCK = 64


def _pad(key: bytes, value: int) -> bytes:
    block = bytearray(_BLOCK)
    block[: len(key)] = key
    for i in range(_BLOCK):
        block[i] ^= value
    return bytes(block)


class MacKey:
    """One per-meter key, prepared.

    `key` has 32 bytes; raises ValueError otherwise.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_LENGTH:
            raise ValueError("key: {} bytes given, {} expected".format(len(key), KEY_LENGTH))
        self._inner = _pad(key, 0x36)
        self._outer = _pad(key, 0x5C)

    def mac(self, label: bytes, message: bytes, length: int = MAC_LENGTH) -> bytes:
        """The first `length` (1..32) bytes of HMAC-SHA-256(key, label + message)."""
        inner = hashlib.sha256(self._inner)
        inner.update(label)
        inner.update(message)
        outer = hashlib.sha256(self._outer)
        outer.update(inner.digest())
        return outer.digest()[:length]

    def check(self, label: bytes, message: bytes, mac: bytes) -> bool:
        """Whether `mac` (8..32 bytes) is genuine; takes the same time wherever they differ."""
        return 8 <= len(mac) <= 32 and equal(self.mac(label, message, len(mac)), mac)


def equal(a: bytes, b: bytes) -> bool:
    """Compare two byte strings in a time that depends on their length only."""
    if len(a) != len(b):
        return False
    difference = 0
    for i in range(len(a)):
        difference |= a[i] ^ b[i]
    return difference == 0
