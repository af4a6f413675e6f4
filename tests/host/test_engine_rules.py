"""Rules of dispatching: leases between engines, signing outside of transactions, one order of a meter at a time."""

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Row, select, update

from headend.clock import ManualClock
from headend.collection import turns
from headend.engine import AT_ONCE, NEVER, Ask, Deliver, Engine, Policy
from headend.ledger import payments
from headend.orders import lifecycle, outbox, policy, questions, statements
from headend.refusals import Refused
from headend.store import CommitFailed, StoreClosed
from headend.store.schema import meter, meter_state, question
from headend.store.schema import outbox as outbox_row
from meterlink import batches, reasons, reports, topics
from meterlink.orders import ASPECT_CREDIT, ASPECT_SUPPLY, Order
from meterlink.tariff import Tariff
from tests.host.books import CHANNEL, METER, NOW_S, SOURCE, open_books
from tests.host.peer import OPEN, Bench, Noise, Peer


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.close()


def stop(bench: Bench, reason: int = reasons.HOLD_LEGAL) -> int:
    made: int = bench.write(statements.stop, METER, reason, "operator:ann")
    return made


def deliveries(actions: Sequence[object]) -> list[int]:
    return [one.order_id for one in actions if isinstance(one, Deliver)]


# --- leases ---------------------------------------------------------------------------------------------------------


def another(bench: Bench) -> Engine:
    return Engine(bench.store, bench.keys, bench.clock, bench.noise)


def test_what_one_engine_took_another_leaves_alone(bench: Bench) -> None:
    order_id = stop(bench)
    assert deliveries(bench.due()) == [order_id]
    assert deliveries(another(bench).due(bench.clock.now_s())) == []
    bench.clock.advance(Policy().lease_s - 1)
    assert deliveries(another(bench).due(bench.clock.now_s())) == []


def test_a_lease_that_ran_out_is_taken_over_with_a_question_first(bench: Bench) -> None:
    stop(bench)
    bench.due()
    bench.clock.advance(Policy().lease_s)
    taken = another(bench).due(bench.clock.now_s())
    assert deliveries(taken) == [], "whether the order left is not known: the meter is asked before it is sent again"
    assert any(isinstance(one, Ask) and batches.read_ask(one.raw)[2] == ASPECT_SUPPLY for one in taken)


def test_only_the_holder_of_the_lease_can_finish(bench: Bench) -> None:
    stop(bench)
    (action,) = [one for one in bench.due() if isinstance(one, Deliver)]
    before = bench.store.read(lambda conn: conn.execute(select(outbox_row)).one())
    another(bench).sent(replace(action, lease="of another claim"), True)
    assert bench.store.read(lambda conn: conn.execute(select(outbox_row)).one()) == before
    bench.sent(action)
    after = bench.store.read(lambda conn: conn.execute(select(outbox_row)).one())
    assert (after.lease, after.next_s) == (None, NOW_S + Policy().settle_s)


def test_an_answer_that_overtakes_the_carriers_word_is_not_undone_by_it(bench: Bench) -> None:
    order_id = stop(bench)
    (action,) = [one for one in bench.due() if isinstance(one, Deliver)]
    bench.up(topics.UP_RECEIPT, bench.peer.receipt(action.raw))
    row = bench.store.read(lambda conn: conn.execute(select(outbox_row)).one())
    bench.sent(action, ok=False, note="The line is silent.")
    assert bench.state(order_id) == "accepted"
    assert bench.store.read(lambda conn: conn.execute(select(outbox_row)).one()) == row


def test_what_is_in_hand_is_not_taken_again_when_the_meter_stirs(bench: Bench) -> None:
    order_id = stop(bench)
    assert deliveries(bench.due()) == [order_id]
    assert deliveries(bench.up(topics.UP_STATE, bench.peer.report(reports.KIND_BIRTH))) == []
    bench.clock.advance(Policy().lease_s)
    assert any(isinstance(one, Ask) for one in bench.due())


# --- a meter at a time ----------------------------------------------------------------------------------------------


