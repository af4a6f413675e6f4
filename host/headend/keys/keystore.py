"""The key store as an encrypted file: signing keys by role and version, master keys, vending keys, the signing epoch.

Signatures are deterministic (RFC 6979): the same statement always gives the same bytes, so that signing it again after
a crash is harmless. A running program has the secrets in its memory; where that is too much, `hsm` leaves them in a
security module.
"""

import hmac
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Self

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

from headend.keys import sealed
from headend.keys.base import VENDING_KEY_LENGTH, StatedKeys
from headend.keys.holder import PRODUCTION, KeyName, Name, NoSuchKey, VendingName
from headend.keys.sealed import KeyFileError, Work
from headend.keys.state import KeyState
from headend.refusals import Refused
from meterlink.mac import KEY_LENGTH
from meterlink.orders import ROLE_ROOT

__all__ = ["KeyName", "KeyStore", "NoSuchKey", "VendingName"]

ORDER_OF_P256 = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

_CURVE = ec.SECP256R1()
_DIGEST = utils.Prehashed(hashes.SHA256())

Entropy = Callable[[int], bytes]


class KeyStore(StatedKeys):
    """Keys in memory: a KeyKeeper. Made by `generate` or `load`; nothing here prints or logs a secret."""

    def __init__(
        self,
        state: KeyState,
        private: Mapping[KeyName, int],
        secrets: Mapping[VendingName | int, bytes],
        entropy: Entropy = os.urandom,
    ) -> None:
        """`private`: scalars · `secrets`: 20 bytes by VendingName, 32 by version of a master key, all that `state`
        names. Public halves that `state` lacks are added. Raises KeyFileError where these do not fit together.
        """
        self._scalars = dict(private)
        self._private = {name: ec.derive_private_key(scalar, _CURVE) for name, scalar in private.items()}
        self._secrets = dict(secrets)
        public = dict(state.public)
        for name, key in self._private.items():
            if public.setdefault(name, _public_bytes(key)) != _public_bytes(key) or name in state.revoked:
                raise KeyFileError(f"The halves of the key {tuple(name)} do not fit.")
        if self._secrets.keys() != state.tag_keys | state.vending.keys():
            raise KeyFileError("The tag keys and vending keys are not those that are named.")
        for held, secret in self._secrets.items():
            if len(secret) != _length(held):
                raise KeyFileError(f"The key {held} has not {_length(held)} bytes.")
        super().__init__(replace(state, public=public))
        self._entropy = entropy
        self._scheme = _deterministic()
        self._saved_as: tuple[Path, str, Work | None, tuple[int, int] | None] | None = None

    @classmethod
    def generate(
        cls, entropy: Entropy = os.urandom, signing_epoch: int = 1, source: int = 1, use: str = PRODUCTION
    ) -> Self:
        """Fresh keys of all roles, version 1, root's private half included (see `without_root`)."""
        made = cls(KeyState(signing_epoch, source, use), {}, {}, entropy)
        made.make_signing_key(ROLE_ROOT)
        made.fill()
        return made

    def without_root(self) -> "KeyStore":
        """What a head end holds: everything but the private root key."""
        private = {name: scalar for name, scalar in self._scalars.items() if name.role != ROLE_ROOT}
        return KeyStore(self.state, private, self._secrets, self._entropy)

    def root_only(self) -> "KeyStore":
        """What is kept offline: the root keys and nothing else."""
        private = {name: scalar for name, scalar in self._scalars.items() if name.role == ROLE_ROOT}
        public = {name: point for name, point in self.state.public.items() if name.role == ROLE_ROOT}
        revoked = self.state.revoked & public.keys()
        state = KeyState(self.signing_epoch, self.source, self.use, public=public, revoked=revoked)
        return KeyStore(state, private, {}, self._entropy)

    # --- secrets ------------------------------------------------------------------------------------------------------

    def can_sign(self, name: KeyName) -> bool:
        return name in self._private

    def _sign(self, name: KeyName, digest: bytes) -> bytes:
        r, s = utils.decode_dss_signature(self._private[name].sign(digest, self._scheme))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    def _hmac(self, name: VendingName | int, message: bytes) -> bytes:
        return hmac.digest(self._secrets[name], message, "sha256")

    def _make_private(self, name: KeyName) -> bytes:
        scalar = _scalar(self._entropy)
        key = ec.derive_private_key(scalar, _CURVE)
        self._scalars[name], self._private[name] = scalar, key
        return _public_bytes(key)

    def _put(self, name: VendingName | int, key: bytes | None) -> None:
        self._secrets[name] = self._entropy(_length(name)) if key is None else key

    def _destroy(self, name: Name) -> None:
        if isinstance(name, KeyName):
            self._scalars.pop(name, None)
            self._private.pop(name, None)
        else:
            self._secrets.pop(name, None)

    # --- the file -----------------------------------------------------------------------------------------------------

    def save(
        self,
        path: Path | None = None,
        passphrase: str = "",
        *,
        replace: bool = False,
        work: Work | None = None,
        shares: tuple[int, int] | None = None,
    ) -> None:
        """Write the encrypted file (mode 0600, atomic, on disk when this returns); raises KeyFileError, Refused.

        Without `path`: the file that it came from, or went to before, anew. `shares`: see `sealed.seal`.
        """
        if path is None:
            if self._saved_as is None:
                raise Refused("path", path, "the file to write")
            path, passphrase, work, shares = self._saved_as
            replace = True
        plain = json.dumps(
            {
                "state": self.state.as_json(),
                "masters": {str(name): key.hex() for name, key in self._secrets.items() if isinstance(name, int)},
                "vending": [[*name, key.hex()] for name, key in self._secrets.items() if isinstance(name, tuple)],
                "private": [[*name, f"{scalar:064x}"] for name, scalar in sorted(self._scalars.items())],
            }
        )
        sealed.write_secret(path, sealed.seal(plain.encode(), passphrase, work, shares), replace=replace)
        self._saved_as = path, passphrase, work, shares

    @classmethod
    def load(cls, path: Path, passphrase: str) -> Self:
        """Open the file; raises KeyFileError that names it (missing, readable by others, wrong passphrase, damaged)."""
        raw = sealed.read_secret(path)
        try:
            held = json.loads(sealed.unseal(raw, passphrase))
            secrets: dict[VendingName | int, bytes] = {
                int(version): bytes.fromhex(master) for version, master in held["masters"].items()
            }
            secrets.update({VendingName(sgc, krn): bytes.fromhex(key) for sgc, krn, key in held["vending"]})
            private = {KeyName(role, version): int(scalar, 16) for role, version, scalar in held["private"]}
            made = cls(KeyState.of_json(held["state"]), private, secrets)
        except KeyFileError as error:
            raise KeyFileError(f"{path}: {error}") from error
        except (ValueError, KeyError, TypeError, AttributeError):
            # Not "from" the error: its text may quote what stands in the file.
            raise KeyFileError(f"{path}: its content is not a key store of this version.") from None
        head = sealed.head(raw)
        made._saved_as = path, passphrase, head.work, head.shares
        return made


def _length(name: VendingName | int) -> int:
    return VENDING_KEY_LENGTH if isinstance(name, VendingName) else KEY_LENGTH


def _scalar(entropy: Entropy) -> int:
    while True:  # NIST FIPS 186-5, A.2.2: draw until it is in range; the chance of a second draw is 2^-32
        drawn = int.from_bytes(entropy(32), "big")
        if 1 <= drawn < ORDER_OF_P256:
            return drawn


def _public_bytes(key: ec.EllipticCurvePrivateKey) -> bytes:
    form = serialization.PublicFormat.UncompressedPoint
    return key.public_key().public_bytes(serialization.Encoding.X962, form)[1:]


def _deterministic() -> ec.ECDSA:
    try:
        return ec.ECDSA(_DIGEST, deterministic_signing=True)
    except UnsupportedAlgorithm as error:
        raise KeyFileError(
            "Signing needs RFC 6979 (deterministic ECDSA), which OpenSSL has from 3.2 on; the installed cryptography "
            "package was built with an older one."
        ) from error
