"""Interval records put into a database without a meter that made them."""

from typing import Any

from sqlalchemy import Connection, delete, select

from headend.reads import recent
from headend.store.schema_readings import reading_recent
from meterlink.records import RECORD_LENGTH, pack_interval


def put(conn: Connection, now_s: int, meter: int, log_id: int, rows: list[dict[str, Any]]) -> None:
    """Store records as they came at `now_s`: the fields of `pack_interval`, numbered in any order."""
    made = [(meter, log_id, row["seq"], pack_interval(**row)) for row in rows]
    recent.put(conn, now_s, made)


def forget(conn: Connection, meter: int, numbers: tuple[int, ...]) -> None:
    """Take records away, as nothing but a test does; what is not packed yet."""
    mine = reading_recent.c.meter == meter
    rows = conn.execute(select(reading_recent).where(mine)).all()
    conn.execute(delete(reading_recent).where(mine))
    for row in rows:
        for place in range(len(row.records) // RECORD_LENGTH):
            if row.first + place not in numbers:
                record = row.records[place * RECORD_LENGTH : (place + 1) * RECORD_LENGTH]
                recent.put(conn, row.hour * recent.HOUR_S, [(meter, row.log_id, row.first + place, record)])
