"""Tariffs of all kinds, for property tests."""

from datetime import date

from hypothesis import strategies as st

from meterlink.tariff import FRIENDLY, Tariff

prices = st.integers(0, 10**12)
U32 = st.integers(0, 2**32 - 1)


@st.composite
def slots(draw, rates, most=13):
    starts = sorted(draw(st.sets(st.integers(1, 95), max_size=most)))
    return tuple((start, draw(st.integers(0, rates - 1))) for start in [0, *starts])


@st.composite
def tariffs(draw, plain=False):
    rates = draw(st.integers(1, 4))
    rate = st.integers(0, rates - 1)
    if plain:
        listed = tuple(draw(st.lists(prices, min_size=rates, max_size=rates)))
        return Tariff(listed, draw(slots(rates, 7)), draw(st.integers(-96, 96)), draw(U32), draw(rate))
    steps = tuple(sorted(draw(st.sets(st.integers(1, 50_000), max_size=5))))
    count = rates * (len(steps) + 1)
    more = tuple(draw(slots(rates, 5)) for _ in range(draw(st.integers(0, 3))))
    day_type = st.integers(0, len(more))
    first_days = sorted(draw(st.sets(st.dates(date(2026, 1, 1), date(2026, 12, 31)), max_size=4)))
    seasons = [(day.month, day.day, *(draw(day_type) for _ in range(7))) for day in first_days]
    dates = sorted(draw(st.sets(st.dates(date(2026, 1, 1), date(2029, 12, 31)), max_size=6)))
    special = [
        (day.year - 2000, day.month, day.day, draw(day_type) | draw(st.sampled_from((0, FRIENDLY)))) for day in dates
    ]
    changes = sorted(draw(st.sets(st.integers(0, 2**32 // 900 - 1), max_size=5)))
    return Tariff(
        tuple(draw(st.lists(prices, min_size=count, max_size=count))),
        draw(slots(rates)),
        draw(st.integers(-96, 96)),
        draw(U32),
        draw(rate),
        steps,
        draw(st.integers(0, 12)),
        tuple(draw(st.lists(prices, min_size=rates, max_size=rates))) if draw(st.booleans()) else (),
        tuple(draw(st.lists(st.tuples(st.integers(1, 2), st.integers(1, 10**12)), max_size=2))),
        more,
        tuple(seasons),
        tuple(special),
        tuple((change * 900, draw(st.integers(-96, 96))) for change in changes),
    )


any_tariff = st.one_of(tariffs(), tariffs(plain=True))
