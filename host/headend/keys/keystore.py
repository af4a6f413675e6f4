"""The key store: signing keys by role and version, the fleet's master keys, and the signing epoch of the database.

A per-meter key is HKDF-SHA-256 (RFC 5869) of a master key, bound to its purpose, the meter and the master's version: no
meter's key tells anything of another's, and none is stored. Signatures are ECDSA P-256 over a SHA-256 digest (FIPS
186-5), deterministic (RFC 6979): the same statement always gives the same bytes, so that signing it again after a crash
is harmless.

The signing epoch and credit source stand here, outside the database: after a restore they differ from an old
database's, and the signer refuses until both agree.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, Self

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from headend.keys import sealed
from headend.keys.sealed import KeyFileError, Work
from headend.refusals import Refused
from meterlink.mac import KEY_LENGTH, MacKey
from meterlink.orders import MAX_METER, ROLE_CONTROL, ROLE_CREDIT, ROLE_ROOT

ORDER_OF_P256 = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
CACHED_METERS = 65_536

_CURVE = ec.SECP256R1()
_DIGEST = utils.Prehashed(hashes.SHA256())
_METER_KEY = b"openprepay meter key 1"

Entropy = Callable[[int], bytes]


class KeyName(NamedTuple):
    """Which key: `role` (meterlink.orders.ROLE_*) and `version` (0..255)."""

    role: int
    version: int


class NoSuchKey(Refused):
    """The store does not hold that key, or only its public half."""


class KeyStore:
    """Keys in memory. Made by `generate` or `load`; nothing here prints or logs a secret."""

    def __init__(
        self,
        signing_epoch: int,
        source: int,
        masters: Mapping[int, bytes],
        public: Mapping[KeyName, bytes],
        private: Mapping[KeyName, int],
    ) -> None:
        """`masters`: 32 bytes by version 0..255 · `public`: X||Y, 64 bytes · `private`: scalars; else KeyFileError."""
        if not (1 <= signing_epoch <= 0xFFFF and 1 <= source <= 0xFFFF):
            raise KeyFileError(f"signing_epoch {signing_epoch} and source {source}: 1..65535 expected.")
        if any(len(master) != KEY_LENGTH for master in masters.values()):
            raise KeyFileError(f"A master key has not {KEY_LENGTH} bytes.")
        self.signing_epoch = signing_epoch
        self.source = source
        self._masters = dict(masters)
        self._scalars = dict(private)
        self._private = {name: ec.derive_private_key(scalar, _CURVE) for name, scalar in private.items()}
        self._public = dict(public)
        for name, key in self._private.items():
            if self._public.setdefault(name, _public_bytes(key)) != _public_bytes(key):
                raise KeyFileError(f"The halves of the key {tuple(name)} do not fit.")
        for name, point in self._public.items():
            if not (ROLE_ROOT <= name.role <= ROLE_CONTROL and 0 <= name.version <= 0xFF and _on_curve(point)):
                raise KeyFileError(f"The key {tuple(name)} is not a P-256 key of a known role.")
        self._scheme = _deterministic()
        self.mac_key: Callable[[int, int], MacKey] = lru_cache(CACHED_METERS)(self._mac_key)

    @classmethod
    def generate(cls, entropy: Entropy = os.urandom, signing_epoch: int = 1, source: int = 1) -> Self:
        """Fresh keys of all roles, version 1, root's private half included (see `without_root`)."""
        private = {KeyName(role, 1): _scalar(entropy) for role in (ROLE_ROOT, ROLE_CREDIT, ROLE_CONTROL)}
        return cls(signing_epoch, source, {1: entropy(KEY_LENGTH)}, {}, private)

    def without_root(self) -> "KeyStore":
        """What a head end holds: everything but the private root key."""
        private = {name: scalar for name, scalar in self._scalars.items() if name.role != ROLE_ROOT}
        return KeyStore(self.signing_epoch, self.source, self._masters, self._public, private)

    def root_only(self) -> "KeyStore":
        """What is kept offline: the root key and nothing else."""
        private = {name: scalar for name, scalar in self._scalars.items() if name.role == ROLE_ROOT}
        return KeyStore(self.signing_epoch, self.source, {}, {}, private)

    # --- signing keys -------------------------------------------------------------------------------------------------

    def names(self) -> list[KeyName]:
        """All keys whose public half is here, by role and version."""
        return sorted(self._public)

    def can_sign(self, name: KeyName) -> bool:
        return name in self._private

    def newest(self, role: int) -> KeyName:
        """The key of a role with the highest version; raises NoSuchKey."""
        held = [name for name in self._public if name.role == role]
        if not held:
            raise NoSuchKey("role", role, f"one of {sorted({name.role for name in self._public})}")
        return max(held)

    def public_key(self, name: KeyName) -> bytes:
        """X||Y, 64 bytes big-endian; raises NoSuchKey."""
        if name not in self._public:
            raise NoSuchKey("key", tuple(name), f"one of {[tuple(held) for held in self.names()]}")
        return self._public[name]

    def fingerprint(self, name: KeyName) -> str:
        """The first 16 hexadecimal digits of SHA-256 over the public key, for people to compare."""
        return hashlib.sha256(self.public_key(name)).hexdigest()[:16]

    def sign(self, name: KeyName, digest: bytes) -> bytes:
        """r||s (64 bytes) over a digest of 32 bytes; raises NoSuchKey where the private half is not here."""
        if name not in self._private:
            raise NoSuchKey("key", tuple(name), f"one of {[tuple(held) for held in sorted(self._private)]}")
        r, s = utils.decode_dss_signature(self._private[name].sign(digest, self._scheme))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    # --- per-meter keys -----------------------------------------------------------------------------------------------

    @property
    def tag_key_version(self) -> int:
        """The version that new meters get."""
        if not self._masters:
            raise NoSuchKey("tag_key_version", None, "a key store with a master key")
        return max(self._masters)

    def tag_key_versions(self) -> list[int]:
        return sorted(self._masters)

    def meter_key(self, meter: int, version: int) -> bytes:
        """The 32 bytes that a meter shares with the head end; raises NoSuchKey, Refused."""
        if not 1 <= meter <= MAX_METER:
            raise Refused("meter", meter, f"1..{MAX_METER}")
        if version not in self._masters:
            raise NoSuchKey("tag_key_version", version, f"one of {self.tag_key_versions()}")
        info = _METER_KEY + meter.to_bytes(6, "big") + bytes((version,))
        return HKDF(algorithm=hashes.SHA256(), length=KEY_LENGTH, salt=None, info=info).derive(self._masters[version])

    def _mac_key(self, meter: int, version: int) -> MacKey:
        """`meter_key`, ready for use. Public as `mac_key`, which remembers the last 65 536."""
        return MacKey(self.meter_key(meter, version))

    # --- the file -----------------------------------------------------------------------------------------------------

    def save(self, path: Path, passphrase: str, *, replace: bool = False, work: Work | None = None) -> None:
        """Write the encrypted file (mode 0600, atomic, on disk when this returns); raises KeyFileError, Refused."""
        plain = json.dumps(
            {
                "signing_epoch": self.signing_epoch,
                "source": self.source,
                "masters": {str(version): master.hex() for version, master in self._masters.items()},
                "public": [[*name, point.hex()] for name, point in sorted(self._public.items())],
                "private": [[*name, f"{scalar:064x}"] for name, scalar in sorted(self._scalars.items())],
            }
        )
        sealed.write_secret(path, sealed.seal(plain.encode(), passphrase, work), replace=replace)

    @classmethod
    def load(cls, path: Path, passphrase: str) -> Self:
        """Open the file; raises KeyFileError that names it (missing, readable by others, wrong passphrase, damaged)."""
        raw = sealed.read_secret(path)
        try:
            held = json.loads(sealed.unseal(raw, passphrase))
            return cls(
                held["signing_epoch"],
                held["source"],
                {int(version): bytes.fromhex(master) for version, master in held["masters"].items()},
                {KeyName(role, version): bytes.fromhex(point) for role, version, point in held["public"]},
                {KeyName(role, version): int(scalar, 16) for role, version, scalar in held["private"]},
            )
        except KeyFileError as error:
            raise KeyFileError(f"{path}: {error}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise KeyFileError(f"{path}: its content is not a key store of this version.") from error


def _scalar(entropy: Entropy) -> int:
    while True:  # NIST FIPS 186-5, A.2.2: draw until it is in range; the chance of a second draw is 2^-32
        drawn = int.from_bytes(entropy(32), "big")
        if 1 <= drawn < ORDER_OF_P256:
            return drawn


def _public_bytes(key: ec.EllipticCurvePrivateKey) -> bytes:
    form = serialization.PublicFormat.UncompressedPoint
    return key.public_key().public_bytes(serialization.Encoding.X962, form)[1:]


def _on_curve(point: bytes) -> bool:
    try:
        ec.EllipticCurvePublicKey.from_encoded_point(_CURVE, b"\x04" + point)
    except ValueError:
        return False
    return True


def _deterministic() -> ec.ECDSA:
    try:
        return ec.ECDSA(_DIGEST, deterministic_signing=True)
    except UnsupportedAlgorithm as error:
        raise KeyFileError(
            "Signing needs RFC 6979 (deterministic ECDSA), which OpenSSL has from 3.2 on; the installed cryptography "
            "package was built with an older one."
        ) from error
