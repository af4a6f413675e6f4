"""Whose turn it is on a bus: the most urgent first, and in the order of asking among equals.

An order does not wait until a night's records are read. A task says once how urgent its transactions are (`urgency`);
the tasks that it starts are as urgent.
"""

import asyncio
import heapq
from contextvars import ContextVar

ORDERS, QUESTIONS, RECORDS = range(3)

urgency: ContextVar[int] = ContextVar("urgency", default=QUESTIONS)


class Turns:
    """A lock that is handed to the most urgent of those who wait."""

    def __init__(self) -> None:
        self._taken = False
        self._asked = 0
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []

    async def take(self) -> None:
        """Wait for the turn."""
        if not self._taken:
            self._taken = True
            return
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asked += 1
        heapq.heappush(self._waiting, (urgency.get(), self._asked, mine))
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():  # it was given to us in the same moment
                self.give()
            raise

    def give(self) -> None:
        """The turn is over."""
        while self._waiting:
            _, _, next_one = heapq.heappop(self._waiting)
            if not next_one.done():
                next_one.set_result(None)
                return
        self._taken = False
