"""Tables of what forbids a stop, and of what is kept beside a hold: exclusions, the calendar, evidence of holds."""

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, LargeBinary, String, Table, Text, text

from headend.store.columns import RowId, metadata

# A reason why a customer is not stopped (`registry.kinds`). Its history is `exclusion_event`; a row is never deleted,
# and what it was set with never changes.
exclusion = Table(
    "exclusion",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("meter", ForeignKey("meter.meter"), nullable=False),
    Column("account_epoch", Integer),  # of that account alone; none: of the supply point, whoever its customer is
    Column("kind", String(24), nullable=False),
    Column("since_s", BigInteger, nullable=False),
    Column("until_s", BigInteger),  # it ends by itself; none: somebody ends it
    Column("ended_s", BigInteger),
    Column("reference", String(200), nullable=False),  # the evidence that it was set on
    Column("document", LargeBinary),  # SHA-256 of it
    Column("actor", String(80), nullable=False),
    Column("version", Integer, nullable=False, server_default="1"),  # raised by each change
    Index("ix_exclusion_meter", "meter"),
    Index(
        "uq_exclusion_open",
        "meter",
        "kind",
        unique=True,
        sqlite_where=text("ended_s is null"),
        postgresql_where=text("ended_s is null"),
    ),
)

exclusion_event = Table(
    "exclusion_event",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("exclusion", ForeignKey("exclusion.id"), nullable=False),
    Column("at_s", BigInteger, nullable=False),
    Column("actor", String(80), nullable=False),
    Column("event", String(16), nullable=False),  # registry.words.EVENTS
    Column("until_s", BigInteger),  # the end that holds from this event on
    Column("evidence", String(24), nullable=False, server_default=""),  # registry.kinds.EVIDENCE
    Column("reference", String(200), nullable=False, server_default=""),
    Column("document", LargeBinary),  # SHA-256
    Column("dated_s", BigInteger),  # when what it proves took place
    Column("note", String(200), nullable=False, server_default=""),
    Index("ix_exclusion_event_exclusion", "exclusion"),
)

# When nobody is stopped: each version is the whole calendar; the newest counts.
calendar = Table(
    "calendar",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("at_s", BigInteger, nullable=False),
    Column("actor", String(80), nullable=False),
    Column("why", String(200), nullable=False),
    Column("time_zone", String(64), nullable=False),  # of the utility, as in the tz database
    Column("rules", Text, nullable=False),  # registry.rules, as JSON
)

# What stands behind an order on a hold: the operation ticket, the inspection that found the danger, its removal.
hold_evidence = Table(
    "hold_evidence",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("order_id", ForeignKey("order.id"), nullable=False),
    Column("at_s", BigInteger, nullable=False),
    Column("actor", String(80), nullable=False),
    Column("reference", String(200), nullable=False),
    Column("document", LargeBinary),  # SHA-256
    Index("ix_hold_evidence_order", "order_id"),
)
