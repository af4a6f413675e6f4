"""Where things lie in the meter's flash partition, and how long it lasts.

The partition has 100 sectors of 4 KiB (400 KiB). A journal whose number of sectors changes
cannot be read any more, so these figures are part of the format.
"""

from meter.journal import ENTRY_BYTES, HEADER_BYTES, record_bytes

SECTOR_BYTES = 4096
ERASE_CYCLES = 100_000  # of a sector, the usual figure of NOR flash
TOTAL_SECTORS = 100

JOURNAL_FIRST = 0
JOURNAL_SECTORS = 16
LIVE_BYTES = 10240  # budget of all values in the journal; they are copied once a turn
MAX_COMMIT = 1280  # the largest credit order with all that it may change, and what waits to ride along

RECORD_BYTES = 24  # of an interval and of an event
RECORDS_PER_SECTOR = (SECTOR_BYTES - 16) // RECORD_BYTES

INTERVAL_DAYS = 60
INTERVALS_HELD = INTERVAL_DAYS * 96
INTERVALS_AHEAD = 2  # free slots left when the erase falls due: half an hour to find a quiet moment
INTERVALS_FIRST = JOURNAL_FIRST + JOURNAL_SECTORS
INTERVALS_SECTORS = (INTERVALS_HELD + INTERVALS_AHEAD + RECORDS_PER_SECTOR - 1) // RECORDS_PER_SECTOR + 1

EVENTS_HELD = 1000
EVENTS_AHEAD = 16  # events come in bursts
EVENTS_FIRST = INTERVALS_FIRST + INTERVALS_SECTORS
EVENTS_SECTORS = (EVENTS_HELD + EVENTS_AHEAD + RECORDS_PER_SECTOR - 1) // RECORDS_PER_SECTOR + 1

END = EVENTS_FIRST + EVENTS_SECTORS

# A checkpoint of the state is due after so much time or so much energy, whichever comes first.
CHECKPOINT_S = 60
CHECKPOINT_WH = 10
CHECKPOINT_BYTES = 196  # 170, and in remote mode 26 of the countdown beside them
DESIGN_YEARS = 15


def commits_per_day(wh_per_day: int) -> int:
    """Checkpoints of a day at most: as if those due by time and those due by energy never fell together."""
    return 86_400 // CHECKPOINT_S + wh_per_day // CHECKPOINT_WH


def wear(years: int, commits_a_day: int, bytes_per_commit: int) -> int:
    """Erases of each journal sector in so many years, rounded up.

    bytes_per_commit: of the value of a commit with one key. Each turn of the journal copies LIVE_BYTES once and leaves
    in each sector what is too short for one more record.
    """
    record = record_bytes(ENTRY_BYTES + bytes_per_commit)
    turn = (
        JOURNAL_SECTORS * ((SECTOR_BYTES - HEADER_BYTES) // record)
        - (LIVE_BYTES + record_bytes(MAX_COMMIT)) // record
        - 1
    )
    return (years * 365 * commits_a_day + turn - 1) // turn


def years_to_wear_out(commits_a_day: int, bytes_per_commit: int) -> int:
    """Whole years after which a journal sector has seen ERASE_CYCLES erases."""
    years = 0
    while wear(years + 1, commits_a_day, bytes_per_commit) <= ERASE_CYCLES:
        years += 1
    return years
