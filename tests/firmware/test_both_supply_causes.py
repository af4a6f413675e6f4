"""The causes that the meter finds by itself: overload, load control, voltage, temperature; and a relay near its end."""

from meter.ports import UNKNOWN_DV
from meterlink import bodies, events, orders, reasons, registers, results, states
from tests.firmware.ramboard import Rig
from tests.firmware.supply_bench import ON, READY, Bench, limits_of
from tests.firmware.test_both_registers import Master

OVERLOAD = reasons.CAUSE_OVERLOAD
LOAD_LIMIT = reasons.CAUSE_LOAD_LIMIT
OVER, UNDER = reasons.CAUSE_OVER_VOLTAGE, reasons.CAUSE_UNDER_VOLTAGE
HOT = reasons.CAUSE_TEMPERATURE
PROTECTION, SAFETY, ARREARS = reasons.HOLD_PROTECTION, reasons.HOLD_SAFETY, reasons.HOLD_ARREARS
OWN = reasons.OWN
RICH_UC = 1_000_000_000


def bench_of(**limits):
    bench = Bench(limits_of(**limits))
    bench.run(20)
    return bench


def seconds_until(bench, closed, most=4000):
    """Seconds until the relay is open, or closed."""
    for second in range(1, most):
        bench.run(1)
        if bench.board.closed == closed:
            return second
    raise AssertionError("the relay did not move")


# -- overload ----------------------------------------------------------------------------------------------------------

STEPS = ((20_000, 5), (40_000, 1), (0, 0))


def test_each_step_of_overload_counts_its_own_time():
    for watts, expected_s in ((2000, None), (3000, 10), (5000, 5), (10_000, 1)):
        bench = bench_of(max_current_ma=10_000, overload=STEPS)
        bench.board.watts = watts
        if expected_s is None:
            bench.run(100)
            assert bench.board.closed
        else:
            assert seconds_until(bench, False) == expected_s
            assert bench.switches[-1] == (False, OWN + OVERLOAD)


def test_time_above_a_lower_step_goes_on_above_a_higher_one():
    bench = bench_of(max_current_ma=10_000, overload=STEPS)
    bench.board.watts = 3000
    bench.run(7)
    bench.board.watts = 5000
    bench.run(2)
    assert bench.board.closed
    bench.run(1)
    assert not bench.board.closed, "10 s above the first step"


def test_a_pause_begins_the_time_anew():
    bench = bench_of(max_current_ma=10_000)
    for _ in range(5):
        bench.board.watts = 3000
        bench.run(9)
        bench.board.watts = 0
        bench.run(1)
    assert bench.board.closed


def test_after_an_overload_supply_comes_back_so_often_and_then_by_the_key():
    bench = bench_of(max_current_ma=10_000, overload_rest_s=90, overload_closes=2)
    bench.board.watts = 3000
    for _ in range(2):
        assert seconds_until(bench, False) == 10
        assert 90 <= seconds_until(bench, True) <= 92
    assert seconds_until(bench, False) == 10
    bench.run(3600)
    assert not bench.board.closed and bench.supply.why() == ("key", 0)
    bench.supply.press()
    bench.run(2)
    assert bench.board.closed
    assert seconds_until(bench, False) <= 10
    assert 90 <= seconds_until(bench, True) <= 92, "in another hour it closes by itself again"


def test_the_count_of_the_hour_outlives_a_restart():
    bench = bench_of(max_current_ma=10_000, overload_rest_s=20, overload_closes=1)
    bench.board.watts = 3000
    seconds_until(bench, False)
    bench.start()
    assert 20 <= seconds_until(bench, True) <= 22, "and the rest is served from its beginning"
    seconds_until(bench, False)
    bench.start()
    bench.run(500)
    assert not bench.board.closed


def test_a_close_is_not_tried_again_while_a_trip_is_armed():
    bench = bench_of(trip_delay_s=100)
    bench.hold(ARREARS)
    bench.run(105)
    bench.board.stuck = False
    bench.release(ARREARS)
    bench.run(12)
    pulses = len(bench.board.coils)
    assert bench.supply.control == ON and not bench.board.closed
    bench.hold(ARREARS)
    bench.run(90)
    assert len(bench.board.coils) == pulses


# -- load control ------------------------------------------------------------------------------------------------------


def rig_of(**limits):
    rig = Rig(limits=limits_of(**limits), credit_uc=RICH_UC)
    rig.run(20)
    return rig


