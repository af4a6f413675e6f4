"""Refunds against the meter's own receipt: the real firmware, the real books; paid out once or not at all."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from headend.access.four_eyes import SamePerson
from headend.gate import freeze, proposals
from headend.ledger import accounts, entries, reconcile, refunds
from headend.ledger.refunds import asking, deciding, life, stating
from headend.orders import lifecycle
from headend.refusals import Refused
from meterlink.orders import ASPECT_CREDIT
from tests.host.refund_rig import CASHIER, MANAGER, approve, ask, events, refund_of, row, small_world, whole
from tests.system.world import METER, POS, YUAN, World

CHANNEL = accounts.of_channel(POS)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = small_world(tmp_path, METER)
    yield made
    made.close()


def test_it_is_paid_out_when_the_meter_shows_it(world: World) -> None:
    world.pay("a", 50 * YUAN)
    world.settle()
    world.points[METER].deaf = True
    refund_id = refund_of(world, 20 * YUAN)
    world.run(30)
    assert row(world, refund_id).state == life.STATED
    assert (world.customer(), world.balance(accounts.REFUNDS), world.balance(CHANNEL)) == (
        30 * YUAN,
        20 * YUAN,
        -50 * YUAN,
    )
    assert world.read(refunds.under_way_uc, METER, 1) == 20 * YUAN
    assert world.read(reconcile.explain, METER).difference_uc == 0, "what is under way is explained"
    world.points[METER].deaf = False
    world.settle()
    taken = row(world, refund_id)
    assert (
        taken.state == life.TAKEN
        and taken.evidence
        and events(world, refund_id)
        == [
            "propose",
            "approve",
            "state",
            "take",
        ]
    )
    assert (world.customer(), world.balance(CHANNEL)) == (30 * YUAN, -30 * YUAN)
    assert world.points[METER].account.balance_uc() == 30 * YUAN
    assert world.state(taken.order_id) == lifecycle.CONFIRMED
    whole(world)


def test_nothing_goes_without_a_second_person(world: World) -> None:
    world.pay("a", 50 * YUAN)
    world.settle()
    made = world.write(asking.refund_credit, ask(), METER, 20 * YUAN, POS).row
    for approver in (CASHIER, CHANNEL):
        with pytest.raises(SamePerson):
            approve(world, made.id, approver)
    world.settle()
    assert row(world, made.id).state == life.PROPOSED and world.customer() == 50 * YUAN
    world.write(proposals.withdraw, row(world, made.id).proposal, CASHIER, "a mistake")
    assert row(world, made.id).state == life.WITHDRAWN
    with pytest.raises(Refused):
        approve(world, made.id)
    assert world.entries(entries.REFUND) == []


def test_asked_twice_is_asked_once(world: World) -> None:
    world.pay("a", 50 * YUAN)
    world.settle()
    first = world.write(asking.refund_credit, ask(), METER, 20 * YUAN, POS)
    again = world.write(asking.refund_credit, ask(), METER, 20 * YUAN, POS)
    assert (first.repeated, again.repeated, again.row) == (False, True, first.row)
    with pytest.raises(asking.RequestConflict):
        world.write(asking.refund_credit, ask(), METER, 21 * YUAN, POS)


def test_more_than_the_meter_is_known_to_have_is_not_even_asked_for(world: World) -> None:
    world.pay("a", 50 * YUAN)
    with pytest.raises(Refused, match="at most 50000000"):
        world.write(asking.refund_credit, ask(), METER, 50 * YUAN + 1, POS)
    refund_id = refund_of(world, 50 * YUAN)
    world.settle()
    assert row(world, refund_id).state == life.TAKEN, "what is on its way can go back too"
    assert world.points[METER].account.balance_uc() == 0
    whole(world)


def spend(world: World, left_uc: int) -> None:
    """The household uses all but so much, and the head end does not hear of it."""
    point = world.points[METER]
    point.dumb = True
    point.unit.meter.account.charge_uc(point.account.balance_uc() - left_uc)
    point.unit.run(61)
    point.dumb = False


def late_refund(world: World, left_uc: int, amount_uc: int) -> int:
    """A refund of what is spent by the time the statement arrives; nobody has told the books yet."""
    world.pay("a", 50 * YUAN)
    world.settle()
    world.points[METER].deaf = True
    refund_id = refund_of(world, amount_uc)
    world.run(3)
    spend(world, left_uc)
    return refund_id


def test_what_is_spent_is_refused_and_the_next_payment_passes_at_once(world: World) -> None:
    refund_id = late_refund(world, 5 * YUAN, 20 * YUAN)
    world.points[METER].deaf = False
    world.settle()
    refused = row(world, refund_id)
    assert refused.state == life.REFUSED and refused.evidence
    assert world.state(refused.order_id) == lifecycle.REFUSED
    assert (world.balance(CHANNEL), world.customer()) == (-50 * YUAN, 5 * YUAN), "paid out to nobody"
    whole(world)
    world.pay("b", 10 * YUAN)
    world.run(5)
    assert world.points[METER].account.balance_uc() == 15 * YUAN
    world.settle()
    assert world.on_meter() == {"a", "b"}
    whole(world)


def test_a_refused_statement_that_is_played_again_changes_nothing(world: World) -> None:
    """A copy on the line must not take off later what it was refused for."""
    late_refund(world, 5 * YUAN, 20 * YUAN)
    point = world.points[METER]
    point.deaf = False
    world.settle()
    captured = list(point.orders)
    world.pay("b", 40 * YUAN)
    world.settle()
    for raw in captured:
        point.hear("order", raw)
    world.settle()
    assert point.account.balance_uc() == world.customer() == 45 * YUAN
    whole(world)


def test_one_that_slips_in_before_the_books_make_it_harmless(world: World) -> None:
    """Refused, then a copy passes after credit came by another way, then what gives it back arrives."""
    refund_id = late_refund(world, 5 * YUAN, 20 * YUAN)
    point = world.points[METER]
    point.deaf = False
    world.until(lambda: row(world, refund_id).state == life.REFUSED)
    point.deaf = True
    world.pay("b", 40 * YUAN)
    world.run(5)
    refused = next(raw for raw in point.orders if raw == _signed(world, refund_id))
    point.unit.meter.account.earned_uc += 40 * YUAN  # credit that no order brought
    point.deaf = False
    point.hear("order", refused)
    world.settle()
    assert point.account.refunded_uc == 20 * YUAN
    assert point.account.balance_uc() == world.customer() + 40 * YUAN == 85 * YUAN


def _signed(world: World, refund_id: int) -> bytes:
    order_id = row(world, refund_id).order_id
    return bytes(next(one.signed for one in world.orders(METER, ASPECT_CREDIT) if one.id == order_id))


def test_a_payment_that_comes_while_a_refund_is_under_way(world: World) -> None:
    """One statement carries both: the payment brings what the refund lacks."""
    refund_id = late_refund(world, 5 * YUAN, 20 * YUAN)
    world.pay("b", 30 * YUAN)
    world.points[METER].deaf = False
    world.points[METER].lost.clear()
    world.settle()
    assert row(world, refund_id).state == life.TAKEN
    assert world.balance(CHANNEL) == -60 * YUAN
    assert world.points[METER].account.balance_uc() == world.customer() == 15 * YUAN
    assert world.on_meter() == {"a", "b"}
    whole(world)


def lift(world: World) -> None:
    for person in (CASHIER, MANAGER):
        world.write(freeze.lift, person)


@pytest.mark.parametrize("paid_first", [False, True])
def test_a_payment_never_waits_for_a_refund_that_a_freeze_holds(world: World, paid_first: bool) -> None:
    world.pay("a", 50 * YUAN)
    world.settle()
    world.write(freeze.set, MANAGER, "look first")
    if paid_first:
        world.pay("b", 5 * YUAN)
        refund_id = refund_of(world, 20 * YUAN)
    else:
        refund_id = refund_of(world, 20 * YUAN)
        world.run(30)
        world.pay("b", 5 * YUAN)
    world.settle()
    assert world.points[METER].account.balance_uc() == 55 * YUAN and world.on_meter() == {"a", "b"}
    assert row(world, refund_id).state == life.STATED and world.balance(accounts.REFUNDS) == 20 * YUAN
    world.pay("c", 3 * YUAN)
    world.settle()
    assert world.points[METER].account.balance_uc() == 58 * YUAN and world.on_meter() == {"a", "b", "c"}
    waiting = [one for one in world.orders(METER, ASPECT_CREDIT) if one.state == lifecycle.QUEUED]
    assert [one.gate for one in waiting] == ["refund"], "the refund alone waits"
    lift(world)
    world.settle()
    assert row(world, refund_id).state == life.TAKEN
    assert world.points[METER].account.balance_uc() == world.customer() == 38 * YUAN
    whole(world)


def test_what_was_refused_once_is_not_given_while_another_refund_waits(world: World) -> None:
    """The meter has refused a refund; that it is credited again rides with what makes it harmless, frozen or not."""
    late_refund(world, 5 * YUAN, 20 * YUAN)
    point = world.points[METER]
    point.deaf = False
    world.until(lambda: bool(world.orders(METER, ASPECT_CREDIT)[-1].state == lifecycle.REFUSED) or world.customer() > 0)
    world.settle()
    world.write(freeze.set, MANAGER, "look first")
    refund_id = refund_of(world, 4 * YUAN, request="r-2")
    world.pay("b", 1 * YUAN)
    world.settle()
    assert point.account.balance_uc() == 6 * YUAN and row(world, refund_id).state == life.STATED
    lift(world)
    world.settle()
    assert row(world, refund_id).state == life.TAKEN and point.account.balance_uc() == world.customer() == 2 * YUAN
    whole(world)


def test_one_at_a_time(world: World) -> None:
    world.pay("a", 50 * YUAN)
    world.settle()
    world.points[METER].deaf = True
    first, second = refund_of(world, 20 * YUAN), refund_of(world, 10 * YUAN, request="r-2")
    world.run(5)
    assert (row(world, first).state, row(world, second).state) == (life.STATED, life.APPROVED)
    world.points[METER].deaf = False
    world.settle()
    assert (row(world, first).state, row(world, second).state) == (life.TAKEN, life.TAKEN)
    assert world.points[METER].account.balance_uc() == 20 * YUAN
    whole(world)


def test_a_meter_that_never_answers_is_written_off_and_may_speak_after_all(world: World) -> None:
    world.pay("a", 50 * YUAN)
    world.settle()
    point = world.points[METER]
    point.dumb = True
    refund_id = refund_of(world, 20 * YUAN)
    world.run(60)
    assert point.account.balance_uc() == 30 * YUAN and row(world, refund_id).state == life.STATED
    made = world.read(proposals.get, world.write(deciding.write_off, refund_id, CASHIER, "burnt; photo 17"))
    with pytest.raises(SamePerson):
        world.write(proposals.approve, made.id, made.digest, CASHIER)
    world.write(proposals.approve, made.id, made.digest, MANAGER)
    assert (row(world, refund_id).state, world.customer()) == (life.WRITTEN_OFF, 50 * YUAN)
    point.dumb = False
    world.settle()
    assert point.account.balance_uc() == 50 * YUAN, "what it took off is credited again"
    whole(world)


def test_an_account_that_is_closed_keeps_the_money_its_customers(world: World) -> None:
    from headend.epochs import life as epochs

    world.pay("a", 50 * YUAN)
    world.settle()
    world.points[METER].dumb = True
    refund_id = refund_of(world, 20 * YUAN)
    world.run(30)
    world.write(epochs.open_epoch, METER, "tenant", "user:ann")
    assert row(world, refund_id).state == life.CLOSED
    assert world.balance(accounts.former_of(METER, 1)) == 50 * YUAN
    assert world.balance(accounts.REFUNDS) == 0 and world.balance(CHANNEL) == -50 * YUAN


def test_the_books_know_what_they_may_take(world: World) -> None:
    world.pay("a", 50 * YUAN)
    world.settle()
    refund_id = refund_of(world, 20 * YUAN)
    second = world.write(asking.refund_credit, ask("r-2"), METER, 30 * YUAN, POS).row.id
    world.points[METER].deaf = True
    approve(world, second)
    world.points[METER].deaf = False
    world.settle()
    assert row(world, refund_id).state == life.TAKEN
    assert world.read(stating.carried_uc, METER, 1) == sum(
        row(world, one).amount_uc for one in (refund_id, second) if row(world, one).state == life.TAKEN
    )
    whole(world)