def test_orders_on_different_subjects_are_handed_over_one_after_another(bench: Bench) -> None:
    first = stop(bench)
    second = bench.write(statements.set_tariff, METER, Tariff((1,)), "operator:ann")
    delivered = bench.due()
    assert deliveries(delivered) == [first]
    assert deliveries(bench.due()) == []
    (action,) = [one for one in delivered if isinstance(one, Deliver)]
    bench.sent(action)
    answer = bench.up(topics.UP_RECEIPT, bench.peer.receipt(action.raw))
    assert deliveries(answer) == [second], "the receipt frees the meter for the next"


def test_a_release_does_not_wait_for_the_stop_that_it_outranks(bench: Bench) -> None:
    stop(bench)
    bench.due()
    released = bench.write(statements.release, METER, reasons.HOLD_LEGAL, "operator:ann")
    assert deliveries(bench.due()) == [released]


def test_a_round_hands_out_no_more_than_the_policy_says() -> None:
    store = open_books(meters=tuple(range(1, 31)))
    bench = Bench()
    engine = Engine(store, bench.keys, bench.clock, bench.noise, policy=Policy(batch_actions=7))
    asked = [len(engine.due(NOW_S)) for _ in range(6)]
    assert asked == [7, 7, 7, 7, 2, 0]
    assert engine.next_s() >= NOW_S + turns.RETRY_S


def many_stops(bench: Bench) -> tuple[Engine, set[int]]:
    """An engine whose round takes several transactions, and the orders that wait for it."""
    numbers = range(1, 41)
    store = open_books(meters=tuple(numbers))
    engine = Engine(store, bench.keys, bench.clock, bench.noise, signer=bench.engine._signer)
    for number in numbers:
        born = Peer(bench.keys, bench.clock, number).report(reports.KIND_BIRTH)
        engine.up(number, topics.UP_STATE, born, "mqtt")
    wanted = (statements.stop, NOW_S)
    stated = {store.write(*wanted, number, reasons.HOLD_LEGAL, "operator:ann").result() for number in numbers}
    return engine, stated


def test_a_round_hands_out_more_than_one_transaction_takes(bench: Bench) -> None:
    engine, stated = many_stops(bench)
    assert len(stated) > 2 * AT_ONCE
    assert sorted(deliveries(engine.due(NOW_S))) == sorted(stated)


