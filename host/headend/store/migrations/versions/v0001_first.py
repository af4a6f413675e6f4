"""The first schema, and what the database itself refuses: a book entry or payment that is changed or deleted."""

import sqlalchemy as sa
from alembic import op

from headend.store import guards

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Corrections are new entries. A payment may be marked as arrived at the meter, nothing else.
_PAYMENT = ("channel", "payment_id", "meter", "amount_uc", "request_digest", "total_uc", "order_id", "taken_s")


def upgrade() -> None:
    op.create_table(
        "account",
        sa.Column("account", sa.String(length=80), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.PrimaryKeyConstraint("account", name="pk_account"),
    )

    op.create_table(
        "channel",
        sa.Column("channel", sa.String(length=40), nullable=False),
        sa.Column("token_digest", sa.LargeBinary(), nullable=False),
        sa.Column("scopes", sa.String(length=200), nullable=False),
        sa.Column("max_payment_uc", sa.BigInteger(), nullable=False),
        sa.Column("added_s", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("channel", name="pk_channel"),
    )

    op.create_table(
        "database",
        sa.Column("one", sa.Integer(), nullable=False),
        sa.Column("signing_epoch", sa.Integer(), nullable=False),
        sa.Column("source", sa.Integer(), nullable=False),
        sa.Column("currency", sa.Integer(), nullable=False),
        sa.Column("created_s", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("one = 1", name=op.f("ck_database_single")),
        sa.PrimaryKeyConstraint("one", name="pk_database"),
    )

    op.create_table(
        "interval",
        sa.Column("meter", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("log_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("start_s", sa.BigInteger(), nullable=False),
        sa.Column("import_reg_wh", sa.BigInteger(), nullable=False),
        sa.Column("export_reg_wh", sa.BigInteger(), nullable=False),
        sa.Column("import_wh", sa.Integer(), nullable=False),
        sa.Column("export_wh", sa.Integer(), nullable=False),
        sa.Column("minutes", sa.Integer(), nullable=False),
        sa.Column("flags", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("meter", "log_id", "seq", name="pk_interval"),
        sqlite_with_rowid=False,
    )

    op.create_table(
        "lost_range",
        sa.Column("meter", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("log_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("first", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.Column("declared_s", sa.BigInteger(), nullable=False),
        sa.Column("why", sa.String(length=120), nullable=False),
        sa.PrimaryKeyConstraint("meter", "log_id", "kind", "first", name="pk_lost_range"),
    )

    op.create_table(
        "meter",
        sa.Column("meter", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("account_epoch", sa.Integer(), nullable=False),
        sa.Column("tag_key_version", sa.Integer(), nullable=False),
        sa.Column("carrier", sa.String(length=16), nullable=False),
        sa.Column("address", sa.String(length=200), nullable=False),
        sa.Column("interval_minutes", sa.Integer(), nullable=False),
        sa.Column("tariff", sa.LargeBinary(), nullable=False),
        sa.Column("limits", sa.LargeBinary(), nullable=False),
        sa.Column("label", sa.String(length=200), server_default="", nullable=False),
        sa.Column("added_s", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("meter", name="pk_meter"),
    )

    op.create_table(
        "meter_event",
        sa.Column("meter", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("log_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("time_s", sa.BigInteger(), nullable=False),
        sa.Column("code", sa.Integer(), nullable=False),
        sa.Column("boot", sa.Integer(), nullable=False),
        sa.Column("import_reg_wh", sa.BigInteger(), nullable=False),
        sa.Column("argument", sa.BigInteger(), nullable=False),
        sa.Column("detail", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("meter", "log_id", "seq", name="pk_meter_event"),
        sqlite_with_rowid=False,
    )

    op.create_table(
        "question",
        sa.Column("nonce", sa.LargeBinary(), nullable=False),
        sa.Column("meter", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Integer(), nullable=False),
        sa.Column("aspect", sa.Integer(), nullable=False),
        sa.Column("selector", sa.Integer(), nullable=False),
        sa.Column("first", sa.BigInteger(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("asked_s", sa.BigInteger(), nullable=False),
        sa.Column("answered_s", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("nonce", name="pk_question"),
    )
    op.create_index("ix_question_meter", "question", ["meter", "kind"])

    op.create_table(
        "entry",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at_s", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=24), nullable=False),
        sa.Column("debit", sa.String(length=80), nullable=False),
        sa.Column("credit", sa.String(length=80), nullable=False),
        sa.Column("amount_uc", sa.BigInteger(), nullable=False),
        sa.Column("meter", sa.BigInteger(), nullable=True),
        sa.Column("cause", sa.String(length=120), nullable=False),
        sa.CheckConstraint("amount_uc > 0", name=op.f("ck_entry_positive")),
        sa.CheckConstraint("debit <> credit", name=op.f("ck_entry_two_sided")),
        sa.ForeignKeyConstraint(["credit"], ["account.account"], name="fk_entry_credit"),
        sa.ForeignKeyConstraint(["debit"], ["account.account"], name="fk_entry_debit"),
        sa.PrimaryKeyConstraint("id", name="pk_entry"),
        sa.UniqueConstraint("kind", "cause", name="uq_entry_kind"),
    )
    op.create_index("ix_entry_credit", "entry", ["credit"])
    op.create_index("ix_entry_debit", "entry", ["debit"])

    op.create_table(
        "meter_state",
        sa.Column("meter", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("touched", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("next_version", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("sold_uc", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("refunded_uc", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("on_meter_uc", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("booked_uc", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("report", sa.LargeBinary(), nullable=True),
        sa.Column("report_boot", sa.BigInteger(), nullable=True),
        sa.Column("report_counter", sa.BigInteger(), nullable=True),
        sa.Column("report_time_s", sa.BigInteger(), nullable=True),
        sa.Column("report_taken_s", sa.BigInteger(), nullable=True),
        sa.Column("online", sa.Integer(), server_default="0", nullable=False),
        sa.Column("online_boot", sa.BigInteger(), nullable=True),
        sa.Column("log_id", sa.BigInteger(), nullable=True),
        sa.Column("interval_whole_to", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("interval_newest", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("interval_oldest", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("event_whole_to", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("event_newest", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("next_ask_s", sa.BigInteger(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["meter"], ["meter.meter"], name="fk_meter_state_meter"),
        sa.PrimaryKeyConstraint("meter", name="pk_meter_state"),
    )
    op.create_index("ix_meter_state_next_ask", "meter_state", ["next_ask_s"])

    op.create_table(
        "order",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("meter", sa.BigInteger(), nullable=False),
        sa.Column("aspect", sa.Integer(), nullable=False),
        sa.Column("selector", sa.Integer(), nullable=False),
        sa.Column("account_epoch", sa.Integer(), nullable=False),
        sa.Column("signing_epoch", sa.Integer(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("total_uc", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("issued_s", sa.BigInteger(), nullable=False),
        sa.Column("not_after_s", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("wants", sa.String(length=12), nullable=False),
        sa.Column("signed", sa.LargeBinary(), nullable=True),
        sa.Column("digest", sa.LargeBinary(), nullable=True),
        sa.Column("result", sa.Integer(), server_default="0", nullable=False),
        sa.Column("actor", sa.String(length=80), nullable=False),
        sa.Column("reason_text", sa.String(length=200), server_default="", nullable=False),
        sa.Column("evidence", sa.LargeBinary(), nullable=True),
        sa.Column("evidence_time_s", sa.BigInteger(), nullable=True),
        sa.Column("sent_s", sa.BigInteger(), nullable=True),
        sa.Column("changed_s", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["meter"], ["meter.meter"], name="fk_order_meter"),
        sa.PrimaryKeyConstraint("id", name="pk_order"),
    )
    op.create_index("ix_order_meter", "order", ["meter", "aspect", "selector"])
    op.create_index("ix_order_state", "order", ["state"])
    op.create_index(
        "uq_order_unsent",
        "order",
        ["meter", "aspect", "selector"],
        unique=True,
        sqlite_where=sa.text("state in ('queued')"),
        postgresql_where=sa.text("state in ('queued')"),
    )

    op.create_table(
        "order_history",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("order_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at_s", sa.BigInteger(), nullable=False),
        sa.Column("event", sa.String(length=24), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("note", sa.String(length=200), server_default="", nullable=False),
        sa.ForeignKeyConstraint(["order_id"], ["order.id"], name="fk_order_history_order_id"),
        sa.PrimaryKeyConstraint("id", name="pk_order_history"),
    )
    op.create_index("ix_order_history_order", "order_history", ["order_id"])

    op.create_table(
        "outbox",
        sa.Column(
            "order_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("meter", sa.BigInteger(), nullable=False),
        sa.Column("next_s", sa.BigInteger(), nullable=False),
        sa.Column("step", sa.String(length=8), server_default="deliver", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("lease", sa.String(length=40), nullable=True),
        sa.Column("lease_until_s", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["order_id"], ["order.id"], name="fk_outbox_order_id"),
        sa.PrimaryKeyConstraint("order_id", name="pk_outbox"),
    )
    op.create_index("ix_outbox_next", "outbox", ["next_s"])

    op.create_table(
        "payment",
        sa.Column("channel", sa.String(length=40), nullable=False),
        sa.Column("payment_id", sa.String(length=64), nullable=False),
        sa.Column("meter", sa.BigInteger(), nullable=False),
        sa.Column("amount_uc", sa.BigInteger(), nullable=False),
        sa.Column("request_digest", sa.LargeBinary(), nullable=False),
        sa.Column("total_uc", sa.BigInteger(), nullable=False),
        sa.Column("order_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("taken_s", sa.BigInteger(), nullable=False),
        sa.Column("on_meter_s", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["channel"], ["channel.channel"], name="fk_payment_channel"),
        sa.ForeignKeyConstraint(["meter"], ["meter.meter"], name="fk_payment_meter"),
        sa.ForeignKeyConstraint(["order_id"], ["order.id"], name="fk_payment_order_id"),
        sa.PrimaryKeyConstraint("channel", "payment_id", name="pk_payment"),
    )
    op.create_index("ix_payment_meter", "payment", ["meter", "total_uc"])

    guards.refuse(op, "entry", "UPDATE", "a book entry is never changed")
    guards.refuse(op, "entry", "DELETE", "a book entry is never deleted")
    guards.refuse(op, "payment", "UPDATE", "a payment is never changed", _PAYMENT)
    guards.refuse(op, "payment", "DELETE", "a payment is never deleted")


def downgrade() -> None:
    for table in (
        *("payment", "outbox", "order_history", "order", "meter_state", "entry", "question", "meter_event", "meter"),
        *("lost_range", "interval", "database", "channel", "account"),
    ):
        op.drop_table(table)
