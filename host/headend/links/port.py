"""What the service needs of a carrier, and how what comes up reaches the store without holding up a link."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from headend.orders.actions import Action

Up = Callable[[int, str, bytes], None]
"""up(meter, what, raw): a meter said `raw` on `what` (meterlink.topics.UP_*), as it came: nothing is verified.

It may block. When it returns, what it took is committed; when it raises, nothing is, and the carrier keeps the message
for another try as long as it can. Calls for one meter come one after the other, in the order in which the meter spoke;
those for several meters come from several threads at once.
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
    """Threads that call `up`: one after the other for one meter, side by side for several."""

    def __init__(self, up: Up, threads: int = 8) -> None:
        self._up = up
        self._lanes = [ThreadPoolExecutor(1, thread_name_prefix=f"up-{number}") for number in range(threads)]

    def hand(self, meter: int, what: str, raw: bytes) -> "Future[None]":
        """Queue one message; never blocks. The future ends when it is committed, or with what `up` raised.

        After `close` it is cancelled.
        """
        try:
            return self._lanes[meter % len(self._lanes)].submit(self._up, meter, what, raw)
        except RuntimeError:  # closed
            late: Future[None] = Future()
            late.cancel()
            return late

    def close(self) -> None:
        """Returns when the calls that run have returned; what still waits is cancelled."""
        for lane in self._lanes:
            lane.shutdown(wait=False, cancel_futures=True)
        for lane in self._lanes:
            lane.shutdown(wait=True)
