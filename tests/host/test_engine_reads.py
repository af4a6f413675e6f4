"""Records: stored exactly once whatever the way does to them, fetched where they are missing, counted from the rows."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from headend.engine import Ack, Action, Ask, Policy
from headend.orders import statements
from headend.reads import completeness, cursors, gaps, logs, series
from headend.store import UnknownMeter
from headend.store.schema import lost_range, meter_event
from meterlink import batches, records, reports, topics
from meterlink.orders import ASPECT_SUPPLY
from tests.host.books import METER, NOW_S
from tests.host.peer import Bench, Deliver

FEW = Policy(gap_s=30)


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench(policy=FEW)
    yield made
    made.close()


def stored(bench: Bench) -> list[int]:
    return sorted(one.seq for one in bench.store.read(series.between, METER, 0, 1 << 32))


def lost(bench: Bench) -> list[tuple[int, int, int, str]]:
    columns = lost_range.c.log_id, lost_range.c.first, lost_range.c.last, lost_range.c.why
    return bench.store.read(lambda conn: [tuple(row) for row in conn.execute(select(*columns))])


def count(bench: Bench) -> completeness.Completeness:
    return bench.store.read(completeness.completeness, METER)


def missing(bench: Bench) -> list[logs.Range]:
    return bench.store.read(gaps.missing, METER)


def acks(actions: list[Action], bench: Bench) -> list[int]:
    return [batches.read_ack(one.raw, METER, bench.peer.key)[2] for one in actions if isinstance(one, Ack)]


def asked(actions: list[Action]) -> list[tuple[int, int]]:
    """(first, count) of the questions for intervals."""
    read = [batches.read_ask(one.raw) for one in actions if isinstance(one, Ask)]
    return [(first, number) for kind, _, _, _, first, number in read if kind == batches.KIND_INTERVALS]


def push(bench: Bench, first: int, number: int = 40) -> list[Action]:
    return bench.up(topics.UP_INTERVALS, bench.peer.batch(first, number))


def answering(bench: Bench) -> list[Action]:
    """Let half an hour pass in which the meter answers every question; the acknowledgements that it was sent."""
    sent: list[Action] = []

    def carry(action: Action) -> list[Action]:
        assert not isinstance(action, Deliver)
        if isinstance(action, Ask):
            return bench.answers(action)
        sent.append(action)
        return []

    bench.run(1800, carry)
    return sent


def test_a_pushed_batch_is_stored_decoded_and_acknowledged(bench: Bench) -> None:
    bench.peer.record(3)
    assert acks(push(bench, 1), bench) == [3]
    assert bench.store.read(series.numbered, METER, 7, 2, 2) == [(7, 2, NOW_S + 1800, 200, 0, 100, 0, 15, 0)]
    assert bench.store.read(series.raw, METER, 7, 1, 3) == b"".join(bench.peer.intervals.values())


def test_the_same_batch_again_stores_nothing_and_is_acknowledged_again(bench: Bench) -> None:
    bench.peer.record(3)
    push(bench, 1)
    assert acks(push(bench, 1), bench) == [3], "the first acknowledgement may have been lost"
    assert (stored(bench), bench.counts["repeated"]) == ([1, 2, 3], 1)


def test_an_acknowledgement_never_goes_beyond_a_gap(bench: Bench) -> None:
    bench.peer.record(9)
    assert acks(push(bench, 1, 2), bench) == [2]
    actions = push(bench, 5, 2)
    assert acks(actions, bench) == [2]
    assert asked(actions) == [(3, 4)], "what is missing is asked for at once"
    assert (missing(bench), bench.reads().interval_newest) == ([(3, 4)], 6)
    assert acks(push(bench, 3, 2), bench) == [6]
    assert missing(bench) == []


def test_a_batch_behind_a_gap_that_comes_again_is_not_answered(bench: Bench) -> None:
    """After every acknowledgement the meter says at once what is left: the two would never fall silent."""
    bench.peer.record(30)
    push(bench, 1, 10)
    assert acks(push(bench, 21, 10), bench) == [10]
    assert acks(push(bench, 21, 10), bench) == []


def test_a_report_that_tells_of_more_leads_to_questions_until_all_is_there(bench: Bench) -> None:
    bench.peer.record(100)
    sent = answering(bench)
    assert stored(bench) == list(range(1, 101))
    assert acks(sent, bench) == [40, 80, 100]
    counted = count(bench)
    assert (counted.expected, counted.stored, counted.missing, counted.doubled) == (100, 100, 0, 0)
    assert counted.whole


def test_a_question_without_an_answer_is_put_again(bench: Bench) -> None:
    bench.peer.record(10)
    first = asked(bench.up(topics.UP_REPORT, bench.peer.report()))
    assert first == [(1, 10)]
    assert asked(bench.up(topics.UP_REPORT, bench.peer.report())) == [], "not twice within the patience"
    bench.clock.advance(FEW.gap_s)
    assert asked(bench.up(topics.UP_REPORT, bench.peer.report())) == first
    answering(bench)
    assert count(bench).whole


def test_records_that_the_meter_no_longer_holds_are_listed_as_lost(bench: Bench) -> None:
    bench.peer.record(50)
    for seq in range(1, 21):
        del bench.peer.intervals[seq]
    answering(bench)
    assert lost(bench) == [(7, 1, 20, "no longer held by the meter")]
    counted = count(bench)
    assert (counted.expected, counted.stored, counted.lost, counted.missing) == (50, 30, 20, 0)
    assert not counted.whole
    assert bench.reads().interval_whole_to == 50


def test_a_hole_in_the_meters_own_log_is_listed_as_lost_once_the_meter_passed_over_it(bench: Bench) -> None:
    bench.peer.record(30)
    del bench.peer.intervals[11]
    del bench.peer.intervals[12]
    assert acks(push(bench, 1), bench) == [10]
    assert acks(push(bench, 11), bench) == [10], "unasked, the meter says nothing about what it leaves out"
    assert lost(bench) == []
    answering(bench)
    assert lost(bench) == [(7, 11, 12, "asked for and not held by the meter")]
    assert (bench.reads().interval_whole_to, count(bench).missing) == (30, 0)


def test_lost_records_at_the_end_are_listed_too(bench: Bench) -> None:
    bench.peer.record(8)
    bench.peer.be(interval_newest=12)
    answering(bench)
    assert lost(bench) == [(7, 9, 12, "asked for and not held by the meter")]


def test_a_lost_record_that_turns_up_is_stored_and_no_longer_counted_as_lost(bench: Bench) -> None:
    bench.peer.record(5)
    kept = bench.peer.intervals.pop(3)
    answering(bench)
    assert (count(bench).lost, count(bench).stored) == (1, 4)
    bench.up(topics.UP_INTERVALS, bench.peer.batch_of(kept, 3))
    assert (count(bench).lost, count(bench).stored, count(bench).whole) == (0, 5, True)


def test_a_record_that_turns_up_within_a_lost_range_makes_nothing_else_missing(bench: Bench) -> None:
    bench.peer.record(30)
    kept = bench.peer.intervals[5]
    for seq in range(1, 21):
        del bench.peer.intervals[seq]
    answering(bench)
    bench.up(topics.UP_INTERVALS, bench.peer.batch_of(kept, 5))
    counted = count(bench)
    assert (counted.stored, counted.lost, counted.missing) == (11, 19, 0)


def test_a_batch_that_brings_nothing_new_is_not_followed_by_a_question(bench: Bench) -> None:
    bench.peer.record(9)
    assert asked(push(bench, 5, 2)) == [(1, 6)]
    bench.clock.advance(FEW.gap_s)
    assert asked(push(bench, 5, 2)) == [], "or a meter that says the same again and again would be asked as often"


def test_an_answer_counts_once_so_it_cannot_bring_an_old_log_back(bench: Bench) -> None:
    bench.peer.record(4)
    (question,) = [one for one in bench.up(topics.UP_REPORT, bench.peer.report()) if isinstance(one, Ask)]
    answer = bench.peer.answer(question)
    bench.up(*answer)
    bench.peer.boot, bench.peer.log_id, bench.peer.intervals = 2, 8, {}
    bench.up(topics.UP_STATE, bench.peer.report(reports.KIND_BIRTH))
    bench.up(*answer)
    assert (bench.reads().log_id, bench.counts["other_log"]) == (8, 1)


def test_a_new_log_starts_over_and_what_was_not_fetched_of_the_old_one_is_lost(bench: Bench) -> None:
    bench.peer.record(10)
    push(bench, 1, 4)
    bench.up(topics.UP_REPORT, bench.peer.report())
    old = bench.peer.batch(5)
    bench.peer.boot, bench.peer.log_id, bench.peer.intervals = 2, 8, {}
    bench.peer.record(3)
    bench.up(topics.UP_STATE, bench.peer.report(reports.KIND_BIRTH))
    assert lost(bench) == [(7, 5, 10, "the meter began a new log")]
    answering(bench)
    assert (bench.reads().log_id, bench.reads().interval_whole_to) == (8, 3)
    assert (count(bench).expected, count(bench).whole) == (3, True)
    actions = bench.up(topics.UP_INTERVALS, old)
    assert (actions, bench.counts["other_log"]) == ([], 1), "a batch of old is not acknowledged …"
    assert (bench.reads().log_id, bench.reads().interval_whole_to) == (8, 3), "… does not turn the cursor back …"
    assert len(stored(bench)) == 4 + 3 + 6, "… and its records are the meter's all the same"


def test_a_push_from_an_unknown_log_brings_a_question_who_is_right(bench: Bench) -> None:
    bench.peer.record(4)
    push(bench, 1)
    answering(bench)
    bench.peer.log_id, bench.peer.intervals = 8, {}
    bench.peer.record(2)
    assert push(bench, 1) == []
    assert bench.engine.next_s() == bench.clock.now_s(), "the meter is asked for a report at once"
    answering(bench)
    assert (bench.reads().log_id, bench.reads().interval_whole_to) == (8, 2)


def test_a_record_with_a_wrong_crc_is_left_out_and_counted(bench: Bench) -> None:
    bench.peer.record(3)
    body = bytearray(b"".join(bench.peer.intervals.values()))
    body[30] ^= 1
    actions = bench.up(topics.UP_INTERVALS, bench.peer.batch_of(bytes(body), 1))
    assert (stored(bench), acks(actions, bench), bench.counts["bad_crc_record"]) == ([1, 3], [1], 1)


def test_other_content_under_a_stored_number_is_left_out_and_counted(bench: Bench) -> None:
    bench.peer.record(3)
    push(bench, 1)
    bench.peer.intervals[2] = records.pack_interval(2, NOW_S, 9, 9, 9, 9, 15, 0)
    push(bench, 1)
    assert bench.counts["differing_record"] == 1
    assert count(bench).whole, "what was stored stays"


@pytest.mark.parametrize("order", [(2, 1), (1, 1), (1, 2)])
def test_numbers_that_do_not_rise_are_refused_whole(bench: Bench, order: tuple[int, int]) -> None:
    bench.peer.record(2)
    body = b"".join(bench.peer.intervals[seq] for seq in order)
    first = 2 if order == (1, 2) else 1
    assert bench.up(topics.UP_INTERVALS, bench.peer.batch_of(body, first)) == []
    assert (stored(bench), bench.counts["bad_order"]) == ([], 1)


def test_a_forged_batch_is_refused_whole(bench: Bench) -> None:
    bench.peer.record(3)
    raw = bench.peer.batch(1)
    for at in (20, 45, len(raw) - 1):
        assert bench.up(topics.UP_INTERVALS, raw[:at] + bytes((raw[at] ^ 1,)) + raw[at + 1 :]) == []
    assert (stored(bench), bench.counts["forged"]) == ([], 3)


def test_events_are_stored_and_acknowledged_and_wake_what_waits(bench: Bench) -> None:
    body = records.pack_event(1, NOW_S, 34, 1, 500, -7, 1) + records.pack_event(2, NOW_S, 35, 1, 501, 0, 1)
    actions = bench.up(topics.UP_EVENTS, bench.peer.batch_of(body, 1, kind=batches.KIND_EVENTS))
    assert [batches.read_ack(one.raw, METER, bench.peer.key) for one in actions if isinstance(one, Ack)] == [
        (batches.KIND_EVENTS, 7, 2)
    ]
    rows = bench.store.read(lambda conn: [tuple(row) for row in conn.execute(select(meter_event))])
    assert rows[0] == (METER, 7, 1, NOW_S, 34, 1, 500, -7, 1)
    bench.write(statements.release, METER, 1, "operator:ann")
    bench.peer.hold(bench.deliver().raw)
    bench.ask(ASPECT_SUPPLY)
    body = records.pack_event(3, NOW_S, 35, 1, 501, 0, 1)
    actions = bench.up(topics.UP_EVENTS, bench.peer.batch_of(body, 3, kind=batches.KIND_EVENTS))
    assert any(isinstance(one, Deliver | Ask) for one in actions)


def test_doubled_periods_and_broken_chains_are_seen(bench: Bench) -> None:
    made = [
        records.pack_interval(1, NOW_S, 100, 0, 100, 0, 15, 0),
        records.pack_interval(2, NOW_S, 200, 0, 100, 0, 15, 0),  # the same period again
        records.pack_interval(3, NOW_S + 900, 350, 0, 100, 0, 15, 0),  # 50 Wh that no record tells of
        records.pack_interval(4, NOW_S, 450, 0, 100, 0, 15, records.FLAG_CLOCK_CHANGED),  # allowed: the clock was moved
    ]
    bench.up(topics.UP_INTERVALS, bench.peer.batch_of(b"".join(made), 1))
    counted = count(bench)
    assert (counted.doubled, counted.unchained, counted.stored, counted.whole) == (1, 1, 4, False)
    some = bench.store.read(lambda conn: completeness.of_some(conn, METER, series.numbered(conn, METER, 7, 2, 4)))
    assert (some.doubled, some.unchained, some.stored, some.whole) == (0, 1, 4, False), "of these three alone"


def test_registers_that_wrap_and_saturated_energies_do_not_break_the_chain(bench: Bench) -> None:
    made = [
        records.pack_interval(1, NOW_S, 2**32 - 10, 0, 5, 0, 15, 0),
        records.pack_interval(2, NOW_S + 900, 2**32 + 90, 0, 100, 0, 15, 0),
        records.pack_interval(3, NOW_S + 1800, 200_090, 0, 200_000, 0, 15, 0),
    ]
    bench.up(topics.UP_INTERVALS, bench.peer.batch_of(b"".join(made), 1))
    assert count(bench).unchained == 0


def test_an_unknown_meter_has_no_reads(bench: Bench) -> None:
    for ask in (gaps.missing, completeness.completeness):
        with pytest.raises(UnknownMeter):
            bench.store.read(ask, METER + 1)
    assert count(Bench(online=False)).expected == 0


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    made=st.integers(1, 150),
    gone=st.sets(st.integers(1, 150), max_size=12),
    way=st.lists(st.tuples(st.integers(1, 150), st.integers(1, 40)), max_size=12),
    drops=st.lists(st.booleans(), max_size=10),
)
def test_whatever_is_lost_on_the_way_every_record_held_is_stored_once(
    made: int, gone: set[int], way: list[tuple[int, int]], drops: list[bool]
) -> None:
    """Pushes in any order, repeated and overlapping, answers dropped: in the end stored + lost = made.

    The meter was never acknowledged beyond what is whole.
    """
    bench = Bench(policy=FEW)
    bench.peer.record(made)
    held = set(range(1, made + 1)) - gone
    bench.peer.intervals = {seq: raw for seq, raw in bench.peer.intervals.items() if seq in held}
    bench.peer.be(interval_newest=made, interval_oldest=min(held, default=0))
    dropped = iter(drops)

    def carry(action: Action) -> list[Action]:
        if isinstance(action, Ask):
            return [] if next(dropped, False) else bench.answers(action)
        assert isinstance(action, Ack)
        seq = batches.read_ack(action.raw, METER, bench.peer.key)[2]
        there = set(stored(bench)) | {one for _, low, high, _ in lost(bench) for one in range(low, high + 1)}
        assert set(range(1, seq + 1)) <= there
        return []

    for first, number in way:
        if any(seq >= first for seq in held):
            for action in push(bench, first, number):
                carry(action)
    a_round_s = 2 * FEW.poll_s  # after a lost answer the next poll finds out what is missing
    bench.run(a_round_s * (2 + sum(drops)), carry)
    assert stored(bench) == sorted(held)
    counted = count(bench)
    assert (counted.expected, counted.missing, counted.stored + counted.lost) == (made, 0, made)
    assert bench.reads().interval_whole_to == made
    bench.close()


def test_the_cursor_moves_over_what_a_report_says_to_be_gone(bench: Bench) -> None:
    """Also where all that was known before was stored: what is asked for begins with what the meter holds."""
    bench.peer.record(100)
    push(bench, 1, 10)
    for seq in range(1, 51):
        del bench.peer.intervals[seq]
    actions = bench.up(topics.UP_REPORT, bench.peer.report())
    assert bench.store.read(cursors.of, METER).interval_whole_to == 50
    assert (asked(actions), missing(bench)) == ([(51, 40)], [(51, 100)])
