"""Flash that decays: found, told and survived, or the history is lost by rule; never a wrong balance believed."""

import hashlib
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from meter import store
from meterlink import events, flashmap, orders, records, results, states, tariff
from metersim.flash import NorFlash
from tests.firmware import stated
from tests.firmware.ramboard import RamBoard
from tests.firmware.tokens import TID, TypedRig

SECTOR = flashmap.SECTOR_BYTES
PLAN = tariff.Tariff((1_000_000, 2_000_000), ((0, 0), (28, 1), (84, 0)))


class Life:
    """A meter that has lived for some days, its flash at the end, and what it was."""

    def __init__(self) -> None:
        rig = TypedRig(plan=PLAN, typed_cap_uc=900_000_000)
        rig.board.watts = 1500
        for day in range(5):
            assert rig.give(rig.credit(60_000_000 * (day + 1))) == results.APPLIED
            rig.type(TID + day, 20)
            if day == 1:
                assert rig.give(rig.hold(2)) == results.APPLIED
                assert rig.give(rig.order(orders.ASPECT_LIMITS, rig.limits.encode())) == results.APPLIED
            if day == 2:
                assert rig.give(rig.release(2)) == results.APPLIED
            for _ in range(144):
                rig.run(600, 60)
                while rig.meter.erase_due():
                    rig.meter.erase_step()
        self.rig = rig
        self.flash = rig.board.flash
        self.before = truth(rig)  # what it was before its last checkpoint
        rig.run(60)
        self.truth = truth(rig)

    def reborn(self, flash: NorFlash) -> TypedRig:
        board = RamBoard(flash)
        board.kept_witness, board.unix_s = self.rig.board.kept_witness, self.rig.board.unix_s
        board.closed = self.rig.board.closed
        return TypedRig(board, commission=False)


def truth(rig: Any) -> tuple[Any, ...]:
    """All that counts: money, registers, versions, keys, what was sold and typed."""
    m = rig.meter
    held = [m.held(aspect, selector) for aspect in range(1, 15) for selector in range(8)]
    return (
        m.committed()[1:12] + m.committed()[17:],
        m.account.pack_sources(),
        m.account.folded,
        (m.account_epoch, m.floor, m.top, m.number),
        (m.supply.holds, m.supply.keyed, m.supply.retired, m.supply.limits.encode()),
        (m.pricing.active and m.pricing.active.encode(), m.pricing.passive),
        (m.typed.key, sorted(m.typed.tids.words), m.typed.tids.floor, m.typed._sums),
        m.signing_keys,
        held,
        m.allowance.state(),
    )


@pytest.fixture(scope="module")
def life() -> Life:
    made = Life()
    assert min(made.flash.erases[flashmap.JOURNAL_FIRST :]) >= 1, "the journal went round"
    return made


def judged(life: Life, flash: NorFlash) -> tuple[TypedRig, bool]:
    """A meter started from this flash, and whether it told of damage; it is what it was, or says that it is not."""
    rig = life.reborn(flash)
    meter = rig.meter
    if not meter.history_lost:
        assert truth(rig) in (life.truth, life.before) or meter.store.journal.torn
        assert meter.committed()[1] >= life.before[0][0]
    told = [event[2] for event in rig.events() if event[0] == events.FLASH_DAMAGED]
    assert meter.damaged == bool(meter.alarms() >> states.ALARM_STORAGE & 1)
    if told:
        assert meter.latches.word >> states.LATCH_FLASH_DAMAGED & 1
    rig.run(120)  # it goes on metering
    rig.outage(5)
    assert rig.meter.history_lost == meter.history_lost, "and stays what it is"
    before = rig.meter.energy.import_wh
    rig.run(3600, 60)
    assert rig.meter.energy.import_wh >= before
    code = rig.give(rig.credit(900_000_000))
    assert code == (results.HISTORY_LOST if rig.meter.commissioned else results.WRONG_METER) or not meter.history_lost
    assert code == results.APPLIED or meter.history_lost
    return rig, bool(told) or meter.history_lost


DAMAGE: dict[str, Callable[[bytes, int], bytes]] = {
    "blank": lambda before, at: b"\xff" * len(before),
    "zeros": lambda before, at: bytes(len(before)),
    "random": lambda before, at: hashlib.shake_128(bytes([at])).digest(len(before)),
    "half": lambda before, at: before[: len(before) // 2] + bytes(len(before) - len(before) // 2),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_each_sector_of_each_region(life: Life, how: str) -> None:
    survived = 0
    for sector in range(flashmap.TOTAL_SECTORS):
        start = sector * SECTOR
        before = bytes(life.flash.data[start : start + SECTOR])
        if min(before[16:]) == 0xFF:
            continue  # never written, or just erased: nothing is lost with it
        flash = life.flash.fork()
        flash.restore(life.flash.snapshot())
        flash.data[start : start + SECTOR] = DAMAGE[how](before, sector)
        rig, told = judged(life, flash)
        if sector < flashmap.JOURNAL_FIRST:
            assert not rig.meter.history_lost, "records are not money"
            survived += 1
        elif how != "half":
            in_use = sector - flashmap.JOURNAL_FIRST in in_use_of(life)
            assert told or not in_use, sector
            survived += not rig.meter.history_lost
    assert survived > 5


def in_use_of(life: Life) -> list[int]:
    """The journal's sectors that count: the head and those back to the oldest value."""
    journal = life.rig.meter.store.journal
    return [(journal._tail + step) % flashmap.JOURNAL_SECTORS for step in range(journal._used())]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, flashmap.TOTAL_SECTORS * SECTOR * 8 - 1), st.integers(0, 2**32 - 1))
