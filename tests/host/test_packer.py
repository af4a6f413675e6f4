"""Records move to packed days while they are read and while others come: each is there once, at any moment."""

import threading
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sqlalchemy import Connection, func, insert, select, update

from headend.collection import success
from headend.reads import packer, packing, recent, series
from headend.reads.packer import AFTER_S, DAY_S, HOUR_S, Packer, due
from headend.store import Store, checking, open_store
from headend.store.schema_books import shadow_anchor
from headend.store.schema_readings import meter_reads, reading_day, reading_hour, reading_recent
from meterlink.records import pack_interval
from tests import postgres
from tests.host import money_rig
from tests.host.books import new_place
from tests.host.books_rig import establish

METERS = (17, 18, 40)
LOG = 9
DAY = 20_000
START_S = DAY * DAY_S


def record(seq: int, start_s: int) -> bytes:
    return pack_interval(seq, start_s, 1000 + 3 * seq, 0, 3, 0, 15, 0)


def quarters(first: int, count: int) -> bytes:
    """Records of the quarters of an hour from START_S on, number 1 the first of them."""
    return b"".join(record(seq, START_S + (seq - 1) * 900) for seq in range(first, first + count))


def furnish(conn: Connection) -> None:
    conn.execute(insert(meter_reads), [{"meter": meter, "log_id": LOG} for meter in METERS])


def stored(conn: Connection) -> dict[str, int]:
    """Rows of each table."""
    tables = {"recent": reading_recent, "days": reading_day, "hours": reading_hour}
    return {name: conn.execute(select(func.count()).select_from(table)).scalar_one() for name, table in tables.items()}


def finish(store: Store, packing_: Packer, now_s: int) -> None:
    while store.write(success.count_some, now_s).result():
        pass
    while packing_.run(now_s):
        pass


