"""What the meter senses beside pulses and relay: tampering, disagreement of its parts, sags of the supply."""

import struct

from meter import calibration
from meter.core import Meter
from meter.ports import (
    INPUT_COVER,
    INPUT_MAGNET,
    INPUT_NEUTRAL_MISSING,
    INPUT_SEAL_OPEN,
    INPUT_SUPPLY_BAD,
    INPUT_TERMINAL_COVER,
)
from meter.quantities import MINUTE_FORMAT, Quantities
from meterlink import bodies, events, flashmap, modbus, orders, registers, results, states, tariff
from metersim.flash import NorFlash
from tests.firmware.ramboard import METER, START_S, RamBoard, Rig
from tests.firmware.test_both_registers import Master

RICH_UC = 1_000_000_000


def ready(**changed):
    board = RamBoard()
    board.measures = True
    board.watts = 3600
    rig = Rig(board=board, credit_uc=RICH_UC, **changed)
    rig.run(30)
    return rig


def codes(rig):
    return [event[0] for event in rig.events()]


def latched(rig, bit):
    return rig.report().latches >> bit & 1


# -- covers, magnet, neutral -------------------------------------------------------------------------------------------


def test_each_input_is_an_event_and_a_latch():
    for bit, came, went, latch in (
        (INPUT_COVER, events.COVER_OPENED, events.COVER_CLOSED, states.LATCH_COVER),
        (INPUT_TERMINAL_COVER, events.TERMINAL_COVER_OPENED, events.TERMINAL_COVER_CLOSED, states.LATCH_TERMINAL_COVER),
        (INPUT_MAGNET, events.MAGNET_FOUND, events.MAGNET_GONE, states.LATCH_MAGNET),
        (INPUT_NEUTRAL_MISSING, events.NEUTRAL_MISSING, events.NEUTRAL_BACK, states.LATCH_NEUTRAL_MISSING),
    ):
        rig = ready()
        rig.board.input_bits = bit
        rig.run(5)
        rig.board.input_bits = 0
        rig.run(5)
        found = codes(rig)
        assert found.count(came) == 1 and found.count(went) == 1, bit
        assert latched(rig, latch) and rig.report().alarms >> states.ALARM_TAMPER & 1
        rig.outage(3600)
        rig.run(5)
        assert latched(rig, latch), "over a restart as well"
        body = struct.pack(">BII", 1, 1 << latch, rig.report().event_newest)
        assert rig.give(rig.order(orders.ASPECT_CLEAR, body)) == results.APPLIED
        assert not latched(rig, latch)
        rig.run(5)
        assert codes(rig).count(came) == 1, "what was told is not told again"


def test_a_seal_switch_is_told_and_not_latched():
    rig = ready()
    rig.board.input_bits = INPUT_SEAL_OPEN
    rig.run(5)
    assert events.SEAL_OPENED in codes(rig) and rig.report().latches == 0


def test_bounce_tells_nothing():
    rig = ready()
    for second in range(60):
        rig.board.input_bits = INPUT_COVER if second % 2 else 0
        rig.run(1)
    rig.board.input_bits = 0
    rig.run(5)
    assert events.COVER_OPENED not in codes(rig)


def test_a_cover_opened_in_the_dark():
    rig = ready()
    rig.board.input_bits = INPUT_COVER
    rig.outage(3600)
    rig.run(5)
    assert codes(rig).count(events.COVER_OPENED) == 1 and latched(rig, states.LATCH_COVER)
    rig.outage(60)
    rig.run(5)
    assert codes(rig).count(events.COVER_OPENED) == 1, "it stood open before"


# -- pulses against power ----------------------------------------------------------------------------------------------


def test_a_cut_pulse_line():
    rig = ready()
    rig.board.pulses_cut = True
    rig.run(120)  # 120 Wh that nobody counts
    assert rig.meter.senses.metering.found and latched(rig, states.LATCH_METERING)
    assert [event[0] for event in rig.events() if event[0] == events.PULSES_MISSING] == [events.PULSES_MISSING]
    assert rig.report().alarms >> states.ALARM_METERING & 1
    rig.board.pulses_cut = False
    rig.run(120)
    assert events.METERING_AGREES in codes(rig) and not rig.report().alarms >> states.ALARM_METERING & 1
    assert latched(rig, states.LATCH_METERING)


