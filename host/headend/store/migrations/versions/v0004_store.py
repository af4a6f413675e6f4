"""Areas of meters, how meters stand, and the record of who did what."""

import sqlalchemy as sa
from alembic import op

from headend.store import guards

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("meter") as table:
        table.add_column(sa.Column("area", sa.String(length=120), server_default="", nullable=False))
    op.create_index("ix_meter_area", "meter", ["area"])
    with op.batch_alter_table("meter_state") as table:
        table.add_column(sa.Column("contact", sa.Integer(), nullable=True))
        table.add_column(sa.Column("control", sa.Integer(), nullable=True))
        table.add_column(sa.Column("balance_uc", sa.BigInteger(), nullable=True))
        table.add_column(sa.Column("alarms", sa.Integer(), nullable=True))
    op.create_index("ix_meter_state_contact", "meter_state", ["contact"])
    op.create_index("ix_meter_state_alarms", "meter_state", ["alarms"])
    pending, standing = sa.text("on_meter_s is null and source > 0"), sa.text("settled_s is null")
    op.create_index("ix_payment_pending", "payment", ["taken_s"], sqlite_where=pending, postgresql_where=pending)
    op.create_index(
        "ix_finding_standing", "finding", ["kind", "meter"], sqlite_where=standing, postgresql_where=standing
    )
    op.create_table(
        "audit",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at_s", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(length=80), nullable=False),
        sa.Column("action", sa.String(length=40), nullable=False),
        sa.Column("subject", sa.String(length=120), nullable=False),
        sa.Column("detail", sa.Text(), server_default="{}", nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit"),
    )
    op.create_index("ix_audit_subject", "audit", ["subject"])
    op.create_index("ix_audit_actor", "audit", ["actor"])
    guards.refuse(op, "audit", "UPDATE", "what was done stays recorded")
    guards.refuse(op, "audit", "DELETE", "what was done stays recorded")


def downgrade() -> None:
    guards.allow(op, "audit", "UPDATE")
    guards.allow(op, "audit", "DELETE")
    op.drop_table("audit")
    op.drop_index("ix_finding_standing", "finding")
    op.drop_index("ix_payment_pending", "payment")
    op.drop_index("ix_meter_state_alarms", "meter_state")
    op.drop_index("ix_meter_state_contact", "meter_state")
    for name in ("alarms", "balance_uc", "control", "contact"):
        op.drop_column("meter_state", name)
    op.drop_index("ix_meter_area", "meter")
    op.drop_column("meter", "area")
