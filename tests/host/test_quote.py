"""A quote says what the sale will do, and the sale that names it does that or is refused."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sqlalchemy import update

from headend.ledger import payments, quote, tax, terms
from headend.orders import statements
from headend.store import Store, UnknownMeter
from headend.store.schema import meter, meter_state
from meterlink import bodies, reasons, tariff
from meterlink.tariff import PER_DAY, Tariff
from tests.host import readings
from tests.host.books import METER, NOW_S, dump, open_books, report
from tests.host.money_rig import BOOKKEEPER, DAY, KEYS, YUAN, bill, pay

PRICE_UC = 530_000  # a kWh, in books.TARIFF


@pytest.fixture
def store(any_store_url: str) -> Iterator[Store]:
    with open_books(any_store_url, inline=True) as opened:
        yield opened


def ask(store: Store, amount_uc: int, at_s: int = NOW_S, **how: Any) -> quote.Quote:
    return store.read(lambda conn: quote.quote(conn, at_s, METER, amount_uc, **how))


def reported(store: Store, plan: Tariff | None = None, **fields: Any) -> None:
    """The meter has reported, and is priced by `plan`."""
    raw = report(KEYS, METER, **fields).raw
    store.write(lambda conn: conn.execute(update(meter_state).values(report=raw))).result()
    if plan is not None:
        store.write(lambda conn: conn.execute(update(meter).values(tariff=plan.encode()))).result()


def test_the_sale_does_what_the_quote_said(store: Store) -> None:
    bill(store, "old", 50 * YUAN, due_days=-20)
    bill(store, "new", 30 * YUAN, due_days=20)
    store.write(tax.set_rate, NOW_S, "vat", 130_000, tax.ADDED, BOOKKEEPER).result()
    store.write(tax.set_rate, NOW_S, "city", 60_000, tax.INCLUDED, BOOKKEEPER).result()
    before = dump(store)
    found = ask(store, 194 * YUAN)
    assert dump(store) == before
    assert [(line.bill.reference, line.late_fee_uc, line.principal_uc) for line in found.parts.found.lines] == [
        ("old", YUAN, 50 * YUAN),
        ("new", 0, 30 * YUAN),
    ]
    assert (found.parts.for_bills_uc, found.parts.credit_uc) == (81 * YUAN, 100 * YUAN)
    assert [(one.name, one.tax_uc) for one in found.parts.taxes] == [("vat", 13 * YUAN)]
    assert [one.name for one in found.included] == ["city"]
    answer = pay(store, "p1", 194 * YUAN, quote=found.parts.digest())
    assert (answer.allocated_uc, answer.total_uc) == (94 * YUAN, found.parts.credit_uc)
    assert pay(store, "p1", 194 * YUAN, quote=found.parts.digest()).repeated, "asked again, it is not held to it twice"


def test_a_quote_that_does_not_hold_any_more_is_refused(store: Store) -> None:
    found = ask(store, 20 * YUAN)
    bill(store, "b", 5 * YUAN, due_days=5)
    before = dump(store)
    for amount_uc in (20 * YUAN, 21 * YUAN):
        with pytest.raises(payments.QuoteChanged):
            pay(store, "p1", amount_uc, quote=found.parts.digest())
    assert dump(store) == before
    with pytest.raises(payments.PaymentConflict):
        pay(store, "p1", 20 * YUAN)
        pay(store, "p1", 20 * YUAN, quote=found.parts.digest())


def test_it_holds_to_the_end_of_the_local_day(store: Store) -> None:
    bill(store, "b", 50 * YUAN, due_days=-20)
    found = ask(store, 60 * YUAN)
    assert ask(store, 60 * YUAN, at_s=found.valid_until_s).parts.digest() == found.parts.digest()
    assert ask(store, 60 * YUAN, at_s=found.valid_until_s + 1).parts.digest() != found.parts.digest()


def test_credit_first_fills_what_is_below_zero(store: Store) -> None:
    assert ask(store, 53 * YUAN).assumed == (quote.NO_REPORT, quote.RATE_NOW)
    assert ask(store, 53 * YUAN).energy_wh == 100_000
    reported(store, credited_uc=YUAN, charged_uc=54 * YUAN)
    assert ask(store, 53 * YUAN).energy_wh == 0
    assert ask(store, 54 * YUAN).energy_wh == YUAN * 1000 // PRICE_UC


def test_standing_charges_that_have_begun_are_told(store: Store) -> None:
    plan = Tariff((PRICE_UC,), charges=((PER_DAY, 2 * YUAN),))
    reported(store, plan, time_s=NOW_S - 3 * DAY, credited_uc=YUAN)
    found = ask(store, 10 * YUAN)
    assert (found.standing_uc, found.balance_uc) == (6 * YUAN, YUAN)
    assert found.energy_wh == 5 * YUAN * 1000 // PRICE_UC


def test_steps_begin_at_what_was_used_in_their_period(store: Store) -> None:
    plan = Tariff((500_000, 1_000_000), steps_wh=(10_000,))
    reported(store, plan, import_wh=107_000, log_id=5)
    assert ask(store, 3 * YUAN).assumed[-1] == quote.STEPS_UNKNOWN
    row = {"seq": 9, "start_s": NOW_S - 20 * DAY, "import_reg_wh": 100_000}
    row |= {"export_reg_wh": 0, "import_wh": 1, "export_wh": 0, "minutes": 15, "flags": 0}
    store.write(readings.put, NOW_S, METER, 5, [row]).result()
    found = ask(store, 3 * YUAN)
    assert found.assumed[-1] == quote.STEPS_KNOWN
    assert found.energy_wh == 3_000 + 1_500, "3 kWh to the step, the rest at the next one's price"


def test_what_has_to_be_paid_for_supply_to_come_back(store: Store) -> None:
    assert ask(store, YUAN).reconnect_uc == 0
    bill(store, "old", 50 * YUAN, due_days=-20)
    bill(store, "new", 30 * YUAN, due_days=20)
    assert ask(store, YUAN).reconnect_uc == 0, "nothing keeps supply off"
    store.write(statements.stop, NOW_S, METER, reasons.HOLD_ARREARS, "user:a").result()
    assert ask(store, YUAN).reconnect_uc == 51 * YUAN
    reported(store, credited_uc=0, charged_uc=4 * YUAN, causes=1 << reasons.CAUSE_OUT_OF_CREDIT)
    needed_uc = ask(store, YUAN).reconnect_uc
    assert needed_uc == 81 * YUAN + 4 * YUAN + 1
    assert ask(store, needed_uc).parts.credit_uc == 4 * YUAN + 1
    store.write(terms.set_share, NOW_S, "", "", 500_000, BOOKKEEPER).result()
    needed_uc = ask(store, YUAN).reconnect_uc
    assert ask(store, needed_uc).parts.credit_uc >= 4 * YUAN + 1
    pay(store, "p1", needed_uc)
    assert store.read(statements.arrears, METER) == bodies.RELEASE


def test_of_no_meter_nothing_is_quoted(store: Store) -> None:
    with pytest.raises(UnknownMeter):
        store.read(quote.quote, NOW_S, 99, YUAN)


prices = st.lists(st.integers(0, 2_000_000), min_size=1, max_size=4)


@settings(max_examples=300)
@given(
    prices=prices,
    widths=st.lists(st.integers(1, 50_000), min_size=3, max_size=3),
    used_wh=st.integers(0, 10**5),
    amount_uc=st.integers(0, 10**9),
)
def test_the_energy_is_what_the_tariff_charges_for(
    prices: list[int], widths: list[int], used_wh: int, amount_uc: int
) -> None:
    """The watt-hours quoted cost at most the amount, and one more costs more."""
    assume(prices[-1] > 0)
    steps = tuple(sum(widths[: place + 1]) for place in range(len(prices) - 1))
    plan = Tariff(tuple(prices), steps_wh=steps)
    energy_wh = quote.energy_for(plan, 0, used_wh, amount_uc)

    def cost(wh: int) -> int:
        whole, rest = plan.cost(wh, 0, 0, used_wh)
        return whole * tariff.WH_PER_KWH + rest

    assert cost(energy_wh) <= amount_uc * tariff.WH_PER_KWH < cost(energy_wh + 1)
