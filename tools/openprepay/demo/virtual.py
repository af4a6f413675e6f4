"""One virtual time for several meters and the head end: it moves on when every meter has lived what it had so far.

The head end reads it as its clock; each meter, in whatever process, goes through every second of it. It moves in small
steps, a fiftieth of a real second each, so that neither is ever more than one step ahead of the other. On a machine
that cannot keep up it moves slower than it was asked to.
"""

import threading
import time

STEPS_PER_S = 50
PATIENCE_S = 60.0  # a meter that has not lived a step by then has stopped


class TimeStopped(RuntimeError):
    """A meter no longer keeps up; the text names it."""


class VirtualTime:
    """A clock (`headend.clock.Clock`) that drives meters. start_s: UTC · `speed`: virtual seconds a real second.

    Meters `join` before `start`; from then on each calls `lived` with its own time and gets the time up to which it may
    go. `trouble` is why time stands still, None while it moves.
    """

    def __init__(self, start_s: int, speed: int) -> None:
        self.start_s = start_s
        self.speed = speed
        self.trouble: TimeStopped | None = None
        self._now_s = start_s
        self._lived: dict[str, int] = {}
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="virtual time", daemon=True)

    def now_s(self) -> int:
        """The present, UTC seconds."""
        return self._now_s

    def join(self, name: str) -> None:
        """A meter that time shall wait for; it has lived up to `start_s`."""
        with self._changed:
            self._lived[name] = self.start_s

    def start(self) -> None:
        """Let time move."""
        self._thread.start()

    def stop(self) -> None:
        """Let it stand still for good: whoever waits in `wait` goes on, and sees no more of it."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join()

    def lived(self, name: str, second_s: int) -> int:
        """The meter has gone through all of `second_s`. The present: how far it may go."""
        with self._changed:
            self._lived[name] = second_s
            if second_s >= self._now_s:
                self._changed.notify_all()
            return self._now_s

    def wait(self, name: str, second_s: int) -> None:
        """As `lived`, and returns when there is more to live (or time was stopped)."""
        if self.lived(name, second_s) > second_s:
            return
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or self._now_s > second_s)

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stopping:
            step_s = max(1, self.speed // STEPS_PER_S)
            due = max(due + step_s / self.speed, time.monotonic() - 1 / STEPS_PER_S)
            with self._changed:
                self._changed.wait_for(lambda: self._stopping, max(0.0, due - time.monotonic()))
                if not self._changed.wait_for(self._may_move, PATIENCE_S):
                    self.trouble = TimeStopped(f"{', '.join(self._behind())}: no longer keeps up with the time.")
                    return
                self._now_s += step_s
                self._changed.notify_all()

    def _may_move(self) -> bool:
        return self._stopping or not self._behind()

    def _behind(self) -> list[str]:
        return [name for name, second_s in self._lived.items() if second_s < self._now_s]
