"""A week of a whole meter, cut at every flash operation; a test for each way of tearing: they run in parallel.

Time is stepped by a quarter of an hour, which leaves every decision, interval and order of the week in, and most of the
checkpoints out: those are all alike, and an hour with every one of them is in test_both_meter_power.py.
"""

import pytest

from meterlink import flashmap
from metersim.flash import TORN, NorFlash
from tests.firmware.power_model import Life
from tests.powercut import sweep

DEEP_EVERY = 101  # boots; a prime, so that it falls on every kind of operation


@pytest.mark.parametrize("torn", TORN)
def test_a_week_cut_at_every_operation(torn: int | str) -> None:
    life = Life()
    life.deep_every = DEEP_EVERY

    def workload(flash: NorFlash) -> None:
        life.begin(flash)
        life.week()

    swept = sweep(NorFlash(flashmap.TOTAL_SECTORS, unit_bytes=8), workload, life.boot_and_check, torn=(torn,))
    print(f"operations {swept.operations} cuts {swept.cuts} boots {life.boots} lived on {life.boots // DEEP_EVERY}")
    assert life.boots == swept.cuts + 1 == swept.operations + 1
    assert life.meter.store.intervals.newest > 7 * 90
    assert swept.operations > 1000


@pytest.mark.parametrize("start", range(4))
def test_cuts_while_a_cut_is_being_recovered(start: int) -> None:
    """The boot after a cut is cut as well, at each of its operations; at a quarter of the places of an hour each."""
    life = Life()
    cuts = 0

    def boot_twice(flash: NorFlash) -> None:
        nonlocal cuts
        life.boots += 1
        if life.boots % 4 != start:
            return

        def boot(again: NorFlash) -> None:
            life.reborn(again)

        def check(again: NorFlash) -> None:
            life.check(life.reborn(again))

        cuts += sweep(flash.fork(), boot, check, torn=(0, 50)).cuts

    def workload(flash: NorFlash) -> None:
        life.begin(flash)
        life.hour(300)

    swept = sweep(NorFlash(flashmap.TOTAL_SECTORS, unit_bytes=8), workload, boot_twice, torn=(25, 75))
    print(f"operations {swept.operations} cuts {swept.cuts} cuts of recoveries {cuts}")
    assert cuts > swept.cuts // 8
