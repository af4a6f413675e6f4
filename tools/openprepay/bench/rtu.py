"""Modbus RTU requests a second over a pty, one at a time: the firmware on MicroPython, and pymodbus' asyncio server.

Both are child processes at the end of a pty of their own, and one master asks them in turn. The firmware is the whole
meter as it boots: it meters a virtual second each real one meanwhile. A whole block makes the meter take a snapshot of
itself first; the peer has its registers ready.
"""

import contextlib
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

from meterlink import registers
from meterlink.modbus import READ_HOLDING
from metersim.board import VirtualBoard
from metersim.child import ChildMeter
from metersim.load import Constant
from metersim.workbench import Workbench
from openprepay.bench.figure import Figure, against, race
from openprepay.bench.line import Line, frame

_HOT_ADDRESS, _HOT_LENGTH = next(
    (address, registers.block_length(fields))
    for block_id, address, _, fields in registers.BLOCKS
    if block_id == registers.HOT
)
REQUESTS = {
    "rtu_requests": (0, 2),
    "rtu_blocks": (_HOT_ADDRESS, _HOT_LENGTH),
}
_HELLO = frame(struct.pack(">BHH", READ_HOLDING, 0, 1))


def run(seconds: float) -> Iterator[Figure]:
    """Two registers, then a whole block."""
    version = metadata.version("pymodbus")
    asked = max(5, min(100, int(seconds * 20)))  # in a round
    with tempfile.TemporaryDirectory() as folder, Line() as ours, Line() as theirs:
        with _meter(ours, Path(folder)), _peer(theirs):
            for name, (address, count) in REQUESTS.items():
                runners = [_requests(line, address, count, asked) for line in (ours, theirs)]
                mine_s, peer_s = race(runners, seconds / 3, rounds=2)
                peer = f"pymodbus {version}, its asyncio serial server on CPython, {count} registers alike"
                yield against(name, asked / mine_s, "requests/s", peer, asked / peer_s)


def _requests(line: Line, address: int, count: int, times: int) -> Callable[[], float]:
    request = frame(struct.pack(">BHH", READ_HOLDING, address, count))

    def runner() -> float:
        start = time.perf_counter()
        for _ in range(times):
            line.ask(request, 5 + 2 * count)
        return time.perf_counter() - start

    return runner


@contextlib.contextmanager
def _meter(line: Line, folder: Path) -> Iterator[None]:
    bench = Workbench(1)
    credit = bench.credit(10_000_000_000)
    with ChildMeter(VirtualBoard(Constant(500)), folder, bench.record(), serial=line.path, orders=[credit]):
        line.await_slave(_HELLO, 7)
        yield


@contextlib.contextmanager
def _peer(line: Line) -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-c", _PEER, line.path, str(_HOT_ADDRESS + _HOT_LENGTH)])
    try:
        line.await_slave(_HELLO, 7)
        yield
    finally:
        process.kill()
        process.wait()


_PEER = """
import asyncio, sys
from pymodbus import FramerType
from pymodbus.server import StartAsyncSerialServer
from pymodbus.simulator import DataType, SimData, SimDevice

device = SimDevice(id=1, simdata=[SimData(0, count=int(sys.argv[2]), values=0x1234, datatype=DataType.REGISTERS)])
asyncio.run(StartAsyncSerialServer(device, framer=FramerType.RTU, port=sys.argv[1], baudrate=9600))
"""
