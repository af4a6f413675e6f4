"""Money that goes back: refunds, reversals and transfers; debts that a meter collects; imports of openings."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    UniqueConstraint,
    text,
)

from headend.store.columns import RowId, metadata

_LIVE = text("payment_id is not null and state in ('proposed', 'approved', 'stated', 'taken', 'owed')")
_STATED = text("state = 'stated'")

# One row: money that is to be taken off a meter again (`headend.ledger.refunds`).
refund = Table(
    "refund",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("kind", String(16), nullable=False),  # refund | reversal | transfer
    Column("meter", ForeignKey("meter.meter"), nullable=False),
    Column("account_epoch", Integer, nullable=False),
    Column("amount_uc", BigInteger, nullable=False),  # that leaves the meter
    Column("whole_uc", BigInteger, nullable=False),  # … and what a payment paid of bills
    Column("state", String(16), nullable=False),  # refunds.life.STATES
    Column("asked_by", String(80), nullable=False),  # with the asker's own id: asked twice is asked once
    Column("request_id", String(64), nullable=False),
    Column("request_digest", LargeBinary, nullable=False),
    Column("approver", String(80)),
    Column("proposal", BigInteger),  # of the gate, where a second person is needed
    Column("why", String(200), nullable=False),
    Column("channel", ForeignKey("channel.channel"), nullable=False),  # who pays out, or whose payment it was
    Column("payment_id", String(64)),
    Column("to_meter", ForeignKey("meter.meter")),  # of a transfer
    Column("token_id", ForeignKey("token.id")),  # the typed token that is taken back instead
    Column("order_id", ForeignKey("order.id")),  # the first statement that carries it
    Column("source", Integer),  # the credit source that states it, and that source's refunds with it:
    Column("refunded_uc", BigInteger),
    Column("carried_uc", BigInteger, nullable=False, server_default="0"),  # how much of it our refunded totals carry
    Column("evidence", LargeBinary),  # the report, receipt or order that proves how it ended
    Column("evidence_time_s", BigInteger),
    Column("asked_s", BigInteger, nullable=False),
    Column("changed_s", BigInteger, nullable=False),
    CheckConstraint("amount_uc >= 0 and whole_uc > 0 and whole_uc >= amount_uc", name="amounts"),
    UniqueConstraint("asked_by", "request_id"),
    Index("ix_refund_meter", "meter", "state"),
    # A payment goes back once.
    Index("uq_refund_payment", "channel", "payment_id", unique=True, sqlite_where=_LIVE, postgresql_where=_LIVE),
    # One at a time on a meter, so that a refusal names it.
    Index("uq_refund_stated", "meter", unique=True, sqlite_where=_STATED, postgresql_where=_STATED),
)

refund_history = Table(
    "refund_history",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("refund_id", ForeignKey("refund.id"), nullable=False),
    Column("at_s", BigInteger, nullable=False),
    Column("event", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("actor", String(80), nullable=False),
    Column("note", String(200), nullable=False, server_default=""),
    Index("ix_refund_history_refund", "refund_id"),
)

# What may go back without a second person, and what becomes of money that is spent; the newest row rules.
refund_policy = Table(
    "refund_policy",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("since_s", BigInteger, nullable=False),
    Column("set_by", String(80), nullable=False),
    Column("window_s", BigInteger, nullable=False),  # how long after a payment its channel may reverse it by itself
    Column("alone_uc", BigInteger, nullable=False),  # up to which amount
    Column("spent", String(16), nullable=False),  # who bears a reversed payment that is spent: debt | channel
    Column("notice_s", BigInteger, nullable=False),  # after an import no stop for arrears for so long
)

# What a meter collects for the books: its debts 1..3 of an account, as last stated (`headend.ledger.debts_on_meter`).
meter_debt = Table(
    "meter_debt",
    metadata,
    Column("meter", ForeignKey("meter.meter"), primary_key=True, autoincrement=False),
    Column("account_epoch", Integer, primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("placed_uc", BigInteger, nullable=False),
    Column("withdrawn_uc", BigInteger, nullable=False, server_default="0"),
    Column("collected_uc", BigInteger, nullable=False, server_default="0"),  # by the meter's events
    Column("terms", LargeBinary, nullable=False),  # the body last stated
    Column("order_id", ForeignKey("order.id"), nullable=False),  # by this order
    Column("changed_s", BigInteger, nullable=False),
)

# A bill, or what is left of one, that was moved to such a debt.
meter_debt_bill = Table(
    "meter_debt_bill",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("meter", ForeignKey("meter.meter"), nullable=False),
    Column("account_epoch", Integer, nullable=False),
    Column("number", Integer, nullable=False),
    Column("bill_id", ForeignKey("bill.id"), nullable=False),
    Column("moved_uc", BigInteger, nullable=False),  # placed on the meter for it,
    Column("withdrawn_uc", BigInteger, nullable=False, server_default="0"),  # … taken back
    Column("collected_uc", BigInteger, nullable=False, server_default="0"),  # … and collected, by the meter's events
    Column("moved_s", BigInteger, nullable=False),
    Index("ix_meter_debt_bill_meter", "meter", "account_epoch", "number"),
)

# An event of the meter that told of a collection: booked once.
meter_debt_event = Table(
    "meter_debt_event",
    metadata,
    Column("meter", ForeignKey("meter.meter"), primary_key=True, autoincrement=False),
    Column("log_id", BigInteger, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("account_epoch", Integer, nullable=False),
    Column("amount_uc", BigInteger, nullable=False),
    Column("debts", Integer, nullable=False),  # bit n - 1: debt n
    Column("time_s", BigInteger, nullable=False),  # meter time
)

# Openings: what customers had before they came to these books (`headend.ledger.openings`).
opening_import = Table(
    "opening_import",
    metadata,
    Column("import_id", String(64), primary_key=True),
    Column("digest", LargeBinary, nullable=False),  # SHA-256 of the report of its dry run
    Column("state", String(16), nullable=False),  # proposed | running | done | withdrawn
    Column("lines", Integer, nullable=False),
    Column("credit_uc", BigInteger, nullable=False),  # the sums of the file: what customers are owed,
    Column("debt_uc", BigInteger, nullable=False),  # … and owe
    Column("author", String(80), nullable=False),
    Column("approver", String(80)),
    Column("proposal", BigInteger),
    Column("made_s", BigInteger, nullable=False),
    Column("changed_s", BigInteger, nullable=False),
)

opening_line = Table(
    "opening_line",
    metadata,
    Column("import_id", ForeignKey("opening_import.import_id"), primary_key=True),
    Column("line", Integer, primary_key=True, autoincrement=False),  # 1..
    Column("meter", ForeignKey("meter.meter"), nullable=False),
    Column("account_epoch", Integer, nullable=False),
    Column("balance_uc", BigInteger, nullable=False),  # negative: owed
    Column("customer_class", String(16), nullable=False),
    Column("reference", String(64), nullable=False),
    Column("person", String(40)),  # pseudonym
    Column("as_of_s", BigInteger, nullable=False),
    Column("done_s", BigInteger),  # when it was booked
    Column("total_uc", BigInteger),  # of our source with it: on the meter when a report shows that
    Column("source", Integer),
    Column("bill", BigInteger),  # that a debt became
    UniqueConstraint("meter", "account_epoch"),  # an account opens once
)
