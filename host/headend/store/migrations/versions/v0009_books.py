"""Seals over entries and audit, signed heads, what was compared with the meters."""

import sqlalchemy as sa
from alembic import op

from headend.store import guards

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_CHAINS = ("entry", "audit")
_TABLES = (
    "shadow_day",
    "shadow_anchor",
    "reconciled_change",
    "reconciled",
    "head",
    "seal_sum",
    "seal",
    "seal_chain",
)
_KEPT = {"seal": "a seal stays as it is", "head": "a head stays as it is"}


def upgrade() -> None:
    op.create_table(
        "seal_chain",
        sa.Column("chain", sa.String(length=8), nullable=False),
        sa.Column("origin", sa.String(length=32), nullable=False),
        sa.Column("turn", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("seq", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("top_id", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("mark_id", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("low_id", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("looked_s", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("chain", name="pk_seal_chain"),
    )
    op.create_table(
        "seal",
        sa.Column("chain", sa.String(length=8), nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("row_id", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("chain", "seq", name="pk_seal"),
        sa.UniqueConstraint("chain", "row_id", name="uq_seal_chain"),
    )
    op.create_table(
        "seal_sum",
        sa.Column("chain", sa.String(length=8), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("counted", sa.BigInteger(), nullable=False),
        sa.Column("amount_uc", sa.String(length=40), nullable=False),
        sa.PrimaryKeyConstraint("chain", "kind", name="pk_seal_sum"),
    )
    op.create_table(
        "head",
        sa.Column("day", sa.String(length=10), nullable=False),
        sa.Column("made_s", sa.BigInteger(), nullable=False),
        sa.Column("entry_seq", sa.BigInteger(), nullable=False),
        sa.Column("audit_seq", sa.BigInteger(), nullable=False),
        sa.Column("head", sa.Text(), nullable=False),
        sa.Column("proof", sa.Text(), nullable=False),
        sa.Column("report", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("day", name="pk_head"),
    )
    op.create_table(
        "reconciled",
        sa.Column("meter", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("account_epoch", sa.Integer(), nullable=False),
        sa.Column("checked_s", sa.BigInteger(), nullable=False),
        sa.Column("touched", sa.BigInteger(), nullable=False),
        sa.Column("report_time_s", sa.BigInteger(), nullable=True),
        sa.Column("ledger_uc", sa.BigInteger(), nullable=False),
        sa.Column("meter_uc", sa.BigInteger(), nullable=False),
        sa.Column("difference_uc", sa.BigInteger(), nullable=False),
        sa.Column("since_s", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["meter"], ["meter.meter"], name="fk_reconciled_meter"),
        sa.PrimaryKeyConstraint("meter", name="pk_reconciled"),
    )
    op.create_index(
        "ix_reconciled_open",
        "reconciled",
        ["meter"],
        sqlite_where=sa.text("difference_uc <> 0"),
        postgresql_where=sa.text("difference_uc <> 0"),
    )
    op.create_table(
        "reconciled_change",
        sa.Column("id", _ROW_ID, nullable=False),
        sa.Column("meter", sa.BigInteger(), nullable=False),
        sa.Column("at_s", sa.BigInteger(), nullable=False),
        sa.Column("before_uc", sa.BigInteger(), nullable=False),
        sa.Column("difference_uc", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["meter"], ["meter.meter"], name="fk_reconciled_change_meter"),
        sa.PrimaryKeyConstraint("id", name="pk_reconciled_change"),
    )
    op.create_index("ix_reconciled_change_meter", "reconciled_change", ["meter"])
    op.create_table(
        "shadow_anchor",
        sa.Column("meter", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("report", sa.LargeBinary(), nullable=False),
        sa.Column("tariff", sa.LargeBinary(), nullable=False),
        sa.Column("step_wh", sa.BigInteger(), nullable=False),
        sa.Column("from_s", sa.BigInteger(), nullable=False),
        sa.Column("next_s", sa.BigInteger(), nullable=False),
        sa.Column("coming", sa.LargeBinary(), nullable=True),
        sa.Column("coming_s", sa.BigInteger(), nullable=True),
        sa.Column("need_interval", sa.BigInteger(), nullable=True),
        sa.Column("need_event", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["meter"], ["meter.meter"], name="fk_shadow_anchor_meter"),
        sa.PrimaryKeyConstraint("meter", name="pk_shadow_anchor"),
    )
    op.create_table(
        "shadow_day",
        sa.Column("meter", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("account_epoch", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("day", sa.String(length=10), nullable=False),
        sa.Column("from_s", sa.BigInteger(), nullable=False),
        sa.Column("to_s", sa.BigInteger(), nullable=False),
        sa.Column("used_wh", sa.BigInteger(), nullable=False),
        sa.Column("missing_wh", sa.BigInteger(), nullable=False),
        sa.Column("shadow_uc", sa.BigInteger(), nullable=False),
        sa.Column("standing_uc", sa.BigInteger(), nullable=False),
        sa.Column("meter_uc", sa.BigInteger(), nullable=False),
        sa.Column("collected_uc", sa.BigInteger(), nullable=False),
        sa.Column("difference_uc", sa.BigInteger(), nullable=False),
        sa.Column("whole", sa.Integer(), nullable=False),
        sa.Column("sure", sa.Integer(), nullable=False),
        sa.Column("made_s", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["meter"], ["meter.meter"], name="fk_shadow_day_meter"),
        sa.PrimaryKeyConstraint("meter", "account_epoch", "day", name="pk_shadow_day"),
    )
    op.create_index(
        "ix_shadow_day_differs",
        "shadow_day",
        ["day", "meter"],
        sqlite_where=sa.text("difference_uc <> 0"),
        postgresql_where=sa.text("difference_uc <> 0"),
    )
    chains = sa.table("seal_chain", sa.column("chain"), sa.column("origin"), sa.column("hash"))
    op.bulk_insert(chains, [{"chain": chain, "origin": "", "hash": b""} for chain in _CHAINS])
    for table, sentence in _KEPT.items():
        guards.refuse(op, table, "UPDATE", sentence)
        guards.refuse(op, table, "DELETE", sentence)


def downgrade() -> None:
    for table in _KEPT:
        guards.allow(op, table, "UPDATE")
        guards.allow(op, table, "DELETE")
    for table in _TABLES:
        op.drop_table(table)
