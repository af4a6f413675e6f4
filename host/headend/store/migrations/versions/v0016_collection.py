"""Collection: schedules, what was read by when, and how good each line is."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_COUNTS = ("sent", "answered", "refused", "silent", "garbled", "foreign", "late", "unreachable", "skipped")


def upgrade() -> None:
    op.create_table(
        "collection_policy",
        sa.Column("version", _ROW_ID, nullable=False),
        sa.Column("since_s", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(length=80), nullable=False),
        sa.Column("why", sa.String(length=200), nullable=False),
        sa.Column("rules", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("version", name="pk_collection_policy"),
    )
    op.create_table(
        "collection_pause",
        sa.Column("id", _ROW_ID, nullable=False),
        sa.Column("area", sa.String(length=120), nullable=False),
        sa.Column("from_s", sa.BigInteger(), nullable=False),
        sa.Column("until_s", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(length=80), nullable=False),
        sa.Column("why", sa.String(length=200), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_collection_pause"),
    )
    op.create_index("ix_collection_pause_until", "collection_pause", ["until_s"])
    op.create_table(
        "collect_turn",
        sa.Column("meter", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("report_tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("daily_s", sa.BigInteger(), nullable=False),
        sa.Column("daily_tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("fill_s", sa.BigInteger(), nullable=True),
        sa.Column("fill_tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("filled_s", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("mark_log", sa.BigInteger(), nullable=True),
        sa.Column("mark_seq", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("mark_day", sa.Integer(), server_default="0", nullable=False),
        sa.Column("whole_day", sa.Integer(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("meter", name="pk_collect_turn"),
    )
    op.create_index("ix_collect_turn_daily", "collect_turn", ["daily_s"])
    _partial("ix_collect_turn_fill", "collect_turn", "fill_s", "fill_s is not null")
    op.create_table(
        "collect_request",
        sa.Column("id", _ROW_ID, nullable=False),
        sa.Column("kind", sa.String(length=12), nullable=False),
        sa.Column("area", sa.String(length=120), nullable=False),
        sa.Column("actor", sa.String(length=80), nullable=False),
        sa.Column("why", sa.String(length=200), nullable=False),
        sa.Column("asked_s", sa.BigInteger(), nullable=False),
        sa.Column("until_s", sa.BigInteger(), nullable=False),
        sa.Column("meters", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_collect_request"),
    )
    op.create_table(
        "collect_request_meter",
        sa.Column("request", _ROW_ID, autoincrement=False, nullable=False),
        sa.Column("meter", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("next_s", sa.BigInteger(), nullable=True),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("log_id", sa.BigInteger(), nullable=True),
        sa.Column("seq", sa.BigInteger(), nullable=True),
        sa.Column("over_s", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["request"], ["collect_request.id"], name="fk_collect_request_meter_request"),
        sa.PrimaryKeyConstraint("request", "meter", name="pk_collect_request_meter"),
    )
    _partial("ix_collect_request_meter_next", "collect_request_meter", "next_s", "next_s is not null")
    _partial("ix_collect_request_meter_open", "collect_request_meter", "meter", "next_s is not null")
    op.create_table(
        "read_success",
        sa.Column("day", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("area", sa.String(length=120), nullable=False),
        sa.Column("carrier", sa.String(length=16), nullable=False),
        sa.Column("meters", sa.Integer(), server_default="0", nullable=False),
        *(
            sa.Column(name, sa.BigInteger(), server_default="0", nullable=False)
            for name in ("expected", "in_time", "late", "lost", "repeated")
        ),
        sa.Column("whole", sa.Integer(), server_default="0", nullable=False),
        sa.Column("whole_in_time", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("day", "area", "carrier", name="pk_read_success"),
    )
    op.create_table(
        "read_counted",
        sa.Column("one", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("hour", sa.Integer(), nullable=False),
        sa.Column("meter", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("one", name="pk_read_counted"),
    )
    op.create_table(
        "line_quality",
        sa.Column("day", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("link", sa.String(length=200), nullable=False),
        sa.Column("unit", sa.Integer(), autoincrement=False, nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in _COUNTS),
        sa.Column("times", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("day", "link", "unit", name="pk_line_quality"),
    )
    # The meters that there are: the daily look finds out at once what is missing of each.
    op.execute("INSERT INTO collect_turn (meter, daily_s) SELECT meter, 0 FROM meter")


def _partial(name: str, table: str, column: str, condition: str) -> None:
    op.create_index(name, table, [column], sqlite_where=sa.text(condition), postgresql_where=sa.text(condition))


def downgrade() -> None:
    for name in (
        "line_quality",
        "read_counted",
        "read_success",
        "collect_request_meter",
        "collect_request",
        "collect_turn",
        "collection_pause",
        "collection_policy",
    ):
        op.drop_table(name)