def test_pulses_that_no_power_explains():
    rig = ready()
    rig.board.watts = 0
    for _ in range(60):
        rig.board.imported += 1
        rig.run(1)
    assert codes(rig).count(events.PULSES_UNEXPLAINED) == 1


def test_too_few_pulses():
    rig = ready()
    rig.board.pulses_cut = True
    for second in range(300):
        rig.board.imported += second % 10 == 0
        rig.run(1)
    assert events.PULSES_FEW in codes(rig) and events.PULSES_MISSING not in codes(rig)


def test_honest_metering_is_never_accused():
    rig = ready()
    for watts in (1, 4, 5, 6, 40, 700, 5000, 20_000, 0, 3):
        rig.board.watts = watts
        rig.run(1200, 7)
    assert rig.meter.senses.metering.found == 0
    assert not {events.PULSES_MISSING, events.PULSES_FEW, events.PULSES_UNEXPLAINED} & set(codes(rig))


def test_reversed_current():
    rig = ready()
    rig.board.backwards = True
    rig.run(30)
    assert codes(rig).count(events.CURRENT_REVERSED) == 1 and latched(rig, states.LATCH_REVERSED)
    assert rig.meter.energy.export_wh > 0, "and it is registered for what it is"


def test_export_that_the_tariff_pays_is_no_tampering():
    rig = ready(plan=tariff.Tariff((1_000_000,), export_prices_uc_per_kwh=(300_000,)))
    rig.board.backwards = True
    rig.run(60)
    assert events.CURRENT_REVERSED not in codes(rig) and rig.report().latches == 0


# -- energy by rate ----------------------------------------------------------------------------------------------------


def test_energy_by_rate_adds_up_and_survives():
    rig = ready(plan=tariff.Tariff((1_000_000, 2_000_000), ((0, 0), (1, 1), (2, 0))))
    rig.run(2700, 30)
    rig.board.backwards = True
    rig.run(300, 30)
    energy = rig.meter.energy
    assert sum(energy.import_rates) == energy.import_wh and sum(energy.export_rates) == energy.export_wh
    assert 890 <= energy.import_rates[1] <= 910 and energy.import_rates[2:] == [0, 0]
    rig.meter.power_down()
    before = list(energy.import_rates), list(energy.export_rates)
    rig.outage(5)
    assert (rig.meter.energy.import_rates, rig.meter.energy.export_rates) == before
    block = Master(rig).block(registers.ENERGY)
    assert block["import_rate_1_wh"] == before[0][1] and block["export_rate_0_wh"] == before[1][0]


# -- calibration -------------------------------------------------------------------------------------------------------

CONSTANTS = (2000, 33000, 32000, 32768, -5, 7)


def calibrate(rig, constants=CONSTANTS, carrier=Meter.CARRIER_LOCAL):
    return Master(rig, carrier).mail(registers.CALIBRATE_MAILBOX, struct.pack(">BIHHHhh", 1, *constants))


def test_calibration_wants_the_seal_open():
    rig = ready()
    assert rig.board.constants == calibration.UNCALIBRATED, "given to the chip at a start"
    before = rig.contents()
    assert calibrate(rig) == -modbus.DEVICE_BUSY
    assert rig.contents() == before and rig.meter.energy.imp_per_kwh == 1000
    rig.board.input_bits = INPUT_SEAL_OPEN
    assert not isinstance(calibrate(rig), int)
    assert rig.meter.energy.imp_per_kwh == 2000 and rig.board.constants == CONSTANTS
    assert (events.CALIBRATED, 2000, 1) in rig.events()
    rig.board.constants = None
    rig.outage()
    assert rig.board.constants == CONSTANTS and rig.meter.energy.imp_per_kwh == 2000, "over a restart as well"
    block = Master(rig).block(registers.ENERGY)
    assert (block["calibrations"], block["gain_voltage"], block["phase_shift"]) == (1, 33000, -5)


