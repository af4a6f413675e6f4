"""Each record of each meter is stored once, the first that came wins, and cursors and holes are right: always.

Batches continue, repeat, overlap and leave gaps, come late, of former logs, with spoilt records or with other content
under a number that is taken; meters forget, begin new logs, answer in time or not; a packer moves what is stored.
"""

import os
import random
import threading

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from sqlalchemy import Connection, select

from headend.clock import ManualClock
from headend.collection import success
from headend.engine import Ack, Action, Ask, Engine, Policy
from headend.keys.keystore import KeyStore
from headend.reads import completeness, cursors, logs, packing, series
from headend.reads.packer import Packer
from headend.store.schema import lost_range
from headend.store.schema_readings import reading_day, reading_island, reading_recent
from meterlink import batches, records, topics
from tests import postgres
from tests.host.books import NOW_S, open_books
from tests.host.peer import Noise, Peer

METERS = (17, 18)
KEYS = KeyStore.generate(Noise())
DAY_S = 86_400
GRACE_S = 600
EVER = 1 << 32
INTERVALS = batches.KIND_INTERVALS

Record = tuple[int, int, int]  # meter, log, number


class Reads(RuleBasedStateMachine):
    def place(self) -> str:
        return "sqlite://"

    def __init__(self) -> None:
        super().__init__()
        self.store = open_books(self.place(), METERS, inline=True)
        self.clock = ManualClock(NOW_S)
        self.engine = Engine(self.store, KEYS, self.clock, Noise(), policy=Policy(gap_s=30, question_s=GRACE_S))
        self.peers = {number: Peer(KEYS, self.clock, number) for number in METERS}
        self.former: dict[int, list[tuple[int, dict[int, bytes]]]] = {number: [] for number in METERS}
        self.newest = dict.fromkeys(METERS, 0)
        self.stored: dict[Record, bytes] = {}
        self.asks: list[Ask] = []

    def teardown(self) -> None:
        self.store.close()

    # --- what meters do ----------------------------------------------------------------------------------------------

    @rule(number=st.sampled_from(METERS), count=st.integers(1, 60))
    def make_records(self, number: int, count: int) -> None:
        peer = self.peers[number]
        for seq in range(self.newest[number] + 1, self.newest[number] + count + 1):
            start_s = self.clock.now_s() - DAY_S + 900 * (seq % 80)
            peer.intervals[seq] = records.pack_interval(seq, start_s, 100 * seq, 0, 100, 0, 15, 0)
        self.newest[number] += count

    @rule(number=st.sampled_from(METERS), count=st.integers(1, 30))
    def forget_the_oldest(self, number: int, count: int) -> None:
        held = self.peers[number].intervals
        for seq in sorted(held)[:count]:
            del held[seq]

    @rule(number=st.sampled_from(METERS))
    def begin_another_log(self, number: int) -> None:
        peer = self.peers[number]
        self.former[number].append((peer.log_id, peer.intervals))
        peer.boot, peer.log_id, peer.intervals, self.newest[number] = peer.boot + 1, peer.log_id + 1, {}, 0

    @rule(number=st.sampled_from(METERS))
    def report(self, number: int) -> None:
        peer, newest = self.peers[number], self.newest[number]
        told = {"interval_newest": newest, "interval_oldest": min(peer.intervals, default=newest + 1 if newest else 0)}
        self._up([(number, topics.UP_REPORT, peer.report(**told))])

    # --- what comes --------------------------------------------------------------------------------------------------

    @rule(said=st.lists(st.tuples(st.sampled_from(METERS), st.integers(0, 59), st.integers(1, 40)), max_size=5))
    def push(self, said: list[tuple[int, int, int]]) -> None:
        """Batches that begin so far below the newest record, in one list."""
        wire = []
        for number, below, count in said:
            peer, first = self.peers[number], max(1, self.newest[number] - below)
            if any(seq >= first for seq in peer.intervals):
                wire.append((number, topics.UP_INTERVALS, peer.batch(first, count)))
        self._up(wire)

    @rule(number=st.sampled_from(METERS), count=st.integers(1, 40), spoilt=st.integers(0, 5))
    def push_what_follows_the_cursor(self, number: int, count: int, spoilt: int) -> None:
        """As a meter that knows what is acknowledged; of some batches a record is damaged."""
        peer, whole_to = self.peers[number], self.store.read(cursors.of, number).interval_whole_to
        if not any(seq > whole_to for seq in peer.intervals):
            return
        raw = peer.batch(whole_to + 1, count)
        if spoilt == 0:
            body, first = bytearray(raw[batches.HEAD_LENGTH : -16]), int.from_bytes(raw[34:38], "big")
            body[len(body) // 48 * 24 + 9] ^= 4
            raw = peer.batch_of(bytes(body), first)
        self._up([(number, topics.UP_INTERVALS, raw)])

    @rule(number=st.sampled_from(METERS), first=st.integers(1, 60), count=st.integers(1, 40))
    def push_of_a_former_log(self, number: int, first: int, count: int) -> None:
        peer = self.peers[number]
        if not self.former[number]:
            return
        now = peer.log_id, peer.intervals
        peer.log_id, peer.intervals = self.former[number][first % len(self.former[number])]
        if any(seq >= first for seq in peer.intervals):
            self._up([(number, topics.UP_INTERVALS, peer.batch(first, count))])
        peer.log_id, peer.intervals = now

    @rule(number=st.sampled_from(METERS), below=st.integers(0, 30))
    def push_other_content(self, number: int, below: int) -> None:
        seq = self.newest[number] - below
        if seq > 0:
            other = records.pack_interval(seq, NOW_S, 1, 1, 1, 1, 1, 0)
            self._up([(number, topics.UP_INTERVALS, self.peers[number].batch_of(other, seq))])

    @rule(which=st.integers(0, 9), late=st.integers(0, 4))
    def answer(self, which: int, late: int) -> None:
        if self.asks:
            ask = self.asks.pop(which % len(self.asks))
            if late == 0:
                self.clock.advance(GRACE_S + 1)
            self._up([(ask.meter, *self.peers[ask.meter].answer(ask))])

    @rule(seconds=st.sampled_from((1, 60, 3_600, DAY_S)))
    def time_passes(self, seconds: int) -> None:
        self.clock.advance(seconds)

    @rule()
    def pack(self) -> None:
        while self.store.write(success.count_some, self.clock.now_s()).result():
            pass
        packer = Packer(self.store)
        while packer.run(self.clock.now_s()):
            pass

    def _up(self, wire: list[tuple[int, str, bytes]]) -> None:
        for number, what, raw in wire:
            if what == topics.UP_INTERVALS:
                log_id = int.from_bytes(raw[22:26], "big")
                for at in range(batches.HEAD_LENGTH, len(raw) - 16, records.RECORD_LENGTH):
                    record = raw[at : at + records.RECORD_LENGTH]
                    if records.check(record) is not None:
                        self.stored.setdefault((number, log_id, int.from_bytes(record[:4], "big")), record)
        for actions in self.engine.up_many([(*message, "mqtt") for message in wire]):
            assert not isinstance(actions, BaseException), actions
            for action in actions:
                self._heard(action)

    def _heard(self, action: Action) -> None:
        if isinstance(action, Ask) and batches.read_ask(action.raw)[0] == INTERVALS:
            self.asks = [*self.asks[-9:], action]
        if isinstance(action, Ack):
            _, log_id, seq = batches.read_ack(action.raw, action.meter, self.peers[action.meter].key)
            state = self.store.read(cursors.of, action.meter)
            assert log_id == state.log_id
            assert seq <= state.interval_whole_to

    # --- what always holds -------------------------------------------------------------------------------------------

    @invariant()
    def each_record_is_stored_once_as_it_came_first(self) -> None:
        for number in METERS:
            for log_id in {log for meter, log, _ in self.stored if meter == number}:
                mine = {seq: raw for (meter, log, seq), raw in self.stored.items() if (meter, log) == (number, log_id)}
                found = self.store.read(series.raw, number, log_id, 1, EVER)
                assert found == b"".join(mine[seq] for seq in sorted(mine))
        assert len(self.stored) == self.store.read(_count)

    @invariant()
    def cursors_holes_and_islands_are_right(self) -> None:
        for number in METERS:
            self.store.read(self._check, number)

    def _check(self, conn: Connection, number: int) -> None:
        state = cursors.of(conn, number)
        there: dict[int, set[int]] = {}
        for meter, log_id, seq in self.stored:
            if meter == number:
                there.setdefault(log_id, set()).add(seq)
        apart: dict[int, set[int]] = {}
        for row in conn.execute(select(reading_island).where(reading_island.c.meter == number)):
            run = set(range(row.first, row.last + 1))
            known = apart.setdefault(row.log_id, set())
            assert not known & {row.first - 1, *run, row.last + 1}, "islands neither overlap nor touch"
            known |= run
        lost: dict[int, set[int]] = {}
        kept = lost_range.c.meter == number, lost_range.c.kind == INTERVALS
        for row in conn.execute(select(lost_range).where(*kept)):
            lost.setdefault(row.log_id, set()).update(range(row.first, row.last + 1))
        for log_id in there.keys() | lost.keys() | apart.keys():
            assert not there.get(log_id, set()) & lost.get(log_id, set()), "what is stored is not lost"
            whole_to = state.interval_whole_to if log_id == state.log_id else 0
            assert apart.get(log_id, set()) == {seq for seq in there.get(log_id, set()) if seq > whole_to}
        covered = there.get(state.log_id, set()) | lost.get(state.log_id, set())
        assert covered >= set(range(1, state.interval_whole_to + 1))
        assert state.interval_whole_to + 1 not in covered
        assert max(covered, default=0) <= state.interval_newest
        counted = completeness.completeness(conn, number)
        assert counted.expected == counted.stored + counted.lost + counted.missing
        missing = logs.holes(conn, state, logs.LOGS[INTERVALS], 1, state.interval_newest) if state.log_id else []
        assert {seq for low, high in missing for seq in range(low, high + 1)} == set(
            range(1, state.interval_newest + 1)
        ) - covered


def _count(conn: Connection) -> int:
    """Records by the rows that hold them, twice where two do."""
    lying = sum(len(raw) // records.RECORD_LENGTH for raw in conn.execute(select(reading_recent.c.records)).scalars())
    return lying + sum(map(packing.count, conn.execute(select(reading_day.c.packed)).scalars()))


class ReadsOnPostgresql(Reads):
    def place(self) -> str:
        return postgres.server().database()


TestReads = Reads.TestCase
TestReads.settings = settings(max_examples=15, stateful_step_count=30, deadline=None)
TestReadsOnPostgresql = ReadsOnPostgresql.TestCase
TestReadsOnPostgresql.settings = settings(max_examples=2, stateful_step_count=20, deadline=None)


def test_threads_that_bring_the_same_store_each_record_once(any_store_url: str) -> None:
    """A packer moves what they stored meanwhile."""
    store = open_books(any_store_url, METERS)
    clock = ManualClock(NOW_S + 3 * DAY_S)
    engines = [Engine(store, KEYS, clock, os.urandom, policy=Policy(gap_s=30)) for _ in range(4)]
    made: dict[int, dict[int, bytes]] = {}
    wire: list[tuple[int, str, bytes, str]] = []
    chance = random.Random(7)
    for number in METERS:
        peer = Peer(KEYS, clock, number)
        peer.record(200)
        made[number] = peer.intervals
        spans = [(first, chance.choice((1, 7, 40))) for first in range(1, 201, 3)]
        wire += [(number, topics.UP_INTERVALS, peer.batch(*span), "mqtt") for span in spans]
    over = threading.Event()
    failures: list[BaseException] = []

    def bring(engine: Engine, seed: int) -> None:
        mine = random.Random(seed).sample(wire, len(wire))
        while mine:
            some, mine = mine[:9], mine[9:]
            failures.extend(one for one in engine.up_many(some) if isinstance(one, BaseException))

    def pack() -> None:
        while not over.is_set():
            while store.write(success.count_some, clock.now_s() + 3 * DAY_S).result():
                pass
            Packer(store).run(clock.now_s() + 3 * DAY_S)

    threads = [threading.Thread(target=bring, args=(engine, seed)) for seed, engine in enumerate(engines)]
    packing_ = threading.Thread(target=pack)
    for thread in (*threads, packing_):
        thread.start()
    for thread in threads:
        thread.join()
    over.set()
    packing_.join()
    assert failures == []
    for number in METERS:
        assert store.read(series.raw, number, 7, 1, EVER) == b"".join(made[number].values())
        assert store.read(cursors.of, number).interval_whole_to == 200
    assert store.read(_count) == 400
    assert store.read(lambda conn: conn.execute(select(reading_island)).all()) == []
    store.close()
