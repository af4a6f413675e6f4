"""Heap of a whole meter on words of 32 bits, as on a meter's controller: MicroPython's WebAssembly build.

The meter is commissioned and in credit; a Modbus RTU server that has shown every block once and the MQTT uplink are up.
Its code runs in place from a ROMFS, or is loaded to the heap as `.mpy` files. What this build has not (sockets, TLS) is
an empty module; what a TLS connection takes comes on top, and 40 KiB are kept for it. The bytes of flash and of the
ROMFS are not counted: on a board they are no heap.
"""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from meterlink import registers
from meterlink.flashmap import SECTOR_BYTES, TOTAL_SECTORS
from meterlink.results import APPLIED
from metersim import build, romfs, wasm
from metersim.workbench import Workbench
from openprepay.bench.figure import Figure, against
from openprepay.bench.metered import BOARD

BUDGET_BYTES = 64 * 1024  # code run in place, both links up; TLS has 40 KiB of its own
HEAP = 1 << 20
_UNIT = 4096


def run(seconds: float) -> Iterator[Figure]:
    """Heap after boot with code in place and loaded, and what a second takes."""
    try:
        wasm.interpreter()
    except wasm.WasmError as missing:
        raise RuntimeError(f"needs {missing}") from missing
    bench = Workbench(1)
    blocks = tuple((layout[1], layout[2]) for layout in registers.LAYOUTS)
    given = {
        "flash_bytes": SECTOR_BYTES * TOTAL_SECTORS,
        "record": bench.record(),
        "credit": bench.credit(10_000_000_000),
        "blocks": blocks,
        "applied": APPLIED,
        "seconds": max(120, min(3600, int(seconds * 400))),
    }
    folder = build.build(program=BOARD + _PROGRAM)
    placed, loaded = (_measure(folder, given, in_place) for in_place in (True, False))
    yield against("heap32_boot", placed["boot"], "bytes", "what the design allows", BUDGET_BYTES)
    yield Figure("heap32_boot_code", placed["code"], "bytes")
    yield against("heap32_boot_loaded", loaded["boot"], "bytes", "its code alone, loaded to the heap", loaded["code"])
    yield Figure("heap32_kept", placed["kept"], "bytes")
    yield Figure("heap32_step", placed["step"], "bytes")
    yield Figure("heap32_step_commit", placed["commit"], "bytes")


def _measure(folder: Path, given: dict[str, object], in_place: bool) -> dict[str, Any]:
    values = "".join(f"{name} = {value!r}\n" for name, value in given.items())
    with tempfile.TemporaryDirectory() as name:
        rom = Path(name)
        files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.mpy")}
        (rom / "image").write_bytes(romfs.image(files, ("end", b""), _UNIT))
        (rom / "given.py").write_text("", encoding="utf-8")
        steps = [
            ("prepare", values + _PREPARE),
            ("mount", _MOUNT if in_place else "sys.path.insert(0, '/code')"),
            ("begin", _COUNT.format("begin")),
            ("import", "import program" + _COLLECT),
            ("code", _COUNT.format("code")),
            ("boot", "program.up(data, record, credit, blocks, applied)" + _COLLECT),
            ("boot", _COUNT.format("boot")),
            ("live", "step, commit = program.live(seconds)" + _COLLECT),
            ("live", _COUNT.format("live")),
            ("tell", _TELL),
        ]
        done = wasm.run(steps, {"/rom": rom} | ({} if in_place else {"/code": folder}), [], HEAP)
    if done.returncode:
        raise RuntimeError(f"the WebAssembly build: {done.stderr}")
    measured: dict[str, Any] = json.loads(done.stdout)
    return measured


_PREPARE = """
import gc, json
class Nothing:
    pass
sys.modules["socket"] = sys.modules["tls"] = Nothing()
data = bytearray(flash_bytes)
for i in range(flash_bytes):
    data[i] = 255
with open("/rom/image", "rb") as file:
    rom = file.read()
found = {}
gc.collect()
"""
_MOUNT = """
import vfs
vfs.mount(vfs.VfsRom(memoryview(rom)), "/image")
sys.path.insert(0, "/image")
"""
_COLLECT = "\ngc.collect()"  # is done when the step has ended, so that the next one may look
_COUNT = "found['{}'] = gc.mem_alloc()"
_TELL = """
begin = found["begin"]
print(json.dumps({
    "code": found["code"] - begin,
    "boot": found["boot"] - begin,
    "kept": found["live"] - found["boot"],
    "step": step,
    "commit": commit,
}))
"""
_PROGRAM = """
from meter.registers import MeterRegisters
from meter.shell import rtu
from meter.shell.uplink import Uplink
from meterlink.modbus import RtuServer, ServerPdu, crc16

meter = server = uplink = task = None

def ask(address, count):
    "A reading of registers, as it comes over the line."
    frame = bytearray((1, 3, address >> 8, address & 255, count >> 8, count & 255))
    crc = crc16(frame)
    for byte in frame:
        server.feed(byte)
    server.feed(crc & 255)
    server.feed(crc >> 8)
    if not server.end():
        raise ValueError("no answer")

def up(data, record, credit, blocks, applied):
    global meter, server, uplink, task
    meter = commissioned(data, record, credit)
    if meter.result(Meter.CARRIER_LOCAL).code != applied:
        raise ValueError("the order was not applied")
    server = RtuServer(ServerPdu(MeterRegisters(meter, Meter.CARRIER_BUS)), 1)
    for address, count in blocks:
        ask(address, min(count, 125))
    task = rtu.serve
    uplink = Uplink(meter, "broker", 8883, lambda n: 0)

def live(seconds):
    "Bytes that a second takes from the heap, at most: without a commit and with one. What follows it is not counted."
    plain = commit = 0
    journal = meter.store.journal
    for _ in range(seconds):
        mono_s = pass_second(meter)
        sequence = journal.sequence
        before = gc.mem_alloc()
        meter.step(mono_s)
        taken = gc.mem_alloc() - before
        if journal.sequence == sequence:
            plain = max(plain, taken)
        else:
            commit = max(commit, taken)
        if meter.erase_due():
            meter.erase_step()
    return plain, commit
"""
