"""Short checkpoints: what has changed since the last full one, by as few bytes as it takes.

A checkpoint that is due by time or energy alone, with nothing else to store, is a *tick*: name 4 (CRC-32 of the full
checkpoint that it goes on from), bits 5 (bit n, from the lowest of a big-endian number: value n has changed), then the
difference of each such value, lowest first: zigzag (0, -1, 1, -2, …) in groups of 7 bits, lowest first, bit 7 set
where one more follows. The values are those of the checkpoint, and behind them those of the countdown where the mode
counts.
"""

import struct
from binascii import crc32

_NAME_LENGTH = 4
_HEAD_LENGTH = 9


def name(full: bytes) -> bytes:
    """The name of a full checkpoint."""
    return struct.pack(">I", crc32(full))


def pack(full: bytes, before: tuple, now: tuple) -> bytes:
    """The tick that leads from the values of a full checkpoint to those of now."""
    out = bytearray()
    bits = 0
    for place in range(len(now)):
        delta = now[place] - before[place]
        if delta:
            bits |= 1 << place
            delta = delta << 1 if delta > 0 else ~(delta << 1)
            while delta > 0x7F:
                out.append(delta & 0x7F | 0x80)
                delta >>= 7
            out.append(delta)
    return name(full) + bits.to_bytes(_HEAD_LENGTH - _NAME_LENGTH, "big") + bytes(out)


def goes_on(raw: bytes, full: bytes) -> bool:
    """Whether a tick goes on from this checkpoint."""
    return raw[:_NAME_LENGTH] == name(full)


def unpack(raw: bytes, full: bytes, before: tuple) -> tuple:
    """The values that a tick leads to; those before where it goes on from another checkpoint: then it is older."""
    if not goes_on(raw, full):
        return before
    bits = int.from_bytes(raw[_NAME_LENGTH:_HEAD_LENGTH], "big")
    values = list(before)
    at = _HEAD_LENGTH
    for place in range(len(values)):
        if bits >> place & 1:
            delta = shift = 0
            while True:
                delta |= (raw[at] & 0x7F) << shift
                shift += 7
                at += 1
                if raw[at - 1] < 0x80:
                    break
            values[place] += delta >> 1 if not delta & 1 else ~(delta >> 1)
    return tuple(values)
