"""Statements on their way to the root key and back: one file, which holds no secret.

JSON: {"format", "orders": [{"order", "statement", "apart", "signature"}]}, the last three in hexadecimal; `apart` is
the body that the statement only names, or null; `signature` is null on the way there. Whoever signs reads from the
statements themselves what they state, not from what somebody wrote beside them.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from headend.keys.holder import KeyHolder, KeyName
from headend.keys.sealed import KeyFileError
from headend.refusals import Refused
from meterlink import bodies_root, names, orders
from meterlink.mac import TAG_LENGTH
from meterlink.orders import (
    ASPECT_EPOCH,
    ASPECT_FIRMWARE,
    ASPECT_KEYS,
    ASPECT_RETIRE,
    ASPECT_ROLE,
    FLAG_BODY_APART,
    KEYS_DECODER,
    KEYS_SIGNING,
    KEYS_TAG,
    ROLE_ROOT,
    SIGNATURE_LENGTH,
    Order,
    OrderError,
)

FORMAT = "openprepay-root-orders-1"
MAX_BYTES = 256_000_000


@dataclass(frozen=True)
class RootOrder:
    """order_id: of the head end · statement: as it is signed · apart: the body that it names, where it travels apart ·
    signature: r||s, 64 bytes, or b"" while there is none."""

    order_id: int
    statement: bytes
    apart: bytes | None = None
    signature: bytes = b""


def write(path: Path, held: Sequence[RootOrder]) -> None:
    """Write a file of them; raises KeyFileError."""
    listed = [
        {
            "order": one.order_id,
            "statement": one.statement.hex(),
            "apart": None if one.apart is None else one.apart.hex(),
            "signature": one.signature.hex() or None,
        }
        for one in held
    ]
    try:
        path.write_text(json.dumps({"format": FORMAT, "orders": listed}, indent=1) + "\n", encoding="ascii")
    except OSError as error:
        raise KeyFileError(f"{path} cannot be written: {error.strerror}.") from error


def read(path: Path) -> list[RootOrder]:
    """Read such a file; raises KeyFileError where it is none. What it states is not judged here."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
        held = json.loads(raw) if len(raw) <= MAX_BYTES else {}
        if held["format"] != FORMAT:
            raise KeyFileError(f"{path}: the format is {str(held['format'])[:40]!r}; {FORMAT} was expected.")
        return [_read(one) for one in held["orders"]]
    except OSError as error:
        raise KeyFileError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise KeyFileError(f"{path} is no file of orders for the root key, or it is damaged.") from error


def _read(one: dict[str, Any]) -> RootOrder:
    signature = bytes.fromhex(one["signature"] or "")
    if len(signature) not in (0, SIGNATURE_LENGTH):
        raise ValueError("signature")
    apart = None if one["apart"] is None else bytes.fromhex(one["apart"])
    return RootOrder(int(one["order"]), bytes.fromhex(one["statement"]), apart, signature)


def stated(one: RootOrder) -> Order:
    """What is to be signed, decoded; raises Refused for anything that the root key should not sign this way."""
    try:
        found = Order(one.statement + bytes(SIGNATURE_LENGTH + TAG_LENGTH))
    except OrderError as error:
        raise Refused(f"statement of order {one.order_id}", one.statement.hex(), f"a statement ({error})") from error
    s = found.stated
    if s.role != ROLE_ROOT or ASPECT_ROLE[s.aspect] != ROLE_ROOT:
        aspect = f"{names.of(names.ASPECT, s.aspect)} by {names.of(names.ROLE, s.role)}"
        raise Refused(f"statement of order {one.order_id}", aspect, "one that only the root key may sign")
    if s.flags & FLAG_BODY_APART:
        whole = one.apart or b""
        if orders.apart(s.body) != (len(whole), hashlib.sha256(whole).digest()):
            raise Refused(f"apart of order {one.order_id}", f"{len(whole)} bytes", "the body that the statement names")
    return found


def sign(keys: KeyHolder, held: Sequence[RootOrder]) -> list[RootOrder]:
    """All of them signed, or Refused and none: NoSuchKey where a statement wants another version of the root key."""
    checked = [(one, stated(one)) for one in held]
    return [
        replace(one, signature=keys.sign(KeyName(ROLE_ROOT, found.stated.key_version), found.digest))
        for one, found in checked
    ]


def summary(held: Sequence[RootOrder]) -> list[str]:
    """What the statements state, alike ones counted, for those who are to sign; raises Refused as `stated` does."""
    found = Counter(_words(one) for one in held)
    return [f"{count} × {words}" for words, count in sorted(found.items())]


def _words(one: RootOrder) -> str:
    s = stated(one).stated
    body = s.body if one.apart is None else one.apart
    try:
        return _WORDS[s.aspect, s.selector](body)
    except OrderError as error:
        raise Refused(f"body of order {one.order_id}", body.hex(), f"one that a meter takes ({error})") from error


def _signing_keys(body: bytes) -> str:
    listed = bodies_root.decode_signing_keys(body)
    shown = [f"{names.of(names.ROLE, r)} {v} {hashlib.sha256(key).hexdigest()[:16]}" for r, v, key in listed]
    return f"meters accept these signing keys alone: {', '.join(shown)}"


def _tag_keys(body: bytes) -> str:
    shown = [f"{version}{' (new)' if key else ''}" for version, key in bodies_root.decode_tag_keys(body)]
    return f"meters use per-meter key {' beside '.join(shown)}"


def _decoder(body: bytes) -> str:
    group, _, _, revision, _, _ = bodies_root.decode_decoder(body)[1]
    return f"a decoder key of supply group {group:06d}, revision {revision}"


def _firmware(body: bytes) -> str:
    release, legal, length, digest = bodies_root.decode_firmware(body)
    version = ".".join(map(str, release))
    return f"firmware {version} (legal version {legal}), {length} bytes, SHA-256 {digest.hex()}"


def _epoch(body: bytes) -> str:
    return f"an account is opened: {names.of(names.EPOCH_CAUSE, bodies_root.decode_epoch(body)[0])}"


def _retire(body: bytes) -> str:
    return f"an account is closed for good: {names.of(names.EPOCH_CAUSE, bodies_root.decode_retire(body))}"


_WORDS = {
    (ASPECT_KEYS, KEYS_SIGNING): _signing_keys,
    (ASPECT_KEYS, KEYS_TAG): _tag_keys,
    (ASPECT_KEYS, KEYS_DECODER): _decoder,
    (ASPECT_FIRMWARE, 0): _firmware,
    (ASPECT_EPOCH, 0): _epoch,
    (ASPECT_RETIRE, 0): _retire,
}
