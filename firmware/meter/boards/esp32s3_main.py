"""Starts the ESP32-S3 board: the boot stage (`esp32s3_boot.py`) imports this and calls `run(slot)`.

A sealed board has no console: its build has none (docs/firmware.md), and a program that ends starts the board again, it
never falls back to a prompt.
"""

import asyncio
import sys

import machine
import micropython

from meter.boards.esp32s3 import Esp32S3Board
from meter.core import Meter
from meter.panel import Panel
from meter.shell import panel, settings, start
from meter.shell.seconds import Seconds

WATCHDOG_MS = 8000


def links(meter, board, chosen) -> list:
    """(name, function that makes the task) of everything but metering."""
    return [
        ("bus", start.bus(meter, chosen.line(), lambda settings: board.bus(*settings[1:]))),
        ("service", start.line(meter, Meter.CARRIER_LOCAL, chosen.unit, board.service)),
        ("panel", lambda: panel.serve(Panel(meter), *board.front())),
    ] + start.network(meter, chosen)


def run(slot: int = 0) -> None:
    """Run for ever; whatever ends it starts the board again. slot: of the image that this is started from."""
    try:
        board = Esp32S3Board(slot)
        if board.unsealed:
            print("BENCH: not sealed, {}".format(", ".join(board.unsealed)))
        else:
            micropython.kbd_intr(-1)
        chosen = settings.chosen(start.SETTINGS)
        watchdog = machine.WDT(timeout=WATCHDOG_MS)
        asyncio.run(start.run(board, Seconds(watchdog.feed), lambda meter: links(meter, board, chosen)))
    except Exception as error:  # noqa: BLE001 - whatever it was, a meter goes on
        sys.print_exception(error)
    finally:
        machine.reset()
