"""Clock, witness and entropy against the chips on an I2C bus."""

from meter.drivers.entropy import Entropy
from meter.drivers.fram import PLACES, Witness
from meter.drivers.lm75 import UNKNOWN_DC, Lm75
from meter.drivers.pcf8563 import Pcf8563
from tests.firmware.chips.i2c import Bus, Clock, Fram, PowerCut, Thermometer

NEW_YEAR_2026_S = 1_767_225_600


def clock():
    chip = Clock()
    bus = Bus({0x51: chip})
    return chip, bus, Pcf8563(bus)


def test_a_new_clock_knows_nothing_until_it_is_set():
    chip, _, driver = clock()
    assert driver.rtc()[1] is False
    driver.set_rtc(NEW_YEAR_2026_S + 3661)
    assert driver.rtc() == (NEW_YEAR_2026_S + 3661, True)
    assert bytes(chip.registers[2:9]) == b"\x01\x01\x01\x01\x00\x01\x26", "01:01:01 on 2026-01-01 in BCD"
    chip.run(86_407)
    assert driver.rtc() == (NEW_YEAR_2026_S + 3661 + 86_407, True)


def test_a_stopped_oscillator_makes_the_time_invalid_until_it_is_set():
    chip, _, driver = clock()
    driver.set_rtc(NEW_YEAR_2026_S)
    chip.stop_oscillator()
    chip.run(10)
    assert driver.rtc() == (NEW_YEAR_2026_S + 10, False)
    driver.set_rtc(NEW_YEAR_2026_S + 20)
    assert driver.rtc() == (NEW_YEAR_2026_S + 20, True)


def test_days_months_and_the_century_turn_over():
    chip, _, driver = clock()
    for unix_s in (
        951_782_399,  # 2000-02-28 23:59:59, a leap year
        1_772_323_199,  # 2026-02-28 23:59:59
        1_835_395_199,  # 2028-02-28 23:59:59
        1_798_761_599,  # 2026-12-31 23:59:59
        4_102_444_799,  # 2099-12-31 23:59:59
    ):
        driver.set_rtc(unix_s)
        assert driver.rtc() == (unix_s, True)
        chip.run(1)
        assert driver.rtc() == (unix_s + 1, True), unix_s
    driver.set_rtc(4_102_444_800 + 86_400 * 31)
    assert driver.rtc() == (4_102_444_800 + 86_400 * 31, True)


def test_a_clock_that_does_not_answer_or_says_no_time_is_invalid():
    chip, bus, driver = clock()
    driver.set_rtc(NEW_YEAR_2026_S)
    for place, value in ((2, 0x60), (3, 0x7A), (4, 0x24), (5, 0x32), (5, 0x00), (7, 0x13), (8, 0xA0)):
        kept = chip.registers[place]
        chip.registers[place] = value
        assert driver.rtc() == (0, False), (place, value)
        chip.registers[place] = kept
    assert driver.rtc() == (NEW_YEAR_2026_S, True)
    del bus.chips[0x51]
    assert driver.rtc() == (0, False)
    driver.set_rtc(NEW_YEAR_2026_S)
    assert driver.faults == 2


def test_a_setting_that_power_cuts_leaves_the_old_time_the_new_one_or_none():
    for bytes_written in range(12):
        chip, _, driver = clock()
        driver.set_rtc(NEW_YEAR_2026_S + 86_399)
        chip.cut_after = bytes_written
        try:
            driver.set_rtc(1_835_395_199)
        except PowerCut:
            pass
        found, valid = driver.rtc()
        old_or_new = NEW_YEAR_2026_S + 86_399 if bytes_written < 1 else 1_835_395_199
        assert valid == (bytes_written < 1 or bytes_written >= 10)
        assert not valid or found == old_or_new


# -- witness -----------------------------------------------------------------------------------------------------------


def witness():
    chip = Fram()
    bus = Bus({0x50: chip})
    return chip, bus, Witness(bus)


def test_the_witness_rises_and_stays():
    _, bus, driver = witness()
    assert driver.witness() == 0 and driver.torn == 0
    for value in (1, 5, 5, 3, 1 << 40):
        driver.set_witness(value)
    assert driver.witness() == 1 << 40
    assert Witness(bus).witness() == 1 << 40 and driver.faults == 0


def test_a_torn_write_leaves_the_old_or_the_new_witness():
    for cut_after in range(17):
        chip, bus, driver = witness()
        for value in (100, 200, 300):
            driver.set_witness(value)
        chip.cut_after = cut_after
        try:
            driver.set_witness(400)
        except PowerCut:
            pass
        chip.cut_after = -1
        again = Witness(bus)
        assert again.witness() == (400 if cut_after >= 16 else 300)
        assert again.torn == (0 if cut_after in (0, 16) else 1) or cut_after < 8
        again.set_witness(500)
        assert Witness(bus).witness() == 500, "the place that was torn takes the next one"


def test_a_worn_place_costs_nothing_that_was_kept():
    chip, bus, driver = witness()
    driver.set_witness(10)
    driver.set_witness(20)
    chip.worn = PLACES[0] + 7
    for value in (30, 40, 50):
        driver.set_witness(value)
        assert Witness(bus).witness() >= 20
    assert driver.faults > 0


def test_noise_is_not_a_witness():
    chip, bus, _ = witness()
    for at in range(128):
        chip.data[at] = at * 37 & 255
    driver = Witness(bus)
    assert (driver.witness(), driver.torn) == (0, 2)


def test_an_absent_fram_is_a_fault_and_no_error():
    bus = Bus({})
    driver = Witness(bus)
    driver.set_witness(5)
    assert driver.faults >= 3 and driver.witness() == 5


# -- thermometer -------------------------------------------------------------------------------------------------------


def test_temperatures_are_the_data_sheets():
    chip = Thermometer()
    bus = Bus({0x48: chip})
    driver = Lm75(bus)
    for eighths, tenths in ((200, 250), (1016, 1270), (1, 1), (0, 0), (-1, -2), (-200, -250), (-440, -550)):
        chip.eighths = eighths
        assert driver.temperature_dc() == tenths
    del bus.chips[0x48]
    assert driver.temperature_dc() == UNKNOWN_DC and driver.faults == 1


# -- entropy -----------------------------------------------------------------------------------------------------------


def test_entropy_never_repeats_and_depends_on_the_port_and_the_time():
    source = Entropy(lambda: 7, b"chip")
    seen = [source.entropy(8) for _ in range(200)]
    assert len(set(seen)) == 200
    assert [len(source.entropy(count)) for count in (0, 1, 32, 33, 100)] == [0, 1, 32, 33, 100]
