"""Interval records: what was taken lately, packed days, cursors in a row of their own."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), autoincrement=False, nullable=False)


def _cursor(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), server_default="0", nullable=False)


def upgrade() -> None:
    op.create_table(
        "meter_reads",
        _number("meter"),
        sa.Column("log_id", sa.BigInteger(), nullable=True),
        _cursor("interval_whole_to"),
        _cursor("interval_newest"),
        _cursor("interval_oldest"),
        _cursor("event_whole_to"),
        _cursor("event_newest"),
        sa.PrimaryKeyConstraint("meter", name="pk_meter_reads"),
    )
    op.create_table(
        "reading_island",
        _number("meter"),
        _number("log_id"),
        _number("first"),
        _number("last"),
        sa.PrimaryKeyConstraint("meter", "log_id", "first", name="pk_reading_island"),
    )
    op.create_table(
        "reading_hour",
        sa.Column("hour", sa.Integer(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("hour", name="pk_reading_hour"),
    )
    op.create_table(
        "reading_recent",
        sa.Column("hour", sa.Integer(), autoincrement=False, nullable=False),
        _number("meter"),
        _number("log_id"),
        _number("first"),
        sa.Column("records", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("hour", "meter", "log_id", "first", name="pk_reading_recent"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "reading_day",
        _number("meter"),
        sa.Column("day", sa.Integer(), autoincrement=False, nullable=False),
        _number("log_id"),
        _number("first"),
        _number("last"),
        sa.Column("packed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("meter", "day", "log_id", "first", name="pk_reading_day"),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    for name in ("reading_day", "reading_recent", "reading_hour", "reading_island", "meter_reads"):
        op.drop_table(name)
