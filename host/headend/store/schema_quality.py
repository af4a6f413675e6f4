"""Tables of what was found wrong with readings, what stands in for missing ones, and visits to meters nobody hears."""

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from headend.store.columns import RowId, metadata

# The rules of validation, each version whole; the newest rules.
quality_policy = Table(
    "quality_policy",
    metadata,
    Column("version", RowId, primary_key=True),
    Column("since_s", BigInteger, nullable=False),
    Column("actor", String(80), nullable=False),
    Column("why", String(200), nullable=False),
    Column("scopes", Text, nullable=False),  # JSON, validation.policy
)

# How far a meter was judged, and what was there of its log then. The row is the lock of a meter's verdicts.
quality_meter = Table(
    "quality_meter",
    metadata,
    Column("meter", BigInteger, primary_key=True, autoincrement=False),
    Column("day_to", Integer, nullable=False),  # the last local day that was judged
    Column("log_id", BigInteger),
    Column("newest", BigInteger, nullable=False, server_default="0"),
    Column("absent", BigInteger, nullable=False, server_default="0"),  # numbers without a record: one less, one came
    Column("open", Integer, nullable=False, server_default="0"),  # 1: the last judged day has not come to its end
    Column("touched", BigInteger, nullable=False, server_default="0"),  # raised by the lock
)

# A verdict on a local day of a meter; written where it differs from the one before. No row: nothing was found.
quality_day = Table(
    "quality_day",
    metadata,
    Column("meter", BigInteger, primary_key=True, autoincrement=False),
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("version", Integer, primary_key=True, autoincrement=False),  # 1, 2, 3, …; the highest counts
    Column("policy_version", BigInteger, nullable=False),
    Column("judged_s", BigInteger, nullable=False),
    Column("expected", Integer, nullable=False),  # periods of the day
    Column("measured", Integer, nullable=False),  # that have a reading which counts
    Column("estimated", Integer, nullable=False),
    Column("findings", Text, nullable=False),  # JSON, validation.verdicts
    Column("estimates", LargeBinary, nullable=False),
)

# What is held for review before billing.
quality_case = Table(
    "quality_case",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("meter", BigInteger, nullable=False),
    Column("day", Integer, nullable=False),
    Column("rule", String(24), nullable=False),
    Column("starts", Text, nullable=False),  # JSON: the periods it is about
    Column("value", BigInteger, nullable=False),
    Column("expected", BigInteger, nullable=False),
    Column("state", String(12), nullable=False),  # validation.words.CASE_STATES
    Column("standing", Integer),  # 1 for the one of a meter, day and rule that counts, then nothing
    Column("opened_s", BigInteger, nullable=False),
    Column("ended_s", BigInteger),
    Column("actor", String(80), nullable=False, server_default=""),
    Column("reason", String(200), nullable=False, server_default=""),
    UniqueConstraint("meter", "day", "rule", "standing"),
    Index("ix_quality_case_state", "state", "id"),
)

# Estimates that the truth has replaced: of a meter's day, what had stood in and what was measured.
quality_replaced = Table(
    "quality_replaced",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("meter", BigInteger, nullable=False),
    Column("day", Integer, nullable=False),
    Column("version", Integer, nullable=False),  # of the verdict whose estimates these were
    Column("at_s", BigInteger, nullable=False),
    Column("periods", Integer, nullable=False),
    Column("estimated_import_wh", BigInteger, nullable=False),
    Column("measured_import_wh", BigInteger, nullable=False),
    Column("estimated_export_wh", BigInteger, nullable=False),
    Column("measured_export_wh", BigInteger, nullable=False),
    UniqueConstraint("meter", "day", "version"),
)

# Somebody has to go and look: nothing authenticated came from a meter for too long.
visit = Table(
    "visit",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("meter", BigInteger, nullable=False),
    Column("carrier", String(16), nullable=False),
    Column("heard_s", BigInteger),  # when it spoke last; none: never
    Column("opened_s", BigInteger, nullable=False),
    Column("standing", Integer),  # 1 until it is closed, then nothing: one stands for a meter at a time
    Column("closed_s", BigInteger),
    Column("how", String(12), nullable=False, server_default=""),  # validation.words.VISIT_ENDS
    Column("actor", String(80), nullable=False, server_default=""),
    Column("note", String(200), nullable=False, server_default=""),
    UniqueConstraint("meter", "standing"),
    Index(
        "ix_visit_open",
        "id",
        sqlite_where=text("standing is not null"),
        postgresql_where=text("standing is not null"),
    ),
)
