"""Power cuts at every flash operation while supply is switched and load control comes and goes: no pulse is without its
commit, no commit without its record, and an order holds whole or not at all. Both interpreters."""

from meterlink import bodies, flashmap, orders, reasons, records, results, states
from metersim.flash import NorFlash
from tests.firmware.ramboard import RamBoard, Rig
from tests.firmware.supply_bench import limits_of
from tests.powercut import sweep

RICH_UC = 1_000_000_000
RULES = {
    "trip_delay_s": 0,
    "dwell_s": 0,
    "stable_s": 0,
    "max_current_ma": 10_000,
    "overload_rest_s": 2,
    "overload_closes": 1,
}


class Life(Rig):
    """The script on one flash; `boot_and_check` is for the flash as a cut left it. limits_w: what load control may be
    found to allow · closes: how often supply may be found to come back by itself."""

    def __init__(self):
        self.limits_w = self.closes = ()

    def begin(self, flash):
        Rig.__init__(self, RamBoard(flash), limits_of(**RULES), credit_uc=RICH_UC)
        self.run(2)

    def boot_and_check(self, flash):
        if not self.limits_w:
            return
        told = [close for _, close in self.board.coils]
        board = RamBoard(flash)
        for name in ("closed", "unix_s", "kept_witness"):
            setattr(board, name, getattr(self.board, name))
        other = Rig(board, commission=False)
        supply = other.meter.supply
        assert not other.meter.history_lost and not other.meter.damaged
        assert supply.load.in_force()[0] in self.limits_w
        assert supply.closes_left(0) in self.closes
        kept = [record[2] for record in other.logged(records.KIND_SWITCH)]
        assert len(told) <= supply.relay.operations <= len(told) + 1, "each pulse was counted before it was made"
        assert kept[: len(told)] == told and len(kept) == supply.relay.operations, "and so was its record"
        assert not kept or kept[-1] == (supply.control == states.CONTROL_CONNECTED)

    def load(self, power_w):
        steps = ((0, power_w), (0xFFFFFFFF, 0)) if power_w else ()
        raw = self.order(orders.ASPECT_LOAD, bodies.encode_load(steps))
        self.limits_w = self.meter.supply.load.in_force()[0], power_w
        assert self.give(raw) == results.APPLIED
        self.limits_w = (power_w,)

    def workload(self, flash):
        self.begin(flash)
        self.closes = (1,)
        self.load(1000)
        self.give(self.hold(reasons.HOLD_SAFETY))
        self.run(1)
        assert not self.board.closed
        self.load(2000)
        self.give(self.release(reasons.HOLD_SAFETY, bodies.CLOSE_PERMIT))
        self.run(1)
        self.meter.press_connect()
        self.run(1)
        assert self.board.closed
        self.load(0)
        self.board.watts = 5000
        self.closes = (0, 1)
        self.run(10)
        assert not self.board.closed
        self.closes = (0,)
        self.board.watts = 0
        self.run(4)
        assert self.board.closed

    def switches(self):
        return self.logged(records.KIND_SWITCH)


def test_supply_through_cuts():
    life = Life()
    swept = sweep(NorFlash(flashmap.TOTAL_SECTORS, unit_bytes=8), life.workload, life.boot_and_check)
    assert swept.operations > 40
    version = 1, life.version - 3  # of the safety hold
    who = [(record[2], record[4], record[5:7]) for record in life.switches()]
    assert who == [
        (0, reasons.HOLD_SAFETY, version),
        (1, reasons.BY_KEY, (0, 0)),
        (0, reasons.OWN + reasons.CAUSE_OVERLOAD, (0, 0)),
        (1, reasons.OWN + reasons.CAUSE_OVERLOAD, (0, 0)),
    ]