@example(flashmap.JOURNAL_FIRST * SECTOR * 8 + 3, 1)
def test_a_bit_or_a_few_anywhere(life: Life, bit: int, seed: int) -> None:
    flash = life.flash.fork()
    flash.restore(life.flash.snapshot())
    flash.flip(bit)
    rng = random.Random(seed)
    for _ in range(seed % 4):
        flash.flip(rng.randrange(flashmap.JOURNAL_FIRST * SECTOR * 8, flashmap.TOTAL_SECTORS * SECTOR * 8))
    judged(life, flash)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_bit_of_what_the_journal_holds(life: Life, data: st.DataObject) -> None:
    """Of a tick nothing is lost; of a decision its history may be."""
    journal = life.rig.meter.store.journal
    keys = sorted(journal.keys())
    key = data.draw(st.sampled_from(keys))
    sector, offset = journal._position(journal._index[key])
    flash = life.flash.fork()
    flash.restore(life.flash.snapshot())
    at = (flashmap.JOURNAL_FIRST + sector) * SECTOR + offset + data.draw(st.integers(0, 19))
    flash.flip(at * 8 + data.draw(st.integers(0, 7)))
    judged(life, flash)


def ticks_of(life: Life) -> list[int]:
    """Where records lie that hold a tick and nothing else."""
    found = []
    head = bytes([store.KEY_TICK >> 8, store.KEY_TICK & 0xFF, 0])
    base = flashmap.JOURNAL_FIRST * SECTOR
    for sector in in_use_of(life):
        part = bytes(life.flash.data[base + sector * SECTOR : base + (sector + 1) * SECTOR])
        at = 16
        while (at := part.find(head, at)) >= 0:
            if at % 8 == 0 and part[at - 5] == 0xC3:
                found.append(base + sector * SECTOR + at)
            at += 8
    return found


def test_decayed_ticks_cost_no_history(life: Life) -> None:
    ticks = ticks_of(life)
    assert len(ticks) > 100
    for place in ticks[len(ticks) // 3 :: len(ticks) // 20][:-1]:
        flash = life.flash.fork()
        flash.restore(life.flash.snapshot())
        flash.flip((place + 9) * 8)
        rig = life.reborn(flash)
        assert not rig.meter.history_lost and rig.meter.damaged, place
        assert truth(rig) == life.truth
        assert rig.meter.latches.word >> states.LATCH_FLASH_DAMAGED & 1
        assert (events.FLASH_DAMAGED, 1, 1) in rig.events()


def test_a_lost_period_is_told_again_by_the_newest_interval(life: Life) -> None:
    """The open interval begins where the last record ends: each watt-hour is in one record."""
    kept = life.rig.meter.store
    sector, offset = kept.journal._position(kept.journal._index[store.KEY_PERIOD])
    flash = life.flash.fork()
    flash.restore(life.flash.snapshot())
    flash.flip(((flashmap.JOURNAL_FIRST + sector) * SECTOR + offset + 25) * 8)
    rig = life.reborn(flash)
    rig.run(3600, 60)
    register = None
    for one in rig.intervals():
        assert register is None or one[2] == register + one[4]
        register = one[2]


def test_damage_is_told_until_the_values_are_copied_away(life: Life) -> None:
    ticks = ticks_of(life)
    flash = life.flash.fork()
    flash.restore(life.flash.snapshot())
    flash.flip((ticks[len(ticks) // 2] + 9) * 8)
    rig = life.reborn(flash)
    rig.outage()
    assert rig.meter.damaged, "it is still there"
    while rig.meter.erase_due():
        rig.meter.erase_step()
    rig.outage()
    assert not rig.meter.damaged and not rig.meter.history_lost
    assert rig.meter.latches.word >> states.LATCH_FLASH_DAMAGED & 1, "until an order clears it"
    body = stated.clear(1 << states.LATCH_FLASH_DAMAGED, rig.meter.log.newest)
    rig.version = 100
    assert rig.give(rig.order(orders.ASPECT_CLEAR, body)) == results.APPLIED
    assert not rig.meter.latches.word >> states.LATCH_FLASH_DAMAGED & 1


def test_logs_that_lost_their_newest_records_go_on_with_new_numbers(life: Life) -> None:
    for kind, first in ((records.KIND_TOPUP, flashmap.TOPUPS_FIRST), (records.KIND_DAILY, flashmap.DAILY_FIRST)):
        flash = life.flash.fork()
        flash.restore(life.flash.snapshot())
        before = life.rig.meter.store.newest[kind]
        assert before > 2
        flash.data[first * SECTOR : (first + 2) * SECTOR] = b"\xff" * 2 * SECTOR
        rig = life.reborn(flash)
        assert rig.meter.damaged and rig.meter.store.newest[kind] >= before
        assert [event[2] for event in rig.events() if event[0] == events.FLASH_DAMAGED] == [4 + kind]
