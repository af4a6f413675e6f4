"""The journal under power cuts and decay: every operation cut in every way, twice over, and random histories."""

import random
import struct
import zlib
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from meter.journal import Journal, capacity_bytes, record_bytes
from meter.sectors import DAMAGED, FRESH, OK
from metersim.flash import BIT, TORN, NorFlash, PowerCut
from tests.powercut import sweep

Items = list[tuple[int, bytes]]
State = dict[int, bytes]
KEYS = (*range(20), 40, 41, 50, 51)  # all that are used below, and one that is not


class Rig:
    """A journal on a flash, what it promised (`state`, `sequence`) and the commit under way, if any (`pending`)."""

    def __init__(self, flash: NorFlash, sectors: int) -> None:
        self.flash = flash
        self.sectors = sectors
        self.journal = self.boot(flash)
        self.state: State = {}
        self.sequence = 0
        self.pending: Items | None = None

    def boot(self, flash: NorFlash) -> Journal:
        journal = Journal(flash, 0, self.sectors)
        before = flash.ops
        journal.mount()
        assert flash.ops == before, "mounting writes nothing"
        return journal

    def commit(self, items: Items) -> None:
        self.pending = items
        self.sequence = self.journal.commit(items)
        self.state.update(items)
        self.pending = None

    def settle(self, most: int = 1000) -> None:
        """Up to `most` of the steps that are due."""
        while most and self.journal.erase_due():
            self.journal.erase_step()
            most -= 1

    def check(self, journal: Journal) -> State:
        """That a journal which was just mounted holds the old state or the new one; the one that it holds."""
        assert journal.status == (OK if journal.sequence else FRESH) and journal.lost_records == 0
        held = {key: value for key in KEYS if (value := journal.get(key)) is not None}
        assert not any(journal.doubtful(key) for key in KEYS)
        if journal.sequence == self.sequence:
            assert held == self.state
        else:
            assert self.pending is not None and journal.sequence == self.sequence + 1
            assert held == {**self.state, **dict(self.pending)}
        return held


def value(number: int, length: int) -> bytes:
    """So many bytes that tell commits apart."""
    return (struct.pack(">I", number * 2654435761 % (1 << 32)) + bytes([number & 0x7F]) * length)[:length]


# name: sectors, their size, what lives long (keys, bytes of each), churn (commits, largest bytes of one), steps between
HISTORIES = {
    "steps in time": (5, 1024, (3, 20), (240, 50), 1000),
    "one step a commit": (5, 1024, (5, 20), (300, 30), 1),
    "no steps": (4, 2048, (4, 60), (180, 100), 0),
    "a full sector of values, one step a commit": (7, 2048, (19, 84), (320, 80), 1),
    "a full sector of values, no steps": (7, 2048, (19, 84), (320, 80), 0),
}


def history(rig: Rig, name: str) -> Iterator[None]:
    """Long-lived values, then churn; yields after each commit with its steps."""
    sectors, size, (keys, length), (commits, largest), steps = HISTORIES[name]
    live = keys * record_bytes(4 + length) + 2 * record_bytes(4 + largest) + record_bytes(4 + 20)
    assert live <= capacity_bytes(sectors, size)
    for key in range(keys):
        rig.commit([(key, value(key, length))])
        yield
    for number in range(commits):
        new = value(number, 1 + number * 37 % largest)
        rig.commit([(40, new), (41, new[::-1])] if number % 4 else [(40, new)])
        rig.settle(steps)
        yield


@pytest.mark.parametrize("name", HISTORIES)
def test_every_operation_cut_in_every_way(name: str) -> None:
    """After any cut the state is the old or the new one, and the journal goes on from there."""
    sectors, size, *_ = HISTORIES[name]
    rig = Rig(NorFlash(sectors, size, unit_bytes=8), sectors)

    def workload(flash: NorFlash) -> None:
        for _ in history(rig, name):
            pass

    all_in_use = 0  # cuts while copies stand in the sector that is kept for them

    def boot_and_check(flash: NorFlash) -> None:
        nonlocal all_in_use
        all_in_use += rig.journal._used() == sectors
        after = Rig(flash, sectors)
        after.state = dict(rig.check(after.journal))
        after.sequence = after.journal.sequence
        for number in range(3):
            after.commit([(50, value(number, 20))])
            after.settle()
        after.check(after.boot(flash))

    swept = sweep(rig.flash, workload, boot_and_check)
    assert rig.flash.ops == swept.operations and swept.cuts == swept.operations * len(TORN)
    assert min(rig.flash.erases) >= 2, "the log went round"
    assert all_in_use or name in ("steps in time", "one step a commit")
    print(f"{name}: {swept.operations} operations, {swept.cuts} cuts, {all_in_use} of them with all sectors in use")


