"""Puts models in place of a port's modules, so that its drivers can be imported: `install()` before the import."""

import sys

from tests.firmware.chips import esp32, rp2


def install():
    """Make `import esp32` and `import rp2` find the models."""
    sys.modules["esp32"] = esp32
    sys.modules["rp2"] = rp2
