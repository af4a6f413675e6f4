"""Opening many batches of intervals at once: forms, MACs, CRCs and numbers, before any of them meets the database."""

import hmac
import struct
import sys
from array import array
from collections.abc import Sequence
from typing import NamedTuple

from headend.reads import crc
from meterlink.batches import FORMAT, HEAD_FORMAT, HEAD_LENGTH, KIND_INTERVALS
from meterlink.mac import LABEL_BATCH, MAC_LENGTH, MacKey
from meterlink.records import RECORD_LENGTH

_HEAD = struct.Struct(HEAD_FORMAT)
_WORDS = RECORD_LENGTH // 4
_SWAPPED = sys.byteorder == "little"


class Opened(NamedTuple):
    """A genuine batch of intervals `first`..`last` without a gap, whose CRCs are right."""

    meter: int
    log_id: int
    nonce: bytes
    first: int
    last: int
    records: bytes  # 24 bytes each


def named(raw: bytes) -> tuple[int, int] | None:
    """(meter, version of its key) as a batch of intervals says of itself; None where it is none."""
    if len(raw) < HEAD_LENGTH + MAC_LENGTH + RECORD_LENGTH or raw[0] != FORMAT or raw[1] != KIND_INTERVALS:
        return None
    return int.from_bytes(raw[2:8], "big"), raw[8]


def open_all(sealed: Sequence[tuple[bytes, MacKey | None]]) -> list[Opened | None]:
    """Each with the key that goes with what it says of itself. None: it wants a closer look (`batches.take`)."""
    genuine = [None if key is None else _genuine(raw, key) for raw, key in sealed]
    whole = b"".join(one.records for one in genuine if one is not None)
    numbers, wrong = _numbers(whole), crc.wrong(whole) if whole else b""
    spoilt = any(wrong)
    opened: list[Opened | None] = []
    at = 0
    for one in genuine:
        if one is not None:
            first, last, ends = one.first, one.last, at + one.last - one.first + 1
            if last == first:
                in_order = numbers[at] == first > 0
            else:
                in_order = first > 0 and numbers[at:ends] == array("I", range(first, last + 1))
            if not in_order or (spoilt and any(wrong[at:ends])):
                one = None
            at = ends
        opened.append(one)
    return opened


def _genuine(raw: bytes, key: MacKey) -> Opened | None:
    _, _, high, low, _, _, _, _, _, log_id, nonce, first, count = _HEAD.unpack_from(raw)
    end = HEAD_LENGTH + count * RECORD_LENGTH
    if count == 0 or end + MAC_LENGTH != len(raw) or first + count > 1 << 32:
        return None
    if not hmac.compare_digest(key.mac(LABEL_BATCH, raw[:end]), raw[end:]):
        return None
    return Opened(high << 32 | low, log_id, nonce, first, first + count - 1, raw[HEAD_LENGTH:end])


def _numbers(records: bytes) -> "array[int]":
    """The sequence number of each record."""
    words = array("I", records)
    if _SWAPPED:
        words.byteswap()
    return words[::_WORDS]
