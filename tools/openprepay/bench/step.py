"""What one second of the meter's core costs on MicroPython: time, and bytes taken from the heap.

A commissioned meter with credit at 2.3 kW, so that a pulse comes about every second; its flash is a bytearray, not
waited for. The peer is the least that a meter could do: count the pulses, take their
price from a balance, open the relay at zero. Both get the same seconds, in turn; steps that the system interrupted are
left out. Garbage is collected between steps, as the shell does, and measured apart.
"""

from collections.abc import Iterator

from meterlink.flashmap import TOTAL_SECTORS
from meterlink.results import APPLIED
from metersim.workbench import Workbench
from openprepay.bench import upy
from openprepay.bench.figure import Figure, against
from openprepay.bench.metered import BOARD

PEER = "a loop that counts pulses, takes their price from a balance and compares it with zero"
HEAP = "2M"  # flash and code are in it


def run(seconds: float) -> Iterator[Figure]:
    """Time, then heap."""
    bench = Workbench(1)
    found = upy.measure(
        BOARD + _PROGRAM,
        HEAP,
        record=bench.record(),
        credit=bench.credit(10_000_000_000),
        rounds=int(seconds * 12),
        heap_s=max(120, min(600, int(seconds * 100))),
        sectors=TOTAL_SECTORS,
        applied=APPLIED,
    )
    yield against("step_time", found["plain_us"], "us", PEER, found["toy_us"])
    yield against("step_commit_time", found["commit_us"], "us", "a step without a commit", found["plain_us"])
    yield against("step_bytes", found["plain_bytes"], "bytes", PEER, found["toy_bytes"])
    yield Figure("step_bytes_most", found["plain_most"], "bytes")
    yield Figure("step_commit_bytes_most", found["commit_most"], "bytes")
    yield Figure("step_collect_time", found["collect_us"], "us")


_PROGRAM = """
REPEATED = 50
ROUND_S = 120  # some commits fall into it

class Toy:
    def __init__(self, board):
        self.board = board
        self.count = 0
        self.balance_uc = 10000000000

    def step(self, mono_s):
        count = self.board.pulses()[0]
        self.balance_uc -= (count - self.count) * 362
        self.count = count
        if self.balance_uc <= 0:
            self.board.coil(False)

class Nothing:
    def step(self, mono_s):
        pass

mono_s = 0

def one_second():
    global mono_s
    mono_s = pass_second(meter)

def settle():
    "What the shell does after a step."
    if meter.erase_due():
        meter.erase_step()

meter = commissioned(bytearray(b"\\xff" * (sectors * SECTOR)), record, credit)
board = meter.board
if meter.result(Meter.CARRIER_LOCAL).code != applied:
    raise ValueError("the order was not applied")
toy = Toy(board)
nothing = Nothing()
journal = meter.store.journal

def time_us(core, times):
    start = time.ticks_us()
    for _ in range(times):
        core.step(mono_s)
    return time.ticks_diff(time.ticks_us(), start)

def typical(values):
    "The mean of what was not interrupted: of all values up to twice the median."
    values.sort()
    most = 2 * values[len(values) // 2]
    kept = [value for value in values if value <= most]
    return sum(kept) / len(kept)

def one_round():
    "Typical microseconds of each kind of step, a commit's among them where there was one."
    times = {"plain": [], "commit": [], "toy": [], "nothing": [], "once": []}
    for _ in range(ROUND_S):
        one_second()
        if mono_s % 4 == 0:
            gc.collect()
        times["toy"].append(time_us(toy, REPEATED))
        times["nothing"].append(time_us(nothing, REPEATED))
        times["once"].append(time_us(nothing, 1))
        sequence = journal.sequence
        taken = time_us(meter, 1)
        times["plain" if journal.sequence == sequence else "commit"].append(taken)
        settle()
    us = {name: typical(values) for name, values in times.items()}
    return (us["plain"] - us["once"], us["commit"] - us["once"], (us["toy"] - us["nothing"]) / REPEATED)

best = one_round()
for _ in range(rounds):
    best = [min(pair) for pair in zip(best, one_round())]
plain_us, commit_us, toy_us = best

def taken_by(core):
    "Bytes that one step takes from the heap, rubbish included."
    gc.collect()
    before = gc.mem_alloc()
    core.step(mono_s)
    return gc.mem_alloc() - before

def collect_us():
    start = time.ticks_us()
    gc.collect()
    return time.ticks_diff(time.ticks_us(), start)

least_collect_us = min([collect_us() for _ in range(20)])
gc.disable()
plain = []
commit = []
toys = []
for _ in range(heap_s):
    one_second()
    toys.append(taken_by(toy))
    sequence = journal.sequence
    taken = taken_by(meter)
    (plain if journal.sequence == sequence else commit).append(taken)
    settle()
print(json.dumps({
    "plain_us": plain_us,
    "commit_us": commit_us,
    "toy_us": toy_us,
    "collect_us": least_collect_us,
    "toy_bytes": sum(toys) / len(toys),
    "plain_bytes": sum(plain) / len(plain),
    "plain_most": max(plain),
    "commit_most": max(commit),
}))
"""
