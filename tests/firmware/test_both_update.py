"""An update of the firmware in the meter's core: pieces, refusals, order, trial, rollback. Both interpreters."""

import hashlib

from meter import release, slots, update
from meterlink import events, image, results, states
from metersim.flash import NorFlash
from tests.firmware.updating import Updated, make

STEP = 60


def codes(rig):
    return [event[0] for event in rig.events()]


def raised(call, *arguments):
    """The sentence of the ImageError that a call raises; "" for none."""
    try:
        call(*arguments)
    except image.ImageError as error:
        return str(error)
    return ""


# -- what travels --------------------------------------------------------------------------------------------------


def test_manifest_offer_progress_and_message_come_back():
    made = image.Manifest((1, 2, 3), 4, 5, "esp32s3", bytes(range(32)))
    found = image.read_manifest(b"before" + made.pack())
    assert (found.release, found.legal_version, found.journal, found.board, found.legal_sha256) == (
        (1, 2, 3),
        4,
        5,
        "esp32s3",
        bytes(range(32)),
    )
    assert image.read_offer(image.pack_offer(1_000_000, bytes(32))) == (1_000_000, bytes(32))
    shown = image.read_progress(image.Progress(3, 2, 44, 70_000, b"12345678", 500, (1, 2, 3)).pack())
    assert (shown.state, shown.running, shown.result, shown.length) == (3, 2, 44, 70_000)
    assert (shown.digest8, shown.next_record, shown.release) == (b"12345678", 500, (1, 2, 3))
    pieces = [bytes([n]) * image.PIECE for n in range(image.MAX_PIECES)]
    assert image.read_message(image.pack_message(9, pieces)) == [(9 + n, pieces[n]) for n in range(len(pieces))]


def test_what_is_no_image_is_told():
    assert "manifest" in raised(image.read_manifest, bytes(64))
    assert "board" in raised(image.Manifest((1, 2, 3), 4, 5, "a name that is too long", bytes(32)).pack)
    for length in (0, 56, 127, image.MAX_LENGTH + 8):
        assert raised(image.read_offer, image.pack_offer(length, bytes(32)))
    assert raised(image.read_offer, bytes(37)) and raised(image.read_progress, bytes(24))
    assert raised(image.read_message, b"\0\1") and raised(image.read_message, bytes(3 + 7 * 128))


# -- the whole way -------------------------------------------------------------------------------------------------


def test_from_offer_to_good():
    rig = Updated()
    assert rig.receive() == states.UPDATE_WHOLE
    assert rig.give(rig.order_image()) == results.APPLIED
    rig.run(2)
    assert rig.update.state == states.UPDATE_ARMED and not rig.meter.alarms() >> states.ALARM_UPDATE & 1
    rig.until_restart()
    energy_wh = rig.meter.energy.import_wh
    starts = rig.meter.unclean_starts
    rig.boot()
    assert rig.board.slots.running == 1 and rig.meter.unclean_starts == starts
    assert rig.update.state == states.UPDATE_TRIAL and rig.meter.alarms() >> states.ALARM_UPDATE & 1
    assert rig.update.legal_sha256 == hashlib.sha256(b"legal").digest()
    assert rig.meter.energy.import_wh == energy_wh
    rig.talk()
    rig.run(update.TEST_S + 10)
    assert rig.update.state == states.UPDATE_GOOD and rig.board.slots.good == 1
    assert not rig.meter.alarms() >> states.ALARM_UPDATE & 1
    assert [code for code in codes(rig) if code >= events.UPDATE_RECEIVED] == [
        events.UPDATE_RECEIVED,
        events.UPDATE_STARTED,
        events.LEGAL_PART_CHANGED,
        events.UPDATE_GOOD,
    ]
    rig.outage(5)
    assert rig.board.slots.running == 1 and rig.update.state == states.UPDATE_GOOD


def test_the_next_one_goes_into_the_other_slot():
    rig = Updated()
    for seed, slot in ((1, 1), (2, 2), (3, 1)):
        assert rig.receive(make(seed=seed)) == states.UPDATE_WHOLE
        assert rig.update.slot == slot
        assert rig.give(rig.order_image()) == results.APPLIED
        rig.until_restart()
        rig.boot()
        rig.talk()
        rig.run(update.TEST_S + 10)
        assert rig.board.slots.good == slot


def test_the_order_may_come_first():
    rig = Updated()
    assert rig.give(rig.order_image()) == results.APPLIED
    rig.receive()
    assert rig.update.state == states.UPDATE_ARMED


def test_without_an_order_it_waits_for_ever():
    """OP-UPD-03"""
    rig = Updated()
    rig.receive()
    rig.run(7200, STEP)
    assert rig.update.state == states.UPDATE_WHOLE and not rig.update.restart
    assert rig.give(rig.order_image(make(seed=9))) == results.APPLIED
    rig.run(60)
    assert rig.update.state == states.UPDATE_WHOLE and rig.board.slots.trial == 0


