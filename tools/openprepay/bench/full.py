"""How long a meter takes to start from a flash that is full: mounting, finding its state, finishing what a cut left.

Both large rings are full and the journal has gone round. The firmware is the image, on MicroPython; its flash is in
memory.
"""

from collections.abc import Iterator

from meterlink import flashmap
from meterlink.records import pack_interval
from metersim.workbench import Workbench
from openprepay.bench import upy
from openprepay.bench.figure import Figure, against
from openprepay.bench.metered import BOARD

HEAP = "8M"
BUDGET_S = 2


def run(seconds: float) -> Iterator[Figure]:
    """The time of a start, the best of some, against what the design allows; and what it reads."""
    bench = Workbench(1)
    one = pack_interval(1, 0, 0, 0, 0, 0, 15, 0)
    found = upy.measure(
        BOARD + _PROGRAM,
        HEAP,
        record=bench.record(),
        credit=bench.credit(10_000_000_000),
        sectors=flashmap.TOTAL_SECTORS,
        intervals=flashmap.INTERVALS_SECTORS * flashmap.SECTOR_BYTES // len(one),
        ticks=4000,  # more than the journal holds
        times=max(2, int(seconds)),
    )
    yield against("boot_full_flash", found["us"], "us", "what the design allows", BUDGET_S * 1_000_000)
    yield Figure("boot_full_flash_read", found["bytes"], "bytes")


_PROGRAM = """
from meterlink import records

data = bytearray(b"\\xff" * (sectors * SECTOR))
meter = commissioned(data, record, credit)
kept = meter.store
for seq in range(1, intervals):
    kept.intervals.append(records.pack_interval(seq, START_S + 900 * seq, 0, 0, 0, 0, 15, 0))
    kept.events.append(records.pack_event(100 + seq, START_S, 1, 1, 0, 0, 0))
for _ in range(ticks):
    meter.commit([])
    while meter.erase_due():
        meter.erase_step()
    while meter.erase_due():
        meter.erase_step()

class Counted(Flash):
    count = 0

    def readblocks(self, block, buf, offset=0):
        Counted.count += len(buf)
        Flash.readblocks(self, block, buf, offset)

best = 1 << 30
for _ in range(times):
    copy = bytearray(data)
    gc.collect()
    fresh = Meter(House(Flash(copy)))
    start = time.ticks_us()
    fresh.start(0)
    best = min(best, time.ticks_diff(time.ticks_us(), start))
    assert fresh.commissioned and not fresh.history_lost and not fresh.damaged
counted = Meter(House(Counted(bytearray(data))))
counted.start(0)
print(json.dumps({"us": best, "bytes": Counted.count}))
"""
