"""A day of records of each of 32 meters on one RS-485 line, through the head end's own link, in real wires' time.

9 600 baud, 8E1: a character takes 11 bits. The meters are the firmware itself; the line is the simulator's, and gives
an answer to the master when its last character would have come (`metersim.rs485`). For each meter the head end puts the
questions of a daily look (three batches that hold 96 records), fetches head, records and MAC of each, and checks CRCs
and numbers.

The peer is the wire: what the bytes of all requests and answers take at that rate one after the other, without any gap
between them. Where the time given is too short for all meters, fewer are read, as many as it takes.
"""

import asyncio
import time
from collections.abc import Iterator

from headend.fleet import address
from headend.links.bus import Bus, Patience
from headend.links.meter import MeterOnBus
from headend.links.quality import Quality
from meter.registers import MeterRegisters
from meterlink import batches, topics
from meterlink.batches import KIND_INTERVALS, MAX_RECORDS
from meterlink.modbus import RtuServer, ServerPdu
from metersim import rs485
from metersim.board import VirtualBoard
from metersim.inprocess import InProcessMeter
from metersim.load import Constant
from metersim.workbench import Workbench
from openprepay.bench.figure import Figure, against

METERS = 32
RECORDS = 96
BAUD, BITS = 9_600, 11
PERIOD_S = 900
START_S = 1_780_000_200
METER_S = 3.6  # that one takes, about


def run(seconds: float) -> Iterator[Figure]:
    """Records a second, beside what the wires could carry."""
    number = max(2, min(METERS, int(seconds / METER_S)))
    wires = rs485.Bus(BAUD, BITS)
    for unit in range(1, METERS + 1):
        wires.slave(RtuServer(ServerPdu(MeterRegisters(_meter(unit).meter)), unit))
    listener = wires.station()
    with rs485.Bridge(wires, pause_s=0.001, paced=True) as bridge:
        took_s, answered = asyncio.run(_sweep(bridge.path, number))
    characters = len(listener.heard)  # it hears everybody
    wire_s = characters * BITS / BAUD
    records = number * RECORDS
    peer = f"the wire: {characters} characters of {BITS} bits at {BAUD} baud, {answered} requests and answers, no gaps"
    yield against("rs485_sweep", records / took_s, "records/s", peer, records / wire_s)


def _meter(unit: int) -> InProcessMeter:
    """A meter that holds a day of records."""
    bench = Workbench(unit)
    one = InProcessMeter(VirtualBoard(Constant(400), start_s=START_S - START_S % PERIOD_S, seed=unit), bench.record())
    one.run(RECORDS * PERIOD_S + 60, 60)
    return one


async def _sweep(path: str, number: int) -> tuple[float, int]:
    """(seconds that all took, requests that were answered)."""
    quality = Quality()
    bus = Bus(address.parse(f"serial:{path}?unit=1&baud={BAUD}&parity=N"), Patience(answer_s=5.0), quality)
    units = range(1, number + 1)
    await bus.read(1, 0, 1)  # the line is open
    quality.take()
    begun = time.perf_counter()
    await asyncio.gather(*(_day(MeterOnBus(bus, unit)) for unit in units))
    took_s = time.perf_counter() - begun
    await bus.close()
    counts = quality.take()
    if any(one.sent != one.answered for one in counts.values()):
        raise RuntimeError("a request was not answered: the machine is too busy for the time of a real line")
    return took_s, sum(one.answered for one in counts.values())


async def _day(meter: MeterOnBus) -> None:
    first = 1
    while first <= RECORDS:
        count = min(MAX_RECORDS, RECORDS - first + 1)
        nonce = bytes([meter.unit]) * 7 + bytes([first])
        what, raw = await meter.ask(batches.pack_ask(KIND_INTERVALS, nonce, 0, 0, first, count))
        if what != topics.UP_INTERVALS or len(raw) < count * 24:
            raise RuntimeError(f"meter {meter.unit} gave {len(raw)} bytes")
        first += count
