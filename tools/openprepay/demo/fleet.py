"""The meters of the demo, all on one virtual time, each with the firmware's own shell on its link.

Two run in processes of their own on real MicroPython, the others in this process on CPython. The head end is told
nothing of that: a meter is a number, a carrier and an address to it.
"""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from headend.fleet import address
from headend.links.blocks import Block
from headend.links.bus import Bus
from headend.links.meter import MeterOnBus
from meter.shell import app
from meter.shell.uplink import Uplink
from meterlink import bodies, registers, topics
from meterlink.tariff import Tariff
from metersim.board import FAULT_WELDED, VirtualBoard
from metersim.child import ChildMeter
from metersim.inprocess import InProcessMeter
from metersim.load import Household
from metersim.pty_line import PtyLine
from openprepay.demo.broker import HOST, free_port
from openprepay.demo.virtual import VirtualTime

MODBUS = "modbus"
MQTT = "mqtt"
UNIT = 1
_GATED = 100_000  # speed of a world that only virtual time holds back
_POLL_MS = 5  # real time between two looks whether virtual time has moved

LIMITS = bodies.Limits(
    alarm_uc=200_000,
    alarm2_uc=100_000,
    trip_delay_s=120,
    dwell_s=10,
    spread_s=30,
    stable_s=10,
    max_current_ma=0,
)
FLAT = Tariff((580_000,))
# Evening is dear, night is cheap; Berlin's winter time.
TIME_OF_USE = Tariff((320_000, 640_000), ((0, 0), (24, 1), (88, 0)), utc_offset_quarters=4)


@dataclass(frozen=True)
class Point:
    """One metering point: how the timeline calls it, and what stands there."""

    name: str
    number: int
    carrier: str
    micropython: bool
    yearly_kwh: int
    tariff: Tariff

    @property
    def where(self) -> str:
        """Interpreter and link, for people."""
        link = "Modbus RTU" if self.carrier == MODBUS else "MQTT"
        return f"{'MicroPython' if self.micropython else 'CPython'}, {link}"

    @property
    def service_port(self) -> bool:
        """Whether it serves Modbus TCP besides, as for a laptop on the spot."""
        return self.carrier == MODBUS


POINTS = (
    Point("A", 260100000001, MODBUS, True, 5200, FLAT),
    Point("B", 260100000002, MQTT, True, 4800, TIME_OF_USE),
    Point("C", 260100000003, MQTT, False, 4000, FLAT),
    Point("D", 260100000004, MQTT, False, 4400, TIME_OF_USE),
    Point("E", 260100000005, MQTT, False, 6000, FLAT),
)


@dataclass(frozen=True)
class Heap:
    """Of a meter on MicroPython, in bytes."""

    used: int
    peak: int


