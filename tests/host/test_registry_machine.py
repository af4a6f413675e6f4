"""No sequence of events stops an excluded customer for a reason that is barred, or lifts a hold for safety.

The head end as it runs (orders, gate, payments, dispatcher) with a meter that obeys: it applies what reaches it by
version, loses what the link loses, and reports what it holds. What may stand there is modelled apart from the registry.
"""

from typing import Any

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from headend.engine import Action, Ask, Deliver
from headend.gate import proposals
from headend.ledger import payments
from headend.orders import statements
from headend.refusals import Refused
from headend.registry import calendar, ending, exclusions, holds
from headend.registry.evidence import Evidence
from headend.registry.rules import Rule
from meterlink import bodies, reasons, topics
from meterlink.orders import ASPECT_SUPPLY, Order
from tests.host.books import CHANNEL, METER
from tests.host.peer import CLOSED, OPEN, Bench

CLERK, CHIEF = "user:clerk", "user:chief"
FILE = Evidence("file 1")
HOUR_S = 3_600
THEN = st.sampled_from((0, 5, 5, 60, 1_200))  # how long nothing else happens
SAFETY, PROTECTION = reasons.HOLD_SAFETY, reasons.HOLD_PROTECTION
STOPS = tuple(range(reasons.HOLD_ARREARS, SAFETY))
OFTEN = (1, 1, 1, *STOPS)  # most stops are for arrears, and most releases come with a payment

# Said apart from `registry.kinds`: what each forbids, and whether it comes to an end by itself.
FORBIDS = {
    "protection": STOPS,
    "life_support": STOPS,
    "many_households": (reasons.HOLD_ARREARS,),
    "vip": (reasons.HOLD_ARREARS,),
    "dispute": (reasons.HOLD_ARREARS,),
}
ON_METER = ("protection", "life_support")
TWO = (*ON_METER, "many_households")  # two persons end these


