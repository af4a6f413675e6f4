"""Interval records packed without loss: some one and a half bytes for a quarter of an hour of a household.

Every field is stated as how it differs from what the record before lets expect (the next number, the period behind the
last one, a register that grew by the energy of the period, the right CRC), so a meter in its usual course costs only
its energy. What is unusual (gaps, clocks that were set, flags, jumps of a register) is listed; any records come back
bit for bit, whatever they hold. Bytes that were damaged are recognised by a CRC-32.

======  ============================================================================================================
bytes   of packed records, big-endian
======  ============================================================================================================
1       form: 0 the records follow as they are, where nothing else is shorter; 1 as below
2       number of records, 1..MAX_RECORDS
18      of the first record: seq 4, start_s 4, import_reg_wh 4, export_reg_wh 4, minutes 1, flags 1
…       import_wh, export_wh: a column each (`reads.rice`)
1       which fields have anything listed: a bit for each of `_LISTED`
…       for each of those: how many (varint), then of each how many records behind the one before (varint), and the
        difference (zigzag varint)
4       CRC-32 (zlib's) of all before it
======  ============================================================================================================
"""

import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from operator import sub
from typing import NamedTuple

from headend.reads import crc, rice
from headend.reads.varints import Damaged, Source, varint
from meterlink.records import INTERVAL_FORMAT, RECORD_LENGTH

__all__ = ["MAX_BYTES", "MAX_RECORDS", "Columns", "Damaged", "check", "columns", "count", "pack", "unpack"]

MAX_RECORDS = 4096  # almost three days of minutes
_AS_THEY_ARE, _DIFFERENCES = 0, 1
_HEAD = struct.Struct(">BH")
_FIRST = struct.Struct(">IIIIBB")
_CHECK = struct.Struct(">I")
_RECORD = struct.Struct(INTERVAL_FORMAT)
HEAD_LENGTH = _HEAD.size
MAX_BYTES = _HEAD.size + MAX_RECORDS * RECORD_LENGTH + _CHECK.size

Numbers = Sequence[int]


class Columns(NamedTuple):
    """The fields of records (`meterlink.records`), one number a record in each; `crc_off`: its CRC less the right one,
    modulo 2^16.
    """

    seq: Numbers
    start_s: Numbers
    import_reg_wh: Numbers
    export_reg_wh: Numbers
    import_wh: Numbers
    export_wh: Numbers
    minutes: Numbers
    flags: Numbers
    crc_off: Numbers


def pack(records: bytes) -> bytes:
    """Records of 24 bytes, 1..MAX_RECORDS of them, packed into at most MAX_BYTES; ValueError."""
    number, rest = divmod(len(records), RECORD_LENGTH)
    if rest or not 1 <= number <= MAX_RECORDS:
        raise ValueError(f"records: {len(records)} bytes given, 1..{MAX_RECORDS} records of {RECORD_LENGTH} expected")
    made = _HEAD.pack(_DIFFERENCES, number) + _differences(_split(records))
    if len(made) > _HEAD.size + len(records):
        made = _HEAD.pack(_AS_THEY_ARE, number) + records
    return made + _CHECK.pack(zlib.crc32(made))


def count(packed: bytes) -> int:
    """How many records are packed, by the first HEAD_LENGTH bytes."""
    return int(_HEAD.unpack_from(packed)[1])


def check(packed: bytes) -> None:
    """Raise Damaged where these bytes are not as they were packed."""
    _opened(packed)


def unpack(packed: bytes) -> bytes:
    """The records, bit for bit; Damaged."""
    form, number = _opened(packed)
    if form == _AS_THEY_ARE:
        return packed[_HEAD.size : -_CHECK.size]
    return _joined(_read(packed, number), number)


def columns(packed: bytes) -> Columns:
    """The fields of the records, without putting together their bytes; Damaged."""
    form, number = _opened(packed)
    if form == _AS_THEY_ARE:
        return _split(packed[_HEAD.size : -_CHECK.size])
    return _read(packed, number)


def _opened(packed: bytes) -> tuple[int, int]:
    """(form, number of records) of what is not damaged."""
    if not _HEAD.size + _CHECK.size < len(packed) <= MAX_BYTES:
        raise Damaged(f"packed records: {len(packed)} bytes given, at most {MAX_BYTES} expected")
    if zlib.crc32(packed[: -_CHECK.size]) != _CHECK.unpack_from(packed, len(packed) - _CHECK.size)[0]:
        raise Damaged("packed records: the CRC is wrong")
    form, number = _HEAD.unpack_from(packed)
    if form > _DIFFERENCES or not 1 <= number <= MAX_RECORDS:
        raise Damaged(f"packed records: form {form}, {number} of them")
    if form == _AS_THEY_ARE and len(packed) != _HEAD.size + number * RECORD_LENGTH + _CHECK.size:
        raise Damaged(f"packed records: {len(packed)} bytes for {number} as they are")
    return form, number


