"""The curve P-256 (SP 800-186 3.2.1.3): y² = x³ - 3x + B modulo P, whose points are a group of prime order N.

What a signature check needs of it, with few field multiplications and few objects on the heap. Nothing here is secret,
so nothing here takes constant time.

A point that is being computed is `(x, t, z)`: Jacobian coordinates with the ordinate doubled, which stand for the
affine point (x / z², t / (2 z³)); x is in 0..P-1, the point at infinity is (1, 1, 0). A table of points is a bytes-like
object, 64 bytes an affine point (X, Y big-endian): a third of the heap that integers would take.

A long computation is a generator: it yields between slices of work and returns its result. No slice takes more than
11 field multiplications, 8 steps of Euclid or 32 positions of a scalar; the multiplications take the longest.

Field multiplications are `a * b % P`: the division in C was measured on MicroPython against the shift-and-add reduction
that the shape of P allows (4 times slower), Barrett's and Montgomery's (1.3 times slower, thrice the garbage). Sums and
differences are left unreduced until the next product, and sums of products are reduced once.
"""

import collections

try:
    from micropython import const
except ImportError:

    def const(value: int) -> int:
        """A value that the compiler of MicroPython puts where it is used."""
        return value


P = const(0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF)
N = const(0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551)
B = const(0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B)


def on_curve(x: int, y: int) -> bool:
    """Whether (x, y) is a point of the curve; both in 0..P-1. The order is prime: such a point generates the group."""
    return (y * y - (x * x - 3) * x - B) % P == 0


def double(x: int, t: int, z: int) -> "tuple[int, int, int]":
    """Twice a point that is not at infinity: 8 multiplications, 7 reductions.

    This is dbl-2001-b of the Explicit-Formulas Database with t for 2y, which saves the factors 2, 4 and 8.
    """
    zz = z * z % P
    slope = (x - zz) * 3 * (x + zz) % P
    tt = t * t % P
    b = x * tt % P
    x = (slope * slope - b - b) % P
    return x, ((slope + slope) * (b - x) - tt * tt) % P, t * z % P


def add(x: int, t: int, z: int, x2: int, t2: int) -> "tuple[int, int, int]":
    """(x, t, z) plus the affine point (x2, t2 / 2): 11 multiplications, 10 reductions (madd-2007-bl).

    Any two points may be given, the same point, opposite ones and infinity included; x2 is in 0..P-1, t2 any residue.
    """
    if not z:
        return x2, t2, 1
    zz = z * z % P
    h = (x2 * zz - x) % P
    slope = (t2 * (z * zz % P) - t) % P
    if not h:
        return (1, 1, 0) if slope else double(x, t, z)
    h += h
    hh = h * h % P
    b = x * hh % P
    hh = hh * (h >> 1) % P
    x = (slope * slope - hh - b - b) % P
    return x, (slope * (b - x) - t * hh << 1) % P, z * h % P


def signed_digits(scalar: int, width: int) -> "collections.abc.Generator[None, None, bytearray]":
    """The windowed non-adjacent form of a scalar (0..2^256-1), width 2..7: 257 digits, lowest first.

    A digit is 0 or odd and within ±(2^(width-1) - 1), kept as a byte in two's complement. Between two digits that are
    not 0 there are at least width-1 zeros, so that one position in width+1 costs an addition. (Hankerson, Menezes,
    Vanstone: Guide to Elliptic Curve Cryptography, algorithm 3.35.)
    """
    digits = bytearray(257)
    octets = scalar.to_bytes(34, "little")
    mask = (1 << width) - 1
    half = 1 << (width - 1)
    carry = at = pause = 0
    while at < 257:
        if at >= pause:
            pause += 32
            yield
        window = (octets[at >> 3] | octets[(at >> 3) + 1] << 8) >> (at & 7)
        if window & 1 == carry:
            at += 1
            continue
        digit = (window & mask) + carry
        carry = digit > half
        digits[at] = (digit - mask - 1 if carry else digit) & 255
        at += width
    return digits


def multiple(table: "bytes | bytearray", digit: int) -> "tuple[int, int]":
    """The entry of a table of odd multiples that belongs to a digit of `signed_digits`, as (x, t) for `add`."""
    sign = 2
    if digit > 127:
        digit = 256 - digit
        sign = -2
    at = digit >> 1 << 6
    return int.from_bytes(table[at : at + 32], "big"), int.from_bytes(table[at + 32 : at + 64], "big") * sign


def inverse(value: int, modulus: int) -> "collections.abc.Generator[None, None, int]":
    """1 / value (1..modulus-1) for a prime modulus, by Euclid's algorithm: a quarter of the time of a power."""
    low, high, u, v = value, modulus, 1, 0
    steps = 0
    while low:
        if not steps & 7:
            yield
        steps += 1
        quotient = high // low
        high, low = low, high - quotient * low
        v, u = u, v - quotient * u
    return v % modulus


def odd_multiples(x: int, y: int, count: int) -> "collections.abc.Generator[None, None, bytearray]":
    """The table of Q, 3Q, 5Q … (2 count - 1) Q for a point Q = (x, y) of the curve.

    2Q is added again and again; the sum and 2Q always share one z, so that an addition takes 7 multiplications (Meloni:
    New Point Addition Formulae for ECC Applications, 2007). One inversion of the last z then makes all of them affine,
    because each z is the one before times a known factor. No two points that meet here are equal or opposite.
    """
    table = bytearray(64 * count)
    factors = bytearray(32 * count)
    table[:32] = x.to_bytes(32, "big")
    table[32:64] = y.to_bytes(32, "big")
    # (x2, y2) is 2Q and (x, y) is Q, both over z.
    slope = 3 * (x - 1) * (x + 1) % P
    z = 2 * y
    yy = y * y % P
    x = 4 * x * yy % P
    y = 8 * yy * yy % P
    x2 = (slope * slope - x - x) % P
    y2 = (slope * (x - x2) - y) % P
    for k in range(1, count):
        yield
        h = x - x2
        hh = h * h % P
        z = z * h % P
        x2 = x2 * hh % P
        b = x * hh % P
        slope = y - y2
        y2 = y2 * (b - x2) % P
        x = (slope * slope - x2 - b) % P
        y = (slope * (x2 - x) - y2) % P
        table[64 * k : 64 * k + 32] = x.to_bytes(32, "big")
        table[64 * k + 32 : 64 * k + 64] = y.to_bytes(32, "big")
        factors[32 * k : 32 * k + 32] = (h % P).to_bytes(32, "big")
    z = yield from inverse(z, P)
    for k in range(count - 1, 0, -1):
        yield
        zz = z * z % P
        x = int.from_bytes(table[64 * k : 64 * k + 32], "big") * zz % P
        y = int.from_bytes(table[64 * k + 32 : 64 * k + 64], "big") * (zz * z % P) % P
        z = int.from_bytes(factors[32 * k : 32 * k + 32], "big") * z % P
        table[64 * k : 64 * k + 32] = x.to_bytes(32, "big")
        table[64 * k + 32 : 64 * k + 64] = y.to_bytes(32, "big")
    return table
