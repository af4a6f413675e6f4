"""The firmware as it boots on MicroPython with both links: heap in use, smallest heap that serves, size of the image.

It serves when, on a heap of that size, it has connected to the broker and said its birth, has taken an order over
Modbus RTU and another over MQTT and proved with a receipt that each was applied, has closed an interval and published
it, and no task of it has run out of memory. On the unix port the code is loaded to the heap; a board runs it in place.
"""

import itertools
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from meterlink import orders, registers, results, topics
from meterlink.modbus import READ_HOLDING, WRITE_MULTIPLE, crc16
from meterlink.reports import Report
from metersim import build
from metersim.board import VirtualBoard
from metersim.bundle import BOARDS
from metersim.child import ChildError, ChildMeter
from metersim.load import Constant
from metersim.workbench import Workbench
from openprepay.bench import upy
from openprepay.bench.figure import Figure, against
from openprepay.bench.line import Line, frame
from openprepay.demo.broker import HOST, Broker

_METERS = itertools.count(1)  # each boot is another meter, so that none is taken for one before
BUDGET_BYTES = 100 * 1024  # of the image
ROOMY_KIB = 512
STEP_KIB = 8  # of the search
SPEED = 1000  # virtual seconds a second
START_S = 1_767_225_600 + 800  # an interval ends soon
LIMIT_S = 10.0
TIMES = 2  # that the smallest heap has to serve
_HELLO = frame(struct.pack(">BHH", READ_HOLDING, 0, 1))


class NotServed(RuntimeError):
    """Something did not happen; the text says what."""


