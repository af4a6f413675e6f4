"""Columns of small numbers in few bits: Rice codes (R. F. Rice, JPL 79-22, 1979), 0..65535 each.

A value is cut into a quotient, said in unary, and `k` low bits. Stated are the values themselves, or how each differs
from the one before (modulo 2^16), whichever is shorter: energy of an interval resembles that of the last one. Bits are
handled as text and long integers, where CPython works in C.

======  =========================================================================================================
bytes   of a column
======  =========================================================================================================
1       mode: 0x80 all values are equal, then the value 2; else k 0..15, + 0x10 where differences are stated
varint  length of the bits
…       bits: all quotients (that many 0, then 1; `_MOST` stands for a larger one), all low bits, 0 to a full byte
2 each  the larger quotients
======  =========================================================================================================
"""

from collections.abc import Sequence
from itertools import accumulate, pairwise

from headend.reads.varints import Damaged, Source, varint

_EQUAL = 0x80
_DIFFERENCES = 0x10
_MOST = 24
_UNARY = ["0" * quotient + "1" for quotient in range(_MOST + 1)]
_WORD = 0xFFFF


def pack(values: Sequence[int]) -> bytes:
    """A column of at least one value, 0..65535 each."""
    if values.count(values[0]) == len(values):
        return bytes((_EQUAL,)) + values[0].to_bytes(2, "big")
    steps = [values[0], *[_zigzag(new - old & _WORD) for old, new in pairwise(values)]]
    plain, k = _cost(values)
    stepped, k_steps = _cost(steps)
    if plain <= stepped:
        return _pack(values, k, 0)
    return _pack(steps, k_steps, _DIFFERENCES)


def unpack(source: Source, count: int) -> Sequence[int]:
    """The `count` values of a column; Damaged."""
    mode = source.byte()
    if mode == _EQUAL:
        return [source.number(2)] * count
    if mode & ~(_DIFFERENCES | 0xF):
        raise Damaged("a column has an unknown mode")
    k = mode & 0xF
    raw = source.take(source.varint())
    *quotients, low = bin(int.from_bytes(b"\1" + raw, "big"))[3:].split("1", count)
    lengths = list(map(len, quotients))
    if len(lengths) != count or len(low) < count * k:
        raise Damaged("a column ends before its last value")
    if max(lengths) >= _MOST:
        lengths = [source.number(2) if length >= _MOST else length for length in lengths]
    if k:
        ends = range(0, count * k, k)
        values = [length << k | int(low[at : at + k], 2) for length, at in zip(lengths, ends, strict=True)]
    else:
        values = lengths
    if max(values) > _WORD:
        raise Damaged("a column holds a value that is too large")
    if mode & _DIFFERENCES:
        return [value & _WORD for value in accumulate([values[0], *map(_unzigzag, values[1:])])]
    return values


def _pack(values: Sequence[int], k: int, mode: int) -> bytes:
    quotients = [value >> k for value in values]
    bits = "".join([_UNARY[quotient if quotient < _MOST else _MOST] for quotient in quotients])
    if k:
        bits += "".join([bin(value & _WORD >> 16 - k | 1 << k)[3:] for value in values])
    bits += "0" * (-len(bits) % 8)
    large = b"".join([quotient.to_bytes(2, "big") for quotient in quotients if quotient >= _MOST])
    return bytes((k | mode,)) + varint(len(bits) // 8) + int(bits, 2).to_bytes(len(bits) // 8, "big") + large


def _cost(values: Sequence[int]) -> tuple[int, int]:
    """(bits, k): the least, looked for beside the k that suits the mean."""
    about = (sum(values) // len(values)).bit_length() - 1
    tried = range(max(0, about - 2), min(15, max(0, about + 1)) + 1)
    return min((_bits(values, k), k) for k in tried)


def _bits(values: Sequence[int], k: int) -> int:
    quotients = [value >> k for value in values]
    large = sum([quotient - _MOST - 16 for quotient in quotients if quotient >= _MOST])
    return sum(quotients) - large + len(values) * (k + 1)


def _zigzag(word: int) -> int:
    """0, -1, 1, -2, … modulo 2^16 as 0, 1, 2, 3, …"""
    return word << 1 if word < 0x8000 else (0x10000 - word << 1) - 1


def _unzigzag(code: int) -> int:
    return -(code + 1 >> 1) if code & 1 else code >> 1
