"""Batches, replay and acknowledgement; wills and births; and that nothing uncommitted is ever shown."""

from meter.exchange import Exchange
from meterlink import batches, flashmap, records, reports, topics
from meterlink.batches import Batch, BatchError, pack_ack, pack_ask
from meterlink.reports import Report, ReportError
from tests.firmware.ramboard import METER, NONCE, Rig

RICH_UC = 1_000_000_000


def ready(hours=30):
    rig = Rig(credit_uc=RICH_UC)
    rig.board.watts = 360
    rig.run(3600 * hours, 900)
    return rig


def batch_of(rig, kind, first=0, count=0):
    got, raw = rig.meter.ask(pack_ask(kind, NONCE, first=first, count=count))
    assert got == kind
    return Batch(raw, rig.mac_key)


def numbers(batch):
    return [records.check(batch.records[at : at + 24]) for at in range(0, len(batch.records), 24)]


def test_batches_by_range():
    """OP-BAT-02"""
    rig = ready()
    assert numbers(batch_of(rig, batches.KIND_INTERVALS, 5, 3)) == [5, 6, 7]
    assert numbers(batch_of(rig, batches.KIND_INTERVALS, 0, 2)) == [1, 2]
    assert numbers(batch_of(rig, batches.KIND_INTERVALS, 100)) == list(range(100, 121))
    whole = batch_of(rig, batches.KIND_INTERVALS, 1)
    assert whole.count == batches.MAX_RECORDS and whole.first == 1 and whole.meter == METER
    none = batch_of(rig, batches.KIND_INTERVALS, 500, 5)
    assert (none.first, none.count) == (500, 0)
    assert numbers(batch_of(rig, batches.KIND_EVENTS, 1, 2)) == [1, 2]


def test_a_damaged_record_ends_a_batch_and_is_stepped_over():
    rig = ready()
    ring = rig.meter.store.intervals
    flash = rig.board.flash
    record = bytearray(24)
    assert ring.read_into(7, record)
    at = bytes(flash.data).find(bytes(record), flashmap.INTERVALS_FIRST * flashmap.SECTOR_BYTES)
    flash.flip(at * 8 + 70)
    assert numbers(batch_of(rig, batches.KIND_INTERVALS, 5, 10)) == [5, 6]
    after = batch_of(rig, batches.KIND_INTERVALS, 7, 10)
    assert after.first == 8 and numbers(after) == list(range(8, 18))


def test_replay_until_acknowledged():
    """OP-BAT-03"""
    rig = ready()
    seen = []
    while True:
        raw = rig.meter.replay(batches.KIND_INTERVALS)
        if raw is None:
            break
        batch = Batch(raw, rig.mac_key)
        assert batch.nonce == bytes(8)
        assert numbers(Batch(rig.meter.replay(batches.KIND_INTERVALS), rig.mac_key)) == numbers(batch), "until told"
        seen += numbers(batch)
        rig.meter.ack(pack_ack(batches.KIND_INTERVALS, METER, rig.meter.log_id, seen[-1], rig.mac_key))
    assert seen == list(range(1, 121))
    rig.outage()
    assert rig.meter.replay(batches.KIND_INTERVALS) is None, "the cursor is durable"
    assert rig.meter.replay(batches.KIND_EVENTS) is not None, "each kind has its own"


def test_acknowledgements_that_are_not_taken():
    """OP-BAT-03"""
    rig = ready(1)
    log_id, key = rig.meter.log_id, rig.mac_key
    good = pack_ack(1, METER, log_id, 2, key)
    for bad in (
        good[:-1],
        good[:-1] + bytes((good[-1] ^ 1,)),
        pack_ack(1, METER + 1, log_id, 2, key),
        pack_ack(1, METER, log_id ^ 1, 2, key),
        pack_ack(1, METER, log_id, 99, key),
        pack_ack(3, METER, log_id, 2, key),
    ):
        try:
            rig.meter.ack(bad)
            raise AssertionError("taken")
        except BatchError:
            assert rig.meter.cursors == [0, 0]
    rig.meter.ack(good)
    sequence = rig.meter.store.journal.sequence
    rig.meter.ack(pack_ack(1, METER, log_id, 1, key))
    assert rig.meter.cursors == [2, 0] and rig.meter.store.journal.sequence == sequence, "a lower one costs nothing"