def test_calibration_keeps_the_energy_of_the_remainder():
    rig = ready()
    rig.board.watts = 0
    rig.meter.energy.import_rest = 500  # half a watt-hour
    rig.board.input_bits = INPUT_SEAL_OPEN
    calibrate(rig)
    assert rig.meter.energy.import_rest == 1000


def test_calibration_out_of_range_changes_nothing():
    rig = ready()
    rig.board.input_bits = INPUT_SEAL_OPEN
    before = rig.contents()
    for constants in ((0,) + CONSTANTS[1:], (1_000_001,) + CONSTANTS[1:], (2000, 100) + CONSTANTS[2:]):
        assert calibrate(rig, constants) == -modbus.ILLEGAL_VALUE
    assert calibrate(rig, carrier=Meter.CARRIER_BUS) == -modbus.ILLEGAL_ADDRESS, "the service port alone"
    assert rig.contents() == before


def test_calibration_that_cannot_be_stored_does_not_count():
    rig = ready()
    rig.board.input_bits = INPUT_SEAL_OPEN
    rig.meter.store.journal.commit = _fails
    assert calibrate(rig) == -modbus.DEVICE_FAILURE
    assert rig.meter.energy.imp_per_kwh == 1000 and rig.board.constants == calibration.UNCALIBRATED


def _fails(items):
    from meter.sectors import StorageError

    raise StorageError("flash is gone")


# -- brown-out ---------------------------------------------------------------------------------------------------------


def programs(rig):
    return sum(rig.board.flash.erases), rig.meter.store.journal.sequence


def test_a_brown_out_writes_once_and_switches_nothing():
    rig = ready()
    rig.run(20)
    rig.board.input_bits = INPUT_SUPPLY_BAD
    rig.run(1)
    assert rig.report().alarms >> states.ALARM_BROWN_OUT & 1
    committed = rig.meter.committed()
    written, coils = programs(rig), list(rig.board.coils)
    assert rig.give(rig.hold(1)) == results.STORAGE_FAILED, "nothing is decided on a failing supply"
    rig.meter.supply.holds |= 1 << 7
    rig.run(300)
    rig.meter.supply.holds = 0
    assert not rig.meter.erase_due()
    assert programs(rig) == written and rig.board.coils == coils and rig.meter.committed() == committed
    rig.board.input_bits = 0
    rig.run(120)
    assert [event for event in rig.events() if event[0] == events.BROWN_OUT] == [(events.BROWN_OUT, 301, 0)]
    assert rig.meter.committed()[1] > committed[1], "and what flowed meanwhile is counted"


def test_a_brown_out_that_ends_in_the_dark_loses_nothing():
    rig = ready()
    rig.run(25)
    rig.board.input_bits = INPUT_SUPPLY_BAD
    rig.run(1)
    energy = rig.meter.energy
    before = energy.import_wh, energy.import_rest, rig.meter.account.balance_uc()
    rig.board.input_bits = 0
    rig.outage(60)
    energy = rig.meter.energy
    assert (energy.import_wh, energy.import_rest, rig.meter.account.balance_uc()) == before
    assert rig.meter.unclean_starts == 0, "it had the time to stop"


# -- quantities --------------------------------------------------------------------------------------------------------


def test_spreads_of_minutes():
    measured = Quantities(1)
    for second in range(125):
        voltage = 2300 + second % 60
        measured.take(((voltage, 1000, -50 if second == 70 else 230, 998, 5001),), START_S + second, 1)
    assert measured.minutes == 2
    last = struct.unpack(MINUTE_FORMAT, measured.kept(0))
    assert last == (
        START_S + 60,
        60,
        2300,
        2359,
        2329,
        1000,
        1000,
        1000,
        -50,
        230,
        225,
        998,
        998,
        998,
        5001,
        5001,
        5001,
    )
    assert struct.unpack(MINUTE_FORMAT, measured.kept(1))[0] == START_S
    assert measured.kept(2) is None and measured.kept(-1) is None and measured.kept(0, 1) is None


