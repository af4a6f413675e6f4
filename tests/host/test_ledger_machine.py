"""The books under arbitrary work: always zero-sum, always what a plain model says, and a refusal leaves no trace."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from sqlalchemy import select

from headend.keys.keystore import KeyStore
from headend.ledger import accounts, balances, consumption, payments, reconcile
from headend.refusals import Refused
from headend.store.schema import entry, meter_state
from tests import postgres
from tests.host.books import CHANNEL, LIMIT_UC, NOW_S, dump, open_books, report

METERS = (17, 18)
KEYS = KeyStore.generate()

meters = st.sampled_from(METERS)
ids = st.sampled_from([f"p{number}" for number in range(12)])
amounts = st.one_of(st.integers(1, 3), st.integers(1, LIMIT_UC))


class Books(RuleBasedStateMachine):
    """Payments and reports in any order, beside a model of two dictionaries."""

    def __init__(self) -> None:
        super().__init__()
        self.store = open_books(self.place(), METERS, inline=True)
        self.paid: dict[str, tuple[int, int]] = {}
        self.charged = dict.fromkeys(METERS, 0)
        self.shown = dict.fromkeys(METERS, 0)
        self.reports = 0
        self.entries: list[Any] = []

    def place(self) -> str:
        return ""

    def teardown(self) -> None:
        self.store.close()

    @rule(payment_id=ids, meter=meters, amount_uc=amounts)
    def pay(self, payment_id: str, meter: int, amount_uc: int) -> None:
        known = self.paid.get(payment_id)
        before = dump(self.store) if known else None
        try:
            answer = self.store.write(payments.take, NOW_S, CHANNEL, payment_id, meter, amount_uc).result()
        except payments.PaymentConflict:
            assert known not in (None, (meter, amount_uc)) and dump(self.store) == before
            return
        assert answer.repeated == (known is not None)
        if known:
            assert known == (meter, amount_uc) and dump(self.store) == before
        else:
            self.paid[payment_id] = (meter, amount_uc)
            assert answer.total_uc == self.sold(meter)

    @rule(payment_id=ids, meter=st.sampled_from([0, 19, -1]), amount_uc=st.sampled_from([0, 1, LIMIT_UC + 1]))
    def pay_badly(self, payment_id: str, meter: int, amount_uc: int) -> None:
        before = dump(self.store)
        try:
            self.store.write(payments.take, NOW_S, CHANNEL, payment_id, meter, amount_uc).result()
        except Refused:
            assert dump(self.store) == before
        else:
            raise AssertionError("a bad payment was taken")

    @rule(meter=meters, energy_uc=st.integers(0, 2_000_000), arrives=st.integers(0, 100), late=st.integers(0, 3))
    def report(self, meter: int, energy_uc: int, arrives: int, late: int) -> None:
        """The meter charges some, shows a part of what was sold, and the report may be older than one before it."""
        self.reports += 1
        charged_uc = max(0, self.charged[meter] + energy_uc - late * 500_000)
        on_meter_uc = self.shown[meter] + (self.sold(meter) - self.shown[meter]) * arrives // 100
        made = report(
            KEYS,
            meter,
            counter=self.reports,
            charged_uc=charged_uc,
            credited_uc=on_meter_uc,
            source_credited_uc=on_meter_uc,
        )

        def take(conn: Any) -> int:
            payments.shown(conn, meter, on_meter_uc, NOW_S)
            booked = consumption.book(conn, NOW_S, made)
            mine = meter_state.c.meter == meter
            conn.execute(meter_state.update().where(mine).values(report=made.raw))
            return booked

        grown_uc = self.store.write(take).result()
        assert grown_uc == max(0, charged_uc - self.charged[meter])
        self.charged[meter] = max(self.charged[meter], charged_uc)
        self.shown[meter] = on_meter_uc
        explained = self.store.read(reconcile.explain, meter)
        assert explained.difference_uc == 0 and explained.source_shown

    @invariant()
    def zero_sum(self) -> None:
        rows = self.store.read(balances.trial_balance)
        assert sum(row.balance_uc for row in rows) == 0
        assert {row.account for row in rows} >= {
            accounts.of_channel(CHANNEL),
            *(accounts.of_meter(meter, 1) for meter in METERS),
        }

    @invariant()
    def conserved(self) -> None:
        for meter in METERS:
            left_uc = self.store.read(balances.balance_uc, accounts.of_meter(meter, 1))
            assert left_uc == self.sold(meter) - self.charged[meter]
        taken_uc = sum(amount_uc for _, amount_uc in self.paid.values())
        assert self.store.read(balances.balance_uc, accounts.of_channel(CHANNEL)) == -taken_uc
        income_uc = self.store.read(balances.balance_uc, accounts.INCOME_ENERGY)
        assert income_uc == sum(self.charged.values())

    @invariant()
    def history_stands(self) -> None:
        now = self.store.read(lambda conn: conn.execute(select(entry).order_by(entry.c.id)).all())
        assert now[: len(self.entries)] == self.entries
        self.entries = now

    def sold(self, meter: int) -> int:
        return sum(amount_uc for of, amount_uc in self.paid.values() if of == meter)


TestBooks = Books.TestCase
TestBooks.settings = settings(max_examples=15, stateful_step_count=20, deadline=None)


class BooksOnPostgresql(Books):
    def place(self) -> str:
        return postgres.server().database()


TestBooksOnPostgresql = BooksOnPostgresql.TestCase
TestBooksOnPostgresql.settings = settings(max_examples=3, stateful_step_count=15, deadline=None)
