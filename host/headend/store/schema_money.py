"""Bills, allocations, late fees, taxes, receipts, limits of channels: what surrounds payments (`headend.ledger`).

Days are local days of the utility (`ledger.zone`), counted since 1970. Rates are in millionths (ppm). Policies keep
their history: a change is a further row, that holds from its day or second on.
"""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
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

_COLLECTED_HERE = text("state = 'open' and owner = 'head_end'")

# The utility's time zone: one row, none: UTC.
utility_zone = Table(
    "utility_zone",
    metadata,
    Column("one", Integer, primary_key=True),  # always 1
    Column("name", String(60), nullable=False),  # of the IANA time zone database
    CheckConstraint("one = 1", name="single"),
)

# What a customer owes for a period. What was billed never changes; what became of it does.
bill = Table(
    "bill",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("reference", String(64), nullable=False),  # the issuer's own id
    Column("kind", String(16), nullable=False),  # ledger.bills.KINDS
    Column("class", String(16), nullable=False),  # ledger.terms.CLASSES
    Column("period", String(40), nullable=False),
    Column("pseudonym", String(64)),
    Column("notice_s", BigInteger, nullable=False),
    Column("due_s", BigInteger, nullable=False),
    Column("due_day", Integer, nullable=False),
    Column("principal_uc", BigInteger, nullable=False),
    Column("lines", Text, nullable=False),  # canonical JSON: [{"kind": …, "amount_uc": …, "note": …}]
    Column("digest", LargeBinary, nullable=False),  # SHA-256 of what was asked for
    Column("issued_s", BigInteger, nullable=False),
    Column("actor", String(80), nullable=False),
    # What became of it:
    Column("meter", ForeignKey("meter.meter"), nullable=False),  # the account that it is owed on
    Column("account_epoch", Integer, nullable=False),
    Column("owner", String(8), nullable=False),  # who collects it: head_end | meter
    Column("state", String(12), nullable=False),  # ledger.bills.STATES
    Column("paid_uc", BigInteger, nullable=False, server_default="0"),  # of the principal
    Column("fee_paid_uc", BigInteger, nullable=False, server_default="0"),
    # Late fee up to `fee_day`: micro-currency and millionths of one.
    Column("fee_day", Integer, nullable=False),
    Column("fee_uc", BigInteger, nullable=False, server_default="0"),
    Column("fee_rest", Integer, nullable=False, server_default="0"),
    Column("settled_s", BigInteger),
    UniqueConstraint("reference"),
    CheckConstraint("principal_uc > 0", name="positive"),
    CheckConstraint("paid_uc between 0 and principal_uc", name="paid"),
    CheckConstraint("fee_paid_uc between 0 and principal_uc", name="fee_paid"),
    Index("ix_bill_meter", "meter", "account_epoch"),
    Index(
        "ix_bill_open",
        "meter",
        "account_epoch",
        "due_s",
        sqlite_where=_COLLECTED_HERE,
        postgresql_where=_COLLECTED_HERE,
    ),
)

bill_history = Table(
    "bill_history",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("bill_id", ForeignKey("bill.id"), nullable=False),
    Column("at_s", BigInteger, nullable=False),
    Column("event", String(16), nullable=False),  # ledger.bills.EVENTS
    Column("actor", String(80), nullable=False),
    Column("note", String(200), nullable=False, server_default=""),
    Index("ix_bill_history_bill", "bill_id"),
)

# What was paid of a bill, by what. A row that takes one back has its amounts with the other sign.
allocation = Table(
    "allocation",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("bill_id", ForeignKey("bill.id"), nullable=False),
    Column("cause", String(120), nullable=False),  # payment:<channel>:<id>, or what else paid
    Column("channel", String(40)),  # of the payment, where it was one
    Column("payment_id", String(64)),
    Column("at_s", BigInteger, nullable=False),
    Column("day", Integer, nullable=False),
    Column("late_fee_uc", BigInteger, nullable=False),
    Column("principal_uc", BigInteger, nullable=False),
    Column("reverses", ForeignKey("allocation.id")),
    UniqueConstraint("reverses"),
    ForeignKeyConstraint(
        ["channel", "payment_id"], ["payment.channel", "payment.payment_id"], name="fk_allocation_payment"
    ),
    Index("ix_allocation_bill", "bill_id"),
    Index("ix_allocation_payment", "channel", "payment_id"),
)

late_fee_rate = Table(
    "late_fee_rate",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("class", String(16), nullable=False),
    Column("from_day", Integer, nullable=False),
    Column("year_ppm", Integer, nullable=False),  # a day, in the year in which the debt fell due
    Column("later_ppm", Integer, nullable=False),  # a day, beyond that year's end
    Column("set_s", BigInteger, nullable=False),
    Column("actor", String(80), nullable=False),
    Index("ix_late_fee_rate_class", "class", "from_day"),
)

# Which share of a purchase pays debts first: the row of the longest area, then of the class, then the newest.
allocation_policy = Table(
    "allocation_policy",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("area", String(120), nullable=False),  # "": everywhere
    Column("class", String(16), nullable=False),  # "": all
    Column("share_ppm", Integer, nullable=False),  # 0..1 000 000
    Column("from_s", BigInteger, nullable=False),
    Column("set_s", BigInteger, nullable=False),
    Column("actor", String(80), nullable=False),
)

# What kind of customer an account belongs to; none: resident.
account_class = Table(
    "account_class",
    metadata,
    Column("meter", ForeignKey("meter.meter"), primary_key=True, autoincrement=False),
    Column("account_epoch", Integer, primary_key=True, autoincrement=False),
    Column("class", String(16), nullable=False),
)
