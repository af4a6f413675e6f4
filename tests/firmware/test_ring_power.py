"""The record ring under power cuts and decay: every operation cut in every way, twice over, and random histories."""

import random

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from meter.ring import Ring
from meterlink.records import RECORD_LENGTH, check, pack_interval
from metersim.flash import BIT, TORN, NorFlash, PowerCut
from tests.powercut import sweep

SECTORS = 4
SIZE = 256
SLOTS = 10


def pack(seq: int) -> bytes:
    return pack_interval(seq, 1_767_225_600 + seq * 900, seq * 137, seq * 3, 137, 3, 15, seq & 0x1F)


def boot(flash: NorFlash, ahead: int = 0) -> Ring:
    ring = Ring(flash, 0, SECTORS, RECORD_LENGTH, check, ahead)
    before = flash.ops
    ring.mount()
    assert flash.ops == before, "mounting writes nothing"
    return ring


def held(ring: Ring) -> list[int]:
    """The sequence numbers that can be read, each with the right bytes."""
    buf = bytearray(RECORD_LENGTH)
    found = []
    for seq in range(max(0, ring.oldest - 2), ring.newest + 3):
        if ring.read_into(seq, buf):
            assert buf == pack(seq)
            found.append(seq)
    return found


def holds(ring: Ring, promised: int, under_way: int, torn: int) -> None:
    """That a ring holds what was promised, newest first as many as guaranteed less one for each torn slot."""
    assert ring.newest in (promised, under_way) or (promised == 0 and ring.newest == -1)
    found = held(ring)
    assert found[-1:] == ([ring.newest] if ring.newest > 0 else [])
    owed = min(max(ring.newest, 0), ring.guaranteed - torn)
    assert found[len(found) - owed :] == list(range(ring.newest - owed + 1, ring.newest + 1))


@pytest.mark.parametrize(("ahead", "steps"), [(0, True), (0, False), (3, True)])
def test_every_operation_cut_in_every_way(ahead: int, steps: bool) -> None:
    """After any cut, and any cut after that, what was promised is there and the ring goes on."""
    flash = NorFlash(SECTORS, SIZE, unit_bytes=8)
    ring = boot(flash, ahead)
    promised = under_way = again = 0

    def workload(flash: NorFlash) -> None:
        nonlocal promised, under_way
        for seq in range(1, 131):
            under_way = seq
            promised = ring.append(pack(seq))
            if steps and ring.erase_due():
                ring.erase_step()

    def boot_and_check(flash: NorFlash) -> None:
        nonlocal again
        after = boot(flash, ahead)
        holds(after, promised, under_way, 1)
        first = max(after.newest, 0) + 1
        done = first - 1

        def recovery(flash: NorFlash) -> None:
            nonlocal done
            for seq in range(first, first + 3):
                after.append(pack(seq))
                done = seq
                after.erase_step()

        def boot_and_check_again(flash: NorFlash) -> None:
            holds(boot(flash, ahead), done, done + 1, 2)

        again += sweep(flash, recovery, boot_and_check_again, (50, BIT)).cuts

    swept = sweep(flash, workload, boot_and_check)
    assert flash.ops == swept.operations and swept.cuts == swept.operations * len(TORN)
    assert min(flash.erases) >= 3
    print(f"ring, {ahead} ahead: {swept.operations} operations, {swept.cuts} cuts, {again} cuts in what followed")


def test_one_decayed_bit_anywhere_costs_one_record_at_most() -> None:
    """Two or three bits of each byte: one record or none is missing, none is wrong, appending goes on."""
    flash = NorFlash(SECTORS, SIZE)
    ring = boot(flash)
    for seq in range(1, 47):
        ring.append(pack(seq))
    right = held(ring)
    kept = flash.snapshot()
    for bit in range(0, len(flash.data) * 8, 3):
        flash.flip(bit)
        after = boot(flash)
        missing = set(right) - set(held(after))
        assert len(missing) <= 1
        assert after.append(pack(47)) == 47
        assert boot(flash).newest == 47
        flash.restore(kept)


