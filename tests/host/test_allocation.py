"""Bills and what pays them: the oldest debt first, its late fee before its principal, never more than is owed."""

from collections.abc import Iterator
from fractions import Fraction
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select, update

from headend.epochs import life
from headend.fleet.meters import add_meter
from headend.ledger import accounts, allocation, balances, bills, late_fee, terms
from headend.orders import statements
from headend.refusals import Refused
from headend.store import Store
from headend.store.schema import meter as meter_table
from headend.store.schema import order
from headend.store.schema_money import allocation as allocation_table
from headend.store.schema_money import bill as bill_table
from meterlink import bodies, reasons
from tests.host.books import CHANNEL, METER, NOW_S, dump, open_books, record
from tests.host.money_rig import BOOKKEEPER, DAY, YUAN, bill, paid, pay

DEBT = accounts.of_debt(METER, 1)


@pytest.fixture
def store(any_store_url: str) -> Iterator[Store]:
    with open_books(any_store_url, meters=(METER, 18), inline=True) as opened:
        yield opened


def balance_uc(store: Store, name: str) -> int:
    return store.read(balances.balance_uc, name)


def test_a_newer_month_is_never_paid_before_an_older_one(store: Store) -> None:
    """Banks debited the newest month first, and a customer who had paid was cut off."""
    bill(store, "october", 80 * YUAN, due_days=-20)
    bill(store, "december", 90 * YUAN, due_days=10)
    bill(store, "september", 70 * YUAN, due_days=-50)
    bill(store, "november", 60 * YUAN, due_days=-1)
    pay(store, "p1", 100 * YUAN)
    assert paid(store, "p1") == [("september", 3_500_000, 70 * YUAN), ("october", 1_600_000, 24_900_000)]
    pay(store, "p2", 200 * YUAN)
    assert paid(store, "p2") == [
        ("october", 0, 55_100_000),
        ("november", 60_000, 60 * YUAN),
        ("december", 0, 84_840_000),
    ]
    assert balance_uc(store, DEBT) == -5_160_000
    assert balance_uc(store, accounts.INCOME_LATE_FEE) == 5_160_000
    last = pay(store, "p3", 10 * YUAN)
    assert (last.allocated_uc, last.total_uc) == (5_160_000, 4_840_000), "what is left is the meter's"
    assert store.read(bills.open_of, METER, 1) == []


def test_what_pays_bills_alone_states_no_credit(store: Store) -> None:
    bill(store, "b", 100 * YUAN, due_days=-1)
    answer = pay(store, "p1", 50 * YUAN)
    assert (answer.allocated_uc, answer.total_uc, answer.order_id) == (50 * YUAN, 0, None)
    assert store.read(lambda conn: conn.execute(select(order)).all()) == []
    again = pay(store, "p1", 50 * YUAN, at_s=NOW_S + 99)
    assert vars(again) == {**vars(answer), "repeated": True}


def test_the_meter_learns_of_sales_as_they_reached_it(store: Store) -> None:
    pay(store, "p0", 7 * YUAN)
    bill(store, "b", 100 * YUAN, due_days=5)
    pay(store, "p1", 101 * YUAN)
    pay(store, "p2", 9 * YUAN)
    stated = store.read(lambda conn: conn.execute(select(order.c.body).where(order.c.state == "queued")).scalar_one())
    sales = [(7 * YUAN, 7 * YUAN), (8 * YUAN, YUAN), (17 * YUAN, 9 * YUAN)]
    assert bodies.decode_credit(stated) == (17 * YUAN, 0, sales)


def test_a_bill_is_issued_once(store: Store) -> None:
    first = bill(store, "b", YUAN, due_days=3)
    before = dump(store)
    assert bill(store, "b", YUAN, due_days=3) == first
    with pytest.raises(bills.BillConflict):
        bill(store, "b", 2 * YUAN, due_days=3)
    with pytest.raises(bills.BillConflict):
        bill(store, "b", YUAN, due_days=3, meter=18)
    assert dump(store) == before


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"reference": ""}, "reference"),
        ({"reference": "Ü"}, "reference"),
        ({"meter": 99}, "meter"),
        ({"kind": "gift"}, "kind"),
        ({"due_days": -1, "notice_s": NOW_S}, "due_s"),
        ({"customer_class": "friend"}, "class"),
        ({"account_epoch": 2}, "account_epoch"),
        ({"amount_uc": 0}, "amount_uc"),
    ],
)
def test_what_is_no_bill_is_refused_and_leaves_nothing(changed: dict[str, Any], field: str) -> None:
    with open_books() as store:
        before = dump(store)
        with pytest.raises(Refused) as refused:
            bill(store, **{"reference": "b", "amount_uc": YUAN, "due_days": 3, **changed})
        assert refused.value.field == field and dump(store) == before


