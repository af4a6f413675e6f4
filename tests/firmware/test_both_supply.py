"""Supply: the transitions of class 70, holds and causes, delays, closes, the relay's feedback, protection."""

from meterlink import bodies, events, reasons, results, states
from tests.firmware.ramboard import LIMITS, Rig

MAX_ATTEMPTS = 3  # to close, each committed before its pulse
OFF, ON, READY = states.CONTROL_DISCONNECTED, states.CONTROL_CONNECTED, states.CONTROL_READY
ARREARS, MOVE_OUT, SAFETY, PROTECTION = (
    reasons.HOLD_ARREARS,
    reasons.HOLD_MOVE_OUT,
    reasons.HOLD_SAFETY,
    reasons.HOLD_PROTECTION,
)
RICH_UC = 1_000_000_000


def rig_of(**limits):
    wanted = bodies.decode_limits(LIMITS.encode())
    for name, value in limits.items():
        setattr(wanted, name, value)
    rig = Rig(limits=wanted, credit_uc=RICH_UC)
    rig.run(20)
    return rig


def off(rig, reason=ARREARS):
    assert rig.give(rig.hold(reason)) == results.APPLIED
    rig.run(rig.limits.trip_delay_s + 1)
    assert not rig.board.closed
    rig.run(rig.limits.dwell_s)
    return rig


def codes(rig):
    return [event[0] for event in rig.events()]


def test_a_hold_waits_its_delay_and_opens():
    rig = rig_of()
    rig.board.watts = 1000
    assert rig.give(rig.hold(ARREARS)) == results.APPLIED
    rig.run(1)
    report = rig.report(2, ARREARS)
    assert report.holds == 1 << ARREARS and report.control == ON and report.contact == states.CONTACT_CLOSED
    assert report.pending == states.PENDING_TRIP and report.due_s == report.time_s + 59
    assert rig.board.shown[-1] == (2, 60), "the customer is warned"
    rig.run(58)
    assert rig.board.closed
    rig.run(1)
    assert not rig.board.closed
    rig.run(3)
    report = rig.report(2, ARREARS)
    assert (report.control, report.contact, report.diagnosis, report.pending) == (OFF, 0, 0, 0)
    assert report.no_load_s >= 2 and report.version == rig.version
    assert (events.RELAY_OPENED, 0, ARREARS) in rig.events()


def test_the_longer_delay_counts():
    rig = rig_of()
    assert rig.give(rig.hold(ARREARS, delay_s=0)) == results.APPLIED
    rig.run(50)
    assert rig.board.closed, "the limits' delay lets a flood of stops be called back"
    rig = rig_of()
    assert rig.give(rig.hold(ARREARS, delay_s=300)) == results.APPLIED
    rig.run(290)
    assert rig.board.closed
    rig.run(20)
    assert not rig.board.closed


def test_recalled_before_its_time():
    rig = rig_of()
    rig.give(rig.hold(ARREARS))
    rig.run(30)
    assert rig.give(rig.release(ARREARS)) == results.APPLIED
    rig.run(600)
    assert rig.board.closed and not rig.board.coils and codes(rig).count(events.TRIP_WITHDRAWN) == 1


def test_one_of_two_holds_recalled_leaves_the_other_its_own_time():
    rig = rig_of()
    rig.give(rig.hold(ARREARS))
    rig.give(rig.hold(MOVE_OUT, delay_s=300))
    rig.run(30)
    rig.give(rig.release(ARREARS))
    rig.run(260)
    assert rig.board.closed
    rig.run(15)
    assert not rig.board.closed


def test_safety_does_not_wait_and_never_closes_by_itself():
    """OP-ORD-44"""
    rig = rig_of(dwell_s=1000)
    rig.give(rig.hold(SAFETY))
    rig.run(1)
    assert not rig.board.closed
    rig.run(1000)
    assert rig.give(rig.release(SAFETY, bodies.CLOSE_DIRECT)) == results.APPLIED
    rig.run(100)
    assert not rig.board.closed and rig.report().control == READY
    rig.meter.press_connect()
    rig.run(3)
    assert rig.board.closed and rig.report().control == ON


