"""Sequences in which money is easily lost or doubled, each with the real firmware, books, engine and signer.

In each, at the end: the books sum to zero, every meter is explained to the unit, and what customers paid is on the
meters once (`World.check`). The table in docs/sequences.md names these tests.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from headend.epochs import life, recover
from headend.ledger import accounts
from headend.refusals import Refused
from meterlink.orders import ASPECT_CREDIT, ASPECT_EPOCH, ASPECT_RECOVER, Order
from tests.system.world import METER, POS, YUAN, World, credit_total


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


def test_a_restored_database_posts_a_payment_again(world: World) -> None:
    world.pay("a", 10 * YUAN)
    world.settle()
    copy = world.backup()
    world.pay("b", 20 * YUAN)
    world.pay("c", 30 * YUAN)
    world.settle()
    assert world.points[METER].account.credited_uc == 60 * YUAN
    world.restore(copy)
    # The channel posts what it has no answer for, before the meter was read back and after.
    waits = world.pay("b", 20 * YUAN)
    assert (waits.order_id, waits.repeated) == (None, False)
    world.settle()
    assert world.points[METER].account.credited_uc == 60 * YUAN
    assert world.balance(accounts.RECOVERED) == -30 * YUAN  # c: on the meter, and nobody has brought the money yet
    world.check()
    again = world.pay("c", 30 * YUAN)
    assert again.order_id is None
    world.pay("d", 5 * YUAN)
    world.settle()
    assert world.balance(accounts.RECOVERED) == 0
    assert world.balance(accounts.of_channel(POS)) == -65 * YUAN
    assert world.points[METER].account.credited_uc == 65 * YUAN
    assert world.points[METER].account.totals(2) == (5 * YUAN, 0)
    assert world.findings() == []
    world.check()


def test_money_that_waited_for_the_read_back_reaches_the_meter_from_the_new_source(world: World) -> None:
    world.pay("a", 10 * YUAN)
    world.settle()
    copy = world.backup()
    world.points[METER].deaf = True
    world.restore(copy)
    world.pay("b", 7 * YUAN)
    world.pay("c", 8 * YUAN)
    world.run(120)
    assert world.points[METER].account.credited_uc == 10 * YUAN  # nothing was stated while nothing was proved
    assert world.customer() == 25 * YUAN - sum(world.entries("consumption"))
    world.check()
    world.points[METER].deaf = False
    world.settle()
    assert [world.points[METER].account.totals(source)[0] for source in (1, 2)] == [10 * YUAN, 15 * YUAN]
    assert world.on_meter() == {"a", "b", "c"}
    world.check()


@pytest.mark.parametrize("when", ["before the read-back", "between read-back and closing", "after the closing"])
def test_an_old_laptop_order_after_a_restore(world: World, when: str) -> None:
    """A field engineer's laptop holds an order of the lost database that nobody else knows of."""
    world.pay("a", 10 * YUAN)
    world.settle()
    copy = world.backup()
    point = world.points[METER]
    point.deaf = True
    world.pay("b", 20 * YUAN)
    world.run(30)
    laptop = [raw for what, raw in point.lost if credit_total(raw) == 30 * YUAN][-1]
    point.lost.clear()
    world.restore(copy)
    if when == "before the read-back":
        point.hear("order", laptop)
    point.deaf = False
    if when == "between read-back and closing":
        world.ask(METER)
        world.until(lambda: "closed" in {row.wants for row in world.orders(METER, ASPECT_CREDIT)})
        point.before = ("order", laptop)
    world.settle()
    if when == "after the closing":
        point.hear("order", laptop)
    counted = when != "after the closing"
    assert point.account.totals(1)[0] == (30 if counted else 10) * YUAN
    # The channel has had no answer, so it posts the payment again: the customer has paid once, and gets it once.
    world.pay("b", 20 * YUAN)
    world.settle()
    assert point.account.credited_uc == 30 * YUAN
    assert world.balance(accounts.of_channel(POS)) == -30 * YUAN
    assert world.balance(accounts.RECOVERED) == 0
    world.check()


def test_what_the_books_sold_and_the_meter_never_got_goes_on_with_the_new_source(world: World) -> None:
    """The copy has a payment whose order was never signed; another copy of it may or may not be under way."""
    world.pay("a", 10 * YUAN)
    world.settle()
    world.points[METER].deaf = True
    world.pay("b", 20 * YUAN)
    copy = world.backup()
    world.restore(copy)
    world.points[METER].deaf = False
    world.settle()
    assert world.points[METER].account.credited_uc == 30 * YUAN
    assert world.on_meter() == {"a", "b"}
    world.check()


