"""Drivers of metering chips against the chips: every pulse once, whatever the wire does."""

import asyncio

from meter.drivers import atm90e26, bl0942
from meter.drivers.atm90e26 import Atm90e26
from meter.drivers.bl0942 import Bl0942, Scale
from tests.firmware.chips import atm90e26 as atm_chip
from tests.firmware.chips import bl0942 as bl_chip

NOMINAL = (0, 32768, 32768, 32768, 0, 0)
MWS_PER_KWH = 3_600_000_000


def read(driver):
    asyncio.run(driver.read())


def atm(**wire):
    chip = atm_chip.Chip()
    for name, value in wire.items():
        setattr(chip, name, value)
    driver = Atm90e26(chip, chip.cs)
    driver.calibrate(NOMINAL)
    return chip, driver


# -- ATM90E26 ----------------------------------------------------------------------------------------------------------


def test_atm_check_sum_is_the_data_sheets():
    # Worked by hand after DS 5.3.1: exclusive or of all bytes, sum of all bytes.
    assert atm90e26.checksum((0x0102, 0x0408)) == 0x0F0F
    assert atm90e26.checksum((0xFFFF, 0x0001)) == (0xFF ^ 0xFF ^ 0 ^ 1) << 8 | (0xFF + 0xFF + 1) & 0xFF