class Fleet:
    """The meters of `points`. heap: as MicroPython's -X heapsize= · broker_of(point): HOST:PORT of its broker."""

    def __init__(
        self,
        points: tuple[Point, ...],
        folder: Path,
        time: VirtualTime,
        heap: str,
        broker_of: Callable[[Point], str],
    ) -> None:
        self.points = points
        self._folder = folder
        self._time = time
        self._heap = heap
        self._broker_of = broker_of
        self.boards = {
            point.name: VirtualBoard(Household(point.yearly_kwh), start_s=time.start_s, seed=point.number)
            for point in points
        }
        self._lines: dict[str, PtyLine] = {}
        self._children: dict[str, ChildMeter] = {}
        self._ports: dict[str, int] = {}
        self._house: InProcess | None = None

    def open_lines(self) -> None:
        """Make the serial lines; only then they have addresses."""
        for point in self.points:
            if point.carrier == MODBUS:
                self._lines[point.name] = PtyLine(self._folder / f"line-{point.name}")

    def address(self, point: Point) -> str:
        """Where the head end reaches it."""
        return f"serial:{self._lines[point.name].link}?unit={UNIT}" if point.carrier == MODBUS else ""

    def start(self, records: dict[str, bytes]) -> None:
        """Boot them all; each has lived its first second when this returns. ChildError where one does not boot."""
        for point in self.points:
            self._time.join(point.name)
            if point.micropython:
                self._start_child(point, records[point.name])
        inside = [point for point in self.points if not point.micropython]
        if inside:
            units = {point.name: InProcessMeter(self.boards[point.name], records[point.name]) for point in inside}
            self._house = InProcess(self._time, units, {point.name: self._broker_of(point) for point in inside})
            self._house.start()

    def _start_child(self, point: Point, record: bytes) -> None:
        time = self._time
        if point.service_port:
            self._ports[point.name] = free_port()
        child = ChildMeter(
            self.boards[point.name],
            folder=self._folder / f"meter-{point.name}",
            record=record,
            speed=_GATED,
            unit=UNIT,
            serial=self._lines[point.name].meter_path if point.carrier == MODBUS else None,
            tcp=f"{HOST}:{self._ports[point.name]}" if point.service_port else None,
            mqtt=self._broker_of(point) if point.carrier == MQTT else None,
            heap=self._heap,
            on_second=lambda board: time.wait(point.name, board.true_s),
        )
        self._children[point.name] = child
        child.start()

    def check(self) -> None:
        """Raise where a meter no longer runs."""
        for child in self._children.values():
            child.check()
        if self._house is not None and self._house.trouble is not None:
            raise self._house.trouble

    def heap(self, point: Point) -> Heap:
        """As the meter told in its last second."""
        world = self._children[point.name].world
        assert world is not None, "the meter runs"
        return Heap(world.heap_used, world.heap_peak)

    def registers(self, point: Point) -> Block:
        """The hot block, read at the service port by a master of its own; LinkError where that fails."""
        return asyncio.run(_hot_block(f"tcp://{HOST}:{self._ports[point.name]}?unit={UNIT}"))

    def weld(self, name: str) -> None:
        """From now on the relay of a meter does not open."""
        self.boards[name].faults.add(FAULT_WELDED)

    def stop(self) -> None:
        """Pull all plugs and take the lines away. Virtual time has been stopped by then."""
        for child in self._children.values():
            child.stop()
        if self._house is not None:
            self._house.stop()
        for line in self._lines.values():
            line.close()


class InProcess:
    """Meters on CPython, all in one thread: the same core and the same MQTT shell as on a board."""

    def __init__(self, time: VirtualTime, units: dict[str, InProcessMeter], brokers: dict[str, str]) -> None:
        self.trouble: BaseException | None = None
        self._time = time
        self._units = units
        self._brokers = brokers
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="meters", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception as error:  # noqa: BLE001 - whoever looks at the fleet raises it
            self.trouble = error

    async def _serve(self) -> None:
        links = [
            asyncio.create_task(app.keep(name, self._uplink(name, unit).serve)) for name, unit in self._units.items()
        ]
        lived_s = self._time.start_s
        while not self._stopping.is_set():
            until_s = self._time.now_s()
            while lived_s < until_s:
                lived_s += 1
                for unit in self._units.values():
                    unit.run(1)
            for name in self._units:
                self._time.lived(name, lived_s)
            await asyncio.sleep(_POLL_MS / 1000)
        for link in links:
            link.cancel()
        await asyncio.gather(*links, return_exceptions=True)

    def _uplink(self, name: str, unit: InProcessMeter) -> Uplink:
        host, _, port = self._brokers[name].rpartition(":")
        entropy = unit.board.entropy
        return Uplink(unit.meter, host, int(port), lambda n: int.from_bytes(entropy(4), "big") % n)


async def _hot_block(where: str) -> Block:
    bus = Bus(address.parse(where))
    try:
        return await MeterOnBus(bus, UNIT).block(registers.HOT)
    finally:
        await bus.close()


def meter_name(point: Point) -> str:
    """As printed on the meter."""
    return topics.meter_name(point.number)