def _split(records: bytes) -> Columns:
    fields = list(map(list, zip(*_RECORD.iter_unpack(records), strict=True)))
    right = crc.of(records)
    fields[8] = [said - value & 0xFFFF for said, value in zip(fields[8], right, strict=True)]
    return Columns(*fields)


def _joined(fields: Columns, number: int) -> bytes:
    made = bytearray(number * RECORD_LENGTH)
    at = 0
    for code, column in zip(INTERVAL_FORMAT[1:-1], fields, strict=False):
        raw = struct.pack(f">{number}{code}", *column)
        width = len(raw) // number
        for place in range(width):
            made[at + place :: RECORD_LENGTH] = raw[place::width]
        at += width
    right = crc.of(bytes(made))
    if any(fields.crc_off):
        right = [value + off & 0xFFFF for value, off in zip(right, fields.crc_off, strict=True)]
    raw = struct.pack(f">{number}H", *right)
    made[at::RECORD_LENGTH], made[at + 1 :: RECORD_LENGTH] = raw[::2], raw[1::2]
    return bytes(made)


# -- differences ----------------------------------------------------------------------------------------------------


class _Field(NamedTuple):
    """A field of which is listed where it is not as expected: a bit of its own, its modulus, what it grows by."""

    name: str
    modulus: int
    growth: Callable[[dict[str, Numbers]], Numbers]  # of the fields before it, from each record to the next


def _not(fields: dict[str, Numbers]) -> Numbers:
    return [0] * (len(fields["import_wh"]) - 1)


# In this order: what one grows by stands before it.
_LISTED = (
    _Field("minutes", 1 << 8, _not),
    _Field("flags", 1 << 8, _not),
    _Field("seq", 1 << 32, lambda fields: [1] * (len(fields["import_wh"]) - 1)),
    _Field("start_s", 1 << 32, lambda fields: [60 * minutes for minutes in fields["minutes"][:-1]]),
    _Field("import_reg_wh", 1 << 32, lambda fields: fields["import_wh"][1:]),
    _Field("export_reg_wh", 1 << 32, lambda fields: fields["export_wh"][1:]),
)
_CRC_BIT = 1 << len(_LISTED)
_CRC_MODULUS = 1 << 16
_STATED = ("seq", "start_s", "import_reg_wh", "export_reg_wh", "minutes", "flags")  # of the first record

Off = list[tuple[int, int]]  # (place of a record, how much more than expected)


def _differences(columns: Columns) -> bytes:
    fields = columns._asdict()
    stated = _FIRST.pack(*[fields[name][0] for name in _STATED])
    energy = rice.pack(columns.import_wh) + rice.pack(columns.export_wh)
    which, lists = 0, b""
    for bit, field in enumerate(_LISTED):
        off = _unexpected(fields[field.name], field.growth(fields), field.modulus)
        if off:
            which |= 1 << bit
            lists += _list(off, field.modulus)
    if any(columns.crc_off):
        which |= _CRC_BIT
        lists += _list([(place, off) for place, off in enumerate(columns.crc_off) if off], _CRC_MODULUS)
    return stated + energy + bytes((which,)) + lists


def _unexpected(column: Numbers, growth: Numbers, modulus: int) -> Off:
    grown = list(map(sub, column[1:], column))
    if grown == growth:  # as long as both are lists
        return []
    off = [(one - expected) % modulus for one, expected in zip(grown, growth, strict=True)]
    return [(place, one) for place, one in enumerate(off, 1) if one]


def _list(off: Off, modulus: int) -> bytes:
    made, before = varint(len(off)), 0
    for place, one in off:
        made += varint(place - before) + varint(one << 1 if 2 * one < modulus else (modulus - one << 1) - 1)
        before = place
    return made


def _read(packed: bytes, number: int) -> Columns:
    source = Source(packed[_HEAD.size : -_CHECK.size])
    first = dict(zip(_STATED, _FIRST.unpack(source.take(_FIRST.size)), strict=True))
    fields: dict[str, Numbers] = {
        "import_wh": rice.unpack(source, number),
        "export_wh": rice.unpack(source, number),
    }
    which = source.byte()
    for bit, field in enumerate(_LISTED):
        steps = field.growth(fields)
        if which >> bit & 1:
            steps = list(steps)
            for place, one in _listed(source, number):
                if not place:
                    raise Damaged("the first record is listed")
                steps[place - 1] += one
        fields[field.name] = _within(list(accumulate(steps, initial=first[field.name])), field.modulus)
    off = [0] * number
    for place, one in _listed(source, number) if which & _CRC_BIT else ():
        off[place] = one % _CRC_MODULUS
    source.end()
    return Columns(**fields, crc_off=off)


def _within(column: list[int], modulus: int) -> list[int]:
    if min(column) < 0 or max(column) >= modulus:
        return [value % modulus for value in column]
    return column


def _listed(source: Source, number: int) -> Iterator[tuple[int, int]]:
    place = 0
    for _ in range(source.varint()):
        place += source.varint()
        if place >= number:
            raise Damaged("something is listed of a record that is none")
        code = source.varint()
        yield place, -(code + 1 >> 1) if code & 1 else code >> 1
