"""The step from a row a record to runs of records, and back: no record is lost, and cursors and holes stay right."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, TableClause, column, insert, select, table, update

from headend.collection import success
from headend.reads import logs, recent, series
from headend.reads.packer import Packer
from headend.store import Store, migrate
from headend.store.schema import lost_range
from headend.store.schema_readings import meter_reads, reading_day, reading_island
from meterlink.batches import KIND_INTERVALS
from meterlink.records import pack_interval
from tests.host.books import METER, NOW_S, open_books

OTHER = 18
DAY_S = 86_400
LOGS = (7, 0xFFFF_FFFF)
COLUMNS = "meter log_id seq start_s import_reg_wh export_reg_wh import_wh export_wh minutes flags".split()


def rows_of(name: str, columns: Sequence[str]) -> TableClause:
    """A table as it was before the step."""
    return table(name, *map(column, columns))


INTERVAL = rows_of("interval", COLUMNS)
STATE = rows_of("meter_state", ("meter", "log_id", "interval_whole_to", "interval_newest", "event_newest"))


def records(first: int, last: int, day: int = 0) -> bytes:
    made = range(first, last + 1)
    return b"".join(
        pack_interval(seq, NOW_S + day * DAY_S + seq, 2**32 - seq, 3, 65535, 0, 15, seq & 3) for seq in made
    )


def furnish(conn: Connection) -> None:
    """A log that is whole to 100 with 5 records lost, and two runs behind that; a former log; another meter."""
    recent.put(conn, NOW_S, [(METER, 7, 1, records(1, 50))])
    recent.put(conn, NOW_S - 8 * DAY_S, [(METER, 7, 56, records(56, 100, -9))])
    recent.put(conn, NOW_S + 7200, [(METER, 7, 103, records(103, 103)), (METER, 7, 110, records(110, 150))])
    recent.put(conn, NOW_S, [(METER, LOGS[1], 4, records(4, 9)), (OTHER, 7, 1, records(1, 1))])
    reach = {"log_id": 7, "interval_whole_to": 100, "interval_newest": 160, "interval_oldest": 20, "event_newest": 4}
    conn.execute(update(meter_reads).where(meter_reads.c.meter == METER).values(reach))
    only = {"log_id": 7, "interval_whole_to": 1, "interval_newest": 1}
    conn.execute(update(meter_reads).where(meter_reads.c.meter == OTHER).values(only))
    for log_id, first, last in ((7, 103, 103), (7, 110, 150), (LOGS[1], 4, 9)):
        conn.execute(insert(reading_island).values(meter=METER, log_id=log_id, first=first, last=last))
    told = {"meter": METER, "log_id": 7, "kind": KIND_INTERVALS, "declared_s": NOW_S, "why": "gone"}
    conn.execute(insert(lost_range).values(**told, first=51, last=55))


def state(conn: Connection) -> dict[str, Any]:
    """All of it but where the records lie."""
    tables = {one.name: one for one in (meter_reads, reading_island, lost_range)}
    found: dict[str, Any] = {name: sorted(map(tuple, conn.execute(select(one)))) for name, one in tables.items()}
    spans = [(meter, log_id) for meter in (METER, OTHER) for log_id in LOGS]
    return found | {str(span): series.raw(conn, *span, 1, 1 << 31) for span in spans}


def test_records_go_there_and_back(any_store_url: str) -> None:
    with open_books(any_store_url, (METER, OTHER), inline=True) as store:
        store.write(furnish).result()
        before = store.read(state)
        while store.write(success.count_some, NOW_S).result():
            pass
        packer = Packer(store)
        while packer.run(NOW_S):
            pass
        assert store.read(lambda conn: conn.execute(select(reading_day.c.meter)).all()), "some are packed"
        migrate.downgrade(store.port, "0012")
        rows = store.read(lambda conn: conn.execute(select(INTERVAL).order_by(*list(INTERVAL.c)[:3])).all())
        assert len(rows) == 50 + 45 + 1 + 41 + 6 + 1
        assert tuple(rows[1]) == (METER, 7, 2, NOW_S + 2, 2**32 - 2, 3, 65535, 0, 15, 2)
        reach = store.read(lambda conn: conn.execute(select(STATE).order_by(STATE.c.meter)).all())
        assert reach == [(METER, 7, 100, 160, 4), (OTHER, 7, 1, 1, 0)]
        migrate.upgrade(store.port)
        assert store.read(state) == before


def test_what_was_listed_as_lost_and_had_turned_up_is_listed_no_more(any_store: Store) -> None:
    migrate.downgrade(any_store.port, "0012")

    def old(conn: Connection) -> None:
        made = {"account_epoch": 1, "tag_key_version": 1, "carrier": "mqtt", "address": "", "interval_minutes": 15}
        made |= {"meter": METER, "tariff": b"", "limits": b"", "added_s": 0}
        conn.execute(insert(rows_of("meter", list(made))).values(made))
        conn.execute(insert(STATE).values(meter=METER, log_id=7, interval_whole_to=9))
        row = METER, 7, 5, NOW_S, 5, 0, 1, 0, 15, 0
        conn.execute(insert(INTERVAL).values(dict(zip(COLUMNS, row, strict=True))))
        told = {"meter": METER, "log_id": 7, "kind": KIND_INTERVALS, "declared_s": NOW_S, "why": "gone"}
        conn.execute(insert(lost_range).values(**told, first=1, last=9))

    any_store.write(old).result()
    migrate.upgrade(any_store.port)
    log = logs.LOGS[KIND_INTERVALS]
    assert any_store.read(logs.lost, METER, 7, log, 0) == [(1, 4), (6, 9)]
    assert any_store.read(logs.above, METER, 7, log, 0) == []
