"""The flash map: what it holds and how long it lasts. Runs on CPython and on MicroPython."""

import struct

from meter import journal, sectors, store
from meter.journal import Journal, capacity_bytes
from meter.ring import Ring
from meterlink import flashmap, records
from meterlink.records import RECORD_LENGTH, check, pack_interval
from metersim.flash import NorFlash
from tests.firmware.ramboard import Rig


def test_the_parts_do_not_overlap_and_fit():
    parts = [(first, first + count) for _, first, count, _, _ in flashmap.RINGS]
    parts.append((flashmap.JOURNAL_FIRST, flashmap.JOURNAL_FIRST + flashmap.JOURNAL_SECTORS))
    parts.sort()
    for place in range(1, len(parts)):
        assert parts[place - 1][1] <= parts[place][0]
    assert parts[0][0] == 0 and parts[-1][1] == flashmap.TOTAL_SECTORS


def test_the_rings_hold_what_is_promised():
    kept = store.Store(NorFlash(flashmap.TOTAL_SECTORS, flashmap.SECTOR_BYTES))
    for ring, wanted in (
        (kept.intervals, 60 * 96),
        (kept.events, 1000),
        (kept.logs[store.NUISANCE], 100),
        (kept.logs[records.KIND_SWITCH], 10),
        (kept.logs[records.KIND_TOPUP], 50),
        (kept.logs[records.KIND_DAILY], 62),
        (kept.logs[records.KIND_MONTHLY], 24),
    ):
        assert ring.guaranteed >= wanted, wanted


def test_the_map_says_what_the_parts_do():
    assert flashmap.SECTOR_HEADER_BYTES == journal.HEADER_BYTES
    assert flashmap.UNIT_BYTES == sectors.UNIT_BYTES
    lengths = {name: length for name, _, _, length, _ in flashmap.RINGS}
    assert lengths["nuisance"] == lengths["intervals"] == lengths["events"] == RECORD_LENGTH
    assert lengths["switches"] == records.SWITCH_LENGTH == struct.calcsize(records.SWITCH_FORMAT)
    assert lengths["topups"] == records.TOPUP_LENGTH == struct.calcsize(records.TOPUP_FORMAT)
    assert lengths["daily"] == lengths["monthly"] == records.FREEZE_LENGTH == struct.calcsize(records.FREEZE_FORMAT)


def test_intervals_are_told_from_blank_and_torn_flash():
    flash = NorFlash(4)
    ring = Ring(flash, 0, 4, RECORD_LENGTH, check)
    ring.mount()
    for seq in range(1, 400):
        ring.append(pack_interval(seq, 1_767_225_600 + seq * 900, seq * 100, 0, 100, 0, 15, 0))
    ring = Ring(flash, 0, 4, RECORD_LENGTH, check)
    ring.mount()
    assert (ring.oldest, ring.newest) == (1, 399)


def test_the_journal_holds_its_budget():
    assert flashmap.LIVE_BYTES <= capacity_bytes(flashmap.JOURNAL_SECTORS, flashmap.SECTOR_BYTES, flashmap.MAX_COMMIT)


def test_flash_lasts_at_any_load():
    """Fifteen years at 60 A without end, with quarters of an hour; a household's also with minutes."""
    household, full = [wh_a_day for _, wh_a_day in flashmap.LOADS]
    for wh_a_day, minutes in ((household, 15), (household, 1), (full, 15), (full, 60)):
        for region in flashmap.regions(wh_a_day, minutes):
            assert region.years() >= flashmap.DESIGN_YEARS, (region.name, wh_a_day, minutes)


def live_values(journal, live_bytes):
    """Fill a journal with so much that counts."""
    key = 100
    while (key - 100) * 152 < live_bytes - 152:
        journal.commit([(key, bytes(130))])
        key += 1


def test_wear_is_what_a_journal_does():
    """The formula against erases counted in a journal that is driven with the budget of live values."""
    flash = NorFlash(flashmap.JOURNAL_SECTORS)
    kept = Journal(flash, 0, flashmap.JOURNAL_SECTORS, flashmap.MAX_COMMIT)
    kept.mount()
    live_values(kept, flashmap.LIVE_BYTES)
    ticks = 48 * 24  # between two full checkpoints, at 60 A
    first = sum(flash.erases)
    written = 0
    for number in range(12_000):
        value = bytes([number & 0xFF]) * flashmap.MAX_TICK
        if number % ticks == 0:
            value = bytes(flashmap.FULL_BYTES - 20)
        kept.commit([(1, value)])
        while kept.erase_due():
            kept.erase_step()
        written += flashmap.record_bytes(flashmap.JOURNAL_ENTRY_BYTES + len(value))
    counted = sum(flash.erases) - first
    computed = written * flashmap.JOURNAL_SECTORS // flashmap.turn_bytes()
    assert computed * 85 // 100 <= counted <= computed, (counted, computed)


def test_a_meter_writes_no_more_than_the_budget_says():
    """Each commit of an hour at full load, by the bytes that it programs."""
    rig = Rig(credit_uc=10**12)
    rig.run(1800)
    rig.board.watts = 60 * 230
    sizes = []

    def programmed(block, offset, data):
        if data is not None and block >= flashmap.JOURNAL_FIRST and offset:
            sizes.append(len(data))

    rig.board.flash.watch = programmed
    rig.run(3600)
    rig.board.flash.watch = None
    tick = flashmap.record_bytes(flashmap.JOURNAL_ENTRY_BYTES + flashmap.MAX_TICK)
    full = [size for size in sizes if size > tick]
    assert len(sizes) <= flashmap.ticks_a_day(60 * 230 * 24) // 24 + 6
    assert len(full) <= 6 and max(full) <= flashmap.FULL_BYTES, full
    assert 900 < len(sizes) - len(full), "ticks"


def test_a_start_reads_a_bounded_part_of_a_full_flash():
    """The journal as far back as it ever reaches, twice at most; of the rings a few records a sector."""
    rig = Rig(credit_uc=10**12)
    kept = rig.meter.store
    for seq in range(1, flashmap.INTERVALS_SECTORS * 170):
        kept.intervals.append(pack_interval(seq, 1_767_225_600 + seq * 900, 0, 0, 0, 0, 15, 0))
    for _ in range(4000):  # more than the journal holds
        assert rig.meter.commit([])
        while rig.meter.erase_due():
            rig.meter.erase_step()
    before = rig.board.flash.read_bytes
    rig.outage()
    read = rig.board.flash.read_bytes - before
    live = kept.journal._live_bytes
    assert live < read <= 2 * (flashmap.JOURNAL_WINDOW * live + 3 * flashmap.SECTOR_BYTES) + 30_000, (read, live)
    assert rig.meter.commissioned and not rig.meter.history_lost and rig.meter.store.intervals.newest > 5000
