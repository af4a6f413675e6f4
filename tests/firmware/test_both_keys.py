"""Keys: the set that may sign, per-meter keys with overlap, decoder keys; and orders that are held: firmware, clear."""

from meter import release as firmware
from meterlink import batches, bodies, events, orders, reasons, results, states
from meterlink.batches import BatchError
from meterlink.mac import MacKey
from meterlink.reports import Report
from tests.firmware import ramboard, stated
from tests.firmware.ramboard import METER, NONCE, Rig, public_key
from tests.firmware.test_both_orders import refused

RICH_UC = 1_000_000_000
NEW_KEY = bytes(range(100, 132))
NEW_SECRET = 4711


def ready():
    rig = Rig(credit_uc=RICH_UC)
    rig.run(5)
    return rig


def signed_by(rig, secret, statement):
    raw = statement.encode()
    return rig.seal(raw, ramboard.sign(secret, orders.digest(raw)))


# -- signing keys ------------------------------------------------------------------------------------------------------


def test_the_meter_accepts_exactly_the_public_keys_stated():
    """OP-ORD-48"""
    rig = ready()
    keys = [(1, 1, ramboard.KEYS[1]), (2, 2, public_key(NEW_SECRET)), (3, 1, ramboard.KEYS[3])]
    assert rig.give_apart(orders.ASPECT_KEYS, stated.signing_keys(keys)) == results.APPLIED
    assert (events.KEYS_CHANGED, 0, orders.KEYS_SIGNING) in rig.events()
    for _ in range(2):
        refused(rig, rig.credit(2 * RICH_UC), results.UNKNOWN_KEY)
        body = bodies.encode_credit(2 * RICH_UC, 0, [])
        statement = rig.statement(orders.ASPECT_CREDIT, body, 1, key_version=2)
        refused(rig, rig.seal(statement), results.BAD_SIGNATURE)
        rig.outage()
    assert rig.give(signed_by(rig, NEW_SECRET, statement)) == results.APPLIED
    assert rig.give(rig.release(1)) == results.APPLIED, "the others go on"


def test_old_and_new_signing_keys_overlap_as_long_as_both_are_stated():
    """OP-ORD-48"""
    rig = ready()
    before = rig.credit(2 * RICH_UC)
    keys = [(role, 1, ramboard.KEYS[role]) for role in (1, 2, 3)] + [(2, 2, public_key(NEW_SECRET))]
    assert rig.give_apart(orders.ASPECT_KEYS, stated.signing_keys(keys)) == results.APPLIED
    assert rig.give(before) == results.APPLIED, "what was issued and not used stays good"
    body = bodies.encode_credit(3 * RICH_UC, 0, [])
    statement = rig.statement(orders.ASPECT_CREDIT, body, 1, key_version=2)
    assert rig.give(signed_by(rig, NEW_SECRET, statement)) == results.APPLIED


def test_root_alone_states_keys_and_a_set_without_a_role_is_refused():
    rig = ready()
    body = stated.signing_keys()
    for role in (orders.ROLE_CREDIT, orders.ROLE_CONTROL):
        raw, _ = rig.apart(orders.ASPECT_KEYS, body, role=role)
        refused(rig, raw, results.WRONG_ROLE)
    for keys in (
        [(role, 1, ramboard.KEYS[role]) for role in (1, 2)],
        [(1, 1, ramboard.KEYS[1])] * 2 + [(2, 1, ramboard.KEYS[2]), (3, 1, ramboard.KEYS[3])],
    ):
        raw, pieces = rig.apart(orders.ASPECT_KEYS, stated.signing_keys(keys))
        for piece in pieces:
            rig.meter.parcels.take(0, piece)
        refused(rig, raw, results.BAD_BODY)


def test_the_largest_set_of_keys_fits_one_commit():
    rig = ready()
    keys = [(role, version, ramboard.KEYS[role]) for role in (1, 2, 3) for version in (1, 2)]
    for _ in range(6):
        rig.meter.note(events.POWER_DOWN)
    rig.meter.close_period(rig.meter.now_s(), 0, 0)
    assert rig.give_apart(orders.ASPECT_KEYS, stated.signing_keys(keys)) == results.APPLIED
    rig.outage()
    assert len(rig.meter.signing_keys) == 6


