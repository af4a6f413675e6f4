"""The longest that one thing holds everything else up, on MicroPython's unix port: a second's step with whatever it
commits, a slice of a verification, the answer to a reading of a block.

Half an hour is gone through again and again from the same start: of each second, each slice and each block the least
time counts, so that what else the machine does is left out; of those the longest is the figure. Flash is a bytearray:
what a chip takes to be written or erased comes on top, as does TLS.
"""

from collections.abc import Iterator

from meterlink.flashmap import TOTAL_SECTORS
from meterlink.registers import LAYOUTS
from meterlink.results import APPLIED
from metersim.workbench import Workbench
from openprepay.bench import upy
from openprepay.bench.figure import Figure, against
from openprepay.bench.metered import BOARD

BUDGET_US = 500
HEAP = "4M"
_DESIGN = "what the design allows"


def run(seconds: float) -> Iterator[Figure]:
    """The longest step, slice and answer."""
    bench = Workbench(1)
    found = upy.measure(
        BOARD + _PROGRAM,
        HEAP,
        record=bench.record(),
        credits=(bench.credit(10_000_000_000), bench.credit(20_000_000_000)),
        blocks=tuple((layout[1], min(layout[2], 125)) for layout in LAYOUTS),
        rounds=max(1, int(seconds)),
        sectors=TOTAL_SECTORS,
        applied=APPLIED,
    )
    yield against("stall_step", found["step"], "us", _DESIGN, BUDGET_US)
    yield against("stall_slice", found["slice"], "us", _DESIGN, BUDGET_US)
    yield against("stall_answer", found["answer"], "us", _DESIGN, BUDGET_US)


_PROGRAM = """
from meter.registers import MeterRegisters
from meterlink.modbus import RtuServer, ServerPdu, crc16

SECONDS = 1800  # two intervals end in it
EVERY_S = 30  # a collection of garbage, a reading

def spent(since):
    return time.ticks_diff(time.ticks_us(), since)

def feed(server, address, count):
    frame = bytearray((1, 3, address >> 8, address & 255, count >> 8, count & 255))
    crc = crc16(frame)
    for byte in frame:
        server.feed(byte)
    server.feed(crc & 255)
    server.feed(crc >> 8)

def one_round():
    "Microseconds of each step, each slice and each answer."
    gc.collect()
    meter = commissioned(bytearray(b"\\xff" * (sectors * SECTOR)), record, credits[0])
    server = RtuServer(ServerPdu(MeterRegisters(meter, Meter.CARRIER_BUS)), 1)
    steps = []
    answers = []
    for second in range(SECONDS):
        if second % EVERY_S == 0:
            address, count = blocks[second // EVERY_S % len(blocks)]
            feed(server, address, count)
            start = time.ticks_us()
            size = server.end()
            answers.append(spent(start))
            if not size:
                raise ValueError("no answer")
            gc.collect()
        mono_s = pass_second(meter)
        start = time.ticks_us()
        meter.step(mono_s)
        steps.append(spent(start))
        if meter.erase_due():
            meter.erase_step()
    gc.collect()
    meter.submit(Meter.CARRIER_LOCAL, credits[1])
    slices = []
    more = True
    while more:
        start = time.ticks_us()
        more = meter.verify_slice()
        slices.append(spent(start))
    if meter.result(Meter.CARRIER_LOCAL).code != applied:
        raise ValueError("the order was not applied")
    return steps, slices, answers

least = one_round()
for _ in range(rounds - 1):
    least = [[min(pair) for pair in zip(*both)] for both in zip(least, one_round())]
print(json.dumps(dict(zip(("step", "slice", "answer"), [max(one) for one in least]))))
"""
