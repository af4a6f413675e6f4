"""The flash map: what it holds and how long it lasts. Runs on CPython and on MicroPython."""

from meter import flashmap
from meter.journal import Journal, capacity_bytes
from meter.ring import Ring
from meterlink.records import RECORD_LENGTH, check, pack_interval
from metersim.flash import NorFlash


def test_the_parts_follow_one_another_and_fit():
    assert flashmap.JOURNAL_FIRST + flashmap.JOURNAL_SECTORS == flashmap.INTERVALS_FIRST
    assert flashmap.INTERVALS_FIRST + flashmap.INTERVALS_SECTORS == flashmap.EVENTS_FIRST
    assert flashmap.EVENTS_FIRST + flashmap.EVENTS_SECTORS == flashmap.END <= flashmap.TOTAL_SECTORS


def test_the_rings_hold_what_the_map_says():
    flash = NorFlash(flashmap.TOTAL_SECTORS, flashmap.SECTOR_BYTES)
    assert flashmap.RECORD_BYTES == RECORD_LENGTH
    for first, count, ahead, wanted in (
        (flashmap.INTERVALS_FIRST, flashmap.INTERVALS_SECTORS, flashmap.INTERVALS_AHEAD, flashmap.INTERVALS_HELD),
        (flashmap.EVENTS_FIRST, flashmap.EVENTS_SECTORS, flashmap.EVENTS_AHEAD, flashmap.EVENTS_HELD),
    ):
        ring = Ring(flash, first, count, RECORD_LENGTH, check, ahead)
        assert ring.guaranteed >= wanted and ring.slots == flashmap.RECORDS_PER_SECTOR


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


def test_wear_by_the_figures_that_the_meter_uses():
    household = flashmap.commits_per_day(3_500_000 // 365)  # 3500 kWh a year
    limit = flashmap.commits_per_day(60 * 230 * 24)  # 60 A at 230 V without end
    assert flashmap.wear(flashmap.DESIGN_YEARS, household, flashmap.CHECKPOINT_BYTES) <= flashmap.ERASE_CYCLES
    assert flashmap.years_to_wear_out(household, flashmap.CHECKPOINT_BYTES) >= flashmap.DESIGN_YEARS
    assert flashmap.years_to_wear_out(limit, flashmap.CHECKPOINT_BYTES) >= 1


def test_wear_is_what_a_journal_does():
    """The formula against erases counted in a journal that is driven with the budget of live values."""
    flash = NorFlash(flashmap.JOURNAL_SECTORS)
    journal = Journal(flash, 0, flashmap.JOURNAL_SECTORS, flashmap.MAX_COMMIT)
    journal.mount()
    key = 100
    while (key - 100) * 152 < flashmap.LIVE_BYTES - 152:
        journal.commit([(key, bytes(130))])
        key += 1
    first = sum(flash.erases)
    commits = 4000
    for number in range(commits):
        journal.commit([(1, bytes([number & 0xFF]) * flashmap.CHECKPOINT_BYTES)])
    counted = sum(flash.erases) - first
    computed = flashmap.wear(1, commits, flashmap.CHECKPOINT_BYTES) * flashmap.JOURNAL_SECTORS  # of 365 times as many
    assert computed * 90 // 100 <= counted * 365 <= computed * 102 // 100, (counted * 365, computed)
