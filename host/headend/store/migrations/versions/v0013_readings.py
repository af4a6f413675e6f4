"""Interval records: what was taken lately, packed days, cursors in a row of their own."""

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op

from meterlink.records import RECORD_LENGTH, pack_interval, unpack_interval

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


_CURSORS = ("log_id", "interval_whole_to", "interval_newest", "interval_oldest", "event_whole_to", "event_newest")
_RUN = 40  # records in a run at most, as in a batch
_HOUR_S = 3600
_MOVED = "start_s import_reg_wh export_reg_wh import_wh export_wh minutes flags".split()


def _table(name: str, columns: str) -> sa.TableClause:
    return sa.table(name, *[sa.column(one) for one in columns.split()])


_interval = _table("interval", "meter log_id seq " + " ".join(_MOVED))
_recent = _table("reading_recent", "hour meter log_id first records")
_day = _table("reading_day", "meter log_id packed")
_hour = _table("reading_hour", "hour")
_island = _table("reading_island", "meter log_id first last")
_reads = _table("meter_reads", "meter log_id interval_whole_to")
_lost = _table("lost_range", "meter log_id kind first last declared_s why")


def _pack(conn: sa.Connection, meter: int, log_id: int) -> None:
    """The rows of a log as runs of records, under the hour in which the last of each ended."""
    mine = (_interval.c.meter == meter, _interval.c.log_id == log_id)
    rows = conn.execute(sa.select(*list(_interval.c)[2:]).where(*mine).order_by(_interval.c.seq)).all()
    runs: list[list[Any]] = []
    for row in rows:
        if not runs or row.seq != runs[-1][-1].seq + 1 or len(runs[-1]) == _RUN:
            runs.append([])
        runs[-1].append(row)
    for run in runs:
        hour = (run[-1].start_s + 60 * run[-1].minutes) // _HOUR_S
        if not conn.execute(sa.select(_hour).where(_hour.c.hour == hour)).all():
            conn.execute(sa.insert(_hour).values(hour=hour))
        packed = b"".join(pack_interval(*row) for row in run)
        conn.execute(sa.insert(_recent).values(hour=hour, meter=meter, log_id=log_id, first=run[0].seq, records=packed))
    _not_lost(conn, meter, log_id, {row.seq for row in rows})
    _note_islands(conn, meter, log_id, [(run[0].seq, run[-1].seq) for run in runs])


def _note_islands(conn: sa.Connection, meter: int, log_id: int, runs: list[tuple[int, int]]) -> None:
    """What is stored behind the cursor of the log."""
    whole = sa.select(_reads.c.interval_whole_to).where(_reads.c.meter == meter, _reads.c.log_id == log_id)
    whole_to = conn.execute(whole).scalar_one_or_none() or 0
    islands: list[list[int]] = []
    for first, last in runs:
        if last <= whole_to:
            continue
        if islands and first == islands[-1][1] + 1:
            islands[-1][1] = last
        else:
            islands.append([max(first, whole_to + 1), last])
    for first, last in islands:
        conn.execute(sa.insert(_island).values(meter=meter, log_id=log_id, first=first, last=last))


def _not_lost(conn: sa.Connection, meter: int, log_id: int, stored: set[int]) -> None:
    """What was listed as lost and turned up is not listed any more."""
    mine = (_lost.c.meter == meter, _lost.c.log_id == log_id, _lost.c.kind == 1)
    for row in conn.execute(sa.select(_lost).where(*mine)).all():
        if not any(row.first <= seq <= row.last for seq in stored):
            continue
        conn.execute(sa.delete(_lost).where(*mine, _lost.c.first == row.first))
        gone = [seq for seq in range(row.first, row.last + 1) if seq not in stored]
        starts = [seq for seq in gone if seq - 1 not in gone]
        ends = [seq for seq in gone if seq + 1 not in gone]
        for first, last in zip(starts, ends, strict=True):
            conn.execute(sa.insert(_lost).values({**row._mapping, "first": first, "last": last}))


def _stored(conn: sa.Connection) -> Iterator[tuple[int, int, bytes]]:
    """Of each run and each packed day: meter, log, records."""
    from headend.reads import packing  # what packed them is what unpacks them

    for row in conn.execute(sa.select(_recent)).all():
        yield row.meter, row.log_id, row.records
    for row in conn.execute(sa.select(_day)).all():
        yield row.meter, row.log_id, packing.unpack(row.packed)


def _unpack(conn: sa.Connection, meter: int, log_id: int, records: bytes) -> None:
    for at in range(0, len(records), RECORD_LENGTH):
        fields = dict(zip(("seq", *_MOVED), unpack_interval(records[at : at + RECORD_LENGTH]), strict=True))
        conn.execute(sa.insert(_interval).values(meter=meter, log_id=log_id, **fields))


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
        sqlite_with_rowid=False,
    )
    op.create_table(
        "reading_island",
        _number("meter"),
        _number("log_id"),
        _number("first"),
        _number("last"),
        sa.PrimaryKeyConstraint("meter", "log_id", "first", name="pk_reading_island"),
        sqlite_with_rowid=False,
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
    conn = op.get_bind()
    names = ", ".join(_CURSORS)
    conn.execute(sa.text(f"INSERT INTO meter_reads (meter, {names}) SELECT meter, {names} FROM meter_state"))  # noqa: S608
    for meter, log_id in conn.execute(sa.text("SELECT DISTINCT meter, log_id FROM interval")).all():
        _pack(conn, meter, log_id)
    op.drop_table("interval")
    for name in _CURSORS:
        op.drop_column("meter_state", name)


def downgrade() -> None:
    conn = op.get_bind()
    op.add_column("meter_state", sa.Column("log_id", sa.BigInteger(), nullable=True))
    for name in _CURSORS[1:]:
        op.add_column("meter_state", _cursor(name))
    for name in _CURSORS:
        value = f"(SELECT r.{name} FROM meter_reads r WHERE r.meter = meter_state.meter)"  # noqa: S608
        conn.execute(sa.text(f"UPDATE meter_state SET {name} = {value} WHERE EXISTS {value}"))  # noqa: S608
    op.create_table(
        "interval",
        *map(_number, ("meter", "log_id", "seq", "start_s", "import_reg_wh", "export_reg_wh")),
        *[sa.Column(name, sa.Integer(), nullable=False) for name in ("import_wh", "export_wh", "minutes", "flags")],
        sa.PrimaryKeyConstraint("meter", "log_id", "seq", name="pk_interval"),
        sqlite_with_rowid=False,
    )
    for meter, log_id, records in _stored(conn):
        _unpack(conn, meter, log_id, records)
    for name in ("reading_day", "reading_recent", "reading_hour", "reading_island", "meter_reads"):
        op.drop_table(name)
