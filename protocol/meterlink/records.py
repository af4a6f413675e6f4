"""Interval and event records: packed once on the meter, carried and stored byte for byte.

Both have 24 bytes, big-endian, with their own sequence number (1, 2, 3, … never used twice under one log id) and
CRC-16/MODBUS over the first 22 bytes. `struct.iter_unpack` with `INTERVAL_FORMAT` decodes a batch in one call.

Interval (one per period, written when the period ends):

======  ====  ==========================================================================================
offset  size  field
======  ====  ==========================================================================================
0       4     seq: sequence number, 1..2^32-1
4       4     start_s: start of the period, UTC
8       4     import_reg_wh: import register at the end of the period, modulo 2^32
12      4     export_reg_wh: export register at the end of the period, modulo 2^32
16      2     import_wh: imported in the period; 65535 = that or more, then the registers tell
18      2     export_wh: exported in the period, likewise
20      1     minutes: length of the period, 1..60
21      1     flags: see FLAG_*
22      2     crc
======  ====  ==========================================================================================

Event: seq 4, time_s 4, code 2, boot (low 16 bits) 2, import_reg_wh 4, argument 4 (signed), detail 2, crc 2.
"""

import struct

from meterlink.modbus import crc16

RECORD_LENGTH = 24
_CRC_AT = 22

INTERVAL_FORMAT = ">IIIIHHBBH"
EVENT_FORMAT = ">IIHHIiHH"

DELTA_LARGE = 0xFFFF

FLAG_CLOCK_UNKNOWN = 0x01  # the clock was unknown at some time in the period
FLAG_CLOCK_CHANGED = 0x02  # the clock was set in the period
FLAG_POWER_FAILED = 0x04  # the meter was without power in the period
FLAG_SHORT = 0x08  # the period does not cover its full length
FLAG_SUPPLY_OFF = 0x10  # supply was off at some time in the period
FLAG_RATE_CHANGED = 0x20  # a rate or tariff switched within the period


def _seal(record: bytearray) -> bytes:
    struct.pack_into(">H", record, _CRC_AT, crc16(record, _CRC_AT))
    return bytes(record)


def pack_interval(
    seq: int,
    start_s: int,
    import_reg_wh: int,
    export_reg_wh: int,
    import_wh: int,
    export_wh: int,
    minutes: int,
    flags: int,
) -> bytes:
    """One interval record of 24 bytes. Registers are taken modulo 2^32, deltas saturate at 65535."""
    record = bytearray(RECORD_LENGTH)
    struct.pack_into(
        INTERVAL_FORMAT,
        record,
        0,
        seq,
        start_s,
        import_reg_wh & 0xFFFFFFFF,
        export_reg_wh & 0xFFFFFFFF,
        min(import_wh, DELTA_LARGE),
        min(export_wh, DELTA_LARGE),
        minutes,
        flags,
        0,
    )
    return _seal(record)


def pack_event(seq: int, time_s: int, code: int, boot: int, import_reg_wh: int, argument: int, detail: int) -> bytes:
    """One event record of 24 bytes; what `argument` and `detail` hold is told beside each code in `events.py`."""
    record = bytearray(RECORD_LENGTH)
    struct.pack_into(
        EVENT_FORMAT, record, 0, seq, time_s, code, boot & 0xFFFF, import_reg_wh & 0xFFFFFFFF, argument, detail, 0
    )
    return _seal(record)


def check(record: bytes) -> "int | None":
    """The sequence number of an interval or event record of 24 bytes, or None where its CRC is wrong or it is blank."""
    if len(record) != RECORD_LENGTH or crc16(record, _CRC_AT) != (record[22] << 8) | record[23]:
        return None
    seq = struct.unpack_from(">I", record, 0)[0]
    return seq if seq else None


def unpack_interval(record: bytes) -> "tuple[int, ...]":
    """(seq, start_s, import_reg_wh, export_reg_wh, import_wh, export_wh, minutes, flags); ValueError on a wrong CRC."""
    if check(record) is None:
        raise ValueError("interval record: the CRC of {} is wrong".format(bytes(record).hex()))
    return struct.unpack(INTERVAL_FORMAT, record)[:-1]


def unpack_event(record: bytes) -> "tuple[int, ...]":
    """(seq, time_s, code, boot, import_reg_wh, argument, detail); ValueError on a wrong CRC."""
    if check(record) is None:
        raise ValueError("event record: the CRC of {} is wrong".format(bytes(record).hex()))
    return struct.unpack(EVENT_FORMAT, record)[:-1]
