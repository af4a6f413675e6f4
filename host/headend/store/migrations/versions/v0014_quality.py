"""What was found wrong with readings, what stands in for missing ones, and visits to meters nobody hears."""

import sqlalchemy as sa
from alembic import op

from headend.store import guards

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_SAID = ("meter", "day", "rule", "starts", "value", "expected", "opened_s")
_STANDING = sa.text("standing is not null")


def upgrade() -> None:
    op.create_table(
        "quality_policy",
        sa.Column("version", _ID, nullable=False),
        sa.Column("since_s", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(length=80), nullable=False),
        sa.Column("why", sa.String(length=200), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("version", name="pk_quality_policy"),
    )
    op.create_table(
        "quality_meter",
        sa.Column("meter", sa.BigInteger(), nullable=False),
        sa.Column("day_to", sa.Integer(), nullable=False),
        sa.Column("log_id", sa.BigInteger(), nullable=True),
        sa.Column("newest", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("absent", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("open", sa.Integer(), server_default="0", nullable=False),
        sa.Column("touched", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("meter", name="pk_quality_meter"),
    )
    op.create_table(
        "quality_day",
        sa.Column("meter", sa.BigInteger(), nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("policy_version", sa.BigInteger(), nullable=False),
        sa.Column("judged_s", sa.BigInteger(), nullable=False),
        sa.Column("expected", sa.Integer(), nullable=False),
        sa.Column("measured", sa.Integer(), nullable=False),
        sa.Column("estimated", sa.Integer(), nullable=False),
        sa.Column("findings", sa.Text(), nullable=False),
        sa.Column("estimates", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("meter", "day", "version", name="pk_quality_day"),
    )
    _cases()
    _visits()
    for kept in ("quality_policy", "quality_case", "quality_replaced", "visit"):
        guards.refuse(op, kept, "DELETE", "what was decided about readings stays recorded")
    guards.refuse(op, "quality_policy", "UPDATE", "a policy is followed by another, never changed")
    guards.refuse(op, "quality_day", "UPDATE", "a verdict is followed by another, never changed")
    guards.refuse(op, "quality_replaced", "UPDATE", "what an estimate was stays recorded")
    guards.refuse(op, "quality_case", "UPDATE", "what was held for review never changes", _SAID)
    guards.refuse(op, "quality_case", "UPDATE", "it was decided", when="OLD.standing IS NULL", name="quality_case_over")
    guards.refuse(op, "visit", "UPDATE", "it was closed", when="OLD.standing IS NULL")


def _cases() -> None:
    op.create_table(
        "quality_case",
        sa.Column("id", _ID, nullable=False),
        sa.Column("meter", sa.BigInteger(), nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("rule", sa.String(length=24), nullable=False),
        sa.Column("starts", sa.Text(), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.Column("expected", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("standing", sa.Integer(), nullable=True),
        sa.Column("opened_s", sa.BigInteger(), nullable=False),
        sa.Column("ended_s", sa.BigInteger(), nullable=True),
        sa.Column("actor", sa.String(length=80), server_default="", nullable=False),
        sa.Column("reason", sa.String(length=200), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_quality_case"),
        sa.UniqueConstraint("meter", "day", "rule", "standing", name="uq_quality_case_meter"),
    )
    op.create_index("ix_quality_case_state", "quality_case", ["state", "id"])
    op.create_table(
        "quality_replaced",
        sa.Column("id", _ID, nullable=False),
        sa.Column("meter", sa.BigInteger(), nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("at_s", sa.BigInteger(), nullable=False),
        sa.Column("periods", sa.Integer(), nullable=False),
        sa.Column("estimated_import_wh", sa.BigInteger(), nullable=False),
        sa.Column("measured_import_wh", sa.BigInteger(), nullable=False),
        sa.Column("estimated_export_wh", sa.BigInteger(), nullable=False),
        sa.Column("measured_export_wh", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_quality_replaced"),
        sa.UniqueConstraint("meter", "day", "version", name="uq_quality_replaced_meter"),
    )


def _visits() -> None:
    op.create_table(
        "visit",
        sa.Column("id", _ID, nullable=False),
        sa.Column("meter", sa.BigInteger(), nullable=False),
        sa.Column("carrier", sa.String(length=16), nullable=False),
        sa.Column("heard_s", sa.BigInteger(), nullable=True),
        sa.Column("opened_s", sa.BigInteger(), nullable=False),
        sa.Column("standing", sa.Integer(), nullable=True),
        sa.Column("closed_s", sa.BigInteger(), nullable=True),
        sa.Column("how", sa.String(length=12), server_default="", nullable=False),
        sa.Column("actor", sa.String(length=80), server_default="", nullable=False),
        sa.Column("note", sa.String(length=200), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_visit"),
        sa.UniqueConstraint("meter", "standing", name="uq_visit_meter"),
    )
    op.create_index("ix_visit_open", "visit", ["id"], sqlite_where=_STANDING, postgresql_where=_STANDING)


def downgrade() -> None:
    guards.allow(op, "visit", "UPDATE")
    guards.allow(op, "quality_case", "UPDATE", name="quality_case_over")
    for changed in ("quality_case", "quality_replaced", "quality_day", "quality_policy"):
        guards.allow(op, changed, "UPDATE")
    for kept in ("visit", "quality_replaced", "quality_case", "quality_policy"):
        guards.allow(op, kept, "DELETE")
    for table in ("visit", "quality_replaced", "quality_case", "quality_day", "quality_meter", "quality_policy"):
        op.drop_table(table)
