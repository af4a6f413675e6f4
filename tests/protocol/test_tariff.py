"""The tariff engine against an independent model in exact fractions."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from meterlink import tariff
from meterlink.orders import OrderError
from meterlink.tariff import Tariff

prices = st.lists(st.integers(0, 10**12), min_size=1, max_size=4)


@st.composite
def tariffs(draw):
    listed = tuple(draw(prices))
    rate = st.integers(0, len(listed) - 1)
    starts = sorted(draw(st.sets(st.integers(1, 95), max_size=7)))
    slots = tuple((start, draw(rate)) for start in [0, *starts])
    return Tariff(listed, slots, draw(st.integers(-96, 96)), draw(st.integers(0, 2**32 - 1)), draw(rate))


@given(tariffs())
def test_decode_undoes_encode(one):
    again = tariff.decode(one.encode())
    assert vars(again) == vars(one)


@given(st.binary(max_size=80))
def test_any_bytes_are_a_tariff_or_refused(body):
    try:
        assert tariff.decode(body).encode() == body
    except OrderError:
        pass


@given(tariffs(), st.lists(st.tuples(st.integers(0, 3), st.integers(0, 100_000)), max_size=60))
def test_any_cutting_gives_the_exact_bill(one, cuts):
    remainder, charged_uc = 0, 0
    exact = Fraction(0)
    for rate, energy_wh in cuts:
        rate %= len(one.prices_uc_per_kwh)
        cost_uc, remainder = one.cost(energy_wh, rate, remainder)
        charged_uc += cost_uc
        exact += Fraction(energy_wh * one.prices_uc_per_kwh[rate], 1000)
        assert 0 <= remainder < 1000
        assert charged_uc + Fraction(remainder, 1000) == exact


@given(tariffs(), st.integers(0, 2**32 - 1))
def test_rate_is_that_of_the_last_slot_begun(one, unix_s):
    minute_of_day = (unix_s // 60 + one.utc_offset_quarters * 15) % 1440
    begun = [rate for start, rate in one.slots if start * 15 <= minute_of_day]
    assert one.rate_at(unix_s) == begun[-1]
    assert one.rate_at(unix_s, clock_known=False) == one.unknown_time_rate
