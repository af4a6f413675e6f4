"""Sequences in which money is easily lost or doubled, each with the real firmware, books, engine and signer.

In each, at the end: the books sum to zero, every meter is explained to the unit, and what customers paid is on the
meters once (`World.check`). The table in docs/sequences.md names these tests.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from headend.ledger import accounts
from tests.system.world import METER, POS, YUAN, World


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