# -- per-meter keys ----------------------------------------------------------------------------------------------------


def change(rig, entries, **changed):
    rig.version += 1
    key = rig.meter.tag_key(changed.get("tag_key_version", rig.tag_key_version))
    body = stated.tag_keys(entries, key, rig.version)
    return rig.order(orders.ASPECT_KEYS, body, orders.KEYS_TAG, version=rig.version, **changed)


def test_a_new_per_meter_key_makes_reports_and_the_old_one_still_opens_orders():
    """OP-ORD-49"""
    rig = ready()
    old_key, issued = rig.mac_key, rig.credit(2 * RICH_UC)
    assert rig.give(change(rig, [(2, NEW_KEY), (1, b"")])) == results.APPLIED
    for _ in range(2):
        _, raw = rig.meter.ask(batches.pack_ask(3, NONCE))
        assert Report(raw, MacKey(NEW_KEY)).tag_key_version == 2
        _, raw = rig.meter.ask(batches.pack_ask(1, NONCE))
        assert batches.Batch(raw, MacKey(NEW_KEY)).tag_key_version == 2
        rig.outage()
    assert rig.give(issued) == results.APPLIED, "tagged under the key before"
    for key, seq in ((old_key, 1), (MacKey(NEW_KEY), 2)):
        rig.meter.ack(batches.pack_ack(2, METER, rig.meter.log_id, seq, key))
        assert rig.meter.cursors == [0, seq]
    try:
        rig.meter.ack(batches.pack_ack(2, METER, rig.meter.log_id, 3, MacKey(bytes(32))))
        raise AssertionError("no key of this meter")
    except BatchError:
        assert rig.meter.cursors == [0, 2]


def test_a_per_meter_key_that_is_no_longer_stated_opens_nothing():
    rig = ready()
    issued = rig.credit(2 * RICH_UC)
    raw = change(rig, [(2, NEW_KEY)])
    assert rig.give(raw) == results.APPLIED
    refused(rig, issued, results.UNKNOWN_KEY)
    refused(rig, raw, results.ALREADY)
    rig.mac_key, rig.tag_key_version = MacKey(NEW_KEY), 2
    assert rig.give(rig.credit(2 * RICH_UC)) == results.APPLIED
    assert rig.give(change(rig, [(2, b"")])) == results.APPLIED
    rig.outage()
    assert rig.give(rig.credit(3 * RICH_UC)) == results.APPLIED


def test_a_per_meter_key_to_be_kept_must_be_held():
    rig = ready()
    refused(rig, change(rig, [(2, NEW_KEY), (9, b"")]), results.UNKNOWN_KEY)
    assert rig.meter.tag_key_version == 1


def test_a_new_key_travels_hidden():
    """OP-ORD-49"""
    rig = ready()
    raw = change(rig, [(2, NEW_KEY)])
    for at in range(0, 32, 4):
        assert NEW_KEY[at : at + 4] not in raw


def test_an_order_whose_key_goes_while_it_waits_is_not_carried_out():
    rig = ready()
    waits = rig.credit(2 * RICH_UC)
    raw = change(rig, [(2, NEW_KEY)])
    assert rig.meter.submit(1, raw) == rig.meter.submit(2, waits) == results.PENDING
    while rig.meter.verify_slice():
        pass
    assert rig.meter.result(1).code == results.APPLIED and rig.meter.result(2).code == results.UNKNOWN_KEY
    assert rig.meter.account.credited_uc == RICH_UC


# -- decoder keys ------------------------------------------------------------------------------------------------------


def test_a_decoder_key_replaces_the_one_before_and_credit_stays():
    """OP-ORD-50"""
    rig = ready()
    attributes = (654_321, 2, 7, 4, 200, 1)
    body = stated.decoder(bytes(range(16)), attributes, rig.mac_key, 77)
    assert rig.give(rig.order(orders.ASPECT_KEYS, body, orders.KEYS_DECODER, version=77)) == results.APPLIED
    for _ in range(2):
        assert rig.meter.typed.key == bytes(range(16)) and tuple(rig.meter.typed.attributes) == attributes
        assert rig.report().credited_uc == RICH_UC
        rig.outage()


