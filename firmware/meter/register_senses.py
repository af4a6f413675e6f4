"""Blocks and files of what the meter senses: energy by rate, calibration, quantities and their last 60 minutes."""

from meter.quantities import MINUTE_LENGTH, QUANTITIES
from meterlink.registers import MAX_PHASES

_ABSENT = (0,) * QUANTITIES
_NO_SPREAD = (0,) * (3 * QUANTITIES)


def energy(meter) -> tuple:
    """Committed registers by rate, and calibration."""
    calibration = meter.senses.calibration
    inputs = meter.senses.tamper.word
    return (
        meter.committed()[17:25]
        + (calibration.changes,)
        + tuple(calibration.constants[1:])
        + (inputs, meter.senses.metering.found)
    )


def quantities(meter) -> tuple:
    """As last measured, and minimum, maximum and average of the last whole interval, phase by phase."""
    measured = meter.senses.quantities
    phases = len(measured.now)
    values: tuple = (phases, measured.minutes)
    for phase in range(MAX_PHASES):
        values += measured.now[phase] if phase < phases else _ABSENT
    values += (measured.last_start_s,)
    for phase in range(MAX_PHASES):
        values += measured.last[phase] if phase < phases else _NO_SPREAD
    return values


def minute(meter, record: int, count: int, out: memoryview, offset: int) -> bool:
    """One phase of a whole minute: record = phase * 60 + minutes back from the last one; whether it is kept."""
    phase, back = divmod(record, 60)
    found = meter.senses.quantities.kept(back, phase)
    if found is None or 2 * count != MINUTE_LENGTH:
        return False
    out[offset : offset + MINUTE_LENGTH] = found
    return True
