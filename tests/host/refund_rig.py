"""What tests of refunds share: who asks, who approves, and what has to hold at the end."""

from pathlib import Path
from typing import Any

from sqlalchemy import select

from headend.gate import proposals
from headend.ledger import accounts, balances
from headend.ledger.refunds import asking, life
from headend.store.schema_refunds import refund
from tests.system.world import METER, POS, World

CASHIER = "user:ann"
MANAGER = "user:bob"


def small_world(folder: Path, *meters: int) -> World:
    """Meters whose households use nothing."""
    return World(folder, *meters, watts=0)


def ask(request: str = "r-1", by: str = CASHIER) -> asking.Asked:
    return asking.Asked(by, request, "the customer moved a payment")


def refund_of(world: World, amount_uc: int, number: int = METER, request: str = "r-1") -> int:
    """Ask for a refund and approve it; its id."""
    made = world.write(asking.refund_credit, ask(request), number, amount_uc, POS)
    approve(world, made.row.id)
    return int(made.row.id)


def approve(world: World, refund_id: int, approver: str = MANAGER) -> None:
    """A second person approves what was proposed."""
    made = world.read(proposals.get, row(world, refund_id).proposal)
    world.write(proposals.approve, made.id, made.digest, approver)


def row(world: World, refund_id: int) -> Any:
    return world.read(lambda conn: conn.execute(select(refund).where(refund.c.id == refund_id)).one())


def events(world: World, refund_id: int) -> list[str]:
    return [line.event for line in world.read(life.history, refund_id)]


def whole(world: World) -> None:
    """Every unit is explained, and nothing is left in clearing."""
    world.check()
    assert world.balance(accounts.REFUNDS) == 0


def sums(world: World) -> dict[str, int]:
    return {one.account: one.balance_uc for one in world.read(balances.trial_balance)}