def test_what_was_taken_is_handed_out_where_a_later_transaction_fails(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, stated = many_stops(bench)
    genuine, calls = outbox.claimed, itertools.count(1)

    def failing(*args: Any, **options: Any) -> Any:
        found = genuine(*args, **options)
        if next(calls) == 2:
            raise CommitFailed("the disk is full")
        return found

    monkeypatch.setattr(outbox, "claimed", failing)
    first = deliveries(engine.due(NOW_S))
    assert len(first) == AT_ONCE
    rest = deliveries(engine.due(NOW_S))
    assert sorted(first + rest) == sorted(stated), "the failed one took nothing, and nothing is taken twice"


def test_next_s_tells_when_there_is_work(bench: Bench) -> None:
    empty = Engine(open_books(meters=()), bench.keys, bench.clock, bench.noise)
    assert empty.next_s() == NEVER and empty.due(NOW_S) == []
    bench.due()
    later_s = bench.engine.next_s()
    assert later_s >= NOW_S + turns.RETRY_S
    stop(bench)
    assert bench.engine.next_s() == NOW_S


# --- signing --------------------------------------------------------------------------------------------------------


class Reluctant:
    """Refuses everything; tells whether a transaction was open while it was asked."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self.asked = 0

    def sign_statements(self, rows: Sequence[Row[Any]]) -> list[bytes | Refused]:
        self._bench.store.read(lambda conn: None)  # raises inside of a transaction
        self.asked += len(rows)
        return [Refused("total_uc", row.total_uc, "less") for row in rows]


def test_what_the_signer_refuses_stays_says_so_once_and_is_tried_again_slowly(bench: Bench) -> None:
    order_id = bench.write(payments.take, CHANNEL, "a", METER, 5_000_000).order_id
    signer = Reluctant(bench)
    engine = Engine(bench.store, bench.keys, bench.clock, bench.noise, signer=signer)
    for _ in range(2 * Policy().slow_s + 1):
        engine.due(bench.clock.now_s())
        bench.clock.advance(1)
    assert signer.asked == 3
    assert bench.state(order_id) == "queued"
    assert [event for event, _, _ in bench.history(order_id)] == ["create", "signer"]
    assert "total_uc: 5000000 given, less expected" in bench.history(order_id)[-1][2]


class Slow:
    """Signs as the real one, after another payment has come in between."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._more = 1

    def sign_statements(self, rows: Sequence[Row[Any]]) -> list[bytes | Refused]:
        if self._more:
            self._more -= 1
            self._bench.write(payments.take, CHANNEL, "b", METER, 2_000_000)
        return self._bench._signer.sign_statements(rows)


def test_a_statement_superseded_while_it_was_signed_is_never_sent(bench: Bench) -> None:
    first = bench.write(payments.take, CHANNEL, "a", METER, 5_000_000).order_id
    engine = Engine(bench.store, bench.keys, bench.clock, bench.noise, signer=Slow(bench))
    assert deliveries(engine.due(NOW_S)) == []
    assert (bench.state(first), bench.order(first).signed) == ("superseded", None)
    assert deliveries(engine.due(NOW_S)) == [first + 1]


def test_what_is_sent_is_what_was_stated(bench: Bench) -> None:
    order_id = stop(bench)
    row, stated = bench.order(order_id), Order(bench.deliver().raw).stated
    for name in ("aspect", "meter", "account_epoch", "selector", "signing_epoch", "version", "issued_s", "not_after_s"):
        assert getattr(stated, name) == getattr(row, name)
    assert stated.body == row.body


# --- the store fails ------------------------------------------------------------------------------------------------


def test_what_the_store_raises_reaches_the_caller_who_then_does_not_acknowledge(bench: Bench) -> None:
    raw = bench.peer.report()
    bench.store.close()
    with pytest.raises(StoreClosed):
        bench.engine.up(METER, topics.UP_REPORT, raw, "mqtt")


# --- credit that goes back ------------------------------------------------------------------------------------------


def test_credit_that_was_accepted_and_is_not_shown_is_a_contradiction(bench: Bench) -> None:
    order_id = bench.write(payments.take, CHANNEL, "a", METER, 5_000_000).order_id
    delivered = bench.deliver(ASPECT_CREDIT)
    bench.up(topics.UP_RECEIPT, bench.peer.receipt(delivered.raw))
    bench.answers(bench.ask(ASPECT_CREDIT))
    assert bench.state(order_id) == "accepted"
    assert bench.history(order_id)[-1][:2] == ("contradict", "accepted")
    assert bench.meter().on_meter_uc == 0


def test_totals_of_another_account_are_not_ours(bench: Bench) -> None:
    order_id = bench.write(payments.take, CHANNEL, "a", METER, 5_000_000).order_id
    bench.deliver(ASPECT_CREDIT)
    bench.peer.totals[SOURCE] = 5_000_000
    bench.answers(bench.ask(ASPECT_CREDIT), account_epoch=2)
    assert (bench.state(order_id), bench.meter().on_meter_uc) == ("sent", 0)
    bench.answers(bench.ask(ASPECT_CREDIT))
    assert (bench.state(order_id), bench.meter().on_meter_uc) == ("confirmed", 5_000_000)


def test_an_answer_proves_nothing_of_a_subject_that_was_not_asked_about(bench: Bench) -> None:
    order_id = stop(bench)
    held = bench.peer.hold(bench.deliver().raw)
    bench.peer.be(**OPEN, holds=1 << reasons.HOLD_LEGAL)
    other = {"aspect": ASPECT_SUPPLY, "selector": reasons.HOLD_LEGAL, "digest": held.digest[:8]}
    asked = bench.ask(ASPECT_CREDIT)
    bench.answers(asked, **other, signing_epoch=1, version=held.stated.version)
    assert bench.state(order_id) == "sent"
    bench.answers(bench.ask())
    assert bench.state(order_id) == "confirmed"


# --- questions and waits --------------------------------------------------------------------------------------------


def test_a_question_is_answered_once_and_forgotten_in_time(bench: Bench) -> None:
    ask = bench.write(questions.ask, bench.noise, METER, batches.KIND_REPORT)
    bench.answers(ask)
    bench.answers(ask)
    assert (bench.counts["answer"], bench.counts["unasked"]) == (1, 1)
    bench.clock.advance(questions.KEEP_S + 1)
    bench.write(questions.ask, bench.noise, METER, batches.KIND_REPORT)
    assert len(bench.store.read(lambda conn: conn.execute(select(question)).all())) == 1


def test_a_nonce_of_zeros_is_never_asked_with(bench: Bench) -> None:
    drawn = iter([bytes(8), bytes(8), b"\x01" * 8])
    ask = bench.write(questions.ask, lambda n: next(drawn), METER, batches.KIND_REPORT)
    assert batches.read_ask(ask.raw)[1] == b"\x01" * 8


def test_waits_double_are_bounded_and_spread() -> None:
    entropy = Noise()
    for attempts in range(1, 40):
        base_s = min(4 * 2 ** (attempts - 1), 300)
        waits = {Policy().wait_s(attempts, entropy) for _ in range(50)}
        assert min(waits) >= base_s and max(waits) <= base_s * 3 // 2
        assert len(waits) > 1
    assert policy.spread(0, entropy) == 0


def test_a_meter_is_polled_in_its_turn_and_its_facts_are_kept(bench: Bench) -> None:
    asks = []

    def carry(action: object) -> list[Any]:
        assert isinstance(action, Ask)
        asks.append(bench.clock.now_s())
        return bench.answers(action)

    bench.run(8 * Policy().poll_s, carry)
    waits = [after - before for before, after in pairwise(asks)]
    assert all(Policy().poll_s <= wait <= Policy().poll_s * 3 // 2 for wait in waits) and len(waits) >= 4
    row = bench.meter()
    assert reports.Report(row.report, bench.peer.key).time_s == row.report_time_s == asks[-1]


def test_an_absent_meter_that_says_anything_is_there_again(bench: Bench) -> None:
    bench.store.write(lambda conn: conn.execute(update(meter_state).values(online=0))).result()
    stop(bench)
    assert deliveries(bench.due()) == []
    assert deliveries(bench.up(topics.UP_REPORT, bench.peer.report())) == [1]
    assert bench.meter().online == 1


def test_a_meter_on_a_bus_is_never_absent(bench: Bench) -> None:
    def move(conn: Any) -> None:
        conn.execute(update(meter).values(carrier="modbus"))
        conn.execute(update(meter_state).values(online=0))

    bench.store.write(move).result()
    stop(bench)
    assert deliveries(bench.due()) == [1]
    bench.up(topics.UP_REPORT, bench.peer.report(), carrier="modbus")
    assert bench.meter().online == 0


def test_a_clock_order_is_dropped_when_its_time_is_old(bench: Bench) -> None:
    order_id = bench.write(statements.set_clock, METER, "operator:ann", nonce=b"12345678")
    assert bench.order(order_id).not_after_s == 0
    (action,) = [one for one in bench.due() if isinstance(one, Deliver)]
    assert action.last_s == NOW_S + outbox.CLOCK_VALID_S
    bench.sent(action)
    sent = []
    bench.run(3600, lambda one: sent.append(bench.clock.now_s()) if isinstance(one, Deliver) else None)
    assert sent and max(sent) <= action.last_s
    assert bench.state(order_id) == "unknown"


def test_an_accepted_order_is_not_sent_again(bench: Bench) -> None:
    stop(bench)
    bench.up(topics.UP_RECEIPT, bench.peer.receipt(bench.deliver().raw))
    bench.run(7200, lambda one: pytest.fail("sent") if isinstance(one, Deliver) else None)


def test_an_accepted_order_that_waits_for_something_else_is_asked_about_at_the_slow_pace(bench: Bench) -> None:
    order_id = bench.write(statements.release, METER, reasons.HOLD_LEGAL, "operator:ann")
    bench.peer.hold(bench.deliver().raw)
    bench.peer.be(**OPEN, causes=1 << reasons.CAUSE_OUT_OF_CREDIT)
    asks = []

    def carry(action: Any) -> list[Any]:
        if batches.read_ask(action.raw)[2] == ASPECT_SUPPLY:
            asks.append(bench.clock.now_s())
        return bench.answers(action)

    bench.run(12 * 3600, carry)
    assert bench.state(order_id) == "accepted"
    waits = [after - before for before, after in pairwise(asks)]
    assert min(waits[-10:]) >= Policy().slow_s
    assert len(bench.history(order_id)) == 4, "the same answer again is not written down again"


def test_the_state_of_an_order_is_written_by_the_life_cycle_alone() -> None:
    """Of the files that insert or update orders, only that one passes a state."""
    root = Path(lifecycle.__file__).parents[1]
    writers = {
        file.relative_to(root).as_posix()
        for file in root.rglob("*.py")
        if re.search(r"(update|insert)\(order\)", text := file.read_text(encoding="utf-8"))
        and re.search(r"[(,]\s*(state=|\"state\":)", text)
    }
    assert writers == {"orders/lifecycle.py"}


# --- the clock, and questions that did not leave --------------------------------------------------------------------


def test_a_worker_that_wakes_after_its_lease_changes_nothing(bench: Bench) -> None:
    stop(bench)
    (action,) = [one for one in bench.due() if isinstance(one, Deliver)]
    bench.clock.advance(Policy().lease_s + 1)
    asleep = bench.store.read(lambda conn: conn.execute(select(outbox_row)).one())
    bench.sent(action, ok=False, note="The line was silent, a minute ago.")
    assert bench.store.read(lambda conn: conn.execute(select(outbox_row)).one()) == asleep
    another(bench).due(bench.clock.now_s())
    taken = bench.store.read(lambda conn: conn.execute(select(outbox_row)).one())
    bench.sent(action)
    assert bench.store.read(lambda conn: conn.execute(select(outbox_row)).one()) == taken


def test_each_delivery_has_a_lease_of_its_own(bench: Bench) -> None:
    stop(bench)
    leases = []
    bench.run(3600, lambda one: leases.append(one.lease) if isinstance(one, Deliver) else None)
    assert len(leases) > 1 and len(set(leases)) == len(leases)
    assert all(len(lease) == 32 for lease in leases)


@pytest.mark.parametrize("back_s", [3600, 86_400, 400 * 86_400])
def test_a_clock_that_goes_back_holds_nothing_up(bench: Bench, back_s: int) -> None:
    held = bench.write(statements.release, METER, reasons.HOLD_LEGAL, "operator:ann")
    assert deliveries(bench.due()) == [held]
    bench.clock = ManualClock(NOW_S - back_s)
    engine = another(bench)
    took = engine.due(NOW_S - back_s)
    assert any(isinstance(one, Ask) for one in took), "a lease by the clock that was ahead has run out"
    rows = bench.store.read(lambda conn: conn.execute(select(outbox_row)).all())
    assert all(row.next_s <= NOW_S - back_s + Policy().longest_s for row in rows)
    assert bench.meter().next_ask_s <= NOW_S - back_s + 2 * Policy().poll_s


def test_an_engine_notices_a_clock_that_goes_back(bench: Bench) -> None:
    bench.due()
    release = bench.write(statements.release, METER, reasons.HOLD_LEGAL, "operator:ann")
    assert deliveries(bench.engine.due(NOW_S - Policy().jump_s)) == [release], "no negative wait, no late one"


def test_a_stop_of_a_clock_that_was_ahead_is_not_sent_by_one_that_is_right(bench: Bench) -> None:
    order_id = stop(bench)
    assert deliveries(bench.engine.due(NOW_S - 3600)) == []
    assert bench.state(order_id) == "expired"
    assert "the clock went back" in bench.history(order_id)[-1][2]


def test_an_answer_from_before_the_clock_went_back_proves_nothing(bench: Bench) -> None:
    order_id = stop(bench)
    bench.peer.hold(bench.deliver().raw)
    bench.peer.be(**OPEN, holds=1 << reasons.HOLD_LEGAL)
    answer = bench.peer.answer(bench.ask())
    bench.clock = ManualClock(NOW_S - 3600)
    Engine(bench.store, bench.keys, bench.clock, bench.noise).up(METER, *answer, "mqtt")
    assert bench.state(order_id) == "sent"


def test_a_question_that_the_carrier_did_not_take_is_asked_again_soon(bench: Bench) -> None:
    bench.run(Policy().poll_s * 3, lambda one: bench.answers(one) if isinstance(one, Ask) else None)
    asked = []

    def carry(action: object) -> None:
        if isinstance(action, Ask):
            asked.append(bench.clock.now_s())
            bench.sent(action, ok=False)

    bench.run(2 * 3600, carry)
    waits = [after - before for before, after in pairwise(asked)]
    assert waits[0] < 2 * Policy().retry_s + 1
    assert max(waits) <= Policy().retry_max_s * 3 // 2, "ever more slowly, and never as slowly as unprompted"
    assert waits[-1] >= Policy().retry_max_s
