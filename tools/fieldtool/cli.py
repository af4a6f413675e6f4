"""`openprepay field`: the command line.

Exit codes: 0 done · 1 the meter refused, records are missing, or something is not genuine · 2 a wrong command line or
file · 4 the port, the line, or a device that does not answer as it should · 130 Ctrl-C.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from fieldtool import line as bus_line
from fieldtool import logs, order, records, report, scan, show, token, update, wear
from fieldtool.session import DONE, LINK, USAGE, Session, UsageError
from fieldtool.words import LANGUAGES, Words, language_of
from headend.links.bus import BadPort, Patience, bus_at
from headend.links.failures import LinkError
from headend.links.meter import MeterOnBus
from meterlink import lines, names
from meterlink.modbus import MAX_ADDRESS

PARITIES = ("E", "N", "O")

Command = Callable[[Session, argparse.Namespace], Awaitable[int]]


def main(argv: list[str]) -> int:
    """Run one sub-command and return its exit code."""
    try:
        given = parser().parse_args(argv)
    except SystemExit as ended:
        return int(ended.code or 0)
    words = Words(given.lang or language_of(os.environ))
    if given.command == "wear":
        return wear.wear(words, given.minutes)
    try:
        return asyncio.run(_run(given, words))
    except (UsageError, BadPort) as error:
        print(f"openprepay field: {error}", file=sys.stderr)
        return USAGE
    except LinkError as error:
        text = words.say("failed", outcome=words.code("outcome", error.outcome), detail=error)
        print(f"openprepay field: {text}", file=sys.stderr)
        return LINK
    except BrokenPipeError:  # whoever read our output has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE


async def _run(given: argparse.Namespace, words: Words) -> int:
    patience = scan.patience(given.wait) if given.command == "scan" else Patience()
    bus = bus_at(given.port, given.baud, given.parity, patience)
    try:
        session = Session(MeterOnBus(bus, given.unit), words)
        return await _COMMANDS[given.command](session, given)
    finally:
        await bus.close()


def parser() -> argparse.ArgumentParser:
    """The arguments of `openprepay field`."""
    common = argparse.ArgumentParser(add_help=False)
    line = common.add_argument_group("where the meter is")
    line.add_argument(
        "--port",
        required=True,
        metavar="PORT",
        help="path of a serial device or pty, socket://HOST:PORT (RTU through a serial server) or tcp://HOST:PORT "
        "(Modbus TCP)",
    )
    line.add_argument("--unit", type=_unit, default=1, metavar="N", help="Modbus address, 1..247 (default 1)")
    line.add_argument("--baud", type=int, choices=lines.BAUDS, default=9600, metavar="N", help="default 9600")
    line.add_argument("--parity", choices=PARITIES, default="E", help="default E")
    common.add_argument("--lang", choices=LANGUAGES, help="language (default: as LANG says)")

    top = argparse.ArgumentParser(
        prog="openprepay field",
        description="Read and serve one meter on the spot.",
        epilog="Exit codes: 0 done; 1 the meter refused, records are missing or something is not genuine; 2 wrong "
        "command line or file; 4 the port, the line, or a device that does not answer as it should; 130 Ctrl-C.",
        allow_abbrev=False,
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, help: str) -> argparse.ArgumentParser:  # noqa: A002 - argparse's own word
        return commands.add_parser(name, help=help, description=help, parents=[common], allow_abbrev=False)

    one = command("read", "who the meter is and how it stands")
    one.add_argument("--json", action="store_true", help="for programs: values as on the wire")
    for name, what in (("intervals", "interval records"), ("events", "event records")):
        one = command(name, f"read {what}, checked and counted")
        one.add_argument("--from", dest="first", type=_positive, metavar="SEQ", help="first number (default: the last)")
        one.add_argument(
            "--count",
            type=_positive,
            metavar="N",
            help=f"how many (default: to the newest; without --from {records.LAST})",
        )
        one.add_argument("--csv", type=Path, metavar="FILE", help="write a new CSV file instead of a table")
        _key_file(one)
    for name, what in logs.HELP.items():
        one = command(name, f"read {what}, checked and counted")
        if name == "freezes":
            one.add_argument("--months", action="store_true", help="months in place of days")
        one.add_argument("--count", type=_positive, metavar="N", help="how many (default: all that the meter holds)")
        one.add_argument("--csv", type=Path, metavar="FILE", help="write a new CSV file instead of a table")
    one = commands.add_parser(
        "wear",
        help="how long a meter's flash lasts",
        description="How long a meter's flash lasts, by the figures that its firmware uses. Asks no meter.",
        allow_abbrev=False,
    )
    one.add_argument("--lang", choices=LANGUAGES, help="language (default: as LANG says)")
    one.add_argument("--minutes", type=_minutes, default=15, metavar="N", help="length of an interval (default 15)")
    one = command("order", "hand a signed order to the meter and wait for its verdict")
    one.add_argument("file", type=Path, metavar="FILE", help='the order, as bytes or hexadecimal digits; "-": stdin')
    one.add_argument("--body", type=Path, metavar="FILE", help="its body, where that travels apart, in the same form")
    one = command("token", "type a token over the service port; it is used once, wherever it is typed")
    one.add_argument("digits", nargs="+", metavar="DIGITS", help="20 digits, in groups or not")
    one = command("line", "show the settings of the meter's bus, or set them over its service port")
    one.add_argument("--set-address", type=_unit, metavar="N", help="Modbus address, 1..247")
    one.add_argument("--set-baud", type=int, choices=lines.BAUDS, metavar="N", help="1200..115200")
    one.add_argument("--set-parity", type=_parity, metavar="NAME", help=", ".join(lines.PARITIES))
    one.add_argument("--set-stop-bits", type=int, choices=(1, 2), metavar="N", help="1 or 2")
    one = command("update", "bring an image of the firmware to the meter; it goes on where the meter is")
    one.add_argument("file", type=Path, metavar="FILE", help="the image, as openprepay firmware bundle makes it")
    one.add_argument("--order", type=Path, metavar="ORDER", help="its signed order, handed over behind it")
    one.add_argument("--wait", type=_seconds, default=0.0, metavar="SECONDS", help="until it runs for good")
    one = command("report", "have the meter prove how it stands")
    one.add_argument("--aspect", choices=list(names.ASPECT.values()), default="credit", help="about (default credit)")
    one.add_argument("--selector", type=_selector, default=1, metavar="N", help="source or reason (default 1)")
    one.add_argument("--json", action="store_true", help="for programs, with the bytes of the report")
    _key_file(one)
    one = command("scan", "find out which units answer")
    one.add_argument("--from", dest="first", type=_unit, default=1, metavar="N", help="first unit (default 1)")
    one.add_argument("--to", dest="last", type=_unit, default=MAX_ADDRESS, metavar="N", help="last unit (default 247)")
    one.add_argument(
        "--wait", type=_seconds, default=scan.WAIT_S, metavar="SECONDS", help=f"for an answer (default {scan.WAIT_S})"
    )
    one = command("watch", "a line now and then, until Ctrl-C")
    one.add_argument("--every", type=_seconds, default=5.0, metavar="SECONDS", help="default 5")
    one.add_argument("--count", type=_positive, default=0, metavar="N", help="end after so many lines")
    return top


def _key_file(one: argparse.ArgumentParser) -> None:
    one.add_argument(
        "--key-file",
        type=Path,
        metavar="FILE",
        help="the meter's key (32 bytes or 64 digits), to check what is genuine",
    )


def _within(low: int, high: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) <= 10 and low <= int(text) <= high):
            raise argparse.ArgumentTypeError(f"{text!r} given, {low}..{high} expected")
        return int(text)

    return number


_unit = _within(1, MAX_ADDRESS)
_minutes = _within(1, 60)
_selector = _within(0, 0xFFFF)
_positive = _within(1, 0xFFFFFFFF)


def _parity(text: str) -> int:
    if text not in lines.PARITIES:
        raise argparse.ArgumentTypeError(f"{text!r} given, one of {', '.join(lines.PARITIES)} expected")
    return lines.PARITIES.index(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.1 <= seconds <= 86_400:
        raise argparse.ArgumentTypeError(f"{text!r} given, 0.1..86400 expected")
    return seconds


_COMMANDS: dict[str, Command] = {
    "read": show.read,
    "intervals": records.intervals,
    "events": records.event_log,
    "switches": logs.switches,
    "topups": logs.topups,
    "freezes": logs.freezes,
    "nuisance": logs.nuisance,
    "order": order.order,
    "token": token.token,
    "report": report.report,
    "scan": scan.scan,
    "watch": show.watch,
    "update": update.update,
    "line": bus_line.line,
}
