"""What stands between a wish and a relay that opens: proposals, approvals, budgets, freezes (`headend.gate`)."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from headend.store.columns import RowId, metadata

# One row: who counts against a budget, or freezes, holds it until the transaction ends.
gate = Table(
    "gate",
    metadata,
    Column("one", Integer, primary_key=True),  # always 1
    Column("touched", BigInteger, nullable=False, server_default="0"),
    CheckConstraint("one = 1", name="single"),
)

# The budgets and rules of the gate, each version whole; the newest rules.
gate_policy = Table(
    "gate_policy",
    metadata,
    Column("version", RowId, primary_key=True),
    Column("since_s", BigInteger, nullable=False),
    Column("actor", String(80), nullable=False),
    Column("why", String(200), nullable=False),
    Column("rules", Text, nullable=False),  # JSON, gate.policy.Policy
)

# One row for each order that may open a relay, written where it became `sent`.
gate_pass = Table(
    "gate_pass",
    metadata,
    Column("order_id", ForeignKey("order.id"), primary_key=True, autoincrement=False),
    Column("at_s", BigInteger, nullable=False),
    Column("meter", BigInteger, nullable=False),
    Column("actor", String(80), nullable=False),
    Column("area", String(120), nullable=False),
    Column("feeder", String(120), nullable=False),
    Column("class", String(12), nullable=False),  # gate.classes: what it counts as
    Column("proposal", BigInteger),
    Index("ix_gate_pass_at", "at_s"),
    Index("ix_gate_pass_actor", "actor", "at_s"),
    Index("ix_gate_pass_area", "area", "at_s"),
    Index("ix_gate_pass_feeder", "feeder", "at_s"),
)

freeze = Table(
    "freeze",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("set_s", BigInteger, nullable=False),
    Column("set_by", String(80), nullable=False),
    Column("why", String(200), nullable=False),
    Column("standing", Integer),  # 1 until it is lifted, then nothing: one stands at a time
    Column("lifted_s", BigInteger),
    Column("lifted_by", String(170)),  # both persons
    UniqueConstraint("standing"),
)

# What one person proposes and another decides. What it says never changes; `digest` binds the decision to it.
proposal = Table(
    "proposal",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("kind", String(24), nullable=False),  # gate.proposals.KINDS
    Column("payload", Text, nullable=False),  # canonical JSON
    Column("digest", String(64), nullable=False),  # SHA-256 of kind, payload, policy version and author, hexadecimal
    Column("policy_version", BigInteger, nullable=False),
    Column("author", String(80), nullable=False),
    Column("why", String(200), nullable=False),
    Column("area", String(120), nullable=False, server_default=""),  # the narrowest one that all of it lies in
    Column("proposed_s", BigInteger, nullable=False),
    Column("expires_s", BigInteger, nullable=False),
    Column("state", String(16), nullable=False),  # gate.proposals.STATES
    Column("decided_s", BigInteger),
    Column("approver", String(80)),  # who approved or refused it
    Column("note", String(200), nullable=False, server_default=""),
    Column("recalled_by", String(80)),
    Column("next_s", BigInteger),  # when it wants attention: to expire, or to go on; none once it is over
    Index("ix_proposal_state", "state"),
    Index(
        "ix_proposal_next",
        "next_s",
        sqlite_where=text("next_s is not null"),
        postgresql_where=text("next_s is not null"),
    ),
)

# The orders of a proposal, one a meter: those that the gate lets through at its pace.
proposal_item = Table(
    "proposal_item",
    metadata,
    Column("proposal", ForeignKey("proposal.id"), primary_key=True, autoincrement=False),
    Column("meter", BigInteger, primary_key=True, autoincrement=False),
    Column("state", String(12), nullable=False),  # gate.proposals.ITEM_STATES
    Column("order_id", ForeignKey("order.id")),
    Column("before", LargeBinary),  # what was wanted of the meter until then, where a recall has to state it again
    Column("release_id", ForeignKey("order.id")),  # of a recall: the order that gives back
    Column("note", String(200), nullable=False, server_default=""),
    UniqueConstraint("order_id"),
    Index("ix_proposal_item_state", "proposal", "state", "meter"),
)
