"""The application on the meter. The files of this folder are its core: synchronous, deterministic, no floats, no I/O.

`shell/` runs it (asyncio, links), `boards/` holds what differs between boards; a driver of a metering chip or the like
goes to `drivers/`, one file each. May import meterlink; the core imports nothing of shell, boards or drivers.
"""