# -- firmware, latches -------------------------------------------------------------------------------------------------


def test_firmware_is_held_and_a_downgrade_refused():
    """OP-ORD-51"""
    rig = ready()
    assert firmware.VERSION == "0.1.0"
    for release, legal in (((0, 0, 9), 1), ((0, 1, 0), 0)):
        refused(rig, rig.order(orders.ASPECT_FIRMWARE, stated.firmware(release, legal)), results.DOWNGRADE)
    raw = rig.order(orders.ASPECT_FIRMWARE, stated.firmware((0, 2, 0), 1))
    assert rig.give(raw) == results.APPLIED
    rig.outage()
    assert rig.meter.held_order(orders.ASPECT_FIRMWARE, 0) == raw
    refused(rig, rig.order(orders.ASPECT_FIRMWARE, stated.firmware(), role=orders.ROLE_CONTROL), results.WRONG_ROLE)


def bypassed():
    rig = ready()
    rig.board.watts = 1000
    assert rig.give(rig.hold(reasons.HOLD_SAFETY)) == results.APPLIED
    rig.board.bypassed = True
    rig.run(10)
    assert rig.report().diagnosis == states.DIAGNOSIS_BYPASSED
    return rig


def test_a_bypass_is_latched_until_it_is_cleared():
    rig = bypassed()
    rig.board.bypassed = False
    rig.run(10)
    rig.outage()
    report = rig.report()
    assert report.latches == 1 << states.LATCH_BYPASSED and report.alarms & 1 << states.ALARM_TAMPER
    raw = rig.order(orders.ASPECT_CLEAR, stated.clear(report.latches, report.event_newest))
    assert rig.give(raw) == results.APPLIED
    assert (events.LATCHES_CLEARED, 8, 0) in rig.events()
    for _ in range(2):
        assert not rig.report().latches and not rig.report().alarms & 1 << states.ALARM_TAMPER
        rig.outage()


def test_what_happened_after_the_operator_looked_stays_latched():
    """OP-ORD-52"""
    rig = bypassed()
    looked = rig.report()
    rig.board.bypassed = False
    rig.run(10)
    rig.board.bypassed = True
    rig.run(10)
    raw = rig.order(orders.ASPECT_CLEAR, stated.clear(looked.latches, looked.event_newest))
    assert rig.give(raw) == results.APPLIED
    assert rig.report().latches == looked.latches
    rig.outage()
    assert rig.report().latches == looked.latches
    only = rig.order(orders.ASPECT_CLEAR, stated.clear(1 << states.LATCH_WRONG_TOKENS, 0xFFFFFFFF))
    assert rig.give(only) == results.APPLIED and rig.report().latches == looked.latches, "no other one goes"


def test_more_than_six_unclean_starts_in_an_hour_are_latched():
    for pause_s, latched in ((300, True), (700, False)):
        rig = ready()
        for number in range(7):
            assert not rig.report().latches, number
            rig.outage(pause_s)
        assert bool(rig.report().latches & 1 << states.LATCH_UNCLEAN_STARTS) is latched
    rig = ready()
    for _ in range(20):
        rig.meter.power_down()
        rig.outage(10)
    assert not rig.report().latches, "starts that a warned stop came before do not count"


def test_keys_of_production_and_of_a_bench_do_not_mix():
    from meterlink.provision import USE_BENCH, USE_PRODUCTION, ProvisionError

    for board_class, use, taken in ((1, USE_BENCH, True), (1, USE_PRODUCTION, False), (2, USE_BENCH, False),
                                    (2, USE_PRODUCTION, True)):  # fmt: skip
        rig = Rig(commission=False)
        rig.board.board_class = board_class
        try:
            rig.meter.provision(rig.record(use=use))
        except ProvisionError as error:
            assert "use" in str(error)
        assert rig.meter.commissioned is taken
