"""What the metering chip measures besides energy: minimum, maximum and average of each minute and each interval.

One *phase* is (voltage 1/10 V, current mA, active power W, power factor 1/1000, frequency 1/100 Hz); power and power
factor are negative where energy flows to the grid. The last 60 whole minutes are kept, in RAM only: a restart begins
anew, and says nothing of the time before.
"""

import struct

QUANTITIES = 5
VOLTAGE, CURRENT, POWER, POWER_FACTOR, FREQUENCY = range(QUANTITIES)
MINUTES = 60
MINUTE_S = 60

# start_s, seconds that were measured, then minimum, maximum and average of each quantity of one phase
MINUTE_FORMAT = ">IHHHHIIIiiihhhHHH"
MINUTE_LENGTH = 48


class Spread:
    """Minimum, maximum and average of each quantity of each phase since `begin`. seconds: how many were added."""

    def __init__(self, phases: int) -> None:
        self._count = phases * QUANTITIES
        # Lists: what is read of an array of 32 or 64 bits is a new object each time, on words of 32 bits.
        self.low = [0] * self._count
        self.high = [0] * self._count
        self._sum = [0] * self._count
        self.start_s = 0
        self.seconds = 0

    def begin(self, unix_s: int) -> None:
        """Forget what was added; what comes belongs to the time from `unix_s` on."""
        self.start_s = unix_s
        self.seconds = 0

    def add(self, phases: "tuple[tuple[int, ...], ...]", elapsed_s: int) -> None:
        """The values that held for the last `elapsed_s` seconds."""
        first = not self.seconds
        at = 0
        for phase in phases:
            for value in phase:
                if first:
                    self.low[at] = self.high[at] = value
                    self._sum[at] = value * elapsed_s
                else:
                    if value < self.low[at]:
                        self.low[at] = value
                    elif value > self.high[at]:
                        self.high[at] = value
                    self._sum[at] += value * elapsed_s
                at += 1
        self.seconds += elapsed_s

    def average(self, at: int) -> int:
        """Average over the seconds, rounded down; 0 where there were none."""
        return self._sum[at] // self.seconds if self.seconds else 0

    def values(self, phase: int) -> "tuple[int, ...]":
        """(minimum, maximum, average) of each quantity of a phase, one behind the other; zeros where nothing was
        measured."""
        found: "tuple[int, ...]" = ()
        for at in range(phase * QUANTITIES, (phase + 1) * QUANTITIES):
            found += (self.low[at], self.high[at], self.average(at)) if self.seconds else (0, 0, 0)
        return found


class Quantities:
    """now: the phases as last measured · minute: the open minute · interval: the open interval · last: the values of
    the interval before, by phase, and `last_start_s`, 0 = none yet."""

    def __init__(self, phases: int) -> None:
        self.now: "tuple[tuple[int, ...], ...]" = ((0,) * QUANTITIES,) * phases
        self.minute = Spread(phases)
        self.interval = Spread(phases)
        self.last = [(0,) * (3 * QUANTITIES)] * phases
        self.last_start_s = 0
        self._phases = phases
        self._ring = bytearray(MINUTES * phases * MINUTE_LENGTH)
        self._next = 0
        self.minutes = 0  # whole minutes that are kept

    def take(self, phases: "tuple[tuple[int, ...], ...]", unix_s: int, elapsed_s: int) -> None:
        """What was measured at `unix_s`, the end of `elapsed_s` seconds."""
        self.now = phases
        minute = self.minute
        if unix_s // MINUTE_S != minute.start_s // MINUTE_S:
            if minute.seconds:
                self._keep()
            minute.begin(unix_s)
        minute.add(phases, elapsed_s)
        self.interval.add(phases, elapsed_s)

    def _keep(self) -> None:
        minute = self.minute
        for phase in range(self._phases):
            at = (self._next * self._phases + phase) * MINUTE_LENGTH
            head = minute.start_s - minute.start_s % MINUTE_S, min(minute.seconds, 0xFFFF)
            struct.pack_into(MINUTE_FORMAT, self._ring, at, *head, *minute.values(phase))
        self._next = (self._next + 1) % MINUTES
        self.minutes = min(self.minutes + 1, MINUTES)

    def interval_ended(self, unix_s: int) -> None:
        """The interval ends and another begins."""
        if self.interval.seconds:
            self.last = [self.interval.values(phase) for phase in range(self._phases)]
            self.last_start_s = self.interval.start_s
        self.interval.begin(unix_s)

    def kept(self, back: int, phase: int = 0) -> "memoryview | None":
        """The record (MINUTE_FORMAT) of a whole minute, 0 = the last one; None where it is not kept."""
        if not 0 <= back < self.minutes or not 0 <= phase < self._phases:
            return None
        at = ((self._next - 1 - back) % MINUTES * self._phases + phase) * MINUTE_LENGTH
        return memoryview(self._ring)[at : at + MINUTE_LENGTH]
