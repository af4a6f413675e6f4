"""Any number of restores, of any copies, with orders of lost databases turning up late: in the end nothing is lost or
doubled.

`make soak` runs it on fresh seeds: OPENPREPAY_SEED is the first of eight.
"""

import os
import random
from pathlib import Path

import pytest

from headend.ledger import accounts
from tests import postgres
from tests.system.world import METER, POS, YUAN, World, credit_total

STEPS = 9
FIRST_SEED = int(os.environ.get("OPENPREPAY_SEED", "0"))


@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + 8))
def test_whatever_is_restored_every_payment_counts_once(tmp_path: Path, seed: int) -> None:
    """The last of the seeds on PostgreSQL."""
    rng = random.Random(seed)
    world = World(tmp_path, server=postgres.server() if seed == FIRST_SEED + 7 else None)
    point = world.points[METER]
    copies = [world.backup()]
    paid: dict[str, int] = {}
    kept: list[bytes] = []  # orders of which somebody has a copy

    def pay() -> None:
        paid[f"p{len(paid)}"] = amount_uc = rng.randrange(1, 50) * YUAN
        world.pay(f"p{len(paid) - 1}", amount_uc)
        if rng.randrange(3):
            world.run(rng.randrange(12))

    def copy() -> None:
        copies.append(world.backup())

    def restore() -> None:
        world.restore(rng.choice(copies), log_too=bool(rng.randrange(2)))
        world.run(rng.randrange(20))

    def turn_up() -> None:
        if kept:
            point.hear("order", rng.choice(kept))

    def turn_deaf() -> None:
        point.deaf = not point.deaf
        world.run(rng.randrange(30))

    for _ in range(STEPS):
        rng.choices((pay, copy, restore, turn_up, turn_deaf, world.settle), (5, 2, 2, 2, 2, 1))[0]()
        world.ask(METER)
        kept += [raw for _, raw in point.lost if credit_total(raw) >= 0]
        point.lost.clear()
    point.deaf = False
    world.settle()
    posted = list(paid)
    rng.shuffle(posted)
    for number, payment_id in enumerate(posted):
        world.pay(payment_id, paid[payment_id], again=True)
        if number == len(posted) // 2:
            world.settle()
            turn_up()
    world.settle()
    for raw in kept:
        point.hear("order", raw)
    world.settle()
    assert point.account.credited_uc == sum(paid.values())
    assert world.balance(accounts.of_channel(POS)) == -sum(paid.values())
    assert world.balance(accounts.RECOVERED) == 0
    assert world.on_meter() == set(paid)
    world.check()
    world.close()
