"""Account epochs, credit sources, keys on their way, bodies apart and typed tokens."""

import sqlalchemy as sa
from alembic import op

from headend.store import guards

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

_FIXED = ("channel", "payment_id", "meter", "amount_uc", "request_digest", "taken_s")


def _guard_payments(*columns: str) -> None:
    """Changing a table may copy it, and a copy has no triggers."""
    guards.refuse(op, "payment", "UPDATE", "a payment is never changed", (*_FIXED, *columns))
    guards.refuse(op, "payment", "DELETE", "a payment is never deleted")


def upgrade() -> None:
    guards.allow(op, "payment", "UPDATE")
    guards.allow(op, "payment", "DELETE")
    with op.batch_alter_table("payment") as table:
        table.alter_column("order_id", existing_type=_ROW_ID, nullable=True)
        table.add_column(sa.Column("account_epoch", sa.Integer(), server_default="1", nullable=False))
        table.add_column(sa.Column("source", sa.Integer(), server_default="1", nullable=False))
        table.add_column(sa.Column("again", sa.Integer(), server_default="0", nullable=False))
    op.add_column("meter_state", sa.Column("replacing", sa.BigInteger(), nullable=True))
    op.execute("UPDATE payment SET source = (SELECT source FROM database)")
    op.add_column("order", sa.Column("wrap_key_version", sa.Integer(), nullable=True))
    op.create_table(
        "meter_trust",
        sa.Column("meter", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("next_tag_key_version", sa.Integer(), nullable=True),
        sa.Column("old_tag_key_version", sa.Integer(), nullable=True),
        sa.Column("credit_key_version", sa.Integer(), nullable=True),
        sa.Column("control_key_version", sa.Integer(), nullable=True),
        sa.Column("typed_uc", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("adjusted_uc", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("readback_source", sa.Integer(), nullable=True),
        sa.Column("readback_order", sa.LargeBinary(), nullable=True),
        sa.Column("withheld_uc", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("whole_report", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(["meter"], ["meter.meter"], name="fk_meter_trust_meter"),
        sa.PrimaryKeyConstraint("meter", name="pk_meter_trust"),
    )
    op.execute("INSERT INTO meter_trust (meter) SELECT meter FROM meter")

    op.create_table(
        "order_body",
        sa.Column("order_id", _ROW_ID, autoincrement=False, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["order_id"], ["order.id"], name="fk_order_body_order_id"),
        sa.PrimaryKeyConstraint("order_id", name="pk_order_body"),
    )

    op.create_table(
        "credit_source",
        sa.Column("source", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("signing_epoch", sa.Integer(), nullable=False),
        sa.Column("opened_s", sa.BigInteger(), nullable=False),
        sa.Column("closed_s", sa.BigInteger(), nullable=True),
        sa.Column("why", sa.String(length=120), nullable=False),
        sa.PrimaryKeyConstraint("source", name="pk_credit_source"),
    )
    op.execute(
        "INSERT INTO credit_source (source, signing_epoch, opened_s, why)"
        " SELECT source, signing_epoch, created_s, 'first' FROM database"
    )

    op.create_table(
        "closing",
        sa.Column("meter", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("account_epoch", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("statement", sa.LargeBinary(), nullable=True),
        sa.Column("provisional", sa.Integer(), nullable=False),
        sa.Column("closed_s", sa.BigInteger(), nullable=False),
        sa.Column("import_wh", sa.BigInteger(), nullable=False),
        sa.Column("export_wh", sa.BigInteger(), nullable=False),
        sa.Column("balance_uc", sa.BigInteger(), nullable=False),
        sa.Column("credited_uc", sa.BigInteger(), nullable=False),
        sa.Column("charged_uc", sa.BigInteger(), nullable=False),
        sa.Column("cause", sa.String(length=24), nullable=False),
        sa.Column("moved_to", sa.String(length=80), nullable=False),
        sa.Column("taken_s", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["meter"], ["meter.meter"], name="fk_closing_meter"),
        sa.PrimaryKeyConstraint("meter", "account_epoch", name="pk_closing"),
    )

    op.create_table(
        "recovered",
        sa.Column("meter", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("account_epoch", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("source", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("total_uc", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("amount_uc", sa.BigInteger(), nullable=False),
        sa.Column("listed", sa.Integer(), nullable=False),
        sa.Column("evidence", sa.LargeBinary(), nullable=False),
        sa.Column("found_s", sa.BigInteger(), nullable=False),
        sa.Column("channel", sa.String(length=40), nullable=True),
        sa.Column("payment_id", sa.String(length=64), nullable=True),
        sa.ForeignKeyConstraint(["meter"], ["meter.meter"], name="fk_recovered_meter"),
        sa.PrimaryKeyConstraint("meter", "account_epoch", "source", "total_uc", name="pk_recovered"),
    )

    op.create_table(
        "finding",
        sa.Column("id", _ROW_ID, nullable=False),
        sa.Column("meter", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("amount_uc", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("note", sa.String(length=200), nullable=False),
        sa.Column("found_s", sa.BigInteger(), nullable=False),
        sa.Column("settled_s", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["meter"], ["meter.meter"], name="fk_finding_meter"),
        sa.PrimaryKeyConstraint("id", name="pk_finding"),
    )
    op.create_index("ix_finding_meter", "finding", ["meter", "kind"])

    op.create_table(
        "presigned",
        sa.Column("meter", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("aspect", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("account_epoch", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("signed", sa.LargeBinary(), nullable=False),
        sa.Column("imported_s", sa.BigInteger(), nullable=False),
        sa.Column("order_id", _ROW_ID, nullable=True),
        sa.ForeignKeyConstraint(["meter"], ["meter.meter"], name="fk_presigned_meter"),
        sa.ForeignKeyConstraint(["order_id"], ["order.id"], name="fk_presigned_order_id"),
        sa.PrimaryKeyConstraint("meter", "aspect", "account_epoch", name="pk_presigned"),
    )

    op.create_table(
        "decoder",
        sa.Column("meter", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("pan", sa.String(length=18), nullable=False),
        sa.Column("supply_group", sa.Integer(), nullable=False),
        sa.Column("key_type", sa.Integer(), nullable=False),
        sa.Column("tariff_index", sa.Integer(), nullable=False),
        sa.Column("key_revision", sa.Integer(), nullable=False),
        sa.Column("key_expiry", sa.Integer(), nullable=False),
        sa.Column("base_date", sa.Integer(), nullable=False),
        sa.Column("next_tid", sa.BigInteger(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["meter"], ["meter.meter"], name="fk_decoder_meter"),
        sa.PrimaryKeyConstraint("meter", name="pk_decoder"),
    )

    op.create_table(
        "token",
        sa.Column("id", _ROW_ID, nullable=False),
        sa.Column("meter", sa.BigInteger(), nullable=False),
        sa.Column("account_epoch", sa.Integer(), nullable=False),
        sa.Column("supply_group", sa.Integer(), nullable=False),
        sa.Column("key_revision", sa.Integer(), nullable=False),
        sa.Column("tid", sa.BigInteger(), nullable=False),
        sa.Column("class", sa.Integer(), nullable=False),
        sa.Column("subclass", sa.Integer(), nullable=False),
        sa.Column("register", sa.BigInteger(), nullable=False),
        sa.Column("amount_uc", sa.BigInteger(), nullable=False),
        sa.Column("digits", sa.String(length=20), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("channel", sa.String(length=40), nullable=True),
        sa.Column("payment_id", sa.String(length=64), nullable=True),
        sa.Column("order_id", _ROW_ID, nullable=True),
        sa.Column("actor", sa.String(length=80), nullable=False),
        sa.Column("issued_s", sa.BigInteger(), nullable=False),
        sa.Column("changed_s", sa.BigInteger(), nullable=False),
        sa.Column("used_s", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["meter"], ["meter.meter"], name="fk_token_meter"),
        sa.ForeignKeyConstraint(["order_id"], ["order.id"], name="fk_token_order_id"),
        sa.PrimaryKeyConstraint("id", name="pk_token"),
        sa.UniqueConstraint("meter", "supply_group", "key_revision", "tid", "class", "subclass", name="uq_token_meter"),
    )
    op.create_index("ix_token_meter", "token", ["meter", "state"])
    op.create_index("ix_token_payment", "token", ["channel", "payment_id"])
    reserved = sa.text("state = 'reserved'")
    op.create_index("ix_token_reserved", "token", ["changed_s"], sqlite_where=reserved, postgresql_where=reserved)
    op.create_table(
        "token_history",
        sa.Column("id", _ROW_ID, nullable=False),
        sa.Column("token_id", _ROW_ID, nullable=False),
        sa.Column("at_s", sa.BigInteger(), nullable=False),
        sa.Column("event", sa.String(length=24), nullable=False),
        sa.Column("actor", sa.String(length=80), nullable=False),
        sa.Column("note", sa.String(length=200), server_default="", nullable=False),
        sa.ForeignKeyConstraint(["token_id"], ["token.id"], name="fk_token_history_token_id"),
        sa.PrimaryKeyConstraint("id", name="pk_token_history"),
    )
    op.create_index("ix_token_history_token", "token_history", ["token_id"])

    _guard_payments("account_epoch")
    # After a restore, what the meter turns out not to have is stated by the source that follows.
    sentence = "a payment that the meter has shown stays where it was found"
    shown, place = "OLD.on_meter_s IS NOT NULL", ("source", "total_uc")
    guards.refuse(op, "payment", "UPDATE", sentence, place, when=shown, name="payment_place")
    sentence = "the order of a payment is never changed"
    guards.refuse(
        op, "payment", "UPDATE", sentence, ("order_id",), when="OLD.order_id IS NOT NULL", name="payment_order"
    )
    guards.refuse(op, "recovered", "DELETE", "a sale that was found stays")
    guards.refuse(op, "token", "DELETE", "a token is never deleted")
    sentence, made = "a token that was made is never changed", "OLD.digits IS NOT NULL"
    guards.refuse(op, "token", "UPDATE", sentence, ("digits", "tid", "amount_uc"), when=made, name="token_digits")
    guards.refuse(op, "token_history", "UPDATE", "the history of a token is never changed", name="token_history_change")
    guards.refuse(op, "token_history", "DELETE", "the history of a token is never deleted")


def downgrade() -> None:
    """Refused by the database while a payment stands that no order carries: before, there were none."""
    for name in ("payment_update", "payment_delete", "payment_place", "payment_order"):
        guards.allow(op, "payment", "", name=name)
    for gone in ("token_history", "token", "decoder", "presigned", "finding", "recovered", "closing"):
        op.drop_table(gone)
    for gone in ("credit_source", "order_body", "meter_trust"):
        op.drop_table(gone)
    op.drop_column("order", "wrap_key_version")
    op.drop_column("meter_state", "replacing")
    with op.batch_alter_table("payment") as table:
        table.drop_column("again")
        table.drop_column("source")
        table.drop_column("account_epoch")
        table.alter_column("order_id", existing_type=_ROW_ID, nullable=False)
    _guard_payments("total_uc", "order_id")
