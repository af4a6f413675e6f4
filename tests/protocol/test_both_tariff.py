"""The tariff engine, on both interpreters."""

from meterlink import results, tariff
from meterlink.orders import OrderError
from meterlink.tariff import Tariff

DAY = 86400
PEAK = Tariff((300000, 900000, 600000), ((0, 0), (28, 2), (72, 1), (88, 2)), 32)


def refused(action):
    try:
        action()
    except OrderError as error:
        assert error.code == results.BAD_BODY
        return str(error)
    raise AssertionError("not refused")


def test_round_trip():
    for one in (Tariff((0,)), PEAK, Tariff((1, 2, 3, 4), ((0, 3),), -96, 0xFFFFFFFF, 3)):
        body = one.encode()
        assert len(body) <= 57
        assert tariff.decode(body).encode() == body


def test_rates_of_a_local_day():
    midnight = 1700006400 - 32 * 900  # local midnight at UTC+8
    assert midnight % DAY == 16 * 3600
    for quarter, rate in ((0, 0), (27, 0), (28, 2), (71, 2), (72, 1), (87, 1), (88, 2), (95, 2)):
        assert PEAK.rate_at(midnight + quarter * 900) == rate
        assert PEAK.rate_at(midnight + quarter * 900 + 899) == rate
    assert PEAK.rate_at(midnight + DAY) == 0


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
        lambda: Tariff((1,), utc_offset_quarters=97),
        lambda: Tariff((1,), unknown_time_rate=1),
        lambda: tariff.decode(b""),
        lambda: tariff.decode(b"\x02" + PEAK.encode()[1:]),
        lambda: tariff.decode(PEAK.encode() + b"\0"),
        lambda: tariff.decode(PEAK.encode()[:-1]),
        lambda: tariff.decode(bytes(19)),
    ):
        refused(make)


def test_refusals_name_what_was_expected():
    assert refused(lambda: Tariff((1,), unknown_time_rate=1)) == "unknown_time_rate: 1 given, 0..0 expected"
