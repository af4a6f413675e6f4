"""Payments that go back: reversed by their channel, spent before, paid for the wrong meter, sold as a typed token."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headend.ledger import accounts, bills, entries, payments, tax
from headend.ledger.refunds import asking, life, policy, transferring
from headend.refusals import Refused
from tests.host.refund_rig import CASHIER, approve, ask, events, row, small_world, whole
from tests.system.world import AGENT, METER, POS, YUAN, World

RIGHT = 18
CHANNEL = accounts.of_channel(POS)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = small_world(tmp_path, METER, RIGHT)
    yield made
    made.close()


def reverse(world: World, payment_id: str, request: str = "v-1") -> Any:
    """Its own channel takes it back, in time."""
    return world.write(asking.reverse, ask(request, CHANNEL), POS, payment_id).row


def move(world: World, payment_id: str, to: int = RIGHT) -> int:
    made = world.write(asking.transfer, ask("t-1"), POS, payment_id, to).row
    approve(world, made.id)
    return int(made.id)


def spend(world: World, left_uc: int) -> None:
    """The household has used all but so much, and the head end does not know yet."""
    point = world.points[METER]
    point.dumb = True
    point.unit.meter.account.charge_uc(point.account.balance_uc() - left_uc)
    point.unit.run(61)
    point.dumb = False


def test_a_payment_is_taken_back_by_its_channel(world: World) -> None:
    world.pay("a", 50 * YUAN)
    world.settle(METER)
    made = reverse(world, "a")
    assert made.state == life.STATED, "in time and small: nobody else is asked"
    world.settle(METER)
    assert row(world, made.id).state == life.TAKEN
    assert (world.customer(), world.balance(CHANNEL)) == (0, 0)
    assert world.points[METER].account.balance_uc() == 0
    assert world.entries(entries.PAYMENT) == [50 * YUAN], "what was booked stays booked"
    whole(world)


def test_one_that_is_still_on_its_way(world: World) -> None:
    world.points[METER].deaf = True
    world.pay("a", 50 * YUAN)
    world.run(5)
    made = reverse(world, "a")
    world.points[METER].deaf = False
    world.settle(METER)
    assert row(world, made.id).state == life.TAKEN
    assert (world.points[METER].account.credited_uc, world.points[METER].account.refunded_uc) == (50 * YUAN, 50 * YUAN)
    whole(world)


def test_it_goes_back_once(world: World) -> None:
    world.pay("a", 50 * YUAN)
    first = reverse(world, "a")
    assert world.write(asking.reverse, ask("v-1", CHANNEL), POS, "a") == asking.Answer(
        row(world, first.id), repeated=True
    )
    for request, what in (("v-1", "b"), ("v-2", "a")):
        with pytest.raises(Refused):
            reverse(world, what, request)
    with pytest.raises(payments.UnknownPayment):
        world.write(asking.reverse, ask("v-3"), AGENT, "a")
    world.settle(METER)
    with pytest.raises(Refused, match="a payment that stays"):
        reverse(world, "a", "v-2")


@pytest.mark.parametrize(("amount_uc", "later_s"), [(101 * YUAN, 0), (50 * YUAN, 90_000)])
def test_beyond_the_policy_it_takes_a_second_person(world: World, amount_uc: int, later_s: int) -> None:
    world.pay("a", amount_uc)
    asked_s = world.clock.now_s() + later_s
    made = world.store.write(asking.reverse, asked_s, ask("v-1", CHANNEL), POS, "a").result().row
    assert made.state == life.PROPOSED
    assert world.write(asking.reverse, ask("v-1", CHANNEL), POS, "a").row.state == life.PROPOSED
    approve(world, made.id)
    world.settle(METER)
    assert row(world, made.id).state == life.TAKEN
    whole(world)


def test_what_is_spent_becomes_a_bill_of_the_customer(world: World) -> None:
    world.pay("a", 50 * YUAN)
    world.settle(METER)
    spend(world, 5 * YUAN)
    made = reverse(world, "a")
    world.settle(METER)
    assert row(world, made.id).state == life.OWED
    with pytest.raises(Refused, match="a payment that stays"):
        reverse(world, "a", "v-2")
    (bill,) = world.read(bills.open_of, METER, 1)
    assert (bill.kind, bill.principal_uc) == ("reversal", 50 * YUAN)
    assert (world.balance(CHANNEL), world.balance(accounts.of_debt(METER, 1))) == (0, -50 * YUAN)
    assert world.customer() == 5 * YUAN
    whole(world)
    world.pay("b", 60 * YUAN)
    world.settle(METER)
    assert world.points[METER].account.balance_uc() == 15 * YUAN, "the next payment pays the bill first"
    whole(world)


def test_or_stays_with_the_channel_where_the_policy_says_so(world: World) -> None:
    world.write(policy.put, CASHIER, policy.Policy(spent=policy.CHANNEL))
    world.pay("a", 50 * YUAN)
    world.settle(METER)
    spend(world, 5 * YUAN)
    world.settle(METER)
    made = reverse(world, "a")
    assert made.state == life.REFUSED and events(world, made.id) == ["propose", "approve", "refuse"]
    assert world.balance(CHANNEL) == -50 * YUAN and world.read(bills.open_of, METER, 1) == []
    whole(world)


def test_what_it_paid_of_bills_is_owed_again(world: World) -> None:
    now_s = world.clock.now_s()
    lines = [bills.Line("energy", 30 * YUAN)]
    times = {"notice_s": now_s, "due_s": now_s, "actor": CASHIER}
    world.write(bills.issue, METER, "bill-1", lines, **times)
    world.pay("a", 50 * YUAN)
    world.settle(METER)
    assert world.points[METER].account.balance_uc() == 20 * YUAN and world.read(bills.open_of, METER, 1) == []
    made = reverse(world, "a")
    world.settle(METER)
    taken = row(world, made.id)
    assert (taken.state, taken.amount_uc, taken.whole_uc) == (life.TAKEN, 20 * YUAN, 50 * YUAN)
    (bill,) = world.read(bills.open_of, METER, 1)
    assert bill.paid_uc == 0 and world.balance(CHANNEL) == 0 == world.customer()
    whole(world)


def test_all_of_it_had_paid_a_bill(world: World) -> None:
    now_s = world.clock.now_s()
    times = {"notice_s": now_s, "due_s": now_s, "actor": CASHIER}
    world.write(bills.issue, METER, "bill-1", [bills.Line("energy", 80 * YUAN)], **times)
    world.pay("a", 50 * YUAN)
    made = reverse(world, "a")
    assert made.state == life.TAKEN, "nothing of it is on the meter"
    assert (world.balance(CHANNEL), world.balance(accounts.of_debt(METER, 1))) == (0, -80 * YUAN)
    world.settle(METER)
    whole(world)


# --- the wrong meter --------------------------------------------------------------------------------------------------


def test_a_payment_goes_to_the_right_meter(world: World) -> None:
    world.pay("a", 50 * YUAN)
    world.settle()
    world.points[METER].dumb = True
    refund_id = move(world, "a")
    world.run(30)
    assert world.customer(RIGHT) == 0, "nothing before the wrong meter has proved that it is off"
    world.points[METER].dumb = False
    world.settle()
    assert row(world, refund_id).state == life.TAKEN
    assert (world.customer(METER), world.customer(RIGHT), world.balance(CHANNEL)) == (0, 50 * YUAN, -50 * YUAN)
    assert world.points[RIGHT].account.balance_uc() == 50 * YUAN
    assert world.on_meter(RIGHT) == {f"transfer/{refund_id}"}
    whole(world)


def test_what_the_wrong_customer_has_used_is_not_moved(world: World) -> None:
    world.pay("a", 50 * YUAN)
    world.settle()
    spend(world, 5 * YUAN)
    refund_id = move(world, "a")
    world.settle()
    assert row(world, refund_id).state == life.REFUSED
    assert (world.customer(METER), world.customer(RIGHT)) == (5 * YUAN, 0)
    assert world.read(bills.open_of, METER, 1) == []
    whole(world)


def test_a_chain_of_transfers_back_and_forth(world: World) -> None:
    world.pay("a", 50 * YUAN)
    world.settle()
    first = move(world, "a")
    world.settle()
    made = world.write(asking.transfer, ask("t-2"), POS, f"transfer/{first}", METER).row
    approve(world, made.id)
    world.settle()
    assert (world.customer(METER), world.customer(RIGHT)) == (50 * YUAN, 0)
    assert world.points[METER].account.balance_uc() == 50 * YUAN and world.points[RIGHT].account.balance_uc() == 0
    whole(world)


def test_where_the_right_account_does_not_take_it_the_channel_has_it_and_a_person_is_told(world: World) -> None:
    from headend.epochs import life as epochs

    world.pay("a", 50 * YUAN)
    world.settle()
    world.points[METER].dumb = True
    refund_id = move(world, "a")
    world.write(epochs.retire, RIGHT, CASHIER)
    world.points[METER].dumb = False
    world.settle(METER)
    assert row(world, refund_id).state == life.TAKEN
    assert world.balance(CHANNEL) == 0 and "transfer_stuck" in world.findings()
    assert world.read(payments.get, POS, transferring.payment_of(row(world, refund_id))) is None


def test_taxes_go_back_with_their_payment(world: World) -> None:
    world.write(tax.set_rate, "vat", 100_000, "added", CASHIER)
    world.pay("a", 55 * YUAN)
    world.settle(METER)
    assert (world.customer(), world.balance(accounts.of_tax("vat"))) == (50 * YUAN, 5 * YUAN)
    made = reverse(world, "a")
    world.settle(METER)
    assert row(world, made.id).amount_uc == 50 * YUAN
    assert [world.balance(name) for name in (CHANNEL, accounts.of_tax("vat"))] == [0, 0] and world.customer() == 0
    whole(world)


def test_an_advance_is_no_credit_to_be_taken_back(world: World) -> None:
    world.pay("a", 50 * YUAN, purpose="advance")
    with pytest.raises(Refused, match="a payment for credit"):
        reverse(world, "a")
