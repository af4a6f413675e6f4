"""What a key store knows that is no secret: which keys there are, and the signing epoch.

It stands beside the keys and outside the database, so that a database which was restored or doubled is noticed: its
signing epoch and credit source then differ from these, and the signer refuses.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from cryptography.hazmat.primitives.asymmetric import ec

from headend.keys.holder import PRODUCTION, USES, KeyName, VendingName
from headend.keys.sealed import KeyFileError
from headend.refusals import Refused
from meterlink.orders import ROLE_CONTROL, ROLE_ROOT, SOURCE_TYPED

MAX_EPOCH = 0xFFFF
MAX_SOURCE = SOURCE_TYPED - 1
MAX_VERSION = 0xFF  # one byte in an order
MAX_SGC = 999_999
MAX_KRN = 9


@dataclass(frozen=True)
class KeyState:
    """Checked as a whole when it is made: KeyFileError names what cannot be."""

    signing_epoch: int = 1
    source: int = 1
    use: str = PRODUCTION
    closed_sources: Mapping[int, int] = field(default_factory=dict)  # source -> the epoch that was its last
    public: Mapping[KeyName, bytes] = field(default_factory=dict)  # X||Y, of retired keys too
    revoked: frozenset[KeyName] = frozenset()
    tag_keys: frozenset[int] = frozenset()
    retired_tag_keys: frozenset[int] = frozenset()
    vending: Mapping[VendingName, int | None] = field(default_factory=dict)  # -> expires_s

    def __post_init__(self) -> None:
        if not (1 <= self.signing_epoch <= MAX_EPOCH and 1 <= self.source <= MAX_SOURCE):
            raise KeyFileError(
                f"signing_epoch {self.signing_epoch} and source {self.source}: 1..{MAX_EPOCH} and 1..{MAX_SOURCE} "
                "expected."
            )
        if self.use not in USES:
            raise KeyFileError(f"use {self.use!r}: one of {', '.join(USES)} expected.")
        if self.source in self.closed_sources or not all(
            1 <= source <= MAX_SOURCE and 1 <= epoch < self.signing_epoch
            for source, epoch in self.closed_sources.items()
        ):
            raise KeyFileError(f"The closed sources {dict(self.closed_sources)} do not fit source {self.source}.")
        for name, point in self.public.items():
            if not (ROLE_ROOT <= name.role <= ROLE_CONTROL and 0 <= name.version <= MAX_VERSION and on_curve(point)):
                raise KeyFileError(f"The key {tuple(name)} is not a P-256 key of a known role.")
        if self.revoked - self.public.keys():
            raise KeyFileError("A revoked key has no public half.")
        if not all(0 <= version <= MAX_VERSION for version in self.tag_keys | self.retired_tag_keys):
            raise KeyFileError(f"The version of a tag key is not in 0..{MAX_VERSION}.")
        for vending in self.vending:
            if not (0 <= vending.sgc <= MAX_SGC and 1 <= vending.krn <= MAX_KRN):
                raise KeyFileError(f"The vending key {tuple(vending)} is not in SGC 0..{MAX_SGC}, KRN 1..{MAX_KRN}.")

    def in_force(self) -> list[KeyName]:
        """Signing keys that were not retired, by role and version."""
        return sorted(self.public.keys() - self.revoked)

    def following_epoch(self) -> Self:
        """The state after the next signing epoch was opened; raises Refused when the numbers are used up."""
        source = max(self.source, *self.closed_sources, 0) + 1
        if self.signing_epoch >= MAX_EPOCH:
            raise Refused("signing_epoch", self.signing_epoch + 1, f"1..{MAX_EPOCH}")
        if source > MAX_SOURCE:
            raise Refused("source", source, f"1..{MAX_SOURCE}")
        closed = {**self.closed_sources, self.source: self.signing_epoch}
        return replace(self, signing_epoch=self.signing_epoch + 1, source=source, closed_sources=closed)

    def as_json(self) -> dict[str, Any]:
        """For a file; `of_json` gives it back."""
        return {
            "signing_epoch": self.signing_epoch,
            "source": self.source,
            "use": self.use,
            "closed_sources": sorted(self.closed_sources.items()),
            "public": [[*name, point.hex()] for name, point in sorted(self.public.items())],
            "revoked": sorted(self.revoked),
            "tag_keys": sorted(self.tag_keys),
            "retired_tag_keys": sorted(self.retired_tag_keys),
            "vending": [[*name, expires_s] for name, expires_s in sorted(self.vending.items())],
        }

    @classmethod
    def of_json(cls, held: dict[str, Any]) -> Self:
        """Raises KeyFileError, or ValueError, KeyError, TypeError for what is not such a text."""
        return cls(
            signing_epoch=held["signing_epoch"],
            source=held["source"],
            use=held["use"],
            closed_sources=dict(held["closed_sources"]),
            public={KeyName(role, version): bytes.fromhex(point) for role, version, point in held["public"]},
            revoked=frozenset(KeyName(*name) for name in held["revoked"]),
            tag_keys=frozenset(held["tag_keys"]),
            retired_tag_keys=frozenset(held["retired_tag_keys"]),
            vending={VendingName(sgc, krn): expires_s for sgc, krn, expires_s in held["vending"]},
        )


def on_curve(point: bytes) -> bool:
    """Whether X||Y is a point of P-256."""
    try:
        ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + point)
    except ValueError:
        return False
    return True
