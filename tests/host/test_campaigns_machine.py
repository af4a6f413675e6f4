"""Campaigns as a machine: answers, refusals, silence, freezes, exclusions, pauses, aborts, withdrawals, workers that
die between steps.

What must hold whatever happens: nobody beyond the groups that had their turn is sent anything; after a stop nothing
more reaches a carrier; whoever the dry run excluded is never sent anything; what is sent never outruns the pace.
"""

import json
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

from headend.campaigns import acts, lifecycle, making
from headend.campaigns.lifecycle import ABORTED, PAUSED, PREPARING
from headend.gate import freeze, proposals
from headend.ledger import payments
from headend.orders.actions import Deliver
from headend.refusals import Refused
from headend.registry import exclusions
from headend.registry.evidence import Evidence
from tests.host.books import CHANNEL
from tests.host.campaign_rig import OBEYS, REFUSES, SILENT, Field
from tests.host.gate_rig import ANN, ARREARS, BOB, EVE

METERS = 8
PER_MINUTE = 120
PLAN = {
    "groups": ["1", "25%", "rest"],
    "per_minute": PER_MINUTE,
    "confirm": 6_000,
    "answer_s": 30,
    "abort": 4_000,
    "abort_after": 3,
}
AT = st.integers(0, METERS - 1)


