"""Whose turn it is on a bus: the most urgent first; among equals each unit in its turn, however much it has to say.

An order does not wait until a night's records are read. A task says once how urgent its transactions are (`urgency`);
the tasks that it starts are as urgent.
"""

import asyncio
import heapq
from contextvars import ContextVar

ORDERS, QUESTIONS, RECORDS, IMAGES = range(4)

urgency: ContextVar[int] = ContextVar("urgency", default=QUESTIONS)


class Turns:
    """A lock that is handed to the most urgent of those who wait."""

    def __init__(self) -> None:
        self._taken = False
        self._asked = 0
        self._round = 0
        self._rounds: dict[int, int] = {}  # unit -> the round of its last turn
        self._waiting: list[tuple[int, int, int, asyncio.Future[None]]] = []

    @property
    def idle(self) -> bool:
        """Whether it is nobody's turn."""
        return not self._taken

    async def take(self, unit: int = 0) -> None:
        """Wait for the turn of a unit; each has one in a round."""
        mine_in = max(self._rounds.get(unit, 0) + 1, self._round)
        self._rounds[unit] = mine_in
        if not self._taken:
            self._taken = True
            self._round = max(self._round, mine_in)
            return
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asked += 1
        heapq.heappush(self._waiting, (urgency.get(), mine_in, self._asked, mine))
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():  # it was given to us in the same moment
                self.give()
            raise

    def give(self) -> None:
        """The turn is over."""
        while self._waiting:
            _, turn, _, next_one = heapq.heappop(self._waiting)
            if not next_one.done():
                self._round = max(self._round, turn)
                next_one.set_result(None)
                return
        self._taken = False