def test_direct_release_closes_by_itself():
    rig = off(rig_of())
    rig.give(rig.release(ARREARS))
    rig.run(15)
    report = rig.report(2, ARREARS)
    assert rig.board.closed and (report.control, report.contact, report.holds) == (ON, 1, 0)
    assert events.RELAY_CLOSED in codes(rig)


def test_permit_waits_for_the_key():
    rig = off(rig_of())
    rig.give(rig.release(ARREARS, bodies.CLOSE_PERMIT))
    rig.run(1000)
    assert not rig.board.closed and rig.report().control == READY and events.READY_FOR_RECONNECTION in codes(rig)
    rig.meter.press_connect()
    rig.run(3)
    assert rig.board.closed and rig.report().control == ON


def test_a_later_direct_release_of_the_same_hold_closes():
    rig = off(rig_of())
    rig.give(rig.release(ARREARS, bodies.CLOSE_PERMIT))
    rig.run(30)
    rig.give(rig.release(ARREARS, bodies.CLOSE_DIRECT))
    rig.run(30)
    assert rig.board.closed


def test_one_permit_among_several_releases_asks_for_the_key_in_any_order():
    for first_permits in (True, False):
        rig = off(rig_of())
        rig.give(rig.hold(MOVE_OUT))
        closes = (
            (bodies.CLOSE_PERMIT, bodies.CLOSE_DIRECT) if first_permits else (bodies.CLOSE_DIRECT, bodies.CLOSE_PERMIT)
        )
        rig.give(rig.release(ARREARS, closes[0]))
        rig.run(20)
        assert not rig.board.closed
        rig.give(rig.release(MOVE_OUT, closes[1]))
        rig.run(100)
        assert not rig.board.closed and rig.report().control == READY


def test_the_key_does_nothing_while_something_stands():
    rig = off(rig_of())
    for _ in range(3):
        rig.meter.press_connect()
        rig.run(20)
    assert not rig.board.closed and rig.report().control == OFF
    rig = Rig()
    rig.run(90)
    assert rig.report().control == READY and rig.report().causes == 1
    rig.meter.press_connect()
    rig.run(20)
    assert not rig.board.closed


def test_a_key_pressed_early_is_not_remembered():
    rig = off(rig_of())
    rig.meter.press_connect()
    rig.run(5)
    rig.give(rig.release(ARREARS, bodies.CLOSE_PERMIT))
    rig.run(60)
    assert not rig.board.closed


def test_payment_releases_credit_and_nothing_else():
    """OP-ORD-44"""
    rig = Rig()
    rig.run(70)
    assert not rig.board.closed
    rig.give(rig.hold(ARREARS))
    rig.run(1)
    assert rig.report().control == OFF
    rig.give(rig.credit(RICH_UC))
    rig.run(100)
    assert not rig.board.closed
    rig.give(rig.release(ARREARS))
    rig.run(20)
    assert rig.board.closed


def test_release_without_credit_is_ready_and_the_payment_closes():
    rig = Rig()
    rig.give(rig.hold(ARREARS))
    rig.run(90)
    rig.give(rig.release(ARREARS))
    rig.run(60)
    assert not rig.board.closed and rig.report().control == READY and rig.report().causes == 1
    rig.give(rig.credit(RICH_UC))
    rig.run(20)
    assert rig.board.closed and rig.report().control == ON


def test_a_close_waits_for_stable_supply_spread_and_dwell():
    rig = off(rig_of(stable_s=30, dwell_s=40, spread_s=0))
    rig.board.voltage = 1500
    rig.run(5)
    rig.give(rig.release(ARREARS))
    rig.run(100)
    assert not rig.board.closed and rig.report().causes == 1 << reasons.CAUSE_SUPPLY_QUALITY
    rig.board.voltage = 2300
    rig.run(28)
    assert not rig.board.closed
    rig.run(4)
    assert rig.board.closed
    delays = set()
    for seed in range(6):
        rig = off(rig_of())
        rig.board.random = 1000 * seed
        rig.give(rig.release(ARREARS, spread_s=200))
        rig.run(2)
        assert rig.report().pending == states.PENDING_CLOSE
        delays.add(rig.report().due_s - rig.report().time_s)
        rig.run(210)
        assert rig.board.closed
    assert len(delays) > 3 and max(delays) <= 200


