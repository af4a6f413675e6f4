"""Tariffs over HTTP: the whole structure, there and back; a long one reaches its meter in pieces."""

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given

from headend.orders import lifecycle, statements
from headend.refusals import Refused
from headend.web import tariff_json
from headend.web.tariff_json import Offset, Season, Slot, SpecialDay, StandingCharge, Step, TariffBody
from meterlink import tariff
from meterlink.orders import MAX_BODY, OrderError
from tests.host.books import METER
from tests.host.core_rig import Pair
from tests.protocol.tariff_strategies import any_tariff

CITY = {
    "prices": ["0.30", "0.55"],
    "slots": [{"start": "00:00", "rate": 0}, {"start": "07:00", "rate": 1}, {"start": "21:30", "rate": 0}],
    "steps": [{"from_wh": 180_000, "prices": ["0.35", "0.60"]}, {"from_wh": 400_000, "prices": ["0.60", "0.85"]}],
    "export_prices": ["0.08", "0.09"],
    "charges": [{"per": "day", "amount": "0.25"}, {"per": "month", "amount": "3.50"}],
    "more_days": [[{"start": "00:00", "rate": 0}]],
    "seasons": [{"first": "03-15", "week": [0, 0, 0, 0, 0, 1, 1]}, {"first": "11-01", "week": [0] * 7}],
    "special_days": [
        {"date": "2026-05-01", "day_type": 1, "friendly": True},
        {"date": "12-25", "day_type": 1},
    ],
    "utc_offset_minutes": 60,
    "offsets": [{"from_s": 1774746000, "utc_offset_minutes": 120}, {"from_s": 1792890000, "utc_offset_minutes": 60}],
}


def read(**changed: object) -> tariff.Tariff:
    return tariff_json.read_tariff(msgspec.convert({**CITY, **changed}, TariffBody))


@given(any_tariff)
def test_what_a_meter_takes_can_be_said_and_read(one: tariff.Tariff) -> None:
    said = msgspec.json.encode(tariff_json.write_tariff(one.encode()))
    assert tariff_json.read_tariff(msgspec.json.decode(said, type=TariffBody)).encode() == one.encode()


def test_a_tariff_is_what_it_says() -> None:
    one = read()
    noon = int(datetime(2026, 4, 30, 10, tzinfo=UTC).timestamp())  # a Thursday; 12:00 in summer time
    assert (one.rate_at(noon), one.rate_at(noon + 86_400), one.rate_at(noon + 2 * 86_400)) == (1, 0, 0)
    assert one.friendly(noon + 86_400) and not one.friendly(noon)
    assert one.price_uc_per_kwh(1, 399_999) == 600_000 and one.price_uc_per_kwh(1, 400_000) == 850_000
    assert one.local(noon)[4] == 12 * 3600


@pytest.mark.parametrize(
    "name, value, field",
    [
        ("steps", [Step(9, ["1"])], "steps[0].prices"),
        ("seasons", [Season("4-1", [0] * 7)], "seasons[0].first"),
        ("special_days", [SpecialDay("2000-05-01", 0)], "special_days[0].date"),
        ("special_days", [SpecialDay("2256-05-01", 0)], "special_days[0].date"),
        ("offsets", [Offset(0, 20)], "offsets[0].utc_offset_minutes"),
        ("charges", [StandingCharge("day", "x")], "charges[0].amount"),
        ("more_days", [[Slot("00:07", 0)]], "more_days[0][0].start"),
    ],
)
def test_a_refusal_names_the_field(name: str, value: object, field: str) -> None:
    body = msgspec.convert(CITY, TariffBody)
    setattr(body, name, value)
    with pytest.raises(Refused) as refused:
        tariff_json.read_tariff(body)
    assert refused.value.field == field


def test_what_no_meter_takes_is_refused() -> None:
    with pytest.raises(OrderError, match="special day: "):
        read(special_days=[{"date": "02-30", "day_type": 0}])
    with pytest.raises(OrderError, match="day type"):
        read(seasons=[{"first": "01-01", "week": [2] * 7}])


@pytest.mark.parametrize("carrier", ["mqtt", "modbus"])
def test_a_long_tariff_is_confirmed_by_its_meter(carrier: str) -> None:
    one = read()
    assert len(one.encode()) > MAX_BODY
    with Pair(carrier) as pair:
        pair.run(30)
        order_id = pair.write(statements.set_tariff, METER, one, "operator")
        pair.run(120)
        assert pair.order(order_id).state == lifecycle.CONFIRMED
        assert pair.unit.meter.pricing.active.encode() == one.encode()
