"""The virtual board: physics of one metering point, seen by the firmware through the board port (`meter.ports`).

Time moves only by `advance`. The contact follows the coil unless a fault holds it; current flows when the contact is
closed (or bypassed) and mains is there; pulses come from exactly the energy that flowed. Integers throughout, so
equal inputs give equal runs.
"""

import random
from collections.abc import Callable

from meter.ports import Board
from meterlink import flashmap, states
from metersim.flash import NorFlash
from metersim.load import Constant, Load

NOMINAL_DV = 2300
MWS_PER_KWH = 3_600_000_000  # milliwatt-seconds

FAULT_WELDED = "welded"  # the contact does not open
FAULT_STUCK_OPEN = "stuck_open"  # the contact does not close
FAULT_BYPASS = "bypass"  # current flows round an open contact
FAULT_NO_SENSE = "no_sense"  # the contact sense is dead
FAULT_PULSES = "pulses"  # the pulse line is cut
FAULT_REVERSED = "reversed"  # supply and load are exchanged: what the household draws is counted as export
FAULTS = (FAULT_WELDED, FAULT_STUCK_OPEN, FAULT_BYPASS, FAULT_NO_SENSE, FAULT_PULSES, FAULT_REVERSED)


class VirtualBoard(Board):
    """One metering point.

    load: what the household wants to draw · start_s: UTC second at which the RTC starts · imp_per_kwh: of the pulse
    output · seed: of `entropy` · flash: a block device (default: a blank NOR flash of the firmware's size).

    May be set at any time: mains, supply_dv (1/10 V), temperature (1/10 °C), input_bits (ports.INPUT_*), power_factor
    (1/1000), frequency_chz (1/100 Hz), faults.
    """

    board_class = 1
    name = "unix"

    def __init__(
        self,
        load: Load | None = None,
        start_s: int = 1_767_225_600,
        imp_per_kwh: int = 1600,
        seed: int = 0,
        flash: NorFlash | None = None,
        flash_sectors: int = flashmap.TOTAL_SECTORS,
    ) -> None:
        self.load = load or Constant(0)
        self.imp_per_kwh = imp_per_kwh
        super().__init__(flash if flash is not None else NorFlash(flash_sectors))
        self.mains = True
        self.supply_dv = NOMINAL_DV
        self.temperature = 250
        self.input_bits = 0
        self.power_factor = 1000
        self.frequency_chz = 5000
        self.faults: set[str] = set()
        self.closed = True
        self.energy_mws = 0  # true energy that flowed, the reference for every test
        self.true_s = start_s
        self.mono_s = 0
        self.coil_log: list[tuple[int, bool]] = []
        self.indications: list[tuple[int, int]] = []
        self.pulses_out = 0  # given at the test output since power came
        self.on_coil: Callable[[bool], None] | None = None
        self._random = random.Random(seed)
        self._pulse_rest = 0
        self._import_count = 0
        self._export_count = 0
        self._rtc_offset_s = 0
        self._rtc_valid = True
        self._witness = 0
        self._reconnect_pressed = False

    # -- physics ---------------------------------------------------------------------------------------------------

    def flows(self) -> bool:
        """Whether current can flow to the load."""
        return self.mains and (self.closed or FAULT_BYPASS in self.faults)

    def advance(self, seconds: int = 1) -> None:
        """Let time pass, second by second as far as the load changes: energy flows and pulses are counted."""
        while seconds > 0:
            # A load is constant within a quarter of an hour at most; short steps are exact for every load.
            step_s = min(seconds, 60 - self.true_s % 60)
            if self.flows():
                self._flow(self.load.watts(self.true_s) * 1000 * step_s)
            self.true_s += step_s
            self.mono_s += step_s
            seconds -= step_s

    def _flow(self, energy_mws: int) -> None:
        self.energy_mws += energy_mws
        pulses, self._pulse_rest = divmod(self._pulse_rest + energy_mws * self.imp_per_kwh, MWS_PER_KWH)
        if FAULT_PULSES in self.faults:
            return
        if FAULT_REVERSED in self.faults:
            self._export_count += pulses
        else:
            self._import_count += pulses

    def lose_power(self) -> None:
        """Mains fails: the hardware counter and everything volatile is gone; the RTC runs on its battery."""
        self.mains = False
        self._import_count = 0
        self._export_count = 0
        self.pulses_out = 0
        self._reconnect_pressed = False

    def restore_power(self) -> None:
        """Mains returns; the firmware is to be started again by whoever runs it."""
        self.mains = True
        self.mono_s = 0

    def reset(self) -> None:
        """The processor starts anew under power: its counters begin at 0, the relay stays."""
        self._import_count = 0
        self._export_count = 0
        self.mono_s = 0

    def press_reconnect(self) -> None:
        """The customer presses the reconnection key."""
        self._reconnect_pressed = True

    def take_key(self) -> bool:
        """Whether the reconnection key was pressed since the last call."""
        pressed, self._reconnect_pressed = self._reconnect_pressed, False
        return pressed

    def stop_clock(self) -> None:
        """The RTC's oscillator stops: its time is no longer valid until it is set."""
        self._rtc_valid = False

    # -- board port --------------------------------------------------------------------------------------------------

    def pulses(self) -> tuple[int, int]:
        return self._import_count, self._export_count

    def contact(self) -> int:
        if FAULT_NO_SENSE in self.faults:
            return states.CONTACT_UNKNOWN
        return states.CONTACT_CLOSED if self.closed else states.CONTACT_OPEN

    def load_ma(self) -> int:
        return self.power_w() * 10_000 // NOMINAL_DV

    def voltage_dv(self) -> int:
        return self.supply_dv if self.mains else 0

    def power_w(self) -> int:
        return self.load.watts(self.true_s) if self.flows() else 0

    def quantities(self) -> tuple[tuple[int, ...], ...]:
        sign = -1 if FAULT_REVERSED in self.faults else 1
        power_w = sign * self.power_w()
        return ((self.voltage_dv(), self.load_ma(), power_w, sign * self.power_factor, self.frequency_chz),)

    def inputs(self) -> int:
        return self.input_bits

    def temperature_dc(self) -> int:
        return self.temperature

    def coil(self, close: bool) -> None:
        self.coil_log.append((self.true_s, close))
        if close and FAULT_STUCK_OPEN not in self.faults:
            self.closed = True
        if not close and FAULT_WELDED not in self.faults:
            self.closed = False
        if self.on_coil:
            self.on_coil(close)

    def rtc(self) -> tuple[int, bool]:
        return self.true_s + self._rtc_offset_s, self._rtc_valid

    def set_rtc(self, unix_s: int) -> None:
        self._rtc_offset_s = unix_s - self.true_s
        self._rtc_valid = True

    def entropy(self, count: int) -> bytes:
        return self._random.randbytes(count)

    def witness(self) -> int:
        return self._witness

    def set_witness(self, value: int) -> None:
        self._witness = value

    def indicate(self, what: int, seconds: int) -> None:
        self.indications.append((what, seconds))

    def pulse_out(self, count: int) -> None:
        self.pulses_out += count
