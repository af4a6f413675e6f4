"""An hour of a whole meter, cut at every flash operation in every way; runs on both interpreters."""

from meterlink import flashmap
from metersim.flash import NorFlash
from tests.firmware.power_model import Life
from tests.powercut import sweep


def test_an_hour_cut_at_every_operation():
    life = Life()

    def workload(flash):
        life.begin(flash)
        life.hour()

    swept = sweep(NorFlash(flashmap.TOTAL_SECTORS, unit_bytes=8), workload, life.boot_and_check)
    print("operations", swept.operations, "cuts", swept.cuts, "boots", life.boots)
    assert life.boots == swept.cuts + 1
