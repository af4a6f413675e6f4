"""Bodies of orders that only a head end or a workbench states: the encoders to `bodies.py` and `bodies_root.py`.

A meter never imports this. Each raises `OrderError(BAD_BODY)` for what could not be read back.
"""

import hashlib
import struct
from collections.abc import Sequence

from meterlink import bodies, bodies_root, parcels, states
from meterlink.mac import MacKey


def mode(
    kind: int,
    adjusted_uc: int,
    until_wh: int = 0,
    balance_uc: int = 0,
    grace_wh: int = 0,
    grace_s: int = 0,
) -> bytes:
    """As `bodies.decode_mode` has it."""
    body = struct.pack(">BBQQqII", 1, kind, adjusted_uc, until_wh, balance_uc, grace_wh, grace_s)
    bodies.decode_mode(body)
    return body


def clear(latches: int, up_to_event: int) -> bytes:
    """As `bodies.decode_clear` has it; `latches` from bits states.LATCH_*."""
    body = struct.pack(">BII", 1, latches, up_to_event)
    bodies.decode_clear(body)
    return body


ALL_LATCHES = (1 << (states.LATCH_BYPASSED + 1)) - 1


def signing_keys(keys: Sequence[tuple[int, int, bytes]]) -> bytes:
    """As `bodies_root.decode_signing_keys` has it; longer than an order holds, so it travels apart."""
    body = bytes((bodies_root.FORMAT, len(keys)))
    for role, version, key in keys:
        body += struct.pack(">BB64s", role, version, key)
    bodies_root.decode_signing_keys(body)
    return body


def tag_keys(
    held: Sequence[int],
    new: tuple[int, bytes] | None,
    key: MacKey,
    meter: int,
    signing_epoch: int,
    version: int,
) -> bytes:
    """State the per-meter keys: `new` (version, 32 bytes) first where there is one, then those `held` by version.

    `key`: the per-meter key that the order's tag is made with · `signing_epoch`, `version`: of the order.
    """
    body = bytes((bodies_root.FORMAT, len(held) + (new is not None)))
    if new is not None:
        body += bytes((new[0], 1)) + bodies_root.wrap(key, new[1], meter, signing_epoch, version, 0)
    for one in held:
        body += bytes((one, 0))
    bodies_root.decode_tag_keys(body)
    return body


def decoder(
    decoder_key: bytes,
    attributes: tuple[int, int, int, int, int, int],
    key: MacKey,
    meter: int,
    signing_epoch: int,
    version: int,
) -> bytes:
    """State the decoder key of typed tokens (16 bytes) and its attributes (`bodies_root.decode_decoder`)."""
    wrapped = bodies_root.wrap(key, decoder_key, meter, signing_epoch, version, 0)
    body = struct.pack(">B16sIBBBBB", bodies_root.FORMAT, wrapped, *attributes)
    bodies_root.decode_decoder(body)
    return body


def firmware(release: tuple[int, int, int], legal_version: int, length: int, sha256: bytes) -> bytes:
    """As `bodies_root.decode_firmware` has it."""
    body = struct.pack(">BBBBHI32s", bodies_root.FORMAT, *release, legal_version, length, sha256)
    bodies_root.decode_firmware(body)
    return body


def epoch(cause: int, kept_holds: int) -> bytes:
    """As `bodies_root.decode_epoch` has it."""
    body = struct.pack(">BBI", bodies_root.FORMAT, cause, kept_holds)
    bodies_root.decode_epoch(body)
    return body


def retire(cause: int) -> bytes:
    """As `bodies_root.decode_retire` has it."""
    body = struct.pack(">BB", bodies_root.FORMAT, cause)
    bodies_root.decode_retire(body)
    return body


def recover(state: bodies_root.Recovered) -> bytes:
    """As `bodies_root.decode_recover` has it."""
    body = struct.pack(
        ">B8sQQQHQQB",
        bodies_root.FORMAT,
        state.nonce,
        state.earned_uc,
        state.adjusted_uc,
        state.charged_uc,
        state.remainder,
        state.import_wh,
        state.export_wh,
        len(state.sources),
    )
    for source in state.sources:
        body += struct.pack(">HQQ", *source)
    bodies_root.decode_recover(body)
    return body


def apart(body: bytes) -> bytes:
    """What an order holds in place of a body that travels apart (orders.FLAG_BODY_APART): length 4, SHA-256 32."""
    return struct.pack(">I32s", len(body), hashlib.sha256(body).digest())


def pieces(body: bytes) -> "tuple[bytes, ...]":
    """A body that travels apart, in the pieces of `parcels`."""
    digest, total = hashlib.sha256(body).digest(), len(body)
    starts = range(0, total, parcels.MAX_PIECE)
    return tuple(parcels.pack(digest, at, total, body[at : at + parcels.MAX_PIECE]) for at in starts)
