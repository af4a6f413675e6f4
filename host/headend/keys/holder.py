"""What may be asked of the place where keys live, and what may be changed there.

Whoever signs, verifies, provisions or issues tokens takes a `KeyHolder` and does not know whether the keys lie in an
encrypted file (`keystore`) or in a hardware security module (`hsm`). Only `openprepay keys` changes keys: it takes a
`KeyKeeper`.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from headend.refusals import Refused
from meterlink.mac import MacKey

PRODUCTION = "production"
BENCH = "bench"  # keys for test benches: meters of class bench take no others
USES = (PRODUCTION, BENCH)


class KeyName(NamedTuple):
    """Which signing key: `role` (meterlink.orders.ROLE_*) and `version` (0..255)."""

    role: int
    version: int


class VendingName(NamedTuple):
    """Which vending key of typed tokens: supply group code (0..999999) and key revision number (1..9), IEC 62055-41."""

    sgc: int
    krn: int


Name = KeyName | VendingName | int
"""Any key: a signing key, a vending key, or a tag key by its version."""


class NoSuchKey(Refused):
    """That key is not here, or only its public half, or it was retired."""


class KeyHolder(Protocol):
    """Keys at work. No method gives a master key, a vending key or a private half away.

    Methods raise NoSuchKey for a key that is not here, Refused for an argument out of range, and KeyFileError where the
    module that holds the keys does not answer. They may be called from several threads.
    """

    mac_key: Callable[[int, int], MacKey]
    """(meter, version) -> `meter_key`, ready for use; the last 65 536 are remembered."""

    @property
    def use(self) -> str:
        """PRODUCTION or BENCH."""
        ...

    @property
    def signing_epoch(self) -> int:
        """1..65535: the signing epoch in which this head end signs."""
        ...

    @property
    def source(self) -> int:
        """1..65534: the credit source whose totals this head end states."""
        ...

    @property
    def closed_sources(self) -> Mapping[int, int]:
        """Sources of earlier epochs, each with the signing epoch that was its last."""
        ...

    # --- signing keys -------------------------------------------------------------------------------------------------

    def names(self) -> list[KeyName]:
        """The signing keys in force whose public half is here, by role and version."""
        ...

    def revoked(self) -> list[KeyName]:
        """The signing keys that were retired: their public half is kept, so that what they signed can be named."""
        ...

    def newest(self, role: int) -> KeyName:
        """The key in force of a role with the highest version: the one that signs."""
        ...

    def can_sign(self, name: KeyName) -> bool:
        """Whether the private half is here and in force."""
        ...

    def public_key(self, name: KeyName) -> bytes:
        """X||Y, 64 bytes big-endian, of a key in force or retired."""
        ...

    def fingerprint(self, name: KeyName) -> str:
        """The first 16 hexadecimal digits of SHA-256 over the public key, for people to compare."""
        ...

    def sign(self, name: KeyName, digest: bytes) -> bytes:
        """ECDSA P-256 (FIPS 186-5) over a digest of 32 bytes: r||s, 64 bytes.

        A file signs deterministically (RFC 6979): the same digest gives the same bytes. A security module may not. Both
        are harmless: an order is known by the digest of its statement, and a meter answers `already` to either copy.
        """
        ...

    # --- tag keys -----------------------------------------------------------------------------------------------------

    @property
    def tag_key_version(self) -> int:
        """The version that new meters get: the highest."""
        ...

    def tag_key_versions(self) -> list[int]:
        """The versions (0..255) of the master keys that are here."""
        ...

    def meter_key(self, meter: int, version: int) -> bytes:
        """The 32 bytes that a meter (1..MAX_METER) shares with the head end."""
        ...

    # --- vending keys -------------------------------------------------------------------------------------------------

    def vending_names(self) -> list[VendingName]:
        """The vending keys that are here."""
        ...

    def vending_expires_s(self, name: VendingName) -> int | None:
        """The Unix time from which a vending key should issue nothing more; None: it has no end."""
        ...

    def decoder_key(self, vending: VendingName, message: bytes) -> bytes:
        """DKGA04: the first 16 bytes of HMAC-SHA-256(vending key, message). The message is built by who asks."""
        ...

    # --- for people ---------------------------------------------------------------------------------------------------

    def check_value(self, name: VendingName | int) -> str:
        """Six hexadecimal digits of an HMAC under a vending key or a master key over a fixed text, to be compared."""
        ...

    def unnamed(self) -> set[Name]:
        """Keys that are there and out of use: what a change that was cut short left over. `retire` destroys them."""
        ...


class KeyKeeper(KeyHolder, Protocol):
    """A key holder that can be changed. What was changed stays once `save` has returned, and is lost without it."""

    def make_signing_key(self, role: int) -> KeyName:
        """A fresh key of a role, with the version after its highest ever. Raises Refused beyond 255."""
        ...

    def add_public_key(self, name: KeyName, point: bytes) -> None:
        """The public half (64 bytes) of a key whose private half stays elsewhere: the root key's."""
        ...

    def make_tag_key(self, master: bytes | None = None) -> int:
        """A further master key, fresh or `master` (32 bytes); gives its version. Raises Refused."""
        ...

    def add_vending_key(self, name: VendingName, key: bytes | None = None, expires_s: int | None = None) -> None:
        """A vending key, fresh or `key` (20 bytes). Raises Refused, also where there is one of that name."""
        ...

    def retire(self, name: Name) -> None:
        """Destroy what is secret of a key, for good. Of a signing key the public half stays, as revoked.

        Raises NoSuchKey; Refused for the last key of a role and the last tag key.
        """
        ...

    def open_epoch(self) -> None:
        """Begin the next signing epoch with a credit source that was never used; the old source is closed."""
        ...

    def save(self) -> None:
        """Make the changes last: on disk when this returns. Raises KeyFileError."""
        ...
