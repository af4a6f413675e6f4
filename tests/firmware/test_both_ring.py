"""The ring of records: order, guarantee, mounting, damage. Runs on CPython and on MicroPython."""

import struct
from binascii import crc32

from meter.ring import Ring
from meter.sectors import DAMAGED, FRESH, OK, StorageError
from metersim.flash import NorFlash, PowerCut

SECTORS = 4
SECTOR_BYTES = 256
FIRST = 1
SIZE = 24
SLOTS = 10


def pack(seq):
    body = struct.pack(">IQQ", seq, seq * 7, seq * 11)
    return body + struct.pack(">I", crc32(body))


def check(record):
    if struct.unpack_from(">I", record, SIZE - 4)[0] != crc32(bytes(record[: SIZE - 4])):
        return None
    return struct.unpack_from(">I", record, 0)[0]


def new_flash():
    return NorFlash(SECTORS + 2, SECTOR_BYTES, unit_bytes=8)


def new_ring(flash, ahead=0):
    return Ring(flash, FIRST, SECTORS, SIZE, check, ahead)


def boot(flash, ahead=0):
    ring = new_ring(flash, ahead)
    ring.mount()
    return ring


def held(ring, low, high):
    """The sequence numbers of low..high that can be read."""
    buf = bytearray(SIZE)
    found = []
    for seq in range(low, high + 1):
        if ring.read_into(seq, buf):
            assert buf == pack(seq)
            found.append(seq)
    return found


def refused(error, action, *args):
    try:
        action(*args)
    except error:
        return True
    return False


def test_a_fresh_ring_is_empty_and_mounting_writes_nothing():
    flash = new_flash()
    ring = new_ring(flash)
    assert ring.mount() == FRESH
    assert (ring.newest, ring.oldest) == (-1, -1) and not ring.read_into(0, bytearray(SIZE))
    assert flash.ops == 0 and ring.slots == SLOTS


def test_records_are_there_after_a_boot_at_every_length():
    flash = new_flash()
    ring = boot(flash)
    for seq in range(1, 121):
        assert ring.append(pack(seq)) == seq
        for one in (ring, boot(flash)):
            assert one.newest == seq
            assert one.oldest <= max(1, seq - one.guaranteed + 1)
            assert held(one, 0, seq + 3) == list(range(one.oldest, seq + 1))
    assert new_ring(flash).mount() == OK
    assert max(flash.erases) - min(flash.erases[FIRST:-1]) <= 1 and flash.erases[0] == flash.erases[-1] == 0
    assert ring.generation + 1 == sum(flash.erases)


def test_the_guarantee_is_kept_when_erasing_ahead():
    for ahead in (0, 3, SLOTS - 1):
        flash = new_flash()
        ring = boot(flash, ahead)
        fewest = 1000
        for seq in range(1, 200):
            while ring.erase_due():
                ring.erase_step()
            if seq > ring.guaranteed:
                fewest = min(fewest, ring.newest - ring.oldest + 1)
            before = sum(flash.erases)
            ring.append(pack(seq))
            assert sum(flash.erases) == before, "no append erases when the step is taken in time"
        assert fewest == ring.guaranteed == (SECTORS - 1) * SLOTS - ahead
        assert boot(flash, ahead).newest == 199


def test_a_sector_erased_ahead_is_not_erased_again_after_a_boot():
    flash = new_flash()
    for seq in range(1, 60):
        ring = boot(flash, 2)
        while ring.erase_due():
            ring.erase_step()
        assert not boot(flash, 2).erase_due()
        ring.append(pack(seq))
    assert sum(flash.erases) - boot(flash).generation in (1, 2)


def test_what_is_not_a_newer_valid_record_is_refused():
    flash = new_flash()
    ring = boot(flash)
    ring.append(pack(5))
    before = bytes(flash.data)
    for record in (pack(5), pack(4), bytes(SIZE), b"\xff" * SIZE, pack(6)[:-8]):
        assert refused((ValueError), ring.append, record), record
    assert bytes(flash.data) == before


def test_gaps_in_the_sequence():
    flash = new_flash()
    ring = boot(flash)
    sequence = [1, 2, 9, 10, 11, 400, 401, 402, 403, 1000, 1001, 1002, 5000]
    for seq in sequence:
        ring.append(pack(seq))
    for one in (ring, boot(flash)):
        assert held(one, 0, 5010) == sequence
        assert (one.oldest, one.newest) == (1, 5000)
    before = flash.reads
    assert not one.read_into(4999, bytearray(SIZE)) and flash.reads - before < 5, "blank slots are not searched"


def test_a_torn_slot_is_left_behind():
    flash = new_flash()
    ring = boot(flash)
    for seq in range(1, 5):
        ring.append(pack(seq))
    for torn in (25, 50, 75, "bit", 0):
        flash.cut_at(flash.ops + 1, torn)
        assert refused(PowerCut, ring.append, pack(5))
        flash.power_on()
        ring = boot(flash)
        assert ring.newest == 4 and held(ring, 0, 9) == [1, 2, 3, 4]
    for seq in range(5, 60):
        ring.append(pack(seq))
        ring = boot(flash)
        assert held(ring, 0, 60) == list(range(ring.oldest, seq + 1))


