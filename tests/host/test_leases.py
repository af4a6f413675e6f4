"""Leases on both databases: one holder at a time by everybody's own clock, tokens that only rise, even shares in the
end; holders that pause, vanish and come back, and a database clock that jumps.
"""

from collections import Counter
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sqlalchemy import func, select, update

from headend.refusals import Refused
from headend.store import Store, open_store, sql
from headend.store.schema_workers import lease, worker
from headend.workers import leases, roles, sharing, turns
from headend.workers.homes import SHARD, SHARDS
from headend.workers.tenure import Tenure
from headend.workers.turns import Patience
from tests import postgres
from tests.host.books import NOW_S

PATIENCE = Patience(lease=15, beat=4, settle=10)
NAMES = ("a", "b", "c")
SERVES = (SHARD, roles.SIGN)


class Hands:
    """A database clock that a test moves; what the database itself would say is not asked."""

    def __init__(self, patch: pytest.MonkeyPatch, now_s: int = NOW_S) -> None:
        self.now_s = now_s
        patch.setattr(sql, "now_s", lambda conn: self.now_s)


@pytest.fixture
def hands(monkeypatch: pytest.MonkeyPatch) -> Hands:
    return Hands(monkeypatch)


def test_a_lease_is_one_holders_until_it_runs_out(any_store: Store, hands: Hands) -> None:
    first = any_store.write(leases.take, SHARD, 7, "a", 15).result()
    assert first is not None and first.token == 1
    for holder in ("b", "a"):
        assert any_store.write(leases.take, SHARD, 7, holder, 15).result() is None
    hands.now_s += 14
    assert any_store.write(leases.renew, first, 15).result()
    hands.now_s += 15
    assert not any_store.write(leases.renew, first, 15).result(), "it ran out, though nobody took it"
    second = any_store.write(leases.take, SHARD, 7, "b", 15).result()
    assert second is not None and second.token == 2
    any_store.write(leases.release, first).result()
    assert any_store.read(leases.standing, SHARD) == [second], "what another holds is not given back"
    any_store.write(leases.release, second).result()
    assert any_store.read(leases.standing, SHARD) == []
    third = any_store.write(leases.take, SHARD, 7, "a", 15).result()
    assert third is not None and third.token == 3


def test_a_lease_from_before_the_clock_was_set_back_counts_no_more(any_store: Store, hands: Hands) -> None:
    old = any_store.write(leases.take, roles.ROLE, 0, "a", 15).result()
    hands.now_s -= 3600
    new = any_store.write(leases.take, roles.ROLE, 0, "b", 15).result()
    assert new is not None and new.token == old.token + 1
    assert not any_store.write(leases.renew, old, 15).result()
    with pytest.raises(Refused):
        any_store.write(leases.take, roles.ROLE, 1, "b", leases.LONGEST_S + 1).result()


def test_on_the_clock_of_the_database_itself(any_store: Store) -> None:
    before = any_store.read(sql.now_s)
    held = any_store.write(leases.take, SHARD, 0, "a", 15).result()
    assert before + 15 <= held.until_s <= any_store.read(sql.now_s) + 15
    assert any_store.read(leases.standing, SHARD) == [held]


def test_who_leaves_keeps_nobody_waiting(any_store: Store, hands: Hands) -> None:
    a, b = (Tenure(any_store, name, SERVES, PATIENCE, lambda: float(hands.now_s)) for name in ("a", "b"))
    a.beat()
    b.beat()
    assert (a.numbers(SHARD), b.numbers(SHARD)) == (frozenset(SHARDS), frozenset())
    assert a.alone(roles.SIGN) and not b.alone(roles.SIGN)
    a.end()
    assert not a.numbers(SHARD)
    b.beat()
    assert b.numbers(SHARD) == frozenset(SHARDS) and b.alone(roles.SIGN)
    assert any_store.read(lambda conn: conn.execute(select(worker.c.name)).scalars().all()) == ["b"]


def test_what_a_worker_can_no_longer_serve_goes_to_others(any_store: Store, hands: Hands) -> None:
    a, b = (Tenure(any_store, name, SERVES, PATIENCE, lambda: float(hands.now_s)) for name in ("a", "b"))
    a.beat()
    b.beat()
    a.serve({roles.SIGN})
    surplus = a.beat()
    assert len(surplus) == len(SHARDS) and not a.numbers(SHARD)
    b.beat()
    assert not b.numbers(SHARD), "nothing is taken before it was given back"
    a.give_back(surplus)
    b.beat()
    assert b.numbers(SHARD) == frozenset(SHARDS)


def test_doubt_lasts_until_the_next_beat(any_store: Store, hands: Hands) -> None:
    a = Tenure(any_store, "a", SERVES, PATIENCE, lambda: float(hands.now_s))
    a.beat()
    a.doubt(SHARD, 5)
    assert not a.holds(SHARD, 5) and a.holds(SHARD, 6)
    a.beat()
    assert a.holds(SHARD, 5)


