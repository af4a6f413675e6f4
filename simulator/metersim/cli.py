"""``openprepay sim meter``, ``openprepay sim keypad``, ``openprepay sim life``: one simulated meter for any master, to
stand before, or to live for a year."""

import argparse
import sys
import threading
import time
from decimal import Decimal, InvalidOperation
from pathlib import Path
from urllib.parse import urlsplit

from meterlink import orders, topics
from meterlink.image import ImageError
from meterlink.provision import CURRENCY_ENERGY, ProvisionError, decode
from metersim import keypad, life_cli
from metersim.board import VirtualBoard
from metersim.build import BuildError
from metersim.child import DEFAULT_HEAP, ChildError, ChildMeter
from metersim.load import CsvLoad, Household, Load, LoadError
from metersim.pty_line import PtyLine
from metersim.stand import KeysError
from metersim.workbench import CURRENCY, DEFAULT_TARIFF, KWH_TARIFF, VENDING_KEY, Workbench


class UsageError(ValueError):
    """An argument that is not taken; the text names it, its value and what was expected."""


def parser() -> argparse.ArgumentParser:
    """The arguments of ``openprepay sim``."""
    top = argparse.ArgumentParser(prog="openprepay sim", description="Simulated meters that run the real firmware.")
    commands = top.add_subparsers(dest="command", required=True)
    one = commands.add_parser(
        "meter",
        help="run one meter until Ctrl-C",
        description="Runs one meter until Ctrl-C. Its register map: docs/protocol.md, chapter Registers.",
    )
    one.add_argument("--id", type=int, required=True, metavar="N", help="number of the meter, 1..99999999999999")
    one.add_argument(
        "--micropython", action="store_true", help="run the firmware under real MicroPython, compiled with mpy-cross"
    )
    one.add_argument(
        "--serial", type=Path, metavar="LINK", help="serve Modbus RTU on a pty and link it here (9600 8E1)"
    )
    one.add_argument(
        "--service-port", type=Path, metavar="LINK", help="serve the service port on a pty: it takes typed tokens"
    )
    one.add_argument("--baud", type=int, default=9600, metavar="N", help="of the line, 1200..115200 (default 9600)")
    one.add_argument("--unit", type=int, default=1, metavar="N", help="Modbus address, 1..247 (default 1)")
    one.add_argument("--tcp", metavar="HOST:PORT", help="serve Modbus TCP")
    one.add_argument("--mqtt", metavar="URL", help="broker, mqtt://HOST:PORT")
    one.add_argument("--load", type=Path, metavar="CSV", help="consumption as CSV with the header timestamp,watts")
    one.add_argument(
        "--yearly-kwh", type=int, default=3500, metavar="N", help="of the household profile, without --load"
    )
    one.add_argument("--speed", type=int, default=1, metavar="N", help="virtual seconds per second, 1..100000")
    one.add_argument(
        "--kwh", action="store_true", help="the account counts kWh, which typed tokens credit, instead of a currency"
    )
    one.add_argument("--credit", metavar="AMOUNT", help="credit to start with, e.g. 20.00")
    one.add_argument(
        "--provision", type=Path, metavar="FILE", help="provisioning record of a head end, instead of bench keys"
    )
    one.add_argument("--folder", type=Path, metavar="DIR", help="keep the flash image here from run to run")
    one.add_argument(
        "--heap", default=DEFAULT_HEAP, metavar="SIZE", help=f"MicroPython's heap (default {DEFAULT_HEAP})"
    )
    one.add_argument(
        "--image",
        type=Path,
        metavar="FILE",
        help="give the meter two places for images, and write FILE.order: the bench's order to run this one",
    )
    keypad.add_arguments(
        commands.add_parser(
            "keypad",
            help="stand before a meter: display, keypad, lamps",
            description="Runs one meter with its panel in the terminal. What the panel shows: docs/panel.md.",
        )
    )
    life_cli.add_arguments(
        commands.add_parser(
            "life",
            help="let a meter live, second by second, with all that can go wrong",
            description="Lives in seconds from a seed, with faults, and holds every one of them to what must hold.",
        )
    )
    return top


