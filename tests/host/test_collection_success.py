"""Read success: what is counted as it comes equals a count from the records, whatever came late, twice or never."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, delete, insert, select, update

from headend.collection import follow, lines, success
from headend.collection.follow import Follower
from headend.collection.line_counts import Counts, Times
from headend.collection.repeats import Repeats
from headend.fleet.meters import add_meter
from headend.ledger import zone
from headend.links.quality import Quality
from headend.reads import recent, series
from headend.reads.packer import Packer
from headend.store import Store
from headend.store.schema import lost_range, meter
from headend.store.schema_collection import line_quality, read_counted, read_success
from headend.store.schema_fleet import meter_life
from headend.store.schema_readings import reading_hour, reading_recent
from meterlink import topics
from meterlink.batches import KIND_INTERVALS
from meterlink.records import pack_interval
from tests.host.books import METER, NOW_S, open_books, record
from tests.host.peer import Bench

HOUR_S = 3600
DAY_S = 86_400
PLACES = {1: ("north/f-1", "mqtt"), 2: ("north/f-1", "mqtt"), 3: ("north/f-2", "mqtt"), 4: ("", "mqtt")}


def found(store: Store) -> dict[success.Key, tuple[int, int]]:
    """(day, area, carrier) -> (in time, late), as counted while it came."""
    query = select(read_success).where(read_success.c.in_time + read_success.c.late > 0)
    return store.read(
        lambda conn: {(row.day, row.area, row.carrier): (row.in_time, row.late) for row in conn.execute(query)}
    )


def recounted(store: Store) -> dict[success.Key, tuple[int, int]]:
    """The same from the records that are stored, by the definition."""

    def count(conn: Connection) -> dict[success.Key, tuple[int, int]]:
        where = zone.of(conn)
        in_time: Counter[success.Key] = Counter()
        late: Counter[success.Key] = Counter()
        for row in conn.execute(
            select(reading_recent, meter.c.area).join(meter, meter.c.meter == reading_recent.c.meter)
        ):
            for at in range(0, len(row.records), 24):
                start_s = int.from_bytes(row.records[at + 4 : at + 8], "big")
                day = zone.day_of(where, start_s)
                deadline_s = zone.start_s(where, day + 1) + 6 * HOUR_S
                (in_time if (row.hour + 1) * HOUR_S <= deadline_s else late)[day, row.area, "mqtt"] += 1
        return {key: (in_time[key], late[key]) for key in in_time.keys() | late.keys()}

    return store.read(count)


def fleet(store: Store, name: str = "UTC") -> None:
    store.write(zone.put, NOW_S, name, "operator:ann").result()
    for number, (area, _) in PLACES.items():
        store.write(add_meter, NOW_S - 30 * DAY_S, record(number)).result()
        store.write(
            lambda conn, n=number, a=area: conn.execute(update(meter).where(meter.c.meter == n).values(area=a))
        ).result()


def count_all(store: Store, now_s: int, rows: int) -> None:
    while store.write(success.count_some, now_s, rows).result():
        pass


arrivals = st.lists(
    st.tuples(
        st.sampled_from(sorted(PLACES)),
        st.integers(0, 72),  # hours after NOW_S in which it comes
        st.integers(-300, 50),  # quarters of an hour between that and the begin of its first period
        st.integers(1, 40),
    ),
    max_size=25,
)


@pytest.mark.parametrize("name", ["UTC", "Asia/Kolkata", "America/St_Johns"])
def test_what_is_counted_as_it_comes_equals_a_count_from_the_records(name: str) -> None:
    store = open_books(meters=())
    fleet(store, name)

    @settings(max_examples=12, deadline=None)
    @given(came=arrivals, rows=st.sampled_from([1, 3, 2000]), steps=st.lists(st.integers(0, 80), max_size=4))
    def counted(came: list[tuple[int, int, int, int]], rows: int, steps: list[int]) -> None:
        for table in (reading_recent, reading_hour, read_counted, read_success):
            store.write(lambda conn, one=table: conn.execute(delete(one))).result()
        seqs: Counter[int] = Counter()
        pending = sorted(came, key=lambda one: one[1])
        for hour in sorted([*steps, 100]):
            while pending and pending[0][1] <= hour:
                number, at, quarter, length = pending.pop(0)
                first, begin_s = seqs[number] + 1, NOW_S + at * HOUR_S + 900 * quarter
                seqs[number] += length
                run = [pack_interval(first + n, begin_s + 900 * n, 0, 0, 1, 0, 15, 0) for n in range(length)]
                store.write(
                    recent.put, NOW_S + at * HOUR_S + 120, [(number, 7, first, b"".join(map(bytes, run)))]
                ).result()
            count_all(store, NOW_S + (hour + 1 if hour < 100 else 110) * HOUR_S, rows)
        assert found(store) == recounted(store)

    counted()
    store.close()


def test_a_day_of_one_meter(any_store: Store) -> None:
    fleet(any_store)
    day = zone.day_of(any_store.read(zone.of), NOW_S)
    start_s = day * DAY_S
    full = [pack_interval(n + 1, start_s + 900 * n, 0, 0, 1, 0, 15, 0) for n in range(96)]
    any_store.write(recent.put, start_s + DAY_S + 600, [(1, 7, 1, b"".join(map(bytes, full[:90])))]).result()
    any_store.write(recent.put, start_s + DAY_S + 7 * HOUR_S, [(1, 7, 91, b"".join(map(bytes, full[90:])))]).result()
    follower = Follower(any_store)
    now_s = start_s + DAY_S + 9 * HOUR_S
    while follower.run(now_s):
        pass
    (row,) = any_store.read(
        lambda conn: conn.execute(
            select(read_success).where(read_success.c.day == day, read_success.c.area == "north/f-1")
        ).all()
    )
    assert (row.meters, row.expected, row.in_time, row.late, row.lost, row.whole) == (2, 192, 90, 6, 0, 0)
    before = found(any_store)
    for _ in range(3):
        follower.run(now_s + 60)
    assert found(any_store) == before, "each is counted once"


def test_what_was_added_during_a_day_is_expected_from_then_on(any_store: Store) -> None:
    fleet(any_store)
    day = zone.day_of(any_store.read(zone.of), NOW_S)
    any_store.write(add_meter, (day + 1) * DAY_S - 2 * HOUR_S, record(9, interval_minutes=30)).result()
    (row,) = [one for one in any_store.read(success.look, NOW_S, day) if one["area"] == ""]
    assert (row["meters"], row["expected"]) == (2, 96 + 4)
    retired = update(meter_life).where(meter_life.c.meter == 9).values(state="retired")
    any_store.write(lambda conn: conn.execute(retired)).result()
    (row,) = [one for one in any_store.read(success.look, NOW_S, day) if one["area"] == ""]
    assert row["meters"] == 1, "what is retired is not expected to say anything"


def whole_of(bench: Bench, day: int) -> tuple[int, int | None]:
    Follower(bench.store).look(bench.clock.now_s())
    query = select(read_success).where(read_success.c.day == day)
    row = bench.store.read(lambda conn: conn.execute(query).one())
    return row.whole, row.whole_in_time


def test_a_day_is_whole_by_counting_and_not_before(bench: Bench) -> None:
    day = NOW_S // DAY_S
    bench.peer.record(64)
    bench.clock.advance((day + 1) * DAY_S + 300 - NOW_S)
    bench.up(topics.UP_REPORT, bench.peer.report())
    bench.up(topics.UP_INTERVALS, bench.peer.batch(1, 40))
    assert whole_of(bench, day) == (0, 0)
    bench.up(topics.UP_INTERVALS, bench.peer.batch(41, 23))
    assert whole_of(bench, day) == (0, 0), "one is missing still"
    bench.clock.advance(6 * HOUR_S)
    assert whole_of(bench, day) == (0, 0)
    bench.up(topics.UP_INTERVALS, bench.peer.batch(64, 1))
    assert whole_of(bench, day) == (1, 0), "whole, but not in time"
    records = bench.store.read(series.between, METER, day * DAY_S, (day + 1) * DAY_S)
    assert len(records) == 64 - 1, "the last period began on the next day"
    bench.up(topics.UP_INTERVALS, bench.peer.batch(1, 40))
    assert whole_of(bench, day) == (1, 0)


def test_what_came_again_and_what_is_lost_is_counted(bench: Bench) -> None:
    day = NOW_S // DAY_S
    bench.peer.record(30)
    for _ in range(3):
        bench.up(topics.UP_INTERVALS, bench.peer.batch(1, 20))
    lost = {
        "meter": METER,
        "log_id": 7,
        "kind": KIND_INTERVALS,
        "first": 25,
        "last": 30,
        "declared_s": NOW_S,
        "why": ".",
    }
    bench.store.write(lambda conn: conn.execute(insert(lost_range).values(lost))).result()
    follow.flush(bench.store, bench.engine.repeats, [], NOW_S)
    Follower(bench.store).look(NOW_S)
    row = bench.store.read(lambda conn: conn.execute(select(read_success).where(read_success.c.day == day)).one())
    assert (row.repeated, row.lost) == (40, 6)
    follow.flush(bench.store, bench.engine.repeats, [], NOW_S)
    row = bench.store.read(lambda conn: conn.execute(select(read_success).where(read_success.c.day == day)).one())
    assert row.repeated == 40


# --- lines ------------------------------------------------------------------------------------------------------------


def test_what_lines_are_like_is_added_up_by_day_and_unit(any_store: Store) -> None:
    quality = Quality()
    for took_s in (0.004, 0.004, 0.3):
        quality.sent("tcp://a:1", 1)
        quality.answered("tcp://a:1", 1, took_s)
    quality.sent("tcp://a:1", 2)
    quality.failed("tcp://a:1", 2, "silent")
    for _ in range(2):
        follow.flush(any_store, Repeats(), [quality], NOW_S)
    quality.sent("tcp://a:1", 2)
    quality.late("tcp://a:1", 2)
    follow.flush(any_store, Repeats(), [quality], NOW_S)
    day = NOW_S // DAY_S
    counted = any_store.read(lines.quality, day, day)
    assert {key: (one.sent, one.answered, one.silent, one.late) for key, one in counted.items()} == {
        ("tcp://a:1", 1): (3, 3, 0, 0),
        ("tcp://a:1", 2): (2, 0, 1, 1),
    }
    together = lines.by_line(counted)["tcp://a:1"]
    assert (together.sent, together.times.quantile_ms(50), together.times.quantile_ms(99)) == (5, 4, 363)


def test_counts_that_could_not_be_stored_are_kept(any_store: Store) -> None:
    quality = Quality()
    quality.sent("tcp://a:1", 1)
    any_store.write(lambda conn: conn.exec_driver_sql("ALTER TABLE line_quality RENAME TO elsewhere")).result()
    with pytest.raises(Exception, match="line_quality"):
        follow.flush(any_store, Repeats(), [quality], NOW_S)
    any_store.write(lambda conn: conn.exec_driver_sql("ALTER TABLE elsewhere RENAME TO line_quality")).result()
    follow.flush(any_store, Repeats(), [quality], NOW_S)
    assert any_store.read(lambda conn: conn.execute(select(line_quality.c.sent)).scalars().all()) == [1]


@given(st.lists(st.integers(0, 20_000_000), min_size=1), st.integers(1, 100))
def test_a_quantile_is_right_within_its_bucket(times_us: list[int], percent: int) -> None:
    one, other = Times(), Times()
    for at, time_us in enumerate(times_us):
        (one if at % 2 else other).add(time_us)
    one.add_all(other)
    found_ms = Times(one.packed()).quantile_ms(percent)
    exact_us = sorted(times_us)[-(-len(times_us) * percent // 100) - 1]
    assert found_ms is not None
    assert min(exact_us, 16_000_000) <= found_ms * 1000 + 1000
    assert found_ms <= max(exact_us * 1.43 / 1000 + 2, 2)
    assert Times().quantile_ms(50) is None
    counts = Counts()
    counts.add_all(Counts(sent=2))
    assert counts.sent == 2


def test_a_day_is_packed_only_behind_its_count(any_store: Store) -> None:
    """What is packed before is never counted; however long counting was away, nothing is lost to it."""
    fleet(any_store)
    start_s = NOW_S // DAY_S * DAY_S
    full = b"".join(pack_interval(n + 1, start_s + 900 * n, 0, 0, 1, 0, 15, 0) for n in range(96))
    any_store.write(recent.put, start_s + DAY_S, [(number, 7, 1, full) for number in PLACES]).result()
    packing, now_s = Packer(any_store), start_s + 4 * DAY_S
    assert not packing.run(now_s)
    assert (packing.packed, any_store.read(success.behind_s, now_s)) == (0, 3 * DAY_S - HOUR_S - success.SETTLE_S)
    counted = recounted(any_store)
    count_all(any_store, now_s, 2)
    assert any_store.read(success.behind_s, now_s) == 0
    while packing.run(now_s):
        pass
    assert packing.packed == 4 * 96
    assert found(any_store) == counted


def test_where_nothing_came_nothing_is_waited_for(any_store: Store) -> None:
    assert any_store.read(success.behind_s, NOW_S) == 0
    any_store.write(success.count_some, NOW_S).result()
    assert any_store.read(success.behind_s, NOW_S + 10 * DAY_S) == 0