def test_the_plan_is_even_and_moves_little() -> None:
    names = [f"w{number}" for number in range(7)]
    before = sharing.plan(SHARDS, names)
    after = sharing.plan(SHARDS, names[:-1])
    assert sharing.plan(SHARDS, names[::-1]) == before
    assert set(Counter(before.values()).values()) == {9, 10}
    assert set(Counter(after.values()).values()) == {10, 11}
    moved = sum(before[number] != after[number] for number in SHARDS)
    assert moved <= 9 + 64 // 3, "little more than what the one who went had held"
    assert sharing.plan(SHARDS, []) == {}


class Life(RuleBasedStateMachine):
    """Workers beat, pause and vanish, in any order; `real` time passes, the database's clock jumps."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.hands = Hands(self.patch)
        self.real_s = 0.0
        self.store: Store = open_store("sqlite://", inline=True)
        self.calm_since = 0.0  # when the clock last jumped
        self.tokens: dict[tuple[str, int], int] = {}
        self.made = 0
        self.there: dict[str, Tenure] = {}
        self.surplus: dict[str, list[leases.Lease]] = {}

    def teardown(self) -> None:
        try:
            self.settle()
        finally:
            self.store.close()
            self.patch.undo()

    def settle(self) -> None:
        """When all beat for a while, all is held, evenly, whatever there was before."""
        for _ in range((leases.LONGEST_S + 2 * PATIENCE.settle) // PATIENCE.beat):
            self.time_passes(PATIENCE.beat)
            for slot in self.there:
                self.beat(slot)
                self.give_back(slot)
            self.one_holder()
        shares = [len(one.numbers(SHARD)) for one in self.there.values()]
        assert sum(shares) == len(SHARDS) and max(shares) - min(shares) <= 1
        assert sum(one.alone(roles.SIGN) for one in self.there.values()) == 1

    @initialize()
    def begin(self) -> None:
        self.come("a")

    @rule(slot=st.sampled_from(NAMES))
    def come(self, slot: str) -> None:
        """A process starts in this place; the one before it, if any, is gone without a word."""
        self.made += 1
        self.there[slot] = Tenure(self.store, f"{slot}{self.made}", SERVES, PATIENCE, lambda: self.real_s)
        self.surplus[slot] = []

    @rule(slot=st.sampled_from(NAMES))
    def beat(self, slot: str) -> None:
        if slot in self.there:
            self.surplus[slot] = self.there[slot].beat()

    @rule(slot=st.sampled_from(NAMES))
    def give_back(self, slot: str) -> None:
        if slot in self.there:
            self.there[slot].give_back(self.surplus.pop(slot, []))
            self.surplus[slot] = []

    @rule(slot=st.sampled_from(NAMES))
    def leave(self, slot: str) -> None:
        if len(self.there) > 1 and slot in self.there:
            self.there.pop(slot).end()

    @rule(seconds=st.integers(0, 20))
    def time_passes(self, seconds: int) -> None:
        self.real_s += seconds
        self.hands.now_s += seconds

    @rule(by_s=st.sampled_from((-86_400, -600, -30, -2, 2, 30, 3_600)))
    def clock_jumps(self, by_s: int) -> None:
        self.hands.now_s += by_s
        self.calm_since = self.real_s

    @invariant()
    def one_holder(self) -> None:
        """By their own clocks, also of those that paused; but for a lease's time after the clock jumped."""
        if self.real_s - self.calm_since <= PATIENCE.lease:
            return
        for number in SHARDS:
            holders = [one.name for one in self.there.values() if one.holds(SHARD, number)]
            assert len(holders) <= 1, f"shard {number} is held by {holders}"

    @invariant()
    def tokens_rise_and_rows_are_bounded(self) -> None:
        rows: list[Any] = self.store.read(lambda conn: conn.execute(select(lease)).all())
        assert len(rows) <= len(SHARDS) + len(roles.ALONE)
        for row in rows:
            assert row.token >= self.tokens.get((row.kind, row.number), 0)
            self.tokens[row.kind, row.number] = row.token


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=10, stateful_step_count=25, deadline=None)


def test_workers_of_the_past_are_forgotten(any_store: Store, hands: Hands) -> None:
    for number in range(20):
        hands.now_s += turns.FORGET_S // 2
        any_store.write(turns.turn, f"w{number}", frozenset(SERVES), PATIENCE).result()
    assert any_store.read(lambda conn: conn.execute(select(func.count()).select_from(worker)).scalar_one()) <= 3


def test_nobody_waits_for_a_worker_that_is_cut_off_in_a_transaction() -> None:
    """Its rows stay locked for as long as the server holds on to its connection."""
    url = postgres.server().database()
    with open_store(url) as store, open_store(url) as other:
        mine = store.write(leases.take, SHARD, 1, "a", 15).result()
        theirs = other.write(leases.take, SHARD, 2, "b", 15).result()
        with store.writes.connect() as conn, conn.begin():
            conn.execute(update(lease).where(lease.c.number == 2).values(until_s=0))
            started = (
                other.write(leases.renew_all, "b", 15).result(),
                other.write(leases.take, SHARD, 2, "c", 15).result(),
            )
            assert started == ([], None)
            assert store.write(leases.renew_all, "a", 15).result()[0].token == mine.token
            conn.rollback()
        assert other.write(leases.renew_all, "b", 15).result()[0].token == theirs.token
    postgres.server().drop(url)
