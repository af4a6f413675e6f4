"""Brings a meter up on a board: core, record, links, and the tasks that run them. Shared by all boards but the desk's,
which adds the simulator's ways (`boards/unix_main.py`) to the same links.
"""

import os

from meter.core import Meter
from meter.registers import MeterRegisters
from meter.shell import app
from meterlink.modbus import RtuServer, ServerPdu
from meterlink.provision import ProvisionError

RECORD = "/provision.bin"
SETTINGS = "/links.json"


def commission(meter: Meter, path: str = RECORD) -> None:
    """Take the provisioning record that the maker has put on the board, and remove it once the meter has it. One that
    is not taken stays, and is told on the console."""
    try:
        with open(path, "rb") as file:
            record = file.read()
    except OSError:
        return
    if not meter.commissioned:
        try:
            meter.provision(record)
        except ProvisionError as error:
            print("{}: {}".format(path, error))
            return
    os.remove(path)


def line(meter: Meter, carrier: int, unit: int, open_link):
    """A function that makes the task which serves Modbus RTU on the link that `open_link()` opens."""
    from meter.shell import rtu

    server = RtuServer(ServerPdu(MeterRegisters(meter, carrier)), unit)
    return lambda: rtu.serve(server, open_link())


def bus(meter: Meter, settings: tuple, open_link):
    """A function that makes the task which serves the bus: as `settings` (of `meter.line.Line`) say until it was set
    over the service port. `open_link(settings)` opens it."""
    from meter.shell import rtu

    meter.line.given = settings
    server = RtuServer(ServerPdu(MeterRegisters(meter, Meter.CARRIER_BUS)), settings[0])
    return lambda: rtu.bus(meter.line, server, open_link)


def modbus_tcp(meter: Meter, unit: int, host: str, port: int):
    """A function that makes the task which serves Modbus TCP."""
    from meter.shell.tcp import TcpShell
    from meterlink.modbus_tcp import TcpServer

    shell = TcpShell(lambda place: TcpServer(ServerPdu(MeterRegisters(meter, meter.tcp_carrier(place))), unit))
    return lambda: shell.serve(host, port)


def uplink(meter: Meter, mqtt: dict):
    """The uplink to a broker. mqtt: host, port, and as there are any ca, cert, key, server, replay_ms."""
    from meter.shell.tcp_stream import tls_context
    from meter.shell.uplink import Uplink

    tls = None
    if "ca" in mqtt:
        tls = (tls_context(mqtt["ca"], mqtt.get("cert"), mqtt.get("key")), mqtt.get("server", mqtt["host"]))
    return Uplink(
        meter,
        mqtt["host"],
        int(mqtt["port"]),
        chance(meter.board),
        tls,
        replay_ms=int(mqtt.get("replay_ms", 5000)),
    )


def chance(board):
    """random(n): an integer 0..n-1 from the board's entropy."""
    return lambda n: int.from_bytes(board.entropy(4), "big") % n


def network(meter: Meter, settings) -> list:
    """(name, function that makes the task) of what goes over the network, where the board is to join one."""
    if not settings.wifi:
        return []
    from meter.shell.wifi import Wifi

    wifi = Wifi(
        settings.wifi["ssid"], settings.wifi.get("key", ""), settings.wifi.get("country", ""), chance(meter.board)
    )

    def behind(serve):
        async def task():
            await wifi.ready()
            await serve()

        return task

    found = [("wifi", wifi.serve)]
    if settings.tcp:
        found.append(("tcp", behind(modbus_tcp(meter, settings.unit, "0.0.0.0", 502))))
    if settings.mqtt:
        broker = settings.mqtt

        async def mqtt():
            await wifi.ready()
            await uplink(meter, broker).serve()

        found.append(("mqtt", mqtt))
    return found


async def run(board, seconds, links) -> None:
    """Boot on the first second, then serve for ever. `links(meter)`: a list of (name, function that makes a task)."""
    await seconds.second(board)
    meter = Meter(board)
    meter.start(board.mono_s)
    commission(meter)
    await app.run(app.measure(meter, board, seconds, app.HeapGauge()), meter, links(meter))
