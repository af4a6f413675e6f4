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

tax_rate = Table(
    "tax_rate",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("name", String(10), nullable=False),
    Column("area", String(120), nullable=False),  # "": everywhere
    Column("class", String(16), nullable=False),  # "": all
    Column("ppm", Integer, nullable=False),  # 0: none any more
    Column("mode", String(8), nullable=False),  # included | added
    Column("from_s", BigInteger, nullable=False),
    Column("set_s", BigInteger, nullable=False),
    Column("actor", String(80), nullable=False),
)

# What was taken from a payment as tax, beside what is credit.
payment_tax = Table(
    "payment_tax",
    metadata,
    Column("channel", String(40), primary_key=True),
    Column("payment_id", String(64), primary_key=True),
    Column("name", String(10), primary_key=True),
    Column("ppm", Integer, nullable=False),
    Column("tax_uc", BigInteger, nullable=False),
    ForeignKeyConstraint(
        ["channel", "payment_id"], ["payment.channel", "payment.payment_id"], name="fk_payment_tax_payment"
    ),
)

# What a channel may take beyond the limit of a single payment. A channel without a row has no other limit.
channel_limit = Table(
    "channel_limit",
    metadata,
    Column("channel", ForeignKey("channel.channel"), primary_key=True),
    Column("kind", String(12), nullable=False),  # ledger.floats.KINDS
    Column("max_day_uc", BigInteger),
    Column("max_meter_day_uc", BigInteger),
    Column("overdraft_uc", BigInteger),  # how far below zero its account may come; null: no float is kept
    Column("low_uc", BigInteger, nullable=False, server_default="0"),  # what is left, from which on it is told as low
    # Kept by payments, under the lock of this row, which comes after the lock of the meter:
    Column("day", Integer, nullable=False, server_default="0"),
    Column("day_uc", BigInteger, nullable=False, server_default="0"),  # taken on that day
    Column("held_uc", BigInteger, nullable=False, server_default="0"),  # the balance of the channel's account
    Column("low_since_s", BigInteger),
)

# A channel's own list of a day, held against ours.
settlement = Table(
    "settlement",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("channel", ForeignKey("channel.channel"), nullable=False),
    Column("day", Integer, nullable=False),
    Column("digest", LargeBinary, nullable=False),  # SHA-256 of the list
    Column("theirs", Integer, nullable=False),  # how many payments
    Column("theirs_uc", BigInteger, nullable=False),
    Column("ours", Integer, nullable=False),
    Column("ours_uc", BigInteger, nullable=False),
    Column("taken_s", BigInteger, nullable=False),
    Column("actor", String(80), nullable=False),
    UniqueConstraint("channel", "day"),
)

settlement_difference = Table(
    "settlement_difference",
    metadata,
    Column("settlement_id", ForeignKey("settlement.id"), primary_key=True, autoincrement=False),
    Column("payment_id", String(64), primary_key=True),
    Column("kind", String(8), nullable=False),  # ledger.settlements.KINDS
    Column("theirs_uc", BigInteger, nullable=False),
    Column("ours_uc", BigInteger, nullable=False),
    Column("settled_s", BigInteger),
    Column("actor", String(80), nullable=False, server_default=""),
    Column("note", String(200), nullable=False, server_default=""),
)

receipt = Table(
    "receipt",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("channel", String(40), nullable=False),
    Column("day", Integer, nullable=False),
    Column("number", Integer, nullable=False),  # from 1, of that channel on that day, without a gap
    Column("payment_id", String(64), nullable=False),
    Column("content", Text, nullable=False),  # canonical JSON
    Column("digest", LargeBinary, nullable=False),  # SHA-256 of the content
    Column("made_s", BigInteger, nullable=False),
    Column("copies", Integer, nullable=False, server_default="0"),  # printed again
    Column("invoice", String(40)),  # number of the tax invoice, once there is one
    UniqueConstraint("channel", "day", "number"),
    UniqueConstraint("channel", "payment_id", name="uq_receipt_payment"),
    ForeignKeyConstraint(
        ["channel", "payment_id"], ["payment.channel", "payment.payment_id"], name="fk_receipt_payment"
    ),
)

receipt_counter = Table(
    "receipt_counter",
    metadata,
    Column("channel", ForeignKey("channel.channel"), primary_key=True),
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("last", Integer, nullable=False),
)