def test_a_second_restore_before_the_first_was_settled(world: World) -> None:
    world.pay("a", 10 * YUAN)
    world.settle()
    copy = world.backup()
    world.pay("b", 20 * YUAN)
    world.settle()
    world.points[METER].deaf = True
    world.restore(copy)
    world.pay("c", 5 * YUAN)
    second = world.backup()
    world.points[METER].deaf = False
    world.settle()
    world.pay("d", 6 * YUAN)
    world.settle()
    assert world.points[METER].account.credited_uc == 41 * YUAN
    world.restore(second)  # knows a, and c as one that waits; the meter has folded source 1 and holds source 2
    world.settle()
    for payment_id, yuan in (("b", 20), ("d", 6)):
        world.pay(payment_id, yuan * YUAN, again=True)
    world.settle()
    assert world.points[METER].account.credited_uc == 41 * YUAN
    assert world.balance(accounts.of_channel(POS)) == -41 * YUAN
    assert world.balance(accounts.RECOVERED) == 0
    world.check()


# --- change of tenant -------------------------------------------------------------------------------------------------


def test_a_change_of_tenant_settles_the_old_account_to_the_unit(world: World) -> None:
    world.pay("a", 50 * YUAN)
    world.run(600)
    world.write(life.open_epoch, METER, life.TENANT, "operator:ann")
    former = accounts.former_of(METER, 1)
    provisional_uc = world.balance(former)
    world.run(200)
    world.settle()
    point, closed = world.points[METER], world.closing(METER, 1)
    assert (point.unit.meter.account_epoch, point.account.balance_uc()) == (2, -point.account.charged_uc)
    assert closed.provisional == 0 and closed.balance_uc == 50 * YUAN - closed.charged_uc
    assert world.balance(former) == closed.balance_uc != provisional_uc  # what it used until the end, to the unit
    assert world.balance(accounts.of_meter(METER, 1)) == 0
    world.pay("b", 30 * YUAN)
    world.settle()
    assert point.account.credited_uc == 30 * YUAN
    assert world.on_meter() == {"a", "b"}
    world.check()


def test_the_old_tenants_late_order_and_late_payment_do_nothing_for_the_new_one(world: World) -> None:
    point = world.points[METER]
    point.deaf = True
    world.pay("a", 50 * YUAN)
    world.run(60)
    late = next(one for one in point.lost if credit_total(one[1]) == 50 * YUAN)
    world.write(life.open_epoch, METER, life.TENANT, "operator:ann")
    point.deaf = False
    world.settle()
    point.hear(*late)
    assert point.account.credited_uc == 0
    world.settle()
    former = accounts.former_of(METER, 1)
    assert world.balance(former) == 50 * YUAN - world.closing(METER, 1).charged_uc
    assert {row.state for row in world.orders(METER, ASPECT_CREDIT)} <= {"settled", "superseded", "refused"}
    before_uc = world.balance(former)
    world.pay("b", 3 * YUAN, account_epoch=1)  # with the old tenant's bill in hand
    assert world.balance(former) == before_uc + 3 * YUAN
    with pytest.raises(Refused, match="account_epoch: 3 given, 2, the account in force"):
        world.pay("c", 3 * YUAN, account_epoch=3)
    world.settle()
    assert point.account.credited_uc == 0
    world.check()


def test_money_paid_before_the_meter_knows_its_new_account_waits_for_it(world: World) -> None:
    point = world.points[METER]
    point.deaf = True
    world.write(life.open_epoch, METER, life.TENANT, "operator:ann")
    world.pay("b", 30 * YUAN)
    world.run(600)
    assert all(Order(raw).stated.aspect == ASPECT_EPOCH for what, raw in point.lost if what == "order")
    point.deaf = False
    world.until(lambda: point.account.credited_uc == 30 * YUAN)
    world.settle()
    world.check()


# --- exchange and repair ----------------------------------------------------------------------------------------------


def test_an_exchange_moves_the_account_and_a_late_closing_statement_corrects_it(world: World) -> None:
    world.pay("a", 50 * YUAN)
    world.settle()
    world.points[METER].deaf = world.points[METER].dumb = True
    world.run(3600)  # it goes on charging, and nobody hears of it
    new = world.add(18)
    world.write(life.exchange, METER, 18, "operator:ann")
    world.settle(18)
    moved_uc = new.account.credited_uc
    assert 0 < moved_uc < 50 * YUAN
    assert world.closing(METER, 1).provisional == 1
    with pytest.raises(Refused, match="a meter in service"):
        world.pay("b", 1 * YUAN)
    with pytest.raises(Refused, match="meter 18, account epoch 1"):
        world.pay("b", 1 * YUAN, account_epoch=1)
    world.points[METER].deaf = world.points[METER].dumb = False
    world.settle()
    old = world.points[METER].account
    closed = world.closing(METER, 1)
    assert closed.provisional == 0 and closed.charged_uc == old.charged_uc > 1_000_000
    world.until(lambda: new.account.credited_uc - new.account.adjusted_uc == 50 * YUAN - old.charged_uc, 60)
    world.settle()
    assert world.balance(accounts.of_meter(METER, 1)) == 0
    assert world.customer(18) == 50 * YUAN - old.charged_uc - sum(world.entries("consumption", 18))
    world.check()


