"""Evidence as it is named in a register: a reference that people find it by, and what makes it that document."""

from dataclasses import dataclass

from headend.refusals import Refused

MAX_REFERENCE = 200
DIGEST = 32


@dataclass(frozen=True)
class Evidence:
    """`reference`: file number and title, 1..200 printable characters · `document`: its SHA-256 (32 bytes), or none.

    No personal data: it stands in the register and in sentences for as long as the register does.
    """

    reference: str
    document: bytes | None = None

    def check(self) -> None:
        """Raise Refused for what does not fit."""
        if not self.reference.strip() or len(self.reference) > MAX_REFERENCE or not self.reference.isprintable():
            raise Refused("reference", self.reference, f"1..{MAX_REFERENCE} printable characters")
        if self.document is not None and len(self.document) != DIGEST:
            raise Refused("document", self.document.hex(), "a SHA-256, 32 bytes")

    def told(self) -> dict[str, str | None]:
        """As the audit tells it."""
        return {"reference": self.reference, "document": self.document.hex() if self.document else None}
