"""Tables of collection: schedules, what was read by when, and how good each line is."""

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, LargeBinary, String, Table, Text, text

from headend.store.columns import RowId, metadata

# When meters are asked for what, each version whole; the newest rules.
collection_policy = Table(
    "collection_policy",
    metadata,
    Column("version", RowId, primary_key=True),
    Column("since_s", BigInteger, nullable=False),
    Column("actor", String(80), nullable=False),
    Column("why", String(200), nullable=False),
    Column("rules", Text, nullable=False),  # JSON, collection.policy.Policy
)

# Times in which the meters of an area are not read, since somebody works there. Orders go all the same.
collection_pause = Table(
    "collection_pause",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("area", String(120), nullable=False),
    Column("from_s", BigInteger, nullable=False),
    Column("until_s", BigInteger, nullable=False),  # brought forward where it is ended early
    Column("actor", String(80), nullable=False),
    Column("why", String(200), nullable=False),
    Index("ix_collection_pause_until", "until_s"),
)

# Of each meter: when it is asked next, and how often it was asked in vain.
collect_turn = Table(
    "collect_turn",
    metadata,
    Column("meter", BigInteger, primary_key=True, autoincrement=False),
    Column("report_tries", Integer, nullable=False, server_default="0"),  # of `meter_state.next_ask_s`
    Column("daily_s", BigInteger, nullable=False),  # of the daily look
    Column("daily_tries", Integer, nullable=False, server_default="0"),
    Column("fill_s", BigInteger),  # of the next question for missing records; none: nothing is wanted
    Column("fill_tries", Integer, nullable=False, server_default="0"),
    Column("filled_s", BigInteger, nullable=False, server_default="0"),  # when such a question was put last
    # A report said: with record `mark_seq` of log `mark_log` all days up to `mark_day` are whole.
    Column("mark_log", BigInteger),
    Column("mark_seq", BigInteger, nullable=False, server_default="0"),
    Column("mark_day", Integer, nullable=False, server_default="0"),
    Column("whole_day", Integer, nullable=False, server_default="0"),  # the last local day that is whole
    Index("ix_collect_turn_daily", "daily_s"),
    Index(
        "ix_collect_turn_fill",
        "fill_s",
        sqlite_where=text("fill_s is not null"),
        postgresql_where=text("fill_s is not null"),
    ),
)

# What somebody wants to have read now, and how far that is.
collect_request = Table(
    "collect_request",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("kind", String(12), nullable=False),  # collection.requests.KINDS
    Column("area", String(120), nullable=False),  # the narrowest that all of it lies in
    Column("actor", String(80), nullable=False),
    Column("why", String(200), nullable=False),
    Column("asked_s", BigInteger, nullable=False),
    Column("until_s", BigInteger, nullable=False),  # what is not read by then is given up
    Column("meters", Integer, nullable=False),
)
collect_request_meter = Table(
    "collect_request_meter",
    metadata,
    Column("request", ForeignKey("collect_request.id"), primary_key=True, autoincrement=False),
    Column("meter", BigInteger, primary_key=True, autoincrement=False),
    Column("state", String(8), nullable=False),  # collection.requests.STATES
    Column("next_s", BigInteger),  # none once it is over
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("log_id", BigInteger),  # the log and record up to which it is to be whole, once a report has told
    Column("seq", BigInteger),
    Column("over_s", BigInteger),
    Index(
        "ix_collect_request_meter_next",
        "next_s",
        sqlite_where=text("next_s is not null"),
        postgresql_where=text("next_s is not null"),
    ),
    Index(
        "ix_collect_request_meter_open",
        "meter",
        sqlite_where=text("next_s is not null"),
        postgresql_where=text("next_s is not null"),
    ),
)

# What was read of a local day, by area and carrier. Records are counted by the hour of UTC in which they came.
read_success = Table(
    "read_success",
    metadata,
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("area", String(120), primary_key=True),
    Column("carrier", String(16), primary_key=True),
    Column("meters", Integer, nullable=False, server_default="0"),
    Column("expected", BigInteger, nullable=False, server_default="0"),  # records of that day
    Column("in_time", BigInteger, nullable=False, server_default="0"),  # that came before the deadline
    Column("late", BigInteger, nullable=False, server_default="0"),  # that came after it
    Column("lost", BigInteger, nullable=False, server_default="0"),  # declared lost on that day
    Column("repeated", BigInteger, nullable=False, server_default="0"),  # that came on that day and were there already
    Column("whole", Integer, nullable=False, server_default="0"),  # meters whose log is whole up to the day's end
    Column("whole_in_time", Integer),  # of them, at the deadline
)

# How far arrivals are counted: one row.
read_counted = Table(
    "read_counted",
    metadata,
    Column("one", Integer, primary_key=True, autoincrement=False),  # always 1
    Column("hour", Integer, nullable=False),  # of UTC; all before it are counted
    Column("meter", BigInteger, nullable=False),  # of that hour, meters up to here
)

# How each unit on each line answered on a day of UTC.
line_quality = Table(
    "line_quality",
    metadata,
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("link", String(200), primary_key=True),
    Column("unit", Integer, primary_key=True, autoincrement=False),
    Column("sent", BigInteger, nullable=False),
    Column("answered", BigInteger, nullable=False),
    Column("refused", BigInteger, nullable=False),  # answered with an exception
    Column("silent", BigInteger, nullable=False),
    Column("garbled", BigInteger, nullable=False),
    Column("foreign", BigInteger, nullable=False),
    Column("late", BigInteger, nullable=False),  # something came after its time was over
    Column("unreachable", BigInteger, nullable=False),
    Column("skipped", BigInteger, nullable=False),  # not asked, since it had not answered before
    Column("times", LargeBinary, nullable=False),  # links.quality.Times: a histogram of answer times
)
