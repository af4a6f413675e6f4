"""Where things lie in the meter's flash partition, what is held there, and how long it lasts.

Format 2: 100 sectors of 4 KiB (400 KiB). A journal or ring whose place, number of sectors or record length changes
cannot be read any more, so these figures are part of the format. In format 1 (64 sectors) the journal lay in sectors
0 to 15; intervals and events lie where they lay. The meter uses the figures, everybody else the functions as well.
"""

FORMAT = 2
SECTOR_BYTES = 4096
TOTAL_SECTORS = 100
ERASE_CYCLES = 100_000  # of a sector, the usual figure of NOR flash
DESIGN_YEARS = 15

SECTOR_HEADER_BYTES = 16  # of journal and rings
UNIT_BYTES = 8  # what is programmed at once starts and ends at a multiple of this


def held(sectors: int, record_bytes: int, ahead: int) -> int:
    """How many records a ring holds at least: all but the sector that is being erased, and the slots ahead of it."""
    return (sectors - 1) * ((SECTOR_BYTES - SECTOR_HEADER_BYTES) // record_bytes) - ahead


# Rings: sectors, and free slots that are left when the next erase falls due.
NUISANCE_FIRST = 0  # refused tokens and orders, and the like: what anybody can cause
NUISANCE_SECTORS = 2
NUISANCE_AHEAD = 8

SWITCHES_FIRST = 2
SWITCHES_SECTORS = 2
SWITCHES_AHEAD = 4

TOPUPS_FIRST = 4
TOPUPS_SECTORS = 2
TOPUPS_AHEAD = 4

DAILY_FIRST = 6
DAILY_SECTORS = 4
DAILY_AHEAD = 1

MONTHLY_FIRST = 10
MONTHLY_SECTORS = 2
MONTHLY_AHEAD = 1

INTERVALS_FIRST = 16
INTERVALS_SECTORS = 35
INTERVALS_AHEAD = 2  # half an hour to find a quiet moment

EVENTS_FIRST = 51
EVENTS_SECTORS = 7
EVENTS_AHEAD = 16  # events come in bursts

JOURNAL_FIRST = 60
JOURNAL_SECTORS = 40
JOURNAL_WINDOW = 4  # the values that count may spread over so many times their own size, and two sectors
LIVE_BYTES = 24_576  # budget of all values in the journal; they are copied once a turn
MAX_COMMIT = 2304  # the largest credit order with all that it may change, and what waits to ride along

OLD_JOURNAL_FIRST = 0  # format 1
OLD_JOURNAL_SECTORS = 16
OLD_MAX_COMMIT = 896

# A checkpoint of the state is due after so much time or so much energy, whichever comes first.
CHECKPOINT_S = 60
CHECKPOINT_WH = 10
MAX_TICK = 36  # bytes of a short checkpoint; where it takes more a full one is written
FULL_BYTES = 288  # of a record with a full checkpoint and the interval that it closes

JOURNAL_RECORD_BYTES = 16  # of a record, before its payload
JOURNAL_ENTRY_BYTES = 4  # of an entry, before its value


def record_bytes(payload_bytes: int) -> int:
    """Flash that a journal record of so many payload bytes takes."""
    return (JOURNAL_RECORD_BYTES + payload_bytes + UNIT_BYTES - 1) // UNIT_BYTES * UNIT_BYTES


# -- wear: not carried by a meter --------------------------------------------------------------------------------------

LOADS = (  # name, energy in a day in Wh
    ("household", 3_500_000 // 365),  # 3500 kWh a year
    ("full", 60 * 230 * 24),  # 60 A at 230 V without end
)
NUISANCE_A_DAY = 288  # as the meter bounds them: one in ten minutes, and how many were left out before it


class Region:
    """A part of the flash: its name, first sector and sectors · records, bytes: written in a day · a_year: erases of
    each of its sectors in a year, rounded up."""

    def __init__(self, name: str, first: int, sectors: int, records: int, written: int, a_year: int) -> None:
        self.name = name
        self.first = first
        self.sectors = sectors
        self.records = records
        self.bytes = written
        self.a_year = a_year

    def years(self) -> int:
        """Whole years until a sector has seen ERASE_CYCLES erases."""
        return ERASE_CYCLES // self.a_year


def ticks_a_day(wh_a_day: int) -> int:
    """Short checkpoints of a day at most: as if those due by time and those due by energy never fell together."""
    return 86_400 // CHECKPOINT_S + wh_a_day // CHECKPOINT_WH


def turn_bytes() -> int:
    """What is new in one turn of the journal at least: each sector may waste what a full record does not fill, and the
    values that count are copied once in each window."""
    sector = SECTOR_BYTES - SECTOR_HEADER_BYTES - FULL_BYTES
    window = 2 + LIVE_BYTES * JOURNAL_WINDOW // SECTOR_BYTES
    return JOURNAL_SECTORS * (window * sector - LIVE_BYTES - record_bytes(MAX_COMMIT)) // window


def journal(wh_a_day: int, interval_minutes: int) -> Region:
    """The journal under a load; orders are too few to count."""
    ticks = ticks_a_day(wh_a_day)
    fulls = 1440 // interval_minutes
    written = ticks * record_bytes(JOURNAL_ENTRY_BYTES + MAX_TICK) + fulls * FULL_BYTES
    return Region("journal", JOURNAL_FIRST, JOURNAL_SECTORS, ticks + fulls, written, -(-written * 365 // turn_bytes()))


# name, first sector, sectors, record length, records a day (0: one an interval)
RINGS = (
    ("nuisance", NUISANCE_FIRST, NUISANCE_SECTORS, 24, NUISANCE_A_DAY),
    ("switches", SWITCHES_FIRST, SWITCHES_SECTORS, 48, 24),
    ("topups", TOPUPS_FIRST, TOPUPS_SECTORS, 72, 24),
    ("daily", DAILY_FIRST, DAILY_SECTORS, 136, 1),
    ("monthly", MONTHLY_FIRST, MONTHLY_SECTORS, 136, 1),
    ("intervals", INTERVALS_FIRST, INTERVALS_SECTORS, 24, 0),
    ("events", EVENTS_FIRST, EVENTS_SECTORS, 24, 200),
)


def regions(wh_a_day: int, interval_minutes: int = 15) -> "list[Region]":
    """All regions under a load; records a day of the rings are what a busy meter makes."""
    found = []
    for name, first, sectors, length, a_day in RINGS:
        records = a_day or 1440 // interval_minutes
        slots = sectors * ((SECTOR_BYTES - SECTOR_HEADER_BYTES) // length)
        found.append(Region(name, first, sectors, records, records * length, -(-records * 365 // slots)))
    return found + [journal(wh_a_day, interval_minutes)]