def test_dwell_between_operations():
    rig = rig_of(dwell_s=120, trip_delay_s=0)
    rig.give(rig.hold(ARREARS))
    rig.run(5)
    rig.give(rig.release(ARREARS))
    rig.run(60)
    assert not rig.board.closed
    rig.run(70)
    assert rig.board.closed
    rig.give(rig.hold(ARREARS))
    rig.run(60)
    assert rig.board.closed
    rig.run(70)
    assert not rig.board.closed
    times = [when for when, _ in rig.board.coils]
    for i in range(1, len(times)):
        assert times[i] - times[i - 1] >= 120


def test_welded_contact():
    rig = rig_of()
    rig.board.watts = 500
    rig.board.stuck = True
    rig.give(rig.hold(ARREARS))
    rig.run(65)
    report = rig.report()
    assert report.control == OFF and report.contact == states.CONTACT_CLOSED
    assert report.diagnosis == states.DIAGNOSIS_WELDED and report.alarms & 1 << states.ALARM_RELAY
    opened_s = rig.board.coils[0][0]
    found = [f for f in map(unpack, rig.records(rig.meter.store.events)) if f[2] == events.RELAY_WELDED]
    assert len(found) == 1 and found[0][1] - opened_s <= 5
    rig.run(300)
    assert len(rig.board.coils) == MAX_ATTEMPTS, "told again, but not for ever"
    rig.board.stuck = None
    rig.run(700)
    assert not rig.board.closed and rig.report().diagnosis == states.DIAGNOSIS_OK
    assert events.RELAY_RECOVERED in codes(rig)


def unpack(record):
    from meterlink.records import unpack_event

    return unpack_event(record)


def test_failed_to_close_gives_up_after_three_and_the_key_tries_again():
    rig = off(rig_of())
    rig.board.stuck = False
    rig.give(rig.release(ARREARS))
    rig.run(300)
    assert [close for _, close in rig.board.coils] == [False] + [True] * MAX_ATTEMPTS
    report = rig.report()
    assert report.diagnosis == states.DIAGNOSIS_FAILED_TO_CLOSE and report.control == ON and report.contact == 0
    assert codes(rig).count(events.RELAY_FAILED_TO_CLOSE) == 1
    rig.board.stuck = None
    rig.meter.press_connect()
    rig.run(10)
    assert rig.board.closed and rig.report().diagnosis == states.DIAGNOSIS_OK


def test_attempts_survive_a_restart():
    rig = off(rig_of())
    rig.board.stuck = False
    rig.give(rig.release(ARREARS))
    rig.run(15)
    for _ in range(6):
        rig.outage(1)
        rig.run(40)
    assert [close for _, close in rig.board.coils].count(True) == MAX_ATTEMPTS


def test_bypassed():
    rig = rig_of()
    rig.board.watts = 800
    off(rig)
    pulses = len(rig.board.coils)
    rig.board.bypassed = True
    rig.run(5)
    report = rig.report()
    assert report.diagnosis == states.DIAGNOSIS_BYPASSED and report.no_load_s == 0 and report.load_ma > 0
    assert events.RELAY_BYPASSED in codes(rig)
    rig.run(1000)
    assert len(rig.board.coils) == pulses, "an open relay cannot be opened further"
    rig.board.bypassed = False
    rig.run(2)
    assert rig.report().diagnosis == states.DIAGNOSIS_OK


def test_without_contact_sense_the_current_tells():
    rig = rig_of()
    rig.board.blind = True
    rig.board.watts = 800
    rig.board.stuck = True
    rig.give(rig.hold(ARREARS))
    rig.run(66)
    assert rig.report().contact == states.CONTACT_UNKNOWN and rig.report().diagnosis == states.DIAGNOSIS_WELDED


