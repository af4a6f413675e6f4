"""The meter's verification of signatures by a library, for simulations that verify by the ten thousand.

The same answer as `meterlink.ecdsa.steps` gives, in one slice instead of several hundred; tests hold one against the
other. A meter never runs this.
"""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from meterlink import ecdsa

_ALGORITHM = ec.ECDSA(Prehashed(SHA256()))


def steps(public_key: bytes, digest: bytes, signature: bytes) -> Generator[None, None, bool]:
    """As `meterlink.ecdsa.steps`, contract and all."""
    try:
        octets = bytes(public_key), bytes(digest), bytes(signature)
    except (TypeError, ValueError):
        return False
    yield
    return _verify(*octets)


def _verify(public_key: bytes, digest: bytes, signature: bytes) -> bool:
    lengths = ecdsa.PUBLIC_KEY_LENGTH, ecdsa.DIGEST_LENGTH, ecdsa.SIGNATURE_LENGTH
    if (len(public_key), len(digest), len(signature)) != lengths:
        return False
    key = _key(public_key)
    if key is None:
        return False
    r, s = (int.from_bytes(signature[at : at + 32], "big") for at in (0, 32))
    try:
        key.verify(encode_dss_signature(r, s), digest, _ALGORITHM)
    except InvalidSignature:
        return False
    return True


@lru_cache(maxsize=64)
def _key(octets: bytes) -> ec.EllipticCurvePublicKey | None:
    """The key of X‖Y; None for a point that is not on the curve."""
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + octets)
    except ValueError:
        return None


@contextmanager
def fast() -> Iterator[None]:
    """While it lasts, meters in this process verify by the library."""
    slow = ecdsa.steps
    ecdsa.steps = steps
    try:
        yield
    finally:
        ecdsa.steps = slow


__all__ = ["fast", "steps"]
