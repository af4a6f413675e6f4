"""Seals over entries and audit, signed heads of their chains, what was compared with the meters (`headend.books`)."""

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy import text as sql

from headend.store.columns import RowId, metadata

# The end of each chain, and the lock of who lengthens it. A copy of what `seal` proves, so it may change.
seal_chain = Table(
    "seal_chain",
    metadata,
    Column("chain", String(8), primary_key=True),  # entry | audit
    Column("origin", String(32), nullable=False),  # of which database, in hexadecimal digits; "" before the first seal
    Column("turn", BigInteger, nullable=False, server_default="0"),  # raised by the lock
    Column("seq", BigInteger, nullable=False, server_default="0"),
    Column("hash", LargeBinary, nullable=False),
    Column("top_id", BigInteger, nullable=False, server_default="0"),  # the highest row sealed
    Column("mark_id", BigInteger, nullable=False, server_default="0"),  # what it was when rows were looked back for
    Column("low_id", BigInteger, nullable=False, server_default="0"),  # … and up to where that need not be done again
    Column("looked_s", BigInteger, nullable=False, server_default="0"),
)

seal = Table(
    "seal",
    metadata,
    Column("chain", String(8), primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),  # 1, 2, 3 …: the order of sealing
    Column("row_id", BigInteger, nullable=False),
    Column("hash", LargeBinary, nullable=False),  # SHA-256(hash before it, bytes of the row)
    UniqueConstraint("chain", "row_id"),
)

# What the sealed rows come to, by kind.
seal_sum = Table(
    "seal_sum",
    metadata,
    Column("chain", String(8), primary_key=True),
    Column("kind", String(40), primary_key=True),  # of the entry; of an audit row its action
    Column("counted", BigInteger, nullable=False),
    Column("amount_uc", String(40), nullable=False),  # digits: the sum may go beyond 64 bits
)

head = Table(
    "head",
    metadata,
    Column("day", String(10), primary_key=True),  # local day that has ended, "2026-11-22"
    Column("made_s", BigInteger, nullable=False),
    Column("entry_seq", BigInteger, nullable=False),
    Column("audit_seq", BigInteger, nullable=False),
    Column("head", Text, nullable=False),  # the line that is signed
    Column("proof", Text, nullable=False),  # the line with its signature
    Column("report", Text, nullable=False),  # the report of the day; its SHA-256 stands in the head
)

# Ledger against meter, of each meter when it was looked at last; `reconciled_change` keeps how it went.
reconciled = Table(
    "reconciled",
    metadata,
    Column("meter", ForeignKey("meter.meter"), primary_key=True, autoincrement=False),
    Column("account_epoch", Integer, nullable=False),
    Column("checked_s", BigInteger, nullable=False),
    Column("touched", BigInteger, nullable=False),  # `meter_state.touched` as it was then
    Column("report_time_s", BigInteger),
    Column("ledger_uc", BigInteger, nullable=False),
    Column("meter_uc", BigInteger, nullable=False),
    Column("difference_uc", BigInteger, nullable=False),
    Column("since_s", BigInteger, nullable=False),  # since when this very difference stands
    Index(
        "ix_reconciled_open",
        "meter",
        sqlite_where=sql("difference_uc <> 0"),
        postgresql_where=sql("difference_uc <> 0"),
    ),
)

reconciled_change = Table(
    "reconciled_change",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("meter", ForeignKey("meter.meter"), nullable=False),
    Column("at_s", BigInteger, nullable=False),
    Column("before_uc", BigInteger, nullable=False),
    Column("difference_uc", BigInteger, nullable=False),
    Index("ix_reconciled_change_meter", "meter"),
)

# From which report on a meter's charges are to be priced again, and the next one, once that is there.
shadow_anchor = Table(
    "shadow_anchor",
    metadata,
    Column("meter", ForeignKey("meter.meter"), primary_key=True, autoincrement=False),
    Column("report", LargeBinary, nullable=False),
    Column("tariff", LargeBinary, nullable=False),  # body in force at that report
    Column("step_wh", BigInteger, nullable=False),  # consumed in its step period until then
    Column("from_s", BigInteger, nullable=False),  # its time
    Column("next_s", BigInteger, nullable=False),  # when a later local day begins there
    Column("coming", LargeBinary),  # the first report of a later local day
    Column("coming_s", BigInteger),  # when that was seen, by our clock
    Column("need_interval", BigInteger),  # records that have to be there before the day can be priced
    Column("need_event", BigInteger),
)

shadow_day = Table(
    "shadow_day",
    metadata,
    Column("meter", ForeignKey("meter.meter"), primary_key=True, autoincrement=False),
    Column("account_epoch", Integer, primary_key=True, autoincrement=False),
    Column("day", String(10), primary_key=True),  # the local day in which it begins
    Column("from_s", BigInteger, nullable=False),  # meter time of the report that it begins with …
    Column("to_s", BigInteger, nullable=False),  # … and of the one that it ends with
    Column("used_wh", BigInteger, nullable=False),  # by the registers of both
    Column("missing_wh", BigInteger, nullable=False),  # … of it in no stored interval
    Column("shadow_uc", BigInteger, nullable=False),  # energy and charges for time, from the intervals
    Column("standing_uc", BigInteger, nullable=False),  # … of it charges for time
    Column("meter_uc", BigInteger, nullable=False),  # what the meter charged
    Column("collected_uc", BigInteger, nullable=False),  # … of it debts, by its events
    Column("difference_uc", BigInteger, nullable=False),  # meter - collected - shadow
    Column("whole", Integer, nullable=False),  # 1: the intervals hold all that was used
    Column("sure", Integer, nullable=False),  # 1: the clock was known and no price changed within an interval
    Column("made_s", BigInteger, nullable=False),
    Index(
        "ix_shadow_day_differs",
        "day",
        "meter",
        sqlite_where=sql("difference_uc <> 0"),
        postgresql_where=sql("difference_uc <> 0"),
    ),
)
