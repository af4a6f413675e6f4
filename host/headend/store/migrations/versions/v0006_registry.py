"""Exclusions and the calendar, with evidence and history."""

import sqlalchemy as sa
from alembic import op

from headend.store import guards

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

# Table -> events that the database refuses, with the columns where not all.
_GUARDS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    (
        "exclusion",
        "UPDATE",
        ("id", "meter", "account_epoch", "kind", "since_s", "reference", "document", "actor"),
    ),
    ("exclusion", "DELETE", ()),
    ("exclusion_event", "UPDATE", ()),
    ("exclusion_event", "DELETE", ()),
    ("calendar", "UPDATE", ()),
    ("calendar", "DELETE", ()),
    ("hold_evidence", "UPDATE", ()),
    ("hold_evidence", "DELETE", ()),
)


def upgrade() -> None:
    op.create_table(
        "exclusion",
        sa.Column("id", _ROW_ID, nullable=False),
        sa.Column("meter", sa.BigInteger(), nullable=False),
        sa.Column("account_epoch", sa.Integer(), nullable=True),
        sa.Column("kind", sa.String(length=24), nullable=False),
        sa.Column("since_s", sa.BigInteger(), nullable=False),
        sa.Column("until_s", sa.BigInteger(), nullable=True),
        sa.Column("ended_s", sa.BigInteger(), nullable=True),
        sa.Column("reference", sa.String(length=200), nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=True),
        sa.Column("actor", sa.String(length=80), nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.ForeignKeyConstraint(["meter"], ["meter.meter"], name="fk_exclusion_meter"),
        sa.PrimaryKeyConstraint("id", name="pk_exclusion"),
    )
    op.create_index("ix_exclusion_meter", "exclusion", ["meter"])
    op.create_index(
        "uq_exclusion_open",
        "exclusion",
        ["meter", "kind"],
        unique=True,
        sqlite_where=sa.text("ended_s is null"),
        postgresql_where=sa.text("ended_s is null"),
    )
    op.create_table(
        "exclusion_event",
        sa.Column("id", _ROW_ID, nullable=False),
        sa.Column("exclusion", _ROW_ID, nullable=False),
        sa.Column("at_s", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(length=80), nullable=False),
        sa.Column("event", sa.String(length=16), nullable=False),
        sa.Column("until_s", sa.BigInteger(), nullable=True),
        sa.Column("evidence", sa.String(length=24), server_default="", nullable=False),
        sa.Column("reference", sa.String(length=200), server_default="", nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=True),
        sa.Column("dated_s", sa.BigInteger(), nullable=True),
        sa.Column("note", sa.String(length=200), server_default="", nullable=False),
        sa.ForeignKeyConstraint(["exclusion"], ["exclusion.id"], name="fk_exclusion_event_exclusion"),
        sa.PrimaryKeyConstraint("id", name="pk_exclusion_event"),
    )
    op.create_index("ix_exclusion_event_exclusion", "exclusion_event", ["exclusion"])
    op.create_table(
        "calendar",
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at_s", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(length=80), nullable=False),
        sa.Column("why", sa.String(length=200), nullable=False),
        sa.Column("time_zone", sa.String(length=64), nullable=False),
        sa.Column("rules", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("version", name="pk_calendar"),
    )
    op.create_table(
        "hold_evidence",
        sa.Column("id", _ROW_ID, nullable=False),
        sa.Column("order_id", _ROW_ID, nullable=False),
        sa.Column("at_s", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(length=80), nullable=False),
        sa.Column("reference", sa.String(length=200), nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(["order_id"], ["order.id"], name="fk_hold_evidence_order_id"),
        sa.PrimaryKeyConstraint("id", name="pk_hold_evidence"),
    )
    op.create_index("ix_hold_evidence_order", "hold_evidence", ["order_id"])
    for table, event, columns in _GUARDS:
        guards.refuse(op, table, event, "what was registered stays registered", columns)


def downgrade() -> None:
    for table, event, _ in _GUARDS:
        guards.allow(op, table, event)
    for table in ("hold_evidence", "calendar", "exclusion_event", "exclusion"):
        op.drop_table(table)
