"""The view of stored records, on both databases."""

from sqlalchemy import Connection, insert

from headend.reads import series
from headend.store import Store
from headend.store.schema_readings import reading_hour, reading_recent
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


def test_records_in_their_orders(any_store: Store) -> None:
    any_store.write(runs).result()

    def look(conn: Connection) -> None:
        whole = series.numbered(conn, METER, LOG, 1, 9)
        assert [one.seq for one in whole] == [1, 2, 3, 4]
        assert whole[2] == (LOG, 3, START_S + 2700, 4, 7, 100, 0, 15, 0), "registers are modulo 2^32"
        assert [one.seq for one in series.numbered(conn, METER, LOG, 2, 3)] == [2, 3]
        of_day = series.day(conn, METER, START_S // 86_400)
        assert [(one.log_id, one.seq) for one in of_day] == [(1, 1), (LOG, 1), (LOG, 3), (LOG, 4)]
        assert [one.seq for one in series.between(conn, METER, START_S + 901, START_S + 3600)] == [3]
        assert series.newest(conn, METER) == whole[3]
        assert series.newest(conn, 19) is None
        assert [series.count(conn, METER, log) for log in (LOG, 1, 2)] == [4, 1, 0]
        assert series.raw(conn, METER, LOG, 2, 3) == record(2, START_S - 5) + record(3)

    any_store.read(look)
