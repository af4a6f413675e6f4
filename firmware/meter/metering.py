"""Watches that pulses and measured power agree: a pulse line that is cut, stuck or noisy is an event, no free supply.

Energy by pulses is what is billed. The chip also tells the power; over as much energy as makes WATCH_WH by either, the
two may differ by a factor of WATCH_FACTOR at most. A board that does not measure power is not watched.
"""

from meterlink import events

OK = 0
MISSING = 1  # power flows, and not one pulse came: the line is cut or stuck
FEW = 2
UNEXPLAINED = 3  # pulses without the power that would make them

WATCH_WH = 20
WATCH_FACTOR = 4
SILENT_S = 60  # a chip that does not answer for so long is missing, whatever flows
FLOOR_W = 5  # below it a chip's power is not told from noise
REVERSED_W = 20  # power to the grid of a meter that has none to give, for so long
REVERSED_S = 10

_EVENT = (
    events.METERING_AGREES,
    events.PULSES_MISSING,
    events.PULSES_FEW,
    events.PULSES_UNEXPLAINED,
)


class Metering:
    """found: OK, MISSING, FEW or UNEXPLAINED · reversed: current flows the wrong way."""

    def __init__(self, note) -> None:
        self._note = note  # (code, argument)
        self.found = OK
        self.reversed = False
        self._expected_ws = 0
        self._counted_wh = 0
        self._reversed_s = 0
        self._silent_s = 0

    def silence(self, elapsed_s: int) -> None:
        """The chip did not answer in the last `elapsed_s` seconds: nobody knows what flowed."""
        self._silent_s += elapsed_s
        if self._silent_s >= SILENT_S and self.found != MISSING:
            self.found = MISSING
            self._note(events.PULSES_MISSING, 0)

    def step(self, power_w: int, counted_wh: int, elapsed_s: int, exports: bool) -> None:
        """power_w: measured, negative towards the grid · counted_wh: completed by pulses, both ways, in the last
        `elapsed_s` seconds · exports: whether energy may flow to the grid here."""
        if self._silent_s:  # what was counted now flowed while nobody measured power
            self._silent_s = self._expected_ws = self._counted_wh = 0
            return
        if abs(power_w) >= FLOOR_W:
            self._expected_ws += abs(power_w) * elapsed_s
        self._counted_wh += counted_wh
        expected_wh = self._expected_ws // 3600
        if expected_wh >= WATCH_WH or self._counted_wh >= WATCH_WH:
            self._judge(expected_wh)
        self._watch_direction(power_w, elapsed_s, exports)

    def _judge(self, expected_wh: int) -> None:
        counted_wh = self._counted_wh
        found = OK
        if counted_wh * WATCH_FACTOR < expected_wh:
            found = FEW if counted_wh else MISSING
        elif expected_wh * WATCH_FACTOR < counted_wh:
            found = UNEXPLAINED
        if found != self.found:
            self.found = found
            self._note(_EVENT[found], expected_wh - counted_wh)
        self._expected_ws = 0
        self._counted_wh = 0

    def _watch_direction(self, power_w: int, elapsed_s: int, exports: bool) -> None:
        if exports or power_w > -REVERSED_W:
            self._reversed_s = 0
            self.reversed = False
            return
        self._reversed_s += elapsed_s
        if self._reversed_s >= REVERSED_S and not self.reversed:
            self.reversed = True
            self._note(events.CURRENT_REVERSED, -power_w)
