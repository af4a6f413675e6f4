"""The books under arbitrary work: always zero-sum, always what a plain model says, and a refusal leaves no trace."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from sqlalchemy import select

from headend.keys.keystore import KeyStore
from headend.ledger import accounts, allocation, balances, bills, consumption, payments, reconcile
from headend.refusals import Refused
from headend.store.schema import entry, meter_state
from headend.store.schema_money import allocation as allocation_table
from headend.store.schema_money import bill as bill_table
from tests import postgres
from tests.host.books import CHANNEL, LIMIT_UC, NOW_S, dump, open_books, report
from tests.host.money_rig import DAY, bill

METERS = (17, 18)
KEYS = KeyStore.generate()

meters = st.sampled_from(METERS)
ids = st.sampled_from([f"p{number}" for number in range(12)])
amounts = st.one_of(st.integers(1, 3), st.integers(1, LIMIT_UC))


class Books(RuleBasedStateMachine):
    """Bills, payments and reports in any order, on days that pass, beside a model of a few dictionaries."""

    def __init__(self) -> None:
        super().__init__()
        self.store = open_books(self.place(), METERS, inline=True)
        self.now_s = NOW_S
        self.paid: dict[str, tuple[int, int]] = {}
        self.for_bills: dict[str, int] = {}  # of each payment
        self.billed = dict.fromkeys(METERS, 0)
        self.charged = dict.fromkeys(METERS, 0)
        self.shown = dict.fromkeys(METERS, 0)
        self.reports = 0
        self.history: dict[str, list[Any]] = {}

    def place(self) -> str:
        return ""

    def teardown(self) -> None:
        self.store.close()

    @rule(payment_id=ids, meter=meters, amount_uc=amounts)
    def pay(self, payment_id: str, meter: int, amount_uc: int) -> None:
        known = self.paid.get(payment_id)
        before = dump(self.store) if known else None
        try:
            answer = self.store.write(payments.take, self.now_s, CHANNEL, payment_id, meter, amount_uc).result()
        except payments.PaymentConflict:
            assert known not in (None, (meter, amount_uc)) and dump(self.store) == before
            return
        assert answer.repeated == (known is not None)
        if known:
            assert known == (meter, amount_uc) and dump(self.store) == before
        else:
            self.paid[payment_id] = (meter, amount_uc)
            self.for_bills[payment_id] = answer.allocated_uc
            assert answer.total_uc == (self.sold(meter) if answer.allocated_uc < amount_uc else 0)
            self.oldest_first(payment_id, meter, amount_uc)

    def oldest_first(self, payment_id: str, meter: int, amount_uc: int) -> None:
        """A payment has paid all that is older than what it paid last, and all there is before the meter gets any."""
        rows = self.store.read(allocation.of_payment, CHANNEL, payment_id)
        assert sum(row.late_fee_uc + row.principal_uc for row in rows) == self.for_bills[payment_id] <= amount_uc
        left = [row.id for row in self.store.read(bills.open_of, meter, 1)]
        paid = [row.bill_id for row in rows]
        assert paid == sorted(paid, key=self.age) and not set(paid[:-1]) & set(left)
        if paid:
            assert all(self.age(older) >= self.age(paid[-1]) for older in left)
        assert not left or self.for_bills[payment_id] == amount_uc

    def age(self, bill_id: int) -> tuple[int, int]:
        return int(self.store.read(bills.get, bill_id).due_s), bill_id

    @rule(meter=meters, amount_uc=amounts, due_days=st.integers(-60, 30))
    def issue(self, meter: int, amount_uc: int, due_days: int) -> None:
        bill(self.store, f"{meter}/{len(self.history['entry'])}", amount_uc, due_days, meter, self.now_s)
        self.billed[meter] += amount_uc

    @rule(days=st.integers(1, 40))
    def days_pass(self, days: int) -> None:
        self.now_s += days * DAY

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
            rows = self.store.read(bills.open_of, meter, 1)
            owed_uc = sum(row.principal_uc - row.paid_uc for row in rows)
            assert owed_uc == -self.store.read(balances.balance_uc, accounts.of_debt(meter, 1)) <= self.billed[meter]
        assert self.store.read(balances.balance_uc, accounts.INCOME_BILLED) == sum(self.billed.values())
        fees_uc = self.store.read(balances.balance_uc, accounts.INCOME_LATE_FEE)
        debts_uc = sum(self.store.read(balances.balance_uc, accounts.of_debt(meter, 1)) for meter in METERS)
        assert fees_uc == sum(self.for_bills.values()) - sum(self.billed.values()) - debts_uc
        taken_uc = sum(amount_uc for _, amount_uc in self.paid.values())
        assert self.store.read(balances.balance_uc, accounts.of_channel(CHANNEL)) == -taken_uc
        income_uc = self.store.read(balances.balance_uc, accounts.INCOME_ENERGY)
        assert income_uc == sum(self.charged.values())

    @invariant()
    def history_stands(self) -> None:
        for table in (entry, allocation_table):
            now = list(
                self.store.read(lambda conn, table=table: conn.execute(select(table).order_by(table.c.id)).all())
            )
            before = self.history.get(table.name, [])
            assert now[: len(before)] == before
            self.history[table.name] = now

    @invariant()
    def bills_are_what_was_paid_of_them(self) -> None:
        for row in self.store.read(lambda conn: conn.execute(select(bill_table)).all()):
            parts = self.store.read(allocation.of_bill, row.id)
            assert row.paid_uc == sum(part.principal_uc for part in parts) <= row.principal_uc
            assert row.fee_paid_uc == sum(part.late_fee_uc for part in parts) <= row.principal_uc
            assert (row.state == bills.PAID) == (row.paid_uc == row.principal_uc)

    def sold(self, meter: int) -> int:
        """What is credit on the meter."""
        return sum(amount_uc - self.for_bills[name] for name, (of, amount_uc) in self.paid.items() if of == meter)


TestBooks = Books.TestCase
TestBooks.settings = settings(max_examples=15, stateful_step_count=20, deadline=None)


class BooksOnPostgresql(Books):
    def place(self) -> str:
        return postgres.server().database()


TestBooksOnPostgresql = BooksOnPostgresql.TestCase
TestBooksOnPostgresql.settings = settings(max_examples=3, stateful_step_count=15, deadline=None)
