"""Runs a panel: keys in, characters, lamps and sounds out. One asyncio task over parts that the board gives:

    keypad.down() -> str               the key that is down, debounced over calls TICK_MS apart; "" for none or several
    display.write(row, column, text) -> bool   a few characters, in a few milliseconds at most; False where the display
                                       is blank or does not answer: then all is written again
    display.light(on), display.contrast(level)   level 0..15
    lamps                              (credit, communication, supply off), each with value(0 or 1)
    buzzer.value(0 or 1)

Only what has changed is written, and no turn writes more than WRITE characters: a slow display holds nothing up.
"""

from meter.keys import Keys
from meter.panel import COLUMNS
from meter.shell.pause import now_ms, sleep_ms, ticks_diff

TICK_MS = 20
WRITE = 4
_EIGHTH_MS = 125
_LAMPS_MS = 16 * _EIGHTH_MS
_UNKNOWN = chr(0) * COLUMNS


class Front:
    """A panel and its parts."""

    def __init__(self, panel, keypad, display, lamps, buzzer) -> None:
        self._panel = panel
        self._keypad = keypad
        self._display = display
        self._lamps = lamps
        self._buzzer = buzzer
        self._keys = Keys()
        self._shown = [_UNKNOWN, _UNKNOWN]
        self._mono_s = -1
        self._lines = panel.lines()
        self._words = panel.leds()
        self._lit: "bool | None" = None
        self._contrast = -1
        self._phase_ms = 0
        self._sound: "tuple[int, ...]" = ()
        self._at = 0  # in `_sound`
        self._left_ms = 0  # of that part of it

    def turn(self, elapsed_ms: int) -> None:
        """Look at the keypad, then say what has changed. elapsed_ms: since the last turn."""
        panel = self._panel
        mono_s = panel.meter.mono_s
        char, held_s = self._keys.feed(self._keypad.down(), elapsed_ms)
        if char:
            panel.key(char, mono_s, held_s)
        if char or mono_s != self._mono_s:
            self._mono_s = mono_s
            panel.step(mono_s)
            self._look()
        self._write()
        self._phase_ms = (self._phase_ms + elapsed_ms) % _LAMPS_MS
        for lamp in range(3):
            self._lamps[lamp].value(self._words[lamp] >> self._phase_ms // _EIGHTH_MS & 1)
        self._play(elapsed_ms)

    def _look(self) -> None:
        """What the panel says changes with a key or with a second of the meter."""
        panel = self._panel
        self._lines = panel.lines()
        self._words = panel.leds()
        lit = panel.lit()
        if lit != self._lit:
            self._lit = lit
            self._display.light(lit)
        if panel.contrast != self._contrast:
            self._contrast = panel.contrast
            self._display.contrast(panel.contrast)

    def _write(self) -> None:
        """The first few characters that differ."""
        for row in (0, 1):
            old, new = self._shown[row], self._lines[row]
            if old != new:
                at = 0
                while old[at] == new[at]:
                    at += 1
                if self._display.write(row, at, new[at : at + WRITE]):
                    self._shown[row] = old[:at] + new[at : at + WRITE] + old[at + WRITE :]
                else:
                    self._shown = [_UNKNOWN, _UNKNOWN]
                return

    def _play(self, elapsed_ms: int) -> None:
        """On and off by turns; a new sound ends the one that plays."""
        sound = self._panel.buzzer()
        if sound:
            self._sound = sound
            self._at = 0
        elif self._at < len(self._sound):
            self._left_ms -= elapsed_ms
            if self._left_ms > 0:
                return
            self._at += 1
        else:
            return
        playing = self._at < len(self._sound)
        self._left_ms = self._sound[self._at] if playing else 0
        self._buzzer.value(1 if playing and not self._at & 1 else 0)


async def serve(panel, keypad, display, lamps, buzzer) -> None:
    """Run until cancelled."""
    front = Front(panel, keypad, display, lamps, buzzer)
    before_ms = now_ms()
    while True:
        here_ms = now_ms()
        front.turn(ticks_diff(here_ms, before_ms))
        before_ms = here_ms
        await sleep_ms(TICK_MS)
