"""Campaigns: dry runs, groups, their pace, what was counted, and why one was stopped."""

import sqlalchemy as sa
from alembic import op

from headend.store import guards

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_GUARDS = (
    (
        "campaign",
        "UPDATE",
        "what a campaign is about stays as it was",
        ("kind", "author", "selection", "terms", "plan", "made_s"),
    ),
    ("campaign", "DELETE", "a campaign stays recorded", ()),
    ("campaign_meter", "DELETE", "a dry run stays recorded", ()),
    ("campaign_history", "UPDATE", "the history of a campaign is never changed", ()),
    ("campaign_history", "DELETE", "the history of a campaign is never deleted", ()),
)


def upgrade() -> None:
    op.create_table(
        "campaign",
        sa.Column("id", _ROW_ID, nullable=False),
        sa.Column("kind", sa.String(length=24), nullable=False),
        sa.Column("author", sa.String(length=80), nullable=False),
        sa.Column("why", sa.String(length=200), nullable=False),
        sa.Column("area", sa.String(length=120), server_default="", nullable=False),
        sa.Column("seen", sa.Text(), nullable=False),
        sa.Column("selection", sa.Text(), nullable=False),
        sa.Column("terms", sa.Text(), nullable=False),
        sa.Column("plan", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("made_s", sa.BigInteger(), nullable=False),
        sa.Column("changed_s", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.String(length=64), server_default="", nullable=False),
        sa.Column("proposal", _ROW_ID, nullable=True),
        sa.Column("groups", sa.Text(), server_default="[]", nullable=False),
        sa.Column("grp", sa.Integer(), server_default="0", nullable=False),
        sa.Column("at_meter", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("stated_s", sa.BigInteger(), nullable=True),
        sa.Column("tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("tokens_s", sa.BigInteger(), nullable=True),
        sa.Column("counts", sa.Text(), server_default="{}", nullable=False),
        sa.Column("counted_s", sa.BigInteger(), nullable=True),
        sa.Column("note", sa.String(length=200), server_default="", nullable=False),
        sa.ForeignKeyConstraint(["proposal"], ["proposal.id"], name="fk_campaign_proposal"),
        sa.PrimaryKeyConstraint("id", name="pk_campaign"),
        sa.UniqueConstraint("proposal", name="uq_campaign_proposal"),
    )
    op.create_index("ix_campaign_state", "campaign", ["state"])
    op.create_table(
        "campaign_feeder",
        sa.Column("campaign", _ROW_ID, autoincrement=False, nullable=False),
        sa.Column("feeder", sa.String(length=120), nullable=False),
        sa.Column("meters", sa.Integer(), nullable=False),
        sa.Column("at_s", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("stated", sa.Integer(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["campaign"], ["campaign.id"], name="fk_campaign_feeder_campaign"),
        sa.PrimaryKeyConstraint("campaign", "feeder", name="pk_campaign_feeder"),
    )
    op.create_table(
        "campaign_history",
        sa.Column("id", _ROW_ID, nullable=False),
        sa.Column("campaign", _ROW_ID, nullable=False),
        sa.Column("at_s", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(length=80), nullable=False),
        sa.Column("event", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("note", sa.String(length=200), server_default="", nullable=False),
        sa.ForeignKeyConstraint(["campaign"], ["campaign.id"], name="fk_campaign_history_campaign"),
        sa.PrimaryKeyConstraint("id", name="pk_campaign_history"),
    )
    op.create_index("ix_campaign_history_campaign", "campaign_history", ["campaign"])
    op.create_table(
        "campaign_meter",
        sa.Column("campaign", _ROW_ID, autoincrement=False, nullable=False),
        sa.Column("meter", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("verdict", sa.String(length=8), nullable=False),
        sa.Column("grp", sa.Integer(), server_default="0", nullable=False),
        sa.Column("rule", sa.String(length=40), server_default="", nullable=False),
        sa.Column("evidence", sa.BigInteger(), nullable=True),
        sa.Column("said_en", sa.String(length=300), server_default="", nullable=False),
        sa.Column("said_zh", sa.String(length=300), server_default="", nullable=False),
        sa.ForeignKeyConstraint(["campaign"], ["campaign.id"], name="fk_campaign_meter_campaign"),
        sa.PrimaryKeyConstraint("campaign", "meter", name="pk_campaign_meter"),
    )
    op.create_index("ix_campaign_meter_group", "campaign_meter", ["campaign", "verdict", "grp", "meter"])

    for table, event, sentence, columns in _GUARDS:
        guards.refuse(op, table, event, sentence, columns)


def downgrade() -> None:
    for table, event, _, _ in _GUARDS:
        guards.allow(op, table, event)
    op.drop_table("campaign_meter")
    op.drop_table("campaign_history")
    op.drop_table("campaign_feeder")
    op.drop_table("campaign")
