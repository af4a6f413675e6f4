"""What a key store does in a second, in a file and in a token of SoftHSM: meter keys derived, digests signed.

SoftHSM is OpenSSL behind the PKCS #11 interface: its figures are what the interface costs. A real module answers as
fast as its maker says. Without SoftHSM the file alone is measured.
"""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from headend.keys.base import StatedKeys
from headend.keys.hsm_uri import HsmUri
from headend.keys.keystore import KeyStore
from meterlink.orders import ROLE_CREDIT
from openprepay.bench.figure import Figure, against, race, timed

if TYPE_CHECKING:
    from headend.keys.hsm import HsmKeys

NUMBER = 200  # in a round
MODULE = "/usr/lib/softhsm/libsofthsm2.so"

_DIGEST = bytes(range(100, 132))
_PIN = "123456"


def run(seconds: float) -> Iterator[Figure]:
    """Both places, each beside the same work done by the cryptography package alone."""
    yield from _measure("", KeyStore.generate().without_root(), seconds / 2)
    if Path(MODULE).exists():
        with tempfile.TemporaryDirectory() as folder:
            token = _token(Path(folder))
            yield from _measure("_softhsm", token, seconds / 2)
            token.close()


def _measure(suffix: str, keys: StatedKeys, seconds: float) -> Iterator[Figure]:
    name, meters = keys.newest(ROLE_CREDIT), count(1)
    bare_key, scheme = ec.generate_private_key(ec.SECP256R1()), ec.ECDSA(utils.Prehashed(hashes.SHA256()))
    info = b"openprepay meter key 1" + bytes(7)

    def derive() -> None:
        for _ in range(NUMBER):
            keys.meter_key(next(meters), 1)

    def bare_derive() -> None:
        for _ in range(NUMBER):
            HKDFExpand(hashes.SHA256(), 32, info).derive(_DIGEST)

    def sign() -> None:
        for _ in range(NUMBER):
            keys.sign(name, _DIGEST)

    def bare_sign() -> None:
        for _ in range(NUMBER):
            bare_key.sign(_DIGEST, scheme)

    for what, unit, ours, bare, peer in (
        ("keys_derive", "keys/s", derive, bare_derive, "HKDFExpand of the cryptography package"),
        ("keys_sign", "signatures/s", sign, bare_sign, "sign() of the cryptography package, random nonce, DER"),
    ):
        ours_s, bare_s = race([timed(ours), timed(bare)], seconds / 2, rounds=2)
        yield against(what + suffix, NUMBER / ours_s, unit, peer, NUMBER / bare_s)


def _token(folder: Path) -> "HsmKeys":
    """A fresh token in a folder of its own."""
    from headend.keys.hsm import HsmKeys

    (folder / "tokens").mkdir()
    (folder / "conf").write_text(f"directories.tokendir = {folder}/tokens\n", encoding="utf-8")
    os.environ["SOFTHSM2_CONF"] = str(folder / "conf")
    words = ["softhsm2-util", "--init-token", "--free", "--label", "bench", "--pin", _PIN, "--so-pin", "12345678"]
    subprocess.run(words, check=True, capture_output=True)
    return HsmKeys.create(HsmUri("bench", MODULE, folder / "state"), _PIN)
