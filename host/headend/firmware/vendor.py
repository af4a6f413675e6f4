"""Who made an image: a signature beside it, verified with the public keys of those who may.

ECDSA with SHA-256 on P-256 over all bytes of the image, DER as openssl writes it:

    openssl dgst -sha256 -sign vendor.pem -out meter.image.sig meter.image

It decides what may be put in. What a meter runs, the root key's order decides, whoever made the image.
"""

import hashlib
import re
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from headend.refusals import Refused

MAX_SIGNATURE = 80  # bytes, DER
MAX_FILE = 65_536
_PEM = re.compile(rb"-----BEGIN PUBLIC KEY-----.+?-----END PUBLIC KEY-----", re.DOTALL)

Keys = dict[str, ec.EllipticCurvePublicKey]
"""SHA-256 of a key's DER, hexadecimal -> the key."""


def load(path: str) -> Keys:
    """The keys of a PEM file, one or several; none where no file is named. Raises Refused."""
    if not path:
        return {}
    try:
        with Path(path).open("rb") as file:
            text = file.read(MAX_FILE)
    except OSError as error:
        raise Refused("firmware_keys", path, f"a file that can be read ({error.strerror})") from error
    found = dict(_key(path, one) for one in _PEM.findall(text))
    if not found:
        raise Refused("firmware_keys", path, "a PEM file with public keys")
    return found


def _key(path: str, pem: bytes) -> tuple[str, ec.EllipticCurvePublicKey]:
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Refused("firmware_keys", path, f"a PEM file with public keys ({error})") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise Refused("firmware_keys", path, "keys on P-256")
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest(), key


def signer_of(keys: Keys, raw: bytes, signature: bytes) -> str:
    """The name of the key that signed an image; "" where no keys are given. Raises Refused where none of them did."""
    if not keys:
        if signature:
            raise Refused("signature", f"{len(signature)} bytes", "the setting firmware_keys, to verify it with")
        return ""
    if not signature:
        raise Refused("signature", "nothing", f"one of the vendor's, by {' or '.join(name[:16] for name in keys)}")
    for name, key in keys.items():
        try:
            key.verify(signature, raw, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            continue
        return name
    expected = f"one over this image, by {' or '.join(name[:16] for name in keys)}"
    raise Refused("signature", f"{len(signature)} bytes that do not fit", expected)
