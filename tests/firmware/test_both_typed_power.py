"""Typed tokens and power: cut at every flash operation, in every way of tearing it. Both interpreters.

After each cut another meter starts from that flash. Credit is there once or not at all, and typing the token again
settles it; a key is the old one or the new one; a lock-out is never shorter than it was said to be.
"""

from meter import tids
from meterlink import flashmap
from meterlink.sts import results
from meterlink.sts.token import CLEAR_CREDIT, CLEAR_TAMPER, MANAGE, SET_POWER, SUPPLY_HELP
from metersim.flash import NorFlash
from tests.firmware.ramboard import RamBoard
from tests.firmware.tokens import KEY, KWH_UC, NEW_KEY, TID, TypedRig, sections, token
from tests.powercut import sweep


class Script:
    """A meter and what it has promised. under_way: digits of the token being typed; cut off, it may have been taken."""

    def begin(self, flash):
        self.rig = TypedRig(RamBoard(flash))
        self.sure_uc = self.maybe_uc = 0
        self.under_way = ""

    def type(self, digits, credits_uc=0, clears=False):
        self.under_way = digits
        self.maybe_uc = 0 if clears else self.sure_uc + credits_uc
        code = self.rig.enter(digits)
        assert results.succeeded(code), code
        self.sure_uc = self.maybe_uc
        self.under_way = ""

    def reborn(self, flash):
        """A meter that starts from this flash where the first one stopped; None where that was not yet in service."""
        board = RamBoard(flash)
        board.unix_s = self.rig.board.unix_s
        board.kept_witness = self.rig.board.kept_witness
        other = TypedRig(board, commission=False)
        meter = other.meter
        assert not meter.history_lost and not meter.damaged and not meter.store.failed
        other.balances()
        return other if meter.commissioned else None


def run(script, workload, check):
    def whole(flash):
        script.begin(flash)
        workload()

    def boot_and_check(flash):
        other = script.reborn(flash) if hasattr(script, "rig") and script.rig.meter else None
        if other:
            check(other)

    swept = sweep(NorFlash(flashmap.TOTAL_SECTORS, unit_bytes=8), whole, boot_and_check)
    print("operations", swept.operations, "cuts", swept.cuts)
    assert swept.operations > 10


class Started(Script):
    """Cuts begin once the meter is in service."""

    def begin(self, flash):
        watch, flash.watch = flash.watch, None
        Script.begin(self, flash)
        flash.watch = watch


def test_credit_and_settings_once_or_not_at_all():
    script = Started()

    def workload():
        for n in range(6):
            script.type(token(TID + n, 10 * (n + 1)), (n + 1) * KWH_UC)
        script.type(token(TID + 10, 0, MANAGE, CLEAR_CREDIT, 0), clears=True)
        script.type(token(TID + 11, 3000, MANAGE, SET_POWER))
        script.type(token(TID + 12, 0, MANAGE, CLEAR_TAMPER))
        script.type(token(TID + 13, 0, MANAGE, SUPPLY_HELP, 0x1005))
        script.type(token(TID + 14, 50), 5 * KWH_UC)

    def check(other):
        balance_uc = other.meter.account.balance_uc()
        assert balance_uc in (script.sure_uc, script.maybe_uc), (balance_uc, script.sure_uc)
        if script.under_way:
            code = other.enter(script.under_way)
            assert code in (results.ACCEPTED, results.USED)
            assert (code == results.USED) == (balance_uc == script.maybe_uc) or script.maybe_uc == script.sure_uc
            assert other.enter(script.under_way) == results.USED
        assert other.meter.account.balance_uc() == script.maybe_uc
        until_wh = other.meter.allowance.until_wh()
        assert until_wh in (0, 500)
        assert other.meter.typed.state_of(1, TID + 13) == (tids.TYPED if until_wh else tids.UNKNOWN)

    run(script, workload, check)


def test_a_memory_that_is_full():
    script = Started()

    def workload():
        for n in range(tids.PLACES + 12):
            script.type(token(TID + n, 1), KWH_UC // 10)

    def check(other):
        taken = other.meter.account.balance_uc() * 10 // KWH_UC
        assert taken * KWH_UC // 10 in (script.sure_uc, script.maybe_uc)
        for n in range(max(0, taken - tids.PLACES), taken):
            assert other.meter.typed.tids.state_of(TID + n) == tids.TYPED
        assert other.meter.typed.tids.state_of(TID + taken) == tids.UNKNOWN
        assert len(other.meter.typed.tids.words) == min(taken, tids.PLACES)

    run(script, workload, check)


def test_a_key_change_is_whole_or_not():
    script = Started()
    made = sections()

    def workload():
        script.type(token(TID, 10), KWH_UC)
        for place in (2, 0, 3, 1):
            script.type(made[place])
        script.type(token(TID, 10, key=NEW_KEY), KWH_UC)

    def check(other):
        held = other.meter.typed
        assert other.meter.account.balance_uc() in (script.sure_uc, script.maybe_uc)
        if held.key == KEY:
            assert held.attributes[3] == 1 and held.sections_stored() != 15
            if other.meter.account.balance_uc():
                assert held.state_of(1, TID) == tids.TYPED
            last = [other.enter(digits) for digits in made][3]
            assert last == results.ACCEPTED or held.key == NEW_KEY
        assert held.key == NEW_KEY and held.attributes[3] == 2 and held.sections_stored() == 0
        other.outage()
        assert other.meter.typed.key == NEW_KEY
        assert other.type(key=NEW_KEY) in (results.ACCEPTED, results.USED)
        assert other.type(key=NEW_KEY) == results.USED

    run(script, workload, check)


def test_a_lock_out_is_never_shorter_than_was_said():
    script = Started()
    said = {"wrong": 0, "left_s": 0}

    def workload():
        said["wrong"] = said["left_s"] = 0
        for number in range(8):
            while script.rig.meter.typed.lockout.left_s:
                script.rig.run(15)
                said["left_s"] = script.rig.meter.typed.lockout.left_s
            assert script.rig.wrong(number) == results.REJECTED
            said["wrong"], said["left_s"] = number + 1, script.rig.meter.typed.lockout.left_s

    def check(other):
        found = other.meter.typed.lockout
        assert said["wrong"] <= found.wrong <= said["wrong"] + 1
        least_s = min(said["left_s"], script.rig.meter.typed.lockout.left_s)  # what has passed since then counts
        assert found.left_s >= least_s
        if least_s:
            assert other.enter(token()) == results.LOCKED

    run(script, workload, check)
