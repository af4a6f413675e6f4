"""How many connections are open to one host at a time: a serial server or gateway takes only so many.

A line that wants in waits until another lets go; one that is open and idle is closed for it.
"""

import asyncio
from collections import deque
from collections.abc import Callable

MOST = 32  # connections to one host


class Doors:
    """Places at hosts. `most` at each; of one event loop."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._inside: dict[str, dict[object, Callable[[], bool]]] = {}  # host -> who is in, longest unused first
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    async def enter(self, host: str, who: object, make_room: Callable[[], bool]) -> None:
        """Wait for a place. `make_room()`: leave if idle, and say whether it did."""
        inside = self._inside.setdefault(host, {})
        if who in inside:
            return
        while len(inside) >= self._most:
            if any(leave() for leave in list(inside.values())):
                continue
            mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.setdefault(host, deque()).append(mine)
            await mine
        inside[who] = make_room

    def used(self, host: str, who: object) -> None:
        """It was used just now."""
        inside = self._inside.get(host, {})
        if who in inside:
            inside[who] = inside.pop(who)

    def free(self, host: str) -> None:
        """Somebody inside became idle: whoever waits looks again."""
        waiting = self._waiting.get(host)
        while waiting:
            one = waiting.popleft()
            if not one.done():
                one.set_result(None)
                return

    def leave(self, host: str, who: object) -> None:
        """The connection is closed."""
        if self._inside.get(host, {}).pop(who, None) is not None:
            self.free(host)