def test_replay_starts_at_what_is_still_held():
    rig = ready(1)
    ring = rig.meter.store.intervals
    for seq in range(ring.newest + 1, ring.newest + 8000):
        ring.append(records.pack_interval(seq, 900 * seq, 0, 0, 0, 0, 15, 0))
    batch = Batch(rig.meter.replay(1), rig.mac_key)
    assert batch.first == ring.oldest > 1 and batch.count == 40


def test_birth_will_and_counters():
    """OP-REP-03"""
    rig = ready(1)
    birth = Report(rig.meter.report(reports.KIND_BIRTH, reports.NO_NONCE, 0, 0), rig.mac_key)
    assert birth.kind == reports.KIND_BIRTH and (birth.aspect, birth.result) == (0, 0)
    assert reports.read_will(rig.meter.will(), rig.mac_key) == (METER, rig.meter.boot)
    before = (rig.report().boot, rig.report().counter)
    assert (rig.report().boot, rig.report().counter) > before
    rig.outage()
    assert (rig.report().boot, rig.report().counter) > before


def test_before_commissioning_nothing_is_proved():
    """OP-REP-13"""
    rig = Rig(commission=False)
    for speak in (rig.meter.will, lambda: rig.meter.report(1, NONCE, 0, 0)):
        try:
            speak()
            raise AssertionError("spoken without a key")
        except ReportError:
            pass
    assert rig.meter.replay(1) is None and rig.meter.take_receipt() is None


def test_only_committed_values_are_shown_and_a_cut_takes_nothing_back():
    """OP-REP-05"""
    rig = Rig(credit_uc=RICH_UC)
    rig.board.watts = 1000
    shown_wh = shown_uc = lost_wh = 0
    for round_ in range(40):
        rig.run(17 + 7 * round_)
        report = rig.report()
        assert report.import_wh >= shown_wh and report.charged_uc >= shown_uc and report.balances()
        shown_wh, shown_uc = report.import_wh, report.charged_uc
        live_wh = rig.meter.energy.import_wh
        assert live_wh - shown_wh < 10
        rig.outage(3)
        assert shown_wh <= rig.meter.energy.import_wh <= live_wh
        lost_wh = max(lost_wh, live_wh - rig.meter.energy.import_wh)
        assert rig.report().charged_uc == rig.report().import_wh * 1000
    assert lost_wh < 10


def test_a_small_load_loses_a_minute_at_most():
    rig = Rig(credit_uc=RICH_UC)
    rig.board.watts = 120  # 2 Wh a minute
    for seconds in (119, 601, 59, 3000):
        rig.run(seconds)
        assert rig.board.unix_s - rig.meter.committed()[0] <= 60
        live_wh = rig.meter.energy.import_wh
        rig.outage(1)
        assert live_wh - rig.meter.energy.import_wh <= 2


def test_an_acknowledgement_that_moves_nothing_makes_the_meter_say_nothing_anew():
    rig = Rig()
    rig.run(4 * 900, 60)
    exchange = Exchange(rig.meter, 5000)
    rig.meter.ack(batches.pack_ack(batches.KIND_INTERVALS, METER, rig.meter.log_id, 2, rig.mac_key))
    first = exchange.say(0)
    while exchange.say(0):
        pass
    exchange.hear(topics.DN_ACK, batches.pack_ack(batches.KIND_INTERVALS, METER, rig.meter.log_id, 1, rig.mac_key))
    assert exchange.say(1) is None
    exchange.hear(topics.DN_ACK, batches.pack_ack(batches.KIND_INTERVALS, METER, rig.meter.log_id, 3, rig.mac_key))
    again = exchange.say(2)
    assert first and again and again[0] == first[0] and again != first
