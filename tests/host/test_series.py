"""The view of stored records, on both databases."""

from collections.abc import Callable

import pytest
from sqlalchemy import Connection, delete, insert

from headend.reads import packing, series
from headend.store import Store
from headend.store.schema_readings import meter_reads, reading_day, reading_hour, reading_recent
from meterlink.records import pack_interval

METER, OTHER = 17, 18
LOG = 0xFFFF_FFF0  # a number that takes all 32 bits
START_S = 1_800_000_000 // 86_400 * 86_400


def record(seq: int, start_s: int = 0) -> bytes:
    return pack_interval(seq, start_s or START_S + seq * 900, 4_294_967_000 + 100 * seq, 7, 100, 0, 15, 0)


def put(conn: Connection, hour: int, meter: int, first: int, records: bytes, log_id: int = LOG) -> None:
    if conn.execute(reading_hour.select().where(reading_hour.c.hour == hour)).first() is None:
        conn.execute(insert(reading_hour), {"hour": hour})
    row = {"hour": hour, "meter": meter, "log_id": log_id, "first": first, "records": records}
    conn.execute(insert(reading_recent), row)


def runs(conn: Connection) -> None:
    """Two logs of a meter in three runs, out of order, and a neighbour."""
    put(conn, 5, METER, 3, record(3) + record(4))
    put(conn, 6, METER, 1, record(1) + record(2, START_S - 5))
    put(conn, 6, METER, 1, record(1, START_S + 900), log_id=1)
    put(conn, 6, OTHER, 1, record(1))
    conn.execute(insert(meter_reads), [{"meter": METER, "log_id": LOG}, {"meter": OTHER, "log_id": None}])


def packed(conn: Connection) -> None:
    """The same, the first day of that log packed."""
    runs(conn)
    conn.execute(delete(reading_recent).where(reading_recent.c.first == 3))
    row = {"meter": METER, "day": START_S // 86_400, "log_id": LOG, "first": 3, "last": 4}
    conn.execute(insert(reading_day), {**row, "packed": packing.pack(record(3) + record(4))})


@pytest.mark.parametrize("where", [runs, packed])
def test_records_in_their_orders(any_store: Store, where: Callable[[Connection], None]) -> None:
    any_store.write(where).result()

    def look(conn: Connection) -> None:
        whole = series.numbered(conn, METER, LOG, 1, 9)
        assert [one.seq for one in whole] == [1, 2, 3, 4]
        assert whole[2] == (LOG, 3, START_S + 2700, 4, 7, 100, 0, 15, 0), "registers are modulo 2^32"
        assert [one.seq for one in series.numbered(conn, METER, LOG, 2, 3)] == [2, 3]
        of_day = series.day(conn, METER, START_S // 86_400)
        assert [(one.log_id, one.seq) for one in of_day] == [(1, 1), (LOG, 1), (LOG, 3), (LOG, 4)]
        assert [one.seq for one in series.between(conn, METER, START_S + 901, START_S + 3600)] == [3]
        assert series.newest(conn, METER) == whole[3]
        assert series.newest(conn, OTHER) is None, "of no log that is known to be its own"
        assert [series.count(conn, METER, log) for log in (LOG, 1, 2)] == [4, 1, 0]
        assert series.raw(conn, METER, LOG, 2, 3) == record(2, START_S - 5) + record(3)

    any_store.read(look)
