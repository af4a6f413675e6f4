"""The library that simulations verify with answers as the firmware's own verification does."""

import random
from collections.abc import Generator

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.hashes import SHA256

from meterlink import ecdsa
from meterlink.p256 import N, P
from openprepay.simcheck import verifier

Signed = tuple[bytes, bytes, bytes]
EDGES = (0, 1, 2, N - 1, N, N + 1, P - 1, P, (1 << 256) - 1)


def octets(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(32, "big") for number in numbers)


def signed(rng: random.Random) -> Signed:
    private = ec.derive_private_key(rng.randrange(1, N), ec.SECP256R1())
    digest = rng.randbytes(32)
    r, s = utils.decode_dss_signature(private.sign(digest, ec.ECDSA(utils.Prehashed(SHA256()))))
    at = private.public_key().public_numbers()
    return octets(at.x, at.y), digest, octets(r, s)


def verdict(run: Generator[None, None, bool]) -> bool:
    try:
        while True:
            next(run)
    except StopIteration as end:
        return bool(end.value)


def both(*given: bytes) -> bool:
    """What both say."""
    fast, slow = verdict(verifier.steps(*given)), verdict(ecdsa.steps(*given))
    assert fast is slow, [one.hex() for one in given]
    return fast


def test_genuine_signatures_and_their_mirror_images() -> None:
    rng = random.Random(1)
    for _ in range(20):
        key, digest, signature = signed(rng)
        assert both(key, digest, signature)
        s = int.from_bytes(signature[32:], "big")
        assert both(key, digest, signature[:32] + octets(N - s))


def test_a_bit_changed_anywhere() -> None:
    rng = random.Random(2)
    for _ in range(120):
        given = [bytearray(part) for part in signed(rng)]
        part = rng.choice(given)
        part[rng.randrange(len(part))] ^= 1 << rng.randrange(8)
        assert not both(*map(bytes, given))


def test_r_and_s_at_the_edges_of_their_range() -> None:
    key, digest, signature = signed(random.Random(3))
    for edge in EDGES:
        assert not both(key, digest, octets(edge) + signature[32:])
        assert not both(key, digest, signature[:32] + octets(edge))
        assert not both(key, digest, octets(edge, edge))


def test_digests_at_the_edges() -> None:
    private = ec.derive_private_key(7, ec.SECP256R1())
    at = private.public_key().public_numbers()
    for edge in EDGES:
        digest = octets(edge)
        r, s = utils.decode_dss_signature(private.sign(digest, ec.ECDSA(utils.Prehashed(SHA256()))))
        assert both(octets(at.x, at.y), digest, octets(r, s))


def test_another_key_and_points_that_are_none() -> None:
    rng = random.Random(4)
    key, digest, signature = signed(rng)
    assert not both(signed(rng)[0], digest, signature)
    for edge in EDGES:
        assert not both(octets(edge) + key[32:], digest, signature)
        assert not both(key[:32] + octets(edge), digest, signature)
        assert not both(octets(edge, edge), digest, signature)


@pytest.mark.parametrize("at", range(3))
@pytest.mark.parametrize("change", [lambda part: part[:-1], lambda part: part + b"\0", lambda _: b"", lambda _: None])
def test_what_has_another_length_or_type(at: int, change: object) -> None:
    given = list(signed(random.Random(5)))
    given[at] = change(given[at])  # type: ignore[operator]
    assert not both(*given)


def test_only_while_it_lasts() -> None:
    slow = ecdsa.steps
    with verifier.fast():
        assert ecdsa.steps is verifier.steps
    assert ecdsa.steps is slow
