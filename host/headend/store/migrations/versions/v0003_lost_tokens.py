"""Typed tokens that a lost database made: found in the signer's log."""

import sqlalchemy as sa
from alembic import op

from headend.store import guards

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    with op.batch_alter_table("decoder") as table:
        table.add_column(sa.Column("compare_s", sa.BigInteger(), server_default="0", nullable=True))
    op.execute("UPDATE decoder SET compare_s = NULL")  # what is there was made by this database
    waits = sa.text("compare_s is not null")
    op.create_index("ix_decoder_compare", "decoder", ["compare_s"], sqlite_where=waits, postgresql_where=waits)
    op.create_table(
        "lost_token",
        sa.Column("id", _ROW_ID, nullable=False),
        sa.Column("meter", sa.BigInteger(), nullable=False),
        sa.Column("tid", sa.BigInteger(), nullable=False),
        sa.Column("class", sa.Integer(), nullable=False),
        sa.Column("subclass", sa.Integer(), nullable=False),
        sa.Column("supply_group", sa.Integer(), nullable=False),
        sa.Column("key_revision", sa.Integer(), nullable=False),
        sa.Column("amount_uc", sa.BigInteger(), nullable=False),
        sa.Column("digits", sa.String(length=20), nullable=True),
        sa.Column("actor", sa.String(length=80), nullable=False),
        sa.Column("made_s", sa.BigInteger(), nullable=False),
        sa.Column("account_epoch", sa.Integer(), nullable=True),
        sa.Column("used_s", sa.BigInteger(), nullable=True),
        sa.Column("token_id", _ROW_ID, nullable=True),
        sa.ForeignKeyConstraint(["meter"], ["meter.meter"], name="fk_lost_token_meter"),
        sa.ForeignKeyConstraint(["token_id"], ["token.id"], name="fk_lost_token_token_id"),
        sa.PrimaryKeyConstraint("id", name="pk_lost_token"),
        sa.UniqueConstraint("meter", "tid", "class", "subclass", name="uq_lost_token_meter"),
    )
    guards.refuse(op, "lost_token", "DELETE", "a token that was found stays")


def downgrade() -> None:
    op.drop_table("lost_token")
    op.drop_index("ix_decoder_compare", "decoder")
    op.drop_column("decoder", "compare_s")
