"""metersim: meters without hardware, running the same firmware files as the real ones.

The physics (load, relay, contact, current, pulses, mains, RTC, flash) is a `VirtualBoard`; the firmware sees it
through the board port of `meter.ports`. A meter runs in this process on CPython (`inprocess`, thousands on one
virtual clock) or as a child process on real MicroPython (`child`, with a pty as RS-485 and TCP to the broker). May
import meter and meterlink; never headend.
"""
