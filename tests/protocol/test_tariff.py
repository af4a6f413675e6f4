"""The tariff engine against independent models: exact fractions for money, `datetime` and `zoneinfo` for days."""

import random
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterlink import calendar, tariff
from meterlink.billing import Running
from meterlink.orders import OrderError
from meterlink.shadow import Bill
from meterlink.tariff import FRIENDLY, PER_DAY, PER_MONTH, Tariff
from tests.protocol import tariff_model
from tests.protocol.tariff_strategies import U32, any_tariff


@given(any_tariff)
def test_decode_undoes_encode(one):
    again = tariff.decode(one.encode())
    assert vars(again) == vars(one)
    assert len(one.encode()) <= tariff.MAX_LENGTH


@given(st.binary(max_size=80), st.sampled_from((b"", b"\x01", b"\x02")))
def test_any_bytes_are_a_tariff_or_refused(body, form):
    body = form + body
    try:
        assert tariff.decode(body).encode() == body
    except OrderError:
        pass


@given(any_tariff, st.data())
def test_a_damaged_body_is_another_tariff_or_refused(one, data):
    body = bytearray(one.encode())
    body[data.draw(st.integers(0, len(body) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        assert tariff.decode(bytes(body)).encode() == bytes(body)
    except OrderError:
        pass


@given(any_tariff, st.lists(st.tuples(st.integers(0, 3), st.integers(0, 100_000)), max_size=40), st.data())
def test_any_cutting_gives_the_exact_bill(one, portions, data):
    """OP-TAR-01: portions of one period, each cut into parts, cost what they do whole, and what exact fractions say."""
    exact = Fraction(0)
    cut = whole = (0, 0)
    cut_wh = whole_wh = 0
    edges = [0, *one.steps_wh, 10**9]
    for rate, energy_wh in portions:
        rate %= one.rates
        for step in range(len(edges) - 1):
            share = max(0, min(whole_wh + energy_wh, edges[step + 1]) - max(whole_wh, edges[step]))
            exact += Fraction(share * one.prices_uc_per_kwh[step * one.rates + rate], 1000)
        cost_uc, remainder = one.cost(energy_wh, rate, whole[1], whole_wh)
        whole = whole[0] + cost_uc, remainder
        whole_wh += energy_wh
        while cut_wh < whole_wh:
            part_wh = data.draw(st.integers(1, whole_wh - cut_wh))
            cost_uc, remainder = one.cost(part_wh, rate, cut[1], cut_wh)
            cut = cut[0] + cost_uc, remainder
            cut_wh += part_wh
        assert cut == whole and 0 <= whole[1] < 1000
        assert whole[0] + Fraction(whole[1], 1000) == exact


@given(any_tariff, st.lists(st.integers(10**9, 2**32 - 1), min_size=1, max_size=20))
def test_standing_charges_do_not_depend_on_when_one_looks(one, moments):
    """As long as no gap is longer than what is charged at once."""
    start_s = min(moments)
    moments = sorted(start_s + (at_s - start_s) % (300 * 86_400) for at_s in moments)
    often, once = Running(), Running()
    total_uc = sum(often.turn(one, at_s) for at_s in moments)
    assert total_uc == once.turn(one, moments[0]) + once.turn(one, moments[-1]) or _goes_back(one, moments)
    assert often.turn(one, moments[-1]) == 0


def _goes_back(one, moments):
    days = [one.day(at_s) for at_s in moments]
    return days != sorted(days)


@given(st.integers(0, 49_710))
def test_days_are_those_of_the_calendar(day):
    at = date(1970, 1, 1) + timedelta(day)
    assert calendar.date_of(day) == (at.year, at.month, at.day)
    assert calendar.day_of(at.year, at.month, at.day) == day
    assert calendar.weekday_of(day) == at.weekday()
    assert calendar.month_of(day) == at.year * 12 + at.month - 1


@given(st.integers(1970, 2255), st.integers(-1, 14), st.integers(-1, 33))
def test_what_is_a_date(year, month, day):
    try:
        there_is = date(year, month, day) is not None
    except ValueError:
        there_is = False
    assert calendar.is_date(year, month, day) == there_is


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/Santiago", "Australia/Lord_Howe", "Asia/Kathmandu"])
def test_local_days_of_real_zones(zone):
    """OP-TAR-06"""
    changes = tariff_model.offsets(zone, range(2026, 2029))
    one = Tariff((1,), utc_offset_quarters=changes[0][1], offsets=tuple(changes[1:]))
    rng = random.Random(zone)
    first, last = changes[0][0], int(datetime(2028, 12, 30, tzinfo=UTC).timestamp())
    for _ in range(1500):
        at_s = rng.choice((rng.randrange(first, last), rng.choice(changes)[0] + rng.randrange(-90_000, 90_000)))
        at_s = max(first, min(at_s, last))
        local = datetime.fromtimestamp(at_s, ZoneInfo(zone))
        second = local.hour * 3600 + local.minute * 60 + local.second
        assert one.local(at_s) == (local.year, local.month, local.day, local.weekday(), second)
        next_s = one.next_day_s(at_s)
        assert at_s < next_s and datetime.fromtimestamp(next_s, ZoneInfo(zone)).date() > local.date()
        assert datetime.fromtimestamp(next_s - 1, ZoneInfo(zone)).date() <= local.date()


@given(any_tariff, U32)
def test_rate_is_that_of_the_last_slot_begun(one, unix_s):
    *day, _weekday, second = one.local(unix_s)
    of_type = [one.slots, *one.more_days]
    special = {entry[:3]: entry[3] & ~FRIENDLY for entry in one.special_days}
    at = date(*day)
    begun = [season for season in one.seasons if season[:2] <= (at.month, at.day)] or one.seasons[-1:]
    found = special.get((at.year - 2000, at.month, at.day))
    if found is None:
        found = begun[-1][2 + at.weekday()] if begun else 0
    expected = [rate for start, rate in of_type[found] if start * 15 <= second // 60]
    assert one.rate_at(unix_s) == expected[-1]
    assert one.rate_at(unix_s, clock_known=False) == one.unknown_time_rate


DAYS = {
    "work": [0] * 24 + [1] * 20 + [2] * 24 + [3] * 12 + [1] * 16,
    "rest": [0] * 40 + [1] * 56,
    "heat": [0] * 24 + [2] * 40 + [3] * 32,
}


def _slots(quarters):
    return tuple((at, rate) for at, rate in enumerate(quarters) if not at or quarters[at - 1] != rate)


@pytest.mark.parametrize("seed, yearly", [(1, False), (2, True)], ids=["by month", "by year"])
def test_a_year_is_what_the_model_says_to_the_unit(seed, yearly):
    rng = random.Random(seed)
    zone = rng.choice(["Europe/Berlin", "America/Santiago"])
    steps_wh = [900_000, 2_000_000] if yearly else [70_000, 150_000, 260_000]
    table = [[rng.randrange(200_001, 2_000_003) for _ in range(4)] for _ in range(len(steps_wh) + 1)]
    export = [rng.randrange(30_001, 90_007) for _ in range(4)]
    holidays = {date(2026, 5, 1): "rest", date(2026, 7, 14): "heat", date(2026, 12, 25): "rest"}
    book = tariff_model.Book(
        zone,
        table,
        export,
        steps_wh,
        yearly,
        DAYS,
        [
            ("03-15", ["work"] * 5 + ["rest"] * 2),
            ("06-01", ["heat"] * 6 + ["rest"]),
            ("09-16", ["work"] * 6 + ["rest"]),
        ],
        holidays,
        per_day_uc=333_333,
        per_month_uc=7_000_001,
    )
    names = list(DAYS)
    changes = tariff_model.offsets(zone, range(2025, 2028))
    one = Tariff(
        tuple(price for row in table for price in row),
        _slots(DAYS["work"]),
        changes[0][1],
        steps_wh=tuple(steps_wh),
        year_from=1 if yearly else 0,
        export_prices_uc_per_kwh=tuple(export),
        charges=((PER_DAY, 333_333), (PER_MONTH, 7_000_001)),
        more_days=tuple(_slots(DAYS[name]) for name in names[1:]),
        seasons=tuple(
            (int(first[:2]), int(first[3:]), *(names.index(name) for name in week)) for first, week in book.week
        ),
        special_days=tuple((at.year - 2000, at.month, at.day, names.index(name)) for at, name in holidays.items()),
        offsets=tuple(changes[1:]),
    )
    one = tariff.decode(one.encode())
    start = datetime(2026, 1, 1, 6, tzinfo=UTC)
    used = [(rng.choice((0, 20, 60, 250, 1200)), rng.choice((0, 0, 300))) for _ in range(365 * 96)]
    charged, earned = tariff_model.bill(book, start, used)
    bill = Bill(one)
    for quarter, (import_wh, export_wh) in enumerate(used):
        at_s = int(start.timestamp()) + quarter * 900
        first_wh = rng.randrange(import_wh + 1)
        bill.add(at_s, first_wh)
        bill.add(at_s + rng.randrange(1, 900), import_wh - first_wh, export_wh)
    assert bill.charged_uc + Fraction(bill.remainder, 1000) == charged
    assert bill.earned_uc + Fraction(bill.earned_rest, 1000) == earned
    assert bill.standing_uc == 365 * 333_333 + 12 * 7_000_001
