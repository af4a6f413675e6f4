"""Parcels: a body that is too long for its order travels apart, in pieces, before the order that names its SHA-256.

A piece: format 1, first 8 bytes of the body's SHA-256, offset 2, total length 2, then 1..200 bytes. Pieces come in
order; one at offset 0 begins anew. Nothing is proved by a parcel: what it is worth, the order says that names it. A
meter that holds no body of that hash answers the order with BODY_MISSING; the sender sends the pieces and the order
again.
"""

import struct

from meterlink.orders import MAX_APART

FORMAT = 1
MAX_PIECE = 200
HEAD_LENGTH = 13
MAX_LENGTH = HEAD_LENGTH + MAX_PIECE

_HEAD = ">B8sHH"


class ParcelError(ValueError):
    """A piece that is not taken; the text says why."""


def pack(digest: bytes, offset: int, total: int, piece: bytes) -> bytes:
    """One piece; `digest`: SHA-256 of the whole body."""
    return struct.pack(_HEAD, FORMAT, digest[:8], offset, total) + piece


def read(raw: bytes) -> "tuple[bytes, int, int, bytes]":
    """(first 8 bytes of the digest, offset, total, piece); ParcelError where it is not a piece."""
    if not HEAD_LENGTH < len(raw) <= MAX_LENGTH:
        raise ParcelError("piece: {} bytes given, 14..{} expected".format(len(raw), MAX_LENGTH))
    form, digest8, offset, total = struct.unpack_from(_HEAD, raw, 0)
    if form != FORMAT or total > MAX_APART or offset + len(raw) - HEAD_LENGTH > total:
        raise ParcelError("piece: format {}, offset {} of {} given".format(form, offset, total))
    return digest8, offset, total, bytes(raw[HEAD_LENGTH:])
