"""Run as a process of its own: `openprepay serve` with its settings, by a clock that is told on standard input.

Each line there is the time from then on, in seconds since 1970 UTC. The time at first is the argument. It ends with
standard input, so that it never outlives the program that started it.
"""

import asyncio
import os
import signal
import sys
import threading

import uvloop

from headend.keys.place import open_keys
from headend.service import Service
from headend.settings import Settings
from headend.watch import heap, logs


class ToldClock:
    """Says what it was told last."""

    def __init__(self, now_s: int) -> None:
        self._now_s = now_s

    def now_s(self) -> int:
        return self._now_s

    def listen(self) -> None:
        """Until standard input ends; then this process ends as by SIGTERM."""
        for line in sys.stdin:
            self._now_s = int(line)
        os.kill(os.getpid(), signal.SIGTERM)


async def _serve(clock: ToldClock) -> None:
    settings = Settings.load(None, os.environ)
    logs.set_up(settings.log_format, settings.log_level)
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    async with Service(settings, open_keys(settings.keystore, os.environ), clock=clock) as service:
        heap.settle()
        print(service.url, flush=True)
        await stopped.wait()


if __name__ == "__main__":
    _clock = ToldClock(int(sys.argv[1]))
    threading.Thread(target=_clock.listen, daemon=True).start()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as _runner:
        _runner.run(_serve(_clock))