def run(seconds: float) -> Iterator[Figure]:
    """Size, heap in use, smallest heap. The search takes some boots, of half a second each."""
    yield against("image_bytes", build.image_bytes(build.build()), "bytes", "what the design allows", BUDGET_BYTES)
    for board, entry in BOARDS.items():
        if entry != build.ENTRY:
            size = build.image_bytes(build.build(entry=entry))
            yield against(f"image_bytes_{board}", size, "bytes", "what the design allows", BUDGET_BYTES)
    code = upy.run(_loading(build.build()), f"{ROOMY_KIB}K", [build.build()])["code"]
    with tempfile.TemporaryDirectory() as name, Broker(Path(name) / "broker") as broker, Ear(broker) as ear:
        folder = Path(name)
        in_use = serve(ROOMY_KIB, folder, broker, ear)
        yield against("boot_heap", in_use, "bytes", "its code alone, loaded to the heap", code)
        step_kib, times = (STEP_KIB, TIMES) if seconds >= 1 else (ROOMY_KIB // 2, 1)
        least = _least(lambda kib: serve(kib, folder, broker, ear), in_use // 1024, step_kib, times)
        yield against("boot_heap_least", 1024 * least, "bytes", "heap in use", in_use)


def _least(serve_on: Callable[[int], object], fails: int, step_kib: int, times: int) -> int:
    """The smallest heap in KiB that serves `times` times, to `step_kib`; `fails` does not, ROOMY_KIB does."""
    serves = ROOMY_KIB

    def served(kib: int, times: int) -> bool:
        try:
            for _ in range(times):
                serve_on(kib)
        except (NotServed, ChildError):
            return False
        return True

    while serves - fails > step_kib:
        middle = (serves + fails) // 2 // STEP_KIB * STEP_KIB
        if served(middle, 1):
            serves = middle
        else:
            fails = middle
    while not served(serves, times):
        serves += step_kib
    return serves


def serve(heap_kib: int, folder: Path, broker: Broker, ear: "Ear") -> int:
    """Boot a new meter on this heap, see that it serves, and return the least heap in use, in bytes, that it told
    after both links were up. Raises ChildError or NotServed."""
    number = next(_METERS)
    bench = Workbench(number)
    with tempfile.TemporaryDirectory(dir=folder) as own, Line() as line:
        used: list[int] = []
        meter = ChildMeter(
            VirtualBoard(Constant(2000), start_s=START_S),
            Path(own),
            bench.record(),
            speed=SPEED,
            serial=line.path,
            mqtt=broker.address,
            heap=f"{heap_kib}K",
            orders=[bench.credit(10_000_000)],
            on_second=lambda _: used.append(meter.world.heap_used if meter.world else 0),
        )
        with meter:
            ear.until(topics.up(number, topics.UP_STATE), meter)
            line.await_slave(_HELLO, 7)
            up_at = len(used)
            by_bus, by_mqtt = bench.credit(20_000_000), bench.credit(30_000_000)
            _mail(line, by_bus)
            ear.until(topics.up(number, topics.UP_RECEIPT), meter, _applied(by_bus, bench))
            ear.say(topics.down(number, topics.DN_ORDER), by_mqtt)
            ear.until(topics.up(number, topics.UP_RECEIPT), meter, _applied(by_mqtt, bench))
            ear.until(topics.up(number, topics.UP_INTERVALS), meter)
        if _out_of_memory(meter):
            raise NotServed(f"a task ran out of memory: {meter.console()[-500:]}")
        return min(used[up_at:])


def _out_of_memory(meter: ChildMeter) -> bool:
    console = meter.console()
    return "MemoryError" in console or "no_memory" in console


def _mail(line: Line, raw: bytes) -> None:
    """Put an order into the meter's mailbox on the bus."""
    mail = struct.pack(">HH", len(raw), crc16(raw)) + raw + bytes(len(raw) % 2)
    head = struct.pack(">BHHB", WRITE_MULTIPLE, registers.ORDER_MAILBOX, len(mail) // 2, len(mail))
    line.ask(frame(head + mail), 8)


def _applied(raw: bytes, bench: Workbench) -> Callable[[bytes], bool]:
    """Whether a receipt is genuine and says that this order was applied."""
    digest = orders.Order(raw).digest[:8]

    def match(payload: bytes) -> bool:
        receipt = Report(payload, bench.mac_key)
        return receipt.digest == digest and receipt.result == results.APPLIED

    return match


class Ear:
    """A client at the broker that hears what meters say."""

    def __init__(self, broker: Broker) -> None:
        self._heard: list[tuple[str, bytes]] = []
        self._client = Client(CallbackAPIVersion.VERSION2)
        self._client.on_message = lambda _client, _data, message: self._heard.append(
            (message.topic, bytes(message.payload))
        )
        self._port = broker.port

    def say(self, topic: str, payload: bytes) -> None:
        """Publish."""
        self._client.publish(topic, payload, qos=1)

    def until(self, topic: str, meter: ChildMeter, match: Callable[[bytes], bool] = lambda _: True) -> None:
        """Wait for a message on `topic` that matches; one that came before will do.

        Raises NotServed, or ChildError where the meter has ended.
        """
        ends = time.monotonic() + LIMIT_S
        while not any(heard == topic and match(payload) for heard, payload in list(self._heard)):
            time.sleep(0.005)
            meter.check()
            if time.monotonic() > ends or _out_of_memory(meter):
                raise NotServed(f"nothing came on {topic}: {meter.console()[-500:]}")

    def __enter__(self) -> Self:
        subscribed = threading.Event()
        self._client.on_subscribe = lambda *_: subscribed.set()
        self._client.connect(HOST, self._port)
        self._client.loop_start()
        self._client.subscribe("op/1/#", qos=1)
        if not subscribed.wait(LIMIT_S):
            raise RuntimeError("the broker did not take a subscription")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def _loading(image: Path) -> str:
    """A program that tells what all modules of an image take."""
    names = [path.relative_to(image).with_suffix("").as_posix().replace("/", ".") for path in image.rglob("*.mpy")]
    imports = "".join(f"import {name}\n" for name in sorted(names) if not name.endswith("__init__"))
    count = "gc.collect()\nprint(json.dumps({'code': gc.mem_alloc() - before}))\n"
    return f"import gc, json\ngc.collect()\nbefore = gc.mem_alloc()\n{imports}{count}"
