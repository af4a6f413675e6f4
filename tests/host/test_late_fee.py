"""The late fee against exact fractions, counted day by day."""

from datetime import date, timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, update

from headend.ledger import late_fee, zone
from headend.ledger.late_fee import Accrued, Rate
from headend.ledger.terms import OTHER, RESIDENT
from headend.refusals import Refused
from headend.store import Store
from headend.store.schema_money import late_fee_rate
from tests.host.books import NOW_S

EPOCH = date(1970, 1, 1)
DUE = (date(2026, 11, 20) - EPOCH).days


def fee_of(table: list[Rate], due_day: int, principal_uc: int, paid: dict[int, int], to_day: int) -> Fraction:
    """Day by day: what is open at the day's begin, at the rate of the newest row that holds on it."""
    left_uc, total = principal_uc - paid.get(due_day, 0), Fraction(0)
    for day in range(due_day + 1, to_day + 1):
        rate = [rate for rate in table if rate.from_day <= day][-1]
        same_year = (EPOCH + timedelta(day)).year == (EPOCH + timedelta(due_day)).year
        total += left_uc * Fraction(rate.year_ppm if same_year else rate.later_ppm, 1_000_000)
        left_uc -= paid.get(day, 0)
    return min(total, Fraction(principal_uc))


@given(
    rates=st.lists(st.tuples(st.integers(1, 500), st.integers(0, 5_000), st.integers(0, 9_000)), max_size=4),
    principal_uc=st.integers(1, 10**13),
    payments=st.lists(st.tuples(st.integers(0, 500), st.integers(1, 99)), max_size=5),
    days=st.integers(0, 900),
)
def test_it_is_the_sum_of_its_days(
    rates: list[tuple[int, int, int]], principal_uc: int, payments: list[tuple[int, int]], days: int
) -> None:
    """However often a part was paid on the way, and whatever became of the rates."""
    rows = sorted((DUE + after, year, later) for after, year, later in rates)
    table = [late_fee.DEFAULTS[OTHER], *(Rate(*row) for row in rows)]
    paid: dict[int, int] = {}
    fee, left_uc = Accrued(DUE, 0, 0), principal_uc
    for after, percent in sorted(payments):
        day = DUE + after
        if after > days:
            break
        part_uc = left_uc * percent // 100
        fee = late_fee.accrue(table, DUE, principal_uc, left_uc, fee, day)
        paid[day] = paid.get(day, 0) + part_uc
        left_uc -= part_uc
    fee = late_fee.accrue(table, DUE, principal_uc, left_uc, fee, DUE + days)
    expected = fee_of(table, DUE, principal_uc, paid, DUE + days)
    assert fee.fee_uc + Fraction(fee.rest, late_fee.PPM) == expected
    assert 0 <= late_fee.due_uc(fee, 0) <= principal_uc


@pytest.mark.parametrize(
    ("customer_class", "days", "due_uc"),
    [
        (RESIDENT, 0, 0),
        (RESIDENT, 30, 3_000_000),
        (OTHER, 41, 8_200_000),  # to the last of December
        (OTHER, 42, 8_500_000),  # a day beyond the year's end costs more
        (OTHER, 10_000, 100_000_000),  # never above the principal
    ],
)
def test_the_rates_of_the_rule(customer_class: str, days: int, due_uc: int) -> None:
    table = [late_fee.DEFAULTS[customer_class]]
    fee = late_fee.accrue(table, DUE, 100_000_000, 100_000_000, Accrued(DUE, 0, 0), DUE + days)
    assert late_fee.due_uc(fee, 0) == due_uc


def test_what_is_asked_for_is_rounded_down_to_the_smallest_coin() -> None:
    table = [late_fee.DEFAULTS[RESIDENT]]
    fee = late_fee.accrue(table, DUE, 123_450_000, 123_450_000, Accrued(DUE, 0, 0), DUE + 1)
    assert (fee.fee_uc, late_fee.due_uc(fee, 0), late_fee.due_uc(fee, 100_000)) == (123_450, 120_000, 20_000)


def test_rates_have_a_history_that_begins_tomorrow(any_store: Store) -> None:
    today = zone.day_of(any_store.read(zone.of), NOW_S)
    for from_day in (today - 1, today):
        with pytest.raises(Refused, match="from_day"):
            any_store.write(late_fee.set_rate, NOW_S, RESIDENT, from_day, 1, 1, "user:a").result()
    any_store.write(late_fee.set_rate, NOW_S, RESIDENT, today + 1, 500, 700, "user:a").result()
    assert any_store.read(late_fee.rates, RESIDENT) == [late_fee.DEFAULTS[RESIDENT], Rate(today + 1, 500, 700)]
    assert any_store.read(late_fee.rates, OTHER) == [late_fee.DEFAULTS[OTHER]]
    with pytest.raises(Exception, match="keeps its history"):
        any_store.write(lambda conn: conn.execute(update(late_fee_rate).values(year_ppm=0))).result()
    assert any_store.read(lambda conn: conn.execute(select(late_fee_rate.c.year_ppm)).scalars().all()) == [500]


def test_days_are_the_utilitys(any_store: Store) -> None:
    """17:00 in London is the next day in Shanghai, and the zone says which counts."""
    at_s = 1_800_000_000 // 86_400 * 86_400 + 17 * 3_600
    assert zone.day_of(any_store.read(zone.of), at_s) == at_s // 86_400
    with pytest.raises(Refused, match="zone"):
        any_store.write(zone.put, NOW_S, "Asia/Nowhere", "user:a").result()
    any_store.write(zone.put, NOW_S, "Asia/Shanghai", "user:a").result()
    shanghai = any_store.read(zone.of)
    assert zone.day_of(shanghai, at_s) == at_s // 86_400 + 1
    assert zone.start_s(shanghai, zone.day_of(shanghai, at_s)) == at_s // 86_400 * 86_400 + 16 * 3_600