@pytest.mark.parametrize("name", ["a full sector of values, no steps", "no steps"])
def test_every_cut_of_the_recovery_after_every_cut(name: str) -> None:
    """The power fails again at each operation of the first commit and the clearing after a boot."""
    sectors, size, *_ = HISTORIES[name]
    rig = Rig(NorFlash(sectors, size, unit_bytes=8), sectors)
    going_on = history(rig, name)
    while min(rig.flash.erases) == 0:  # the log goes round once before the cuts begin
        next(going_on)
    cuts = 0

    def workload(flash: NorFlash) -> None:
        for _, _ in zip(range(70), going_on, strict=False):
            pass

    def boot_and_check(flash: NorFlash) -> None:
        nonlocal cuts
        second = Rig(flash, sectors)
        second.state = dict(rig.check(second.journal))
        second.sequence = second.journal.sequence
        largest = [(50, value(1, 20)), (40, value(2, 80))]

        def recovery(flash: NorFlash) -> None:
            second.commit(largest)
            second.settle()

        def boot_and_check_again(flash: NorFlash) -> None:
            third = Rig(flash, sectors)
            second.check(third.journal)

        cuts += sweep(flash, recovery, boot_and_check_again, (25, 50, BIT)).cuts

    swept = sweep(rig.flash, workload, boot_and_check, (50, BIT))
    print(f"{name}: {swept.operations} operations, {swept.cuts} cuts, {cuts} cuts in what followed")


def test_a_cut_in_every_boot_for_ever() -> None:
    """However often the power fails while room is made, the next boot has the state, and an undisturbed one works."""
    sectors, size, *_ = HISTORIES["a full sector of values, no steps"]
    for seed in range(2):
        rig = Rig(NorFlash(sectors, size, unit_bytes=8), sectors)
        choose = random.Random(seed)
        for number, _ in enumerate(history(rig, "a full sector of values, no steps")):
            if number < 20 or number % 3:
                continue
            for _ in range(40):
                rig.flash.cut_at(rig.flash.ops + choose.choice((1, 1, 1, 2, 3, 4, 9)), choose.choice(TORN))
                try:
                    rig.commit([(40, value(choose.randrange(1000), choose.randrange(1, 80)))])
                    rig.settle()
                    break
                except PowerCut:
                    rig.flash.power_on()
                    rig.journal = rig.boot(rig.flash)
                    rig.state = rig.check(rig.journal)
                    rig.sequence = rig.journal.sequence
                    rig.pending = None
            rig.flash.power_on()
            rig.settle()


def test_one_decayed_bit_anywhere_is_harmless_or_told() -> None:
    """Two or three bits of each byte: a value that is held and not doubtful is the right one, or the witness tells."""
    sectors, size, *_ = HISTORIES["one step a commit"]
    rig = Rig(NorFlash(sectors, size, unit_bytes=8), sectors)
    steps = history(rig, "one step a commit")
    for _ in range(47):
        next(steps)
    told = {"nothing": 0, "damaged": 0, "witness": 0}
    for bit in range(0, len(rig.flash.data) * 8, 3):
        rig.flash.flip(bit)
        journal = rig.boot(rig.flash)
        right = {key: journal.get(key) == rig.state.get(key) for key in KEYS}
        if journal.sequence < rig.sequence:
            assert journal.sequence == rig.sequence - 1
            told["witness"] += 1
        else:
            assert all(same or journal.doubtful(key) for key, same in right.items())
            if not all(right.values()):
                assert journal.status == DAMAGED and journal.lost_records
            told["damaged" if journal.status == DAMAGED else "nothing"] += 1
        rig.flash.flip(bit)
    assert told["damaged"] > 1000 and told["witness"] > 50
    print(told)


def test_a_lost_sector_is_told() -> None:
    """Each sector in turn blank, zero, random or as it was a turn ago: no wrong value goes without a word."""
    for name, (sectors, size, *_) in HISTORIES.items():
        rig = Rig(NorFlash(sectors, size), sectors)
        turns: list[list[bytes]] = [[b"\xff" * size] for _ in range(sectors)]  # what each sector held at its ends

        def keep(
            block: int,
            offset: int,
            data: bytes | None,
            rig: Rig = rig,
            turns: list[list[bytes]] = turns,
            size: int = size,
        ) -> None:
            if data is None:
                turns[block].append(bytes(rig.flash.data[block * size : (block + 1) * size]))

        rig.flash.watch = keep
        for number, _ in enumerate(history(rig, name)):
            if number % 7:
                continue
            kept = rig.flash.snapshot()
            for sector in range(sectors):
                for spoiled in (bytes(size), random.Random(number).randbytes(size), b"\xff" * size, turns[sector][-1]):
                    rig.flash.data[sector * size : (sector + 1) * size] = spoiled
                    journal = rig.boot(rig.flash)
                    if journal.sequence >= rig.sequence:
                        for key in KEYS:
                            assert journal.get(key) == rig.state.get(key) or journal.doubtful(key)
                    if journal.status == DAMAGED and spoiled != turns[sector][-1]:
                        journal.commit([(50, b"still writable")])
                        assert rig.boot(rig.flash).get(50) == b"still writable"
                    rig.flash.restore(kept)


