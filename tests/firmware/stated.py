"""Bodies of root's orders, modes and clears, for tests on both interpreters (`meterlink.stating` is the host's)."""

import struct

from meterlink import bodies_root, states
from tests.firmware.ramboard import KEYS, METER


def mode(kind, adjusted_uc=0, until_wh=0, balance_uc=0, grace_wh=0, grace_s=0):
    return struct.pack(">BBQQqII", 1, kind, adjusted_uc, until_wh, balance_uc, grace_wh, grace_s)


def remote(until_wh=0, balance_uc=0, grace_wh=0, grace_s=0, adjusted_uc=0):
    return mode(states.MODE_REMOTE, adjusted_uc, until_wh, balance_uc, grace_wh, grace_s)


def clear(latches, up_to_event):
    return struct.pack(">BII", 1, latches, up_to_event)


def epoch(cause=bodies_root.EPOCH_TENANT, kept_holds=0):
    return struct.pack(">BBI", 1, cause, kept_holds)


def retire(cause=bodies_root.EPOCH_EXCHANGED):
    return struct.pack(">BB", 1, cause)


def firmware(release=(9, 0, 0), legal_version=9, length=100_000, sha256=bytes(32)):
    return struct.pack(">BBBBHI32s", 1, release[0], release[1], release[2], legal_version, length, sha256)


def recover(nonce, sources=(), earned_uc=0, adjusted_uc=0, charged_uc=0, remainder=0, import_wh=0, export_wh=0):
    head = (1, nonce, earned_uc, adjusted_uc, charged_uc, remainder, import_wh, export_wh, len(sources))
    return struct.pack(">B8sQQQHQQB", *head) + b"".join([struct.pack(">HQQ", *source) for source in sources])


def signing_keys(keys=None):
    """(role, version, public key) each; as the rig has them where none are given."""
    keys = keys or [(role, 1, KEYS[role]) for role in sorted(KEYS)]
    return bytes((1, len(keys))) + b"".join([bytes(key[:2]) + key[2] for key in keys])


def tag_keys(entries, key, version, signing_epoch=1):
    """entries: (version, new key of 32 bytes, or b"" for one that is held) · key: of the order's tag · version: of the
    order."""
    body = bytes((1, len(entries)))
    for place in range(len(entries)):
        number, new = entries[place]
        body += bytes((number, 1 if new else 0))
        if new:
            body += bodies_root.wrap(key, new, METER, signing_epoch, version, place)
    return body


def decoder(decoder_key, attributes, key, version, signing_epoch=1):
    wrapped = bodies_root.wrap(key, decoder_key, METER, signing_epoch, version, 0)
    return struct.pack(">B16sIBBBBB", 1, wrapped, *attributes)
