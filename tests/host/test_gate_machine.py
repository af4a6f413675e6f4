"""Life cycles and the gate as one machine: statements, approvals, payments, freezes, exclusions, two workers, time.

What must hold whatever happens: nothing that could open a relay reaches a carrier without its row at the gate; none is
sent while a freeze stands, to whom is excluded, or beyond a budget; a hold for safety ends by its own release alone.
"""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import select

from headend.engine import Deliver
from headend.gate import freeze, opens, policy, proposals, recall
from headend.ledger import payments
from headend.orders import ending, lifecycle, statements
from headend.refusals import Refused
from headend.registry import exclusions
from headend.registry.evidence import Evidence
from headend.store.schema import order, outbox
from meterlink import bodies, reasons
from meterlink.orders import ASPECT_SUPPLY, Order
from meterlink.tariff import Tariff
from tests.host.books import CHANNEL
from tests.host.gate_rig import ANN, ARREARS, BOB, EVE, Office

PEOPLE = st.sampled_from((ANN, BOB, EVE))
METERS = st.integers(0, 2)
HOLDS = st.sampled_from((ARREARS, reasons.HOLD_LEGAL, reasons.HOLD_SAFETY))
LIMITS = {"alone": 2, "approved": 4, "safety": 5}


class Gate(RuleBasedStateMachine):
    """Three meters on two feeders, two workers, three people."""

    url = "sqlite://"

    @initialize()
    def begin(self) -> None:
        rules = policy.flat(100)
        for kind, most in LIMITS.items():
            rules["limits"][kind]["utility"] = {"hour": [most, most, 0], "day": [3 * most, 3 * most, 0]}
        self.office = Office(self.url, meters=3, areas=("north/f-1", "north/f-2"), rules=rules)
        self.workers = [self.office.engine, self.office.another()]
        self.delivered: list[tuple[int, Deliver]] = []
        self.unfinished: list[tuple[int, Deliver]] = []
        self.safety: dict[int, int] = {}  # meter -> the newest order on safety: its action
        self.number = 0

    def teardown(self) -> None:
        if hasattr(self, "office"):
            self.office.close()

    def try_to(self, fn: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Refusals are fine; they change nothing."""
        try:
            return self.office.write(fn, *args, **options)
        except Refused:
            return None

    # --- what people do -----------------------------------------------------------------------------------------------

    @rule(meter=METERS, reason=HOLDS, actor=PEOPLE)
    def stop(self, meter: int, reason: int, actor: str) -> None:
        number = self.office.meters[meter]
        self.office.stop(number, reason, actor, delay_s=0)
        if reason == reasons.HOLD_SAFETY:
            self.safety[number] = bodies.HOLD

    @rule(meter=METERS, reason=HOLDS, actor=PEOPLE)
    def release(self, meter: int, reason: int, actor: str) -> None:
        number = self.office.meters[meter]
        self.office.release(number, reason, actor)
        if reason == reasons.HOLD_SAFETY:
            self.safety[number] = bodies.RELEASE

    @rule(meter=METERS, price=st.integers(0, 900_000), actor=PEOPLE)
    def tariff(self, meter: int, price: int, actor: str) -> None:
        self.office.write(statements.set_tariff, self.office.meters[meter], Tariff((price,)), actor)

    @rule(meter=METERS, give=st.booleans())
    def protection(self, meter: int, give: bool) -> None:
        fn = statements.protect if give else statements.unprotect
        self.office.write(fn, self.office.meters[meter], ANN)

    @rule(meter=METERS)
    def pay(self, meter: int) -> None:
        self.number += 1
        self.office.write(payments.take, CHANNEL, f"p{self.number}", self.office.meters[meter], 5)

    @rule(actor=PEOPLE, first=METERS)
    def propose(self, actor: str, first: int) -> None:
        self.office.propose(self.office.meters[first:], actor=actor)

    def pick(self, at: int, *states: str) -> int | None:
        found = self.office.store.read(
            lambda conn: list(
                conn.execute(
                    select(proposals.proposal.c.id).where(proposals.proposal.c.state.in_(states)).order_by("id")
                ).scalars()
            )
        )
        return found[at % len(found)] if found else None

    @rule(at=st.integers(0, 9), actor=PEOPLE)
    def approve(self, at: int, actor: str) -> None:
        chosen = self.pick(at, "open")
        if chosen is None:
            return
        row = self.office.proposal(chosen)
        made = self.try_to(proposals.approve, chosen, row.digest, actor)
        if actor == row.author:
            assert made is None and self.office.proposal(chosen).state == "open", "nobody approves his own"

    @rule(at=st.integers(0, 9), actor=PEOPLE)
    def refuse_or_withdraw(self, at: int, actor: str) -> None:
        chosen = self.pick(at, "open", "approved")
        if chosen is not None:
            author = self.office.proposal(chosen).author
            if actor == author:
                self.try_to(proposals.withdraw, chosen, actor)
            else:
                self.try_to(proposals.refuse, chosen, actor, "no")

    @rule(at=st.integers(0, 9))
    def recall(self, at: int) -> None:
        chosen = self.pick(at, "approved", "done")
        if chosen is not None:
            self.try_to(recall.recall, chosen, EVE)

    @rule(actor=PEOPLE)
    def freeze(self, actor: str) -> None:
        self.office.write(freeze.set, actor, "look first")

    @rule(first=PEOPLE, second=PEOPLE)
    def lift(self, first: str, second: str) -> None:
        self.try_to(freeze.lift, first)
        self.try_to(freeze.lift, second)

    @rule(meter=METERS)
    def exclude(self, meter: int) -> None:
        self.try_to(exclusions.put, self.office.meters[meter], "life_support", "user:clerk", Evidence("a register"))

    @rule(at=st.integers(0, 50), actor=PEOPLE)
    def cancel(self, at: int, actor: str) -> None:
        rows = self.office.orders()
        if rows:
            self.try_to(ending.cancel, rows[at % len(rows)].id, actor, as_approver=True)

    @rule(rules=st.sampled_from(("same", "wider")))
    def other_policy(self, rules: str) -> None:
        standing = self.office.store.read(policy.get).rules()
        self.office.write(policy.put, "system", standing, rules)

    # --- what the head end does ---------------------------------------------------------------------------------------

    @rule(worker=st.integers(0, 1), taken=st.booleans())
    def work(self, worker: int, taken: bool) -> None:
        engine = self.workers[worker]
        frozen = self.office.store.read(freeze.standing) is not None
        now_s = self.office.clock.now_s()
        for action in engine.due(now_s):
            if isinstance(action, Deliver):
                self.delivered.append((now_s, action))
                assert not (frozen and self.opening(action)), "nothing that opens is delivered while a freeze stands"
                if not taken:
                    self.unfinished.append((worker, action))
                    continue
            engine.sent(action, True)

    @precondition(lambda self: self.unfinished)
    @rule(ok=st.booleans())
    def wake_up(self, ok: bool) -> None:
        """A worker that slept says what became of its delivery."""
        worker, action = self.unfinished.pop(0)
        rows = select(outbox).where(outbox.c.order_id == action.order_id)
        before = self.office.store.read(lambda conn: conn.execute(rows).one_or_none())
        self.workers[worker].sent(action, ok)
        held = before is not None and before.lease == action.lease
        if not (held and before.lease_until_s > self.office.clock.now_s()):
            after = self.office.store.read(lambda conn: conn.execute(rows).one_or_none())
            assert after == before, "a lease that is over changes nothing"

    @rule(seconds=st.sampled_from((1, 30, 300, 1000, 3700)))
    def time_passes(self, seconds: int) -> None:
        self.office.clock.advance(seconds)

    # --- what must hold -----------------------------------------------------------------------------------------------

    def opening(self, action: Deliver) -> bool:
        return bool(self.office.order(action.order_id).gate)

    @invariant()
    def what_opens_has_passed_the_gate(self) -> None:
        if not hasattr(self, "office"):
            return
        passed = {row.order_id: row for row in self.office.passes()}
        by_id = {row.id: row for row in self.office.orders()}
        for now_s, action in self.delivered:
            stated = Order(action.raw).stated
            if stated.aspect == ASPECT_SUPPLY and opens(stated.aspect, stated.selector, stated.body):
                never_late = stated.selector == reasons.HOLD_SAFETY and stated.not_after_s == 0
                assert action.order_id in passed and (never_late or stated.not_after_s >= now_s)
        self.delivered.clear()
        for order_id, row in passed.items():
            assert by_id[order_id].gate == row._mapping["class"]
            assert (by_id[order_id].sent_s, by_id[order_id].version > 0) == (row.at_s, True)

    @invariant()
    def budgets_hold(self) -> None:
        if not hasattr(self, "office"):
            return
        rows = self.office.passes()
        for kind, most in LIMITS.items():
            counted = policy.COUNTS[kind]
            mine = sorted(row.at_s for row in rows if row._mapping["class"] in counted)
            for at, row_s in enumerate(mine):
                within = sum(row_s - 3600 < other_s for other_s in mine[: at + 1])
                assert within <= most + (LIMITS["alone"] if kind == policy.APPROVED else 0)

    @invariant()
    def one_waits_and_one_is_queued_for_each_subject_at_most(self) -> None:
        if not hasattr(self, "office"):
            return
        rows = self.office.orders()
        for states in ((lifecycle.QUEUED,), lifecycle.WAITING):
            subjects = [(row.meter, row.aspect, row.selector) for row in rows if row.state in states]
            assert len(subjects) == len(set(subjects))
        waiting = {row.id for row in rows if row.state in lifecycle.WAITING}
        out = self.office.store.read(lambda conn: set(conn.execute(select(outbox.c.order_id)).scalars()))
        assert not waiting & out, "what waits is in nobody's hands"
        assert all(row.version == 0 for row in rows if row.id in waiting)

    @invariant()
    def nothing_but_its_release_lifts_a_safety_hold(self) -> None:
        if not hasattr(self, "office"):
            return
        for number, action in self.safety.items():
            mine = select(order).where(
                order.c.meter == number, order.c.aspect == ASPECT_SUPPLY, order.c.selector == reasons.HOLD_SAFETY
            )
            rows = self.office.store.read(lambda conn, query=mine: conn.execute(query.order_by(order.c.id)).all())
            stated = [bodies.decode_supply(row.body)[0] for row in rows]
            assert stated[-1] == action, "the newest statement on safety is the one that a person made"
            assert rows[-1].state != lifecycle.CANCELLED

    @invariant()
    def whoever_is_excluded_has_no_stop_on_the_way_that_was_stated_later(self) -> None:
        if not hasattr(self, "office"):
            return
        excluded = self.office.store.read(
            lambda conn: {row.meter: row.since_s for row in conn.execute(select(exclusions.exclusion)).all()}
        )
        for row in self.office.passes():
            stated = self.office.order(row.order_id)
            if stated.aspect == ASPECT_SUPPLY and stated.selector == ARREARS and row.meter in excluded:
                assert row.at_s <= excluded[row.meter]


TestGate = Gate.TestCase
TestGate.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)


@pytest.mark.parametrize("any_store_url", ["postgresql"], indirect=True)
def test_the_same_on_postgresql(any_store_url: str) -> None:
    from tests import postgres

    class OnPostgres(Gate):
        @initialize()
        def begin(self) -> None:
            type(self).url = self.made = postgres.server().database()
            super().begin()

        def teardown(self) -> None:
            super().teardown()
            postgres.server().drop(self.made)

    few = settings(max_examples=3, stateful_step_count=20, deadline=None)
    run_state_machine_as_test(OnPostgres, settings=few)  # type: ignore[no-untyped-call]
