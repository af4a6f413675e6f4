"""Starts a meter on the unix port: ``micropython -m meter.boards.unix_main name=value …``

world=PORT          TCP port of the world on 127.0.0.1 (see `unix.py`); required
flash=FILE          image of the flash, made when it is not there; required
provision=FILE      provisioning record, taken when the meter is not commissioned
orders=DIR         signed orders order-0.bin, order-1.bin … given to the local port at boot
witness=N           value of the monotonic witness, 0 at first
unit=N              Modbus address, 1..247 (default 1)
serial=PATH         serve Modbus RTU on this pty; baud=N decides its silences (default 9600),
                    parity=none|even|odd (default even) nothing; all of it and unit until the bus is set otherwise
service=PATH        serve the service port on this pty: Modbus RTU that takes typed tokens as well
tcp=HOST:PORT       serve Modbus TCP
mqtt=HOST:PORT      connect to this broker; with ca=FILE cert=FILE key=FILE server=NAME over TLS
slots=FILE          two places for images, as `unix_boot.py` gives them; running=N is the one that this is started from
replay_ms=N         how long an unacknowledged batch waits to be published again (default 5000)
"""

import asyncio
import sys

from meter.boards.fileflash import FileFlash
from meter.boards.unix import TICK_LENGTH, UnixBoard
from meter.core import Meter
from meter.shell import app, start
from meter.slots import TOTAL_SECTORS as SLOTS_SECTORS
from meter.slots import Slots
from meterlink.flashmap import TOTAL_SECTORS
from meterlink.lines import PARITIES

_NAMES = (
    "world",
    "flash",
    "provision",
    "orders",
    "witness",
    "unit",
    "serial",
    "baud",
    "parity",
    "service",
    "tcp",
    "mqtt",
    "ca",
    "cert",
    "key",
    "server",
    "replay_ms",
    "slots",
    "running",
    "front",
)


class World:
    """The socket to the world."""

    def __init__(self, reader, writer) -> None:
        self._reader = reader
        self._writer = writer

    async def second(self, board: UnixBoard) -> None:
        board.tick(await self._reader.readexactly(TICK_LENGTH))

    async def answer(self, message: bytes) -> None:
        self._writer.write(message)
        await self._writer.drain()


def options(arguments: "list[str]") -> dict:
    """name=value arguments as a dict; SystemExit with a sentence where one is not known."""
    found = {}
    for argument in arguments:
        name, _, value = argument.partition("=")
        if name not in _NAMES or not value:
            raise SystemExit(
                "{}: not an option; expected name=value with one of {}".format(argument, ", ".join(_NAMES))
            )
        found[name] = value
    for name in ("world", "flash"):
        if name not in found:
            raise SystemExit("{}: this option is required".format(name))
    return found


def links(meter: Meter, option: dict) -> list:
    """(name, function that makes the task) of every link that was asked for."""
    found = []
    unit = int(option.get("unit", "1"))
    baud = int(option.get("baud", "9600"))
    if "serial" in option:
        settings = (unit, baud, PARITIES.index(option.get("parity", "even")), 1)
        found.append(("serial", start.bus(meter, settings, lambda settings: pty(option["serial"], settings[1]))))
    if "service" in option:
        found.append(("service", start.line(meter, Meter.CARRIER_LOCAL, unit, lambda: pty(option["service"], baud))))
    if "tcp" in option:
        host, _, port = option["tcp"].rpartition(":")
        found.append(("tcp", start.modbus_tcp(meter, unit, host, int(port))))
    if "mqtt" in option:
        host, _, port = option["mqtt"].rpartition(":")
        broker = dict(option, host=host, port=port)
        found.append(("mqtt", start.uplink(meter, broker).serve))
    return found


def pty(path: str, baud: int):
    """Opens a pty as a line."""
    from meter.boards.pty_link import PtyLink

    return PtyLink(path, baud)


def local_orders(meter: Meter, folder: str) -> None:
    """Hand over order-0.bin, order-1.bin … one after the other."""
    number = 0
    while True:
        try:
            with open("{}/order-{}.bin".format(folder, number), "rb") as file:
                meter.submit(Meter.CARRIER_LOCAL, file.read())
        except OSError:
            return
        while meter.verify_slice():
            pass
        number += 1


async def main(option: dict, links=links) -> None:
    """Boot on the first tick, then serve until the world goes away."""
    # The simulated mains take the process away, never the host: no need to wait for its disk.
    flash = FileFlash(option["flash"], TOTAL_SECTORS, durable=False)
    board = UnixBoard(flash, int(option.get("witness", "0")))
    if "slots" in option:
        board.slots = Slots(FileFlash(option["slots"], SLOTS_SECTORS, durable=False), int(option.get("running", "0")))
    world = World(*(await asyncio.open_connection("127.0.0.1", int(option["world"]))))
    await world.second(board)
    meter = Meter(board)
    meter.start(board.mono_s)
    if "provision" in option and not meter.commissioned:
        with open(option["provision"], "rb") as file:
            meter.provision(file.read())
    if "orders" in option:
        local_orders(meter, option["orders"])
    gauge = app.HeapGauge()
    await world.answer(board.take_answer(0, 0))
    try:
        await app.run(app.measure(meter, board, world, gauge), meter, links(meter, option))
    except (EOFError, OSError):
        print("world: gone, stopping")


if __name__ == "__main__":
    asyncio.run(main(options(sys.argv[1:])))
