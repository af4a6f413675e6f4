"""The daily audit of configuration: what meters hold, and what differs."""

import sqlalchemy as sa
from alembic import op

from headend.store import guards

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_GUARDS = (
    ("configuration_finding", "UPDATE", "what was found stays as it was found", ("meter", "aspect", "found_s")),
    ("configuration_finding", "DELETE", "what was found stays recorded", ()),
    ("configuration_policy", "UPDATE", "a policy is followed by another, never changed", ()),
    ("configuration_policy", "DELETE", "what has ruled stays recorded", ()),
)


def upgrade() -> None:
    op.create_table(
        "configuration_policy",
        sa.Column("id", _ROW_ID, nullable=False),
        sa.Column("since_s", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(length=80), nullable=False),
        sa.Column("drift_s", sa.Integer(), nullable=False),
        sa.Column("fresh_s", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_configuration_policy"),
    )
    op.create_table(
        "configuration_round",
        sa.Column("day", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("begun_s", sa.BigInteger(), nullable=False),
        sa.Column("done_s", sa.BigInteger(), nullable=True),
        sa.Column("at_meter", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("meters", sa.Integer(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("day", name="pk_configuration_round"),
    )
    op.create_table(
        "configuration_finding",
        sa.Column("id", _ROW_ID, nullable=False),
        sa.Column("meter", sa.BigInteger(), nullable=False),
        sa.Column("aspect", sa.String(length=16), nullable=False),
        sa.Column("wanted", sa.String(length=80), nullable=False),
        sa.Column("reported", sa.String(length=80), nullable=False),
        sa.Column("found_s", sa.BigInteger(), nullable=False),
        sa.Column("seen_s", sa.BigInteger(), nullable=False),
        sa.Column("settled_s", sa.BigInteger(), nullable=True),
        sa.Column("proposal", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["meter"], ["meter.meter"], name="fk_configuration_finding_meter"),
        sa.PrimaryKeyConstraint("id", name="pk_configuration_finding"),
    )
    op.create_index("ix_configuration_finding_meter", "configuration_finding", ["meter", "aspect"])
    op.create_index(
        "uq_configuration_finding_open",
        "configuration_finding",
        ["aspect", "meter"],
        unique=True,
        sqlite_where=sa.text("settled_s is null"),
        postgresql_where=sa.text("settled_s is null"),
    )
    op.create_table(
        "configuration_held",
        sa.Column("meter", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("aspect", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("account_epoch", sa.Integer(), nullable=False),
        sa.Column("signing_epoch", sa.Integer(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("shown_s", sa.BigInteger(), nullable=False),
        sa.Column("taken_s", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["meter"], ["meter.meter"], name="fk_configuration_held_meter"),
        sa.PrimaryKeyConstraint("meter", "aspect", name="pk_configuration_held"),
    )
    op.create_table(
        "configuration_question",
        sa.Column("meter", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("next_s", sa.BigInteger(), nullable=False),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["meter"], ["meter.meter"], name="fk_configuration_question_meter"),
        sa.PrimaryKeyConstraint("meter", name="pk_configuration_question"),
    )

    for table, event, sentence, columns in _GUARDS:
        guards.refuse(op, table, event, sentence, columns)


def downgrade() -> None:
    for table, event, _, _ in _GUARDS:
        guards.allow(op, table, event)
    op.drop_table("configuration_question")
    op.drop_table("configuration_held")
    op.drop_table("configuration_finding")
    op.drop_table("configuration_round")
    op.drop_table("configuration_policy")
