"""A clock that jumps back and forth by hours while orders, leases and questions are open: what is said of an order
stays true, and once the clock goes on as clocks do, everything ends.
"""

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from headend.clock import ManualClock
from headend.engine import Ask, Deliver
from headend.ledger import payments
from headend.orders.actions import Action
from headend.store.schema import payment
from meterlink import batches, bodies
from meterlink.orders import ASPECT_CREDIT, Order
from tests.host.books import CHANNEL, METER, NOW_S, SOURCE
from tests.host.peer import Bench

HOUR_S = 3_600
JUMPS = st.one_of(st.integers(-60, 60), st.integers(-26 * HOUR_S, 26 * HOUR_S), st.just(-400 * 24 * HOUR_S))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("jump"), JUMPS),
        st.tuples(st.just("pay"), st.integers(1, 9)),
        st.tuples(st.just("run"), st.integers(1, 900)),
        st.tuples(st.just("deaf"), st.integers(1, 300)),
        st.tuples(st.just("restart"), st.just(0)),
    ),
    max_size=8,
)


class Life:
    """A meter that holds what it is sent and says what it holds, unless it is deaf; its clock is its own, and right."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        bench.peer._clock = ManualClock(NOW_S)
        self.held_uc = 0
        self.sold_uc = 0

    def carry(self, action: Action) -> list[Action]:
        self.bench.sent(action)
        if isinstance(action, Deliver):
            order = self.bench.peer.hold(action.raw)
            if Order(action.raw).stated.aspect == ASPECT_CREDIT:
                self.held_uc = max(self.held_uc, bodies.decode_credit(order.stated.body)[0])
                self.bench.peer.totals[SOURCE] = self.held_uc
        elif isinstance(action, Ask) and batches.read_ask(action.raw)[0] == batches.KIND_REPORT:
            return self.bench.answers(action)
        return []

    def lose(self, action: Action) -> list[Action]:
        self.bench.sent(action)
        return []

    def do(self, what: str, number: int) -> None:
        bench = self.bench
        if what == "jump":
            bench.clock._now_s += number
        elif what == "pay":
            self.sold_uc += number * 10_000
            bench.write(payments.take, CHANNEL, f"p{self.sold_uc}", METER, number * 10_000)
        elif what == "restart":
            bench._engine = None
        else:
            bench.run(number, self.carry if what == "run" else self.lose)

    def check(self) -> None:
        known = self.bench.meter()
        assert known.on_meter_uc <= self.held_uc <= known.sold_uc == self.sold_uc


@settings(max_examples=12)
@given(STEPS)
def test_what_is_said_stays_true_and_all_ends(steps: list[tuple[str, int]]) -> None:
    bench = Bench()
    try:
        life = Life(bench)
        for what, number in steps:
            life.do(what, number)
            life.check()
        bench.run(2 * HOUR_S, life.carry)
        life.check()
        assert bench.meter().on_meter_uc == life.sold_uc, "all of it has come, and is known to have"
        assert bench.outbox() == []
        missing = select(func.count()).where(payment.c.on_meter_s.is_(None))
        assert bench.store.read(lambda conn: conn.execute(missing).scalar_one()) == 0
    finally:
        bench.close()
