"""ECDSA over P-256: the verification of a signature, in slices, so that metering never waits for it.

Source: FIPS 186-5 6.4.2 (SEC 1 4.1.4). Only public values are handled here, so nothing takes constant time.

The sum u1 G + u2 Q is computed by one ladder of doublings for both scalars, whose digits are in windowed non-adjacent
form: 6 bits wide for the base point G (its table is a constant), 5 for the public key Q (its table is made anew each
time, 8 points). That takes about 3 000 field multiplications, at most 3 200. Between two slices no more than 3 KiB of
heap are in use (4.1 KiB with words of 64 bits); a slice leaves up to 3 KiB of garbage (4 KiB).
"""

import collections

from meterlink.p256 import N, P, add, double, inverse, multiple, odd_multiples, on_curve, signed_digits
from meterlink.p256_base import ODD_MULTIPLES

PUBLIC_KEY_LENGTH = 64  # X, Y, big-endian
DIGEST_LENGTH = 32  # SHA-256
SIGNATURE_LENGTH = 64  # r, s, big-endian

_BASE_WIDTH = 6
_KEY_WIDTH = 5


def verify(public_key: bytes, digest: bytes, signature: bytes) -> bool:
    """Whether `signature` (64 bytes r‖s) over `digest` (32 bytes) was made with the private half of `public_key`.

    `public_key` has 64 bytes X‖Y; all are bytes, bytearray or memoryview, big-endian. Anything else gives False,
    never an exception: other types, wrong lengths, a point that is not on the curve, r or s outside 1..N-1.
    """
    run = steps(public_key, digest, signature)
    try:
        while True:
            next(run)
    except StopIteration as end:
        return end.value


def steps(public_key: bytes, digest: bytes, signature: bytes) -> "collections.abc.Generator[None, None, bool]":
    """The same as `verify`, as a generator that yields between slices of work and returns the verdict.

    A slice takes no more than 11 field multiplications, or as long (see `p256`); there are fewer than 500. The
    arguments are read in the first slice, at the first `next`; what happens to a buffer later has no effect.
    """
    x, y = _pair(public_key)
    r, s = _pair(signature)
    e = _number(digest, DIGEST_LENGTH)
    if not (0 < r < N and 0 < s < N and 0 <= e and 0 <= x < P and 0 <= y < P and on_curve(x, y)):
        return False
    w = yield from inverse(s, N)
    base_digits = yield from signed_digits(e * w % N, _BASE_WIDTH)
    key_digits = yield from signed_digits(r * w % N, _KEY_WIDTH)
    table = yield from odd_multiples(x, y, 1 << (_KEY_WIDTH - 2))
    x = t = 1
    z = 0
    for i in range(256, -1, -1):
        if z:
            x, t, z = double(x, t, z)
            yield
        digit = base_digits[i]
        if digit:
            x2, t2 = multiple(ODD_MULTIPLES, digit)
            x, t, z = add(x, t, z, x2, t2)
            yield
        digit = key_digits[i]
        if digit:
            x2, t2 = multiple(table, digit)
            x, t, z = add(x, t, z, x2, t2)
            yield
    # The affine abscissa is x / z²; it is r, or r + N where that is still below P. At infinity x is 1 and z is 0.
    zz = z * z % P
    return r * zz % P == x or (r + N < P and (r + N) * zz % P == x)


def _pair(octets: object) -> "tuple[int, int]":
    """The two numbers of a key or a signature; (-1, -1) if it is none."""
    both = _number(octets, 64)
    return (both >> 256, both & ((1 << 256) - 1)) if both >= 0 else (-1, -1)


def _number(octets: object, length: int) -> int:
    """The value of a big-endian, bytes-like object of that length; -1 for anything else."""
    if not isinstance(octets, (bytes, bytearray, memoryview)):
        return -1
    try:
        copy = bytes(octets)
    except ValueError:  # CPython: a memoryview that was released
        return -1
    return int.from_bytes(copy, "big") if len(copy) == length else -1