def load(rig, *steps, **changed):
    """A load order; steps: (seconds from now, power)."""
    now_s = rig.board.unix_s
    body = bodies.encode_load(tuple([(now_s + after_s, power_w) for after_s, power_w in steps]))
    return rig.order(orders.ASPECT_LOAD, body, **changed)


def test_a_load_above_the_limit_for_a_minute_trips_and_comes_back_after_its_rest():
    """OP-ORD-61"""
    rig = rig_of(overload_rest_s=120, overload_closes=1)
    assert rig.give(load(rig, (0, 1000), (5000, 0))) == results.APPLIED
    rig.board.watts = 1000
    rig.run(200)
    assert rig.board.closed
    rig.board.watts = 1500
    rig.run(1)
    assert rig.board.shown[-1] == (2, 60), "the customer is warned"
    assert rig.meter.supply.why() == ("cause", LOAD_LIMIT)
    assert rig.meter.supply.pending() == (states.PENDING_TRIP, 60)
    rig.run(59)
    assert rig.board.closed and rig.report().alarms >> states.ALARM_LOAD_LIMIT & 1
    rig.run(1)
    assert not rig.board.closed and rig.report().causes == 1 << LOAD_LIMIT
    rig.board.watts = 500
    rig.run(115)
    assert (events.RELAY_OPENED, 0, OWN + LOAD_LIMIT) in rig.events()
    assert not rig.board.closed
    rig.run(10)
    assert rig.board.closed and rig.report().alarms >> states.ALARM_LOAD_LIMIT & 1 == 0
    rig.board.watts = 1500
    rig.run(62)
    assert not rig.board.closed
    rig.run(1000)
    assert not rig.board.closed and rig.meter.supply.why() == ("key", 0)


def test_a_load_that_comes_and_goes_trips_nothing_and_fills_no_log():
    rig = rig_of()
    rig.give(load(rig, (0, 1000), (100_000, 0)))
    told = rig.meter.log.newest
    for _ in range(20):
        rig.board.watts = 1500
        rig.run(50)
        rig.board.watts = 900
        rig.run(1)
    assert rig.board.closed and rig.meter.log.newest == told
    assert rig.meter.supply.pending() == (states.PENDING_NONE, 0)


def test_steps_come_and_go_by_the_clock():
    rig = rig_of()
    rig.board.watts = 1500
    rig.give(load(rig, (100, 2000), (400, 1000), (800, 0)))
    supply = rig.meter.supply
    start_s = rig.board.unix_s
    for after_s, limit_w, until_s in ((50, 0, 100), (150, 2000, 400), (410, 1000, 800)):
        rig.run(start_s + after_s - rig.board.unix_s)
        assert supply.load.in_force() == (limit_w, start_s + until_s)
        assert rig.board.closed
    rig.run(100)
    assert not rig.board.closed
    rig.run(start_s + 802 - rig.board.unix_s)
    assert supply.load.in_force() == (0, 0) and supply.causes == 0, "the limit has gone, and its cause with it"
    supply.press()
    rig.run(3)
    assert rig.board.closed


def test_load_control_outlives_a_restart_and_ends_by_order():
    rig = rig_of()
    rig.give(load(rig, (0, 1000), (100_000, 0)))
    rig.outage(10)
    rig.run(20)
    assert rig.meter.supply.load.in_force()[0] == 1000
    assert rig.give(load(rig)) == results.APPLIED
    rig.board.watts = 5000
    rig.run(200)
    assert rig.board.closed
    rig.outage(10)
    rig.run(2)
    assert rig.meter.supply.load.in_force() == (0, 0)


def test_a_load_order_that_cannot_be_stored_changes_nothing():
    rig = rig_of()
    rig.give(load(rig, (0, 1000), (100_000, 0)))
    for sector in range(rig.board.flash.sectors):
        rig.board.flash.wear_out(sector)
    assert rig.give(load(rig, (0, 500), (100_000, 0))) == results.STORAGE_FAILED
    assert rig.meter.supply.load.in_force()[0] == 1000


def test_who_limits_needs_a_clock_and_who_lifts_a_limit_does_not():
    """OP-ORD-61"""
    rig = rig_of()
    rig.give(load(rig, (0, 1000), (100_000, 0)))
    rig.board.clock_valid = False
    rig.outage(0)
    rig.run(20)
    later_s = rig.board.unix_s + 600
    assert rig.give(load(rig, (0, 500), (9000, 0), not_after_s=later_s)) == results.CLOCK_UNKNOWN
    assert rig.meter.supply.load.in_force()[0] == 1000
    rig.run(3700)
    assert rig.meter.supply.load.in_force() == (0, 0), "a limit does not count on for long by a clock nobody knows"
    assert rig.give(load(rig, not_after_s=later_s + 9000)) == results.APPLIED


