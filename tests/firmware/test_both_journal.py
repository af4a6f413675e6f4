"""The journal: what it stores, what it says of damage, how it wears. Runs on CPython and on MicroPython."""

from meter.journal import MAX_VALUE, Journal, JournalFull
from meter.sectors import DAMAGED, FRESH, OK, StorageError
from metersim.flash import NorFlash, PowerCut
from tests.powercut import sweep

SECTORS = 5
SECTOR_BYTES = 1024
FIRST = 1


def new_flash(**rules):
    """A flash with one foreign sector on each side of the journal."""
    return NorFlash(SECTORS + 2, SECTOR_BYTES, unit_bytes=8, **rules)


def boot(flash):
    journal = Journal(flash, FIRST, SECTORS)
    journal.mount()
    return journal


def turn_over(journal, commits, key=9, size=100):
    """Drive the head on with commits of one key; its last value."""
    value = b""
    for number in range(commits):
        value = bytes([number & 0xFF]) * size
        journal.commit([(key, value)])
    return value


def refused(error, action, *args):
    try:
        action(*args)
    except error:
        return True
    return False


def test_fresh_flash_has_no_values_and_mounting_writes_nothing():
    flash = new_flash()
    journal = Journal(flash, FIRST, SECTORS)
    assert journal.mount() == FRESH
    assert journal.get(1) is None and journal.sequence == 0 and not journal.doubtful(1) and not journal.torn
    assert flash.ops == 0 and journal.erase_due()


def test_committed_values_are_there_after_a_boot():
    flash = new_flash()
    journal = boot(flash)
    assert journal.commit([(1, b"one"), (2, b""), (0xFFFF, bytes(range(200)))]) == 1
    assert journal.commit([(1, b"ONE")]) == 2
    for one in (journal, boot(flash)):
        assert (one.get(1), one.get(2), one.get(0xFFFF), one.get(3)) == (b"ONE", b"", bytes(range(200)), None)
        assert one.sequence == 2
    assert boot(flash).status == OK


def test_read_into():
    journal = boot(new_flash())
    journal.commit([(1, b"one")])
    buf = bytearray(b"....")
    assert journal.read_into(1, buf) == 3 and buf == b"one."
    assert journal.read_into(2, buf) == -1 and buf == b"one."
    assert refused(ValueError, journal.read_into, 1, bytearray(2))


def test_values_live_on_while_the_log_goes_round():
    flash = new_flash()
    journal = boot(flash)
    journal.commit([(1, b"kept"), (2, b"k" * 90)])
    last = turn_over(journal, 300)
    for one in (journal, boot(flash)):
        assert (one.get(1), one.get(2), one.get(9)) == (b"kept", b"k" * 90, last)
        assert one.sequence == 301 and one.status != DAMAGED and one.lost_records == 0
    assert min(flash.erases[FIRST:-1]) >= 7, flash.erases
    assert max(flash.erases[FIRST:-1]) - min(flash.erases[FIRST:-1]) <= 1, flash.erases
    assert journal.erase_count == boot(flash).erase_count == max(flash.erases)


def test_it_keeps_to_its_sectors():
    flash = new_flash()
    flash.writeblocks(0, b"before  ", 0)
    flash.writeblocks(SECTORS + 1, b"after   ", 0)
    journal = boot(flash)
    turn_over(journal, 100)
    assert flash.data[:8] == b"before  " and flash.data[(SECTORS + 1) * SECTOR_BYTES :][:8] == b"after   "
    assert flash.erases[0] == flash.erases[-1] == 0


def test_a_commit_is_one_program_when_the_steps_are_taken_in_time():
    flash = new_flash()
    journal = boot(flash)
    journal.commit([(1, b"kept" * 10)])
    for number in range(200):
        while journal.erase_due():
            before = flash.ops
            journal.erase_step()
            assert flash.ops - before <= 2, "a step is one erase and its mark, or one record"
        before = flash.ops
        journal.commit([(9, bytes([number]) * 100)])
        assert flash.ops - before == 1
    assert boot(flash).get(1) == b"kept" * 10


def test_a_sector_erased_ahead_is_not_erased_again_after_a_boot():
    flash = new_flash()
    for number in range(120):
        journal = boot(flash)
        while journal.erase_due():
            journal.erase_step()
        assert not boot(flash).erase_due()
        before = sum(flash.erases)
        journal.commit([(9, bytes([number]) * 100)])
        assert sum(flash.erases) == before


