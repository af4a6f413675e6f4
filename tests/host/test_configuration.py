"""The audit of configuration: what is wanted of meters against what they report, also with the firmware itself."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import select, update

from headend.configuration import aspects, auditing, held, policy, repair
from headend.gate import pace, proposals
from headend.language import LANGUAGES
from headend.orders import statements, trust
from headend.refusals import Refused
from headend.store.schema import order
from headend.store.schema_configuration import configuration_finding, configuration_held
from meterlink import batches, names, states, topics
from meterlink.orders import ASPECT_LIMITS, ASPECT_MODE, ASPECT_TARIFF
from meterlink.tariff import Tariff
from tests.host.books import METER
from tests.host.campaign_rig import Field
from tests.host.core_rig import Pair
from tests.host.gate_rig import ANN, BOB

DAY_S = 86_400


def audit(rig: Any) -> None:
    """What the chore does, until it has nothing to do."""
    for _ in range(50):
        if not auditing.follow(rig.store, rig.clock.now_s()):
            return
    raise AssertionError("the audit does not come to an end")


def findings(rig: Any, *, settled: bool = False) -> dict[tuple[int, str], Any]:
    which = configuration_finding.c.settled_s.is_not(None) if settled else configuration_finding.c.settled_s.is_(None)
    rows = rig.store.read(lambda conn: conn.execute(select(configuration_finding).where(which)).all())
    return {(row.meter, row.aspect): row for row in rows}


@pytest.mark.parametrize("carrier", ["mqtt", "modbus"])
def test_the_firmware_tells_what_it_holds_and_nothing_differs(carrier: str) -> None:
    with Pair(carrier) as pair:
        pair.write(statements.set_tariff, METER, Tariff((400_000,)), ANN)
        pair.write(trust.set_mode, METER, states.MODE_POSTPAID, ANN)
        pair.run(120)
        audit(pair)
        pair.run(1_400)
        shown = pair.store.read(
            lambda conn: {row.aspect: row for row in conn.execute(select(configuration_held)).all()}
        )
        stated = pair.store.read(lambda conn: {row.aspect: row for row in conn.execute(select(order)).all()})
        assert set(shown) == set(held.AUDITED)
        for aspect in (ASPECT_TARIFF, ASPECT_MODE):
            assert (shown[aspect].version, shown[aspect].digest) == (stated[aspect].version, stated[aspect].digest)
        assert shown[ASPECT_LIMITS].version == 0, "the limits are those of its provisioning"
        pair.store.write(lambda conn: conn.execute(update(auditing.configuration_round).values(done_s=None))).result()
        audit(pair)
        assert findings(pair) == {}


def test_an_answer_that_nobody_asked_for_changes_nothing() -> None:
    with Pair() as pair:
        key = pair.keys.mac_key(METER, 1)
        head = batches.pack_head(batches.KIND_HELD, METER, 1, 1, 9, pair.clock.now_s(), 7, b"12345678", 1, 0)
        assert pair.engine.up(METER, topics.UP_HELD, head + batches.mac(head, b"", key), "mqtt") == []
        assert pair.engine.counts[held.UNASKED] == 1
        forged = head + bytes(16)
        pair.engine.up(METER, topics.UP_HELD, forged, "mqtt")
        assert pair.engine.counts["forged"] == 1


@pytest.fixture
def field() -> Iterator[Field]:
    made = Field(meters=4)
    yield made
    made.close()


@pytest.fixture
def on_both(any_store_url: str) -> Iterator[Field]:
    """The same, on each kind of database in turn."""
    made = Field(any_store_url, meters=4)
    yield made
    made.close()


def report_of(field: Field, number: int, **facts: Any) -> None:
    """The meter says this of itself, unasked."""
    field.peers[number].be(**facts)
    field.engine.up(number, topics.UP_REPORT, field.peers[number].report(), "modbus")


def test_a_meter_that_is_not_set_to_prepayment_is_found_mended_and_settled(on_both: Field) -> None:
    field = on_both
    first, second = field.meters[:2]
    for number in (first, second):
        field.write(trust.set_mode, number, states.MODE_LOCAL, ANN)
        field.peers[number].be(mode=states.MODE_LOCAL)
    field.run(30)
    audit(field)
    assert findings(field) == {}
    field.clock.advance(DAY_S)
    report_of(field, first, mode=states.MODE_POSTPAID)
    report_of(field, second)
    audit(field)
    found = findings(field)
    assert list(found) == [(first, "mode")]
    row = found[first, "mode"]
    assert (row.wanted, row.reported) == (names.MODE[states.MODE_LOCAL], names.MODE[states.MODE_POSTPAID])
    assert "not set to prepayment" in aspects.sentence(row, "en") and "未设置为预付费" in aspects.sentence(row, "zh")
    made = field.proposal(row.proposal)
    assert (made.kind, made.state, proposals.parsed(made.payload)["meters"]) == ("mode", "open", [first])
    assert field.write(repair.propose, "system") == [], "what waits for a decision is not proposed again"
    field.approve(made.id, BOB)
    field.peers[first].be(mode=states.MODE_LOCAL)
    field.run(60, 2)
    audit(field)
    assert findings(field) == {} and (first, "mode") in findings(field, settled=True)


def test_what_a_meter_holds_is_compared_by_version_and_content(field: Field) -> None:
    first, second, third = field.meters[:3]
    orders = {}
    for number in field.meters[:3]:
        orders[number] = field.write(statements.set_tariff, number, Tariff((400_000,)), ANN)
    field.run(30)
    now_s = field.clock.now_s()
    audit(field)
    assert findings(field) == {}, "the reports that confirmed them showed it"

    def forget(conn: Any) -> None:
        mine = configuration_held.c.aspect == ASPECT_TARIFF
        conn.execute(update(configuration_held).where(mine, configuration_held.c.meter == first).values(version=0))
        other = {"digest": bytes(8)}
        conn.execute(update(configuration_held).where(mine, configuration_held.c.meter == second).values(other))
        newer = {"version": 900}
        conn.execute(update(configuration_held).where(mine, configuration_held.c.meter == third).values(newer))

    field.store.write(forget).result()
    field.clock.advance(DAY_S)
    audit(field)
    found = {meter: row.reported for (meter, aspect), row in findings(field).items() if aspect == "tariff"}
    assert set(found) == {first, second, third}
    assert found[first] == "" and found[second].endswith("!") and found[third].endswith(".900")
    sentences = [aspects.sentence(row, language) for row in findings(field).values() for language in LANGUAGES]
    assert all(sentences) and any("provisioned" in one for one in sentences)
    assert field.clock.now_s() - now_s >= DAY_S
    proposal = findings(field)[first, "tariff"].proposal
    assert proposals.parsed(field.proposal(proposal).payload)["body"] == Tariff((400_000,)).encode().hex()


def test_a_clock_that_is_off_is_set_with_the_nonce_of_the_newest_report(field: Field) -> None:
    first, second = field.meters[:2]
    for number in field.meters:
        report_of(field, number, fresh=b"fresh-%02d" % (number % 100))
    report_of(field, first, time_s=field.clock.now_s() + 400)
    report_of(field, second, clock=states.CLOCK_UNKNOWN)
    audit(field)
    found = findings(field)
    assert {key: row.reported for key, row in found.items()} == {(first, "clock"): "400", (second, "clock"): "unknown"}
    made = field.proposal(found[first, "clock"].proposal)
    assert made.kind == "clock" and proposals.parsed(made.payload) == {"meters": [first, second]}
    field.approve(made.id, BOB)
    field.store.write(pace.tick, field.clock.now_s()).result()
    bodies = {row.meter: row.body for row in field.orders()}
    assert b"fresh-%02d" % (first % 100) in bodies[first]
    field.write(policy.put, ANN, policy.Policy(drift_s=600))
    for number in (first, second):
        field.peers[number].facts.pop("time_s", None)
    field.clock.advance(5)
    report_of(field, first, time_s=field.clock.now_s() + 400)
    report_of(field, second, clock=states.CLOCK_SET)
    audit(field)
    assert findings(field) == {}, "400 s are let be now, and the other one knows the time again"


def test_what_is_on_its_way_opens_nothing_and_settles_nothing(field: Field) -> None:
    first = field.meters[0]
    report_of(field, first, mode=states.MODE_LOCAL)
    field.write(trust.set_mode, first, states.MODE_POSTPAID, ANN)
    audit(field)
    assert findings(field) == {}, "the order is young"
    field.clock.advance(2 * aspects.GRACE_S)
    field.store.write(lambda conn: conn.execute(update(auditing.configuration_round).values(done_s=None))).result()
    field.clock.advance(DAY_S)
    audit(field)
    assert list(findings(field)) == [(first, "mode")]
    assert findings(field)[first, "mode"].proposal is None, "what is on its way is not stated again"


def test_a_policy_that_does_not_fit_is_refused(field: Field) -> None:
    for given in (policy.Policy(drift_s=1), policy.Policy(fresh_s=10**9)):
        with pytest.raises(Refused):
            field.write(policy.put, ANN, given)
