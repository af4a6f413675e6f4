"""The two life cycles: the tables are sound, `move` follows them and nothing else, the text comes from them."""

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule
from sqlalchemy import select, update

from headend.orders import credit, lifecycle, lifecycle_text, statements
from headend.orders.lifecycle import CREDIT, ENDS, EVENTS, ON_THE_WAY, QUEUED, STATES, SUPPLY
from headend.store import Store, lock_meter
from headend.store.schema import order, order_history, outbox
from meterlink import reasons
from meterlink.bodies import Limits
from meterlink.orders import ASPECT_CREDIT
from meterlink.tariff import Tariff
from tests.host.books import METER, NOW_S, open_books

TABLES = [SUPPLY, CREDIT]


@pytest.mark.parametrize("table", TABLES, ids=["supply", "credit"])
def test_every_state_is_reached_and_every_state_but_an_end_can_be_left(table: lifecycle.Table) -> None:
    start = lifecycle.DRAFT if table is SUPPLY else QUEUED
    reached = {start}
    while more := {end for (state, _), end in table.items() if state in reached} - reached:
        reached |= more
    named = {state for state, _ in table} | set(table.values())
    assert reached == named
    assert {state for state, _ in table} == named - ENDS
    assert named <= set(STATES) and {event for _, event in table} <= set(EVENTS)


def test_supply_knows_every_state_and_credit_no_way_to_drop_money() -> None:
    assert {state for state, _ in SUPPLY} | set(SUPPLY.values()) == set(STATES) - {"settled"}
    assert not {"cancelled", "expired", "failed"} & set(CREDIT.values())


@pytest.mark.parametrize("table", TABLES, ids=["supply", "credit"])
def test_from_sent_on_nothing_but_proof_or_a_person_ends_an_order(table: lifecycle.Table) -> None:
    proof = {"accept", "refuse", "confirm", "contradict", "expire", "supersede", "fail"}
    for (state, event), end in table.items():
        if state in ON_THE_WAY and end in ENDS:
            assert event in proof or (event == "write_off" and state != "sent") or (end, table) == ("settled", CREDIT)
        assert not (state in ON_THE_WAY and end in (QUEUED, "cancelled"))


def test_the_text_is_made_of_the_tables() -> None:
    text = lifecycle_text.markdown()
    for table in TABLES:
        for (state, event), end in table.items():
            assert f"| `{state}` | `{event}` | `{end}` |" in text
            assert f"    {state} --> {end}: {event}\n" in text
    assert text.count("```mermaid") == 2
    for words in [*STATES.values(), *EVENTS.values()]:
        assert words in text


def test_an_unknown_order_is_named() -> None:
    store = open_books()
    with pytest.raises(lifecycle.UnknownOrder, match="order: 99 given"):
        store.write(lifecycle.move, NOW_S, 99, "send").result()


class Lives(RuleBasedStateMachine):
    """Random statements and random events on them; the model is a dict of states, moved by the tables alone."""

    orders = Bundle("orders")

    @initialize()
    def begin(self) -> None:
        self.store: Store = open_books()
        self.now_s = NOW_S
        self.states: dict[int, str] = {}
        self.subjects: dict[int, tuple[int, int]] = {}
        self.versions: list[int] = []
        self.total_uc = 0

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()

    def stated(self, fn: Any, *args: Any, **options: Any) -> int:
        self.now_s += 1
        made: int = self.store.write(lambda conn: fn(conn, self.now_s, *args, **options)).result()
        row = self.row(made)
        for other, subject in self.subjects.items():
            if subject == (row.aspect, row.selector) and self.states[other] == QUEUED:
                self.states[other] = lifecycle.SUPERSEDED
        self.states[made] = QUEUED
        self.subjects[made] = (row.aspect, row.selector)
        if row.aspect != ASPECT_CREDIT:
            assert row.version > max(self.versions, default=0), "versions only rise"
            self.versions.append(row.version)
        return made

    def row(self, order_id: int) -> Any:
        return self.store.read(lambda conn: conn.execute(select(order).where(order.c.id == order_id)).one())

    @rule(target=orders, reason=st.integers(1, 7))
    def stop(self, reason: int) -> int:
        return self.stated(statements.stop, METER, reason, "operator")

    @rule(target=orders, reason=st.integers(1, 7), close=st.integers(0, 1))
    def release(self, reason: int, close: int) -> int:
        return self.stated(statements.release, METER, reason, "operator", close=close)

    @rule(target=orders, give=st.booleans())
    def protection(self, give: bool) -> int:
        return self.stated(statements.protect if give else statements.unprotect, METER, "operator")

    @rule(target=orders, price=st.integers(0, 10))
    def tariff(self, price: int) -> int:
        return self.stated(statements.set_tariff, METER, Tariff((price,)), "operator")

    @rule(target=orders, alarm_uc=st.integers(0, 10))
    def limits(self, alarm_uc: int) -> int:
        return self.stated(statements.set_limits, METER, Limits(alarm_uc, 0, 900, 60, 0, 10, 0), "operator")

    @rule(target=orders)
    def clock(self) -> int:
        return self.stated(statements.set_clock, METER, "operator")

    @rule(target=orders, amount_uc=st.integers(1, 1000))
    def credit(self, amount_uc: int) -> int:
        self.total_uc += amount_uc

        def state(conn: Any, now_s: int) -> int:
            return credit.credit_statement(conn, now_s, lock_meter(conn, METER), self.total_uc, "channel:pos-1")

        return self.stated(state)

    @rule(order_id=orders, event=st.sampled_from(sorted(EVENTS)))
    def event(self, order_id: int, event: str) -> None:
        self.now_s += 1
        table = lifecycle.table_of(self.subjects[order_id][0])
        before = self.states[order_id]
        expected = table.get((before, event))
        attempt = self.store.write(lifecycle.move, self.now_s, order_id, event, "because")
        if expected is None:
            with pytest.raises(lifecycle.NotAllowed, match=f"order {order_id} \\({before}\\)"):
                attempt.result()
        else:
            assert attempt.result() == expected
            self.states[order_id] = expected

    @invariant()
    def the_database_is_as_the_model(self) -> None:
        if not hasattr(self, "store"):
            return

        def read(conn: Any) -> tuple[dict[int, str], dict[int, str], set[int], set[str]]:
            rows = {row.id: row.state for row in conn.execute(select(order.c.id, order.c.state))}
            history: dict[int, str] = {}
            for line in conn.execute(select(order_history).order_by(order_history.c.id)):
                history[line.order_id] = line.state
            credit = set(conn.execute(select(order.c.state).where(order.c.aspect == ASPECT_CREDIT)).scalars())
            return rows, history, set(conn.execute(select(outbox.c.order_id)).scalars()), credit

        rows, history, waiting, credit = self.store.read(read)
        assert rows == self.states
        assert history == self.states, "the last line of a history is the order's state"
        assert waiting == {one for one, state in self.states.items() if state not in ENDS}
        assert not credit & {"cancelled", "expired", "failed"}
        queued = [self.subjects[one] for one, state in self.states.items() if state == QUEUED]
        assert len(queued) == len(set(queued)), "one unsent statement a subject"


