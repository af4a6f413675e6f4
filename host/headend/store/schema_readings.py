"""Tables of interval records: what was taken lately, packed days, and how far each meter's log is whole.

A record is in one of two places. `reading_recent` holds runs of records as they came, in the order of arrival, so that
taking one from each of a million meters writes to one end of the table. `reading_day` holds what a meter recorded in a
day of UTC, packed without loss (`reads.packing`); the packer moves records there, in one transaction.
"""

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, Table

from headend.store.columns import metadata

# The cursors of a meter's record logs. The row is the lock of its records: nothing of its money waits for a reading.
meter_reads = Table(
    "meter_reads",
    metadata,
    Column("meter", BigInteger, primary_key=True, autoincrement=False),
    Column("log_id", BigInteger),  # of the logs that the meter writes at present
    Column("interval_whole_to", BigInteger, nullable=False, server_default="0"),
    Column("interval_newest", BigInteger, nullable=False, server_default="0"),
    Column("interval_oldest", BigInteger, nullable=False, server_default="0"),
    Column("event_whole_to", BigInteger, nullable=False, server_default="0"),
    Column("event_newest", BigInteger, nullable=False, server_default="0"),
    sqlite_with_rowid=False,
)

# Runs of intervals that are stored beyond the cursor, or in another log than the meter's present one; they neither
# overlap nor touch each other.
reading_island = Table(
    "reading_island",
    metadata,
    Column("meter", BigInteger, primary_key=True, autoincrement=False),
    Column("log_id", BigInteger, primary_key=True, autoincrement=False),
    Column("first", BigInteger, primary_key=True, autoincrement=False),
    Column("last", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

# Which hours of arrival have rows in `reading_recent`.
reading_hour = Table("reading_hour", metadata, Column("hour", Integer, primary_key=True, autoincrement=False))

# Runs of records as they came, 24 bytes each, numbered without a gap from `first`; no record stands in two of them.
reading_recent = Table(
    "reading_recent",
    metadata,
    Column("hour", Integer, primary_key=True, autoincrement=False),  # of arrival: UTC seconds // 3600
    Column("meter", BigInteger, primary_key=True, autoincrement=False),
    Column("log_id", BigInteger, primary_key=True, autoincrement=False),
    Column("first", BigInteger, primary_key=True, autoincrement=False),
    Column("records", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

# Records of a log whose periods began in a day of UTC, packed; late ones of that day are a further row, or repacked.
reading_day = Table(
    "reading_day",
    metadata,
    Column("meter", BigInteger, primary_key=True, autoincrement=False),
    Column("day", Integer, primary_key=True, autoincrement=False),  # start_s // 86400
    Column("log_id", BigInteger, primary_key=True, autoincrement=False),
    Column("first", BigInteger, primary_key=True, autoincrement=False),
    Column("last", BigInteger, nullable=False),
    Column("packed", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)
