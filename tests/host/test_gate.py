"""The gate: who may do what alone, what a second person approves, and what is asked again when an order is sent."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.exc import DBAPIError

from headend.epochs import life as epochs
from headend.gate import freeze, kinds, policy, proposals, recall
from headend.ledger import bills, payments
from headend.orders import ending, lifecycle, statements
from headend.orders.why import can_stop, why_off
from headend.refusals import Refused
from headend.registry import calendar, exclusions
from headend.registry.evidence import Evidence
from headend.registry.rules import Rule
from headend.store.schema_audit import audit
from headend.store.schema_gate import proposal as proposal_table
from meterlink import bodies, reasons
from meterlink.orders import ASPECT_SUPPLY
from meterlink.tariff import Tariff
from tests.host.books import CHANNEL, NOW_S
from tests.host.gate_rig import ANN, ARREARS, BOB, EVE, FIRST, Office, limits, rules

LEGAL, SAFETY = reasons.HOLD_LEGAL, reasons.HOLD_SAFETY


@pytest.fixture
def office() -> Iterator[Office]:
    made = Office()
    yield made
    made.close()


@pytest.fixture
def both(any_store_url: str) -> Iterator[Office]:
    """On each kind of database in turn."""
    made = Office(any_store_url)
    yield made
    made.close()


def ended(office: Office, order_id: int) -> str:
    """The sentence with which an order ended."""
    return office.history(order_id)[-1][2]


# --- budgets ----------------------------------------------------------------------------------------------------------


def test_one_person_opens_one_relay_of_a_small_fleet_and_a_second_one_waits(both: Office) -> None:
    first, second = both.stop(FIRST), both.stop(FIRST + 1)
    assert [both.state(one) for one in (first, second)] == ["queued", "awaiting_approval"]
    assert "of 1 in" in ended(both, second) and ANN in ended(both, second)
    assert [one.order_id for one in both.due()] == [first]
    row = both.order(second)
    assert (row.version, row.not_after_s, row.gate) == (0, 0, "approved")
    both.clock.advance(3600)
    both.approve(row.proposal)
    delivered = both.due()
    assert [one.order_id for one in delivered] == [second]
    row = both.order(second)
    assert (row.state, row.version) == ("sent", 1)
    assert row.not_after_s == delivered[0].last_s == both.clock.now_s() + 900, "its life began when it was queued"
    assert [(one.order_id, one._mapping["class"]) for one in both.passes()] == [
        (first, "alone"),
        (second, "approved"),
    ]


@pytest.mark.parametrize("scope", ["actor", "feeder", "area", "utility"])
def test_each_scope_has_its_own_budget(scope: str) -> None:
    areas = ("north/f-1", "north/f-2", "south/f-1")
    office = Office(meters=6, areas=areas, rules=limits(**{scope: 1}))
    free = {
        "actor": [(FIRST + 1, BOB)],
        "feeder": [(FIRST + 1, ANN), (FIRST + 2, ANN)],
        "area": [(FIRST + 2, ANN)],
        "utility": [],
    }[scope]
    assert office.state(office.stop(FIRST)) == "queued"
    for number, actor in free:
        assert office.state(office.stop(number, actor=actor)) == "queued", (scope, number, actor)
    assert office.state(office.stop(FIRST + 3, actor=ANN)) == "awaiting_approval"
    office.close()


def test_the_budget_is_of_the_last_hour_and_the_last_day(office: Office) -> None:
    wide = policy.flat(100)["limits"]
    wide["alone"]["utility"] = {"hour": [1, 1, 0], "day": [2, 2, 0]}
    office.write(policy.put, "system", {"limits": wide}, "two a day")
    office.stop(FIRST)
    office.due()
    assert office.state(office.stop(FIRST + 1)) == "awaiting_approval"
    office.clock.advance(3600)
    assert office.state(office.stop(FIRST + 2)) == "queued"
    office.due()
    office.clock.advance(3601)
    assert office.state(office.stop(FIRST + 3)) == "awaiting_approval", "two within a day"
    office.clock.advance(86_400 - 2 * 3600)
    assert office.state(office.stop(FIRST + 4)) == "queued"
    office.due()


def test_limits_grow_with_the_fleet() -> None:
    share = policy.Share(1, 50, 100)
    assert [share.of(meters) for meters in (0, 999, 1_000, 2_000, 50_000, 10**6)] == [1, 1, 1, 2, 50, 50]


def test_what_gives_passes_freely_and_is_not_counted(office: Office) -> None:
    freeze_id = office.write(freeze.set, EVE, "look first")
    assert freeze_id == office.write(freeze.set, BOB, "again")
    made = [office.release(number) for number in office.meters]
    made += [office.write(statements.protect, number, ANN) for number in office.meters]
    assert {one.order_id for one in office.pass_time(300, 5)} >= set(made)
    assert office.passes() == []


def test_a_dear_tariff_waits_and_is_wanted_once_it_is_approved(office: Office) -> None:
    office.stop(FIRST)
    order_id = office.write(statements.set_tariff, FIRST + 1, Tariff((900_000,)), ANN)
    wanted = text("select tariff from meter where meter = :m")

    def tariff() -> bytes:
        return office.store.read(lambda conn: bytes(conn.execute(wanted, {"m": FIRST + 1}).scalar_one()))

    assert office.state(order_id) == "awaiting_approval" and tariff() != Tariff((900_000,)).encode()
    again = office.write(statements.set_tariff, FIRST + 1, Tariff((900_001,)), ANN)
    assert office.state(order_id) == "superseded" and office.state(again) == "awaiting_approval"
    office.approve(office.order(again).proposal)
    assert [one.order_id for one in office.due() if one.meter == FIRST + 1] == [again]
    assert tariff() == Tariff((900_001,)).encode()
    cheaper = office.write(statements.set_tariff, FIRST + 1, Tariff((1,)), ANN)
    assert office.state(cheaper) == "queued" and office.order(cheaper).gate == ""


def test_what_waits_is_no_measure_for_what_follows(office: Office) -> None:
    """Stated twice, a dear tariff that was never sent does not make itself cheap."""
    office.write(freeze.set, EVE, "look first")
    first = office.write(statements.set_tariff, FIRST, Tariff((900_000,)), ANN)
    assert office.state(first) == "queued"
    second = office.write(statements.set_tariff, FIRST, Tariff((900_000,)), BOB)
    assert office.order(second).gate == "alone" and office.due() == []
    office.write(ending.cancel, second, BOB)
    third = office.write(statements.set_tariff, FIRST, Tariff((900_000,)), EVE)
    assert office.order(third).gate == "alone"


# --- approval ---------------------------------------------------------------------------------------------------------


def waiting(office: Office, number: int = FIRST + 1, **options: Any) -> int:
    """A stop that waits for a second person."""
    office.stop(FIRST, LEGAL)
    order_id = office.stop(number, **options)
    assert office.state(order_id) == "awaiting_approval"
    return order_id


def test_nobody_approves_his_own_and_no_channel_approves(both: Office) -> None:
    proposal = both.order(waiting(both)).proposal
    for actor in (ANN, "channel:ops", "system"):
        with pytest.raises(Refused, match="approver"):
            both.approve(proposal, actor)
    assert both.proposal(proposal).state == "open"


def test_an_approval_names_exactly_what_was_proposed(both: Office) -> None:
    proposal = both.order(waiting(both)).proposal
    other = both.proposal(both.order(both.stop(FIRST + 2)).proposal).digest
    for digest in (other, "", "0" * 64):
        with pytest.raises(proposals.OtherDigest):
            both.write(proposals.approve, proposal, digest, BOB)
    for change in ({"payload": "{}"}, {"digest": "0" * 64}, {"author": EVE}, {"policy_version": 9}):
        with pytest.raises(DBAPIError, match="never changes"):
            both.store.write(lambda conn, new=change: conn.execute(update(proposal_table).values(new))).result()
    both.approve(proposal)
    with pytest.raises(Refused, match="one that is open; this one is"):
        both.approve(proposal, EVE)


def test_another_policy_is_another_proposal(office: Office) -> None:
    order_id = waiting(office)
    proposal = office.order(order_id).proposal
    office.write(policy.put, "system", rules(50), "more")
    with pytest.raises(proposals.OtherDigest):
        office.approve(proposal)


def test_what_was_approved_under_another_policy_is_not_sent(office: Office) -> None:
    order_id = waiting(office)
    office.approve(office.order(order_id).proposal)
    office.write(policy.put, "system", rules(50), "more")
    assert order_id not in [one.order_id for one in office.due()]
    assert office.state(order_id) == "cancelled" and "policy" in ended(office, order_id)


def test_a_proposal_that_nobody_decides_expires_with_its_order(both: Office) -> None:
    order_id = waiting(both)
    proposal = both.order(order_id).proposal
    both.clock.advance(policy.Policy().proposal_s + 2)
    with pytest.raises(Refused, match="the time of this one ran out"):
        both.approve(proposal)
    both.settle()
    assert (both.proposal(proposal).state, both.state(order_id)) == ("expired", "expired")


def test_it_is_refused_by_another_and_withdrawn_by_its_author(office: Office) -> None:
    first, second = waiting(office), office.stop(FIRST + 2)
    office.write(proposals.refuse, office.order(first).proposal, BOB, "paid at the counter")
    assert office.state(first) == "cancelled" and "paid at the counter" in ended(office, first)
    with pytest.raises(Refused, match="who proposed it"):
        office.write(proposals.withdraw, office.order(second).proposal, BOB)
    office.write(ending.cancel, second, ANN, "a mistake")
    assert (office.state(second), office.proposal(office.order(second).proposal).state) == ("cancelled", "withdrawn")


def test_a_newer_statement_ends_one_that_waits_and_its_proposal_is_void(office: Office) -> None:
    order_id = waiting(office)
    proposal = office.order(order_id).proposal
    office.release(FIRST + 1)
    assert office.state(order_id) == "superseded"
    with pytest.raises(lifecycle.NotAllowed):
        office.approve(proposal)
    office.settle()
    assert office.proposal(proposal).state == "void"


def test_every_step_is_in_the_audit(office: Office) -> None:
    order_id = waiting(office)
    proposal = office.order(order_id).proposal
    office.approve(proposal)
    query = select(audit.c.actor, audit.c.action).where(
        audit.c.subject.in_((f"order:{order_id}", f"proposal:{proposal}"))
    )
    found = office.store.read(lambda conn: [tuple(row) for row in conn.execute(query.order_by(audit.c.id))])
    assert found == [(ANN, "proposal.made"), (ANN, "order.stated"), (BOB, "proposal.approved")]


# --- asked again when it is sent ----------------------------------------------------------------------------------


def pay(office: Office, number: int = FIRST + 1, payment_id: str = "1") -> None:
    office.write(payments.take, CHANNEL, payment_id, number, 1_000_000)


def test_a_payment_ends_a_stop_that_waits_for_approval(both: Office) -> None:
    order_id = waiting(both)
    other = both.stop(FIRST + 1, LEGAL)
    pay(both)
    assert (both.state(order_id), both.state(other)) == ("cancelled", "awaiting_approval")
    assert "a payment met it" in ended(both, order_id)


def test_a_list_passes_over_whoever_paid_since_it_was_proposed(both: Office) -> None:
    proposal = both.propose()
    both.clock.advance(60)
    pay(both)
    both.approve(proposal)
    sent = {one.meter for one in both.due() if one.raw[1] == 2}
    assert sent == set(both.meters) - {FIRST + 1}
    item = both.items(proposal)[FIRST + 1]
    assert item.state == "dropped" and "paid" in item.note


def owe(office: Office, number: int, *, due_s: int) -> int:
    lines = [bills.Line("energy", 5_000_000)]
    when = {"notice_s": NOW_S - 90 * 86_400, "due_s": due_s}
    return int(office.write(bills.issue, number, f"bill of {number}, {due_s}", lines, **when, actor=ANN))


def test_whoever_is_billed_is_stopped_for_what_is_overdue_and_for_nothing_else(both: Office) -> None:
    both.write(policy.put, "system", rules(100), "a test")
    cancelled, not_due, owes = both.meters[:3]
    bill = owe(both, cancelled, due_s=NOW_S - 3 * 86_400)
    owe(both, not_due, due_s=NOW_S + 3 * 86_400)
    owe(both, owes, due_s=NOW_S - 3 * 86_400)
    assert why(both, cancelled)[0] and why(both, owes)[0]
    sentence = "Not stopped: no bill of the customer is overdue."
    assert why(both, not_due) == (False, "gate.nothing_owed", sentence)
    assert why(both, not_due, language="zh")[2] == "不予停电：该客户没有逾期账单。"
    proposal = both.propose()
    single = both.stop(cancelled, actor=BOB)
    both.write(bills.cancel, bill, ANN, "misread")
    assert both.pass_time(60, 5) == [], "one that is queued alone ends"
    assert both.state(single) == "cancelled" and ended(both, single) == sentence
    both.approve(proposal)
    sent = {one.meter for one in both.pass_time(60, 5)}
    assert sent == set(both.meters) - {cancelled, not_due}
    assert {both.items(proposal)[number].note for number in (cancelled, not_due)} == {sentence}
    assert why(both, cancelled, LEGAL)[0], "other reasons ask for no bills"


FILE = Evidence("ward 7, register of 2026")


def exclude(office: Office, number: int, kind: str = "direct_debit") -> int:
    return int(office.write(exclusions.put, number, kind, "user:clerk", FILE))


def test_whoever_is_excluded_after_an_approval_is_passed_over(both: Office) -> None:
    proposal = both.propose()
    both.approve(proposal)
    exclude(both, FIRST + 2)
    sent = {one.meter for one in both.due() if one.raw[1] == ASPECT_SUPPLY and one.raw[15] == ARREARS}
    assert sent == set(both.meters) - {FIRST + 2}
    item = both.items(proposal)[FIRST + 2]
    assert item.state == "dropped" and "ward 7" in item.note


def test_a_stop_of_an_excluded_meter_ends_where_it_would_be_sent(office: Office) -> None:
    exclude(office, FIRST)
    order_id = office.stop(FIRST)
    office.pass_time(60, 5)
    assert office.state(order_id) == "cancelled" and "ward 7" in ended(office, order_id)


def test_an_hour_that_the_calendar_bars_holds_a_stop_until_it_expires_and_a_list_until_it_is_over(
    office: Office,
) -> None:
    evening = Rule("Nights", "夜间")
    office.write(calendar.put, 0, "UTC", (evening,), "user:clerk", "always, for a test")
    order_id = office.stop(FIRST)
    proposal = office.propose(office.meters[1:])
    office.approve(proposal)
    assert office.due() == [] and office.state(order_id) == "queued"
    said = [note for event, _, note in office.history(order_id) if event == "gate"]
    assert len(said) == 1 and "Nights" in said[0], "why is said once"
    office.pass_time(1200)
    assert office.state(order_id) == "expired" and len(office.history(order_id)) == 3
    office.write(calendar.put, 1, "UTC", (), "user:clerk", "no more")
    assert {one.meter for one in office.pass_time(120)} == set(office.meters[1:])


def test_safety_asks_nobody_and_is_barred_by_no_register(office: Office) -> None:
    for number in office.meters:
        exclude(office, number, "protection")
        assert office.state(office.stop(number, SAFETY)) == "queued"
    assert {one.meter for one in office.pass_time(120, 5) if one.raw[15] == SAFETY} == set(office.meters)


def test_safety_has_a_limit_of_its_own() -> None:
    office = Office(meters=30)
    for number in office.meters:
        office.stop(number, SAFETY)
    assert (
        len({one.meter for one in office.pass_time(120)})
        == policy.Policy().share(policy.SAFETY, "actor", "hour").of(30)
        == 10
    )
    office.close()


def test_a_hold_for_safety_outlives_tenants_and_meters(both: Office) -> None:
    both.stop(FIRST, SAFETY)
    both.due()
    both.write(epochs.open_epoch, FIRST, "tenant", ANN)
    assert why(both, FIRST, SAFETY)[1] == "order.held"
    both.write(epochs.exchange, FIRST, FIRST + 1, ANN)
    assert why(both, FIRST + 1, SAFETY)[1] == "order.held" and why(both, FIRST + 2, SAFETY)[0]


# --- freeze -----------------------------------------------------------------------------------------------------------


def test_a_freeze_holds_what_is_queued_approved_and_signed_and_one_person_cannot_lift_it(both: Office) -> None:
    alone, waits = both.stop(FIRST), both.stop(FIRST + 1)
    both.approve(both.order(waits).proposal)
    proposal = both.propose(both.meters[2:])
    both.approve(proposal)
    both.write(freeze.set, EVE, "something is wrong")
    assert both.pass_time(300) == []
    assert both.state(alone) == "queued" and both.order(alone).signed is not None
    assert "something is wrong" in both.history(alone)[-1][2]
    assert both.write(freeze.lift, EVE) is False
    with pytest.raises(Refused, match="approver"):
        both.write(freeze.lift, EVE)
    assert both.store.read(freeze.standing) is not None and both.pass_time(60) == []
    assert both.write(freeze.lift, BOB) is True
    assert {one.meter for one in both.pass_time(240)} >= {FIRST, *both.meters[2:]}


def test_a_stop_that_was_sent_is_not_sent_again_while_a_freeze_stands(office: Office) -> None:
    order_id = office.stop(FIRST)
    assert [one.order_id for one in office.due()] == [order_id]
    office.write(freeze.set, EVE, "look first")
    assert office.pass_time(90, 5) == []
    office.write(freeze.lift, EVE)
    office.write(freeze.lift, BOB)
    assert [one.order_id for one in office.pass_time(240, 5)][:1] == [order_id]


# --- lists and recall -------------------------------------------------------------------------------------------------


def test_one_command_for_all_is_a_list_that_passes_at_the_pace_of_the_budget() -> None:
    """A faulty command once cut off 300 000 households that had paid, for three hours."""
    office = Office(meters=120, areas=("north/f-1", "north/f-2", "south/f-1", "south/f-2"))
    single = [office.stop(number, LEGAL) for number in office.meters[:12]]
    assert [office.state(one) for one in single].count("queued") == 1, "order by order, one person gets no further"
    for one in single[1:]:
        office.write(ending.cancel, one, ANN)
    proposal = office.propose()
    assert office.pass_time(600) != [] and not [one for one in office.passes() if one._mapping["class"] == "approved"]
    with pytest.raises(Refused, match="approver"):
        office.approve(proposal, ANN)
    office.approve(proposal)
    office.pass_time(900)
    hour = policy.Policy().share(policy.APPROVED, "utility", "hour").of(120)
    passed = [one for one in office.passes() if one.at_s > office.clock.now_s() - 3600]
    assert len(passed) == hour == 10
    office.write(freeze.set, EVE, "these customers have paid")
    assert office.pass_time(7200, 300) == []
    before = len(office.passes())
    office.write(recall.recall, proposal, EVE)
    given = [one for one in office.pass_time(600) if one.raw[1] == ASPECT_SUPPLY]
    assert len({one.meter for one in given}) == hour - 1, "what was sent of it is given back while the freeze stands"
    assert {bodies.decode_supply(office.order(one.order_id).body)[0] for one in given} == {bodies.RELEASE}
    assert len(office.passes()) == before
    states = [one.state for one in office.items(proposal).values()]
    assert (states.count("released"), states.count("dropped")) == (hour - 1, 120 - hour + 1)
    assert office.proposal(proposal).state == "recalled"
    office.close()


def test_a_recall_leaves_what_stood_before_the_list_and_what_was_stated_after_it(office: Office) -> None:
    office.write(policy.put, "system", rules(100), "a test")
    earlier = office.stop(FIRST)
    office.due()
    proposal = office.propose(office.meters[:4])
    office.approve(proposal)
    office.pass_time(60)
    released = office.release(FIRST + 1)
    mine = office.stop(FIRST + 2, LEGAL)
    office.clock.advance(60)
    office.write(recall.recall, proposal, EVE)
    office.pass_time(60)
    items = office.items(proposal)
    assert items[FIRST].release_id is None, "its hold stood before"
    assert items[FIRST + 1].release_id is None, "somebody has released it already"
    assert office.order(items[FIRST + 2].release_id).selector == ARREARS
    ends = {office.state(one) for one in (earlier, released, mine)} & lifecycle.ENDS
    assert not ends, "what others stated goes its way"
    assert bodies.decode_supply(office.order(items[FIRST + 3].release_id).body)[3] == 2 * 4, "spread over the feeder"


def test_a_recalled_tariff_is_the_one_before(office: Office) -> None:
    proposal = office.propose(kind="tariff", body=Tariff((900_000,)).encode().hex())
    office.approve(proposal)
    office.pass_time(60)
    assert {row.wants for row in office.orders()} == {"version"} and len(office.orders()) == 6
    office.write(recall.recall, proposal, EVE)
    office.pass_time(60)
    restated = office.orders()[6:]
    assert {row.body for row in restated} == {Tariff((530_000,)).encode()} and len(restated) == 6
    assert {row.gate for row in restated} == {""}, "it is cheaper"


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ({"meters": []}, "meters"),
        ({"meters": [FIRST + 1, FIRST]}, "meters"),
        ({"meters": [FIRST, FIRST]}, "meters"),
        ({"meters": [FIRST, 999], "reason": 1}, "meters"),
        ({"meters": [True]}, "meters"),
        ({"meters": [FIRST], "reason": SAFETY}, "reason"),
        ({"meters": [FIRST], "reason": 0}, "reason"),
        ({"meters": [FIRST], "reason": 1, "valid_s": 901}, "valid_s"),
        ({"meters": [FIRST], "reason": 1, "close": 1}, "close"),
        ({"meters": [FIRST], "reason": 1.5}, "payload"),
    ],
)
def test_a_list_that_does_not_fit_is_refused(office: Office, payload: dict[str, Any], field: str) -> None:
    with pytest.raises(Refused) as refused:
        office.write(proposals.propose, "stop", payload, ANN, "")
    assert refused.value.field == field
    assert office.store.read(lambda conn: conn.execute(select(func.count()).select_from(proposal_table)).scalar()) == 0


def test_a_long_list_is_prepared_in_parts_and_decided_once_it_is_whole(
    any_store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kinds, "PART", 4)
    office = Office(any_store_url, meters=10, areas=("north/f-1", "north/f-2"))
    proposal = office.propose()
    assert (office.proposal(proposal).state, office.proposal(proposal).area) == ("preparing", "north")
    with pytest.raises(Refused, match="one that is open; this one is preparing"):
        office.approve(proposal)
    assert list(office.items(proposal)) == list(office.meters[:4])
    office.settle()
    assert office.proposal(proposal).state == "open" and list(office.items(proposal)) == list(office.meters)
    office.approve(proposal)
    assert office.pass_time(60, 5) != []
    unknown = office.propose([*office.meters, 999])
    withdrawn = office.propose()
    office.write(proposals.withdraw, withdrawn, ANN)
    office.settle()
    assert (office.proposal(unknown).state, office.proposal(withdrawn).state) == ("void", "withdrawn")
    assert "meters: 999 given" in office.proposal(unknown).note
    office.close()


# --- by hand ----------------------------------------------------------------------------------------------------------


def test_an_order_that_was_not_sent_is_withdrawn_by_its_author_or_an_approver(office: Office) -> None:
    order_id = office.stop(FIRST)
    with pytest.raises(Refused, match="actor"):
        office.write(ending.cancel, order_id, BOB)
    office.write(ending.cancel, order_id, BOB, "wrong house", as_approver=True)
    assert office.state(order_id) == "cancelled" and office.due() == []
    sent = office.stop(FIRST + 1)
    office.due()
    with pytest.raises(lifecycle.NotAllowed):
        office.write(ending.cancel, sent, ANN)


def test_what_gives_and_what_protects_is_not_withdrawn(office: Office) -> None:
    made = [
        office.release(FIRST),
        office.stop(FIRST, SAFETY),
        office.write(statements.protect, FIRST, ANN),
        office.write(payments.take, CHANNEL, "1", FIRST, 5).order_id,
    ]
    for order_id in made:
        with pytest.raises(Refused, match="an order that takes something away"):
            office.write(ending.cancel, order_id, office.order(order_id).actor)


def test_an_order_is_given_up_only_where_no_proof_will_come(office: Office) -> None:
    order_id = office.release(FIRST)
    with pytest.raises(lifecycle.NotAllowed):
        office.write(ending.write_off, order_id, BOB, "dismantled")
    office.pass_time(4 * 3600, 60)
    assert office.state(order_id) == "unknown"
    with pytest.raises(Refused, match="why"):
        office.write(ending.write_off, order_id, BOB, " ")
    office.write(ending.write_off, order_id, BOB, "dismantled")
    assert office.state(order_id) == "written_off"


# --- why --------------------------------------------------------------------------------------------------------------


def why(office: Office, number: int = FIRST, reason: int = ARREARS, language: str = "en") -> tuple[bool, str, str]:
    answer = office.store.read(can_stop, office.clock.now_s(), number, reason, language, ANN)
    return answer.yes, answer.rule, answer.sentence


def test_what_can_stop_says_is_what_sending_does(office: Office) -> None:
    assert why(office) == (True, "gate.free", "It can be disconnected for arrears now.")
    assert why(office, language="zh")[2] == "现在可以因欠费停电。"
    exclude(office, FIRST)
    yes, rule, sentence = why(office)
    assert (yes, rule) == (False, "exclusion.direct_debit") and "ward 7" in sentence
    order_id = office.stop(FIRST)
    office.pass_time(60, 5)
    assert ended(office, order_id) == sentence, "the order ends with the same words"
    assert why(office, FIRST, SAFETY)[0]
    used = office.stop(FIRST + 1)
    assert why(office, FIRST + 1)[1] == "order.held" and f"order {used}" in why(office, FIRST + 1)[2]
    assert why(office, FIRST + 2)[:2] == (False, "gate.needs_approval")
    waits = office.stop(FIRST + 2)
    assert why(office, FIRST + 2)[1] == "order.waiting" and f"order {waits}" in why(office, FIRST + 2)[2]
    office.write(freeze.set, EVE, "look first")
    assert why(office, FIRST + 3)[1] == "gate.frozen" and "look first" in why(office, FIRST + 3, language="zh")[2]
    office.write(statements.protect, FIRST + 4, ANN)
    office.write(freeze.lift, EVE)
    office.write(freeze.lift, BOB)
    assert why(office, FIRST + 4)[1] == "order.protected"


def test_nobody_asks_in_vain(office: Office) -> None:
    assert office.store.read(why_off, NOW_S, FIRST, "en") == "Not known: the meter has not reported yet."
    with pytest.raises(Refused, match="reason"):
        office.store.read(can_stop, NOW_S, FIRST, reasons.HOLD_PROTECTION)
    with pytest.raises(Refused, match="meter"):
        office.store.read(why_off, NOW_S, 1)
