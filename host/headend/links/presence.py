"""Which meters are at their broker, by the last birth or will that came of each.

Nothing of it is verified, so it is bounded: whoever may speak in the name of any meter cannot fill the memory with
numbers. A meter that was forgotten is one that nothing is known of.
"""

REMEMBERED = 16_384  # meters of a shard: a million in all 64, some 100 MB at the very most


class Presence:
    """Of so many meters at most, those that said something last. One thread notes, any may ask."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: dict[int, bool] = {}

    def __len__(self) -> int:
        return len(self._known)

    def note(self, meter: int, present: bool) -> None:
        """It came, or went."""
        self.forget(meter)
        self._known[meter] = present
        if len(self._known) > self._most:
            del self._known[next(iter(self._known))]

    def forget(self, meter: int) -> None:
        self._known.pop(meter, None)

    def of(self, meter: int) -> bool | None:
        """Whether it is there; None: it is not known."""
        return self._known.get(meter)
