"""Puts models in place of a port's modules, so that its drivers can be imported: `install()` before the import."""

import sys
import time

from tests.firmware.chips import esp32, machine, network, rp2


def install():
    """Make `import esp32`, `import machine`, `import network` and `import rp2` find the models."""
    for name, model in (("esp32", esp32), ("machine", machine), ("network", network), ("rp2", rp2)):
        sys.modules[name] = model
    if not hasattr(time, "ticks_us"):  # CPython
        from tests.firmware.chips import cpython

        time.ticks_us = lambda: time.monotonic_ns() // 1000
        time.sleep_us = lambda us: None
        sys.modules["cryptolib"] = sys.modules["vfs"] = cpython
