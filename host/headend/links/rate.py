"""A steady pace that several tasks share."""

import asyncio


class Rate:
    """So many turns a second at most, evenly apart; of one event loop."""

    def __init__(self, per_s: int) -> None:
        self._apart_s = 1 / per_s
        self._next_at = 0.0

    async def turn(self) -> None:
        """Wait for one's turn."""
        loop = asyncio.get_running_loop()
        at = max(self._next_at, loop.time())
        self._next_at = at + self._apart_s
        await asyncio.sleep(at - loop.time())