def test_a_decayed_record_is_missing_and_the_others_are_there():
    flash = new_flash()
    ring = boot(flash)
    for seq in range(1, 16):
        ring.append(pack(seq))
    flash.flip((FIRST * SECTOR_BYTES + 16 + 3 * SIZE + 7) * 8)
    ring = boot(flash)
    assert held(ring, 0, 20) == [1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]
    assert ring.damaged_sectors == 0
    flash.flip((FIRST * SECTOR_BYTES + 1) * 8)  # one copy of a header
    assert len(held(boot(flash), 0, 20)) == 14
    flash.flip((FIRST * SECTOR_BYTES + 9) * 8)  # and the other
    ring = new_ring(flash)
    assert ring.mount() == DAMAGED and ring.damaged_sectors == 1
    assert held(ring, 0, 20) == [11, 12, 13, 14, 15]
    assert ring.append(pack(16)) == 16


def test_the_newest_record_decayed_is_not_written_over():
    flash = new_flash()
    ring = boot(flash)
    for seq in range(1, 4):
        ring.append(pack(seq))
    flash.flip((FIRST * SECTOR_BYTES + 16 + 2 * SIZE) * 8)
    ring = boot(flash)
    assert ring.newest == 2
    ring.append(pack(4))
    assert held(boot(flash), 0, 9) == [1, 2, 4]


def test_records_that_cannot_be_are_not_taken():
    """A short check passes once in a while for what a torn erase left: that must not move the sequence."""
    flash = new_flash()
    ring = boot(flash)
    for seq in range(1, 66):
        ring.append(pack(seq))  # sector 0 holds 41.., 1 51.., 2 61..65, 3 31..
    right = held(ring, 0, 99)
    assert right == list(range(31, 66))
    whole = bytes(flash.data)
    for sector, slot, forged in ((3, 0, 4000000000), (3, 4, 4000000000), (3, 0, 60), (0, 0, 4000000000), (2, 4, 7)):
        at = (FIRST + sector) * SECTOR_BYTES + 16 + slot * SIZE
        flash.data[at : at + SIZE] = pack(forged)
        after = boot(flash)
        assert after.newest == (64 if sector == 2 else 65)
        assert len(held(after, 0, 99)) >= len(right) - (SLOTS if slot == 0 else 1), (sector, slot, forged)
        assert after.append(pack(66)) == 66
        flash.data[:] = whole


def test_a_sector_of_an_earlier_turn_is_not_taken():
    flash = new_flash()
    ring = boot(flash)
    for seq in range(1, 46):
        ring.append(pack(seq))
    earlier = bytes(flash.data[(FIRST + 1) * SECTOR_BYTES : (FIRST + 2) * SECTOR_BYTES])
    for seq in range(46, 76):
        ring.append(pack(seq))
    flash.data[(FIRST + 1) * SECTOR_BYTES : (FIRST + 2) * SECTOR_BYTES] = earlier
    ring = new_ring(flash)
    assert ring.mount() == DAMAGED
    assert held(ring, 0, 99) == list(range(41, 51)) + list(range(61, 76))


def test_foreign_content_is_damage_and_is_written_over():
    flash = new_flash()
    for sector in range(FIRST, FIRST + SECTORS):
        flash.writeblocks(sector, bytes(SECTOR_BYTES), 0)
    ring = new_ring(flash)
    assert ring.mount() == DAMAGED and ring.newest == -1
    for seq in range(1, 60):
        ring.append(pack(seq))
    assert new_ring(flash).mount() == OK
    assert boot(flash).newest == 59


def test_records_of_another_size_are_not_taken():
    flash = new_flash()
    ring = boot(flash)
    ring.append(pack(1))
    other = Ring(flash, FIRST, SECTORS, 16, lambda record: 3)
    assert other.mount() == FRESH and other.newest == -1


def test_a_slot_that_fails_once_costs_no_record():
    flash = new_flash()
    ring = boot(flash)
    ring.append(pack(1))
    flash.wear_out(FIRST, 1)
    ring.append(pack(2))
    assert held(boot(flash), 0, 9) == [1, 2]


def test_a_flash_that_does_not_program_is_a_named_error_and_stays_readable():
    flash = new_flash()
    ring = boot(flash)
    ring.append(pack(1))
    for sector in range(FIRST, FIRST + SECTORS):
        flash.wear_out(sector)
    for _ in range(30):
        assert refused(StorageError, ring.append, pack(2))
        assert ring.newest == 1 and held(ring, 0, 9) == [1]
    assert held(boot(flash), 0, 9) == [1]


def test_a_device_that_is_too_small_is_refused():
    flash = new_flash()
    assert refused(ValueError, Ring, flash, FIRST, SECTORS + 2, SIZE, check)
    assert refused(ValueError, Ring, flash, FIRST, 1, SIZE, check)
    assert refused(ValueError, Ring, flash, FIRST, 4, 20, check)
