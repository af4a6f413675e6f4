"""Refunds and a database that was lost: a copy of it is put back, and the meter is read back."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from headend.epochs import recover
from headend.ledger import accounts, reconcile
from headend.ledger.refunds import life
from tests.host.refund_rig import CASHIER, refund_of, row, small_world
from tests.system.test_sequences import erase
from tests.system.world import METER, POS, YUAN, Point, World

OWN = accounts.of_channel(POS)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = small_world(tmp_path, METER)
    made.pay("a", 50 * YUAN)
    made.settle()
    yield made
    made.close()


def spend(point: Point) -> None:
    """All but 5.00 is used, and nobody has heard of it."""
    before, point.dumb = point.dumb, True
    point.unit.meter.account.charge_uc(45 * YUAN)
    point.unit.run(61)
    point.dumb = before


@pytest.mark.parametrize("arrived", [False, True])
def test_one_that_was_under_way(world: World, arrived: bool) -> None:
    """What the meter shows of the closed source decides."""
    point = world.points[METER]
    point.dumb, point.deaf = arrived, not arrived
    refund_id = refund_of(world, 20 * YUAN)
    world.run(20)
    assert row(world, refund_id).state == life.STATED
    if not arrived:
        spend(point)
    world.restore(world.backup())
    point.dumb = point.deaf = False
    world.settle()
    world.settle()
    assert row(world, refund_id).state == (life.TAKEN if arrived else life.REFUSED)
    left_uc, kept_uc = (30 * YUAN, 30 * YUAN) if arrived else (5 * YUAN, 50 * YUAN)
    assert (world.customer(), point.account.balance_uc(), world.balance(OWN)) == (left_uc, left_uc, -kept_uc)
    for raw in point.orders:
        point.hear("order", raw)
    world.pay("b", 10 * YUAN)
    world.settle()
    assert point.account.balance_uc() == left_uc + 10 * YUAN
    world.check()


@pytest.mark.parametrize("neutral", [False, True])
def test_one_that_the_copy_does_not_know(world: World, neutral: bool) -> None:
    """Booked as found, and a person is told; one that was refused leaves nothing behind."""
    point = world.points[METER]
    copy = world.backup()
    if neutral:
        spend(point)
    refund_id = refund_of(world, 20 * YUAN)
    world.settle()
    assert row(world, refund_id).state == (life.REFUSED if neutral else life.TAKEN)
    world.restore(copy)
    world.settle()
    world.settle()
    assert "refund_found" in world.findings()
    assert world.balance(accounts.RECOVERED) == (0 if neutral else 20 * YUAN)
    assert world.customer() == point.account.balance_uc() == (5 if neutral else 30) * YUAN
    explained = world.read(reconcile.explain, METER)
    assert explained.difference_uc == 0, explained


@pytest.mark.parametrize("restored", [False, True])
def test_a_meter_that_lost_its_history_is_not_given_back_what_was_paid_out(world: World, restored: bool) -> None:
    refund_of(world, 20 * YUAN)
    world.settle()
    if restored:  # then the source that took it back is closed
        world.restore(world.backup())
        world.settle()
        world.settle()
    point = world.points[METER]
    erase(world)
    world.settle()
    assert point.unit.meter.history_lost
    world.write(recover.recover, METER, CASHIER)
    world.until(lambda: not point.unit.meter.history_lost)
    world.settle()
    assert point.account.balance_uc() == world.customer() == 30 * YUAN
    world.check()
