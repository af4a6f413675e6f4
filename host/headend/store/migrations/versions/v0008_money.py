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
}


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
    sentence = "what a payment paid is never changed"
    guards.refuse(op, "payment", "UPDATE", sentence, ("allocated_uc",), name="payment_allocated")
    guards.refuse(op, "bill", "UPDATE", "what was billed is never changed", _BILLED)
    guards.refuse(op, "bill", "DELETE", "a bill is never deleted")
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


def downgrade() -> None:
    for table in ("bill", *_APPEND_ONLY):
        guards.allow(op, table, "UPDATE")
        guards.allow(op, table, "DELETE")
    guards.allow(op, "payment", "UPDATE", name="payment_allocated")
    op.drop_column("payment", "allocated_uc")
    for name in (
        "account_class",
        "allocation_policy",
        "late_fee_rate",
        "allocation",
        "bill_history",
        "bill",
        "utility_zone",
    ):
        op.drop_table(name)
