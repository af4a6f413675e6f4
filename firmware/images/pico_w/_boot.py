"""Mounts the file system, which ends where the meter's partition begins (`meter.boards.pico_w.partition`)."""

import rp2
import vfs

from meterlink.flashmap import SECTOR_BYTES, TOTAL_SECTORS

_sectors = rp2.Flash().ioctl(4, 0) - TOTAL_SECTORS
_flash = rp2.Flash(start=0, len=_sectors * SECTOR_BYTES)
try:
    _files = vfs.VfsLfs2(_flash, progsize=256)
except OSError:
    vfs.VfsLfs2.mkfs(_flash, progsize=256)
    _files = vfs.VfsLfs2(_flash, progsize=256)
vfs.mount(_files, "/")
