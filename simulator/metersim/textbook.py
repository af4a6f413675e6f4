"""ECDSA over P-256 by the book, for meters that are tried: slow, in plain integers, and no secret is safe with it.

Runs on MicroPython as well as on CPython.
"""

import hashlib

from meterlink.p256 import N, P, add, double, multiple
from meterlink.p256_base import ODD_MULTIPLES


def times_base(k: int) -> "tuple[int, int]":
    """k·G in affine coordinates, by doubling and adding."""
    x, t, z = 1, 1, 0
    gx, gt = multiple(ODD_MULTIPLES, 1)
    for bit in range(255, -1, -1):
        if z:
            x, t, z = double(x, t, z)
        if k >> bit & 1:
            x, t, z = add(x, t, z, gx, gt)
    w = pow(z, P - 2, P)
    return x * w * w % P, t * w * w * w * pow(2, P - 2, P) % P


def public_key(secret: int) -> bytes:
    """X||Y, 64 bytes."""
    x, y = times_base(secret)
    return x.to_bytes(32, "big") + y.to_bytes(32, "big")


def sign(secret: int, digest: bytes) -> bytes:
    """r||s; the nonce is a hash of key and digest, which is enough for a test."""
    k = int.from_bytes(hashlib.sha256(b"k" + secret.to_bytes(32, "big") + digest).digest(), "big") % (N - 1) + 1
    r = times_base(k)[0] % N
    s = pow(k, N - 2, N) * (int.from_bytes(digest, "big") + r * secret) % N
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")
