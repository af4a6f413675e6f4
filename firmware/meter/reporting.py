"""What the meter proves about itself: reports, receipts, batches, and the acknowledgements that it hears.

Energy and money come from the last durable checkpoint; intent, holds and totals change only after their commit.
"""

import struct

from meter import held, store
from meterlink import batches, orders, records, reports, results, states
from meterlink.batches import BatchError

NO_SUBJECT = (0, 0, 0, 0, bytes(8), results.NONE)


def key_of(meter):
    """The per-meter key; ReportError before commissioning."""
    if meter.mac_key is None:
        raise reports.ReportError("meter: not commissioned, so it has no key to prove anything with")
    return meter.mac_key


def subject(meter, aspect: int, selector: int) -> tuple:
    """(aspect, selector, signing_epoch, version, digest8, result) of what the meter holds of a subject."""
    known = meter.held(aspect, selector)
    last = meter.inbox.last(aspect, selector)
    if known is None:
        return aspect, selector, 0, 0, bytes(8), last
    return (aspect, selector) + known + (last or results.APPLIED,)


def due_s(meter, pending: "tuple[int, int]") -> int:
    """When the armed operation is due by the meter's clock, 0 = none."""
    return meter.clock.unix_s + pending[1] if pending[0] != states.PENDING_NONE else 0


def held_seq(ring) -> "tuple[int, int]":
    """(oldest, newest) number that a ring holds, zeros for none."""
    return max(0, ring.oldest), max(0, ring.newest)


def report(meter, kind: int, nonce: bytes, about: tuple, closing: "bytes | None" = None) -> bytes:
    """A report of 222 bytes; `about` is a subject as `subject` gives it, `closing` what KEY_CLOSING holds, for a
    closing statement."""
    key = key_of(meter)
    meter.counter += 1
    supply, relay, c = meter.supply, meter.supply.relay, meter.committed()
    time_s = meter.clock.unix_s
    closed = meter.account_epoch, meter.account.totals(orders.SOURCE_TYPED)[0]
    if closing:
        closed = struct.unpack_from(store.CLOSING, closing, 0)
        c = struct.unpack_from(store.CHECKPOINT, closing, store.CLOSING_LENGTH)
        time_s = c[0]
    pending = supply.pending()
    oldest, newest = held_seq(meter.store.intervals)
    totals = meter.account.totals(about[1]) if about[0] == orders.ASPECT_CREDIT else (0, 0)
    values = (
        reports.FORMAT,
        kind,
        meter.number >> 32,
        meter.number & 0xFFFFFFFF,
        meter.tag_key_version,
        0,
        meter.boot,
        meter.counter,
        nonce,
        time_s,
        closed[0],
        meter.log_id,
        supply.control,
        relay.contact,
        relay.diagnosis,
        states.CLOCK_SET if meter.clock.known else states.CLOCK_UNKNOWN,
        supply.holds,
        supply.causes,
        meter.alarms(),
        relay.load_ma,
        relay.no_load_s,
        pending[0],
        meter.allowance.mode,
        due_s(meter, pending),
        c[1],
        c[3],
        c[10],
        c[5],
        c[6],
        c[7],
        c[8],
        c[9],
        c[25],
        c[11],
        oldest,
        newest,
        held_seq(meter.store.events)[1],
        meter.latches.word,
        meter.clock.nonce,
        closed[1],
        meter.allowance.until_wh(),
    )
    return reports.pack(values + about + totals, key)


def answer(meter, raw: bytes) -> "tuple[int, bytes]":
    """(batches.KIND_*, answer) to a question."""
    kind, nonce, aspect, selector, first, count = batches.read_ask(raw)
    if meter.mac_key is None:
        raise BatchError("meter: not commissioned")
    if kind in _REPORTERS:
        return kind, _REPORTERS[kind](meter, nonce, aspect, selector)
    if kind == batches.KIND_ORDER:
        return kind, meter.held_order(aspect, selector)
    return kind, batch(meter, kind, nonce, first, count or batches.MAX_RECORDS)


def _state(meter, nonce: bytes, aspect: int, selector: int) -> bytes:
    return report(meter, reports.KIND_REPORT, nonce, subject(meter, aspect, selector))