class Machine(RuleBasedStateMachine):
    """Records of three meters come in any order, hours and days pass, a packer runs, is cut off and begins again."""

    def place(self) -> str:
        return new_place()

    @initialize()
    def begin(self) -> None:
        self.store = open_store(self.place(), inline=True)
        self.store.write(furnish).result()
        self.now_s = START_S + 7 * HOUR_S
        self.made: dict[tuple[int, int], bytes] = {}  # (meter, seq) -> record
        self.packer = Packer(self.store)

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()

    @rule(hours=st.sampled_from((1, 5, 20, 30)))
    def time_passes(self, hours: int) -> None:
        self.now_s += hours * HOUR_S

    @rule(
        meter=st.sampled_from(METERS),
        first=st.integers(1, 400),
        count=st.integers(1, 60),
        odd_s=st.sampled_from((0, 0, 0, 0, -40 * DAY_S, 4 * DAY_S)),
    )
    def records_come(self, meter: int, first: int, count: int, odd_s: int) -> None:
        """Those of them that are not stored yet, as whoever takes batches in sees to."""
        runs: list[recent.Run] = []
        for seq in range(first, first + count):
            if (meter, seq) in self.made:
                continue
            made = self.made[meter, seq] = record(seq, START_S + seq * 900 + odd_s)
            if runs and runs[-1][2] + len(runs[-1][3]) // 24 == seq:
                runs[-1] = *runs[-1][:3], runs[-1][3] + made
            else:
                runs.append((meter, LOG, seq, made))
        self.store.write(recent.put, self.now_s, runs).result()

    @rule()
    def all_that_is_due_is_packed(self) -> None:
        finish(self.store, self.packer, self.now_s)

    @rule(low=st.integers(0, 40), high=st.integers(0, 40))
    def some_are_packed_by_another(self, low: int, high: int) -> None:
        self.store.write(packer.pack, low, high, due(self.now_s)).result()

    @rule(tidied=st.booleans())
    def it_is_cut_off(self, tidied: bool) -> None:
        """With all of a transaction done but its COMMIT; then it begins anew."""

        def cut_off(conn: Connection) -> None:
            packer.pack(conn, 0, 99, due(self.now_s))
            if tidied:
                packer.tidy(conn, self.now_s // HOUR_S)
            raise InterruptedError

        with pytest.raises(InterruptedError):
            self.store.write(cut_off).result()
        self.packer = Packer(self.store)

    @rule()
    def its_day_is_moved_by_hand(self) -> None:
        """A pass that this process has done already is asked for again."""
        self.packer = Packer(self.store)

    @invariant()
    def each_record_is_there_once(self) -> None:
        if hasattr(self, "store"):
            self.store.read(self._look)

    def _look(self, conn: Connection) -> None:
        for meter in METERS:
            expected = [self.made[key] for key in sorted(self.made) if key[0] == meter]
            assert series.raw(conn, meter, LOG, 0, series.LAST_SEQ) == b"".join(expected)
            assert series.count(conn, meter, LOG) == len(expected)
            readings = [one for run in expected for one in series.decoded(LOG, run)]
            assert series.numbered(conn, meter, LOG, 0, series.LAST_SEQ) == readings
            by_start = sorted(readings, key=lambda one: (one.start_s, one.seq))
            assert series.between(conn, meter, 0, 1 << 32) == by_start
            today = [one for one in by_start if one.start_s // DAY_S == DAY + 1]
            assert series.day(conn, meter, DAY + 1) == today
            newest = series.newest(conn, meter)
            assert newest == (readings[-1] if readings else None)


class OnPostgresql(Machine):
    def place(self) -> str:
        return postgres.server().database()


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=8, stateful_step_count=20, deadline=None)
TestMachineOnPostgresql = OnPostgresql.TestCase
TestMachineOnPostgresql.settings = settings(max_examples=2, stateful_step_count=15, deadline=None)


def test_a_day_is_packed_in_one_row_once_it_is_over_for_long_enough(any_store: Store) -> None:
    any_store.write(furnish).result()
    for seq in range(1, 193):  # as they are said live: the last of a day arrives in the next one
        any_store.write(recent.put, START_S + seq * 900, [(17, LOG, seq, quarters(seq, 1))]).result()
    early, packing_ = START_S + DAY_S + AFTER_S - 1, Packer(any_store)
    finish(any_store, packing_, early)
    assert packing_.packed == 0
    finish(any_store, packing_, early + 1)
    assert packing_.packed == 96
    assert any_store.read(stored)["days"] == 1
    row = any_store.read(lambda conn: conn.execute(select(reading_day)).one())
    assert (row.meter, row.day, row.log_id, row.first, row.last) == (17, DAY, LOG, 1, 96)
    assert packing.unpack(row.packed) == quarters(1, 96)
    finish(any_store, packing_, early + 1 + DAY_S)
    assert any_store.read(stored)["recent"] == 0
    assert packing_.packed == 192


def test_late_records_join_their_day(any_store: Store) -> None:
    any_store.write(furnish).result()
    any_store.write(recent.put, START_S + DAY_S, [(17, LOG, 1, quarters(1, 40)), (17, LOG, 61, quarters(61, 36))])
    finish(any_store, Packer(any_store), START_S + DAY_S + AFTER_S)
    late_s = START_S + 5 * DAY_S
    any_store.write(recent.put, late_s, [(17, LOG, 41, quarters(41, 20))]).result()
    finish(any_store, Packer(any_store), late_s + DAY_S + AFTER_S)
    assert any_store.read(stored)["recent"] == 0
    row = any_store.read(lambda conn: conn.execute(select(reading_day)).one())
    assert packing.unpack(row.packed) == quarters(1, 96)


def test_what_stands_for_days_to_come_is_packed_too(any_store: Store) -> None:
    any_store.write(furnish).result()
    wrong = record(7, 0xFFFFFF00)
    any_store.write(recent.put, START_S, [(17, LOG, 7, wrong)]).result()
    packing_ = Packer(any_store)
    finish(any_store, packing_, START_S + DAY_S + AFTER_S)
    assert packing_.packed == 0
    finish(any_store, packing_, START_S + 3 * DAY_S + AFTER_S)
    assert any_store.read(stored)["recent"] == 0
    assert any_store.read(lambda conn: series.raw(conn, 17, LOG, 7, 7)) == wrong


def test_more_records_than_a_row_takes_are_several(any_store: Store) -> None:
    any_store.write(furnish).result()
    count = packing.MAX_RECORDS + 5
    same_day = b"".join(record(seq, START_S + seq % DAY_S) for seq in range(1, count + 1))  # a clock that jumped back
    any_store.write(recent.put, START_S, [(17, LOG, 1, same_day)]).result()
    finish(any_store, Packer(any_store), START_S + DAY_S + AFTER_S)
    assert any_store.read(stored)["days"] == 2
    assert any_store.read(lambda conn: series.raw(conn, 17, LOG, 0, series.LAST_SEQ)) == same_day


def test_hours_without_rows_are_forgotten_and_forgotten_ones_found(any_store: Store) -> None:
    any_store.write(furnish).result()
    any_store.write(recent.put, START_S, [(17, LOG, 1, quarters(1, 1))]).result()
    finish(any_store, Packer(any_store), START_S + DAY_S + AFTER_S)
    assert any_store.read(stored) == {"recent": 0, "days": 1, "hours": 0}
    hour = START_S // HOUR_S
    row = {"hour": hour, "meter": 17, "log_id": LOG, "first": 2, "records": quarters(2, 1)}
    any_store.write(lambda conn: conn.execute(insert(reading_recent), row)).result()
    any_store.write(packer.tidy, hour + 100).result()
    assert any_store.read(lambda conn: series.count(conn, 17, LOG)) == 2


def test_a_damaged_day_stops_nothing(any_store: Store) -> None:
    any_store.write(furnish).result()
    any_store.write(recent.put, START_S, [(17, LOG, 1, quarters(1, 4)), (18, LOG, 1, quarters(1, 4))]).result()
    finish(any_store, Packer(any_store), START_S + DAY_S + AFTER_S)

    def damage(conn: Connection) -> None:
        conn.execute(update(reading_day).where(reading_day.c.meter == 17).values(packed=b"\x01\x00\x04damaged"))
        recent.put(conn, START_S, [(17, LOG, 5, quarters(5, 4)), (18, LOG, 5, quarters(5, 4))])

    any_store.write(damage).result()
    finish(any_store, Packer(any_store), START_S + DAY_S + AFTER_S)
    assert any_store.read(stored) == {"recent": 0, "days": 3, "hours": 0}
    assert any_store.read(lambda conn: series.raw(conn, 18, LOG, 1, 8)) == quarters(1, 8)
    with pytest.raises(packing.Damaged):
        any_store.read(series.day, 17, DAY)
    told = any_store.read(lambda conn: list(checking.problems(conn)))
    assert [sentence.split(":")[0] for sentence in told] == [
        f"Readings of meter 17 on day {DAY} since 1970 cannot be read"
    ]


def test_readers_and_writers_beside_it(any_store_url: str) -> None:
    """On PostgreSQL all three run at once; whoever looks sees what was stored before, and each record once.

    Records come without the lock of their meter, which is harder than what happens.
    """
    known, problems = [0], []
    over = threading.Event()
    with open_store(any_store_url) as store:
        store.write(furnish).result()

        def look() -> None:
            while not over.is_set():
                least = known[0]
                raw: Any = store.read(series.raw, 17, LOG, 0, series.LAST_SEQ)
                readings = store.read(series.between, 17, 0, 1 << 32)
                seqs = [one.seq for one in readings]
                whole = raw[: least * 24] == quarters(1, least) and seqs[:least] == list(range(1, least + 1))
                if not whole or len(set(seqs)) < len(seqs):
                    problems.append((least, len(raw) // 24, seqs))

        reader = threading.Thread(target=look)
        reader.start()
        packing_ = Packer(store)
        for day in range(8):
            runs = [(17, LOG, day * 96 + at, quarters(day * 96 + at, 8)) for at in range(1, 97, 8)]
            futures = [store.write(recent.put, START_S + (day + 1) * DAY_S, [run]) for run in runs]
            finish(store, packing_, START_S + (day + 1) * DAY_S + AFTER_S)
            for future in futures:
                future.result()
            known[0] = (day + 1) * 96
        over.set()
        reader.join()
        assert not problems
        assert packing_.packed >= 6 * 96


def test_packed_days_are_kept_as_long_as_the_policy_says_and_longer_where_something_is_open(any_store: Store) -> None:
    establish(any_store, meters=(17, 18))
    held, priced, gone = 17, 18, 40
    numbers = held, priced, gone

    def begin(conn: Connection) -> None:
        conn.execute(insert(meter_reads), {"meter": gone, "log_id": LOG})
        for meter in numbers:
            recent.put(conn, START_S, [(meter, LOG, 1, quarters(1, 5 * 96)), (meter, LOG, 481, record(481, 900))])
        anchor = {"report": b"", "tariff": b"", "step_wh": 0, "from_s": START_S + 2 * DAY_S + 5, "next_s": 0}
        conn.execute(insert(shadow_anchor), {"meter": priced, **anchor})

    any_store.write(begin).result()
    money_rig.bill(any_store, "b", 1_000_000, due_days=20, meter=held)
    now_s = START_S + 4 * DAY_S + 100 * DAY_S
    finish(any_store, Packer(any_store, kept_days=100), now_s)

    def days(conn: Connection, meter: int) -> list[int]:
        return sorted({one.start_s // DAY_S - DAY for one in series.every(conn, meter)})

    wrong = -DAY  # its clock was wrong; it is as young as what was recorded before it
    assert any_store.read(days, held) == [wrong, 0, 1, 2, 3, 4]
    assert any_store.read(days, priced) == [wrong, 2, 3, 4]
    assert any_store.read(days, gone) == [wrong, 4]
    finish(any_store, Packer(any_store, kept_days=100), now_s + 20 * DAY_S)
    assert any_store.read(days, gone) == []