def test_it_starts_in_a_quiet_moment():
    rig = Updated(raw=make())
    assert rig.give(rig.credit(1_000_000)) == results.APPLIED
    rig.run(10)
    rig.receive()
    assert rig.give(rig.hold(1)) == results.APPLIED  # trips in 60 s
    assert rig.give(rig.order_image()) == results.APPLIED
    rig.run(50)
    assert rig.meter.supply.pending()[0] == states.PENDING_TRIP and not rig.update.restart
    rig.until_restart(120)
    assert not rig.board.closed


# -- what is refused -----------------------------------------------------------------------------------------------


def test_an_image_that_is_refused():
    """OP-UPD-03"""
    older = (release.RELEASE[0], release.RELEASE[1], 0)
    if release.RELEASE[2] == 0:
        older = (0, 0, 255)
    for raw, code in (
        (make(version=older), results.DOWNGRADE),
        (make(legal=release.LEGAL_VERSION - 1), results.DOWNGRADE),
        (make(board="esp32s3"), results.WRONG_BOARD),
        (make(journal=release.JOURNAL + 1), results.JOURNAL_NEWER),
        (make()[:-64] + bytes(64), results.BAD_IMAGE),  # no manifest
        (bytes(64) + make()[64:], results.BAD_IMAGE),  # no ROMFS
    ):
        rig = Updated()
        assert rig.receive(raw) == states.UPDATE_IDLE
        assert rig.update.result == code
        assert events.UPDATE_REFUSED in codes(rig)
        assert rig.board.slots.trial == rig.board.slots.good == 0


def test_a_wrong_hash_is_refused_and_the_right_image_may_follow():
    rig = Updated()
    assert rig.offer(digest=bytes(range(32))) == results.APPLIED
    assert rig.send() == results.APPLIED
    while rig.meter.verify_slice():
        pass
    assert (rig.update.state, rig.update.result) == (states.UPDATE_IDLE, results.BAD_IMAGE)
    assert rig.receive() == states.UPDATE_WHOLE


def test_an_order_that_says_another_release_than_the_image():
    rig = Updated()
    rig.receive()
    assert rig.give(rig.order_image(version=(9, 9, 9))) == results.APPLIED
    rig.run(60)
    assert (rig.update.state, rig.update.result) == (states.UPDATE_IDLE, results.BAD_IMAGE)


def test_records_that_do_not_fit():
    """OP-UPD-01"""
    rig = Updated()
    take = rig.update.take
    assert take(0, 1, bytes(128)) == results.BODY_MISSING  # nothing was offered
    assert take(0, 0, b"offer") == results.BAD_IMAGE
    assert take(0, 0, image.pack_offer(slots.SLOT_BYTES + 8, bytes(32))) == results.BAD_IMAGE
    assert rig.offer() == results.APPLIED
    assert take(0, 2, bytes(128)) == results.BODY_MISSING  # not the next
    assert take(0, 1, bytes(127)) == results.BAD_LENGTH
    rig.send(10)
    assert take(0, 4, bytes(128)) == results.APPLIED  # it is here: an answer was lost
    assert rig.update.next_record() == 11
    assert rig.offer() == results.APPLIED and rig.update.next_record() == 11  # the same one: go on
    assert rig.update.received == 1280


def test_a_board_without_slots_takes_none():
    rig = Updated()
    rig.board.slots = None
    rig.meter.update.slots = None
    assert rig.offer() == results.NOT_IMPLEMENTED
    assert rig.update.running() == 0


def test_nobody_wears_the_flash_out():
    """OP-UPD-04"""
    rig = Updated()
    taken = 0
    for seed in range(20):
        raw = make(seed=seed)
        if rig.offer(raw) == results.APPLIED:
            taken += 1
            assert rig.update.take(0, 1, raw[:128]) == results.APPLIED
    assert taken == update.BEGINS
    rig.run(2 * update.BEGIN_EVERY_S + 60, STEP)
    assert [rig.offer(make(seed=seed)) for seed in (30, 31, 32)] == [results.APPLIED] * 2 + [results.BUSY]
    assert max(rig.slot_flash.erases) == update.BEGINS


def test_an_image_that_is_ordered_is_not_put_aside():
    """OP-UPD-04"""
    rig = Updated()
    assert rig.give(rig.order_image()) == results.APPLIED
    assert rig.offer() == results.APPLIED
    rig.send(20)
    assert rig.offer(make(seed=8)) == results.BUSY
    assert rig.update.next_record() == 21
    newer = make(seed=9)
    assert rig.give(rig.order_image(newer)) == results.APPLIED
    assert rig.offer(newer) == results.APPLIED and rig.update.next_record() == 1


def test_flash_that_does_not_take_a_piece():
    rig = Updated()
    rig.offer()
    rig.send(40)  # into the second sector
    rig.slot_flash.wear_out(slots.STATE_SECTORS + 1, 1)
    assert rig.send() == results.STORAGE_FAILED
    assert rig.update.next_record() == 33  # the sector begins anew
    assert rig.send() == results.APPLIED
    while rig.meter.verify_slice():
        pass
    assert rig.update.state == states.UPDATE_WHOLE