# -- voltage and temperature -------------------------------------------------------------------------------------------


def test_over_voltage_trips_without_delay_and_comes_back_within_its_band():
    bench = bench_of(over_voltage_dv=2600, voltage_s=5, stable_s=30, trip_delay_s=900)
    bench.board.voltage = 2610
    assert seconds_until(bench, False) == 5
    assert bench.switches[-1] == (False, OWN + OVER) and bench.supply.control == READY
    bench.board.voltage = 2590
    bench.run(300)
    assert not bench.board.closed, "within the limit, but not by 2 percent"
    assert bench.supply.why() == ("cause", OVER)
    bench.start()
    bench.run(300)
    assert not bench.board.closed, "over a restart too"
    bench.board.voltage = 2540
    assert 30 <= seconds_until(bench, True) <= 32
    assert bench.switches[-1] == (True, OWN + OVER)


def test_under_voltage_trips_after_the_delay_with_an_alarm():
    bench = bench_of(under_voltage_dv=1950, voltage_s=5, trip_delay_s=60)
    bench.board.voltage = 1900
    bench.run(5)
    assert bench.supply.pending() == (states.PENDING_TRIP, 60) and bench.board.shown[-1] == (2, 60)
    assert seconds_until(bench, False) == 60
    bench.board.voltage = 1960
    bench.run(100)
    assert not bench.board.closed
    bench.board.voltage = 1990
    assert seconds_until(bench, True) <= 12


def test_a_dip_that_does_not_last_trips_nothing():
    bench = bench_of(under_voltage_dv=1950, over_voltage_dv=2600, voltage_s=5, trip_delay_s=0)
    for voltage in (1900, 2700) * 5:
        bench.board.voltage = voltage
        bench.run(4)
        bench.board.voltage = 2300
        bench.run(1)
    assert bench.board.closed


def test_a_close_waits_while_the_voltage_is_beyond_a_limit():
    bench = bench_of(over_voltage_dv=2500, stable_s=10, voltage_s=60)
    bench.hold(ARREARS)
    bench.run(70)
    bench.board.voltage = 2520
    bench.release(ARREARS)
    bench.run(40)
    assert not bench.board.closed and bench.supply.why() == ("cause", reasons.CAUSE_SUPPLY_QUALITY)
    bench.board.voltage = 2490
    assert seconds_until(bench, True) <= 12


def test_heat_trips_at_once_and_comes_back_ten_degrees_below():
    bench = bench_of(max_temperature_dc=900, trip_delay_s=900)
    bench.board.temperature = 901
    assert seconds_until(bench, False) == 10
    assert bench.supply.alarms() >> states.ALARM_TEMPERATURE & 1
    bench.board.temperature = 801
    bench.run(300)
    assert not bench.board.closed
    bench.board.temperature = 800
    assert seconds_until(bench, True) <= 22


def test_nothing_closes_into_heat():
    bench = bench_of(max_temperature_dc=900)
    bench.hold(ARREARS)
    bench.run(70)
    bench.board.temperature = 950
    bench.release(ARREARS)
    bench.run(100)
    assert not bench.board.closed and bench.supply.why() == ("cause", HOT)


def test_a_board_that_measures_neither_is_not_cut_off_for_it():
    bench = bench_of(max_temperature_dc=1, over_voltage_dv=1000, under_voltage_dv=900, voltage_s=0)
    bench.board.voltage = UNKNOWN_DV
    bench.run(100)
    assert bench.board.closed


def test_protection_yields_to_heat_and_over_voltage_and_to_nothing_less():
    """OP-ORD-44"""
    for harm, name, value in ((True, "temperature", 950), (True, "voltage", 2700), (False, "voltage", 1800)):
        bench = bench_of(max_temperature_dc=900, over_voltage_dv=2600, under_voltage_dv=1900, trip_delay_s=0)
        bench.give(PROTECTION, bodies.HOLD)
        setattr(bench.board, name, value)
        bench.run(60)
        assert bench.board.closed == (not harm)
    bench = bench_of(max_current_ma=10_000)
    bench.give(PROTECTION, bodies.HOLD)
    bench.board.watts = 9000
    bench.run(100)
    assert bench.board.closed, "an overload does not count against protection"