class Registry(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench()
        self.peer = self.bench.peer
        self.linked = True
        self.bits = 0  # holds on the meter
        self.versions: dict[int, tuple[int, int]] = {}
        self.standing: dict[str, tuple[int, int | None]] = {}  # kind -> (id, until)
        self.banned = False  # whether the calendar forbids every hour
        self.safety = False  # whether somebody set it and nobody released it
        self.paid = 0

    def teardown(self) -> None:
        try:
            self.settle()
        finally:
            self.bench.close()

    # --- the model ----------------------------------------------------------------------------------------------------

    @property
    def now_s(self) -> int:
        return self.bench.clock.now_s()

    def kinds(self) -> list[str]:
        return [kind for kind, (_, until_s) in self.standing.items() if until_s is None or until_s > self.now_s]

    def barred(self) -> set[int]:
        return {reason for kind in self.kinds() for reason in FORBIDS[kind]}

    # --- what people do -----------------------------------------------------------------------------------------------

    @rule(kind=st.sampled_from(sorted(FORBIDS)), then_s=THEN)
    def exclude(self, kind: str, then_s: int) -> None:
        if kind in self.kinds():
            return
        until_s = self.now_s + HOUR_S if kind == "dispute" else None
        made = self.bench.write(exclusions.put, METER, kind, CLERK, FILE, until_s=until_s)
        self.standing[kind] = made, until_s
        self.wait(then_s)

    @precondition(lambda self: self.kinds())
    @rule(data=st.data())
    def include(self, data: st.DataObject) -> None:
        kind = data.draw(st.sampled_from(sorted(self.kinds())))
        exclusion_id = self.standing[kind][0]
        if kind in TWO:
            made = self.bench.write(ending.propose, exclusion_id, 1, CLERK, "over")
            digest = self.bench.store.read(proposals.get, made).digest
            for nobody in (CLERK, "channel:pos-1"):
                try:
                    self.bench.write(proposals.approve, made, digest, nobody)
                    raise AssertionError(f"{nobody} ended {kind} alone")
                except Refused:
                    pass
            self.bench.write(proposals.approve, made, digest, CHIEF)
        else:
            self.bench.write(exclusions.end, exclusion_id, 1, CLERK)
        del self.standing[kind]

    @rule(reason=st.sampled_from(OFTEN), then_s=THEN)
    def stop(self, reason: int, then_s: int) -> None:
        self.bench.write(statements.stop, METER, reason, CLERK)
        self.wait(then_s)

    @rule(reason=st.sampled_from(OFTEN), then_s=THEN)
    def release_or_pay(self, reason: int, then_s: int) -> None:
        if reason == reasons.HOLD_ARREARS:
            self.paid += 1
            self.bench.write(payments.take, CHANNEL, f"p{self.paid}", METER, 1_000_000)
        else:
            self.bench.write(statements.release, METER, reason, CLERK)
        self.wait(then_s)

    @rule(then_s=THEN)
    def danger(self, then_s: int) -> None:
        self.bench.write(holds.set_safety, METER, FILE, CLERK)
        self.safety = True
        self.wait(then_s)

    @precondition(lambda self: self.safety)
    @rule()
    def repaired(self) -> None:
        self.bench.write(holds.release_safety, METER, FILE, CLERK, close=bodies.CLOSE_PERMIT)
        self.safety = False

    @precondition(lambda self: self.bench.store.read(calendar.current) is None or self.banned)
    @rule()
    def plan(self) -> None:
        ban = not self.banned
        given = (Rule("ban", "禁停", reasons=STOPS),) if ban else ()
        newest = self.bench.store.read(calendar.current)
        version = 0 if newest is None else newest.version
        self.bench.write(calendar.put, version, "UTC", given, CLERK, "plan")
        self.banned = ban

    @rule(linked=st.booleans())
    def link(self, linked: bool) -> None:
        self.linked = linked

    def wait(self, seconds: int) -> None:
        self.bench.run(seconds, self.carry)

    def settle(self) -> None:
        """The link stands long enough for all to arrive: nothing that is barred is in force."""
        self.linked = True
        self.bench.run(2 * HOUR_S, self.carry)
        forbidden = [reason for reason in self.barred() if self.bits >> reason & 1]
        assert not forbidden, f"stopped for {forbidden}, in spite of {self.kinds()}"
        if any(kind in ON_METER for kind in self.kinds()):
            assert self.bits >> PROTECTION & 1
        assert bool(self.bits >> SAFETY & 1) == self.safety

    # --- the wire -----------------------------------------------------------------------------------------------------

    def carry(self, action: Action) -> list[Action] | None:
        if isinstance(action, Deliver):
            self.check(action)
        self.bench.sent(action, self.linked)
        if not self.linked:
            return None
        if isinstance(action, Ask):
            return self.bench.answers(action)
        return self.obey(action.raw) if isinstance(action, Deliver) else None

    def check(self, action: Deliver) -> None:
        """What leaves the head end now may be carried out now."""
        stated = Order(action.raw).stated
        if stated.aspect != ASPECT_SUPPLY:
            return
        sets = bodies.decode_supply(stated.body)[0] == bodies.HOLD
        if sets and stated.selector in STOPS:
            assert stated.selector not in self.barred(), f"sent in spite of {self.kinds()}"
            first = self.bench.order(action.order_id).sent_s == self.now_s
            assert not (first and self.banned), "sent in hours in which nobody is stopped"
        if not sets and stated.selector == PROTECTION:
            assert not any(kind in ON_METER for kind in self.kinds())
        if not sets and stated.selector == SAFETY:
            assert not self.safety

    def obey(self, raw: bytes) -> list[Action]:
        """The meter applies an order that outranks what it holds; then it says so."""
        order = self.peer.hold(raw)
        stated = order.stated
        version = stated.signing_epoch, stated.version
        if stated.aspect == ASPECT_SUPPLY and version >= self.versions.get(stated.selector, (0, 0)):
            self.versions[stated.selector] = version
            bit = 1 << stated.selector
            sets = bodies.decode_supply(stated.body)[0] == bodies.HOLD
            self.bits = self.bits | bit if sets else self.bits & ~bit
        elif stated.aspect != ASPECT_SUPPLY:
            self.peer.totals[stated.selector] = int.from_bytes(stated.body[:8], "big")
        off = self.bits >> SAFETY & 1 or (self.bits & ~(1 << PROTECTION) and not self.bits >> PROTECTION & 1)
        self.peer.be(holds=self.bits, **(OPEN if off else CLOSED))
        return self.bench.up(topics.UP_RECEIPT, self.peer.receipt(raw))

    def stands_by_order(self) -> bool:
        return bool(self.bench.store.read(holds.safety_stands, METER))

    @invariant()
    def safety_stays(self) -> None:
        """A hold for safety that nobody released stands, and no other does."""
        assert self.stands_by_order() == self.safety


# A failing run is not made shorter: that takes minutes, and the seed is printed.
_MANY: dict[str, Any] = {"deadline": None, "phases": [Phase.generate], "print_blob": True}
TestRegistry = Registry.TestCase
TestRegistry.settings = settings(max_examples=6, stateful_step_count=16, **_MANY)
