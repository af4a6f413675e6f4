"""The tariff engine, on both interpreters."""

from meterlink import calendar, results, tariff
from meterlink.billing import MAX_DAYS, Running
from meterlink.orders import OrderError
from meterlink.shadow import Bill
from meterlink.tariff import FRIENDLY, PER_DAY, PER_MONTH, Tariff

DAY = 86400
PEAK = Tariff((300000, 900000, 600000), ((0, 0), (28, 2), (72, 1), (88, 2)), 32)

# Berlin: winter and summer time of two years, working days and the rest by season, holidays, steps, charges, export.
WINTER, SUMMER = 4, 8
BERLIN = Tariff(
    (300000, 400000, 500000, 600000),
    ((0, 0), (24, 1), (80, 0)),
    WINTER,
    steps_wh=(100_000,),
    export_prices_uc_per_kwh=(80000, 81000),
    charges=((PER_DAY, 250_000), (PER_MONTH, 3_000_000)),
    more_days=(((0, 0),), ((0, 0), (48, 1), (56, 0))),
    seasons=((4, 1, 2, 2, 2, 2, 2, 1, 1), (10, 1, 0, 0, 0, 0, 0, 1, 1)),
    special_days=((0, 1, 1, 1), (0, 12, 25, 1 | FRIENDLY), (26, 5, 4, 0 | FRIENDLY)),
    offsets=((1774746000, SUMMER), (1792890000, WINTER), (1806195600, SUMMER)),
)


def utc(year, month, day, hour=0, minute=0):
    return calendar.day_of(year, month, day) * DAY + hour * 3600 + minute * 60