def test_atm_meters_once_it_has_its_words():
    chip, driver = atm()
    assert chip.metering() and chip._value(0x01) == 0
    chip.flow(MWS_PER_KWH // 10)
    chip.flow(-MWS_PER_KWH // 20)
    read(driver)
    assert (driver.imported, driver.exported, driver.ready, driver.faults) == (320, 160, True, 0)


def hour(chip, driver, watts=2345):
    """An hour second by second at a load that changes, some of it to the grid; the energy that flowed, both ways."""
    flowed = [0, 0]
    for second in range(3600):
        mws = (watts + second % 700) * 1000
        if second % 900 > 800:
            mws = -mws
        flowed[mws < 0] += abs(mws)
        chip.flow(mws)
        read(driver)
    return flowed


def test_atm_an_hour_is_exact_to_the_pulse():
    chip, driver = atm()
    flowed = hour(chip, driver)
    assert driver.imported == flowed[0] * 3200 // MWS_PER_KWH > 7000
    assert driver.exported == flowed[1] * 3200 // MWS_PER_KWH > 500
    assert driver.faults == 0 and driver.resets == 0


def test_atm_a_disturbed_wire_loses_and_doubles_nothing():
    chip, driver = atm()
    chip.flip, chip.deafen = 97, 71  # of some 100 000 frames
    flowed = hour(chip, driver)
    chip.flip = chip.deafen = 0
    read(driver)
    assert driver.imported == flowed[0] * 3200 // MWS_PER_KWH
    assert driver.exported == flowed[1] * 3200 // MWS_PER_KWH


def test_atm_a_brown_out_costs_what_the_chip_lost_and_no_more():
    chip, driver = atm()
    seen = 0
    for second in range(100):
        chip.flow(1_000_000)
        if second == 50:
            chip.brown_out()
        read(driver)
        assert driver.imported >= seen
        seen = driver.imported
    assert driver.resets == 1 and chip.metering() and driver.ready
    whole = 100_000_000 * 3200 // MWS_PER_KWH
    assert whole - 2 <= driver.imported <= whole


def test_atm_a_dead_wire_keeps_what_was_counted_and_says_so():
    chip, driver = atm()
    chip.flow(MWS_PER_KWH // 10)
    read(driver)
    before = driver.imported
    chip.dead = True
    for _ in range(3):
        read(driver)
    assert (driver.imported, driver.ready) == (before, False) and driver.faults == 3
    chip.dead = False
    chip.flow(MWS_PER_KWH // 10)
    read(driver)
    assert driver.imported == 640 and driver.ready and driver.resets == 0


def test_atm_quantities_are_signed():
    chip, driver = atm()
    chip.voltage_cv, chip.current_ma, chip.neutral_ma, chip.power_w, chip.factor = 23_174, 4321, 4300, -987, -985
    chip.frequency_chz = 4998
    read(driver)
    assert (driver.voltage_dv, driver.current_ma, driver.neutral_ma) == (2317, 4321, 4300)
    assert (driver.power_w, driver.power_factor, driver.frequency_chz) == (-987, -985, 4998)


def test_atm_calibration_reaches_the_chip_and_a_running_chip_is_left_alone():
    chip, driver = atm()
    driver.calibrate((0, 33_000, 32_000, 32768 + 328, -5, -7))
    assert chip.metering() and driver.resets == 1
    assert chip.registers[0x23] == 328 and chip.registers[0x24] == 0x8005 and chip.registers[0x37] == 0xFFF9
    chip.voltage_cv = chip.current_ma = 10_000
    read(driver)
    assert driver.voltage_dv == 10_000 * 33_000 // 32_768 // 10 and driver.current_ma == 10_000 * 32_000 // 32_768
    chip.flow(MWS_PER_KWH // 10)
    other = Atm90e26(chip, chip.cs)  # the board starts anew, the chip goes on
    other.calibrate((0, 33_000, 32_000, 32768 + 328, -5, -7))
    assert other.resets == -1
    read(other)
    assert other.imported == 320 * (32768 + 328) // 32768


# -- BL0942 ------------------------------------------------------------------------------------------------------------


def bl(**wire):
    chip = bl_chip.Chip()
    driver = Bl0942(chip, Scale())
    driver.calibrate(NOMINAL)
    read(driver)
    read(driver)
    assert driver.ready and chip.mode() == 0x07 and driver.resets == 0
    for name, value in wire.items():
        setattr(chip, name, value)
    return chip, driver


def pulses(counts):
    """Pulses of 3200 imp/kWh that counts of CF_CNT stand for."""
    return counts * 3_200_000 // Scale().counts_per_mwh


def test_bl_scale_is_the_data_sheets():
    scale = Scale()
    assert scale.counts_per_mwh == 5_350_632  # 3537 / 1.218^2 / 3824.529 * 1000 W -> counts, x 3.6e9 / 419430.4
    assert scale.current_ma(251_213) == 999 and scale.current_ma(251_214) == 1000
    assert scale.voltage_dv(3_653_176) == 2300
    assert scale.power_w(623_394) == 1000 and scale.power_w(-623_394) == -1000


def test_bl_counts_both_ways_and_round_the_circle():
    chip, driver = bl()
    chip.watt_raw = 6_000_000
    for _ in range(600):
        chip.flow()
        read(driver)
    forth = chip.moved
    assert driver.imported == pulses(forth) > 1000
    chip.watt_raw = -chip.watt_raw
    for _ in range(1200):
        chip.flow()
        read(driver)
    assert chip.moved < 0 and chip.count > 0xFF0000, "the count went below 0"
    assert driver.imported == pulses(forth) and driver.exported == pulses(forth - chip.moved)
    chip.watt_raw = -chip.watt_raw
    chip.count = driver._count = 0xFFFFF0
    before = driver.imported
    chip.flow(100)
    moved = chip.count - 0xFFFFF0 + (1 << 24)
    assert chip.count < 0x100000
    read(driver)
    assert 0 <= driver.imported - before - pulses(moved) <= 1


def test_bl_damaged_packets_are_never_counted():
    chip, driver = bl(spoil=3)
    chip.watt_raw = 3_000_000
    for _ in range(500):
        chip.flow()
        read(driver)
        assert driver.imported <= pulses(chip.moved)
    chip.spoil = 0
    read(driver)
    assert driver.faults > 0 and driver.imported == pulses(chip.moved) and driver.resets == 0


def test_bl_a_chip_that_started_anew_is_set_up_and_counted_from_there():
    chip, driver = bl()
    chip.watt_raw = 3_000_000
    for _ in range(100):
        chip.flow()
        read(driver)
    counted = driver.imported
    chip.brown_out()
    chip.flow()
    read(driver)
    assert driver.resets == 1 and not driver.ready and (driver.imported, driver.exported) == (counted, 0)
    for _ in range(100):
        chip.flow()
        read(driver)
    assert driver.ready and 0 <= driver.imported - counted - pulses(chip.moved) <= 1 and driver.exported == 0


def test_bl_a_board_that_started_anew_takes_no_old_count_for_energy():
    chip, _ = bl()
    chip.count = 123_456
    driver = Bl0942(chip, Scale())
    driver.calibrate(NOMINAL)
    read(driver)
    assert (driver.imported, driver.exported, driver.ready) == (0, 0, True)
    chip.count += 53_507
    read(driver)
    assert driver.imported == pulses(53_507)


def test_bl_silence_and_half_answers_end_in_time():
    chip, driver = bl(mute=True)
    read(driver)
    assert (driver.faults, driver.ready) == (1, False)
    chip.mute, chip.half = False, True
    read(driver)
    assert (driver.faults, driver.ready) == (2, False)
    chip.half = False
    read(driver)
    assert driver.ready


def test_bl_quantities():
    chip, driver = bl()
    chip.current_raw, chip.voltage_raw, chip.watt_raw, chip.cycle = 1_256_068, 3_653_176, -623_394, 20_008
    read(driver)
    assert (driver.voltage_dv, driver.current_ma, driver.power_w) == (2300, 5000, -1000)
    assert (driver.power_factor, driver.frequency_chz) == (-869, 4998)
    driver.calibrate((0, 33_000, 32_768, 32_768, 0, 0))
    read(driver)
    assert driver.voltage_dv == 2316


def test_bl_check_sum_is_the_data_sheets():
    # DS 3.2.5: a write of 0x55 to USR_WRPROT is A8 1D 55 00 00 E5.
    assert bl0942.check(0xA8, b"\x1d\x55\x00\x00") == 0xE5
