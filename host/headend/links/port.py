"""What the service needs of a carrier, and how what comes up reaches the store without holding up a link."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

from headend.arrivals import waves
from headend.orders.actions import Action

Message = tuple[int, str, bytes]
"""(meter, what, raw): a meter said `raw` on `what` (meterlink.topics.UP_*), as it came: nothing is verified."""

Up = Callable[[Sequence[Message]], Sequence[BaseException | None]]
"""up(messages): of each, what kept it from being committed; None where it is. Several are all batches of intervals.

It may block. What is not committed the carrier keeps for another try, as long as it can; so it does with all of them
where the call raises. Messages of one meter come one after the other, in the order in which the meter spoke; those of
several meters come from several threads at once.
"""


@dataclass(frozen=True, slots=True)
class Sent:
    """Whether the carrier took an action over, and a sentence for the order's history. It is true where it did.

    Taken over means: by the broker, or by the meter's mailbox. What the meter made of it, only a report says.
    """

    ok: bool
    note: str = ""

    def __bool__(self) -> bool:
        return self.ok


class Carrier(Protocol):
    """One way to the meters. All coroutines are of the loop that `start` ran in; every wait in them is bounded."""

    name: str  # as in the table of meters: "mqtt", "modbus"

    async def start(self, up: Up) -> None:
        """Begin to carry; returns at once, whether or not the other side is there. What comes up goes to `up`."""

    async def send(self, action: Action) -> Sent:
        """Carry out an action. Never raises; never sends again by itself. Calls may run side by side."""

    def reaches(self, meter: int) -> bool:
        """Whether it makes sense to send something to this meter now. May block on the database; of any thread."""

    async def stop(self) -> None:
        """Stop carrying; returns when what was under way has ended, and `up` is not called any more."""


class Upward:
    """Threads that call `up`: one after the other for one meter, side by side for several.

    A thread hands on what waits for it; so the more comes, the more is committed at once.
    """

    def __init__(self, up: Up, threads: int = 8) -> None:
        self._lanes = [_Lane(up, f"up-{number}") for number in range(threads)]

    def hand(self, meter: int, what: str, raw: bytes) -> "Future[None]":
        """Queue one message; never blocks. The future ends when it is committed, or with what kept it from that.

        After `close` it is cancelled.
        """
        return self._lanes[meter % len(self._lanes)].put((meter, what, raw))

    def close(self) -> None:
        """Returns when the calls that run have returned; what still waits is cancelled."""
        for lane in self._lanes:
            lane.close()
        for lane in self._lanes:
            lane.join()


TOGETHER = 1_000  # messages that a thread hands on at once, at most

_Waiting = tuple[Message, "Future[None]"]


class _Lane:
    """One of these threads, with what waits for it."""

    def __init__(self, up: Up, name: str) -> None:
        self._up = up
        self._waiting: deque[_Waiting] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, message: Message) -> "Future[None]":
        future: Future[None] = Future()
        with self._changed:
            if self._closed:
                future.cancel()
            else:
                self._waiting.append((message, future))
                self._changed.notify()
        return future

    def close(self) -> None:
        with self._changed:
            self._closed = True
            dropped, self._waiting = self._waiting, deque()
            self._changed.notify()
        for _, future in dropped:
            future.cancel()

    def join(self) -> None:
        self._thread.join()

    def _run(self) -> None:
        while some := self._next():
            for intervals, places in waves((message[0], message[1]) for message, _ in some):
                if intervals:
                    self._hand_on([some[place] for place in places])
                else:
                    for place in places:
                        self._hand_on([some[place]])

    def _next(self) -> list[_Waiting]:
        with self._changed:
            while not (self._waiting or self._closed):
                self._changed.wait()
            return [self._waiting.popleft() for _ in range(min(len(self._waiting), TOGETHER))]

    def _hand_on(self, some: Sequence[_Waiting]) -> None:
        if self._closed:
            for _, future in some:
                future.cancel()
        taken = [(message, future) for message, future in some if future.set_running_or_notify_cancel()]
        if not taken:
            return
        try:
            outcomes = self._up([message for message, _ in taken])
        except BaseException as error:  # noqa: BLE001 - it belongs to those who wait for the messages
            outcomes = [error] * len(taken)
        for (_, future), outcome in zip(taken, outcomes, strict=True):
            if outcome is None:
                future.set_result(None)
            else:
                future.set_exception(outcome)
