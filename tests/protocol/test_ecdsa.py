"""ECDSA verification against `cryptography`, the NIST CAVP vectors and textbook affine arithmetic.

The CAVP set is every P-256 vector of FIPS 186-2 and 186-3. The check takes a digest of 32 bytes, so that of another
hash is brought to that length as FIPS 186-5 6.4.2 says: the leftmost 256 bits, or zeros in front.
"""

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import cryptography_vectors
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from hypothesis import example, given, settings
from hypothesis import strategies as st

from meterlink import ecdsa, p256
from meterlink.p256 import N, P
from meterlink.p256_base import ODD_MULTIPLES
from openprepay.bench.ecdsa import products_by_slice
from tests import upyhost

Point = tuple[int, int]
Signed = tuple[bytes, bytes, bytes]

G = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
)
SCALARS = st.integers(1, N - 1)
DIGESTS = st.binary(min_size=32, max_size=32)


def octets(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(32, "big") for number in numbers)


def private(scalar: int) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(scalar, ec.SECP256R1())


def multiple(scalar: int) -> Point:
    """scalar · G, by `cryptography`."""
    at = private(scalar % N).public_key().public_numbers()
    return at.x, at.y


def signed(scalar: int, digest: bytes) -> Signed:
    algorithm = ec.ECDSA(utils.Prehashed(hashes.SHA256()))
    r, s = utils.decode_dss_signature(private(scalar).sign(digest, algorithm))
    return octets(*multiple(scalar)), digest, octets(r, s)


def foreign(public_key: bytes, digest: bytes, signature: bytes) -> bool:
    """What `cryptography` says; a key or signature that it does not take is refused."""
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    try:
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + public_key)
        key.verify(utils.encode_dss_signature(r, s), digest, ec.ECDSA(utils.Prehashed(hashes.SHA256())))
    except (InvalidSignature, ValueError):
        return False
    return True


def plus(a: Point | None, b: Point | None) -> Point | None:
    """Affine addition, as textbooks have it; None is the point at infinity. B of the curve does not occur in it."""
    if a is None or b is None:
        return a or b
    if a[0] == b[0] and (a[1] + b[1]) % P == 0:
        return None
    slope = (3 * a[0] * a[0] - 3) * pow(2 * a[1], -1, P) if a == b else (b[1] - a[1]) * pow(b[0] - a[0], -1, P)
    x = (slope * slope - a[0] - b[0]) % P
    return x, (slope * (a[0] - x) - a[1]) % P


def times(scalar: int, a: Point) -> Point | None:
    total: Point | None = None
    for bit in bin(scalar % N)[2:]:
        total = plus(total, total)
        total = plus(total, a) if bit == "1" else total
    return total


def forged(key: Point, u1: int, u2: int) -> Signed | None:
    """Key, digest and signature for which the check computes u1 G + u2 key; None where that is infinity.

    With u1 = 0 the key may be a point of any curve y² = x³ - 3x + …: B occurs in no formula.
    """
    point = plus(times(u1, G), times(u2, key))
    if point is None:
        return None
    r = point[0] % N
    s = r * pow(u2, -1, N) % N
    return octets(*key), octets(u1 * s % N), octets(r, s)


# -- against cryptography


