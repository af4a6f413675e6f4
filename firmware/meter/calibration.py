"""Meter constant and calibration of the metering chip: part of what is legally relevant, changed with the seal open.

A record comes over the service port alone, is refused while the seal switch is closed, and each change is an event
that says how many there were.

Body of a calibration: format 1 | imp_per_kwh 4 (1..1 000 000) | voltage, current, power gain 2 each (1/32768 of the
chip's nominal gain, 16384..65535) | phase 2 (signed, in the chip's steps) | power offset 2 (signed, in the chip's
steps).
"""

import struct

from meter.ports import INPUT_SEAL_OPEN
from meter.store import KEY_CALIBRATION
from meterlink import events, results

FORMAT = 1
NOMINAL = 0x8000
UNCALIBRATED = (0, NOMINAL, NOMINAL, NOMINAL, 0, 0)
_BODY = ">BIHHHhh"
_STATE = ">IHHHhhH"


class Calibration:
    """constants: (imp_per_kwh, 0 = as provisioned; voltage, current, power gain; phase; power offset) · changes: how
    often it was calibrated."""

    def __init__(self, meter) -> None:
        self._meter = meter
        self.constants: "tuple[int, ...]" = UNCALIBRATED
        self.changes = 0

    def load(self) -> None:
        """At a start, before energy is read: from the journal to the chip."""
        raw = self._meter.store.get(KEY_CALIBRATION)
        if raw:
            f = struct.unpack(_STATE, raw)
            self.constants, self.changes = f[:6], f[6]
            self._meter.energy.imp_per_kwh = f[0]
        self._meter.board.calibrate(self.constants)

    def take(self, body: bytes) -> int:
        """Calibrate: results.APPLIED, BAD_BODY, SEALED while the seal is closed, or STORAGE_FAILED; durable before the
        chip is told."""
        meter = self._meter
        if len(body) != struct.calcsize(_BODY) or body[0] != FORMAT:
            return results.BAD_BODY
        constants = struct.unpack(_BODY, body)[1:]
        if not 1 <= constants[0] <= 1_000_000 or min(constants[1:4]) < NOMINAL // 2:
            return results.BAD_BODY
        if not meter.board.inputs() & INPUT_SEAL_OPEN:
            return results.SEALED
        energy = meter.energy
        before = self.constants, self.changes, energy.imp_per_kwh, energy.import_rest, energy.export_rest
        self.constants = constants
        self.changes = min(self.changes + 1, 0xFFFF)
        energy.set_constant(constants[0])
        mark = meter.log.mark()
        meter.note(events.CALIBRATED, constants[0], self.changes)
        if not meter.commit([(KEY_CALIBRATION, struct.pack(_STATE, *constants, self.changes))], True):
            self.constants, self.changes, energy.imp_per_kwh, energy.import_rest, energy.export_rest = before
            meter.log.forget(mark)
            return results.STORAGE_FAILED
        meter.board.calibrate(constants)
        return results.APPLIED
