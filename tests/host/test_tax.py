"""Taxes: lines that add up, rates with their history, and what a sale takes for them."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, select, update

from headend.ledger import accounts, balances, reconcile, tax, terms
from headend.ledger.tax import ADDED, INCLUDED, Rate
from headend.refusals import Refused
from headend.store import Store
from headend.store.schema import meter_state
from headend.store.schema_money import payment_tax
from tests.host.books import CHANNEL, METER, NOW_S, open_books
from tests.host.money_rig import BOOKKEEPER, YUAN, bill, pay


@pytest.fixture
def store(any_store_url: str) -> Iterator[Store]:
    with open_books(any_store_url, meters=(METER, 18), inline=True) as opened:
        yield opened


def put(store: Store, name: str, ppm: int, mode: str, at_s: int = NOW_S, **where: Any) -> None:
    store.write(lambda conn: tax.set_rate(conn, at_s, name, ppm, mode, BOOKKEEPER, **where)).result()


@given(
    amount_uc=st.integers(0, 2**63 - 1),
    ppms=st.lists(st.integers(1, 1_000_000), max_size=4),
)
def test_net_and_taxes_are_the_amount(amount_uc: int, ppms: list[int]) -> None:
    rates = [Rate(f"t{number}", ppm, ADDED) for number, ppm in enumerate(ppms)]
    net_uc, taxes = tax.split(amount_uc, rates)
    assert net_uc + sum(one.tax_uc for one in taxes) == amount_uc
    for one in taxes:  # each within its rounding of the rate
        assert -1 <= one.tax_uc - net_uc * one.ppm // 1_000_000 <= len(taxes) + sum(ppms) // 1_000_000 + 1
    assert tax.split(tax.gross_uc(net_uc, rates), rates)[0] == net_uc


def test_a_tax_that_is_added_is_taken_beside_the_credit(store: Store) -> None:
    put(store, "vat", 130_000, ADDED)
    put(store, "fund", 10_000, ADDED)
    put(store, "city", 60_000, INCLUDED)
    answer = pay(store, "p1", 114 * YUAN)
    assert (answer.allocated_uc, answer.total_uc) == (14 * YUAN, 100 * YUAN)
    assert store.read(balances.balance_uc, accounts.of_tax("vat")) == 13 * YUAN
    assert store.read(balances.balance_uc, accounts.of_tax("fund")) == YUAN
    assert store.read(balances.balance_uc, accounts.of_meter(METER, 1)) == 100 * YUAN
    assert store.read(reconcile.explain, METER).difference_uc == 0
    assert store.read(
        lambda conn: conn.execute(select(meter_state.c.sold_uc).where(meter_state.c.meter == METER)).scalar()
    ) == (100 * YUAN)


def test_bills_are_paid_before_anything_is_taxed(store: Store) -> None:
    put(store, "vat", 1_000_000, ADDED)
    bill(store, "b", 10 * YUAN, due_days=3)
    answer = pay(store, "p1", 14 * YUAN)
    assert (answer.allocated_uc, answer.total_uc) == (12 * YUAN, 2 * YUAN)


def test_a_rate_holds_from_its_second_and_the_narrower_one_counts(store: Store) -> None:
    def vat(at_s: int, meter: int = METER, customer_class: str = terms.RESIDENT) -> list[int]:
        return [rate.ppm for rate in store.read(tax.rates, at_s, meter, customer_class)]

    store.write(lambda conn: conn.exec_driver_sql("UPDATE meter SET area = 'north/t-1' WHERE meter = 17")).result()
    put(store, "vat", 130_000, ADDED)
    put(store, "vat", 90_000, ADDED, from_s=NOW_S + 100)
    assert (vat(NOW_S - 1), vat(NOW_S + 99), vat(NOW_S + 100)) == ([], [130_000], [90_000])
    put(store, "vat", 50_000, ADDED, area="north")
    put(store, "vat", 40_000, ADDED, area="north", customer_class=terms.OTHER)
    assert (vat(NOW_S + 100), vat(NOW_S + 100, 18)) == ([50_000], [90_000])
    assert vat(NOW_S, METER, terms.OTHER) == [40_000]
    put(store, "vat", 0, ADDED, at_s=NOW_S + 200, area="north")
    assert vat(NOW_S + 200) == []
    with pytest.raises(Refused, match="from_s"):
        put(store, "vat", 1, ADDED, from_s=NOW_S - 1)


def test_taxes_go_back_once_and_stay_on_record(store: Store) -> None:
    put(store, "vat", 1_000_000, ADDED)
    pay(store, "p1", 10 * YUAN)
    account = accounts.of_meter(METER, 1)
    assert store.write(tax.undo, NOW_S, account, CHANNEL, "p1", METER).result() == 5 * YUAN
    assert store.read(balances.balance_uc, accounts.of_tax("vat")) == 0
    with pytest.raises(Exception):  # noqa: B017 - each database has its own
        store.write(tax.undo, NOW_S, account, CHANNEL, "p1", METER).result()
    for wrong in (update(payment_tax).values(tax_uc=1), delete(payment_tax)):
        with pytest.raises(Exception, match="never changed"):
            store.write(lambda conn, wrong=wrong: conn.execute(wrong)).result()


@pytest.mark.parametrize(
    ("given", "field"),
    [({"name": "VAT"}, "name"), ({"ppm": -1}, "ppm"), ({"mode": "free"}, "mode"), ({"area": "/"}, "area")],
)
def test_what_is_no_tax_is_refused(given: dict[str, Any], field: str) -> None:
    with open_books() as store:
        with pytest.raises(Refused) as refused:
            put(store, **{"name": "vat", "ppm": 1, "mode": ADDED, **given})
        assert refused.value.field == field
