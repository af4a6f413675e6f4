"""An update that power cuts at every operation of its flash, and of the journal's, ends in the new image all the same:
nothing of the meter's history is lost, and the old image runs until the new one has been seen to work."""

from collections.abc import Callable

import pytest

from meter import update
from meterlink import results, states
from metersim.flash import TORN, NorFlash, PowerCut
from tests.firmware.updating import Updated, make

CREDIT_UC = 5_000_000
SEND_TRIES = 6


class Life:
    """The script; `where` it has come to, so that a second meter can take it up."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.cuts = 0
        self.rig = Updated(raw=raw)
        self.rig.board.watts = 1800
        assert self.rig.give(self.rig.credit(CREDIT_UC)) == results.APPLIED
        self.order = self.rig.order_image()

    def live(self) -> None:
        """From the offer to the image that is good."""
        rig = self.rig
        rig.receive()
        assert rig.give(self.order) == results.APPLIED
        rig.until_restart()
        rig.boot()
        rig.talk()
        rig.run(update.TEST_S + 10)
        assert rig.update.state == states.UPDATE_GOOD

    def reborn(self, flash: NorFlash, slot_flash: NorFlash) -> Updated:
        """A meter that starts from these, with the witness and the relay of that moment."""
        other = object.__new__(Updated)
        board = self.rig.board
        Updated.__init__(other, flash, slot_flash, self.raw, commission=False)
        other.board.unix_s = board.unix_s
        other.board.closed = board.closed
        other.board.kept_witness = board.kept_witness
        other.board.watts = board.watts
        other.boot()
        other.version = self.rig.version
        return other

    def check(self, flash: NorFlash, slot_flash: NorFlash) -> None:
        """After a cut: the history is whole, and the update comes to its end."""
        self.cuts += 1
        rig = self.reborn(flash, slot_flash)
        meter = rig.meter
        assert not meter.history_lost and not meter.damaged
        assert meter.account.credited_uc == CREDIT_UC
        rig.balances()
        assert rig.board.slots.running in (0, 1)
        assert rig.board.slots.running == 0 or rig.update.state in (states.UPDATE_TRIAL, states.UPDATE_GOOD)
        if rig.update.state < states.UPDATE_TRIAL:
            assert rig.offer() == results.APPLIED
            for _ in range(SEND_TRIES):
                if rig.send() == results.APPLIED:
                    break
            while meter.verify_slice():
                pass
            rig.run(1)
            assert rig.give(self.order) in (results.APPLIED, results.ALREADY)
            rig.until_restart()
            rig.boot()
        rig.talk()
        rig.run(2 * update.TEST_S, 5)
        assert rig.update.state == states.UPDATE_GOOD
        assert (rig.board.slots.running, rig.board.slots.good) == (1, 1)
        assert rig.meter.account.credited_uc == CREDIT_UC


def cut_everywhere(flash: NorFlash, torn: int | str, check: Callable[[NorFlash], None]) -> None:
    """Before each operation from now on: do part of it on a copy, and check that."""

    def watch(block: int, offset: int, data: bytes | None) -> None:
        trial = flash.fork()
        trial.cut_at(trial.ops + 1, torn)
        with pytest.raises(PowerCut):
            if data is None:
                trial.ioctl(6, block)
            else:
                trial.writeblocks(block, data, offset)
        trial.power_on()
        check(trial)

    flash.watch = watch


@pytest.mark.parametrize("torn", TORN)
def test_cut_at_every_operation_of_the_slots(torn: int | str) -> None:
    """OP-UPD-06"""
    life = Life(make(4096 + 640))
    rig = life.rig
    cut_everywhere(rig.slot_flash, torn, lambda flash: life.check(rig.board.flash.fork(), flash))
    life.live()
    assert life.cuts > 4096 // 128 + 5 + 2 + 3  # pieces, sectors, states
    assert (rig.board.slots.running, rig.board.slots.good) == (1, 1)


@pytest.mark.parametrize("torn", TORN)
def test_cut_at_every_operation_of_the_journal(torn: int | str) -> None:
    """OP-UPD-06"""
    life = Life(make(4096 + 640))
    rig = life.rig
    cut_everywhere(rig.board.flash, torn, lambda flash: life.check(flash, rig.slot_flash.fork()))
    life.live()
    assert life.cuts > 10
