"""The tasks of a meter: metering second by second, verification in slices, and one task a link.

The core decides, the tasks only carry: nothing here may delay a second's metering for longer than one slice of work.
A link that fails is started again after a pause; the others go on.
"""

import asyncio
import gc
import sys

from meter.shell.pause import sleep_ms

RESTART_MS = 2000
IDLE_MS = 5

# Collect when this much is in use, in a quiet moment after a second's step, instead of wherever the heap runs out.
COLLECT_EVERY_S = 4


class HeapGauge:
    """Heap in use and its peak, in bytes; zeros where the interpreter does not tell (CPython)."""

    def __init__(self) -> None:
        self._read = getattr(gc, "mem_alloc", None)
        self.used = 0
        self.peak = 0

    def read(self) -> None:
        if self._read:
            self.used = self._read()
            if self.used > self.peak:
                self.peak = self.used


async def keep(name: str, serve) -> None:
    """Run a link's task for ever: `serve()` makes its coroutine; an error is told on the console and ends in a new
    start."""
    while True:
        try:
            await serve()
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - one link's fault must not end the meter
            print("link {}: {}: {}".format(name, type(error).__name__, error))
        await sleep_ms(RESTART_MS)


async def verify(meter) -> None:
    """Run pending verifications, one slice between other work."""
    while True:
        if meter.verifying:
            try:
                meter.verify_slice()
            except MemoryError:
                gc.collect()  # the verification begins anew; other tasks have given up what they held by then
            await sleep_ms(0)
        else:
            await sleep_ms(IDLE_MS)


async def measure(meter, board, world, gauge: HeapGauge) -> None:
    """One step of the core for each second that the world gives; ends with the world (OSError, EOFError)."""
    seconds = 0
    while True:
        await world.second(board)
        meter.step(board.mono_s)
        if board.take_reconnect_key():
            meter.press_connect()
        if meter.erase_due():
            meter.erase_step()
        gauge.read()
        await world.answer(board.take_answer(gauge.used, gauge.peak))
        if meter.update.restart:
            board.restart()
        seconds += 1
        if seconds % COLLECT_EVERY_S == 0 and not meter.verifying:
            gc.collect()


async def run(metering, meter, links: "list[tuple]") -> None:
    """Run until metering ends (it raises): `links` is a list of (name, function that makes the task's coroutine)."""
    tasks = [asyncio.create_task(verify(meter))]
    for name, serve in links:
        tasks.append(asyncio.create_task(keep(name, serve)))
    try:
        await metering
    finally:
        for task in tasks:
            task.cancel()
        if hasattr(sys.stdout, "flush"):
            sys.stdout.flush()