def test_any_content_can_be_mounted_and_written() -> None:
    """Random bytes, alone or over a good ring: no exception, no endless search, and new records are held."""
    for seed in range(80):
        choose = random.Random(seed)
        flash = NorFlash(SECTORS, SIZE)
        ring = boot(flash)
        for seq in range(1, choose.randrange(2, 90)):
            ring.append(pack(seq))
        if seed % 2:
            flash.data[:] = choose.randbytes(len(flash.data))
        else:
            for _ in range(choose.randrange(1, 20)):
                at = choose.randrange(len(flash.data) - 8)
                flash.data[at : at + 8] = choose.randbytes(8)
        before = flash.read_bytes
        ring = boot(flash)
        assert flash.read_bytes - before <= 3 * len(flash.data)
        held(ring)
        first = max(ring.newest, 0) + 1
        for seq in range(first, first + 50):
            ring.append(pack(seq))
        ring = boot(flash)
        assert ring.newest == first + 49
        assert held(ring)[-ring.guaranteed :] == list(range(first + 50 - ring.guaranteed, first + 50))


def test_mounting_costs_a_bounded_number_of_bytes() -> None:
    """The ring of intervals in its real size, full: headers, first records, a bisection and one sector."""
    flash = NorFlash(35)
    ring = Ring(flash, 0, 35, RECORD_LENGTH, check)
    ring.mount()
    for seq in range(1, 8001):
        ring.append(pack(seq))
    before = flash.read_bytes, flash.reads
    again = Ring(flash, 0, 35, RECORD_LENGTH, check)
    again.mount()
    assert (again.newest, again.oldest) == (8000, ring.oldest) and again.newest - again.oldest >= 34 * 170 - 1
    cost = flash.read_bytes - before[0]
    print(f"{cost} bytes in {flash.reads - before[1]} reads")
    assert cost <= 35 * 40 + 20 * 24
    before_reads = flash.reads
    buf = bytearray(RECORD_LENGTH)
    assert all(again.read_into(seq, buf) for seq in range(again.oldest, 8001))
    assert flash.reads - before_reads == 8001 - again.oldest, "one read a record"


class RingMachine(RuleBasedStateMachine):
    """Appends with gaps, steps, cuts and boots in any order against a list."""

    def __init__(self) -> None:
        super().__init__()
        self.flash = NorFlash(SECTORS, SIZE, unit_bytes=8)
        self.ring = boot(self.flash)
        self.appended: list[int] = []
        self.torn = 0

    @rule(gaps=st.lists(st.sampled_from((1, 1, 1, 1, 2, 9, 300)), min_size=1, max_size=25))
    def append(self, gaps: list[int]) -> None:
        for gap in gaps:
            seq = (self.appended[-1] if self.appended else 0) + gap
            self.ring.append(pack(seq))
            self.appended.append(seq)

    @rule()
    def step(self) -> None:
        self.ring.erase_step()

    @rule()
    def reboot(self) -> None:
        self.ring = boot(self.flash)

    @rule(count=st.integers(1, 25), after=st.integers(1, 25), torn=st.sampled_from(TORN))
    def cut(self, count: int, after: int, torn: int | str) -> None:
        self.flash.cut_at(self.flash.ops + after, torn)
        seq = self.appended[-1] if self.appended else 0
        try:
            for _ in range(count):
                seq += 1
                self.ring.append(pack(seq))
                self.appended.append(seq)
            self.ring.erase_step()
        except PowerCut:
            self.torn += 1
        self.flash.power_on()
        self.ring = boot(self.flash)
        if self.ring.newest == seq and seq not in self.appended:
            self.appended.append(seq)

    @invariant()
    def holds_what_it_promised(self) -> None:
        assert self.ring.newest == (self.appended[-1] if self.appended else -1)
        buf = bytearray(RECORD_LENGTH)
        owed = self.appended[-max(1, self.ring.guaranteed - self.torn) :]
        for seq in owed:
            assert self.ring.read_into(seq, buf) and buf == pack(seq)
        for seq in self.appended:
            assert not self.ring.read_into(seq, buf) or buf == pack(seq)
        for seq in {seq + 1 for seq in self.appended} - set(self.appended):
            assert not self.ring.read_into(seq, buf)


TestRingMachine = RingMachine.TestCase
TestRingMachine.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
