"""The block of supply: what is meant, what keeps it off, what is armed, limits in force, the relay's life."""

from meterlink import reasons


def supply(meter) -> tuple:
    """In the order of `registers.SUPPLY`."""
    part = meter.supply
    limits, relay = part.limits, part.relay
    return (
        (
            limits.supply_mode,
            part.control,
            relay.contact,
            relay.diagnosis,
            _why(part),
            part.holds,
            part.causes,
        )
        + part.armed()
        + (relay.attempts, relay.operations, meter.board.rated_operations)
        + part.load.in_force()
        + (part.closes_left(0), part.closes_left(1))
        + (limits.max_current_ma, limits.over_voltage_dv, limits.under_voltage_dv)
        + (meter.board.temperature_dc(), limits.max_temperature_dc)
    )


def _why(part) -> int:
    kind, number = part.why()
    if kind == "cause":
        return reasons.OWN + number
    return reasons.BY_KEY if kind == "key" else number
