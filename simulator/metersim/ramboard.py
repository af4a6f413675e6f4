"""A board in memory, driven by whoever lets its time pass. Runs on MicroPython as well as on CPython.

Its relay is latching, its counter volatile, its RTC runs on.
"""

import hashlib

from meter.ports import Board
from meterlink import flashmap, states
from metersim.flash import NorFlash

START_S = 1_767_225_600  # a multiple of a day
IMP_PER_KWH = 1000  # a pulse is a watt-hour


class RamBoard(Board):
    """Set by the test: watts (power drawn while current can flow), voltage (1/10 V), stuck (None, or what the contact
    stays at), blind (no contact sense), bypassed, clock_valid, input_bits (ports.INPUT_*), measures (whether the chip
    tells quantities), pulses_cut, backwards (load and supply exchanged)."""

    def __init__(self, flash: "NorFlash | None" = None) -> None:
        super().__init__(flash or NorFlash(flashmap.TOTAL_SECTORS, unit_bytes=8))
        self.watts = 0
        self.voltage = 2300
        self.closed = True
        self.stuck: bool | None = None
        self.blind = False
        self.bypassed = False
        self.clock_valid = True
        self.unix_s = START_S
        self.coils: list[tuple[int, bool]] = []  # (unix_s, close)
        self.shown: list[tuple[int, int]] = []
        self.kept_witness = 0
        self.imported = 0
        self.exported = 0
        self.input_bits = 0
        self.measures = False
        self.pulses_cut = False
        self.backwards = False
        self.constants: tuple[int, ...] | None = None
        self.random = 0
        self._rest = 0

    def pass_time(self, seconds: int) -> None:
        self.unix_s += seconds
        if self.flows():
            self._rest += self.watts * seconds * IMP_PER_KWH
            pulses = 0 if self.pulses_cut else self._rest // 3_600_000
            if self.backwards:
                self.exported += pulses
            else:
                self.imported += pulses
            self._rest %= 3_600_000

    def flows(self) -> bool:
        return bool(self.watts and (self.closed or self.bypassed))

    def pulses(self) -> "tuple[int, int]":
        return self.imported, self.exported

    def contact(self) -> int:
        if self.blind:
            return states.CONTACT_UNKNOWN
        return states.CONTACT_CLOSED if self.closed else states.CONTACT_OPEN

    def load_ma(self) -> int:
        return self.watts * 10_000 // self.nominal_dv if self.flows() else 0

    def voltage_dv(self) -> int:
        return self.voltage

    def power_w(self) -> int:
        return self.watts if self.flows() else 0

    def quantities(self) -> "tuple[tuple[int, ...], ...]":
        if not self.measures:
            return ()
        sign = -1 if self.backwards else 1
        return ((self.voltage, self.load_ma(), sign * self.power_w(), sign * 1000, 5000),)

    def inputs(self) -> int:
        return self.input_bits

    def calibrate(self, constants: "tuple[int, ...]") -> None:
        self.constants = constants

    def coil(self, close: bool) -> None:
        self.coils.append((self.unix_s, close))
        if self.stuck is None:
            self.closed = close

    def rtc(self) -> "tuple[int, bool]":
        return self.unix_s, self.clock_valid

    def set_rtc(self, unix_s: int) -> None:
        self.unix_s = unix_s
        self.clock_valid = True

    def entropy(self, count: int) -> bytes:
        self.random += 1
        return hashlib.sha256(str(self.random).encode()).digest()[:count]

    def witness(self) -> int:
        return self.kept_witness

    def set_witness(self, value: int) -> None:
        assert value >= self.kept_witness, "the witness only rises"
        self.kept_witness = value

    def indicate(self, what: int, seconds: int) -> None:
        self.shown.append((what, seconds))
