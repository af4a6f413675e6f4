"""The gate: proposals, approvals, budgets, freezes."""

import sqlalchemy as sa
from alembic import op

from headend.store import guards

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_WAITING = sa.text("state in ('draft', 'awaiting_approval', 'approved')")
_SAID = ("kind", "payload", "digest", "policy_version", "author", "why", "area", "proposed_s", "expires_s")


def upgrade() -> None:
    with op.batch_alter_table("order") as table:
        table.add_column(sa.Column("gate", sa.String(length=12), server_default="", nullable=False))
        table.add_column(sa.Column("valid_s", sa.Integer(), server_default="0", nullable=False))
        table.add_column(sa.Column("proposal", sa.BigInteger(), nullable=True))
    op.create_index(
        "uq_order_waiting",
        "order",
        ["meter", "aspect", "selector"],
        unique=True,
        sqlite_where=_WAITING,
        postgresql_where=_WAITING,
    )
    gate = op.create_table(
        "gate",
        sa.Column("one", sa.Integer(), nullable=False),
        sa.Column("touched", sa.BigInteger(), server_default="0", nullable=False),
        sa.CheckConstraint("one = 1", name="single"),
        sa.PrimaryKeyConstraint("one", name="pk_gate"),
    )
    op.bulk_insert(gate, [{"one": 1}])
    op.create_table(
        "gate_policy",
        sa.Column("version", _ID, nullable=False),
        sa.Column("since_s", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(length=80), nullable=False),
        sa.Column("why", sa.String(length=200), nullable=False),
        sa.Column("rules", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("version", name="pk_gate_policy"),
    )
    op.create_table(
        "gate_pass",
        sa.Column("order_id", _ID, nullable=False),
        sa.Column("at_s", sa.BigInteger(), nullable=False),
        sa.Column("meter", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(length=80), nullable=False),
        sa.Column("area", sa.String(length=120), nullable=False),
        sa.Column("feeder", sa.String(length=120), nullable=False),
        sa.Column("class", sa.String(length=12), nullable=False),
        sa.Column("proposal", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["order_id"], ["order.id"], name="fk_gate_pass_order_id"),
        sa.PrimaryKeyConstraint("order_id", name="pk_gate_pass"),
    )
    op.create_index("ix_gate_pass_at", "gate_pass", ["at_s"])
    for scope in ("actor", "area", "feeder"):
        op.create_index(f"ix_gate_pass_{scope}", "gate_pass", [scope, "at_s"])
    op.create_table(
        "freeze",
        sa.Column("id", _ID, nullable=False),
        sa.Column("set_s", sa.BigInteger(), nullable=False),
        sa.Column("set_by", sa.String(length=80), nullable=False),
        sa.Column("why", sa.String(length=200), nullable=False),
        sa.Column("standing", sa.Integer(), nullable=True),
        sa.Column("lifted_s", sa.BigInteger(), nullable=True),
        sa.Column("lifted_by", sa.String(length=170), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_freeze"),
        sa.UniqueConstraint("standing", name="uq_freeze_standing"),
    )
    _proposals()
    for kept in ("gate_policy", "gate_pass", "freeze", "proposal", "proposal_item"):
        guards.refuse(op, kept, "DELETE", "what the gate decided stays recorded")
    guards.refuse(op, "gate_policy", "UPDATE", "a policy is followed by another, never changed")
    guards.refuse(op, "gate_pass", "UPDATE", "what passed the gate has passed it")
    guards.refuse(op, "freeze", "UPDATE", "a freeze stays as it was set", ("set_s", "set_by", "why"))
    guards.refuse(op, "proposal", "UPDATE", "what is proposed never changes", _SAID)


def _proposals() -> None:
    op.create_table(
        "proposal",
        sa.Column("id", _ID, nullable=False),
        sa.Column("kind", sa.String(length=24), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("policy_version", sa.BigInteger(), nullable=False),
        sa.Column("author", sa.String(length=80), nullable=False),
        sa.Column("why", sa.String(length=200), nullable=False),
        sa.Column("area", sa.String(length=120), server_default="", nullable=False),
        sa.Column("proposed_s", sa.BigInteger(), nullable=False),
        sa.Column("expires_s", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("decided_s", sa.BigInteger(), nullable=True),
        sa.Column("approver", sa.String(length=80), nullable=True),
        sa.Column("note", sa.String(length=200), server_default="", nullable=False),
        sa.Column("recalled_by", sa.String(length=80), nullable=True),
        sa.Column("next_s", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_proposal"),
    )
    op.create_index("ix_proposal_state", "proposal", ["state"])
    waits = sa.text("next_s is not null")
    op.create_index("ix_proposal_next", "proposal", ["next_s"], sqlite_where=waits, postgresql_where=waits)
    op.create_table(
        "proposal_item",
        sa.Column("proposal", _ID, nullable=False),
        sa.Column("meter", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("order_id", _ID, nullable=True),
        sa.Column("before", sa.LargeBinary(), nullable=True),
        sa.Column("release_id", _ID, nullable=True),
        sa.Column("note", sa.String(length=200), server_default="", nullable=False),
        sa.ForeignKeyConstraint(["proposal"], ["proposal.id"], name="fk_proposal_item_proposal"),
        sa.ForeignKeyConstraint(["order_id"], ["order.id"], name="fk_proposal_item_order_id"),
        sa.ForeignKeyConstraint(["release_id"], ["order.id"], name="fk_proposal_item_release_id"),
        sa.PrimaryKeyConstraint("proposal", "meter", name="pk_proposal_item"),
        sa.UniqueConstraint("order_id", name="uq_proposal_item_order_id"),
    )
    op.create_index("ix_proposal_item_state", "proposal_item", ["proposal", "state", "meter"])


def downgrade() -> None:
    guards.allow(op, "proposal", "UPDATE")
    guards.allow(op, "freeze", "UPDATE")
    guards.allow(op, "gate_pass", "UPDATE")
    guards.allow(op, "gate_policy", "UPDATE")
    for kept in ("proposal_item", "proposal", "freeze", "gate_pass", "gate_policy"):
        guards.allow(op, kept, "DELETE")
        op.drop_table(kept)
    op.drop_table("gate")
    op.drop_index("uq_order_waiting", "order")
    for column in ("proposal", "valid_s", "gate"):
        op.drop_column("order", column)
