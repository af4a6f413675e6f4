"""The orders that a meter holds: the last of each subject (aspect and selector), byte for byte, and its version.

An order that no longer counts is not held, though its bytes may still be in flash: a source's that is of another
account or has lost its place, and whatever is below the floor that a `recover` order has set.
"""

import struct

from meterlink import batches, bodies, orders

_SELECTORS = {  # first, and the one after the last
    orders.ASPECT_SUPPLY: (1, 32),
    orders.ASPECT_KEYS: (orders.KEYS_SIGNING, orders.KEYS_DECODER + 1),
    orders.ASPECT_DEBT: (1, bodies.DEBTS + 1),
}
_VERSION_AT = 16  # of an order: signing epoch 2, version 4; before them, at 8, account epoch 2, at 14, selector 2


def key(meter, aspect: int, selector: int) -> int:
    """Where the journal keeps the last order of a subject; -1 for what is no aspect, or a source without a place."""
    if not orders.ASPECT_CREDIT <= aspect <= orders.ASPECT_LOAD:
        return -1
    if aspect == orders.ASPECT_CREDIT:
        place = meter.account.index(selector) if selector else -1
        return aspect << 8 | place if place >= 0 else -1
    return aspect << 8 | selector & 0x1F


def order(meter, aspect: int, selector: int) -> bytes:
    """The last signed order of a subject; b"" for none."""
    at = key(meter, aspect, selector)
    raw = meter.store.get(at) if at >= 0 else None
    if not raw:
        return b""
    if aspect == orders.ASPECT_CREDIT:
        counts = struct.unpack_from(">H", raw, 8)[0] == meter.account_epoch
        counts = counts and struct.unpack_from(">H", raw, 14)[0] == selector
    else:
        counts = aspect in orders.UNVERSIONED or struct.unpack_from(">HI", raw, _VERSION_AT) >= meter.floor
    return raw if counts else b""


def version(meter, aspect: int, selector: int) -> "tuple[int, int, bytes] | None":
    """(signing epoch, version, digest8) of it, or None."""
    raw = order(meter, aspect, selector)
    if not raw:
        return None
    return struct.unpack_from(">HI", raw, _VERSION_AT) + (orders.Order(raw).digest[:8],)


def subjects(meter):
    """(aspect, selector) of all that a meter may hold."""
    for entry in meter.account.sources:
        yield orders.ASPECT_CREDIT, entry[0]
    for aspect in range(orders.ASPECT_SUPPLY, orders.ASPECT_LOAD + 1):
        first, end = _SELECTORS.get(aspect, (0, 1))
        for selector in range(first, end):
            yield aspect, selector


def top(meter) -> "tuple[int, int]":
    """The highest (signing epoch, version) that the meter has seen of any versioned aspect."""
    highest = meter.floor
    for aspect, selector in subjects(meter):
        raw = order(meter, aspect, selector)
        if raw and aspect not in orders.UNVERSIONED:
            highest = max(highest, struct.unpack_from(">HI", raw, _VERSION_AT))
    return highest


def records(meter, first: int, count: int) -> bytes:
    """Records of batches.KIND_HELD, from number `first` (1, 2, …) on, `count` at most."""
    out = b""
    number = 0
    for aspect, selector in subjects(meter):
        raw = order(meter, aspect, selector)
        if raw:
            number += 1
            if first <= number < first + count:
                held = orders.Order(raw)
                s = held.stated
                out += struct.pack(
                    batches.HELD_FORMAT,
                    aspect,
                    s.role,
                    selector,
                    s.signing_epoch,
                    s.version,
                    s.issued_s,
                    held.digest[:8],
                    0,
                )
    return out
