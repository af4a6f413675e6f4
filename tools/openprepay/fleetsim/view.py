"""A fleet on a terminal: a few figures that stand still and change; where nobody looks, a line now and then."""

import time
from collections.abc import Sequence
from typing import TextIO

from meterlink.labels import Text
from openprepay.demo.draw import bar, pad, width
from openprepay.fleetsim import words
from openprepay.fleetsim.day import BY_S, Day
from openprepay.fleetsim.live import Live

Row = tuple[Text, str]
_REDRAW_S = 0.5
_LINE_S = 10.0


class View:
    """Writes to `out`. A terminal is drawn over; anything else gets a line every ten seconds."""

    def __init__(self, out: TextIO, lang: str) -> None:
        self._out = out
        self._lang = lang
        self._drawn = 0
        self._at = 0.0

    def day(self, day: Day) -> None:
        """The present of a day on a carrier that loses."""
        outcome, network = day.outcome, day.air.network
        rows = [
            (words.TIME, _clock(day.since_s, BY_S)),
            (words.AWAY, f"{len(day.air.away)} / {outcome.meters}"),
            (words.MESSAGES, f"{network.sent}"),
            (words.LOST, f"{network.lost}"),
            (words.WIPED, f"{outcome.wiped}"),
            (words.KILLS, f"{day.head.kills}"),
            (words.PAYMENTS, f"{outcome.payments}"),
        ]
        self._show(rows, day.stories[-1][1].title if day.stories else None)

    def live(self, live: Live) -> None:
        """The present of a fleet on real carriers."""
        outcome = live.outcome
        on_broker = outcome.meters - outcome.on_bus
        rows = [
            (words.TIME, _clock(live.since_s, live.lasts_s)),
            (words.LINKED, f"{bar(live.linked, on_broker)} {live.linked} / {on_broker}"),
            (words.CONNECTS, f"{outcome.connects}"),
            (words.SAID, f"{outcome.said}"),
            (words.HEARD, f"{outcome.heard}"),
            (words.BUSES, f"{live.transactions}"),
            (words.PAYMENTS, f"{outcome.payments}"),
        ]
        self._show(rows, live.stories[-1][1].title if live.stories else None)

    def end(self, rows: Sequence[Row]) -> None:
        """What came of it."""
        self._draw(rows)

    def _show(self, rows: list[Row], story: Text | None) -> None:
        wait_s = _REDRAW_S if self._out.isatty() else _LINE_S
        if time.monotonic() - self._at < wait_s:
            return
        self._at = time.monotonic()
        if story is not None:
            rows.append((words.HAPPENED, words.say(story, self._lang)))
        if self._out.isatty():
            self._draw(rows)
        else:
            line = ", ".join(f"{words.say(label, self._lang)} {value}" for label, value in rows)
            print(line, file=self._out, flush=True)

    def _draw(self, rows: Sequence[Row]) -> None:
        labels = [words.say(label, self._lang) for label, _ in rows]
        columns = max(map(width, labels)) + 2
        if self._out.isatty() and self._drawn:
            self._out.write(f"\x1b[{self._drawn}F\x1b[J")
        for label, (_, value) in zip(labels, rows, strict=True):
            self._out.write(f"{pad(label, columns)}{value}\n")
        self._out.flush()
        self._drawn = len(rows)


def _clock(since_s: int, of_s: int) -> str:
    day, minutes = divmod(since_s // 60, 1440)
    return f"{bar(since_s, of_s)} {f'+{day} ' if day else ''}{minutes // 60:02d}:{minutes % 60:02d}"
