"""What a second costs of the heap. Measured on MicroPython; CPython does not tell, there the run alone is checked."""

import gc

from meterlink import flashmap
from tests.firmware.ramboard import RamBoard, Rig

SECOND_BYTES = 640  # on a 64-bit interpreter, whose objects are twice those of a meter
COMMIT_BYTES = 7680


class PlainFlash:
    """NOR flash in one bytearray that takes nothing from the heap but views."""

    def __init__(self):
        self.data = bytearray(b"\xff" * (flashmap.TOTAL_SECTORS * flashmap.SECTOR_BYTES))

    def readblocks(self, block, buf, offset=0):
        at = block * flashmap.SECTOR_BYTES + offset
        buf[:] = memoryview(self.data)[at : at + len(buf)]

    def writeblocks(self, block, buf, offset=0):
        at = block * flashmap.SECTOR_BYTES + offset
        for i in range(len(buf)):
            self.data[at + i] &= buf[i]

    def ioctl(self, op, arg):
        if op == 6:
            for i in range(flashmap.SECTOR_BYTES):
                self.data[arg * flashmap.SECTOR_BYTES + i] = 0xFF
        return {4: flashmap.TOTAL_SECTORS, 5: flashmap.SECTOR_BYTES}.get(op, 0)


def in_use():
    """Bytes of the heap that are in use, rubbish left out; 0 on CPython."""
    if not hasattr(gc, "mem_alloc"):
        return 0
    gc.collect()
    return gc.mem_alloc()


def second(rig):
    """Bytes that one second takes, and whether it committed."""
    rig.board.pass_time(1)
    rig.mono_s += 1
    start = in_use()
    sequence = rig.meter.store.journal.sequence
    gc.disable()
    rig.meter.step(rig.mono_s)
    taken = gc.mem_alloc() - start if start else 0
    gc.enable()
    return taken, rig.meter.store.journal.sequence != sequence


def test_a_second_takes_a_bounded_few_hundred_bytes_and_keeps_none():
    rig = Rig(RamBoard(PlainFlash()), credit_uc=10_000_000_000)
    rig.board.watts = 2000
    rig.run(1000)
    before = in_use()
    seconds = commits = plain_bytes = commit_bytes = 0
    for _ in range(2000):
        taken, committed = second(rig)
        if committed:
            commits += 1
            commit_bytes = max(commit_bytes, taken)
        else:
            seconds += 1
            plain_bytes = max(plain_bytes, taken)
        if rig.meter.erase_due():
            rig.meter.erase_step()
    print("bytes a second: at most", plain_bytes, "with a checkpoint", commit_bytes, "kept", in_use() - before)
    assert seconds > 1000 and commits > 30
    assert plain_bytes <= SECOND_BYTES and commit_bytes <= COMMIT_BYTES
    assert in_use() - before < 512, "nothing is kept"