def _receipt(meter, nonce: bytes, aspect: int, selector: int) -> bytes:
    """Of the last verdict since the start; before one, of what is held."""
    about = meter.inbox.verdict(aspect, selector) or subject(meter, aspect, selector)
    return report(meter, reports.KIND_RECEIPT, nonce, about)


def _closing(meter, nonce: bytes, aspect: int, selector: int) -> bytes:
    closing = meter.store.get(store.KEY_CLOSING)
    if not closing:
        raise BatchError("closing statement: no account was closed yet")
    return report(meter, reports.KIND_CLOSING, nonce, NO_SUBJECT, closing)


_REPORTERS = {batches.KIND_REPORT: _state, batches.KIND_RECEIPT: _receipt, batches.KIND_CLOSING: _closing}


def _ring(meter, kind: int):
    return meter.store.intervals if kind == batches.KIND_INTERVALS else meter.store.events


def batch(meter, kind: int, nonce: bytes, first: int, count: int) -> bytes:
    """A batch of up to `count` records without a gap, from `first` on or from the first that is held behind it; one
    without records, at `first`, where none is."""
    if kind == batches.KIND_HELD:
        first = max(first, 1)
        body = held.records(meter, first, count)
    else:
        first, body = _logged(_ring(meter, kind), first, count)
    meter.counter += 1
    head = batches.pack_head(
        kind,
        meter.number,
        meter.tag_key_version,
        meter.boot,
        meter.counter,
        meter.clock.unix_s,
        meter.log_id,
        nonce,
        first,
        len(body) // records.RECORD_LENGTH,
    )
    return head + body + batches.mac(head, body, meter.mac_key)


def _logged(ring, first: int, count: int) -> "tuple[int, bytes]":
    """(number of the first record, records) of a log."""
    oldest, newest = held_seq(ring)
    record = bytearray(records.RECORD_LENGTH)
    body = bytearray()
    seq = max(first, oldest, 1)
    while seq <= newest and len(body) < count * records.RECORD_LENGTH:
        if ring.read_into(seq, record):
            if not body:
                first = seq
            body += record
        elif body:
            break
        seq += 1
    return first, bytes(body)


def replay(meter, kind: int) -> "bytes | None":
    """The next batch that the head end has not acknowledged, or None."""
    if meter.mac_key is None or kind not in (batches.KIND_INTERVALS, batches.KIND_EVENTS):
        return None
    cursor = meter.cursors[kind - 1]
    if held_seq(_ring(meter, kind))[1] <= cursor:
        return None
    return batch(meter, kind, reports.NO_NONCE, cursor + 1, batches.MAX_RECORDS)


def acknowledge(meter, raw: bytes) -> bool:
    """Move the replay cursor, durably; whether it moved. A lower one is heard and changes nothing."""
    if meter.mac_key is None:
        raise BatchError("meter: not commissioned")
    kind, log_id, seq = _read_ack(meter, raw)
    if kind not in (batches.KIND_INTERVALS, batches.KIND_EVENTS) or log_id != meter.log_id:
        raise BatchError("acknowledgement: kind {} of log {} given, this is log {}".format(kind, log_id, meter.log_id))
    if seq > held_seq(_ring(meter, kind))[1]:
        raise BatchError(
            "acknowledgement: {} given, nothing is newer than {}".format(seq, held_seq(_ring(meter, kind))[1])
        )
    before = meter.cursors[kind - 1]
    if seq > before:
        meter.cursors[kind - 1] = seq
        if not meter.commit([(store.KEY_CURSORS, struct.pack(store.CURSORS, *meter.cursors))]):
            meter.cursors[kind - 1] = before
            raise BatchError("acknowledgement: it could not be stored")
    return seq > before


def _read_ack(meter, raw: bytes) -> "tuple[int, int, int]":
    """An acknowledgement under any of the per-meter keys."""
    keys = meter.tag_keys()
    for key in keys[1:]:
        try:
            return batches.read_ack(raw, meter.number, key)
        except BatchError:
            pass
    return batches.read_ack(raw, meter.number, keys[0])
