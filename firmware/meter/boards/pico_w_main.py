"""Starts the Pico W board: `main.py` of its image imports this and calls `run()`. Ctrl-C ends in the prompt."""

import asyncio

import machine

from meter.boards.pico_w import PicoWBoard
from meter.panel import Panel
from meter.shell import panel, settings, start
from meter.shell.seconds import Seconds

WATCHDOG_MS = 8000  # 8388 is the most that the RP2040 has


def links(meter, board, chosen) -> list:
    """(name, function that makes the task) of everything but metering."""
    return [
        ("bus", start.bus(meter, chosen.line(), lambda settings: board.bus(*settings[1:]))),
        ("panel", lambda: panel.serve(Panel(meter), *board.front())),
    ] + start.network(meter, chosen)


def run() -> None:
    """Run for ever."""
    board = PicoWBoard()
    print("BENCH")
    chosen = settings.chosen(start.SETTINGS)
    watchdog = machine.WDT(timeout=WATCHDOG_MS)
    asyncio.run(start.run(board, Seconds(watchdog.feed), lambda meter: links(meter, board, chosen)))
