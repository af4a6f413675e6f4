"""What interval records of a measured household take once their days are packed, and how fast they are read again.

The year of `bench.household`, in one record of a hundred a power failure, for many meters with numbers and log ids of
full length. Bytes are those of the whole table with its index, on disk, as the database counts them. The peer is a
table of one row a record, keyed by meter, log and number, asked by that key through the bare driver.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from os import environ
from pathlib import Path
from typing import Any

from headend.reads import packing, series
from headend.store import Store, open_store, sql
from headend.store.schema_readings import reading_day
from meterlink.records import FLAG_POWER_FAILED, INTERVAL_FORMAT, RECORD_LENGTH, pack_interval, unpack_interval
from openprepay.bench import household, postgres
from openprepay.bench.figure import Figure, against, race, timed
from openprepay.bench.readings import PEER_TABLE
from openprepay.bench.scene import raw_sqlite

METERS = 20
FEW = 5  # of them that are asked for, and all there are where time is short
DAYS = 120
MONTH = 30
FIRST_METER = 26_000_000_000_000
LOG_ID = 0x9E3779B9
FIRST_DAY = household.START_S // 86_400
_MINE = "SELECT * FROM peer WHERE meter = {0} AND log_id = {0} AND seq BETWEEN {0} AND {0} ORDER BY seq"

Row = tuple[int, ...]
Ask = Callable[[str, tuple[int, ...]], list[Any]]  # rows of a query with values


def run(seconds: float) -> Iterator[Figure]:
    """Packing alone, then on SQLite, and on PostgreSQL where it is installed."""
    days, meters = _days(), METERS if seconds >= 1 else FEW
    yield from _packing(days, seconds / 3)
    with tempfile.TemporaryDirectory(prefix="openprepay-bench-", dir=environ.get("TMPDIR", "/var/tmp")) as name:
        folder = Path(name)
        with open_store(f"sqlite:///{folder / 'op.sqlite'}") as store, closing(raw_sqlite(folder / "peer.db")) as peer:
            _fill(store, days, meters)
            peer.execute(PEER_TABLE + " WITHOUT ROWID")
            peer.execute("BEGIN")
            peer.executemany("INSERT INTO peer VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", _rows(days, meters))
            peer.execute("COMMIT")

            def ask(query: str, values: tuple[int, ...]) -> list[Any]:
                return peer.execute(query, values).fetchall()

            size = "SELECT sum(pgsize) FROM dbstat WHERE name = '{}'"
            ours = store.read(lambda conn: conn.exec_driver_sql(size.format("reading_day")).scalar_one())
            yield _bytes("reading_bytes", ours, ask(size.format("peer"), ())[0][0], meters)
            yield from _queries(store, ask, _MINE.format("?"), "", seconds / 3)
        if postgres.programs() is not None:
            yield from _on_postgresql(folder, days, meters, seconds / 3)


def _on_postgresql(folder: Path, days: list[bytes], meters: int, seconds: float) -> Iterator[Figure]:
    import psycopg

    with postgres.serving(folder) as url, open_store(url) as store:
        _fill(store, days, meters)
        with psycopg.connect(url.replace("+psycopg", "", 1), autocommit=True) as peer:
            peer.execute(PEER_TABLE)
            with peer.cursor() as cursor, cursor.copy("COPY peer FROM STDIN") as copy:
                for row in _rows(days, meters):
                    copy.write_row(row)
            peer.execute("ANALYZE")

            def ask(query: str, values: tuple[int, ...]) -> list[Any]:
                return peer.execute(query.encode(), values).fetchall()

            ours, theirs = ask("SELECT pg_total_relation_size('reading_day'), pg_total_relation_size('peer')", ())[0]
            yield _bytes("reading_bytes_postgresql", ours, theirs, meters)
            yield from _queries(store, ask, _MINE.format("%s"), "_postgresql", seconds)


def _days() -> list[bytes]:
    """Days of records, one of a hundred of which tells of a power failure."""
    made = []
    for place, day in enumerate(household.days()[:DAYS]):
        at = place % household.DAY * RECORD_LENGTH
        fields = list(unpack_interval(day[at : at + RECORD_LENGTH]))
        fields[-1] = FLAG_POWER_FAILED
        made.append(day[:at] + pack_interval(*fields) + day[at + RECORD_LENGTH :])
    return made


def _packing(days: list[bytes], seconds: float) -> Iterator[Figure]:
    packed = [packing.pack(day) for day in days]
    records = len(days) * household.DAY
    timers = [
        lambda: [packing.pack(day) for day in days],
        lambda: [packing.unpack(one) for one in packed],
        lambda: [packing.columns(one) for one in packed],
        lambda: [list(series.decoded(LOG_ID, day)) for day in days],
    ]
    pack_s, unpack_s, columns_s, decode_s = race([timed(work) for work in timers], seconds)
    peer = f"struct.iter_unpack of the records as they are ({INTERVAL_FORMAT})"
    yield against("packed_records", records / pack_s, "records/s", peer, records / decode_s)
    yield against("unpacked_records", records / unpack_s, "records/s", peer, records / decode_s)
    yield against("unpacked_columns", records / columns_s, "records/s", peer, records / decode_s)


def _bytes(name: str, ours: int, theirs: int, meters: int) -> Figure:
    records = meters * DAYS * household.DAY
    return against(name, ours / records, "bytes an interval", "a row a record", theirs / records)


def _queries(store: Store, ask: Ask, mine: str, where: str, seconds: float) -> Iterator[Figure]:
    """A day and a month of one meter after the other."""
    for name, length in (("day", 1), ("month", MONTH)):
        asked = [(meter, day) for day in range(0, DAYS - length, 17) for meter in range(FIRST_METER, FIRST_METER + FEW)]

        def ours(length: int = length, asked: list[tuple[int, int]] = asked) -> None:
            for meter, day in asked:
                from_s = household.START_S + 86_400 * day
                assert len(store.read(series.between, meter, from_s, from_s + 86_400 * length)) == 96 * length

        def theirs(length: int = length, asked: list[tuple[int, int]] = asked) -> None:
            for meter, day in asked:
                first = 1 + 96 * day
                assert len(ask(mine, (meter, LOG_ID, first, first + 96 * length - 1))) == 96 * length

        ours_s, theirs_s = race([timed(ours), timed(theirs)], seconds / 2)
        rate = "queries/s"
        yield against(f"reading_{name}{where}", len(asked) / ours_s, rate, "a row a record", len(asked) / theirs_s)


def _fill(store: Store, days: list[bytes], meters: int) -> None:
    packed = [packing.pack(day) for day in days]
    for meter in range(FIRST_METER, FIRST_METER + meters):
        rows = [
            (meter, FIRST_DAY + place, LOG_ID, 1 + 96 * place, 96 + 96 * place, one) for place, one in enumerate(packed)
        ]
        store.write(sql.copy_in, reading_day, rows).result()


def _rows(days: list[bytes], meters: int) -> Iterator[Row]:
    records = [tuple(one) for day in days for one in series.decoded(LOG_ID, day)]
    for meter in range(FIRST_METER, FIRST_METER + meters):
        for one in records:
            yield (meter, *one)