def test_overload_trips_and_asks_for_the_key():
    rig = rig_of(max_current_ma=20_000)
    rig.board.watts = 6000
    rig.run(9)
    assert rig.board.closed
    rig.run(12)
    assert not rig.board.closed and rig.report().control == READY
    assert rig.report().causes == 1 << reasons.CAUSE_OVERLOAD
    rig.meter.press_connect()
    rig.run(30)
    assert not rig.board.closed
    rig.board.watts = 500
    rig.run(60)
    assert rig.report().causes == 0
    rig.meter.press_connect()
    rig.run(5)
    assert rig.board.closed


def test_protection_keeps_supply_on_against_all_but_safety():
    """OP-ORD-44"""
    rig = Rig(credit_uc=100_000)
    rig.board.watts = 3600
    rig.give(rig.hold(PROTECTION, not_after_s=0))
    rig.give(rig.hold(ARREARS))
    rig.run(500)
    report = rig.report()
    assert rig.board.closed and report.balance_uc < 0 and report.holds == 1 << PROTECTION | 1 << ARREARS
    rig.give(rig.hold(SAFETY))
    rig.run(2)
    assert not rig.board.closed


def test_protection_of_a_meter_that_is_off_makes_it_ready_for_the_key():
    rig = off(rig_of())
    rig.give(rig.hold(PROTECTION, not_after_s=0))
    rig.run(100)
    assert not rig.board.closed and rig.report().control == READY
    rig.meter.press_connect()
    rig.run(3)
    assert rig.board.closed
    rig.give(rig.release(PROTECTION, not_after_s=rig.board.unix_s + 100))
    rig.run(30)
    assert rig.board.closed, "its end opens nothing by itself at once"
    rig.run(60)
    assert not rig.board.closed, "but what stands is due after its delay"


def test_an_armed_trip_survives_a_power_cut_and_is_not_put_off_by_many():
    rig = rig_of(trip_delay_s=600)
    rig.give(rig.hold(ARREARS))
    for _ in range(12):
        rig.run(5)
        rig.outage(1)
    rig.run(20)
    assert not rig.board.closed
    rig = rig_of(trip_delay_s=600)
    rig.give(rig.hold(ARREARS))
    rig.run(100)
    rig.outage(100)
    rig.run(300)
    assert rig.board.closed, "what was left of the delay is kept"
    rig.run(200)
    assert not rig.board.closed


def test_a_factory_meter_leaves_its_relay_alone():
    rig = Rig(commission=False)
    rig.board.watts = 1000
    rig.run(100)
    assert rig.board.closed and not rig.board.coils and rig.meter.energy.import_wh > 0
    rig.board.closed = False
    rig.run(100)
    assert not rig.board.coils
    assert rig.give(rig.hold(ARREARS)) == results.WRONG_METER


def test_an_open_factory_meter_waits_for_the_key_once_commissioned():
    from tests.firmware.ramboard import RamBoard

    board = RamBoard()
    board.closed = False
    rig = Rig(board, commission=False)
    rig.run(5)
    assert rig.meter.supply.causes & 1 << reasons.CAUSE_NOT_COMMISSIONED
    rig.meter.provision(rig.record())
    rig.give(rig.credit(RICH_UC))
    rig.run(100)
    assert not board.closed and rig.report().control == READY and rig.report().causes == 0
    rig.meter.press_connect()
    rig.run(3)
    assert board.closed


def test_a_safety_hold_withdrawn_before_it_acted_leaves_nothing_behind():
    rig = rig_of()
    rig.give(rig.hold(SAFETY))
    rig.give(rig.release(SAFETY))
    rig.run(5)
    assert rig.board.closed and not rig.board.coils
    off(rig)
    rig.give(rig.release(ARREARS))
    rig.run(20)
    assert rig.board.closed


def test_the_intent_of_a_new_meter_is_kept_from_the_first_day():
    rig = rig_of()
    rig.board.closed = False  # somebody opened it by hand while the power was away
    rig.outage(5)
    rig.run(30)
    assert rig.report().control == ON and rig.board.closed, "it was meant to be closed, and is told again"