@given(SCALARS, DIGESTS)
@example(1, bytes(32))
@example(2, b"\xff" * 32)
@example(N - 1, octets(N))
@example(N - 2, octets(N - 1))
@example((N - 1) // 2, octets(1))
@settings(max_examples=150, deadline=None)
def test_what_cryptography_signs_holds(scalar: int, digest: bytes) -> None:
    key, digest, signature = signed(scalar, digest)
    assert ecdsa.verify(key, digest, signature) is True
    r, s = signature[:32], int.from_bytes(signature[32:], "big")
    assert ecdsa.verify(key, digest, r + octets(N - s)) is True


@given(SCALARS, DIGESTS, st.integers(0, 2), st.data())
@settings(max_examples=150, deadline=None)
def test_one_bit_changed_is_judged_as_cryptography_judges_it(
    scalar: int, digest: bytes, part: int, data: st.DataObject
) -> None:
    parts = list(signed(scalar, digest))
    bit = data.draw(st.integers(0, 8 * len(parts[part]) - 1))
    parts[part] = (int.from_bytes(parts[part], "big") ^ 1 << bit).to_bytes(len(parts[part]), "big")
    assert ecdsa.verify(*parts) is foreign(*parts) is False


@given(SCALARS, DIGESTS, *[st.one_of(st.integers(0, 3), st.integers(N - 2, N + 2), st.integers(0, 2**256 - 1))] * 2)
@settings(max_examples=100, deadline=None)
def test_any_r_and_s_are_judged_as_cryptography_judges_them(scalar: int, digest: bytes, r: int, s: int) -> None:
    parts = (octets(*multiple(scalar)), digest, octets(r, s))
    assert ecdsa.verify(*parts) is foreign(*parts)


@given(*[st.one_of(st.none(), st.text(), st.integers(), st.binary(max_size=70), st.lists(st.integers(0, 255)))] * 3)
@settings(max_examples=100)
def test_nothing_raises(public_key: object, digest: object, signature: object) -> None:
    assert ecdsa.verify(public_key, digest, signature) is False


def test_a_buffer_that_is_gone_is_refused() -> None:
    parts = signed(7, bytes(32))
    for part in range(3):
        views = [memoryview(each) for each in parts]
        views[part].release()
        assert ecdsa.verify(*views) is False


# -- the group: small scalars meet every exception of the addition formulas


@pytest.mark.parametrize("key", [1, 2, 3, 5, 7, 15, 17, 31, 33, N - 1, N - 2, N - 3, N - 15, N - 31, (N + 1) // 2])
def test_small_multiples_of_small_keys(key: int) -> None:
    inverse = pow(key, -1, N)
    for u1 in [*range(35), 63, 64, 65, N - 1, N - 33]:
        # The scalar for the key that makes both halves equal, opposite, or leaves a small sum.
        for target in (u1, -u1, 1, 2, -1, 31, 64):
            u2 = target * inverse % N
            if u2 == 0:
                continue
            if (u1 + target) % N:
                r = multiple(u1 + target)[0] % N
            else:
                r = G[0]  # the sum is at infinity: nothing holds
            s = r * pow(u2, -1, N) % N
            parts = (octets(*multiple(key)), octets(u1 * s % N), octets(r, s))
            assert ecdsa.verify(*parts) is bool((u1 + target) % N), (u1, target)


@given(SCALARS, st.integers(0, N - 1), st.integers(-40, 40).filter(bool))
@settings(max_examples=60, deadline=None)
def test_sums_close_to_the_base_point_and_to_infinity(key: int, u1: int, target: int) -> None:
    u2 = (target - u1) * pow(key, -1, N) % N
    r = multiple(target)[0] % N
    if u2:
        s = r * pow(u2, -1, N) % N
        assert ecdsa.verify(octets(*multiple(key)), octets(u1 * s % N), octets(r, s)) is True


@pytest.mark.parametrize("scalar", [1, 2, 3, N - 1, 2**255 + 12345])
def test_addition_takes_any_two_points(scalar: int) -> None:
    x, y = multiple(scalar)
    z = 0x1234567890ABCDEF**3 % P
    same = (x * z * z % P, 2 * y * z**3 % P, z)

    def affine(point: tuple[int, int, int]) -> Point | None:
        inverse = pow(point[2], -1, P) if point[2] else 0
        return (point[0] * inverse**2 % P, point[1] * inverse**3 * pow(2, -1, P) % P) if inverse else None

    assert affine(p256.double(*same)) == affine(p256.add(*same, x, 2 * y)) == multiple(2 * scalar)
    assert affine(p256.add(*same, x, -2 * y)) is None
    assert affine(p256.add(*same, *multiple(scalar + 5)[:1], 2 * multiple(scalar + 5)[1])) == multiple(2 * scalar + 5)
    infinity = p256.add(*same, x, -2 * y)
    assert affine(p256.add(*infinity, x, -2 * y)) == (x, P - y)


def test_table_of_the_base_point() -> None:
    assert len(ODD_MULTIPLES) == 16 * 64
    for k in range(16):
        assert ODD_MULTIPLES[64 * k : 64 * k + 64] == octets(*multiple(2 * k + 1))


@given(st.integers(0, 2**256 - 1), st.integers(2, 7))
@example(2**256 - 1, 6)
@example(2**256 - 1, 2)
@example(0, 5)
def test_signed_digits_are_the_scalar(scalar: int, width: int) -> None:
    digits, pauses = finish(p256.signed_digits(scalar, width))
    assert pauses == 9
    values = [digit - 256 if digit > 127 else digit for digit in digits]
    assert sum(value << k for k, value in enumerate(values)) == scalar
    assert all(value % 2 and abs(value) < 2 ** (width - 1) for value in values if value)
    at = [k for k, value in enumerate(values) if value]
    assert all(after - before >= width for before, after in pairwise(at))


@given(st.sampled_from([P, N]), st.data())
def test_inverse(modulus: int, data: st.DataObject) -> None:
    value = data.draw(st.integers(1, modulus - 1))
    low, high, steps = value, modulus, 0
    while low:
        low, high, steps = high % low, low, steps + 1
    assert finish(p256.inverse(value, modulus)) == (pow(value, -1, modulus), (steps + 7) // 8)


def finish(run: Iterator[None]) -> tuple[Any, int]:
    """What a generator returns, and how often it yielded."""
    pauses = 0
    while True:
        try:
            next(run)
        except StopIteration as end:
            return end.value, pauses
        pauses += 1


# -- slices

# N over the golden ratio: there Euclid takes far more steps (270) than usual (150).
LONGEST_EUCLID = N * 0x9E3779B97F4A7C15F39CC0605CEDC8341082276BF3A27251F86C6A11D0C18E95 >> 256


@pytest.mark.parametrize("s", [1, 2, N - 1, LONGEST_EUCLID, LONGEST_EUCLID + 1])
def test_slices_are_short_and_few(s: int) -> None:
    """The bounds that the docstrings promise, for scalars whose inversion is short or as long as can be."""
    counts = products_by_slice(octets(*multiple(11)), b"\xab" * 32, octets(G[0] % N, s))
    assert max(counts) == 11
    assert len(counts) < 500


@given(SCALARS, DIGESTS)
@settings(max_examples=20, deadline=None)
def test_field_multiplications_are_few(scalar: int, digest: bytes) -> None:
    counts = products_by_slice(*signed(scalar, digest))
    assert max(counts) == 11
    assert 2000 < sum(counts) < 3200
    assert len(counts) < 500


# -- NIST CAVP


def vectors(name: str) -> Iterator[tuple[str, dict[str, str]]]:
    """The records of a CAVP file under [P-256…], with the hash that the heading names (SHA-1 where it names none)."""
    text = (Path(cryptography_vectors.__file__).parent / "asymmetric/ECDSA" / name).read_text(encoding="ascii")
    sections = re.split(r"^\[([^\]]+)\]\s*$", text, flags=re.MULTILINE)[1:]
    for heading, body in zip(sections[::2], sections[1::2], strict=True):
        curve, _, hashed = heading.partition(",")
        if curve == "P-256":
            for record in re.split(r"\n\s*\n", body.strip()):
                yield hashed or "SHA-1", dict(re.findall(r"^(\w+) = (.*?)\s*$", record, flags=re.MULTILINE))


def digest_of(hashed: str, message: str) -> bytes:
    hasher = hashes.Hash(getattr(hashes, hashed.replace("-", ""))())
    hasher.update(bytes.fromhex(message))
    return hasher.finalize()[:32].rjust(32, b"\0")


def signature_cases() -> list[tuple[Signed, bool]]:
    """SigVer with its verdicts, and SigGen, whose signatures all hold."""
    cases = []
    for name in ("FIPS_186-2/SigVer.rsp", "FIPS_186-3/SigVer.rsp", "FIPS_186-2/SigGen.txt", "FIPS_186-3/SigGen.txt"):
        for hashed, record in vectors(name):
            parts = [octets(*(int(record[field], 16) for field in pair)) for pair in (("Qx", "Qy"), ("R", "S"))]
            holds = record.get("Result", "P").startswith("P")
            cases.append(((parts[0], digest_of(hashed, record["Msg"]), parts[1]), holds))
    return cases


def key_cases() -> list[tuple[Signed, bool]]:
    """PKV: for each key a signature that holds for whoever does not look whether the key is a point of the curve."""
    cases = []
    for name in ("FIPS_186-2/PKV.rsp", "FIPS_186-3/PKV.rsp"):
        for _, record in vectors(name):
            x, y = int(record["Qx"], 16), int(record["Qy"], 16)
            made = forged((x, y), 0, 5**100 % N) if max(x, y) < 2**256 else None
            if made is not None:
                cases.append((made, record["Result"].startswith("P")))
    return cases


def test_cavp() -> None:
    cases = signature_cases()
    assert len(cases) > 150
    assert {holds for _, holds in cases} == {True, False}
    for parts, holds in cases:
        assert ecdsa.verify(*parts) is holds, parts


def test_cavp_keys() -> None:
    cases = key_cases()
    assert len(cases) > 10
    assert {holds for _, holds in cases} == {True, False}
    for parts, holds in cases:
        assert ecdsa.verify(*parts) is holds, parts


ON_MICROPYTHON = """
import sys
from binascii import unhexlify
from meterlink import ecdsa

with open(sys.argv[1]) as cases:
    for case in cases:
        print(int(ecdsa.verify(*[unhexlify(part) for part in case.split()])))
"""


def test_cavp_on_micropython(tmp_path: Path) -> None:
    cases = signature_cases() + key_cases()
    script, listed = tmp_path / "cavp.py", tmp_path / "cavp.txt"
    script.write_text(ON_MICROPYTHON, encoding="ascii")
    listed.write_text("\n".join(" ".join(part.hex() for part in parts) for parts, _ in cases), encoding="ascii")
    done = upyhost.run(script, str(listed), heapsize="64K")
    assert done.stdout.split() == [str(int(holds)) for _, holds in cases]
