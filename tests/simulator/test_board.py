"""The physics of the virtual board: energy, pulses, contact, faults."""

from hypothesis import given
from hypothesis import strategies as st

from meterlink import states
from metersim.board import FAULT_BYPASS, FAULT_NO_SENSE, FAULT_STUCK_OPEN, FAULT_WELDED, MWS_PER_KWH, VirtualBoard
from metersim.load import Constant


@given(st.integers(0, 100_000), st.integers(1, 100_000), st.lists(st.integers(1, 5000), min_size=1, max_size=20))
def test_pulses_are_exactly_the_energy(watts: int, imp_per_kwh: int, steps_s: list[int]) -> None:
    board = VirtualBoard(Constant(watts), imp_per_kwh=imp_per_kwh, flash_sectors=1)
    for step_s in steps_s:
        board.advance(step_s)
    assert board.energy_mws == watts * 1000 * sum(steps_s)
    assert board.pulses() == (board.energy_mws * imp_per_kwh // MWS_PER_KWH, 0)


def test_an_open_contact_stops_the_load() -> None:
    board = VirtualBoard(Constant(2300), flash_sectors=1)
    assert board.load_ma() == 10_000
    board.coil(False)
    board.advance(100)
    assert (board.contact(), board.load_ma(), board.energy_mws) == (states.CONTACT_OPEN, 0, 0)
    board.coil(True)
    board.advance(100)
    assert (board.contact(), board.load_ma()) == (states.CONTACT_CLOSED, 10_000)
    assert board.energy_mws == 2300 * 1000 * 100


def test_faults() -> None:
    board = VirtualBoard(Constant(2300), flash_sectors=1)
    board.faults = {FAULT_WELDED}
    board.coil(False)
    assert board.contact() == states.CONTACT_CLOSED
    board.faults = set()
    board.coil(False)
    board.faults = {FAULT_STUCK_OPEN}
    board.coil(True)
    assert board.contact() == states.CONTACT_OPEN
    board.faults = {FAULT_BYPASS}
    assert (board.contact(), board.load_ma()) == (states.CONTACT_OPEN, 10_000)
    board.faults = {FAULT_NO_SENSE}
    assert board.contact() == states.CONTACT_UNKNOWN


def test_power_loss_restarts_the_hardware_counter_and_keeps_the_clock() -> None:
    board = VirtualBoard(Constant(100_000), flash_sectors=1)
    board.advance(60)
    assert board.pulses()[0] > 0
    board.lose_power()
    assert board.voltage_dv() == 0
    assert not board.flows()
    board.true_s += 1000
    board.restore_power()
    assert board.pulses() == (0, 0)
    assert board.rtc() == (board.true_s, True)


def test_setting_and_stopping_the_clock() -> None:
    board = VirtualBoard(flash_sectors=1)
    board.stop_clock()
    assert not board.rtc()[1]
    board.set_rtc(1_900_000_000)
    board.advance(5)
    assert board.rtc() == (1_900_000_005, True)


def test_the_key_is_taken_once() -> None:
    board = VirtualBoard(flash_sectors=1)
    board.press_reconnect()
    assert board.take_key()
    assert not board.take_key()