TestLives = Lives.TestCase
TestLives.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)


# --- statements -----------------------------------------------------------------------------------------------------


@pytest.fixture
def store() -> Any:
    made = open_books()
    yield made
    made.close()


@pytest.mark.parametrize("reason", [0, reasons.HOLD_PROTECTION, 31, -1])
def test_a_hold_that_is_none_is_refused(store: Store, reason: int) -> None:
    for fn in (statements.stop, statements.release):
        with pytest.raises(statements.Refused, match="reason"):
            store.write(fn, NOW_S, METER, reason, "operator").result()


@pytest.mark.parametrize("valid_s", [0, 901, -5])
def test_a_stop_lives_no_longer_than_a_quarter_of_an_hour(store: Store, valid_s: int) -> None:
    with pytest.raises(statements.Refused, match=r"valid_s: -?\d+ given, 1..900 expected"):
        store.write(lambda conn: statements.stop(conn, NOW_S, METER, 1, "operator", valid_s=valid_s)).result()


def test_what_takes_away_expires_and_what_gives_does_not(store: Store) -> None:
    def state(conn: Any) -> list[int]:
        made = [
            statements.stop(conn, NOW_S, METER, 6, "operator"),
            statements.unprotect(conn, NOW_S, METER, "operator"),
            statements.release(conn, NOW_S, METER, 5, "operator"),
            statements.set_tariff(conn, NOW_S, METER, Tariff((1,)), "operator"),
        ]
        by_id = {row.id: row.not_after_s for row in conn.execute(select(order.c.id, order.c.not_after_s))}
        return [by_id[one] for one in made]

    assert store.write(state).result() == [NOW_S + 900, NOW_S + 900, 0, 0]


def test_a_payment_does_not_release_what_a_person_has_released_or_what_never_stood(store: Store) -> None:
    def release(conn: Any) -> int | None:
        return statements.release_arrears_if_stopped(conn, NOW_S, lock_meter(conn, METER), "channel:pos-1")

    assert store.write(release).result() is None
    stopped = store.write(statements.stop, NOW_S, METER, reasons.HOLD_ARREARS, "operator").result()
    store.write(lambda conn: conn.execute(update(order).values(state="refused"))).result()
    assert store.write(release).result() is None
    store.write(lambda conn: conn.execute(update(order).values(state="confirmed"))).result()
    assert store.write(release).result() == stopped + 1
    assert store.write(release).result() is None


def test_a_clock_statement_wants_a_nonce_of_eight_bytes(store: Store) -> None:
    with pytest.raises(statements.Refused, match="nonce"):
        store.write(lambda conn: statements.set_clock(conn, NOW_S, METER, "operator", nonce=b"123")).result()


def test_the_last_four_sales_ride_along(store: Store) -> None:
    from headend.ledger import payments
    from meterlink.bodies import decode_credit
    from tests.host.books import CHANNEL

    for number in range(6):
        store.write(payments.take, NOW_S, CHANNEL, f"p{number}", METER, 10 + number).result()
    body = store.read(lambda conn: conn.execute(select(order.c.body).order_by(order.c.id.desc()).limit(1)).scalar_one())
    assert decode_credit(body) == (75, 0, [(33, 12), (46, 13), (60, 14), (75, 15)])