def test_what_cannot_be_stored_is_refused_and_changes_nothing():
    flash = new_flash()
    journal = boot(flash)
    journal.commit([(1, b"one")])
    before = bytes(flash.data)
    too_long = [(2, bytes(MAX_VALUE + 1))]
    for items in ([], [(-1, b"")], [(65536, b"")], [(2, b""), (2, b"")], too_long, [(2, bytes(400)), (3, bytes(240))]):
        assert refused(ValueError, journal.commit, items), items
    assert bytes(flash.data) == before and journal.get(1) == b"one" and journal.sequence == 1


def test_a_full_journal_says_so_and_stays_writable():
    journal = boot(new_flash())
    key = 0
    while not refused(JournalFull, journal.commit, [(key, bytes([key]) * 50)]):
        key += 1
    assert key > 3
    for again in range(40):  # what counts is bounded, so the log can always be turned over
        journal.commit([(again % key, bytes([again]) * 50)])
    assert refused(JournalFull, journal.commit, [(key, b"\x00" * 50)])
    assert journal.get(39 % key) == bytes([39]) * 50


def test_largest_values_can_be_turned_over():
    flash = NorFlash(8, 4096, unit_bytes=8)
    journal = Journal(flash, 0, 8)
    journal.mount()
    for number in range(60):
        journal.commit([(number % 3, bytes([number]) * MAX_VALUE)])
    journal = Journal(flash, 0, 8)
    assert journal.mount() == OK
    assert [journal.get(key) for key in range(3)] == [bytes([57 + key]) * MAX_VALUE for key in range(3)]


def test_a_torn_commit_leaves_the_old_values():
    flash = new_flash()
    journal = boot(flash)
    journal.commit([(1, b"old"), (2, b"old")])
    flash.cut_at(flash.ops + 1, 50)
    assert refused(PowerCut, journal.commit, [(1, b"new"), (2, b"new")])
    assert refused(PowerCut, journal.get, 1)
    flash.power_on()
    journal = boot(flash)
    assert journal.torn and journal.status == OK and journal.sequence == 1
    assert (journal.get(1), journal.get(2)) == (b"old", b"old")
    assert journal.commit([(1, b"new")]) == 2
    journal = boot(flash)
    assert (journal.get(1), journal.get(2), journal.status, journal.torn) == (b"new", b"old", OK, False)


def test_a_torn_first_commit_is_a_fresh_journal():
    flash = new_flash()
    journal = boot(flash)

    def check(trial):
        after = boot(trial)
        assert after.status == (OK if after.sequence else FRESH) and after.get(1) in (None, b"one")
        after.commit([(1, b"two")])
        assert boot(trial).get(1) == b"two"

    swept = sweep(flash, lambda flash: journal.commit([(1, b"one")]), check)
    assert swept.operations == 3 and swept.cuts == 15


def test_damage_in_the_log_is_told():
    flash = new_flash()
    journal = boot(flash)
    journal.commit([(1, b"1")])
    hit = FIRST * SECTOR_BYTES + 16 + 24 + 3  # in the second record
    journal.commit([(1, b"2"), (2, b"2")])
    journal.commit([(3, b"3")])
    flash.flip(hit * 8)
    journal = boot(flash)
    assert journal.status == DAMAGED and journal.lost_records == 1 and journal.sequence == 3
    assert journal.get(1) == b"1" and journal.doubtful(1), "an older value is held, and is said to be doubtful"
    assert journal.get(2) is None and journal.doubtful(2)
    assert journal.get(3) == b"3" and not journal.doubtful(3)
    journal.commit([(1, b"4")])
    assert not journal.doubtful(1) and not boot(flash).doubtful(1)


def test_values_are_copied_away_from_damage():
    """Then no later boot tells of it again, and the sector is free to be used."""
    for commits in range(3, 45):  # the damage lies in the head, in the middle, in the oldest sector
        flash = new_flash(lenient=True)
        journal = boot(flash)
        for number in range(commits):
            if number == 1:
                spoiled = (FIRST + journal._head) * SECTOR_BYTES + journal._offset + 20
            journal.commit([(number % 6 if number < 6 else 5, bytes([number]) * 20)])
        flash.flip(spoiled * 8)
        journal = boot(flash)
        assert journal.status == DAMAGED and journal.get(1) is None and journal.doubtful(1)
        held = [journal.get(key) for key in range(6)]
        steps = 0
        while journal.erase_due():
            assert boot(flash).status == DAMAGED or steps
            journal.erase_step()
            steps += 1
        assert steps < 20
        after = boot(flash)
        assert after.status == OK and after.lost_records == 0 and not after.doubtful(0)
        assert [after.get(key) for key in range(6)] == held