class Campaigns(RuleBasedStateMachine):
    """Eight meters on two feeders, one campaign after the other."""

    url = "sqlite://"

    @initialize(barred=st.sets(AT, max_size=2), silent=st.sets(AT, max_size=3), at_once=st.booleans())
    def begin(self, barred: set[int], silent: set[int], at_once: bool) -> None:
        self.field = Field(self.url, meters=METERS, areas=("north/f-1", "south/f-2"))
        for at in barred:
            self.try_to(exclusions.put, self.field.meters[at], "vip", "user:clerk", Evidence("a list"))
        self.campaigns: list[int] = []
        self.stopped: dict[int, int] = {}  # campaign -> how many deliveries there had been when it was stopped
        self.payments = 0
        self.field.behaves = {self.field.meters[at]: SILENT for at in silent}
        if at_once:
            self.make("stop", 0)
            self.whole()

    def teardown(self) -> None:
        if hasattr(self, "field"):
            self.field.close()

    def try_to(self, fn: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Refusals are fine; they change nothing."""
        try:
            return self.field.write(fn, *args, **options)
        except Refused:
            return None

    @property
    def newest(self) -> int:
        return self.campaigns[-1]

    # --- people -------------------------------------------------------------------------------------------------------

    @rule(kind=st.sampled_from(("stop", "stop", "connect")), first=AT)
    def make(self, kind: str, first: int) -> None:
        if len(self.campaigns) < 3:
            chosen = {"meters": list(self.field.meters[min(first, 3) :])}
            given = kind, {"reason": ARREARS}, chosen, PLAN, ANN, "bills of May"
            self.campaigns.append(int(self.field.write(making.make, *given)))

    @rule()
    def prepare(self) -> None:
        making.follow(self.field.store, self.field.clock.now_s())

    @precondition(lambda self: self.campaigns)
    @rule()
    def whole(self) -> None:
        """A dry run to its end, proposed and approved: what else could come between comes by the other rules."""
        while self.field.campaign(self.newest).state == PREPARING:
            self.prepare()
        if self.try_to(acts.propose, self.newest, ANN) is not None:
            row = self.field.proposal(self.field.campaign(self.newest).proposal)
            self.try_to(proposals.approve, row.id, row.digest, BOB)

    @precondition(lambda self: self.campaigns)
    @rule(what=st.sampled_from(("pause", "resume", "resume", "go_on", "abort", "drop")))
    def act(self, what: str) -> None:
        self.try_to(getattr(acts, what), self.newest, EVE, "because")
        if what == "abort":
            self.note_stop()

    @precondition(lambda self: self.campaigns)
    @rule()
    def recall(self) -> None:
        self.try_to(acts.recall, self.newest, EVE)

    @precondition(lambda self: self.campaigns)
    @rule()
    def withdraw_the_list(self) -> None:
        listed = self.field.campaign(self.newest).proposal
        if listed is not None:
            self.try_to(proposals.withdraw, listed, ANN)

    @rule()
    def freeze(self) -> None:
        self.field.write(freeze.set, EVE, "look first")

    @rule()
    def lift(self) -> None:
        self.try_to(freeze.lift, ANN)
        self.try_to(freeze.lift, BOB)

    @rule(at=AT)
    def pay(self, at: int) -> None:
        self.payments += 1
        self.field.write(payments.take, CHANNEL, f"p{self.payments}", self.field.meters[at], 5)

    @rule(at=AT)
    def exclude(self, at: int) -> None:
        self.try_to(exclusions.put, self.field.meters[at], "vip", "user:clerk", Evidence("a list"))

    # --- the head end and the meters ----------------------------------------------------------------------------------

    @rule(at=AT, behaves=st.sampled_from((OBEYS, OBEYS, REFUSES, SILENT)))
    def behave(self, at: int, behaves: str) -> None:
        self.field.behaves[self.field.meters[at]] = behaves

    @rule(seconds=st.sampled_from((1, 3, 10)))
    def work(self, seconds: int) -> None:
        self.field.run(seconds)
        self.note_stop()

    @rule()
    def a_worker_dies(self) -> None:
        """It took what was due, and never said what became of it; another goes on."""
        self.field.delivered += [
            (self.field.clock.now_s(), one.order_id)
            for one in self.field.engine.due(self.field.clock.now_s())
            if isinstance(one, Deliver)
        ]
        self.field.engine = self.field.another()
        self.note_stop()

    @rule(seconds=st.sampled_from((30, 400, 4000)))
    def nobody_works(self, seconds: int) -> None:
        self.field.clock.advance(seconds)

    def note_stop(self) -> None:
        for one in self.campaigns:
            if self.field.campaign(one).state == ABORTED:
                self.stopped.setdefault(one, len(self.field.delivered))

    # --- what must hold -----------------------------------------------------------------------------------------------

    def mine(self, campaign_id: int) -> dict[int, Any]:
        """order -> row."""
        listed = self.field.campaign(campaign_id).proposal
        return {row.id: row for row in self.field.orders() if listed is not None and row.proposal == listed}

    @invariant()
    def nobody_is_sent_anything_before_his_group_has_its_turn(self) -> None:
        for one in getattr(self, "campaigns", ()):
            row, looked = self.field.campaign(one), self.field.looked_at(one)
            for order in self.mine(one).values():
                assert looked[order.meter].verdict == "in", "whoever the dry run excluded is never sent anything"
                assert looked[order.meter].grp <= row.grp

    @invariant()
    def nothing_is_delivered_after_a_stop(self) -> None:
        for one, before in getattr(self, "stopped", {}).items():
            numbers = set(self.mine(one))
            assert not [order for _, order in self.field.delivered[before:] if order in numbers]

    @invariant()
    def nothing_is_sent_in_a_pause(self) -> None:
        for one in getattr(self, "campaigns", ()):
            row = self.field.campaign(one)
            if row.state == PAUSED:
                assert all((order.sent_s or 0) <= row.changed_s for order in self.mine(one).values())

    @invariant()
    def no_second_states_more_than_the_pace(self) -> None:
        for one in getattr(self, "campaigns", ()):
            stated = sorted(order.issued_s for order in self.mine(one).values())
            for at, first_s in enumerate(stated):
                within = sum(first_s <= other_s < first_s + 3 for other_s in stated[at:])
                assert within <= 3 * PER_MINUTE // 60 + PER_MINUTE // 60

    @invariant()
    def a_history_follows_the_table(self) -> None:
        for one in getattr(self, "campaigns", ()):
            state = PREPARING
            for event in self.field.history(one)[1:]:
                state = lifecycle.TABLE[state, event]
            assert state == self.field.campaign(one).state
            assert sum(json.loads(self.field.campaign(one).groups)) in (
                0,
                sum(row.verdict == "in" for row in self.field.looked_at(one).values()),
            )


TestCampaigns = Campaigns.TestCase
TestCampaigns.settings = settings(max_examples=12, stateful_step_count=25, deadline=None)


@pytest.mark.parametrize("any_store_url", ["postgresql"], indirect=True)
def test_the_same_on_postgresql(any_store_url: str) -> None:
    from tests import postgres

    class OnPostgres(Campaigns):
        @initialize(barred=st.sets(AT, max_size=2), silent=st.sets(AT, max_size=3), at_once=st.booleans())
        def begin(self, barred: set[int], silent: set[int], at_once: bool) -> None:
            type(self).url = self.made = postgres.server().database()
            super().begin(barred, silent, at_once)

        def teardown(self) -> None:
            super().teardown()
            postgres.server().drop(self.made)

    few = settings(max_examples=2, stateful_step_count=20, deadline=None)
    run_state_machine_as_test(OnPostgres, settings=few)  # type: ignore[no-untyped-call]