def main(argv: list[str]) -> int:
    """Run a command; 0 after Ctrl-C, 1 when the meter ended, 2 for a wrong argument."""
    arguments = parser().parse_args(argv)
    try:
        if arguments.command == "life":
            return life_cli.run(arguments)
        return _keypad(arguments) if arguments.command == "keypad" else _meter(arguments)
    except (UsageError, LoadError, ProvisionError, KeysError) as error:
        print(f"openprepay sim: {error}", file=sys.stderr)
        return 2
    except (BuildError, ChildError) as error:
        print(f"openprepay sim: {error}", file=sys.stderr)
        return 1


def _amount_uc(text: str) -> int:
    try:
        amount_uc = Decimal(text) * 1_000_000
    except InvalidOperation:
        raise UsageError(f"--credit: {text!r} given, an amount such as 20.00 expected") from None
    if not 0 < amount_uc < 10**15 or amount_uc != int(amount_uc):
        raise UsageError(f"--credit: {text!r} given, 0.000001..999999999 expected")
    return int(amount_uc)


def _address(name: str, text: str) -> str:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or not 1 <= int(port) <= 65535:
        raise UsageError(f"{name}: {text!r} given, HOST:PORT expected")
    return text


def _broker(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme != "mqtt" or not parts.hostname:
        raise UsageError(f"--mqtt: {url!r} given, mqtt://HOST:PORT expected")
    return f"{parts.hostname}:{parts.port or 1883}"


def _check(arguments: argparse.Namespace) -> None:
    _check_id(arguments)
    if not 1 <= arguments.unit <= 247:
        raise UsageError(f"--unit: {arguments.unit} given, 1..247 expected")
    if not 1200 <= arguments.baud <= 115_200:
        raise UsageError(f"--baud: {arguments.baud} given, 1200..115200 expected")
    if not 1 <= arguments.speed <= 100_000:
        raise UsageError(f"--speed: {arguments.speed} given, 1..100000 expected")
    for name, link in (("--serial", arguments.serial), ("--service-port", arguments.service_port)):
        if link and link.exists() and not link.is_symlink():
            raise UsageError(f"{name}: {link} exists and is not a link; it will not be replaced")
    if arguments.serial and arguments.serial == arguments.service_port:
        raise UsageError(f"--service-port: {arguments.serial} given, another link than --serial expected")
    if arguments.provision and arguments.credit:
        raise UsageError("--credit: only with bench keys; a meter of a head end gets its credit from the head end")
    if arguments.provision and arguments.kwh:
        raise UsageError("--kwh: only with bench keys; what an account counts, the head end's record says")


def _record(arguments: argparse.Namespace, bench: Workbench) -> bytes:
    if not arguments.provision:
        return bench.record(currency=CURRENCY_ENERGY if arguments.kwh else CURRENCY)
    try:
        record = arguments.provision.read_bytes()
    except OSError as error:
        raise UsageError(f"--provision: {arguments.provision} cannot be read ({error.strerror})") from error
    meter = decode(record).meter
    if meter != arguments.id:
        raise UsageError(f"--provision: is for meter {meter}, --id says {arguments.id}")
    return record


def _check_id(arguments: argparse.Namespace) -> None:
    if not 1 <= arguments.id <= orders.MAX_METER:
        raise UsageError(f"--id: {arguments.id} given, 1..{orders.MAX_METER} expected")


def _keypad(arguments: argparse.Namespace) -> int:
    _check_id(arguments)
    if not 0 <= arguments.load <= 90_000:
        raise UsageError(f"--load: {arguments.load} given, 0..90000 expected")
    credit_uc = _amount_uc(arguments.credit) if arguments.credit else 0
    if not 1 <= arguments.speed <= 100_000:
        raise UsageError(f"--speed: {arguments.speed} given, 1..100000 expected")
    if arguments.micropython and arguments.keys is None and sys.stdin.isatty():
        raise UsageError("--micropython: needs --keys, or keys from a pipe; live, the firmware runs in this process")
    return keypad.run(arguments, credit_uc)


def _meter(arguments: argparse.Namespace) -> int:
    _check(arguments)
    load: Load = CsvLoad(arguments.load) if arguments.load else Household(arguments.yearly_kwh)
    bench = Workbench(arguments.id, tariff=KWH_TARIFF if arguments.kwh else DEFAULT_TARIFF)
    board = VirtualBoard(load, start_s=int(time.time()), seed=arguments.id)
    tcp = _address("--tcp", arguments.tcp) if arguments.tcp else None
    mqtt = _broker(arguments.mqtt) if arguments.mqtt else None
    credit = bench.credit(_amount_uc(arguments.credit)) if arguments.credit else None
    record = _record(arguments, bench)
    if arguments.image is not None:
        _state_image(arguments, bench)
    line = PtyLine(arguments.serial) if arguments.serial else None
    service = PtyLine(arguments.service_port) if arguments.service_port else None
    meter = ChildMeter(
        board,
        folder=arguments.folder,
        record=record,
        speed=arguments.speed,
        unit=arguments.unit,
        baud=arguments.baud,
        serial=line.meter_path if line else None,
        service=service.meter_path if service else None,
        tcp=tcp,
        mqtt=mqtt,
        heap=arguments.heap,
        micropython=arguments.micropython,
        orders=[credit] if credit else [],
        slots=arguments.image is not None,
    )
    try:
        meter.start()
        _introduce(arguments, bench)
        _watch(meter)
    except KeyboardInterrupt:
        return 0
    finally:
        meter.stop()
        for one in (line, service):
            if one:
                one.close()
    return 0


def _state_image(arguments: argparse.Namespace, bench: Workbench) -> None:
    """Write the order that an image needs; its version is the time, so that it outranks those before it."""
    if not arguments.micropython:
        raise UsageError("--image: images run under MicroPython; --micropython expected beside it")
    try:
        raw = arguments.image.read_bytes()
        order = bench.firmware(raw, version=int(time.time()))
        arguments.image.with_name(arguments.image.name + ".order").write_bytes(order)
    except (OSError, ImageError) as error:
        raise UsageError(f"--image: {arguments.image} cannot be used ({error})") from error


def _introduce(arguments: argparse.Namespace, bench: Workbench) -> None:
    print(f"meter       {topics.meter_name(arguments.id)}")
    print(f"firmware on {'MicroPython, heap ' + arguments.heap if arguments.micropython else 'CPython'}")
    print(f"Modbus unit {arguments.unit}")
    if arguments.serial:
        print(f"Modbus RTU  {arguments.serial}  ({arguments.baud} 8E1)")
    if arguments.service_port:
        print(f"service     {arguments.service_port}  (Modbus RTU {arguments.baud} 8E1; takes typed tokens)")
    if arguments.tcp:
        print(f"Modbus TCP  {arguments.tcp}")
    if arguments.mqtt:
        print(f"MQTT        {arguments.mqtt}  topics {topics.up(arguments.id, '+')}")
    if not arguments.provision:
        print(f"credit key  {bench.public_key(orders.ROLE_CREDIT).hex()}  (bench: anybody can make it)")
        print(f"control key {bench.public_key(orders.ROLE_CONTROL).hex()}")
        print(f"tokens      {_issue_command(bench)}")
    print(
        "registers   docs/protocol.md, chapter Registers; register 0 reads 01 02 03 04 by FC 03 and FC 04", flush=True
    )


def _issue_command(bench: Workbench) -> str:
    """How to make a token of 10.0 kWh for this meter."""
    a = bench.decoder
    return (
        f"openprepay sts issue --vending-key {VENDING_KEY.hex()} --pan {a.pan} --sgc {a.sgc} --ti {a.ti:02d}"
        f" --kt {a.kt} --krn {a.krn} --ken {a.ken} --base {a.base} --class 0 --subclass 0 --units 100"
        f" --issued {time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime())}"
    )


def _watch(meter: ChildMeter) -> None:
    pause = threading.Event()
    while True:
        meter.check()
        pause.wait(0.5)
