"""Tables of the audit of configuration: what meters were shown to hold, what differs, how far each day's audit is."""

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, LargeBinary, String, Table, text

from headend.store.columns import RowId, metadata

# The newest version of each aspect that a report, answering a question of ours, showed a meter to hold.
configuration_held = Table(
    "configuration_held",
    metadata,
    Column("meter", ForeignKey("meter.meter"), primary_key=True, autoincrement=False),
    Column("aspect", Integer, primary_key=True, autoincrement=False),
    Column("account_epoch", Integer, nullable=False),
    Column("signing_epoch", Integer, nullable=False),
    Column("version", BigInteger, nullable=False),  # 0: nothing since it was provisioned
    Column("digest", LargeBinary, nullable=False),  # first 8 bytes of the order's
    Column("shown_s", BigInteger, nullable=False),  # meter time of the report
    Column("taken_s", BigInteger, nullable=False),
)

# Meters that are to be asked what they hold; gone once the answer came.
configuration_question = Table(
    "configuration_question",
    metadata,
    Column("meter", ForeignKey("meter.meter"), primary_key=True, autoincrement=False),
    Column("next_s", BigInteger, nullable=False),
    Column("tries", Integer, nullable=False, server_default="0"),
)

# What differs between what is wanted of a meter and what it reports: one that is not settled for each aspect.
configuration_finding = Table(
    "configuration_finding",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("meter", ForeignKey("meter.meter"), nullable=False),
    Column("aspect", String(16), nullable=False),  # configuration.aspects.ASPECTS
    Column("wanted", String(80), nullable=False),
    Column("reported", String(80), nullable=False),
    Column("found_s", BigInteger, nullable=False),
    Column("seen_s", BigInteger, nullable=False),  # when the audit saw it last
    Column("settled_s", BigInteger),
    Column("proposal", BigInteger),  # that is to repair it
    Index("ix_configuration_finding_meter", "meter", "aspect"),
    Index(
        "uq_configuration_finding_open",
        "aspect",
        "meter",
        unique=True,
        sqlite_where=text("settled_s is null"),
        postgresql_where=text("settled_s is null"),
    ),
)

# One audit of the whole fleet a day.
configuration_round = Table(
    "configuration_round",
    metadata,
    Column("day", Integer, primary_key=True, autoincrement=False),  # UTC seconds // 86400
    Column("begun_s", BigInteger, nullable=False),
    Column("done_s", BigInteger),
    Column("at_meter", BigInteger, nullable=False, server_default="0"),
    Column("meters", Integer, nullable=False, server_default="0"),
)

# Limits of the audit: each version whole, the newest rules.
configuration_policy = Table(
    "configuration_policy",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("since_s", BigInteger, nullable=False),
    Column("actor", String(80), nullable=False),
    Column("drift_s", Integer, nullable=False),  # of a clock that is let be
    Column("fresh_s", BigInteger, nullable=False),  # how old what a meter was shown to hold may be
)
