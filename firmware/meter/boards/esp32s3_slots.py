"""The two places for images on the ESP32-S3: the partition `romfs`, which MicroPython maps into memory.

What lies there is outside secure boot and the hardware's encryption. So the SHA-256 of an image is kept in the NVS
partition, which is encrypted on a sealed board, when it is armed, which is after the core has found it to be what the
root key ordered. The boot stage starts nothing else.
"""

import hashlib

import esp32
import vfs

from meter.slots import TOTAL_SECTORS, Slots

PARTITION = "romfs"
_HASH_BYTES = 32
_GET_SEGMENT = 2  # of vfs.rom_ioctl


class GenuineSlots(Slots):
    """See `meter.slots`."""

    def arm(self, slot: int) -> None:
        """Have the next start try a slot, with what lies in it now."""
        nvs = esp32.NVS("openprepay")
        nvs.set_blob(_name(slot), hashlib.sha256(self.image(slot)).digest())
        nvs.commit()
        super().arm(slot)

    def genuine(self, slot: int) -> bool:
        """Whether a slot holds what it held when it was armed."""
        kept = bytearray(_HASH_BYTES)
        try:
            esp32.NVS("openprepay").get_blob(_name(slot), kept)
        except OSError:
            return False
        image = self.image(slot)
        return len(image) > 0 and hashlib.sha256(image).digest() == kept


def _name(slot: int) -> str:
    return "slot{}".format(slot)


def open_slots(running: int = 0) -> "GenuineSlots | None":
    """The places; None where the partition table has none that is large enough. running: slot that this program was
    started from."""
    found = esp32.Partition.find(esp32.Partition.TYPE_DATA, label=PARTITION)
    if not found or (found[0].ioctl(4, 0) or 0) < TOTAL_SECTORS:
        return None
    return GenuineSlots(found[0], running, _mapped())


def _mapped() -> "memoryview | None":
    """The partition as memory."""
    ioctl = getattr(vfs, "rom_ioctl", None)
    segment = ioctl(_GET_SEGMENT, 0) if ioctl else None
    return memoryview(segment) if segment is not None and not isinstance(segment, int) else None
