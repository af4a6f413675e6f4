"""Bills that the meter collects: one owner each, paid once by what the meter tells, on the real firmware."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from headend.epochs import life as epochs
from headend.gate import policy, proposals
from headend.ledger import accounts, bills, debts_on_meter, entries
from headend.ledger.debts_on_meter import Terms
from headend.refusals import Refused
from headend.store.schema_readings import meter_reads
from meterlink import bodies
from meterlink.orders import ASPECT_DEBT
from tests.host.refund_rig import CASHIER, MANAGER, small_world
from tests.system.world import METER, YUAN, World

HALF = Terms(bodies.DEBT_SHARED, share=5_000)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = small_world(tmp_path, METER)
    yield made
    made.close()


def bill(world: World, amount_uc: int, name: str = "b-1") -> int:
    now_s = world.clock.now_s()
    lines = [bills.Line("energy", amount_uc)]
    made: int = world.write(bills.issue, METER, name, lines, notice_s=now_s, due_s=now_s, actor=CASHIER)
    return made


def place(world: World, *ids: int, how: Terms = HALF, debt: int = 1) -> None:
    order_id = world.write(debts_on_meter.place, METER, debt, ids, how, CASHIER)
    world.until(lambda: world.state(order_id) == "confirmed")


def on_meter(world: World, debt: int = 1) -> int:
    owed: int = world.points[METER].unit.meter.charges.debts[debt - 1].owed_uc()
    return owed


def row(world: World, bill_id: int) -> Any:
    return world.read(bills.get, bill_id)


def test_a_share_of_each_top_up_pays_the_bill(world: World) -> None:
    owed = bill(world, 30 * YUAN)
    place(world, owed)
    assert (row(world, owed).owner, on_meter(world)) == ("meter", 30 * YUAN)
    world.pay("a", 40 * YUAN)
    world.settle()
    assert on_meter(world) == 10 * YUAN and world.read(debts_on_meter.owed_uc, METER, 1) == 10 * YUAN
    assert row(world, owed).paid_uc == 20 * YUAN and world.balance(accounts.of_debt(METER, 1)) == -10 * YUAN
    assert world.customer() == world.points[METER].account.balance_uc() == 20 * YUAN
    assert world.balance(accounts.INCOME_ENERGY) == 0, "what was charged for it is no income from energy"
    world.pay("b", 60 * YUAN)
    world.settle()
    assert (on_meter(world), row(world, owed).state) == (0, "paid")
    assert world.balance(accounts.of_debt(METER, 1)) == 0
    assert world.entries(entries.COLLECTED) == [20 * YUAN, 10 * YUAN]
    world.check()


def test_what_the_meter_collects_the_head_end_does_not(world: World) -> None:
    owed = bill(world, 30 * YUAN)
    place(world, owed)
    assert world.pay("a", 40 * YUAN).allocated_uc == 0
    with pytest.raises(Refused):
        world.write(debts_on_meter.place, METER, 2, [owed], HALF, CASHIER)


def test_nobody_states_totals_over_those_that_follow_from_bills(world: World) -> None:
    place(world, bill(world, 30 * YUAN))
    freely = bodies.DebtTerms(50 * YUAN, 0, bodies.DEBT_SHARED, 5_000, 0, bodies.PERIOD_WEEK, 0, 0)
    with pytest.raises(Refused, match="debt: 1 given, one that no bill was moved to"):
        world.write(debts_on_meter.state_freely, METER, 1, freely, CASHIER)
    assert world.write(debts_on_meter.state_freely, METER, 2, freely, CASHIER)


def test_events_that_come_again_are_booked_once(world: World) -> None:
    owed = bill(world, 30 * YUAN)
    place(world, owed)
    point = world.points[METER]
    point.dumb = True
    world.pay("a", 40 * YUAN)
    world.run(60)
    assert row(world, owed).paid_uc == 0
    point.dumb = False
    world.settle()
    for _ in range(2):
        world.write(debts_on_meter.told, METER, _log_id(world), 0)
    assert row(world, owed).paid_uc == 20 * YUAN
    world.check()


def _log_id(world: World) -> int:
    found: int = world.read(lambda conn: conn.execute(select(meter_reads.c.log_id)).scalar_one())
    return found


def test_it_is_taken_back_when_the_meter_holds_that(world: World) -> None:
    owed = bill(world, 30 * YUAN)
    place(world, owed)
    point = world.points[METER]
    point.deaf = True
    world.write(debts_on_meter.withdraw, METER, 1, CASHIER)
    world.run(20)
    assert row(world, owed).owner == "meter", "until then it may collect"
    point.deaf = False
    world.settle()
    assert (row(world, owed).owner, on_meter(world)) == ("head_end", 0)
    assert world.pay("b", 40 * YUAN).allocated_uc == 30 * YUAN
    world.settle()
    world.check()


def test_what_it_collects_while_that_is_on_its_way_counts_once(world: World) -> None:
    owed = bill(world, 30 * YUAN)
    place(world, owed)
    point = world.points[METER]
    point.deaf_to = {ASPECT_DEBT}
    world.write(debts_on_meter.withdraw, METER, 1, CASHIER)
    world.pay("a", 20 * YUAN)
    world.until(lambda: on_meter(world) == 20 * YUAN)
    point.deaf_to = set()
    world.until(lambda: row(world, owed).owner == "head_end")
    world.settle()
    assert (row(world, owed).owner, row(world, owed).paid_uc, on_meter(world)) == ("head_end", 10 * YUAN, 0)
    other = bill(world, 8 * YUAN, "b-2")
    place(world, other)
    assert on_meter(world) == 8 * YUAN, "what was taken back too much counts against nothing"
    world.settle()
    world.check()


def wait_for_a_second_person(world: World) -> None:
    world.write(policy.put, "system", {**policy.flat(100), "always": ["debt"]}, "a test")


def decide(world: World, order_id: int, how: str) -> None:
    """What waits is refused, withdrawn, or nobody decides; or it is approved and lapses with its policy."""
    proposal = world.orders(METER, ASPECT_DEBT)[-1].proposal
    if how == "refuse":
        world.write(proposals.refuse, proposal, MANAGER, "not this customer")
    elif how == "withdraw":
        world.write(proposals.withdraw, proposal, CASHIER)
    elif how == "lapse":
        world.points[METER].deaf = True
        world.write(proposals.approve, proposal, world.read(proposals.get, proposal).digest, MANAGER)
        world.write(policy.put, "system", policy.flat(100), "another one")
    else:
        world.clock.advance(policy.Policy().proposal_s + 2)
    world.until(lambda: world.state(order_id) in ("cancelled", "expired"))
    world.points[METER].deaf = False


@pytest.mark.parametrize("how", ["refuse", "withdraw", "expire", "lapse"])
def test_bills_of_a_debt_that_is_never_sent_are_the_head_ends_again(world: World, how: str) -> None:
    first = bill(world, 30 * YUAN)
    place(world, first)
    wait_for_a_second_person(world)
    ids = [bill(world, 8 * YUAN, "b-2"), bill(world, 9 * YUAN, "b-3")]
    order_id = 0
    for one in ids:
        order_id = world.write(debts_on_meter.place, METER, 1, [one], HALF, CASHIER)
    assert world.state(order_id) == "awaiting_approval" and row(world, ids[0]).owner == "meter"
    decide(world, order_id, how)
    assert [row(world, one).owner for one in (first, *ids)] == ["meter", "head_end", "head_end"]
    assert world.read(debts_on_meter.owed_uc, METER, 1) == on_meter(world) == 30 * YUAN
    assert world.pay("a", 17 * YUAN).allocated_uc == 17 * YUAN
    world.write(policy.put, "system", policy.flat(100), "a test")
    place(world, bill(world, 2 * YUAN, "b-4"))
    assert on_meter(world) == 32 * YUAN, "what was never sent counts for nothing"
    world.settle()
    world.check()


def test_a_first_debt_that_is_never_sent_leaves_nothing(world: World) -> None:
    wait_for_a_second_person(world)
    owed = bill(world, 30 * YUAN)
    world.write(debts_on_meter.place, METER, 1, [owed], HALF, CASHIER)
    order_id = world.write(debts_on_meter.place, METER, 1, [bill(world, 5 * YUAN, "b-2")], HALF, CASHIER)
    decide(world, order_id, "refuse")
    world.write(policy.put, "system", policy.flat(100), "a test")
    place(world, owed)
    assert (row(world, owed).owner, on_meter(world)) == ("meter", 30 * YUAN)


def test_a_new_account_owes_nothing_on_the_meter(world: World) -> None:
    owed = bill(world, 30 * YUAN)
    place(world, owed)
    world.write(epochs.open_epoch, METER, "tenant", CASHIER)
    assert row(world, owed).owner == "head_end"


@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(1, 9_999_999),
    st.integers(100, 10_000),
    st.lists(st.integers(1, 5_000_000), min_size=1, max_size=4),
)
def test_thousandths_that_events_cut_off_leave_nothing_open(
    tmp_path_factory: pytest.TempPathFactory, owed_uc: int, share: int, paid: list[int]
) -> None:
    world = small_world(tmp_path_factory.mktemp("debts"), METER)
    owed = bill(world, owed_uc)
    place(world, owed, how=Terms(bodies.DEBT_SHARED, share=share))
    for number, amount_uc in enumerate([*paid, 11 * YUAN * 10_000 // share]):
        world.pay(f"p{number}", amount_uc)
        world.run(2)
        known_uc = world.read(debts_on_meter.owed_uc, METER, 1)
        assert 0 <= known_uc - on_meter(world) < 1000 * (number + 1) or known_uc == 0
    world.settle()
    assert on_meter(world) == 0 and row(world, owed).state == "paid"
    assert world.balance(accounts.of_debt(METER, 1)) == 0 and world.findings() == []
    world.check()
    world.close()
