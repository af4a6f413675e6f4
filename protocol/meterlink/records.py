"""The records of a meter's logs: packed once on the meter, carried and stored byte for byte.

All are big-endian and begin with their own sequence number (1, 2, 3, … in each log, never used twice under one log id);
the last two bytes are CRC-16/MODBUS over those before. Intervals and events have 24 bytes; `struct.iter_unpack` with
`INTERVAL_FORMAT` decodes a batch in one call.

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

Records of the other logs (`FORMAT_OF`); all begin with seq 4, time_s 4 and end with crc 2:

Switch, 48 bytes, of each decision to open or close the relay, whether it followed or not: closed 1, zero 1, who 2 (the
hold 1..31, reasons.OWN + cause, or reasons.BY_KEY, that opened it, or that stood last where it was closed),
signing_epoch 2 and version 4 of that hold's last order (0 = none), import_wh 8, export_wh 8, balance_uc 8 (signed),
operations 4 (pulses of this relay's life, with this one).

Top-up, 72 bytes: source 2 (65535: typed token), account_epoch 2, tid 4 (0xFFFFFFFF = came by order), amount_uc 8,
total_uc 8 (credited by that source in all), paid_uc 8 (of the amount, collected for debts and what was due),
lifted_uc 8 (of it, what a balance below zero took: overdraft, emergency credit), waiting_uc 8 (of it, above the
hoarding limit), balance_uc 8 (signed, with it), import_reg_wh 4 (modulo 2^32), kind 1 (TOPUP_*), zero 1.

Freeze, 136 bytes, of a local day or month that has ended: time_s is its end; day 2 (its last local day, counted from
1970-01-01), account_epoch 2, flags 1 (FLAG_* of its intervals), zero 1, import_wh 8, export_wh 8, import and export by
rate 4 x 8 each, balance_uc 8 (signed), charged_uc 8, credited_uc 8, earned_uc 8, demand_w 4 (the highest mean power of
a full interval), demand_s 4 (start of that interval, 0 = none).
"""

import struct

from meterlink.modbus import crc16

RECORD_LENGTH = 24  # of intervals and events

INTERVAL_FORMAT = ">IIIIHHBBH"
EVENT_FORMAT = ">IIHHIiHH"

KIND_SWITCH = 1
KIND_TOPUP = 2
KIND_DAILY = 3
KIND_MONTHLY = 4

SWITCH_FORMAT = ">IIBBHHIQQqIH"
TOPUP_FORMAT = ">IIHHIQQQQQqIBBH"
FREEZE_FORMAT = ">IIHHBBQQ8QqQQQIIH"
FORMAT_OF = {
    KIND_SWITCH: SWITCH_FORMAT,
    KIND_TOPUP: TOPUP_FORMAT,
    KIND_DAILY: FREEZE_FORMAT,
    KIND_MONTHLY: FREEZE_FORMAT,
}
SWITCH_LENGTH = 48
TOPUP_LENGTH = 72
FREEZE_LENGTH = 136
_LENGTHS = (RECORD_LENGTH, SWITCH_LENGTH, TOPUP_LENGTH, FREEZE_LENGTH)

TOPUP_ORDER = 1
TOPUP_TYPED = 2

NO_TID = 0xFFFFFFFF

DELTA_LARGE = 0xFFFF

FLAG_CLOCK_UNKNOWN = 0x01  # the clock was unknown at some time in the period
FLAG_CLOCK_CHANGED = 0x02  # the clock was set in the period
FLAG_POWER_FAILED = 0x04  # the meter was without power in the period
FLAG_SHORT = 0x08  # the period does not cover its full length
FLAG_SUPPLY_OFF = 0x10  # supply was off at some time in the period
FLAG_RATE_CHANGED = 0x20  # a rate or tariff switched within the period


def _seal(record: bytearray) -> bytes:
    at = len(record) - 2
    struct.pack_into(">H", record, at, crc16(record, at))
    return bytes(record)


def pack(kind: int, *values: int) -> bytes:
    """A record of KIND_*: the values of its format, without the CRC."""
    return _seal(bytearray(struct.pack(FORMAT_OF[kind], *values, 0)))


def unpack(kind: int, record: bytes) -> "tuple[int, ...]":
    """The values of a record of KIND_*, without the CRC; ValueError where it is of another length or the CRC is
    wrong."""
    if len(record) != struct.calcsize(FORMAT_OF[kind]) or check(record) is None:
        raise ValueError("record of kind {}: {} is none".format(kind, bytes(record).hex()))
    return struct.unpack(FORMAT_OF[kind], record)[:-1]


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
    """The sequence number of a record of any kind, or None where its length or CRC is wrong or it is blank."""
    at = len(record) - 2
    if len(record) not in _LENGTHS or crc16(record, at) != (record[at] << 8) | record[at + 1]:
        return None
    seq = struct.unpack_from(">I", record, 0)[0]
    return seq if seq else None


def unpack_interval(record: bytes) -> "tuple[int, ...]":
    """(seq, start_s, import_reg_wh, export_reg_wh, import_wh, export_wh, minutes, flags); ValueError on a wrong CRC."""
    if len(record) != RECORD_LENGTH or check(record) is None:
        raise ValueError("interval record: the CRC of {} is wrong".format(bytes(record).hex()))
    return struct.unpack(INTERVAL_FORMAT, record)[:-1]


def unpack_event(record: bytes) -> "tuple[int, ...]":
    """(seq, time_s, code, boot, import_reg_wh, argument, detail); ValueError on a wrong CRC."""
    if len(record) != RECORD_LENGTH or check(record) is None:
        raise ValueError("event record: the CRC of {} is wrong".format(bytes(record).hex()))
    return struct.unpack(EVENT_FORMAT, record)[:-1]
