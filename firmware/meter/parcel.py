"""Bodies that travel apart from their orders: one buffer a carrier, made when a first piece comes.

A piece proves nothing; the order that names the whole body's SHA-256 does, and it takes its body before its signature
is looked at, so pieces that come later cannot take it away.
"""

import hashlib

from meterlink import orders, parcels
from meterlink.parcels import ParcelError


class Parcels:
    """What has arrived, by carrier: [first 8 bytes of the SHA-256, total length, bytes so far], or None."""

    def __init__(self, carriers: int) -> None:
        self._held: "list[list | None]" = [None] * carriers

    def take(self, carrier: int, raw: bytes) -> None:
        """Take a piece; the one taken last may come again. ParcelError where it is none, or not the next."""
        digest8, offset, total, piece = parcels.read(raw)
        held = self._held[carrier]
        if not offset:
            held = self._held[carrier] = [digest8, total, bytearray()]
        if held is None or held[0] != digest8 or held[1] != total:
            raise ParcelError("piece: of another body than the one under way")
        got = held[2]
        if offset == len(got):
            got.extend(piece)
        elif got[offset:] != piece:
            raise ParcelError("piece: offset {} given, {} expected".format(offset, len(got)))

    def find(self, named: bytes) -> "bytes | None":
        """The body that an order names (`orders.apart`), or None where it is not here whole."""
        length, digest = orders.apart(named)
        for held in self._held:
            if held and len(held[2]) == length and hashlib.sha256(held[2]).digest() == digest:
                return bytes(held[2])
        return None

    def clear(self) -> None:
        """Give the memory back."""
        for carrier in range(len(self._held)):
            self._held[carrier] = None
