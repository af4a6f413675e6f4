"""Batches of records under a MAC, the questions that bring them, and the acknowledgement that moves the replay cursor.

A batch: head 40 | count x record 24 | MAC 16. The MAC covers head and records, so over Modbus the records may travel as
file records and the head and MAC as a block of registers.

Head: format 1, kind 1, meter 6, tag_key_version 1, flags 1, boot 4, counter 4, time_s 4, log_id 4, nonce 8, first 4,
count 2. `nonce` is that of the question, zeros where the meter speaks unasked.
"""

import struct

from meterlink.mac import LABEL_ACK, LABEL_BATCH, MAC_LENGTH, TAG_LENGTH, MacKey
from meterlink.records import RECORD_LENGTH
from meterlink.reports import NO_NONCE

FORMAT = 1
KIND_INTERVALS = 1
KIND_EVENTS = 2
KIND_REPORT = 3  # of a question only: answered by a report, not by a batch
KIND_ORDER = 4  # of a question only: the last signed order held for aspect and selector
KIND_CLOSING = 5  # of a question only: answered by the closing statement of the account closed last
KIND_HELD = 6  # a batch of the versions held, one record an order (HELD_FORMAT)
KIND_RECEIPT = 7  # of a question only: answered by the receipt of the last verdict for aspect and selector

# A record of KIND_HELD, 24 bytes: aspect 1, role 1, selector 2, signing_epoch 2, version 4, issued_s 4, first 8 bytes
# of the digest, 2 zero bytes. Their numbers (`first`) count from 1 at every question.
HELD_FORMAT = ">BBHHII8sH"

MAX_RECORDS = 40
HEAD_FORMAT = ">BBHIBBIIII8sIH"
HEAD_LENGTH = 40
MAX_LENGTH = HEAD_LENGTH + MAX_RECORDS * RECORD_LENGTH + MAC_LENGTH

_ASK = ">BB8sBHIH"
ASK_LENGTH = 19
_ACK = ">BBHIII"
_ACK_LENGTH = 16


class BatchError(ValueError):
    """A batch, question or acknowledgement that is not taken; the text says why."""


def pack_head(
    kind: int,
    meter: int,
    tag_key_version: int,
    boot: int,
    counter: int,
    time_s: int,
    log_id: int,
    nonce: bytes,
    first: int,
    count: int,
) -> bytes:
    """The 40 bytes in front of a batch's records."""
    return struct.pack(
        HEAD_FORMAT,
        FORMAT,
        kind,
        meter >> 32,
        meter & 0xFFFFFFFF,
        tag_key_version,
        0,
        boot,
        counter,
        time_s,
        log_id,
        nonce,
        first,
        count,
    )


def mac(head: bytes, records: "bytes | bytearray", key: MacKey) -> bytes:
    """The 16 bytes behind a batch's records."""
    return key.mac(LABEL_BATCH, bytes(head) + bytes(records))


class Batch:
    """A verified batch: kind, meter, boot, counter, time_s, log_id, nonce, first, count, records (count x 24 bytes)."""

    def __init__(self, raw: bytes, key: MacKey) -> None:
        """Verify and read; raises BatchError. The CRC of each record is its reader's to check."""
        if not HEAD_LENGTH + MAC_LENGTH <= len(raw) <= MAX_LENGTH:
            raise BatchError("batch: {} bytes given, 56..{} expected".format(len(raw), MAX_LENGTH))
        raw = bytes(raw)
        f = struct.unpack_from(HEAD_FORMAT, raw, 0)
        end = HEAD_LENGTH + RECORD_LENGTH * f[12]
        if f[0] != FORMAT or f[1] not in (KIND_INTERVALS, KIND_EVENTS, KIND_HELD) or end + MAC_LENGTH != len(raw):
            raise BatchError("batch: format {}, kind {} and count {} do not fit".format(f[0], f[1], f[12]))
        if not key.check(LABEL_BATCH, raw[:end], raw[end:]):
            raise BatchError("batch: the MAC is not genuine")
        self.raw = raw
        self.kind = f[1]
        self.meter = f[2] << 32 | f[3]
        self.tag_key_version = f[4]
        self.boot = f[6]
        self.counter = f[7]
        self.time_s = f[8]
        self.log_id = f[9]
        self.nonce = f[10]
        self.first = f[11]
        self.count = f[12]
        self.records = raw[HEAD_LENGTH:end]


def pack_ask(kind: int, nonce: bytes, aspect: int = 0, selector: int = 0, first: int = 0, count: int = 0) -> bytes:
    """A question to the meter, 19 bytes: format 1, kind 1, nonce 8, aspect 1, selector 2, first 4, count 2."""
    return struct.pack(_ASK, FORMAT, kind, nonce, aspect, selector, first, count)


def read_ask(raw: bytes) -> "tuple[int, bytes, int, int, int, int]":
    """(kind, nonce, aspect, selector, first, count); BatchError where it is not a question, or its nonce is zero."""
    if len(raw) != ASK_LENGTH:
        raise BatchError("question: {} bytes given, {} expected".format(len(raw), ASK_LENGTH))
    form, kind, nonce, aspect, selector, first, count = struct.unpack(_ASK, raw)
    if form != FORMAT or not KIND_INTERVALS <= kind <= KIND_RECEIPT or nonce == NO_NONCE or count > MAX_RECORDS:
        raise BatchError("question: format {}, kind {}, count {} are not known".format(form, kind, count))
    return kind, nonce, aspect, selector, first, count


def pack_ack(kind: int, meter: int, log_id: int, seq: int, key: MacKey) -> bytes:
    """All records of `kind` up to `seq` are stored: format 1, kind 1, meter 6, log_id 4, seq 4, tag 8 — 24 bytes."""
    payload = struct.pack(_ACK, FORMAT, kind, meter >> 32, meter & 0xFFFFFFFF, log_id, seq)
    return payload + key.mac(LABEL_ACK, payload, TAG_LENGTH)


def read_ack(raw: bytes, meter: int, key: MacKey) -> "tuple[int, int, int]":
    """(kind, log_id, seq) of an acknowledgement for `meter`; BatchError where it is not genuine."""
    if len(raw) != _ACK_LENGTH + TAG_LENGTH:
        raise BatchError("acknowledgement: {} bytes given, {} expected".format(len(raw), _ACK_LENGTH + TAG_LENGTH))
    form, kind, high, low, log_id, seq = struct.unpack_from(_ACK, raw, 0)
    if form != FORMAT or high << 32 | low != meter:
        raise BatchError("acknowledgement: format {} for meter {}".format(form, high << 32 | low))
    if not key.check(LABEL_ACK, raw[:_ACK_LENGTH], raw[_ACK_LENGTH:]):
        raise BatchError("acknowledgement: the tag is not genuine")
    return kind, log_id, seq
