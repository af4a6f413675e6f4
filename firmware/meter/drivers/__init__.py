"""One file a chip or circuit: what it can do, said in the terms of `meter.ports`.

A driver is given its bus (SPI, I2C, UART or pins, as `machine` makes them) and imports no port's module, but those
whose name ends in a port's. It counts in integers, waits for nothing without a bound, and never raises for what a wire
does: a reading that failed leaves the last one and raises `faults`.
"""
