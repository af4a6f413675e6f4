"""``openprepay sim life``: a life of `metersim.life` with its progress, its figures and the digest of its flash."""

import argparse
import subprocess
import sys
import time
from pathlib import Path

from metersim.build import package_folder, program
from metersim.life import DAY_S, Life
from metersim.life_orders import MODES

_PROGRAM = """
import sys
sys.path[:0] = {path!r}
from metersim.life import Life
life = Life({mode!r}, {seed})
def told(day):
    print("day", day, file=sys.stderr)
life.run({seconds}, told)
life.settle()
for name, value in life.figures():
    print("{{:<26}} {{}}".format(name, value))
print("{{:<26}} {{}}".format("sha-256 of the flash", life.digest()))
"""


def add_arguments(one: argparse.ArgumentParser) -> None:
    """Of ``sim life``."""
    one.add_argument("--mode", choices=sorted(MODES), default="smets2", help="who charges, and by which rules")
    one.add_argument("--days", type=int, default=7, metavar="N", help="virtual days, 1..3660 (default 7)")
    one.add_argument("--seed", type=int, default=1, metavar="N", help="0..1000000: equal seeds give equal lives")
    one.add_argument("--micropython", action="store_true", help="live on real MicroPython: the flash is the same")


def run(arguments: argparse.Namespace) -> int:
    """0; 1 where something that must hold did not; 2 for a wrong argument."""
    for name, value, low, high in (("--days", arguments.days, 1, 3660), ("--seed", arguments.seed, 0, 1_000_000)):
        if not low <= value <= high:
            print(f"openprepay sim: {name}: {value} given, {low}..{high} expected", file=sys.stderr)
            return 2
    return _on_micropython(arguments) if arguments.micropython else _here(arguments)


def _here(arguments: argparse.Namespace) -> int:
    began = time.monotonic()
    life = Life(arguments.mode, arguments.seed)

    def told(day: int) -> None:
        speed = life.seconds / max(0.001, time.monotonic() - began)
        print(f"day {day} of {arguments.days}: {life.meter.boot} boots, {speed:.0f} s a second", file=sys.stderr)

    try:
        life.run(arguments.days * DAY_S, told)
        life.settle()
    except AssertionError as broken:
        where = f"second {life.seconds} of --mode {arguments.mode} --seed {arguments.seed}"
        print(f"openprepay sim: {broken or 'a rule'}: broken in {where}", file=sys.stderr)
        return 1
    for name, value in life.figures():
        print(f"{name:<26} {value}")
    print(f"{'sha-256 of the flash':<26} {life.digest()}")
    return 0


def _on_micropython(arguments: argparse.Namespace) -> int:
    folders: list[Path] = [package_folder(name).parent for name in ("meterlink", "meter", "metersim")]
    text = _PROGRAM.format(
        path=[str(folder) for folder in folders],
        mode=arguments.mode,
        seed=arguments.seed,
        seconds=arguments.days * DAY_S,
    )
    return subprocess.run([str(program("micropython")), "-X", "heapsize=64M", "-c", text], check=False).returncode