def test_a_cancelled_bill_is_mirrored_and_owed_by_nobody(store: Store) -> None:
    made = bill(store, "b", YUAN, due_days=3)
    store.write(bills.cancel, NOW_S, made, BOOKKEEPER, "read wrongly").result()
    assert balance_uc(store, DEBT) == balance_uc(store, accounts.INCOME_BILLED) == 0
    assert pay(store, "p1", YUAN).total_uc == YUAN
    touched = bill(store, "c", YUAN, due_days=3)
    pay(store, "p2", 1)
    with pytest.raises(Refused, match="nothing was paid"):
        store.write(bills.cancel, NOW_S, touched, BOOKKEEPER, "too late").result()


def test_the_database_keeps_what_was_billed_and_paid(store: Store) -> None:
    bill(store, "b", YUAN, due_days=3)
    pay(store, "p1", 10)
    before = dump(store)
    for wrong in (
        update(bill_table).values(principal_uc=1),
        update(bill_table).values(due_day=0),
        update(bill_table).values(paid_uc=YUAN + 1),
        delete(bill_table),
        update(allocation_table).values(principal_uc=1),
        delete(allocation_table),
    ):
        with pytest.raises(Exception):  # noqa: B017 - each database has its own
            store.write(lambda conn, wrong=wrong: conn.execute(wrong)).result()
    assert dump(store) == before


def test_a_bill_has_one_owner(store: Store) -> None:
    first, second = bill(store, "a", 10 * YUAN, due_days=-10), bill(store, "b", 10 * YUAN, due_days=-5)
    store.write(bills.set_owner, NOW_S, first, bills.METER, BOOKKEEPER).result()
    pay(store, "p1", 12 * YUAN)
    assert paid(store, "p1") == [("b", 50_000, 10 * YUAN)], "the meter collects the other one"
    with pytest.raises(Refused, match="owner"):
        store.write(bills.set_owner, NOW_S, first, bills.METER, BOOKKEEPER).result()
    with pytest.raises(Refused, match="owner"):
        store.write(bills.set_owner, NOW_S, second, bills.METER, BOOKKEEPER).result()
    later_s = NOW_S + 30 * DAY
    store.write(bills.set_owner, later_s, first, bills.HEAD_END, BOOKKEEPER).result()
    pay(store, "p2", 10_110_000, at_s=later_s + DAY)
    assert paid(store, "p2") == [("a", 110_000, 10 * YUAN)], "10 days before, none at the meter, 1 after"


def test_shares_are_by_area_class_and_time(store: Store) -> None:
    bill(store, "b", 100 * YUAN, due_days=5)
    store.write(lambda conn: conn.exec_driver_sql("UPDATE meter SET area = 'north/t-1' WHERE meter = 17")).result()

    def share(area: str, customer_class: str, ppm: int, at_s: int = NOW_S) -> None:
        store.write(terms.set_share, at_s, area, customer_class, ppm, BOOKKEEPER).result()

    assert pay(store, "p1", 10 * YUAN).allocated_uc == 10 * YUAN
    share("", "", 500_000)
    assert pay(store, "p2", 10 * YUAN).allocated_uc == 5 * YUAN
    share("", "resident", 400_000)
    share("", "other", 0)
    assert pay(store, "p3", 10 * YUAN).allocated_uc == 4 * YUAN
    share("north", "", 300_000)
    share("nor", "", 0)
    assert pay(store, "p4", 10 * YUAN).allocated_uc == 3 * YUAN, "the narrower place counts, and no other"
    share("north", "", 200_000, at_s=NOW_S + 9)
    assert pay(store, "p5", 10 * YUAN, at_s=NOW_S + 5).allocated_uc == 3 * YUAN
    assert pay(store, "p6", 10 * YUAN, at_s=NOW_S + 9).allocated_uc == 2 * YUAN
    with pytest.raises(Refused, match="from_s"):
        store.write(lambda conn: terms.set_share(conn, NOW_S, "", "", 0, BOOKKEEPER, from_s=NOW_S - 1)).result()


def test_arrears_are_released_when_nothing_overdue_is_left(store: Store) -> None:
    bill(store, "old", 100 * YUAN, due_days=-40)
    bill(store, "new", 100 * YUAN, due_days=5)
    _stop(store)
    pay(store, "p1", 50 * YUAN)
    assert store.read(statements.arrears, METER) == bodies.HOLD
    pay(store, "p2", 54 * YUAN)
    assert store.read(statements.arrears, METER) == bodies.RELEASE, "the new bill is not overdue"