def test_the_last_record_lost_shows_in_the_sequence():
    flash = new_flash()
    journal = boot(flash)
    journal.commit([(1, b"1")])
    witness = journal.commit([(1, b"2")])
    flash.flip((FIRST * SECTOR_BYTES + 16 + 24 + 3) * 8)
    journal = boot(flash)
    assert journal.torn and journal.sequence == witness - 1 and journal.get(1) == b"1"
    journal.skip_to(witness)
    assert journal.commit([(1, b"3")]) == witness + 1 == boot(flash).sequence


def test_a_value_that_decays_while_running_is_not_forgotten_silently():
    flash = new_flash(lenient=True)
    journal = boot(flash)
    journal.commit([(1, b"kept"), (2, b"other")])
    journal.commit([(3, b"three")])
    flash.flip((FIRST * SECTOR_BYTES + 16 + 16 + 4) * 8)
    assert refused(StorageError, journal.get, 1)
    turn_over(journal, 60)
    assert flash.erases[FIRST] > 1, "its sector was turned over"
    for one in (journal, boot(flash)):
        assert one.status == DAMAGED and one.doubtful(1) and one.doubtful(2) and one.get(1) is None
        assert one.get(3) == b"three" and not one.doubtful(3)
    journal.commit([(1, b"again"), (2, b"again")])
    journal = boot(flash)
    assert journal.status == OK and journal.get(1) == b"again"


def test_foreign_content_is_damage_and_is_overwritten_by_commits():
    flash = new_flash()
    for sector in range(FIRST, FIRST + SECTORS):
        flash.writeblocks(sector, bytes([0x5A]) * 256, 0)
    journal = boot(flash)
    assert journal.status == DAMAGED and journal.sequence == 0 and journal.doubtful(1)
    journal.commit([(1, b"one")])
    assert boot(flash).status == OK and boot(flash).get(1) == b"one"


def test_the_same_record_in_every_sector_can_be_mounted():
    flash = new_flash()
    boot(flash).commit([(1, b"one")])
    one = bytes(flash.data[FIRST * SECTOR_BYTES : (FIRST + 1) * SECTOR_BYTES])
    flash.data[FIRST * SECTOR_BYTES : (FIRST + SECTORS) * SECTOR_BYTES] = one * SECTORS
    journal = boot(flash)
    assert journal.get(1) == b"one"
    journal.commit([(1, b"two")])
    assert boot(flash).get(1) == b"two"


def test_a_sector_that_fails_once_costs_no_commit():
    flash = new_flash()
    journal = boot(flash)
    journal.commit([(1, b"one")])
    flash.wear_out(FIRST, 1)
    assert journal.commit([(1, b"two")]) == 2
    assert boot(flash).get(1) == b"two" and boot(flash).status == OK


def test_a_flash_that_does_not_program_is_a_named_error_and_stays_readable():
    flash = new_flash(lenient=True)
    journal = boot(flash)
    journal.commit([(1, b"one"), (2, b"two")])
    for sector in range(FIRST, FIRST + SECTORS):
        flash.wear_out(sector)
    for _ in range(20):
        assert refused(StorageError, journal.commit, [(1, b"new")])
        assert (journal.get(1), journal.get(2), journal.sequence) == (b"one", b"two", 1)
    journal = boot(flash)
    assert (journal.get(1), journal.get(2)) == (b"one", b"two")
    for sector in range(FIRST, FIRST + SECTORS):
        flash.wear_out(sector, 0)
    journal.commit([(1, b"new")])
    assert (boot(flash).get(1), boot(flash).get(2)) == (b"new", b"two")


