"""Sequences in which money is easily lost or doubled, each with the real firmware, books, engine and signer.

In each, at the end: the books sum to zero, every meter is explained to the unit, and what customers paid is on the
meters once (`World.check`). The table in docs/sequences.md names these tests.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from headend.ledger import accounts
from meterlink.orders import ASPECT_CREDIT
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
        world.pay(payment_id, yuan * YUAN)
    world.settle()
    assert world.points[METER].account.credited_uc == 41 * YUAN
    assert world.balance(accounts.of_channel(POS)) == -41 * YUAN
    assert world.balance(accounts.RECOVERED) == 0
    world.check()
