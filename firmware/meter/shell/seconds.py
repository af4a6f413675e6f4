"""A board's own seconds, from its millisecond counter: what `app.measure` takes for the world."""

from meter.shell.pause import sleep_ms, ticks_diff, ticks_ms

_NAP_MS = 20


class Seconds:
    """feed(): tells the watchdog that the meter has measured, once a second and at no other place."""

    def __init__(self, feed) -> None:
        self._feed = feed
        self._last_ms = ticks_ms()
        self._passed_ms = 0

    async def second(self, board) -> None:
        """Wait for the next second, count it (or several, where the program was held up), and read the chips."""
        while True:
            now_ms = ticks_ms()
            self._passed_ms += ticks_diff(now_ms, self._last_ms)
            self._last_ms = now_ms
            if self._passed_ms >= 1000:
                break
            await sleep_ms(min(1000 - self._passed_ms, _NAP_MS))
        board.mono_s += self._passed_ms // 1000
        self._passed_ms %= 1000
        await board.refresh()

    async def answer(self, message) -> None:
        """The second is measured."""
        self._feed()
