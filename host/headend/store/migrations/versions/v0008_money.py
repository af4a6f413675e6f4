"""Bills, allocations, late fees, taxes, receipts, limits of channels."""

import sqlalchemy as sa
from alembic import op

from headend.store import guards

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

# What was billed, as it was billed.
_BILLED = (
    "id",
    "reference",
    "kind",
    "class",
    "period",
    "pseudonym",
    "notice_s",
    "due_s",
    "due_day",
    "principal_uc",
    "lines",
    "digest",
    "issued_s",
    "actor",
)
# Table -> what the database says to whoever would change or delete a row of it.
_APPEND_ONLY = {
    "bill_history": "what became of a bill stays recorded",
    "allocation": "an allocation is never changed, only taken back by another",
    "late_fee_rate": "a rate keeps its history",
    "allocation_policy": "a policy keeps its history",
    "tax_rate": "a tax keeps its history",
    "payment_tax": "a tax that was taken is never changed",
}
# What a receipt says.
_PRINTED = ("id", "channel", "day", "number", "payment_id", "content", "digest", "made_s")


def upgrade() -> None:
    op.create_table(
        "utility_zone",
        sa.Column("one", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=60), nullable=False),
        sa.CheckConstraint("one = 1", name=op.f("ck_utility_zone_single")),
        sa.PrimaryKeyConstraint("one", name="pk_utility_zone"),
    )
    _bills()
    op.create_table(
        "late_fee_rate",
        sa.Column("id", _ID, nullable=False),
        sa.Column("class", sa.String(length=16), nullable=False),
        sa.Column("from_day", sa.Integer(), nullable=False),
        sa.Column("year_ppm", sa.Integer(), nullable=False),
        sa.Column("later_ppm", sa.Integer(), nullable=False),
        sa.Column("set_s", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(length=80), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_late_fee_rate"),
    )
    op.create_index("ix_late_fee_rate_class", "late_fee_rate", ["class", "from_day"])
    op.create_table(
        "allocation_policy",
        sa.Column("id", _ID, nullable=False),
        sa.Column("area", sa.String(length=120), nullable=False),
        sa.Column("class", sa.String(length=16), nullable=False),
        sa.Column("share_ppm", sa.Integer(), nullable=False),
        sa.Column("from_s", sa.BigInteger(), nullable=False),
        sa.Column("set_s", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(length=80), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_allocation_policy"),
    )
    op.create_table(
        "account_class",
        sa.Column("meter", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("account_epoch", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("class", sa.String(length=16), nullable=False),
        sa.ForeignKeyConstraint(["meter"], ["meter.meter"], name="fk_account_class_meter"),
        sa.PrimaryKeyConstraint("meter", "account_epoch", name="pk_account_class"),
    )
    op.add_column("payment", sa.Column("allocated_uc", sa.BigInteger(), server_default="0", nullable=False))
    op.create_index("ix_payment_channel", "payment", ["channel", "taken_s"])
    op.add_column("payment", sa.Column("purpose", sa.String(length=8), server_default="", nullable=False))
    _taxes()
    _channels()
    _receipts()
    sentence = "what a payment paid is never changed"
    guards.refuse(op, "payment", "UPDATE", sentence, ("allocated_uc", "purpose"), name="payment_allocated")
    guards.refuse(op, "bill", "UPDATE", "what was billed is never changed", _BILLED)
    guards.refuse(op, "bill", "DELETE", "a bill is never deleted")
    guards.refuse(op, "receipt", "UPDATE", "what a receipt says is never changed", _PRINTED)
    guards.refuse(op, "receipt", "DELETE", "a receipt is never deleted")
    for table, sentence in _APPEND_ONLY.items():
        guards.refuse(op, table, "UPDATE", sentence)
        guards.refuse(op, table, "DELETE", sentence)


def _bills() -> None:
    op.create_table(
        "bill",
        sa.Column("id", _ID, nullable=False),
        sa.Column("reference", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("class", sa.String(length=16), nullable=False),
        sa.Column("period", sa.String(length=40), nullable=False),
        sa.Column("pseudonym", sa.String(length=64), nullable=True),
        sa.Column("notice_s", sa.BigInteger(), nullable=False),
        sa.Column("due_s", sa.BigInteger(), nullable=False),
        sa.Column("due_day", sa.Integer(), nullable=False),
        sa.Column("principal_uc", sa.BigInteger(), nullable=False),
        sa.Column("lines", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("issued_s", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(length=80), nullable=False),
        sa.Column("meter", sa.BigInteger(), nullable=False),
        sa.Column("account_epoch", sa.Integer(), nullable=False),
        sa.Column("owner", sa.String(length=8), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("paid_uc", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("fee_paid_uc", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("fee_day", sa.Integer(), nullable=False),
        sa.Column("fee_uc", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("fee_rest", sa.Integer(), server_default="0", nullable=False),
        sa.Column("settled_s", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("principal_uc > 0", name=op.f("ck_bill_positive")),
        sa.CheckConstraint("paid_uc between 0 and principal_uc", name=op.f("ck_bill_paid")),
        sa.CheckConstraint("fee_paid_uc between 0 and principal_uc", name=op.f("ck_bill_fee_paid")),
        sa.ForeignKeyConstraint(["meter"], ["meter.meter"], name="fk_bill_meter"),
        sa.PrimaryKeyConstraint("id", name="pk_bill"),
        sa.UniqueConstraint("reference", name="uq_bill_reference"),
    )
    op.create_index("ix_bill_meter", "bill", ["meter", "account_epoch"])
    collected_here = sa.text("state = 'open' and owner = 'head_end'")
    op.create_index(
        "ix_bill_open",
        "bill",
        ["meter", "account_epoch", "due_s"],
        sqlite_where=collected_here,
        postgresql_where=collected_here,
    )
    op.create_table(
        "bill_history",
        sa.Column("id", _ID, nullable=False),
        sa.Column("bill_id", _ID, nullable=False),
        sa.Column("at_s", sa.BigInteger(), nullable=False),
        sa.Column("event", sa.String(length=16), nullable=False),
        sa.Column("actor", sa.String(length=80), nullable=False),
        sa.Column("note", sa.String(length=200), server_default="", nullable=False),
        sa.ForeignKeyConstraint(["bill_id"], ["bill.id"], name="fk_bill_history_bill_id"),
        sa.PrimaryKeyConstraint("id", name="pk_bill_history"),
    )
    op.create_index("ix_bill_history_bill", "bill_history", ["bill_id"])
    op.create_table(
        "allocation",
        sa.Column("id", _ID, nullable=False),
        sa.Column("bill_id", _ID, nullable=False),
        sa.Column("cause", sa.String(length=120), nullable=False),
        sa.Column("channel", sa.String(length=40), nullable=True),
        sa.Column("payment_id", sa.String(length=64), nullable=True),
        sa.Column("at_s", sa.BigInteger(), nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("late_fee_uc", sa.BigInteger(), nullable=False),
        sa.Column("principal_uc", sa.BigInteger(), nullable=False),
        sa.Column("reverses", _ID, nullable=True),
        sa.ForeignKeyConstraint(["bill_id"], ["bill.id"], name="fk_allocation_bill_id"),
        sa.ForeignKeyConstraint(
            ["channel", "payment_id"], ["payment.channel", "payment.payment_id"], name="fk_allocation_payment"
        ),
        sa.ForeignKeyConstraint(["reverses"], ["allocation.id"], name="fk_allocation_reverses"),
        sa.PrimaryKeyConstraint("id", name="pk_allocation"),
        sa.UniqueConstraint("reverses", name="uq_allocation_reverses"),
    )
    op.create_index("ix_allocation_bill", "allocation", ["bill_id"])
    op.create_index("ix_allocation_payment", "allocation", ["channel", "payment_id"])


def _taxes() -> None:
    op.create_table(
        "tax_rate",
        sa.Column("id", _ID, nullable=False),
        sa.Column("name", sa.String(length=10), nullable=False),
        sa.Column("area", sa.String(length=120), nullable=False),
        sa.Column("class", sa.String(length=16), nullable=False),
        sa.Column("ppm", sa.Integer(), nullable=False),
        sa.Column("mode", sa.String(length=8), nullable=False),
        sa.Column("from_s", sa.BigInteger(), nullable=False),
        sa.Column("set_s", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(length=80), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_tax_rate"),
    )
    op.create_table(
        "payment_tax",
        sa.Column("channel", sa.String(length=40), nullable=False),
        sa.Column("payment_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=10), nullable=False),
        sa.Column("ppm", sa.Integer(), nullable=False),
        sa.Column("tax_uc", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["channel", "payment_id"], ["payment.channel", "payment.payment_id"], name="fk_payment_tax_payment"
        ),
        sa.PrimaryKeyConstraint("channel", "payment_id", "name", name="pk_payment_tax"),
    )


def _channels() -> None:
    op.create_table(
        "channel_limit",
        sa.Column("channel", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=12), nullable=False),
        sa.Column("max_day_uc", sa.BigInteger(), nullable=True),
        sa.Column("max_meter_day_uc", sa.BigInteger(), nullable=True),
        sa.Column("overdraft_uc", sa.BigInteger(), nullable=True),
        sa.Column("low_uc", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("day", sa.Integer(), server_default="0", nullable=False),
        sa.Column("day_uc", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("held_uc", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("low_since_s", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["channel"], ["channel.channel"], name="fk_channel_limit_channel"),
        sa.PrimaryKeyConstraint("channel", name="pk_channel_limit"),
    )
    op.create_table(
        "settlement",
        sa.Column("id", _ID, nullable=False),
        sa.Column("channel", sa.String(length=40), nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("theirs", sa.Integer(), nullable=False),
        sa.Column("theirs_uc", sa.BigInteger(), nullable=False),
        sa.Column("ours", sa.Integer(), nullable=False),
        sa.Column("ours_uc", sa.BigInteger(), nullable=False),
        sa.Column("taken_s", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(length=80), nullable=False),
        sa.ForeignKeyConstraint(["channel"], ["channel.channel"], name="fk_settlement_channel"),
        sa.PrimaryKeyConstraint("id", name="pk_settlement"),
        sa.UniqueConstraint("channel", "day", name="uq_settlement_channel"),
    )
    op.create_table(
        "settlement_difference",
        sa.Column("settlement_id", _ID, autoincrement=False, nullable=False),
        sa.Column("payment_id", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("theirs_uc", sa.BigInteger(), nullable=False),
        sa.Column("ours_uc", sa.BigInteger(), nullable=False),
        sa.Column("settled_s", sa.BigInteger(), nullable=True),
        sa.Column("actor", sa.String(length=80), server_default="", nullable=False),
        sa.Column("note", sa.String(length=200), server_default="", nullable=False),
        sa.ForeignKeyConstraint(["settlement_id"], ["settlement.id"], name="fk_settlement_difference_settlement_id"),
        sa.PrimaryKeyConstraint("settlement_id", "payment_id", name="pk_settlement_difference"),
    )


def _receipts() -> None:
    op.create_table(
        "receipt",
        sa.Column("id", _ID, nullable=False),
        sa.Column("channel", sa.String(length=40), nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("payment_id", sa.String(length=64), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("made_s", sa.BigInteger(), nullable=False),
        sa.Column("copies", sa.Integer(), server_default="0", nullable=False),
        sa.Column("invoice", sa.String(length=40), nullable=True),
        sa.ForeignKeyConstraint(
            ["channel", "payment_id"], ["payment.channel", "payment.payment_id"], name="fk_receipt_payment"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_receipt"),
        sa.UniqueConstraint("channel", "day", "number", name="uq_receipt_channel"),
        sa.UniqueConstraint("channel", "payment_id", name="uq_receipt_payment"),
    )
    op.create_table(
        "receipt_counter",
        sa.Column("channel", sa.String(length=40), nullable=False),
        sa.Column("day", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("last", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["channel"], ["channel.channel"], name="fk_receipt_counter_channel"),
        sa.PrimaryKeyConstraint("channel", "day", name="pk_receipt_counter"),
    )


def downgrade() -> None:
    for table in ("bill", "receipt", *_APPEND_ONLY):
        guards.allow(op, table, "UPDATE")
        guards.allow(op, table, "DELETE")
    guards.allow(op, "payment", "UPDATE", name="payment_allocated")
    op.drop_index("ix_payment_channel", "payment")
    op.drop_column("payment", "purpose")
    op.drop_column("payment", "allocated_uc")
    for name in (
        "receipt_counter",
        "receipt",
        "settlement_difference",
        "settlement",
        "channel_limit",
        "payment_tax",
        "tax_rate",
        "account_class",
        "allocation_policy",
        "late_fee_rate",
        "allocation",
        "bill_history",
        "bill",
        "utility_zone",
    ):
        op.drop_table(name)
