"""Refunds, reversals and transfers; debts on meters; imports of openings."""

import sqlalchemy as sa
from alembic import op

from headend.store import guards

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_LIVE = sa.text("payment_id is not null and state in ('proposed', 'approved', 'stated', 'taken', 'owed')")
_STATED = sa.text("state = 'stated'")
_ASKED = (
    "kind",
    "meter",
    "account_epoch",
    "amount_uc",
    "whole_uc",
    "asked_by",
    "request_id",
    "request_digest",
    "channel",
)
_READ = ("import_id", "line", "meter", "account_epoch", "balance_uc", "customer_class", "reference", "as_of_s")

_GUARDS = (
    ("refund", "UPDATE", "what was asked for stays as it was", (*_ASKED, "payment_id", "to_meter", "asked_s")),
    ("refund", "DELETE", "a refund stays recorded", ()),
    ("refund_history", "UPDATE", "the history of a refund is never changed", ()),
    ("refund_history", "DELETE", "the history of a refund is never deleted", ()),
    ("refund_policy", "UPDATE", "a policy is followed by another, never changed", ()),
    ("refund_policy", "DELETE", "what has ruled stays recorded", ()),
    ("meter_debt_event", "UPDATE", "what a meter told stays as it told it", ()),
    ("meter_debt_event", "DELETE", "what a meter told stays recorded", ()),
    ("opening_line", "UPDATE", "a line that was read stays as it was", _READ),
    ("opening_line", "DELETE", "a line that was read stays recorded", ()),
)