def test_who_may_pay_little_by_little_gets_supply_back_with_each_payment(store: Store) -> None:
    bill(store, "old", 100 * YUAN, due_days=-40)
    store.write(terms.set_share, NOW_S, "", "", 300_000, BOOKKEEPER).result()
    _stop(store)
    pay(store, "p1", 10 * YUAN)
    assert store.read(statements.arrears, METER) == bodies.RELEASE


def _stop(store: Store) -> None:
    store.write(statements.stop, NOW_S, METER, reasons.HOLD_ARREARS, "user:a").result()
    assert store.read(statements.arrears, METER) == bodies.HOLD


def test_bills_follow_their_customer(store: Store) -> None:
    bill(store, "b", 100 * YUAN, due_days=-10)
    pay(store, "deposit", 20 * YUAN, purpose="deposit")
    store.write(life.open_epoch, NOW_S, METER, life.REPAIRED, "user:a").result()
    assert balance_uc(store, DEBT) == 0 and balance_uc(store, accounts.of_debt(METER, 2)) == -100 * YUAN
    assert balance_uc(store, accounts.of_deposit(METER, 2)) == 20 * YUAN
    store.write(life.exchange, NOW_S, METER, 18, "user:a").result()
    assert balance_uc(store, accounts.of_debt(18, 1)) == -100 * YUAN
    assert pay(store, "p1", 101 * YUAN, meter=18).allocated_uc == 101 * YUAN
    assert store.read(bills.open_of, 18, 1) == []


def test_a_former_customer_pays_an_old_bill_by_its_account(store: Store) -> None:
    bill(store, "b", 100 * YUAN, due_days=5)
    store.write(life.open_epoch, NOW_S, METER, life.TENANT, "user:a").result()
    assert pay(store, "p1", 10 * YUAN).allocated_uc == 0, "the new tenant owes nothing"
    answer = pay(store, "p2", 130 * YUAN, account_epoch=1)
    assert answer.allocated_uc == 100 * YUAN and balance_uc(store, DEBT) == 0
    assert balance_uc(store, accounts.former_of(METER, 1)) == 30 * YUAN


def test_what_was_paid_in_advance_pays_the_next_bill(store: Store) -> None:
    bill(store, "first", 10 * YUAN, due_days=-1)
    answer = pay(store, "p1", 100 * YUAN, purpose="advance")
    assert (answer.allocated_uc, answer.total_uc) == (100 * YUAN, 0)
    advance = accounts.of_advance(METER, 1)
    assert balance_uc(store, advance) == 89_990_000
    bill(store, "second", 60 * YUAN, due_days=9)
    assert balance_uc(store, advance) == 29_990_000
    made = bill(store, "third", 60 * YUAN, due_days=9)
    assert balance_uc(store, advance) == 0
    assert store.read(bills.get, made).paid_uc == 29_990_000
    with pytest.raises(Refused, match="purpose"):
        pay(store, "p2", YUAN, purpose="gift")


def test_a_deposit_pays_no_bill(store: Store) -> None:
    bill(store, "b", 10 * YUAN, due_days=-1)
    pay(store, "p1", 100 * YUAN, purpose="deposit")
    assert paid(store, "p1") == [] and balance_uc(store, accounts.of_deposit(METER, 1)) == 100 * YUAN


amounts = st.one_of(st.integers(1, 30_000), st.integers(1, 500 * YUAN))
steps = st.lists(
    st.one_of(
        st.tuples(st.just("bill"), amounts, st.integers(-500, 60), st.sampled_from([terms.RESIDENT, terms.OTHER])),
        st.tuples(st.just("pay"), amounts, st.integers(0, 200), st.just("")),
        st.tuples(st.just("undo"), st.integers(0, 9), st.just(0), st.just("")),
    ),
    max_size=14,
)


_METERS = count(1_000)


@pytest.fixture(scope="module")
def books() -> Iterator[Store]:
    with open_books() as opened:
        opened.write(terms.set_share, NOW_S, "slow", "", 333_333, BOOKKEEPER).result()
        yield opened