def test_copying_away_from_damage_is_safe_too() -> None:
    """Every cut while values are copied away from damage: each boot holds the same, and at last no damage is left."""
    sectors, size, *_ = HISTORIES["one step a commit"]
    cuts = 0
    for commits in (8, 20, 40, 60):
        rig = Rig(NorFlash(sectors, size, unit_bytes=8, lenient=True), sectors)
        journal = rig.journal
        places: list[int] = []
        for number, _ in enumerate(history(rig, "one step a commit")):
            places = [at for at in range(16, journal._offset, 8) if journal._load(journal._head, at) >= 0]
            if number >= commits and len(places) > 2:
                break
        rig.flash.flip((journal._head * size + places[-2] + 9) * 8)
        damaged = rig.boot(rig.flash)
        assert damaged.status == DAMAGED and damaged.erase_due()
        held = [damaged.get(key) for key in KEYS]

        def workload(flash: NorFlash, damaged: Journal = damaged) -> None:
            while damaged.erase_due():
                damaged.erase_step()

        def boot_and_check(flash: NorFlash, held: list[bytes | None] = held) -> None:
            for last in (False, True):
                after = Journal(flash, 0, sectors)
                assert after.mount() == (OK if last else after.status)
                assert [after.get(key) for key in KEYS] == held
                while after.erase_due():
                    after.erase_step()

        cuts += sweep(rig.flash, workload, boot_and_check).cuts
    assert cuts > 100
    print(f"copying away from damage: {cuts} cuts")


def test_a_commit_lost_before_copies_is_told() -> None:
    """While copies are made, the latest commit is not in the newest sector; when it decays, the copies bear witness."""
    sectors, size, *_ = HISTORIES["a full sector of values, no steps"]
    rig = Rig(NorFlash(sectors, size), sectors)
    told = 0

    def watch(block: int, offset: int, data: bytes | None) -> None:
        nonlocal told
        journal = rig.journal
        if data is None or journal._used() < sectors or journal._offset == 16:
            return
        decayed = rig.flash.fork()
        previous = (journal._head - 1) % sectors
        last = max(at for at in range(16, size, 8) if journal._load(previous, at) >= 0)
        decayed.flip((previous * size + last + 9) * 8)
        after = rig.boot(decayed)
        assert after.status == DAMAGED and after.doubtful(40) and after.sequence == rig.sequence - 1
        told += 1

    rig.flash.watch = watch
    for _ in history(rig, "a full sector of values, no steps"):
        pass
    assert told > 20


def test_a_program_that_fails_costs_nothing() -> None:
    """Each program of a history fails in turn, also among copies in the last sector; no commit is lost or refused."""
    name = "a full sector of values, no steps"
    sectors, size, *_ = HISTORIES[name]
    places = []
    rig = Rig(NorFlash(sectors, size), sectors)

    def note(block: int, offset: int, data: bytes | None) -> None:
        if offset and (rig.journal._used() == sectors or rig.flash.ops % 20 == 0):
            places.append(rig.flash.ops)

    rig.flash.watch = note
    for _ in history(rig, name):
        pass
    assert len(places) > 60
    for place in places:
        rig = Rig(NorFlash(sectors, size, unit_bytes=8), sectors)

        def fail(block: int, offset: int, data: bytes | None, rig: Rig = rig, place: int = place) -> None:
            if rig.flash.ops == place:
                rig.flash.wear_out(block, 1)

        rig.flash.watch = fail
        for number, _ in enumerate(history(rig, name)):
            if number % 16 == 0 or number > 330:
                rig.check(rig.boot(rig.flash))
        assert rig.flash.ops > place and rig.sequence == 339


