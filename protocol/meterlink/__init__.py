"""meterlink: the contract that a meter and a head end share.

Everything here runs unchanged on CPython and on MicroPython, has no I/O, no clock and no randomness, and imports
nothing but what MicroPython has. Integers only: money in micro-currency (``_uc``), energy in watt-hours (``_wh``),
time in seconds since 1970 UTC (``_s``). Everything on the wire is big-endian. `docs/protocol.md` is the same in prose.
"""

PROTOCOL_VERSION = 1
