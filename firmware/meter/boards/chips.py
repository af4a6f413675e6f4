"""A board that is made of chips: their drivers, put together behind `meter.ports`. The board files choose the parts."""

from meter.ports import (
    INPUT_NEUTRAL_MISSING,
    UNKNOWN_DC,
    UNKNOWN_DV,
    UNKNOWN_W,
    Board,
)
from meterlink import states

_NO_READING = (0, 0, 0, 0, 0)
_ALIVE_MA = 100  # a current that says that there is a voltage


class Parts:
    """What a board is put together of.

    flash: block device of the meter's partition · chip: metering (`drivers.atm90e26`, `bl0942`, `pulse_meter`) · clock:
    `drivers.pcf8563` · witness: `drivers.fram` · relay: `TwoCoils` of the port · pulse_out: `PulseOut` of the port ·
    load_side: pin, 0 = voltage behind the contact · inputs: ((pin, level that counts, ports.INPUT_*), …) · entropy:
    `drivers.entropy` · thermometer: `drivers.lm75` · reset(): starts the board again.
    """

    def __init__(
        self, flash, chip, clock, witness, relay, pulse_out, load_side, inputs, entropy, thermometer, reset
    ) -> None:
        self.flash = flash
        self.chip = chip
        self.clock = clock
        self.witness = witness
        self.relay = relay
        self.pulse_out = pulse_out
        self.load_side = load_side
        self.inputs = inputs
        self.entropy = entropy
        self.thermometer = thermometer
        self.reset = reset


class ChipBoard(Board):
    """See `meter.ports`. mono_s: seconds since the start, moved by `shell.seconds` · pressed: set by whoever watches a
    reconnection key."""

    def __init__(self, parts: Parts) -> None:
        super().__init__(parts.flash)
        self._parts = parts
        self.mono_s = 0
        self.pressed = False

    async def refresh(self) -> None:
        """A second's reading of the metering chip."""
        await self._parts.chip.read()

    def take_answer(self, heap_used: int, heap_peak: int) -> None:
        """The simulator's conversation: a board has none."""

    def take_reconnect_key(self) -> bool:
        """Whether the reconnection key was pressed since the last call."""
        pressed, self.pressed = self.pressed, False
        return pressed

    # -- metering ------------------------------------------------------------------------------------------------------

    def _measured(self) -> bool:
        return self._parts.chip.measures and self._parts.chip.ready

    def pulses(self) -> "tuple[int, int]":
        return self._parts.chip.imported, self._parts.chip.exported

    def load_ma(self) -> int:
        return self._parts.chip.current_ma if self._measured() else 0

    def voltage_dv(self) -> int:
        return self._parts.chip.voltage_dv if self._measured() else UNKNOWN_DV

    def power_w(self) -> int:
        return abs(self._parts.chip.power_w) if self._measured() else UNKNOWN_W

    def quantities(self) -> "tuple[tuple[int, ...], ...]":
        chip = self._parts.chip
        if not chip.measures:
            return ()
        if not chip.ready:
            return (_NO_READING,)
        return ((chip.voltage_dv, chip.current_ma, chip.power_w, chip.power_factor, chip.frequency_chz),)

    def chip_silent(self) -> bool:
        return not self._parts.chip.ready

    def temperature_dc(self) -> int:
        thermometer = self._parts.thermometer
        return thermometer.temperature_dc() if thermometer else UNKNOWN_DC

    def calibrate(self, constants: "tuple[int, ...]") -> None:
        self._parts.chip.calibrate(constants)

    def pulse_out(self, count: int) -> None:
        self._parts.pulse_out.give(count)

    # -- supply --------------------------------------------------------------------------------------------------------

    def contact(self) -> int:
        """Voltage behind the contact: closed. None there says open where there is voltage before it."""
        if not self._parts.load_side.value():
            return states.CONTACT_CLOSED
        voltage_dv = self.voltage_dv()
        if voltage_dv == UNKNOWN_DV or voltage_dv * 2 >= self.nominal_dv:
            return states.CONTACT_OPEN
        return states.CONTACT_UNKNOWN

    def coil(self, close: bool) -> None:
        self._parts.relay.coil(close)

    def inputs(self) -> int:
        found = 0
        for pin, level, bit in self._parts.inputs:
            if pin.value() == level:
                found |= bit
        if self._measured() and self.voltage_dv() * 4 < self.nominal_dv and self.load_ma() > _ALIVE_MA:
            found |= INPUT_NEUTRAL_MISSING
        return found

    # -- what is kept --------------------------------------------------------------------------------------------------

    def rtc(self) -> "tuple[int, bool]":
        return self._parts.clock.rtc()

    def set_rtc(self, unix_s: int) -> None:
        self._parts.clock.set_rtc(unix_s)

    def witness(self) -> int:
        return self._parts.witness.witness()

    def set_witness(self, value: int) -> None:
        self._parts.witness.set_witness(value)

    def entropy(self, count: int) -> bytes:
        return self._parts.entropy.entropy(count)

    def restart(self) -> None:
        self._parts.reset()
