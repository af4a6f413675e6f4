"""Values beyond 30, 31 and 32 bits where a meter's controller has small integers of 31: money, energy, dates."""

from meterlink.flashmap import TOTAL_SECTORS
from metersim.flash import NorFlash
from tests.firmware.ramboard import IMP_PER_KWH, PRICE_UC, START_S, RamBoard, Rig

UC = 1_000_000  # of one unit of currency


def rich(credit_uc, start_s=START_S):
    board = RamBoard(NorFlash(TOTAL_SECTORS, unit_bytes=8))
    board.unix_s = start_s
    return Rig(board, credit_uc=credit_uc)


def test_balances_far_above_ten_thousand_are_exact():
    """At each power of two where an integer changes its kind, a watt-hour costs what it costs, and a start finds it."""
    for bits in (30, 31, 32, 40, 52):
        credit_uc = (1 << bits) + 5_000
        rig = rich(credit_uc)
        rig.board.watts = 3600
        rig.run(20)
        used_wh = rig.board.imported * 1000 // IMP_PER_KWH
        assert used_wh >= 19
        assert rig.meter.account.balance_uc() == credit_uc - used_wh * PRICE_UC // 1000
        report = rig.report()
        assert report.credited_uc == credit_uc and report.balances()
        rig.meter.power_down()
        rig.outage(5)
        assert rig.meter.account.balance_uc() == credit_uc - used_wh * PRICE_UC // 1000


def test_a_hundred_thousand_is_topped_up_to_and_counted_down():
    rig = rich(12_345 * UC)
    assert rig.give(rig.credit(112_345_678_901)) == 1
    assert rig.meter.account.balance_uc() == 112_345_678_901
    rig.board.watts = 20_000
    rig.run(86_400, 60)
    assert rig.meter.account.balance_uc() == 112_345_678_901 - rig.board.imported * PRICE_UC // IMP_PER_KWH
    assert rig.meter.supply.relay.contact == 1


def test_dates_from_2038_on_and_at_the_end_of_32_bits():
    """Intervals, expiry and the clock go on over 2^31 (January 2038) and up to 2^32 (February 2106)."""
    for around_s in (1 << 31, (1 << 32) - 86_400):
        start_s = around_s - around_s % 900 - 900
        rig = rich(100 * UC, start_s)
        rig.board.watts = 1000
        rig.run(3600, 30)
        assert rig.meter.now_s() == rig.board.unix_s == start_s + 3600
        assert rig.meter.profile.start_s == start_s + 3600
        oldest = bytearray(24)
        assert rig.meter.store.intervals.read_into(1, oldest)
        assert int.from_bytes(oldest[4:8], "big") in (start_s, start_s + 900), "the time of an interval"
        assert rig.give(rig.hold(1)) == 1
        assert rig.give(rig.hold(2, not_after_s=rig.board.unix_s - 1)) != 1, "an expired order"


def test_registers_beyond_a_terawatt_hour():
    rig = rich(100 * UC)
    for bits in (30, 31, 32, 40):
        rig.meter.energy.import_wh = (1 << bits) - 3
        rig.board.watts = 3600
        rig.run(10)
        assert rig.meter.energy.import_wh >= (1 << bits) + 5
        rig.meter.power_down()
        before_wh = rig.meter.energy.import_wh
        assert rig.report().import_wh == before_wh
        rig.outage()
        assert rig.meter.energy.import_wh == before_wh
