"""What the service needs of a carrier."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

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
