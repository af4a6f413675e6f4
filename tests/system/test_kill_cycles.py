"""`kill -9` of head end, signer and database at random instants, again and again: nothing acknowledged is lost, nothing
is credited twice, nothing is called confirmed that is not so.

OPENPREPAY_KILLS says how often, OPENPREPAY_SEED which victims and instants; the seed is in every failure.
"""

import os
import random
from pathlib import Path

from tests.system.kill_postgres import MortalServer
from tests.system.kill_rig import CONNECTION, DATABASE, HEAD_END, SIGNER, Rig

CYCLES = int(os.environ.get("OPENPREPAY_KILLS", "100"))
SEED = os.environ.get("OPENPREPAY_SEED", "1")


def go_through(rig: Rig, cycles: int, victims: tuple[tuple[str, ...], ...]) -> None:
    dice = random.Random(SEED)
    for cycle in range(cycles):
        who = dice.choice(victims)
        # Half of them while they are still starting; the others at work.
        at_work = dice.random() < 0.5
        after_s = dice.uniform(0.2, 1.0) if at_work else dice.uniform(0, 0.2)
        try:
            if at_work:
                rig.until_at_work()
            rig.kill(who, after_s)
            rig.check()
        except AssertionError as error:
            raise AssertionError(f"cycle {cycle} of seed {SEED}, {who} after {after_s:.3f} s: {error}") from error
    rig.settle()
    assert sum(len(till.taken) for till in rig.tills) >= cycles, "payments got through between the kills"
    assert sum(till.cut for till in rig.tills) >= cycles // 4, "and were cut off by them"


def test_with_sqlite(tmp_path: Path) -> None:
    """The database is in the head end: it dies with it."""
    with Rig(tmp_path, f"sqlite:///{tmp_path}/op.sqlite") as rig:
        go_through(rig, CYCLES * 8 // 10, ((HEAD_END,), (HEAD_END,), (SIGNER,), (HEAD_END, SIGNER)))


def test_with_postgresql(tmp_path: Path) -> None:
    """A fifth of the cycles: a server takes its time to recover."""
    server = MortalServer()
    try:
        strike = {DATABASE: server.kill_all, CONNECTION: lambda: server.kill_one(random.Random(SEED))}
        with Rig(tmp_path, server.database(), strike) as rig:
            go_through(rig, CYCLES * 2 // 10, ((HEAD_END,), (DATABASE,), (CONNECTION,), (SIGNER, DATABASE, HEAD_END)))
    finally:
        server.remove()