def upgrade() -> None:
    op.create_table(
        "opening_import",
        sa.Column("import_id", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("lines", sa.Integer(), nullable=False),
        sa.Column("credit_uc", sa.BigInteger(), nullable=False),
        sa.Column("debt_uc", sa.BigInteger(), nullable=False),
        sa.Column("author", sa.String(length=80), nullable=False),
        sa.Column("approver", sa.String(length=80), nullable=True),
        sa.Column("proposal", sa.BigInteger(), nullable=True),
        sa.Column("made_s", sa.BigInteger(), nullable=False),
        sa.Column("changed_s", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("import_id", name="pk_opening_import"),
    )
    op.create_table(
        "refund_policy",
        sa.Column("id", _ROW_ID, nullable=False),
        sa.Column("since_s", sa.BigInteger(), nullable=False),
        sa.Column("set_by", sa.String(length=80), nullable=False),
        sa.Column("window_s", sa.BigInteger(), nullable=False),
        sa.Column("alone_uc", sa.BigInteger(), nullable=False),
        sa.Column("spent", sa.String(length=16), nullable=False),
        sa.Column("notice_s", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_refund_policy"),
    )
    op.create_table(
        "meter_debt",
        sa.Column("meter", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("account_epoch", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("placed_uc", sa.BigInteger(), nullable=False),
        sa.Column("withdrawn_uc", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("collected_uc", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("terms", sa.LargeBinary(), nullable=False),
        sa.Column("order_id", _ROW_ID, nullable=False),
        sa.Column("changed_s", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["meter"], ["meter.meter"], name="fk_meter_debt_meter"),
        sa.ForeignKeyConstraint(["order_id"], ["order.id"], name="fk_meter_debt_order_id"),
        sa.PrimaryKeyConstraint("meter", "account_epoch", "number", name="pk_meter_debt"),
    )
    op.create_table(
        "meter_debt_event",
        sa.Column("meter", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("log_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("account_epoch", sa.Integer(), nullable=False),
        sa.Column("amount_uc", sa.BigInteger(), nullable=False),
        sa.Column("debts", sa.Integer(), nullable=False),
        sa.Column("time_s", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["meter"], ["meter.meter"], name="fk_meter_debt_event_meter"),
        sa.PrimaryKeyConstraint("meter", "log_id", "seq", name="pk_meter_debt_event"),
    )
    op.create_table(
        "opening_line",
        sa.Column("import_id", sa.String(length=64), nullable=False),
        sa.Column("line", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("meter", sa.BigInteger(), nullable=False),
        sa.Column("account_epoch", sa.Integer(), nullable=False),
        sa.Column("balance_uc", sa.BigInteger(), nullable=False),
        sa.Column("customer_class", sa.String(length=16), nullable=False),
        sa.Column("reference", sa.String(length=64), nullable=False),
        sa.Column("person", sa.String(length=40), nullable=True),
        sa.Column("as_of_s", sa.BigInteger(), nullable=False),
        sa.Column("done_s", sa.BigInteger(), nullable=True),
        sa.Column("total_uc", sa.BigInteger(), nullable=True),
        sa.Column("source", sa.Integer(), nullable=True),
        sa.Column("bill", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["import_id"], ["opening_import.import_id"], name="fk_opening_line_import_id"),
        sa.ForeignKeyConstraint(["meter"], ["meter.meter"], name="fk_opening_line_meter"),
        sa.PrimaryKeyConstraint("import_id", "line", name="pk_opening_line"),
        sa.UniqueConstraint("meter", "account_epoch", name="uq_opening_line_meter"),
    )
    op.create_table(
        "meter_debt_bill",
        sa.Column("id", _ROW_ID, nullable=False),
        sa.Column("meter", sa.BigInteger(), nullable=False),
        sa.Column("account_epoch", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("bill_id", _ROW_ID, nullable=False),
        sa.Column("moved_uc", sa.BigInteger(), nullable=False),
        sa.Column("withdrawn_uc", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("collected_uc", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("moved_s", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["bill_id"], ["bill.id"], name="fk_meter_debt_bill_bill_id"),
        sa.ForeignKeyConstraint(["meter"], ["meter.meter"], name="fk_meter_debt_bill_meter"),
        sa.PrimaryKeyConstraint("id", name="pk_meter_debt_bill"),
    )
    op.create_index("ix_meter_debt_bill_meter", "meter_debt_bill", ["meter", "account_epoch", "number"])
    op.create_table(
        "refund",
        sa.Column("id", _ROW_ID, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("meter", sa.BigInteger(), nullable=False),
        sa.Column("account_epoch", sa.Integer(), nullable=False),
        sa.Column("amount_uc", sa.BigInteger(), nullable=False),
        sa.Column("whole_uc", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("asked_by", sa.String(length=80), nullable=False),
        sa.Column("request_id", sa.String(length=64), nullable=False),
        sa.Column("request_digest", sa.LargeBinary(), nullable=False),
        sa.Column("approver", sa.String(length=80), nullable=True),
        sa.Column("proposal", sa.BigInteger(), nullable=True),
        sa.Column("why", sa.String(length=200), nullable=False),
        sa.Column("channel", sa.String(length=40), nullable=False),
        sa.Column("payment_id", sa.String(length=64), nullable=True),
        sa.Column("to_meter", sa.BigInteger(), nullable=True),
        sa.Column("token_id", _ROW_ID, nullable=True),
        sa.Column("order_id", _ROW_ID, nullable=True),
        sa.Column("source", sa.Integer(), nullable=True),
        sa.Column("refunded_uc", sa.BigInteger(), nullable=True),
        sa.Column("carried_uc", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("evidence", sa.LargeBinary(), nullable=True),
        sa.Column("evidence_time_s", sa.BigInteger(), nullable=True),
        sa.Column("asked_s", sa.BigInteger(), nullable=False),
        sa.Column("changed_s", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("amount_uc >= 0 and whole_uc > 0 and whole_uc >= amount_uc", name="amounts"),
        sa.ForeignKeyConstraint(["channel"], ["channel.channel"], name="fk_refund_channel"),
        sa.ForeignKeyConstraint(["meter"], ["meter.meter"], name="fk_refund_meter"),
        sa.ForeignKeyConstraint(["order_id"], ["order.id"], name="fk_refund_order_id"),
        sa.ForeignKeyConstraint(["to_meter"], ["meter.meter"], name="fk_refund_to_meter"),
        sa.ForeignKeyConstraint(["token_id"], ["token.id"], name="fk_refund_token_id"),
        sa.PrimaryKeyConstraint("id", name="pk_refund"),
        sa.UniqueConstraint("asked_by", "request_id", name="uq_refund_asked_by"),
    )
    op.create_index("ix_refund_meter", "refund", ["meter", "state"])
    op.create_index(
        "uq_refund_payment",
        "refund",
        ["channel", "payment_id"],
        unique=True,
        sqlite_where=_LIVE,
        postgresql_where=_LIVE,
    )
    op.create_index(
        "uq_refund_stated", "refund", ["meter"], unique=True, sqlite_where=_STATED, postgresql_where=_STATED
    )
    op.create_table(
        "refund_history",
        sa.Column("id", _ROW_ID, nullable=False),
        sa.Column("refund_id", _ROW_ID, nullable=False),
        sa.Column("at_s", sa.BigInteger(), nullable=False),
        sa.Column("event", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("actor", sa.String(length=80), nullable=False),
        sa.Column("note", sa.String(length=200), server_default="", nullable=False),
        sa.ForeignKeyConstraint(["refund_id"], ["refund.id"], name="fk_refund_history_refund_id"),
        sa.PrimaryKeyConstraint("id", name="pk_refund_history"),
    )
    op.create_index("ix_refund_history_refund", "refund_history", ["refund_id"])
    for table, event, sentence, columns in _GUARDS:
        guards.refuse(op, table, event, sentence, columns)


def downgrade() -> None:
    for table, event, _, _ in _GUARDS:
        guards.allow(op, table, event)
    op.drop_table("refund_history")
    op.drop_table("refund")
    op.drop_table("meter_debt_bill")
    op.drop_table("opening_line")
    op.drop_table("meter_debt_event")
    op.drop_table("meter_debt")
    op.drop_table("refund_policy")
    op.drop_table("opening_import")