@settings(max_examples=30, deadline=None)
@given(steps=steps, slow=st.booleans())
def test_allocation_as_a_plain_model_has_it(books: Store, steps: list[tuple[str, int, int, str]], slow: bool) -> None:
    """Order, conservation, and never more than is owed, whatever is billed, paid and taken back in between.

    Each example has a meter of its own: one where all of a payment is for debts, or one where a third is.
    """
    meter = next(_METERS)
    books.write(add_meter, NOW_S, record(meter)).result()
    area = update(meter_table).where(meter_table.c.meter == meter).values(area="slow" if slow else "whole")
    books.write(lambda conn: conn.execute(area)).result()
    now_s, model = NOW_S, Model()
    for number, (what, amount, days, customer_class) in enumerate(steps):
        named = f"{meter}/{number}"
        if what == "bill":
            made = bill(books, named, amount, days, meter, now_s, customer_class=customer_class)
            model.bills[made] = (now_s // DAY + days, amount, customer_class, [])
        elif what == "pay":
            now_s += days * DAY
            answer = pay(books, named, amount, meter, now_s)
            expected = model.pay(now_s // DAY, amount, 333_333 if slow else terms.WHOLE, named)
            rows = books.read(allocation.of_payment, CHANNEL, named)
            assert [(row.bill_id, row.late_fee_uc, row.principal_uc) for row in rows] == expected
            assert answer.allocated_uc == sum(fee + principal for _, fee, principal in expected) <= amount
        elif model.standing:
            undone = sorted(model.standing)[amount % len(model.standing)]
            model.standing.remove(undone)
            _undo(books, now_s, meter, undone)
            for _, _, _, parts in model.bills.values():
                parts[:] = [part for part in parts if part[0] != undone]
        _whole(books, meter, model)


class Model:
    """Bills as lists of what was paid of them: (payment, day, late fee, principal)."""

    def __init__(self) -> None:
        self.bills: dict[int, tuple[int, int, str, list[tuple[str, int, int, int]]]] = {}
        self.standing: set[str] = set()

    def pay(self, day: int, amount: int, share_ppm: int, payment: str) -> list[tuple[int, int, int]]:
        left, found = amount * share_ppm // 1_000_000, []
        for number in sorted(self.bills, key=lambda number: (self.bills[number][0], number)):
            fee_uc, principal_uc = self.asked(number, day)
            fee_uc = min(fee_uc, left)
            principal_uc = min(principal_uc, left - fee_uc)
            if fee_uc + principal_uc:
                left -= fee_uc + principal_uc
                found.append((number, fee_uc, principal_uc))
                self.bills[number][3].append((payment, day, fee_uc, principal_uc))
                self.standing.add(payment)
        return found

    def asked(self, number: int, day: int) -> tuple[int, int]:
        """(late fee, principal) that is asked for on a day."""
        due, principal, customer_class, parts = self.bills[number]
        ppm, fee, left = late_fee.DEFAULTS[customer_class], Fraction(0), principal
        last = _last_of_year(due)
        marks = [*sorted((at, part) for _, at, _, part in parts), (day, 0)]
        since = due
        for at, part in marks:
            if at > since:
                early = max(0, min(at, last) - since)
                fee += Fraction(left * (early * ppm.year_ppm + (at - since - early) * ppm.later_ppm), 1_000_000)
                since = at
            left -= part
        paid = sum(part for _, _, part, _ in parts)
        return max(0, int(min(fee, Fraction(principal))) // 10_000 * 10_000 - paid), left


def _last_of_year(day: int) -> int:
    from datetime import date

    year = date.fromordinal(day + date(1970, 1, 1).toordinal()).year
    return date(year, 12, 31).toordinal() - date(1970, 1, 1).toordinal()


def _undo(store: Store, now_s: int, meter: int, payment_id: str) -> None:
    def undo(conn: Any) -> None:
        for row in allocation.of_payment(conn, CHANNEL, payment_id):
            allocation.undo(conn, now_s, row, accounts.of_meter(meter, 1), BOOKKEEPER)

    store.write(undo).result()
    with pytest.raises(Refused, match="one that stands"):
        store.write(undo).result()


def _whole(store: Store, meter: int, model: Model) -> None:
    rows = store.read(balances.trial_balance)
    assert sum(row.balance_uc for row in rows) == 0
    owed_uc = 0
    for number, (_, principal_uc, _, parts) in model.bills.items():
        row = store.read(bills.get, number)
        paid_uc, fee_uc = sum(part[3] for part in parts), sum(part[2] for part in parts)
        assert (row.paid_uc, row.fee_paid_uc) == (paid_uc, fee_uc)
        assert paid_uc <= principal_uc and fee_uc <= principal_uc
        owed_uc += principal_uc - paid_uc
    assert balance_uc(store, accounts.of_debt(meter, 1)) == -owed_uc
