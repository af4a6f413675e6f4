"""A PostgreSQL whose processes are killed with SIGKILL: all of them at once, or the one of some connection."""

import os
import random
import signal
import time
from pathlib import Path

from tests.postgres import Server

GIVE_UP_S = 60


class MortalServer(Server):
    def kill_all(self) -> None:
        """Postmaster and children; then it starts again, and recovers."""
        process, self._process = self._process, None
        assert process is not None
        doomed = [process.pid, *_children(process.pid)]
        for pid in doomed:
            _kill(pid)
        process.wait(GIVE_UP_S)
        ends = time.monotonic() + GIVE_UP_S
        while any(Path(f"/proc/{pid}").exists() for pid in doomed):  # they hold the shared memory until they are gone
            assert time.monotonic() < ends, "a killed process of the server stays"
            time.sleep(0.01)
        self.start()

    def kill_one(self, dice: random.Random) -> None:
        """One child: the postmaster then ends all others, and recovers by itself."""
        assert self._process is not None
        children = _children(self._process.pid)
        if children:
            _kill(dice.choice(sorted(children)))


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(one) for one in found]
