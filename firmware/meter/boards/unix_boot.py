"""The boot stage of the unix port: ``micropython -m meter.boards.unix_boot app=FOLDER slots=FILE name=value …``

It asks `meter.slots` which image to start, mounts it (a ROMFS) as /image, and starts `meter.boards.unix_main` from
there with the options behind, slots= and running=SLOT. Slot 0, and what is started where a good image cannot be read
any more, is the firmware in app=FOLDER, which stands for the one that is built in. The boot stage is no part of any
image: it is never updated, shares no object with what it starts, and knows no more of it than the name of that module,
its functions `main` and `options`, and the record of `meter.slots`.

Exit code RESTART asks whoever started this process to start it again, as a reset does on a board: an image is on trial
from now on, or it was rolled back, or it has stumbled.
"""

import asyncio
import gc
import sys

from meter.boards.fileflash import FileFlash
from meter.slots import TOTAL_SECTORS, Slots

RESTART = 85
_IMAGE = "/image"


def start(arguments: "list[str]") -> None:
    """Start the image whose turn it is; SystemExit at its end. The first two arguments are app= and slots=."""
    built_in, path = [one.partition("=")[2] for one in arguments[:2]]
    slots = Slots(FileFlash(path, TOTAL_SECTORS, durable=False))
    slot = slots.choose()
    print("boot: slot {}{}".format(slot, ", on trial, start {}".format(slots.tries) if slots.trial else ""))
    try:
        if slot:
            _mount(slots.image(slot))
        app = _load(_IMAGE if slot else built_in)
    except Exception as error:  # noqa: BLE001 - whatever an image that is damaged raises
        _tell(error)
        if slots.trial or not slot:
            raise SystemExit(RESTART)
        slot = 0
        app = _load(built_in)
    try:
        asyncio.run(app.main(app.options(arguments[1:] + ["running={}".format(slot)])))
    except Exception as error:  # noqa: BLE001 - whatever the application raises
        _tell(error)
        raise SystemExit(RESTART)


def _mount(image: "memoryview | bytearray") -> None:
    from vfs import VfsRom, mount

    mount(VfsRom(image), _IMAGE)  # type: ignore[abstract]  # the stub takes a device for it


def _load(path: str):
    """The main module of the image that lies there; what was loaded so far is forgotten."""
    for name in list(sys.modules):
        if name.partition(".")[0] in ("meter", "meterlink"):
            del sys.modules[name]
    sys.path[0] = path
    gc.collect()
    return __import__("meter.boards.unix_main", None, None, ("main",))


def _tell(error: Exception) -> None:
    tell = getattr(sys, "print_exception", None)
    if tell:
        tell(error)
    print("boot: {}: {}".format(type(error).__name__, error))


if __name__ == "__main__":
    start(sys.argv[1:])
