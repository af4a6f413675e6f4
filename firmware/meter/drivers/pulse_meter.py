"""A metering chip or another meter that gives pulses and says nothing else, in the shape of a chip that can be read."""


class PulseMeter:
    """counter: a `PulseInput`. See `atm90e26.Atm90e26` for what is meant by each."""

    measures = False
    exported = 0
    ready = True

    def __init__(self, counter) -> None:
        self._counter = counter
        self.imported = 0

    def calibrate(self, constants: "tuple[int, ...]") -> None:
        """Its constant is on its nameplate."""

    async def read(self) -> None:
        """A second's reading."""
        self.imported = self._counter.count()