def test_sixty_minutes_are_kept():
    measured = Quantities(3)
    phases = ((2300, 1, 2, 3, 4), (2310, 1, 2, 3, 4), (2320, 1, 2, 3, 4))
    for minute in range(70):
        for second in (0, 30):
            measured.take(phases, START_S + 60 * minute + second, 30)
    assert measured.minutes == 60
    oldest = struct.unpack(MINUTE_FORMAT, measured.kept(59, 2))
    assert (oldest[0], oldest[2]) == (START_S + 60 * 9, 2320)


def test_quantities_over_modbus():
    rig = ready()
    rig.board.voltage = 2250
    rig.run(1800)
    master = Master(rig)
    block = master.block(registers.QUANTITIES)
    assert block["phases"] == 1 and block["voltage_1"] == 2250 and block["power_1"] == 3600
    assert block["minutes_kept"] >= 30 and block["spread_start_s"] % 900 == 0
    assert block["voltage_1_low"] == 2250 == block["voltage_1_average"] and block["voltage_2"] == 0
    reply = master.request(struct.pack(">BBBHHH", 20, 7, 6, registers.MINUTE_FILE, 0, 24))
    assert struct.unpack(MINUTE_FORMAT, reply[4:])[2:5] == (2250, 2250, 2250)
    for record, count in ((60, 24), (0, 12), (59, 24)):
        asked = master.request(struct.pack(">BBBHHH", 20, 7, 6, registers.MINUTE_FILE, record, count))
        assert asked == -modbus.ILLEGAL_ADDRESS


def test_what_a_step_measures_takes_little_heap():
    """Lists and tuples of a second are freed with it: the ring and the sums stand where they stood."""
    measured = Quantities(1)
    phases = ((2300, 1000, 230, 998, 5001),)
    measured.take(phases, START_S, 1)
    ring = measured._ring
    for second in range(7200):
        measured.take(phases, START_S + second, 1)
    assert measured._ring is ring and len(ring) == 60 * 48


# -- factory state, retirement -----------------------------------------------------------------------------------------


def test_a_new_meter_meters_and_decides_nothing():
    board = RamBoard()
    board.measures = True
    board.watts = 3600
    rig = Rig(board=board, commission=False)
    rig.run(200)
    meter = rig.meter
    assert meter.energy.import_wh == 125 and not board.coils and not meter.commissioned
    assert meter.account.charged_uc == 0 and meter.store.intervals.newest < 0
    assert meter.submit(0, rig.credit(1)) == results.WRONG_METER
    board.input_bits = INPUT_SEAL_OPEN
    rig.run(5)
    assert not isinstance(calibrate(rig), int), "it is calibrated before it is sold"
    rig.outage(10)
    assert rig.meter.energy.import_wh >= 120 and rig.meter.energy.imp_per_kwh == 2000
    rig.meter.provision(rig.record(imp_per_kwh=1000))
    assert rig.meter.number == METER and rig.meter.energy.imp_per_kwh == 2000, "what was calibrated stays"


def test_a_flash_of_the_right_size():
    assert NorFlash(flashmap.TOTAL_SECTORS).ioctl(4, 0) == flashmap.TOTAL_SECTORS
    assert bodies.decode_limits(Rig().limits.encode()).encode() == Rig().limits.encode()


def test_a_brown_out_keeps_even_the_body_of_a_tariff_out_of_flash():
    rig = ready()
    rig.board.input_bits = INPUT_SUPPLY_BAD
    rig.run(2)
    ops = rig.board.flash.ops
    plan = tariff.Tariff((2_000_000,)).encode()
    assert rig.give(rig.order(orders.ASPECT_TARIFF, plan)) == results.STORAGE_FAILED
    assert rig.board.flash.ops == ops
    rig.board.input_bits = 0
    rig.run(2)
    assert rig.give(rig.order(orders.ASPECT_TARIFF, plan)) == results.APPLIED
