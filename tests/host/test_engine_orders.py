"""Orders from statement to proof, and all that may go wrong between: with one engine, and with a new one each step."""

from collections.abc import Iterator

import pytest
from sqlalchemy import select

from headend.engine import Ask, Deliver, Policy
from headend.ledger import payments
from headend.orders import lifecycle, statements
from headend.store.schema import payment
from meterlink import bodies, reasons, reports, results, states, topics
from meterlink.orders import ASPECT_CREDIT, ASPECT_SUPPLY, ASPECT_TARIFF
from meterlink.tariff import Tariff
from tests.host.books import CHANNEL, METER, SOURCE
from tests.host.peer import CLOSED, OPEN, READY, Bench

LEGAL = reasons.HOLD_LEGAL
ARREARS = reasons.HOLD_ARREARS
STOP = (ASPECT_SUPPLY, LEGAL)


@pytest.fixture(params=[False, True], ids=["one engine", "restart at every step"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    made = Bench(restart=request.param)
    yield made
    made.close()


def stop(bench: Bench, reason: int = LEGAL, **options: int) -> int:
    made: int = bench.write(statements.stop, METER, reason, "operator:ann", **options)
    return made


def release(bench: Bench, reason: int = LEGAL, close: int = bodies.CLOSE_DIRECT) -> int:
    made: int = bench.write(statements.release, METER, reason, "operator:ann", close=close)
    return made


def pay(bench: Bench, payment_id: str, amount_uc: int) -> int:
    answer: payments.PaymentAnswer = bench.write(payments.take, CHANNEL, payment_id, METER, amount_uc)
    return answer.order_id


def held(bench: Bench, reason: int = LEGAL) -> dict[str, int]:
    return {"holds": 1 << reason}


# --- the plain way --------------------------------------------------------------------------------------------------


def test_a_stop_is_sent_accepted_and_confirmed_by_a_read_back(bench: Bench) -> None:
    order_id = stop(bench)
    assert bench.state(order_id) == "queued"
    delivered = bench.deliver()
    assert bench.state(order_id) == "sent"
    assert delivered.last_s == bench.order(order_id).not_after_s
    bench.peer.hold(delivered.raw)
    bench.up(topics.UP_RECEIPT, bench.peer.receipt(delivered.raw))
    assert bench.state(order_id) == "accepted"
    bench.peer.be(**OPEN, **held(bench))
    evidence = bench.peer.answer(bench.ask())
    bench.up(*evidence)
    row = bench.order(order_id)
    assert (row.state, row.evidence, row.evidence_time_s) == ("confirmed", evidence[1], bench.clock.now_s())
    assert reports.Report(row.evidence, bench.peer.key).contact == states.CONTACT_OPEN
    assert [event for event, _, _ in bench.history(order_id)] == ["create", "send", "accept", "confirm"]
    assert bench.outbox() == []


def test_an_accepting_receipt_brings_the_question_with_it(bench: Bench) -> None:
    stop(bench)
    delivered = bench.deliver()
    bench.peer.hold(delivered.raw)
    (asked,) = bench.up(topics.UP_RECEIPT, bench.peer.receipt(delivered.raw))
    bench.peer.be(**OPEN, **held(bench))
    assert isinstance(asked, Ask)
    bench.answers(asked)
    assert bench.counts["answer"] == 1


def test_a_receipt_alone_never_confirms(bench: Bench) -> None:
    order_id = stop(bench)
    delivered = bench.deliver()
    bench.peer.hold(delivered.raw)
    bench.peer.be(**OPEN, **held(bench))
    for _ in range(3):
        bench.up(topics.UP_RECEIPT, bench.peer.receipt(delivered.raw))
    assert bench.state(order_id) == "accepted"


def test_a_tariff_is_confirmed_by_its_version(bench: Bench) -> None:
    order_id = bench.write(statements.set_tariff, METER, Tariff((600_000,)), "operator:ann")
    delivered = bench.deliver(ASPECT_TARIFF)
    bench.peer.hold(delivered.raw)
    bench.answers(bench.ask(ASPECT_TARIFF))
    assert bench.state(order_id) == "confirmed"


# --- loss -----------------------------------------------------------------------------------------------------------


def test_a_lost_order_is_sent_again_byte_for_byte(bench: Bench) -> None:
    order_id = stop(bench)
    first = bench.deliver()
    second = bench.deliver()
    assert (second.order_id, second.raw) == (order_id, first.raw)
    assert bench.state(order_id) == "sent"


def test_a_lost_receipt_is_made_good_by_the_read_back(bench: Bench) -> None:
    order_id = stop(bench)
    bench.peer.hold(bench.deliver().raw)
    bench.peer.be(**held(bench), pending=states.PENDING_TRIP, due_s=bench.clock.now_s() + 200)
    bench.answers(bench.ask())
    assert bench.state(order_id) == "accepted"
    assert "trip is due" in bench.history(order_id)[-1][2]
    due_s = bench.peer.facts["due_s"]
    asked = bench.ask()
    assert due_s < bench.clock.now_s() <= due_s + 5, "asked again when the trip has happened"
    bench.peer.be(**OPEN, pending=states.PENDING_NONE, due_s=0)
    bench.answers(asked)
    assert bench.state(order_id) == "confirmed"


def test_a_lost_report_is_asked_for_again(bench: Bench) -> None:
    order_id = stop(bench)
    delivered = bench.deliver()
    bench.peer.hold(delivered.raw)
    bench.up(topics.UP_RECEIPT, bench.peer.receipt(delivered.raw))
    bench.peer.be(**OPEN, **held(bench))
    bench.ask()
    bench.answers(bench.ask())
    assert bench.state(order_id) == "confirmed"


def test_a_question_about_what_never_arrived_leads_to_another_delivery(bench: Bench) -> None:
    order_id = stop(bench)
    bench.deliver()
    bench.answers(bench.ask())
    assert bench.state(order_id) == "sent"
    assert "0 of signing epoch 0" in bench.history(order_id)[-1][2]
    bench.peer.hold(bench.deliver().raw)
    bench.peer.be(**OPEN, **held(bench))
    bench.answers(bench.ask())
    assert bench.state(order_id) == "confirmed"


def test_what_the_carrier_does_not_take_is_tried_again(bench: Bench) -> None:
    order_id = stop(bench)
    action = bench.until(lambda one: isinstance(one, Deliver))
    bench.sent(action, ok=False, note="The line is busy.")
    assert bench.deliver().raw == action.raw
    assert bench.state(order_id) == "sent"


# --- nobody answers -------------------------------------------------------------------------------------------------


def test_without_any_answer_an_order_is_unknown_and_only_a_read_back_ends_it(bench: Bench) -> None:
    order_id = release(bench)
    gaps = []
    before_s = bench.clock.now_s()
    while bench.state(order_id) != "unknown":
        delivered = bench.deliver()
        gaps.append(bench.clock.now_s() - before_s)
        before_s = bench.clock.now_s()
    assert len(gaps) == Policy().attempts + 1, "the ninth found no proof of the eight before"
    bound_s = Policy().retry_max_s * 3 // 2 + Policy().lease_s
    assert gaps[2] < gaps[5] <= bound_s, "it waits longer each time, within bounds"
    for _ in range(3):
        before_s = bench.clock.now_s()
        assert bench.deliver().raw == delivered.raw
        assert bench.clock.now_s() - before_s >= Policy().slow_s
        assert bench.state(order_id) == "unknown"
    bench.peer.hold(delivered.raw)
    bench.answers(bench.ask())
    assert bench.state(order_id) == "confirmed"


def test_a_sent_stop_is_not_sent_after_its_last_second_and_expires_only_by_a_read_back(bench: Bench) -> None:
    order_id = stop(bench, valid_s=300)
    last_s = bench.order(order_id).not_after_s
    deliveries = []

    def carry(action: object) -> None:
        if isinstance(action, Deliver):
            deliveries.append(bench.clock.now_s())
            bench.sent(action)

    bench.run(7200, carry)
    assert 2 <= len(deliveries) and max(deliveries) <= last_s
    assert bench.state(order_id) == "unknown", "it was sent, so time alone does not end it"
    bench.answers(bench.ask(), time_s=last_s)
    assert bench.state(order_id) == "unknown", "at its last second the meter may still take it"
    bench.answers(bench.ask(), time_s=last_s + 1, clock=states.CLOCK_UNKNOWN)
    assert bench.state(order_id) == "unknown", "a meter that does not know the time proves nothing by it"
    bench.answers(bench.ask())
    assert bench.state(order_id) == "expired"
    assert bench.order(order_id).evidence is not None


def test_a_stop_that_was_applied_in_time_is_found_by_the_read_back_after_it(bench: Bench) -> None:
    order_id = stop(bench, valid_s=60)
    bench.peer.hold(bench.deliver().raw)
    bench.peer.be(**OPEN, **held(bench))
    bench.clock.advance(3600)
    bench.answers(bench.ask())
    assert bench.state(order_id) == "confirmed"


def test_a_stop_that_was_never_sent_expires_by_itself() -> None:
    bench = Bench(online=False)
    order_id = stop(bench)
    bench.run(1000, lambda action: None)
    assert bench.state(order_id) == "expired"
    assert [event for event, _, _ in bench.history(order_id)] == ["create", "expire"]


def test_nothing_is_published_to_a_meter_that_is_absent() -> None:
    bench = Bench()
    bench.up(topics.UP_STATE, reports.pack_will(METER, 1, bench.peer.key))
    assert bench.meter().online == 0
    order_id = release(bench)
    bench.run(300, lambda action: pytest.fail("published") if isinstance(action, Deliver) else None)
    assert bench.state(order_id) == "queued"
    (action, *_) = bench.up(topics.UP_STATE, bench.peer.report(reports.KIND_BIRTH))
    assert isinstance(action, Deliver), "it is delivered as soon as the meter is there"


def test_the_will_of_an_earlier_boot_says_nothing_of_this_one() -> None:
    """OP-REP-14"""
    bench = Bench()
    bench.peer.boot = 2
    bench.up(topics.UP_STATE, bench.peer.report(reports.KIND_BIRTH))
    bench.up(topics.UP_STATE, reports.pack_will(METER, 1, bench.peer.key))
    assert (bench.meter().online, bench.counts["will_late"]) == (1, 1)


# --- receipts -------------------------------------------------------------------------------------------------------


def test_a_repeated_order_is_answered_already_and_counts_as_accepted(bench: Bench) -> None:
    order_id = stop(bench)
    bench.deliver()
    again = bench.deliver()
    bench.peer.hold(again.raw)
    bench.up(topics.UP_RECEIPT, bench.peer.receipt(again.raw, results.ALREADY))
    assert (bench.state(order_id), bench.order(order_id).result) == ("accepted", results.ALREADY)


def test_a_refused_order_ends_and_says_why(bench: Bench) -> None:
    order_id = stop(bench)
    bench.up(topics.UP_RECEIPT, bench.peer.receipt(bench.deliver().raw, results.WRONG_EPOCH))
    row = bench.order(order_id)
    assert (row.state, row.result) == ("refused", results.WRONG_EPOCH)
    assert bench.history(order_id)[-1] == ("refuse", "refused", "receipt: wrong_epoch")
    assert bench.outbox() == []


@pytest.mark.parametrize("result", [results.BUSY, results.STORAGE_FAILED, results.BAD_TAG, results.CLOCK_UNKNOWN])
def test_a_refusal_that_may_pass_does_not_end_an_order(bench: Bench, result: int) -> None:
    order_id = stop(bench)
    bench.up(topics.UP_RECEIPT, bench.peer.receipt(bench.deliver().raw, result))
    assert bench.state(order_id) == "sent"
    assert bench.history(order_id)[-1][0] == "receipt"
    bench.up(topics.UP_RECEIPT, bench.peer.receipt(bench.deliver().raw))
    assert bench.state(order_id) == "accepted"


def test_a_receipt_for_other_bytes_moves_nothing(bench: Bench) -> None:
    order_id = stop(bench)
    delivered = bench.deliver()
    bench.up(topics.UP_RECEIPT, bench.peer.receipt(delivered.raw, digest=b"\x01" * 8))
    assert (bench.state(order_id), bench.counts["receipt_unknown"]) == ("sent", 1)


def test_a_late_receipt_is_still_true_of_its_order(bench: Bench) -> None:
    """OP-REP-11"""
    order_id = stop(bench)
    delivered = bench.deliver()
    late = bench.peer.receipt(delivered.raw)
    bench.up(topics.UP_REPORT, bench.peer.report(balance_uc=7))
    bench.up(topics.UP_RECEIPT, late)
    assert bench.state(order_id) == "accepted"
    assert reports.Report(bench.meter().report, bench.peer.key).balance_uc == 7, "its facts are old, and were left"


def test_a_refused_copy_does_not_take_back_an_acceptance(bench: Bench) -> None:
    order_id = stop(bench)
    delivered = bench.deliver()
    bench.up(topics.UP_RECEIPT, bench.peer.receipt(delivered.raw))
    bench.up(topics.UP_RECEIPT, bench.peer.receipt(delivered.raw, results.OLD_VERSION))
    assert bench.state(order_id) == "accepted"


def test_a_credit_statement_can_be_refused_and_the_next_one_carries_its_money(bench: Bench) -> None:
    first = pay(bench, "a", 5_000_000)
    bench.up(topics.UP_RECEIPT, bench.peer.receipt(bench.deliver(ASPECT_CREDIT).raw, results.SOURCES_FULL))
    assert bench.state(first) == "refused"
    second = pay(bench, "b", 1_000_000)
    assert bench.order(second).total_uc == 6_000_000


# --- reports that prove nothing -------------------------------------------------------------------------------------


def under_way(bench: Bench) -> tuple[int, Ask]:
    """A stop that the meter holds and has carried out, and the question that is open about it."""
    order_id = stop(bench)
    bench.peer.hold(bench.deliver().raw)
    asked = bench.ask()
    bench.peer.be(**OPEN, **held(bench))
    return order_id, asked


def test_the_same_report_twice_is_a_duplicate(bench: Bench) -> None:
    """OP-REP-11"""
    order_id, asked = under_way(bench)
    what, raw = bench.peer.answer(asked)
    bench.up(what, raw)
    lines = len(bench.history(order_id))
    assert bench.up(what, raw) == []
    assert (bench.counts["duplicate"], len(bench.history(order_id))) == (1, lines)


def test_an_older_genuine_report_is_late_and_changes_nothing(bench: Bench) -> None:
    """OP-REP-11"""
    order_id, asked = under_way(bench)
    what, late = bench.peer.answer(asked)
    bench.up(topics.UP_REPORT, bench.peer.report(balance_uc=9))
    before = bench.meter()
    bench.up(what, late)
    assert (bench.counts["late"], bench.state(order_id)) == (1, "sent")
    assert bench.meter().report == before.report


def test_a_forged_report_is_counted_and_changes_nothing(bench: Bench) -> None:
    """OP-REP-10"""
    order_id, asked = under_way(bench)
    what, raw = bench.peer.answer(asked)
    before = bench.meter()
    for at in (3, 40, 100, 195):
        bench.up(what, raw[:at] + bytes((raw[at] ^ 1,)) + raw[at + 1 :])
    assert (bench.counts["forged"] + bench.counts["wrong_meter"], bench.state(order_id)) == (4, "sent")
    assert bench.meter() == before


def test_a_report_held_back_and_played_after_its_time_confirms_nothing(bench: Bench) -> None:
    """OP-REP-12"""
    order_id, asked = under_way(bench)
    what, withheld = bench.peer.answer(asked)
    bench.clock.advance(Policy().question_s + 1)
    bench.up(what, withheld)
    assert (bench.counts["stale"], bench.state(order_id)) == (1, "sent")
    bench.up(what, withheld)
    assert bench.state(order_id) == "sent"


def test_a_report_held_back_and_played_after_a_newer_one_confirms_nothing(bench: Bench) -> None:
    """OP-REP-12"""
    order_id, asked = under_way(bench)
    what, withheld = bench.peer.answer(asked)
    bench.peer.be(**CLOSED)  # the relay has closed again since: what was withheld is no longer so
    bench.answers(bench.ask())
    assert bench.state(order_id) == "accepted"
    bench.up(what, withheld)
    assert (bench.counts["late"], bench.state(order_id)) == (1, "accepted")


def test_an_unasked_report_confirms_nothing(bench: Bench) -> None:
    """OP-REP-12"""
    order_id, _ = under_way(bench)
    for nonce in (reports.NO_NONCE, b"\xff" * 8):
        bench.up(topics.UP_REPORT, bench.peer.report(subject=STOP, nonce=nonce))
    bench.up(topics.UP_STATE, bench.peer.report(reports.KIND_BIRTH, STOP))
    assert (bench.counts["unasked"], bench.state(order_id)) == (2, "sent")


def test_an_answer_about_another_subject_confirms_nothing(bench: Bench) -> None:
    order_id, asked = under_way(bench)
    bench.answers(asked, selector=LEGAL + 1)
    assert bench.state(order_id) == "sent"


def test_an_answer_to_a_question_from_before_the_order_confirms_nothing(bench: Bench) -> None:
    """OP-REP-12"""
    release(bench)
    bench.peer.hold(bench.deliver().raw)
    asked = bench.ask()
    order_id = stop(bench)
    bench.clock.advance(5)
    bench.peer.hold(bench.deliver().raw)
    bench.peer.be(**OPEN, **held(bench))
    bench.answers(asked)
    assert bench.state(order_id) == "sent"


def test_a_counter_that_went_back_is_believed_for_an_answer_to_a_later_question(bench: Bench) -> None:
    order_id = stop(bench)
    bench.peer.hold(bench.deliver().raw)
    bench.peer.be(**OPEN, **held(bench))
    bench.up(topics.UP_REPORT, bench.peer.report(boot=9))
    bench.clock.advance(5)
    bench.up(topics.UP_REPORT, bench.peer.report())
    assert (bench.counts["late"], bench.meter().report_boot) == (1, 9)
    bench.answers(bench.ask())
    assert (bench.state(order_id), bench.meter().report_boot) == ("confirmed", 1)


@pytest.mark.parametrize(
    ("what", "raw", "name"),
    [
        (topics.UP_REPORT, b"", "malformed"),
        (topics.UP_REPORT, bytes(195), "malformed"),
        (topics.UP_REPORT, bytes(222), "wrong_meter"),
        (topics.UP_STATE, bytes(28), "wrong_meter"),
        (topics.UP_INTERVALS, bytes(55), "malformed"),
        (topics.UP_EVENTS, bytes(5000), "malformed"),
        ("nonsense", b"", "unknown_topic"),
    ],
)
def test_malformed_bytes_are_named_and_counted(bench: Bench, what: str, raw: bytes, name: str) -> None:
    assert bench.up(what, raw) == []
    assert bench.counts[name] == 1


@pytest.mark.parametrize("meter", [0, -1, METER + 1, 10**14, 2**70])
def test_an_unknown_meter_is_named_and_counted(bench: Bench, meter: int) -> None:
    assert bench.up(topics.UP_REPORT, bench.peer.report(), meter=meter) == []
    assert bench.counts["unknown_meter"] == 1


def test_genuine_bytes_on_the_wrong_topic_are_refused(bench: Bench) -> None:
    bench.up(topics.UP_RECEIPT, bench.peer.report())
    bench.up(topics.UP_EVENTS, bench.peer.batch(1))
    bench.up(topics.UP_REPORT, bench.peer.report(tag_key_version=2))
    assert (bench.counts["wrong_kind"], bench.counts["other_key"]) == (2, 1)


# --- the relay does not do as it is told ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "word"),
    [
        ({**CLOSED, "diagnosis": states.DIAGNOSIS_WELDED}, "welded"),
        ({**OPEN, "load_ma": 800, "no_load_s": 0, "diagnosis": states.DIAGNOSIS_BYPASSED}, "bypassed"),
    ],
)
def test_a_relay_that_does_not_open_is_named_and_asked_about_until_it_has(
    bench: Bench, facts: dict[str, int], word: str
) -> None:
    order_id = stop(bench)
    bench.peer.hold(bench.deliver().raw)
    bench.peer.be(**facts, **held(bench))
    for _ in range(3):
        bench.answers(bench.ask())
    assert bench.state(order_id) == "accepted"
    told = [note for event, _, note in bench.history(order_id) if event == "contradict"]
    assert len(told) == 1 and word in told[0], "said once, not at every answer"
    bench.peer.be(**OPEN, diagnosis=states.DIAGNOSIS_OK)
    bench.answers(bench.ask())
    assert bench.state(order_id) == "confirmed"


def test_other_content_under_our_version_fails_the_order(bench: Bench) -> None:
    order_id = stop(bench)
    bench.peer.hold(bench.deliver().raw)
    bench.peer.be(**held(bench))
    bench.answers(bench.ask(), digest=b"\x55" * 8)
    assert bench.state(order_id) == "failed"
    assert "other content" in bench.history(order_id)[-1][2]


def test_supply_that_stays_off_after_a_release_says_why(bench: Bench) -> None:
    order_id = release(bench)
    bench.peer.hold(bench.deliver().raw)
    bench.peer.be(**OPEN, holds=1 << reasons.HOLD_SAFETY, causes=1 << reasons.CAUSE_OUT_OF_CREDIT)
    bench.answers(bench.ask())
    assert bench.state(order_id) == "accepted"
    assert bench.history(order_id)[-1][2] == "Still open because hold safety, out_of_credit."
    bench.peer.be(**CLOSED, holds=0, causes=0)
    bench.answers(bench.ask())
    assert bench.state(order_id) == "confirmed"


def test_a_permit_is_confirmed_when_the_meter_waits_for_its_customer(bench: Bench) -> None:
    order_id = release(bench, close=bodies.CLOSE_PERMIT)
    bench.peer.hold(bench.deliver().raw)
    bench.peer.be(**READY)
    bench.answers(bench.ask())
    assert bench.state(order_id) == "confirmed"


# --- one order after another ----------------------------------------------------------------------------------------


def test_a_release_pre_empts_the_stop_that_was_not_sent(bench: Bench) -> None:
    stopped = stop(bench)
    released = release(bench)
    assert (bench.state(stopped), bench.state(released)) == ("superseded", "queued")
    delivered = bench.deliver()
    assert delivered.order_id == released
    assert bench.order(released).version > bench.order(stopped).version


def test_a_release_outranks_the_stop_that_was_sent(bench: Bench) -> None:
    stopped = stop(bench)
    bench.deliver()
    released = release(bench)
    for _ in range(3):
        delivered = bench.deliver()
        assert delivered.order_id == released, "the stop is not sent again once its release is stated"
    bench.peer.hold(delivered.raw)
    bench.answers(bench.ask())
    assert (bench.state(stopped), bench.state(released)) == ("superseded", "confirmed")


def test_a_confirmed_stop_then_a_release(bench: Bench) -> None:
    stopped, asked = under_way(bench)
    bench.answers(asked)
    released = release(bench)
    bench.peer.hold(bench.deliver().raw)
    bench.peer.be(**CLOSED, holds=0)
    bench.answers(bench.ask())
    assert (bench.state(stopped), bench.state(released)) == ("confirmed", "confirmed")


def test_holds_of_different_reasons_do_not_touch_each_other(bench: Bench) -> None:
    safety = stop(bench, reasons.HOLD_SAFETY)
    release(bench, LEGAL)
    assert bench.state(safety) == "queued"


# --- money ----------------------------------------------------------------------------------------------------------


def test_two_payments_before_anything_was_sent_make_one_statement_of_both(bench: Bench) -> None:
    first = pay(bench, "a", 5_000_000)
    second = pay(bench, "b", 2_000_000)
    assert (bench.state(first), bench.state(second)) == ("superseded", "queued")
    delivered = bench.deliver(ASPECT_CREDIT)
    order = bench.peer.hold(delivered.raw)
    total_uc, _, sales = bodies.decode_credit(order.stated.body)
    assert (total_uc, sales) == (7_000_000, [(5_000_000, 5_000_000), (7_000_000, 2_000_000)])
    assert order.stated.selector == SOURCE
    bench.peer.totals[SOURCE] = total_uc
    bench.answers(bench.ask(ASPECT_CREDIT))
    assert bench.state(second) == "confirmed"
    assert bench.meter().on_meter_uc == 7_000_000
    shown = bench.store.read(lambda conn: list(conn.execute(select(payment.c.on_meter_s)).scalars()))
    assert shown == [bench.clock.now_s()] * 2


def test_a_payment_after_sending_makes_a_second_statement_and_one_report_confirms_both(bench: Bench) -> None:
    first = pay(bench, "a", 5_000_000)
    bench.deliver(ASPECT_CREDIT)
    second = pay(bench, "b", 2_000_000)
    bench.peer.totals[SOURCE] = 6_999_999
    bench.answers(bench.ask(ASPECT_CREDIT))
    assert (bench.state(first), bench.state(second)) == ("confirmed", "sent")
    bench.peer.totals[SOURCE] = 7_000_000
    bench.answers(bench.ask(ASPECT_CREDIT))
    assert bench.state(second) == "confirmed"


def test_a_payment_writes_the_release_of_an_arrears_stop_that_was_sent(bench: Bench) -> None:
    stopped = stop(bench, ARREARS)
    bench.deliver()
    credit = pay(bench, "a", 5_000_000)
    released = bench.order(credit + 1)
    assert (released.aspect, released.selector, released.wants) == (ASPECT_SUPPLY, ARREARS, "permit")
    assert bodies.decode_supply(released.body)[0] == bodies.RELEASE
    assert bench.state(stopped) == "sent"
    pay(bench, "b", 5_000_000)
    supply = bench.store.read(lambda conn: len(conn.execute(select(payment.c.order_id)).all()))
    assert supply == 2 and bench.state(credit + 1) == "queued", "the second payment finds the release stated"


def test_a_payment_releases_no_other_hold(bench: Bench) -> None:
    stop(bench, reasons.HOLD_TAMPER)
    bench.deliver()
    credit = pay(bench, "a", 5_000_000)
    assert sorted(bench.outbox()) == [credit - 1, credit]


def test_the_same_bytes_are_signed_after_a_restart(bench: Bench) -> None:
    order_id = release(bench)
    signed = bench.deliver().raw
    assert lifecycle.SENT == bench.state(order_id)
    assert bench.order(order_id).signed == signed
    twin = Bench()
    twin.clock.advance(bench.order(order_id).issued_s - twin.clock.now_s())
    release(twin)
    assert twin.deliver().raw == signed
