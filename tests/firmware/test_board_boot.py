"""The boot stage of the ESP32-S3 on real MicroPython: an image on trial, a damaged one, one that was exchanged."""

import pytest

from metersim import romfs
from tests import upyhost

APP = "def run(slot):\n    print('image', slot)\n"
BROKEN = "raise ValueError('broken')\n"
PROGRAM = """
import sys
sys.path[:0] = {folders}
from tests.firmware.chips import ports
ports.install()
import esp32, machine
from metersim.flash import NorFlash
from meter.slots import SECTOR_BYTES, TOTAL_SECTORS
from meter.boards import esp32s3_slots
from meter.boards import esp32s3_main
esp32.Partition.table["romfs"] = flash = NorFlash(TOTAL_SECTORS)
slots = esp32s3_slots.open_slots()
image = {image!r}
for at in range(0, len(image), SECTOR_BYTES):
    slots.program(1, at, image[at : at + SECTOR_BYTES])
slots.arm(1)
{then}
from meter.boards import esp32s3_boot
load = esp32s3_boot._module
class BuiltIn:
    def run(self, slot):
        print("built in", slot)
def module():
    return load() if "/image" in sys.path else BuiltIn()
esp32s3_boot._module = module
for start in range({starts}):
    try:
        esp32s3_boot.start()
    except machine.Reset:
        print("reset")
    if "/image" in sys.path:
        sys.path.remove("/image")
        import vfs
        vfs.umount("/image")
"""
FOLDERS = [str(upyhost.ROOT / folder) for folder in ("protocol", "firmware", "simulator", "")]


def boots(app: str, then: str = "", starts: int = 1) -> list[str]:
    files = {
        "meter/__init__.py": b"",
        "meter/boards/__init__.py": b"",
        "meter/boards/esp32s3_main.py": app.encode(),
    }
    image = romfs.image(files, ("manifest", bytes(64)), 16)
    code = PROGRAM.format(folders=FOLDERS, image=image, then=then, starts=starts)
    return [line for line in upyhost.run(code).stdout.splitlines() if not line.startswith("boot:")]


def test_an_image_on_trial_is_started() -> None:
    assert boots(APP) == ["image 1"]


@pytest.mark.parametrize(
    ("app", "then"),
    [
        (BROKEN, ""),
        (APP, "flash.data[2 * SECTOR_BYTES + 40] ^= 1"),  # exchanged after it was armed
        (APP, "esp32.NVS.blobs.clear()"),
    ],
)
def test_an_image_that_cannot_run_is_tried_three_times_and_given_up(app: str, then: str) -> None:
    assert boots(app, then, starts=5) == ["reset", "reset", "reset", "built in 0", "built in 0"]


def test_a_good_image_that_was_exchanged_never_runs_again() -> None:
    then = "slots.choose(); slots.mark_good(); flash.data[2 * SECTOR_BYTES + 40] ^= 1"
    assert boots(APP, then, starts=2) == ["built in 0", "built in 0"]