# -- power and trial -----------------------------------------------------------------------------------------------


def test_a_power_cut_costs_the_pieces_of_a_sector():
    """OP-UPD-02"""
    rig = Updated()
    rig.offer()
    rig.send(50)
    rig.run(1)
    rig.outage(60)
    assert rig.update.state == states.UPDATE_RECEIVING and rig.update.next_record() == 33
    assert rig.offer() == results.APPLIED and rig.update.next_record() == 33
    assert rig.send() == results.APPLIED
    rig.run(1)
    rig.outage(60)  # while it is checked
    assert rig.update.state == states.UPDATE_CHECKING
    while rig.meter.verify_slice():
        pass
    assert rig.update.state == states.UPDATE_WHOLE


def on_trial(carrier=0):
    rig = Updated(raw=make())
    rig.carrier = carrier
    rig.receive()
    assert rig.give(rig.order_image()) == results.APPLIED
    rig.until_restart()
    rig.boot()
    assert rig.update.state == states.UPDATE_TRIAL
    return rig


def test_nobody_speaks_to_it_so_it_is_rolled_back():
    """OP-UPD-05"""
    rig = on_trial()
    rig.until_restart(update.LIMIT_S + 1)
    rig.boot()
    assert rig.board.slots.running == 0
    assert (rig.update.state, rig.update.result) == (states.UPDATE_ROLLED_BACK, results.ROLLED_BACK)
    assert rig.meter.alarms() >> states.ALARM_UPDATE & 1
    found = [event for event in rig.events() if event[0] == events.UPDATE_ROLLED_BACK]
    assert found == [(events.UPDATE_ROLLED_BACK, 1, slots.REASON_TEST)]
    rig.outage(5)
    rig.run(3600, STEP)
    assert not rig.update.restart and codes(rig).count(events.UPDATE_ROLLED_BACK) == 1
    assert rig.receive() == states.UPDATE_WHOLE  # the same order does not start it again, a new one does
    rig.run(60)
    assert rig.update.state == states.UPDATE_WHOLE
    assert rig.give(rig.order_image()) == results.APPLIED
    rig.until_restart()


def test_the_link_that_brought_it_has_to_work():
    """OP-UPD-05"""
    for carrier, other, state in (
        (2, 0, states.UPDATE_TRIAL),
        (0, 2, states.UPDATE_TRIAL),
        (2, 2, states.UPDATE_GOOD),
        (1, 5, states.UPDATE_GOOD),
    ):
        rig = on_trial(carrier)
        rig.talk(other)
        rig.run(300)
        assert rig.update.state == state


def test_a_trial_that_is_cut_too_often_is_rolled_back():
    rig = on_trial()
    for _ in range(slots.MAX_TRIES - 1):
        rig.run(10)
        rig.outage(1)
        assert rig.board.slots.running == 1 and rig.update.state == states.UPDATE_TRIAL
    rig.run(10)
    rig.outage(1)
    assert rig.board.slots.running == 0 and rig.update.state == states.UPDATE_ROLLED_BACK
    assert (events.UPDATE_ROLLED_BACK, 1, slots.REASON_STARTS) in rig.events()


def test_a_journal_that_cannot_be_written_fails_the_self_test():
    rig = on_trial()
    rig.talk()
    for sector in range(100):
        rig.board.flash.wear_out(sector)
    rig.run(update.TEST_S + 60)
    assert rig.update.state == states.UPDATE_TRIAL and rig.board.slots.good == 0


def test_a_slot_that_decays_while_its_image_waits():
    rig = Updated()
    rig.receive()
    first = (slots.STATE_SECTORS * 4096 + len(rig.raw) - image.MANIFEST_LENGTH) * 8
    for bit in range(first, first + 8):
        rig.slot_flash.flip(bit)
    assert rig.give(rig.order_image()) == results.APPLIED
    rig.run(60)
    assert (rig.update.state, rig.update.result) == (states.UPDATE_IDLE, results.STORAGE_FAILED)


def test_slots_keep_their_state_over_many_changes():
    flash = NorFlash(slots.TOTAL_SECTORS, unit_bytes=8)
    for turn in range(700):
        one = slots.Slots(flash)
        one.arm(1 + turn % 2)
        assert slots.Slots(flash).choose() == 1 + turn % 2
        one = slots.Slots(flash)
        assert (one.trial, one.tries) == (1 + turn % 2, 1)
        one.mark_good() if turn % 3 else one.roll_back(turn % 7)
        again = slots.Slots(flash)
        assert (again.good, again.failed, again.reason, again.trial) == (one.good, one.failed, one.reason, 0)
        assert again.failed == (0 if turn % 3 else 1 + turn % 2)
    assert max(flash.erases) < 10
