"""From a key that is down to a key that was pressed, once, and how long `#` was held."""

from meter.panel import HELD_S


class Keys:
    """The one hand at a keypad. A key counts when it goes down; `#` when it comes up, or has been held for HELD_S."""

    def __init__(self) -> None:
        self._down = ""
        self._held_ms = -1  # how long # is down; -1: it is not, or has counted

    def feed(self, down: str, elapsed_ms: int) -> "tuple[str, int]":
        """(key pressed, seconds held), ("", 0) for none. down: the key that is down, "" for none; elapsed_ms: since the
        last call."""
        if self._held_ms >= 0:
            self._held_ms += elapsed_ms
            if down != "#":
                self._held_ms = -1
                self._down = ""  # what is down instead counts in the next call
                return "#", 0
            if self._held_ms >= HELD_S * 1000:
                self._held_ms = -1
                return "#", HELD_S
            return "", 0
        before = self._down
        self._down = down
        if down == before:
            return "", 0
        if down == "#":
            self._held_ms = 0
            return "", 0
        return down, 0
