"""What displays share: a wire that fails costs no more than what is shown; one that comes back is set up anew."""

REST = 250  # calls between attempts to set up a display that does not answer


class Display:
    """A chip's class gives `_start()`, `_put(row, column, text)` and `_adjust()`, each raising OSError where the wire
    fails. lit, level: as it is to be · faults: what failed on the wire."""

    def __init__(self) -> None:
        self.lit = True
        self.level = 8
        self.faults = 0
        self._started = False
        self._rest = 0

    def _start(self) -> None:
        raise NotImplementedError

    def _put(self, row: int, column: int, text: str) -> None:
        raise NotImplementedError

    def _adjust(self) -> None:
        raise NotImplementedError

    def write(self, row: int, column: int, text: str) -> bool:
        """Put characters (0x20..0x7D, 0xFF for all dots) where they belong. False where the display is blank or does
        not answer: then all is to be written again."""
        if self._rest:
            self._rest -= 1
            return False
        try:
            if self._started:
                self._put(row, column, text)
                return True
            self._start()
            self._adjust()
            self._started = True
        except OSError:
            self._failed()
        return False

    def _failed(self) -> None:
        """A transfer was cut short: nobody knows what the chip has taken."""
        self.faults += 1
        self._started = False
        self._rest = REST

    def light(self, on: bool) -> None:
        """The backlight, or how bright the dots are."""
        self.lit = on
        self._set()

    def contrast(self, level: int) -> None:
        """0..15."""
        self.level = level
        self._set()

    def _set(self) -> None:
        if self._started:
            try:
                self._adjust()
            except OSError:
                self._failed()
