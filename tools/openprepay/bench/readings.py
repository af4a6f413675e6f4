"""A database that already holds ten million interval records of fifty thousand meters, and what the meters say next.

Filled straight into its tables; all meters have used the same, so that the records of one are those of all, but for the
seals of their batches.
"""

import sys
from array import array
from collections.abc import Iterator

from sqlalchemy import Connection, insert, select

from headend.fleet.meters import MeterRecord, add_meter
from headend.keys.keystore import KeyStore
from headend.reads import crc
from headend.store import Store, sql
from headend.store.schema import meter, meter_state, meter_trust
from headend.store.schema_readings import meter_reads, reading_hour, reading_recent
from meterlink import batches
from meterlink.records import RECORD_LENGTH
from meterlink.reports import NO_NONCE
from metersim.workbench import DEFAULT_LIMITS, DEFAULT_TARIFF
from openprepay.bench.scene import LOG_ID, NOW_S

METERS = 50_000
HELD = 200  # records of each
SLOTS = 96  # of a day's profile
PERIOD_S = 900
USED_WH = 137

PEER_TABLE = (
    "CREATE TABLE peer (meter BIGINT NOT NULL, log_id BIGINT NOT NULL, seq BIGINT NOT NULL, start_s BIGINT NOT NULL,"
    " import_reg_wh BIGINT NOT NULL, export_reg_wh BIGINT NOT NULL, import_wh INTEGER NOT NULL,"
    " export_wh INTEGER NOT NULL, minutes INTEGER NOT NULL, flags INTEGER NOT NULL, PRIMARY KEY (meter, log_id, seq))"
)
_NUMBERS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < {})"
_PEER_ROWS = (
    f"INSERT INTO peer SELECT m.x, {LOG_ID}, s.x, {NOW_S} - {PERIOD_S} * (1000000 - s.x), {USED_WH} * s.x, 0,"
    f" {USED_WH}, 0, 15, 0 FROM"
)

Row = tuple[int, ...]
Message = tuple[int, bytes]  # a meter's number and its batch


def numbered(first: int, count: int, zero_s: int = NOW_S - PERIOD_S * 1_000_000) -> bytes:
    """The records `first`, `first + 1`, … that any of the meters makes; `zero_s`: when the period of number 0 began."""
    words = array("I", bytes(count * RECORD_LENGTH))
    words[0::6] = array("I", range(first, first + count))
    words[1::6] = array("I", [zero_s + PERIOD_S * seq for seq in range(first, first + count)])
    words[2::6] = array("I", [USED_WH * seq for seq in range(first, first + count)])
    words[4::6] = array("I", [USED_WH << 16]) * count
    words[5::6] = array("I", [15 << 24]) * count
    if sys.byteorder == "little":
        words.byteswap()
    return crc.sealed(words.tobytes())


def rows(meter_number: int, first: int, count: int) -> list[Row]:
    """The same as rows of the peer's table."""
    return [
        (meter_number, LOG_ID, seq, NOW_S - PERIOD_S * (1_000_000 - seq), USED_WH * seq, 0, USED_WH, 0, 15, 0)
        for seq in range(first, first + count)
    ]


def sealed(keys: KeyStore, number: int, first: int, records: bytes, now_s: int = NOW_S) -> Message:
    """A batch of these records, as the meter sends it at `now_s`."""
    count = len(records) // RECORD_LENGTH
    head = batches.pack_head(batches.KIND_INTERVALS, number, 1, 1, first, now_s, LOG_ID, NO_NONCE, first, count)
    return number, head + records + batches.mac(head, records, keys.mac_key(number, 1))


def fill(store: Store, meters: int = METERS) -> None:
    """Put the meters with their records into a database that knows none."""
    store.write(_meters, meters).result()
    hour = NOW_S // 3600 - 100
    for first in range(1, HELD + 1, SLOTS):
        run = numbered(first, min(SLOTS, HELD + 1 - first))
        store.write(lambda conn, at: conn.execute(insert(reading_hour), {"hour": at}), hour).result()
        for low in range(1, meters + 1, 5_000):
            some = range(low, min(low + 5_000, meters + 1))
            held = [(hour, number, LOG_ID, first, run) for number in some]
            store.write(sql.copy_in, reading_recent, held).result()
        hour += 24


def _meters(conn: Connection, meters: int) -> None:
    """One as it is added, and copies of it."""
    add_meter(conn, NOW_S, MeterRecord(1, "mqtt", "", tariff=DEFAULT_TARIFF.encode(), limits=DEFAULT_LIMITS.encode()))
    for table in (meter, meter_state, meter_trust, meter_reads):
        model = tuple(conn.execute(select(table)).one())
        sql.copy_in(conn, table, [(number, *model[1:]) for number in range(2, meters + 1)])
    reach = {"log_id": LOG_ID, "interval_whole_to": HELD, "interval_newest": HELD, "interval_oldest": 1}
    conn.execute(meter_reads.update().values(reach))


def peer_statements(dialect: str, meters: int = METERS) -> Iterator[str]:
    """What makes the peer's table, with as many rows."""
    if dialect == "postgresql":
        yield PEER_TABLE
        yield f"{_PEER_ROWS} generate_series(1, {meters}) m(x), generate_series(1, {HELD}) s(x)"
    else:
        yield PEER_TABLE + " WITHOUT ROWID"
        m, s = (f"({_NUMBERS.format(number)} SELECT x FROM n)" for number in (meters, HELD))  # noqa: S608
        yield f"{_PEER_ROWS} {m} m CROSS JOIN {s} s"
