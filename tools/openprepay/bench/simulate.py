"""Meters in this process on CPython: how many days of a meter a second simulates, and the memory that a meter takes.

The real core over the virtual board, in households. With steps of one second, as `openprepay sim check` takes them;
and with steps of a minute, in which energy and charges come out the same and each makes a checkpoint. The peer is the
physics alone.
"""

import subprocess
import sys
from collections.abc import Iterator

from meterlink.flashmap import SECTOR_BYTES, TOTAL_SECTORS
from metersim.board import VirtualBoard
from metersim.inprocess import InProcessMeter
from metersim.load import Household
from metersim.workbench import Workbench
from openprepay.bench.figure import Figure, against, race, timed

DAY_S = 86_400
METERS = 4
STRIDES = (("simulate_days", 1), ("simulate_days_minutes", 60))
STEPS = 1800  # of each meter in a round


def run(seconds: float) -> Iterator[Figure]:
    """Days by step, then memory."""
    bench = Workbench(1)
    load = Household()
    record, credit = bench.record(), bench.credit(10**12)
    steps = max(60, min(STEPS, int(seconds * 1000)))
    for name, stride_s in STRIDES:
        meters = [_meter(VirtualBoard(load, seed=seed), record, credit) for seed in range(METERS)]
        boards = [VirtualBoard(load, seed=seed) for seed in range(METERS)]

        def ours(meters: list[InProcessMeter] = meters, stride_s: int = stride_s) -> None:
            for meter in meters:
                meter.run(steps * stride_s, stride_s)

        def physics(boards: list[VirtualBoard] = boards, stride_s: int = stride_s) -> None:
            for board in boards:
                for _ in range(steps):
                    board.advance(stride_s)

        ours_s, physics_s = race([timed(ours), timed(physics)], seconds / 4, rounds=2)
        days = METERS * steps * stride_s / DAY_S
        step = "second" if stride_s == 1 else f"{stride_s} s"
        peer = f"the board's physics alone, a step every {step} alike"
        yield against(name, days / ours_s, "meter-days/s", peer, days / physics_s)
    number = max(20, min(1000, int(seconds * 60)))
    taken = _memory(number, record, credit)
    yield against("simulate_memory", taken, "bytes/meter", "its flash image", TOTAL_SECTORS * SECTOR_BYTES)


def _meter(board: VirtualBoard, record: bytes, credit: bytes) -> InProcessMeter:
    meter = InProcessMeter(board, record)
    meter.meter.submit(meter.meter.CARRIER_LOCAL, credit)
    meter.settle()
    meter.step()
    return meter


def _memory(number: int, record: bytes, credit: bytes) -> float:
    """Bytes that a meter adds to a process which has nothing else to hold, the mean of `number` after their start."""
    given = f"number, record, credit = {number!r}, {record!r}, {credit!r}\n"
    done = subprocess.run([sys.executable, "-c", given + _MEMORY], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"the meters did not start: {done.stderr}")
    return float(done.stdout)


_MEMORY = """
import gc, resource
from metersim.board import VirtualBoard
from metersim.load import Household
from openprepay.bench.simulate import _meter

def in_use():
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()

load = Household()
kept = [_meter(VirtualBoard(load), record, credit) for _ in range(5)]
before = in_use()
kept += [_meter(VirtualBoard(load, seed=seed), record, credit) for seed in range(number)]
print((in_use() - before) / number)
"""