def test_a_repaired_meter_is_refitted_at_another_place(world: World) -> None:
    """The old meter comes back from the workshop to another customer, with its old orders still about."""
    world.pay("a", 50 * YUAN)
    world.run(300)
    world.settle()
    old = world.points[METER]
    kept = [raw for raw in old.orders if credit_total(raw) >= 0]
    world.add(18)
    world.write(life.exchange, METER, 18, "operator:ann")
    world.settle()
    assert old.unit.meter.supply.retired and world.points[18].account.credited_uc > 0
    before_uc = old.account.charged_uc
    world.run(600)
    assert old.account.charged_uc == before_uc
    world.write(life.open_epoch, METER, life.COMMISSIONED, "operator:ann")
    world.settle()
    assert (old.unit.meter.account_epoch, old.account.credited_uc) == (2, 0)
    for raw in kept:
        old.hear("order", raw)
    assert old.account.credited_uc == 0
    world.pay("b", 5 * YUAN)
    world.settle()
    assert old.account.credited_uc == 5 * YUAN
    paid_uc, used_uc = 55 * YUAN, sum(world.entries("consumption"))
    assert world.customer(METER) + world.customer(18) == paid_uc - used_uc
    world.check()


def test_a_repair_on_the_same_meter_keeps_what_the_customer_has(world: World) -> None:
    world.pay("a", 50 * YUAN)
    world.run(300)
    world.write(life.open_epoch, METER, life.REPAIRED, "operator:ann")
    world.run(100)
    world.settle()
    assert world.customer() == 50 * YUAN - sum(world.entries("consumption"))
    account = world.points[METER].account
    assert account.credited_uc - account.adjusted_uc == 50 * YUAN - world.closing(METER, 1).charged_uc
    world.check()


# --- lost history -----------------------------------------------------------------------------------------------------


def erase(world: World, number: int = METER) -> None:
    """Somebody erases the meter's flash; it comes back as from the factory, and is provisioned again."""
    point = world.points[number]
    flash = point.board.flash
    for sector in range(flash.ioctl(4, 0)):
        flash.ioctl(6, sector)
    point.boot(world.provision(number))
    world.up(point, "state", point.exchange.birth())


def test_the_flash_is_erased_and_the_last_order_replayed(world: World) -> None:
    world.pay("a", 50 * YUAN)
    world.run(300)
    world.settle()
    point = world.points[METER]
    kept = [raw for raw in point.orders if credit_total(raw) >= 0]
    charged_uc = sum(world.entries("consumption"))
    assert charged_uc > 0
    erase(world)
    assert point.unit.meter.history_lost
    for raw in kept:
        point.hear("order", raw)
    assert point.account.credited_uc == 0
    world.settle()
    assert "history_lost" in world.findings()
    world.pay("b", 7 * YUAN)  # money is taken all the same
    world.settle()
    assert point.account.credited_uc == 0
    world.write(recover.recover, METER, "operator:ann")
    world.until(lambda: point.account.credited_uc == 57 * YUAN)
    world.settle()
    assert not point.unit.meter.history_lost
    assert point.account.charged_uc >= charged_uc
    assert "history_lost" not in world.findings()
    assert {row.state for row in world.orders(METER, ASPECT_RECOVER)} == {"confirmed"}
    for raw in kept:
        point.hear("order", raw)
    assert point.account.credited_uc == 57 * YUAN
    assert point.unit.meter.supply.limits.alarm_uc == 3 * YUAN
    world.check()


def test_a_recover_order_is_good_once(world: World) -> None:
    world.pay("a", 50 * YUAN)
    world.settle()
    with pytest.raises(Refused, match="a meter whose newest report says that its history is lost"):
        world.write(recover.recover, METER, "operator:ann")
    erase(world)
    world.settle()
    world.write(recover.recover, METER, "operator:ann")
    point = world.points[METER]
    world.until(lambda: not point.unit.meter.history_lost)
    world.settle()
    (stated,) = [row.signed for row in world.orders(METER, ASPECT_RECOVER)]
    world.run(600)
    world.settle()
    charged_uc = sum(world.entries("consumption"))
    erase(world)
    point.hear("order", stated)
    assert point.unit.meter.history_lost  # it answers a nonce of another day
    world.settle()
    world.write(recover.recover, METER, "operator:ann")
    world.until(lambda: not point.unit.meter.history_lost)
    assert point.account.charged_uc >= charged_uc
    world.settle()
    world.check()
