"""What the meter senses besides pulses and relay: quantities, agreement of pulses and power, covers, brown-outs."""

from meter.calibration import Calibration
from meter.metering import OK, Metering
from meter.ports import INPUT_SUPPLY_BAD
from meter.quantities import POWER, Quantities
from meter.tamper import Tamper
from meterlink import events, states


class Senses:
    """quantities, metering, tamper, calibration: as they are named · brown_out: supply sags, so nothing is written or
    switched: the last checkpoint went when it began."""

    def __init__(self, meter) -> None:
        self._meter = meter
        self.quantities = Quantities(1)
        self.metering = Metering(meter.note)
        self.tamper = Tamper(meter.note)
        self.calibration = Calibration(meter)
        self.brown_out = False
        self._brown_out_s = 0
        self._seen_wh = 0
        self._inputs = 0
        self._silent = False  # as sensed at the begin of the step,
        self._measured = False
        self._power_w = 0

    def start(self) -> None:
        """The registers are read: count from here."""
        phases = len(self._meter.board.quantities())
        if phases > 1:
            self.quantities = Quantities(phases)
        self._seen_wh = self._energy_wh()

    def step(self, elapsed_s: int) -> None:
        """Sense, at the begin of a second's step."""
        board = self._meter.board
        self._inputs = board.inputs()
        self.tamper.step(self._inputs, elapsed_s)
        phases = board.quantities()
        self._silent = board.chip_silent()
        self._measured = bool(phases)
        if phases and not self._silent:
            self._power_w = 0
            for phase in phases:
                self._power_w += phase[POWER]
            self.quantities.take(phases, self._meter.now_s(), elapsed_s)

    def metered(self, elapsed_s: int) -> None:
        """The energy of that second is counted: hold it against the power; and keep it where supply sags."""
        energy_wh = self._energy_wh()
        counted_wh, self._seen_wh = energy_wh - self._seen_wh, energy_wh
        if self._silent:
            self.metering.silence(elapsed_s)
        elif self._measured:
            plan = self._meter.pricing.active
            exports = plan is not None and bool(plan.export_prices_uc_per_kwh)
            self.metering.step(self._power_w, counted_wh, elapsed_s, exports)
        self._watch_supply(bool(self._inputs & INPUT_SUPPLY_BAD), elapsed_s)

    def _energy_wh(self) -> int:
        return self._meter.energy.import_wh + self._meter.energy.export_wh

    def _watch_supply(self, bad: bool, elapsed_s: int) -> None:
        if self.brown_out:
            self._brown_out_s += elapsed_s
        if bad and not self.brown_out:
            self._meter.power_down()
            self._brown_out_s = 0
        elif self.brown_out and not bad:
            self._meter.note(events.BROWN_OUT, self._brown_out_s)
        self.brown_out = bad

    def alarms(self) -> int:
        """Bits of states.ALARM_*."""
        return (self.metering.found != OK) << states.ALARM_METERING | self.brown_out << states.ALARM_BROWN_OUT