def test_a_flash_that_takes_no_record_is_given_up_soon():
    """Erasing works and programming does not: the commit ends after a few tries, wherever the head stands."""
    for fill in range(1, 60):
        flash = new_flash()
        journal = boot(flash)
        journal.commit([(3, b"lives on" * 6)])
        for number in range(fill):
            journal.commit([(1, bytes([number]) * 60)])

        def watch(block, offset, data, flash=flash):
            if offset:
                flash.wear_out(block, 1)

        flash.watch = watch
        for _ in range(8):
            before = flash.ops
            assert refused(StorageError, journal.commit, [(1, b"new")])
            assert flash.ops - before <= 20, (fill, flash.ops - before)
        flash.watch = None
        journal.commit([(1, b"new")])
        assert boot(flash).get(1) == b"new" and boot(flash).get(3) == b"lives on" * 6


def test_a_commit_that_failed_twice_does_not_come_back_over_the_next_one():
    """Its records did not read back; should they read whole later, the commit after them still stands."""
    for fill in range(20, 30):  # in the middle and at the front of a sector
        flash = new_flash()
        journal = boot(flash)
        journal.commit([(3, b"lives on")])
        for number in range(fill):
            journal.commit([(1, bytes([number]) * 10)])
        failed = []

        def watch(block, offset, data, flash=flash, failed=failed):
            if data and b"ghost" in data:
                failed.append((block * SECTOR_BYTES + offset, data))
                flash.wear_out(block, 1)

        flash.watch = watch
        assert refused(StorageError, journal.commit, [(1, b"ghost"), (2, b"ghost")]) and len(failed) == 2
        journal.commit([(1, b"new")])
        for at, data in failed:
            flash.data[at : at + len(data)] = data
        after = boot(flash)
        assert (after.get(1), after.get(2), after.get(3)) == (b"new", None, b"lives on"), fill


def test_a_device_that_is_too_small_is_refused():
    assert refused(ValueError, Journal, NorFlash(4, 1024), 1, 4)
    assert refused(ValueError, Journal, NorFlash(4, 1024), 0, 3)
    assert refused(ValueError, Journal, NorFlash(80, 512), 0, 16)


def test_every_cut_of_a_short_run_leaves_old_or_new():
    flash = new_flash()
    journal = boot(flash)
    journal.commit([(1, b"0"), (2, b"0"), (3, b"kept" * 8)])
    promised = [b"0", b"0"]

    def workload(flash):
        for number in range(40):
            value = bytes([number]) * (1 + number * 3 % 60)
            promised[1] = value
            journal.commit([(1, value), (2, value)])
            promised[0] = value
            if number % 3 and journal.erase_due():
                journal.erase_step()

    def check(trial):
        after = boot(trial)
        assert after.status == OK and after.get(1) == after.get(2) and after.get(1) in promised
        assert after.get(3) == b"kept" * 8

    swept = sweep(flash, workload, check)
    assert swept.operations > 40
    print("journal: {} operations, {} cuts".format(swept.operations, swept.cuts))


def test_a_torn_commit_that_reads_whole_later_is_not_taken():
    """Half-programmed cells can read either way: what was once taken for torn must not come back over later commits."""
    ghosts = 0
    for fill in range(1, 40):  # the torn record falls into the middle of a sector, and to the front of the next one
        flash = new_flash()
        journal = boot(flash)
        for number in range(fill):
            journal.commit([(1, bytes([number]) * 30), (3 + number % 3, b"lives on")])
        whole = flash.fork()
        after = boot(whole)
        while after.erase_due():
            after.erase_step()
        flash.restore(whole.snapshot())
        boot(whole).commit([(1, b"ghost" * 9), (2, b"ghost" * 9)])
        journal = boot(flash)
        flash.cut_at(flash.ops + 1, 75)
        assert refused(PowerCut, journal.commit, [(1, b"ghost" * 9), (2, b"ghost" * 9)])
        flash.power_on()
        erases = list(flash.erases)
        journal = boot(flash)
        assert journal.get(2) is None
        for number in range(3):
            journal.commit([(1, bytes([number]))])
            image = bytearray(flash.data)
            for at in range(len(image)):
                sector = at // SECTOR_BYTES
                if image[at] == 0xFF != whole.data[at] and flash.erases[sector] == erases[sector]:
                    flash.data[at] = whole.data[at]
                    ghosts += 1
            ghost = boot(flash)
            assert ghost.get(1) == bytes([number]) and ghost.get(2) is None and ghost.status == OK, (fill, number)
            flash.data[:] = image
    assert ghosts > 1000
