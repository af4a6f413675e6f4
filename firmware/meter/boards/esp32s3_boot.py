"""The boot stage of the ESP32-S3 board: starts the image whose turn it is, else the application that is frozen beside
it. `main.py` of the frozen image calls `start()`.

It is no part of any image and never updated. Of what it starts it knows the name of the module, its function
`run(slot)`, and the record of `meter.slots`.
"""

import gc
import sys

import machine
import vfs

from meter.boards.esp32s3_slots import open_slots

_IMAGE = "/image"
_APP = "meter.boards.esp32s3_main"


def start() -> None:
    """Start; never returns. An image that cannot be loaded ends its try; one that is not what was armed never runs."""
    slots = open_slots()
    slot = slots.choose() if slots else 0
    app = None
    if slots and slot:
        try:
            if slots.genuine(slot):
                app = _load(slots.image(slot))
        except Exception as error:  # noqa: BLE001 - whatever a damaged image raises
            print("boot: slot {}: {}".format(slot, error))
        if not app and slots.trial:
            machine.reset()  # the next start counts, and the last one rolls back
    if not app:
        slot = 0
        app = _module()
    app.run(slot)


def _load(image: "memoryview | bytearray"):
    """The main module of an image."""
    vfs.mount(vfs.VfsRom(image), _IMAGE)  # type: ignore[attr-defined]  # the stub does not know it
    path = list(sys.path)
    sys.path.insert(0, _IMAGE)
    try:
        return _module()
    except BaseException:
        sys.path[:] = path
        raise


def _module():
    """The application's main module, with nothing in memory that was loaded before."""
    for name in list(sys.modules):
        if name.partition(".")[0] in ("meter", "meterlink"):
            del sys.modules[name]
    gc.collect()
    return __import__(_APP, None, None, ("run",))