def test_any_content_can_be_mounted_and_written() -> None:
    """Random bytes, random bytes over a good journal, and valid records with absurd fields."""
    for seed in range(60):
        choose = random.Random(seed)
        flash = NorFlash(5, 1024)
        rig = Rig(flash, 5)
        for _ in range(choose.randrange(40)):
            rig.commit([(choose.randrange(4), value(choose.randrange(99), choose.randrange(60)))])
        kind = seed % 3
        if kind == 0:
            flash.data[:] = choose.randbytes(len(flash.data))
        elif kind == 1:
            for _ in range(choose.randrange(1, 30)):
                at = choose.randrange(len(flash.data))
                flash.data[at : at + 8] = choose.randbytes(len(flash.data[at : at + 8]))
        else:
            for at in range(choose.randrange(16, 40) // 8 * 8, len(flash.data), 1024):
                payload = choose.randbytes(choose.randrange(40))
                head = struct.pack(
                    ">IIHBB", choose.choice((0, 1, 7, 0xFFFFFFFE)), 3, len(payload), choose.randrange(256), 0xC3
                )
                flash.data[at : at + 16 + len(payload)] = head + struct.pack(">I", zlib.crc32(head + payload)) + payload
        before = flash.read_bytes
        journal = rig.boot(flash)
        assert flash.read_bytes - before < 12 * len(flash.data)
        for key in range(8):
            journal.doubtful(key)
            journal.get(key)
        if kind < 2:
            for number in range(60):
                journal.commit([(1, value(number, 30))])
            assert rig.boot(flash).get(1) == value(59, 30)


def test_mounting_costs_a_bounded_number_of_bytes() -> None:
    """A journal of the real size, full: each byte that counts is read twice at most, whatever it holds."""
    flash = NorFlash(16)
    rig = Rig(flash, 16)
    worst = 0
    for key in range(10):  # never stored again: what counts stretches over the whole journal
        rig.commit([(100 + key, value(key, 120))])
    for number in range(1500):
        rig.commit([(number % 40, value(number, 120))])
        if number % 100 == 0:
            before = flash.read_bytes, flash.reads
            rig.boot(flash)
            worst = max(worst, flash.read_bytes - before[0])
            print(f"{number} commits: {flash.read_bytes - before[0]} bytes in {flash.reads - before[1]} reads")
    assert worst <= 2 * len(flash.data)


class JournalMachine(RuleBasedStateMachine):
    """Commits, steps, cuts, boots and worn sectors in any order against a dict."""

    SECTORS = 5
    SIZE = 1024
    VALUES = st.binary(max_size=40)

    @initialize(unit=st.just(8))
    def start(self, unit: int) -> None:
        self.rig = Rig(NorFlash(self.SECTORS, self.SIZE, unit_bytes=unit), self.SECTORS)

    @rule(items=st.dictionaries(st.integers(0, 5), VALUES, min_size=1, max_size=4))
    def commit(self, items: dict[int, bytes]) -> None:
        self.rig.commit(list(items.items()))

    @rule(count=st.integers(5, 40), item=VALUES)
    def churn(self, count: int, item: bytes) -> None:
        for number in range(count):
            self.rig.commit([(6, bytes([number]) + item)])

    @rule(most=st.integers(1, 6))
    def settle(self, most: int) -> None:
        self.rig.settle(most)

    @rule()
    def reboot(self) -> None:
        self._boot()

    @rule(
        items=st.dictionaries(st.integers(0, 5), VALUES, min_size=1, max_size=4),
        after=st.integers(1, 4),
        torn=st.sampled_from(TORN),
    )
    def cut(self, items: dict[int, bytes], after: int, torn: int | str) -> None:
        self.rig.flash.cut_at(self.rig.flash.ops + after, torn)
        try:
            self.rig.commit(list(items.items()))
            self.rig.settle()
        except PowerCut:
            pass
        self.rig.flash.power_on()
        self._boot()

    @precondition(lambda self: self.rig.journal.sequence)
    @rule(sector=st.integers(0, SECTORS - 1), item=VALUES)
    def wear(self, sector: int, item: bytes) -> None:
        self.rig.flash.wear_out(sector, 1)
        try:
            self.rig.commit([(7, item)])
        except Exception as error:  # noqa: BLE001 an erase that did not take is a named error; the next one does
            assert type(error).__name__ == "StorageError"
            self.rig.flash.wear_out(sector, 0)
            self._boot()
        self.rig.flash.wear_out(sector, 0)

    @invariant()
    def holds_what_it_promised(self) -> None:
        for key in range(8):
            assert self.rig.journal.get(key) == self.rig.state.get(key)

    def _boot(self) -> None:
        self.rig.journal = self.rig.boot(self.rig.flash)
        self.rig.state = self.rig.check(self.rig.journal)
        self.rig.sequence = self.rig.journal.sequence
        self.rig.pending = None


TestJournalMachine = JournalMachine.TestCase
TestJournalMachine.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
