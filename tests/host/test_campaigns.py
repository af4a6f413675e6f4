"""Campaigns: what a dry run says, how groups follow each other, what holds and stops one."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import update

from headend.campaigns import acts, lifecycle, making, plan, progress
from headend.engine import Engine
from headend.gate import freeze, policy, proposals
from headend.gate import recall as lists
from headend.orders import statements
from headend.refusals import Refused
from headend.registry import exclusions
from headend.registry.evidence import Evidence
from headend.store.schema import meter_state
from meterlink import bodies, stating
from meterlink.tariff import Tariff
from tests.host.campaign_rig import REFUSES, SILENT, WHOLE, Field
from tests.host.gate_rig import ANN, ARREARS, BOB, EVE

GROUPS = {"groups": ["2", "25%", "rest"], "per_minute": 60_000}


AREAS = ("north/f-1", "north/f-2", "south/f-3")


@pytest.fixture
def field() -> Iterator[Field]:
    made = Field(meters=12, areas=AREAS)
    yield made
    made.close()


@pytest.fixture
def on_both(any_store_url: str) -> Iterator[Field]:
    """The same, on each kind of database in turn."""
    made = Field(any_store_url, meters=12, areas=AREAS)
    yield made
    made.close()


def test_a_dry_run_says_of_each_meter_whether_it_is_in_and_states_nothing(on_both: Field) -> None:
    field = on_both
    first, second, third, fourth = field.meters[:4]
    excluded = field.write(exclusions.put, first, "life_support", "user:clerk", Evidence("a register"))
    field.write(statements.stop, third, ARREARS, EVE)
    field.run(30)
    old = {"report_taken_s": field.clock.now_s() - 2 * 86_400}
    field.store.write(lambda conn: conn.execute(update(meter_state).where(meter_state.c.meter == second).values(old)))
    before = len(field.orders())
    made = field.dry_run(chosen={"meters": [*field.meters, 999_999]})
    found = field.looked_at(made)
    assert len(found) == 13 and len(field.orders()) == before
    assert (found[first].verdict, found[first].rule) == ("barred", "exclusion.life_support")
    assert found[first].evidence == excluded
    assert "a register" in found[first].said_en and "a register" in found[first].said_zh
    assert (found[second].verdict, found[second].rule) == ("barred", "gate.stale")
    assert (found[third].verdict, found[999_999].rule) == ("there", "campaign.unknown")
    assert found[fourth].verdict == "in"
    row = field.campaign(made)
    assert row.state == lifecycle.DRAFTED and sum(json.loads(row.groups)) == 9
    assert ("in", "", 9) in field.store.read(progress.dry_run, made)
    again = field.dry_run(chosen={"meters": [*field.meters, 999_999]})
    assert field.campaign(again).digest == row.digest, "the same facts give the same fingerprint"


def test_what_was_approved_is_what_the_dry_run_listed(field: Field) -> None:
    made = field.dry_run(chosen={"area": "north"})
    proposal = field.write(acts.propose, made, ANN)
    payload = json.loads(field.proposal(proposal).payload)
    assert payload["dry_run"] == field.campaign(made).digest and payload["campaign"] == made
    assert payload["meters"] == [number for number, one in field.looked_at(made).items() if one.verdict == "in"]
    assert field.proposal(proposal).area == field.campaign(made).area == "north"
    with pytest.raises(Refused, match="actor"):
        field.write(acts.propose, field.dry_run(), BOB)


def test_groups_follow_each_other_once_enough_are_confirmed(on_both: Field) -> None:
    field = on_both
    made = field.begin(plan=GROUPS)
    groups = {number: one.grp for number, one in field.looked_at(made).items()}
    assert sorted(groups.values()) == [0, 0, 1, 1, 1, *[2] * 7]
    most = 0
    for _ in range(200):
        field.second()
        sent = field.sent(made)
        reached = max((groups[number] for number in sent), default=0)
        for group in range(reached):  # whoever is in an earlier group was sent, and is confirmed, before
            mine = [number for number, at in groups.items() if at == group]
            assert set(mine) <= sent
        most = max(most, reached)
        field.clock.advance(1)
    assert most == 2 and field.campaign(made).state == lifecycle.DONE
    assert field.history(made) == ["make", "ready", "propose", "approve", "next", "next", "stated", "finish"]
    assert (
        field.store.read(progress.by_feeder, field.clock.now_s(), field.campaign(made))["south/f-3"]["confirmed"] == 4
    )


def test_a_campaign_waits_where_too_few_of_a_group_are_confirmed(field: Field) -> None:
    made = field.dry_run(plan={**GROUPS, "answer_s": 60})
    canary = [number for number, one in field.looked_at(made).items() if one.grp == 0]
    field.behaves[canary[0]] = SILENT
    field.approve(field.write(acts.propose, made, ANN))
    field.run(200, 5)
    assert field.campaign(made).state == lifecycle.HELD and field.sent(made) == set(canary)
    assert "1 of 2" in field.campaign(made).note
    field.write(acts.go_on, made, EVE, "the one is being visited")
    field.run(200, 5)
    assert field.campaign(made).state == lifecycle.SETTLING and len(field.sent(made)) == 12
    field.behaves.clear()
    field.run(4000, 200)
    assert field.campaign(made).state == lifecycle.DONE


def test_a_group_goes_on_by_itself_when_the_late_ones_answer(field: Field) -> None:
    made = field.dry_run(plan={**GROUPS, "answer_s": 60})
    canary = [number for number, one in field.looked_at(made).items() if one.grp == 0]
    field.behaves[canary[0]] = SILENT
    field.approve(field.write(acts.propose, made, ANN))
    field.run(100, 5)
    assert field.campaign(made).state == lifecycle.HELD
    field.behaves.clear()
    field.run(300, 5)
    assert field.campaign(made).state == lifecycle.DONE


@pytest.mark.parametrize("behaves", [REFUSES, SILENT])
def test_a_campaign_is_stopped_where_too_many_fail(behaves: str) -> None:
    field = Field(meters=60, areas=("north/f-1", "north/f-2"))
    field.behaves = dict.fromkeys(field.meters[::10], behaves)  # one of ten, where 2 of 100 are let pass
    made = field.begin(plan={"groups": ["rest"], "per_minute": 240, "answer_s": 10, "abort_after": 10})
    field.run(40, 2)
    row = field.campaign(made)
    assert row.state == lifecycle.ABORTED
    sent = field.sent(made)
    assert 10 <= len(sent) < 60
    mine = {one.meter: one for one in field.orders() if one.proposal == row.proposal}
    assert {one.state for number, one in mine.items() if number not in sent} <= {"cancelled"}
    deliveries = len(field.delivered)
    field.run(900, 30)
    assert field.sent(made) == sent and len(field.delivered) == deliveries, "nothing more reaches a carrier"
    assert field.proposal(row.proposal).state == proposals.WITHDRAWN
    assert {one.state for one in field.items(row.proposal).values()} == {"queued", "dropped"}
    field.close()


def test_few_failures_stop_nothing() -> None:
    field = Field(meters=100)
    field.behaves = dict.fromkeys(field.meters[:2], REFUSES)
    made = field.begin()
    field.run(60, 2)
    assert field.campaign(made).state == lifecycle.DONE
    field.close()


def test_less_than_fifty_answers_stop_nothing() -> None:
    field = Field(meters=49)
    field.behaves = dict.fromkeys(field.meters, REFUSES)
    made = field.begin()
    field.run(20, 2)
    assert field.campaign(made).state == lifecycle.DONE
    field.close()


def test_a_pause_holds_what_is_queued_and_a_resume_takes_it_up(field: Field) -> None:
    made = field.begin(plan={"groups": ["rest"], "per_minute": 60})
    field.run(4)
    sent = field.sent(made)
    assert 0 < len(sent) < 12
    field.write(acts.pause, made, ANN, "look first")
    field.run(1000, 60)
    assert field.sent(made) == sent
    field.write(acts.resume, made, ANN, "go on")
    field.run(200, 5)
    assert field.sent(made) == set(field.meters) and field.campaign(made).state == lifecycle.DONE


def test_what_was_queued_when_somebody_stops_a_campaign_is_cancelled(field: Field) -> None:
    field.write(freeze.set, EVE, "look first")  # orders are queued, and wait
    field.store.write(lambda conn: conn.execute(update(freeze.freeze).values(standing=None))).result()
    made = field.begin()
    field.store.write(freeze.set, field.clock.now_s(), EVE, "again").result()
    field.run(3)
    assert field.sent(made) == set()
    field.write(acts.abort, made, ANN, "a wrong list")
    mine = [one.state for one in field.orders() if one.proposal == field.campaign(made).proposal]
    assert set(mine) <= {"cancelled"}
    with pytest.raises(Refused, match="event of campaign"):
        field.write(acts.resume, made, ANN, "no")


def test_pace_by_minute_and_by_feeder(field: Field) -> None:
    made = field.begin(plan={"groups": ["rest"], "per_minute": 60, "per_feeder": 2})
    areas = {number: field.store.read(_area, number) for number in field.meters}
    for second in range(60):
        field.second()
        assert len(field.sent(made)) <= second + 1
        by_feeder = [areas[number] for number in field.sent(made)]
        assert max((by_feeder.count(one) for one in by_feeder), default=0) <= 2
        field.clock.advance(1)
    field.run(100, 5)
    assert field.campaign(made).state == lifecycle.DONE


def _area(conn: Any, number: int) -> str:
    from headend.access import areas

    return str(areas.area_of(conn, "meter", number))


def test_connecting_many_spreads_over_each_feeder(field: Field) -> None:
    field.begin()
    field.run(60, 2)
    made = field.begin("connect", terms={"reason": ARREARS, "close": bodies.CLOSE_DIRECT})
    field.run(60, 2)
    assert field.campaign(made).state == lifecycle.DONE
    mine = [one for one in field.orders() if one.proposal == field.campaign(made).proposal]
    spreads = {bodies.decode_supply(one.body)[3] for one in mine}
    assert len(mine) == 12 and {one.gate for one in mine} == {""} and {one.state for one in mine} == {"confirmed"}
    assert spreads == {4 * policy.Policy().recall_s_per_meter}, "four meters on each feeder"
    again = field.looked_at(field.dry_run("connect"))
    assert {one.verdict for one in again.values()} == {"there"}, "no hold is left"


def test_a_tariff_by_campaign_and_back(field: Field) -> None:
    body = Tariff((400_000,)).encode()
    made = field.begin("tariff", terms={"body": body.hex()})
    field.run(60, 2)
    assert field.campaign(made).state == lifecycle.DONE
    assert {one.verdict for one in field.looked_at(field.dry_run("tariff", terms={"body": body.hex()})).values()} == {
        "there"
    }
    field.write(acts.recall, made, EVE)
    field.run(60, 2)
    assert field.campaign(made).state == lifecycle.RECALLED
    assert {one.state for one in field.items(field.campaign(made).proposal).values()} == {"released"}


def test_firmware_that_root_has_not_signed_holds_up_the_next_group(field: Field) -> None:
    field.engine = Engine(field.store, field.keys, field.clock, field.noise)  # the root key lies offline
    body = stating.firmware((2, 1, 0), 1, 90_000, bytes(32))
    made = field.begin("firmware", terms={"body": body.hex()}, plan=GROUPS)
    field.run(60, 2)
    assert field.sent(made) == set() and field.campaign(made).state == lifecycle.RUNNING
    orders = [one for one in field.orders() if one.proposal == field.campaign(made).proposal]
    assert len(orders) == 2 and {one.state for one in orders} == {"queued"}, "the first group alone waits for root"
    with pytest.raises(Refused, match="a list that was approved"):
        field.write(acts.recall, made, EVE)
    field.write(acts.abort, made, ANN, "another image")
    assert {one.state for one in field.orders() if one.proposal == field.campaign(made).proposal} == {"cancelled"}


def test_firmware_goes_by_groups(field: Field) -> None:
    """A key store of the bench holds the root key, too."""
    body = stating.firmware((2, 1, 0), 1, 90_000, bytes(32))
    made = field.begin("firmware", terms={"body": body.hex()}, plan=GROUPS)
    field.run(40)
    assert field.campaign(made).state == lifecycle.DONE and "next" in field.history(made)


def test_a_recall_of_the_list_is_one_of_the_campaign(on_both: Field) -> None:
    field = on_both
    made = field.begin(plan=GROUPS)
    field.run(20)
    stopped = field.sent(made)
    field.write(lists.recall, field.campaign(made).proposal, EVE)
    field.run(60, 2)
    assert field.campaign(made).state == lifecycle.RECALLED and field.sent(made) >= stopped
    assert all(peer.facts["holds"] == 0 for number, peer in field.peers.items() if number in stopped)


@pytest.mark.parametrize("how", ["refuse", "withdraw"])
def test_a_campaign_that_is_not_approved_is_given_up(field: Field, how: str) -> None:
    made = field.dry_run()
    proposal = field.write(acts.propose, made, ANN)
    if how == "refuse":
        field.write(proposals.refuse, proposal, BOB, "not today")
    else:
        field.write(proposals.withdraw, proposal, ANN)
    field.run(5)
    assert field.campaign(made).state == lifecycle.DROPPED and field.sent(made) == set()


def test_another_policy_ends_a_campaign_that_opens(field: Field) -> None:
    made = field.begin(plan={"groups": ["rest"], "per_minute": 60})
    field.run(3)
    sent = field.sent(made)
    field.write(policy.put, "system", policy.flat(99), "another")
    field.run(100, 5)
    assert field.sent(made) == sent


def test_nobody_counts_so_nothing_goes_on(field: Field) -> None:
    """The dispatcher of another worker states orders, and none of them counts."""
    made = field.begin(plan={"groups": ["rest"], "per_minute": 60})
    field.run(3)
    stated = len(field.orders())
    field.clock.advance(120)
    field.settle()
    assert len(field.orders()) == stated
    field.run(30)
    assert field.campaign(made).state == lifecycle.DONE


def test_a_meter_is_in_one_campaign_of_a_kind_at_a_time(field: Field) -> None:
    first = field.begin(plan={**WHOLE, "start_s": field.clock.now_s() + 3600})
    found = field.looked_at(field.dry_run())
    assert {(one.rule, one.evidence) for one in found.values()} == {("campaign.other", first)}
    field.run(600, 60)
    assert field.sent(first) == set(), "it is not its time yet"
    field.run(3100, 60)
    assert len(field.sent(first)) == 12


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"groups": ["10"]}, "plan.groups"),
        ({"groups": ["0", "rest"]}, "plan.groups"),
        ({"groups": ["101%", "rest"]}, "plan.groups"),
        ({"per_minute": 0}, "plan.per_minute"),
        ({"per_minute": True}, "plan.per_minute"),
        ({"speed": 1}, "plan"),
    ],
)
def test_a_plan_that_does_not_fit_is_refused(given: dict[str, Any], expected: str) -> None:
    with pytest.raises(Refused) as refused:
        plan.read(given)
    assert refused.value.field == expected


@pytest.mark.parametrize("meters", [0, 1, 2, 9, 10, 11, 99, 100, 1000, 300_000])
def test_groups_together_are_all(meters: int) -> None:
    sizes = plan.sizes(plan.Plan(), meters)
    assert sum(sizes) == meters and all(size >= 0 for size in sizes)


@pytest.mark.parametrize(
    ("kind", "terms", "chosen"),
    [
        ("nothing", {}, {"area": ""}),
        ("stop", {"reason": 99}, {"area": ""}),
        ("stop", {"reason": ARREARS, "body": "00"}, {"area": ""}),
        ("stop", {"reason": ARREARS}, {}),
        ("stop", {"reason": ARREARS}, {"meters": [2, 1]}),
        ("stop", {"reason": ARREARS}, {"meters": []}),
        ("stop", {"reason": ARREARS}, {"area": "", "carrier": "pigeon"}),
        ("connect", {"reason": ARREARS, "spread_s": -1}, {"area": ""}),
    ],
)
def test_a_campaign_that_does_not_fit_is_refused(kind: str, terms: Any, chosen: Any) -> None:
    field = Field(meters=1)
    with pytest.raises(Refused):
        field.write(making.make, kind, terms, chosen, {}, ANN, "why")
    field.close()
