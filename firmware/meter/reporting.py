"""What the meter proves about itself: reports, receipts, batches, and the acknowledgements that it hears.

Energy and money come from the last durable checkpoint; intent, holds and totals change only after their commit.
"""

import struct

from meter import store
from meterlink import batches, orders, records, reports, results, states
from meterlink.batches import BatchError

NO_SUBJECT = (0, 0, 0, 0, bytes(8), results.NONE)
_MODE_LOCAL = 0


def key_of(meter):
    """The per-meter key; ReportError before commissioning."""
    if meter.mac_key is None:
        raise reports.ReportError("meter: not commissioned, so it has no key to prove anything with")
    return meter.mac_key


def subject(meter, aspect: int, selector: int) -> tuple:
    """(aspect, selector, signing_epoch, version, digest8, result) of what the meter holds of a subject."""
    held = meter.held(aspect, selector)
    last = meter.inbox.last(aspect, selector)
    if held is None:
        return aspect, selector, 0, 0, bytes(8), last
    return aspect, selector, held[0], held[1], held[2], last or results.APPLIED


def due_s(meter, pending: "tuple[int, int]") -> int:
    """When the armed operation is due by the meter's clock, 0 = none."""
    return meter.clock.unix_s + pending[1] if pending[0] != states.PENDING_NONE else 0


def held_seq(ring) -> "tuple[int, int]":
    """(oldest, newest) number that a ring holds, zeros for none."""
    return max(0, ring.oldest), max(0, ring.newest)


def report(meter, kind: int, nonce: bytes, about: tuple) -> bytes:
    """A report of 222 bytes; `about` is a subject as `subject` gives it."""
    key = key_of(meter)
    meter.counter += 1
    supply, relay, c = meter.supply, meter.supply.relay, meter.committed()
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
        meter.clock.unix_s,
        meter.account_epoch,
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
        _MODE_LOCAL,
        due_s(meter, pending),
        c[1],
        c[3],
        c[10],
        c[5],
        c[6],
        c[7],
        c[8],
        c[9],
        0,  # nothing waits: there is no hoarding limit yet
        c[11],
        oldest,
        newest,
        held_seq(meter.store.events)[1],
        meter.latches,
        meter.clock.nonce,
        meter.account.totals(orders.SOURCE_TYPED)[0],
        0,
    )
    return reports.pack(values + about + totals, key)


def answer(meter, raw: bytes) -> "tuple[int, bytes]":
    """(batches.KIND_*, answer) to a question."""
    kind, nonce, aspect, selector, first, count = batches.read_ask(raw)
    if meter.mac_key is None:
        raise BatchError("meter: not commissioned")
    if kind == batches.KIND_REPORT:
        return kind, report(meter, reports.KIND_REPORT, nonce, subject(meter, aspect, selector))
    if kind == batches.KIND_ORDER:
        return kind, meter.held_order(aspect, selector)
    return kind, batch(meter, kind, nonce, first, count or batches.MAX_RECORDS)


def _ring(meter, kind: int):
    return meter.store.intervals if kind == batches.KIND_INTERVALS else meter.store.events


def batch(meter, kind: int, nonce: bytes, first: int, count: int) -> bytes:
    """A batch of up to `count` records without a gap, from `first` on or from the first that is held behind it; one
    without records, at `first`, where none is."""
    ring = _ring(meter, kind)
    oldest, newest = held_seq(ring)
    record = bytearray(records.RECORD_LENGTH)
    body = bytearray()
    held = 0
    seq = max(first, oldest, 1)
    while seq <= newest and held < count:
        if ring.read_into(seq, record):
            if not held:
                first = seq
            held += 1
            body += record
        elif held:
            break
        seq += 1
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
        held,
    )
    return head + bytes(body) + batches.mac(head, body, meter.mac_key)


def replay(meter, kind: int) -> "bytes | None":
    """The next batch that the head end has not acknowledged, or None."""
    if meter.mac_key is None or kind not in (batches.KIND_INTERVALS, batches.KIND_EVENTS):
        return None
    cursor = meter.cursors[kind - 1]
    if held_seq(_ring(meter, kind))[1] <= cursor:
        return None
    return batch(meter, kind, reports.NO_NONCE, cursor + 1, batches.MAX_RECORDS)


def acknowledge(meter, raw: bytes) -> None:
    """Move the replay cursor, durably. A lower one is heard and changes nothing."""
    if meter.mac_key is None:
        raise BatchError("meter: not commissioned")
    kind, log_id, seq = batches.read_ack(raw, meter.number, meter.mac_key)
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