def test_what_would_do_harm_does_not_wait_for_the_dwell():
    for name, value, waits in (("temperature", 950, False), ("voltage", 2700, False), ("watts", 9000, True)):
        bench = bench_of(
            dwell_s=600, trip_delay_s=0, max_temperature_dc=900, over_voltage_dv=2600, max_current_ma=10_000
        )
        bench.hold(ARREARS)
        bench.run(2)
        bench.release(ARREARS)
        seconds_until(bench, True)
        setattr(bench.board, name, value)
        bench.run(30)
        assert bench.board.closed == waits


# -- why, and the relay's life -----------------------------------------------------------------------------------------


def test_every_switch_names_who():
    bench = bench_of(trip_delay_s=0)
    bench.hold(ARREARS)
    bench.run(15)
    bench.hold(reasons.HOLD_LEGAL)
    bench.run(2)
    bench.release(ARREARS)
    bench.run(2)
    bench.release(reasons.HOLD_LEGAL)
    seconds_until(bench, True)
    bench.hold(SAFETY)
    bench.run(12)
    bench.release(SAFETY)
    bench.run(2)
    bench.supply.press()
    bench.run(12)
    assert bench.switches == [
        (False, ARREARS),
        (True, reasons.HOLD_LEGAL),
        (False, SAFETY),
        (True, reasons.BY_KEY),
    ]
    told = [(code, detail) for code, _, detail in bench.events if code in (34, 35)]
    assert told == [(34, ARREARS), (35, reasons.HOLD_LEGAL), (34, SAFETY), (35, reasons.BY_KEY)]


def test_who_stood_last_is_known_after_a_restart():
    bench = bench_of(trip_delay_s=0, spread_s=0)
    bench.hold(ARREARS)
    bench.run(15)
    bench.release(ARREARS)
    bench.start()
    seconds_until(bench, True)
    assert bench.switches[-1] == (True, ARREARS)


def test_a_relay_near_its_rated_life_is_told_once_and_stays_told():
    bench = bench_of(trip_delay_s=0)
    bench.board.rated_operations = 20
    while bench.supply.relay.operations < 17:
        bench.hold(ARREARS)
        seconds_until(bench, False)
        bench.release(ARREARS)
        seconds_until(bench, True)
    worn = [event for event in bench.events if event[0] == events.RELAY_WORN]
    assert worn == [(events.RELAY_WORN, 18, 0)]
    assert bench.supply.alarms() >> states.ALARM_RELAY_WORN & 1
    bench.start()
    bench.run(2)
    assert bench.supply.alarms() >> states.ALARM_RELAY_WORN & 1


def test_the_state_of_earlier_firmware_is_taken():
    bench = bench_of(trip_delay_s=0)
    bench.hold(ARREARS)
    bench.run(5)
    bench.stored = bench.stored[:15]
    bench.start()
    assert (bench.supply.control, bench.supply.holds, bench.supply.relay.operations) == (0, 1 << ARREARS, 1)


def test_the_block_of_supply_says_what_is_meant_and_why():
    rig = rig_of(supply_mode=6, over_voltage_dv=2600, max_temperature_dc=900, max_current_ma=60_000)
    rig.board.temperature_dc = lambda: -125
    rig.give(load(rig, (0, 2000), (900, 0)))
    rig.give(rig.hold(ARREARS, delay_s=300))
    rig.run(1)
    found = Master(rig).block(registers.SUPPLY)
    wanted = {
        "supply_mode": 6,
        "control": ON,
        "contact": states.CONTACT_CLOSED,
        "why": ARREARS,
        "holds": 1 << ARREARS,
        "armed_trips": 1,
        "armed_first": ARREARS,
        "armed_s": 299,
        "operations": 0,
        "rated_operations": 10_000,
        "load_limit_w": 2000,
        "load_limit_until_s": rig.board.unix_s - 1 + 900,
        "max_current_ma": 60_000,
        "over_voltage_dv": 2600,
        "under_voltage_dv": 0,
        "temperature_dc": -125,
        "max_temperature_dc": 900,
    }
    assert {name: found[name] for name in wanted} == wanted
    rig.run(310)
    found = Master(rig).block(registers.SUPPLY)
    assert (found["control"], found["armed_trips"], found["armed_first"], found["operations"]) == (0, 0, 0, 1)
    rig.give(rig.release(ARREARS, bodies.CLOSE_PERMIT))
    rig.run(20)
    assert Master(rig).block(registers.SUPPLY)["why"] == reasons.BY_KEY