def full():
    """The longest tariff there is."""
    slots = tuple((i, i % 4) for i in range(14))
    return Tariff(
        tuple(range(24)),
        slots,
        0,
        0,
        3,
        (1, 2, 3, 4, 5),
        7,
        (1, 2, 3, 4),
        ((PER_DAY, 1), (PER_MONTH, 2)),
        (slots,) * 7,
        tuple((month, 1, 0, 1, 2, 3, 4, 5, 6) for month in range(1, 13)),
        tuple((26 + i // 20, 1, 1 + i % 20, 7 | FRIENDLY) for i in range(40)),
        tuple((i * 900, i) for i in range(24)),
    )


def refused(action):
    try:
        action()
    except OrderError as error:
        assert error.code == results.BAD_BODY
        return str(error)
    raise AssertionError("not refused")


def test_round_trip():
    for one in (Tariff((0,)), PEAK, Tariff((1, 2, 3, 4), ((0, 3),), -96, 0xFFFFFFFF, 3), BERLIN, full()):
        body = one.encode()
        again = tariff.decode(body)
        assert again.encode() == body
        for field in ("prices_uc_per_kwh", "slots", "seasons", "special_days", "offsets", "charges", "more_days"):
            assert getattr(again, field) == getattr(one, field), field


def test_the_shortest_form_is_the_only_one():
    """OP-TAR-08"""
    assert len(PEAK.encode()) == 41 and PEAK.encode()[0] == tariff.FORMAT
    assert len(full().encode()) == tariff.MAX_LENGTH
    nine = Tariff((1, 2), tuple((i, i % 2) for i in range(9)))
    assert nine.encode()[0] == tariff.FORMAT_2
    plain = b"\x02\x00\x00\x00\x00\x00\x00\x00" + b"\0" + b"\x01" + bytes(8) + b"\0\0" + b"\x01\0\0" + b"\0\0\0"
    assert refused(lambda: tariff.decode(plain)) == "tariff body: the shortest one expected, with nothing after it"


def test_rates_of_a_local_day():
    midnight = 1700006400 - 32 * 900  # local midnight at UTC+8
    assert midnight % DAY == 16 * 3600
    for quarter, rate in ((0, 0), (27, 0), (28, 2), (71, 2), (72, 1), (87, 1), (88, 2), (95, 2)):
        assert PEAK.rate_at(midnight + quarter * 900) == rate
        assert PEAK.rate_at(midnight + quarter * 900 + 899) == rate
    assert PEAK.rate_at(midnight + DAY) == 0


def test_rates_by_season_weekday_and_holiday():
    """OP-TAR-06"""
    for at_s, rate in (
        (utc(2026, 2, 2, 5, 0), 1),  # a Monday in winter, 06:00 local
        (utc(2026, 2, 2, 4, 59), 0),
        (utc(2026, 2, 7, 10), 0),  # a Saturday
        (utc(2026, 1, 1, 10), 0),  # New Year, a Thursday
        (utc(2026, 6, 1, 10, 0), 1),  # a Monday in summer, 12:00 local in summer time
        (utc(2026, 6, 1, 9, 59), 0),
        (utc(2026, 6, 1, 12, 0), 0),
        (utc(2026, 5, 4, 10, 0), 1),  # the day that counts as one in winter, that year
        (utc(2026, 5, 4, 13, 0), 1),
        (utc(2027, 5, 4, 13, 0), 0),
        (utc(2026, 10, 1, 13, 0), 1),  # winter's first day
        (utc(2026, 9, 30, 13, 0), 0),
    ):
        assert BERLIN.rate_at(at_s) == rate, at_s


def test_friendly_days():
    assert BERLIN.friendly(utc(2026, 12, 24, 23, 0)) and not BERLIN.friendly(utc(2026, 12, 24, 22, 59))
    assert BERLIN.friendly(utc(2026, 5, 4)) and not BERLIN.friendly(utc(2027, 5, 4))
    assert not BERLIN.friendly(utc(2026, 1, 1, 12))


def test_local_days_over_a_change_of_offset():
    assert BERLIN.local(utc(2026, 3, 29, 0, 59)) == (2026, 3, 29, 6, 7140)
    assert BERLIN.local(utc(2026, 3, 29, 1, 0)) == (2026, 3, 29, 6, 10800)
    assert BERLIN.next_day_s(utc(2026, 3, 28, 23)) == utc(2026, 3, 29, 22)  # a day of 23 hours
    assert BERLIN.next_day_s(utc(2026, 10, 24, 22)) == utc(2026, 10, 25, 23)  # and one of 25
    assert BERLIN.next_day_s(utc(2026, 7, 1, 12)) == utc(2026, 7, 1, 22)
    back = Tariff((1,), offsets=((utc(2026, 1, 2), -4),))  # at midnight an hour back: the day ends twice
    assert back.next_day_s(utc(2026, 1, 1, 23)) == utc(2026, 1, 2, 1)
    ahead = Tariff((1,), offsets=((utc(2026, 1, 1, 23), 8),))  # over midnight at one go
    assert ahead.next_day_s(utc(2026, 1, 1, 22, 59)) == utc(2026, 1, 1, 23)


def test_unknown_time():
    assert Tariff((1, 2), ((0, 0),), unknown_time_rate=1).rate_at(0, False) == 1


def test_cost_carries_the_remainder():
    one = Tariff((1001,))
    total, remainder = 0, 0
    for _ in range(1000):
        cost, remainder = one.cost(1, 0, remainder)
        total += cost
    assert (total, remainder) == (1001, 0)
    assert one.cost(1000, 0, 0) == (1001, 0)
    assert one.cost(1, 0, 0) == (1, 1)


def test_steps_split_the_energy_that_crosses_them():
    """OP-TAR-02"""
    one = Tariff((100_000, 200_000, 1_000_000, 2_000_000, 5_000_000, 9_000_000), ((0, 1),), steps_wh=(10, 15))
    assert [one.step(wh) for wh in (0, 9, 10, 14, 15, 99)] == [0, 0, 1, 1, 2, 2]
    assert [one.price_uc_per_kwh(1, wh) for wh in (9, 10, 15)] == [200_000, 2_000_000, 9_000_000]
    assert one.cost(20, 1, 0) == (10 * 200 + 5 * 2000 + 5 * 9000, 0)
    assert one.cost(3, 0, 0, 8) == (2 * 100 + 1000, 0)
    assert one.cost(0, 0, 7, 12) == (0, 7)
    total, remainder = 0, 0
    for wh in range(20):
        cost, remainder = one.cost(1, 1, remainder, wh)
        total += cost
    assert (total, remainder) == one.cost(20, 1, 0)


def test_periods_of_steps():
    month = Tariff((1, 2), steps_wh=(1,), utc_offset_quarters=32)
    assert month.period(utc(2026, 1, 31, 15, 59)) + 1 == month.period(utc(2026, 1, 31, 16))
    year = Tariff((1, 2), steps_wh=(1,), year_from=4)
    assert year.period(utc(2026, 4, 1)) == year.period(utc(2027, 3, 31)) == 2026 * 12 + 3
    assert year.period(utc(2026, 3, 31)) == 2025 * 12 + 3
    assert Tariff((1, 2), steps_wh=(1,), year_from=1).period(utc(2026, 12, 31)) == 2026 * 12


def test_export_earns_by_its_own_prices():
    assert BERLIN.earning(1000, 1, 500) == (81000, 500)
    assert PEAK.earning(1000, 1, 500) == (0, 500)


def test_each_day_and_month_is_charged_once():
    """OP-TAR-04"""
    one = Tariff((0,), charges=((PER_DAY, 10), (PER_MONTH, 1000)))
    running = Running()
    assert running.turn(one, utc(2026, 1, 30, 12)) == 0  # in service since noon
    assert running.turn(one, utc(2026, 1, 31)) == 10
    assert running.turn(one, utc(2026, 1, 31, 23, 45)) == 0
    assert running.turn(one, utc(2026, 2, 1)) == 1010
    assert running.turn(one, utc(2026, 1, 31)) == 0  # the clock went back
    assert running.turn(one, utc(2026, 2, 1)) == 0
    assert running.turn(one, utc(2026, 3, 5)) == 32 * 10 + 1000  # an outage
    assert running.turn(one, utc(2036, 3, 5)) == MAX_DAYS * 10 + 14 * 1000
    assert running.turn(one, utc(2026, 3, 6)) == 0  # that clock was wrong: what it charged ahead is not charged again,
    assert running.turn(one, utc(2027, 4, 10)) == 0
    assert running.turn(one, utc(2027, 4, 11)) == 10  # and no longer


def test_the_consumption_of_a_period_ends_with_it():
    running = Running()
    one = Tariff((1, 2), steps_wh=(100,))
    running.step_wh = 5  # before the time was known
    running.turn(one, utc(2026, 1, 1))
    assert running.step_wh == 5
    running.turn(one, utc(2026, 1, 31, 23, 45))
    assert running.step_wh == 5
    running.turn(one, utc(2026, 2, 1))
    assert running.step_wh == 0


def test_consumption_outlives_a_switch_of_tariffs():
    """OP-TAR-03"""
    for year_from, at_s, left_wh in ((0, utc(2026, 5, 7), 70), (1, utc(2026, 5, 7), 70), (1, utc(2026, 1, 1), 0)):
        bill = Bill(Tariff((1000,)))
        bill.add(at_s - 1800, 70)
        bill.switch(Tariff((1000, 5000), steps_wh=(100,), year_from=year_from), at_s)
        assert bill.running.step_wh == left_wh
        bill.add(at_s, 50)
        assert bill.charged_uc == 50 + 70 + max(0, left_wh + 50 - 100) * 4
        bill.add(utc(2027, 3, 1), 100)
        assert bill.running.step_wh == 100


def test_refusals():
    for make in (
        lambda: Tariff(()),
        lambda: Tariff((1, 2, 3, 4, 5)),
        lambda: Tariff((-1,)),
        lambda: Tariff((10**12 + 1,)),
        lambda: Tariff((1,), ()),
        lambda: Tariff((1,), ((1, 0),)),
        lambda: Tariff((1,), ((0, 1),)),
        lambda: Tariff((1,), ((0, 0), (0, 0))),
        lambda: Tariff((1,), ((0, 0), (96, 0))),
        lambda: Tariff((1,), tuple((i, 0) for i in range(15))),
        lambda: Tariff((1,), utc_offset_quarters=97),
        lambda: Tariff((1,), unknown_time_rate=1),
        lambda: Tariff((1, 2, 3), steps_wh=(5,)),
        lambda: Tariff((1, 2), steps_wh=(0,)),
        lambda: Tariff((1, 2, 3), steps_wh=(7, 7)),
        lambda: Tariff((1, 2), steps_wh=(1 << 32,)),
        lambda: Tariff(tuple(range(7)), steps_wh=(1, 2, 3, 4, 5, 6)),
        lambda: Tariff((1, 2), export_prices_uc_per_kwh=(1,)),
        lambda: Tariff((1,), charges=((3, 1),)),
        lambda: Tariff((1,), charges=((1, 0),)),
        lambda: Tariff((1,), charges=((1, 1),) * 3),
        lambda: Tariff((1,), year_from=13),
        lambda: Tariff((1,), more_days=(((0, 1),),)),
        lambda: Tariff((1,), more_days=(((0, 0),),) * 8),
        lambda: Tariff((1,), seasons=((1, 1, 0, 0, 0, 0, 0, 0, 1),)),
        lambda: Tariff((1,), seasons=((1, 1, 0, 0, 0, 0, 0, 0),)),
        lambda: Tariff((1,), seasons=((2, 30, 0, 0, 0, 0, 0, 0, 0),)),
        lambda: Tariff((1,), seasons=((5, 1, 0, 0, 0, 0, 0, 0, 0), (4, 1, 0, 0, 0, 0, 0, 0, 0))),
        lambda: Tariff((1,), special_days=((27, 2, 29, 0),)),
        lambda: Tariff((1,), special_days=((26, 13, 1, 0),)),
        lambda: Tariff((1,), special_days=((26, 1, 1, 1),)),
        lambda: Tariff((1,), special_days=((26, 1, 1, 0), (26, 1, 1, 0))),
        lambda: Tariff((1,), offsets=((1, 0),)),
        lambda: Tariff((1,), offsets=((900, 0), (900, 1))),
        lambda: Tariff((1,), offsets=((900, -97),)),
        lambda: tariff.decode(b""),
        lambda: tariff.decode(b"\x03" + PEAK.encode()[1:]),
        lambda: tariff.decode(b"\x02" + PEAK.encode()[1:]),
        lambda: tariff.decode(b"\x01" + BERLIN.encode()[1:]),
        lambda: tariff.decode(PEAK.encode() + b"\0"),
        lambda: tariff.decode(PEAK.encode()[:-1]),
        lambda: tariff.decode(BERLIN.encode() + b"\0"),
        lambda: tariff.decode(BERLIN.encode()[:-1]),
        lambda: tariff.decode(full().encode() + b"\0"),
        lambda: tariff.decode(bytes(19)),
    ):
        refused(make)


def test_refusals_name_what_was_expected():
    assert refused(lambda: Tariff((1,), unknown_time_rate=1)) == "unknown_time_rate: 1 given, 0..0 expected"
    assert refused(lambda: Tariff((1,), special_days=((27, 2, 29, 0),))).startswith("special day: (27, 2, 29")
