"""``openprepay sim check``: run the whole system on seeds, check its invariants, replay a failure."""

import argparse
import sys

from openprepay.simcheck.invariants import Broken, Invariants
from openprepay.simcheck.people import People
from openprepay.simcheck.system import LONG, SHORT, STEP_S, Shape, System
from openprepay.simcheck.verifier import fast

STORY_LINES = 60


def parser() -> argparse.ArgumentParser:
    """The arguments of ``openprepay sim check``."""
    top = argparse.ArgumentParser(
        prog="openprepay sim check",
        description="Runs head end, lossy network and real firmware on one virtual clock and one seed, and checks what "
        "must always hold after every event. The same seed gives the same run.",
    )
    top.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the (first) run")
    top.add_argument("--runs", type=int, default=1, metavar="N", help="runs, with seeds from --seed upwards")
    top.add_argument("--meters", type=int, default=3, metavar="N", help="meters in each run, 1..100")
    top.add_argument("--long", action="store_true", help="runs of three hours, with the waits of a real head end")
    top.add_argument("--verbose", action="store_true", help="tell the story of a run that held, too")
    return top


def run(seed: int, meters: int = 3, shape: Shape = SHORT) -> tuple[System, Invariants]:
    """One run; raises Broken (with the system's story as its note) where an invariant does not hold."""
    with fast():
        return _run(seed, meters, shape)


def _run(seed: int, meters: int, shape: Shape) -> tuple[System, Invariants]:
    system = System(seed, meters, shape)
    people = People(system)
    invariants = Invariants(system, people)
    try:
        for _ in range(shape.rounds):
            if system.rng.randrange(shape.act_every) == 0:
                people.act()
            system.advance()
            invariants.check()
        system.calm()
        for number in range(shape.settle_rounds):
            if number == shape.settle_rounds // 4:
                people.theme.settle()
            system.advance()
            invariants.check()
        invariants.check_settled()
    except AssertionError as error:
        error.add_note("\n".join(system.log[-STORY_LINES:]))
        raise
    finally:
        system.store.close()
    return system, invariants


def main(argv: list[str]) -> int:
    """0 where every run held, 1 at the first that did not, 2 for a wrong argument."""
    arguments = parser().parse_args(argv)
    if not 1 <= arguments.meters <= 100 or arguments.runs < 1:
        print("openprepay sim check: --meters 1..100 and --runs of at least 1 expected", file=sys.stderr)
        return 2
    shape = LONG if arguments.long else SHORT
    for seed in range(arguments.seed, arguments.seed + arguments.runs):
        try:
            system, invariants = run(seed, arguments.meters, shape)
        except Broken as broken:
            print(f"seed {seed}: BROKEN {broken}", file=sys.stderr)
            print("\n".join(broken.__notes__), file=sys.stderr)
            long = " --long" * arguments.long
            print(f"replay it: openprepay sim check --seed {seed} --meters {arguments.meters}{long}", file=sys.stderr)
            return 1
        network = system.network
        minutes = (shape.rounds + shape.settle_rounds) * STEP_S // 60
        print(
            f"seed {seed}: held; {arguments.meters} meters, {minutes} min, {network.sent} messages "
            f"({network.lost} lost, {network.repeated} repeated), {system.restarts} restarts of the head end, "
            f"{system.restores} restores, "
            f"{invariants.checks} checks",
            flush=True,
        )
        if arguments.verbose:
            print("\n".join(system.log))
    return 0
