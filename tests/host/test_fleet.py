"""Meters, their addresses, and the channels that sell to them."""

from collections.abc import Iterator
from typing import Any

import pytest

from headend.fleet import address
from headend.fleet.address import ModbusAddress
from headend.fleet.meters import MeterExists, add_meter, get_meter, list_meters
from headend.ledger import accounts, balances, channels
from headend.refusals import Refused
from headend.store import Store, UnknownMeter, identity
from meterlink.orders import MAX_METER
from tests.host.books import CHANNEL, CURRENCY, LIMITS, METER, NOW_S, TARIFF, TOKEN, dump, open_books, record


@pytest.fixture
def store() -> Iterator[Store]:
    with open_books() as opened:
        yield opened


def test_a_meter_is_added_with_its_state_and_account(store: Store) -> None:
    added = record(18, carrier="modbus", address="tcp://10.0.0.8:502?unit=9", label="东门 2 号", interval_minutes=30)
    store.write(add_meter, NOW_S, added).result()
    row = store.read(get_meter, 18)
    assert (row.carrier, row.address, row.label, row.interval_minutes) == ("modbus", added.address, "东门 2 号", 30)
    assert (row.tariff, row.limits, row.added_s) == (TARIFF, LIMITS, NOW_S)
    kinds = {sums.account: sums.kind for sums in store.read(balances.trial_balance)}
    assert kinds[accounts.of_meter(18, 1)] == accounts.CUSTOMER


def test_meters_are_listed_by_number_in_pages(store: Store) -> None:
    for meter in (40, 3, MAX_METER):
        store.write(add_meter, NOW_S, record(meter)).result()
    pages = [
        [row.meter for row in store.read(lambda conn, a=after: list_meters(conn, after=a, limit=2))]
        for after in (0, 17)
    ]
    assert pages == [[3, METER], [40, MAX_METER]]
    with pytest.raises(UnknownMeter):
        store.read(get_meter, 4)


def test_a_number_is_taken_once(store: Store) -> None:
    before = dump(store)
    with pytest.raises(MeterExists, match="meter: 17 given"):
        store.write(add_meter, NOW_S, record()).result()
    assert dump(store) == before


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"meter": 0}, "meter: 0 given, 1.."),
        ({"meter": MAX_METER + 1}, "meter: "),
        ({"meter": True}, "meter: True given"),
        ({"account_epoch": 0}, "account_epoch: 0 given"),
        ({"tag_key_version": 256}, "tag_key_version: 256 given"),
        ({"interval_minutes": 7}, "interval_minutes: 7 given, a divisor of 60"),
        ({"interval_minutes": 0}, "interval_minutes: 0 given"),
        ({"carrier": "pigeon"}, "carrier: 'pigeon' given, one of mqtt, modbus"),
        ({"address": "tcp://a:1?unit=1"}, "address: 'tcp://a:1"),
        ({"carrier": "modbus", "address": ""}, "address: '' given"),
        ({"label": "a\nb"}, "label: "),
        ({"label": "x" * 201}, "label: "),
        ({"tariff": b""}, "tariff: '' given, a body that a meter takes"),
        ({"tariff": TARIFF + b"\0"}, "tariff: "),
        ({"limits": LIMITS[:-1]}, "limits: .* 44 bytes given, 45 expected"),
    ],
)
def test_a_record_that_does_not_fit_is_refused(store: Store, fields: dict[str, Any], sentence: str) -> None:
    before = dump(store)
    with pytest.raises(Refused, match=sentence):
        store.write(add_meter, NOW_S, record(**{"meter": 18, **fields})).result()
    assert dump(store) == before


@pytest.mark.parametrize(
    ("text", "parsed", "link"),
    [
        (
            "serial:/dev/ttyUSB0?unit=1",
            ModbusAddress("serial", "/dev/ttyUSB0", "", 0, 1, 9600, "E"),
            "serial:/dev/ttyUSB0?baud=9600&parity=E",
        ),
        (
            "serial:/tmp/pty?unit=247&baud=19200&parity=N",
            ModbusAddress("serial", "/tmp/pty", "", 0, 247, 19200, "N"),
            "serial:/tmp/pty?baud=19200&parity=N",
        ),
        ("socket://10.0.0.7:4001?unit=5", ModbusAddress("socket", "", "10.0.0.7", 4001, 5), "socket://10.0.0.7:4001"),
        (
            "tcp://meter.example:502/?unit=1",
            ModbusAddress("tcp", "", "meter.example", 502, 1),
            "tcp://meter.example:502",
        ),
        ("tcp://[::1]:502?unit=1", ModbusAddress("tcp", "", "[::1]", 502, 1), "tcp://[::1]:502"),
    ],
)
def test_addresses(text: str, parsed: ModbusAddress, link: str) -> None:
    assert address.parse(text) == parsed
    assert parsed.link == link


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "address: ''"),
        ("/dev/ttyUSB0?unit=1", "address: "),
        ("http://a:1?unit=1", "address: 'http"),
        ("tcp://a?unit=1", "address: 'tcp://a"),
        ("tcp://:502?unit=1", "address: "),
        ("tcp://a:70000?unit=1", "address: "),
        ("tcp://a:0?unit=1", "address: "),
        ("tcp://a:502/x?unit=1", "address: "),
        ("tcp://u@a:502?unit=1", "address: "),
        ("tcp://a:502?unit=1#x", "address: "),
        ("tcp://a:502", "address unit: '' given, 1..247"),
        ("tcp://a:502?unit=0", "address unit: '0' given"),
        ("tcp://a:502?unit=248", "address unit: '248' given"),
        ("tcp://a:502?unit=\N{ARABIC-INDIC DIGIT ONE}", "address unit: "),
        ("tcp://a:502?unit=1&unit=2", "address: "),
        ("tcp://a:502?unit", "address: "),
        ("tcp://a:502?unit=1&baud=9600", "address option: 'baud' given"),
        ("serial:dev?unit=1", "address: "),
        ("serial://host/dev?unit=1", "address: "),
        ("serial:/dev/x?unit=1&baud=9601", "address baud: '9601' given, one of 1200"),
        ("serial:/dev/x?unit=1&parity=X", "address parity: 'X' given"),
        ("serial:/dev/x?unit=1&speed=1", "address option: 'speed' given"),
        ("tcp://a:502?unit=1\n", "address: "),
        ("tcp://" + "a" * 200 + ":502?unit=1", "address: "),
    ],
)
def test_an_address_that_does_not_fit_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(Refused, match=sentence.replace("[", r"\[")):
        address.parse(text)


# --- channels ---------------------------------------------------------------------------------------------------------


def test_a_channel_is_found_by_its_token_and_nothing_else(store: Store) -> None:
    row = store.read(channels.authenticate, NOW_S, TOKEN)
    assert row is not None and row.channel == CHANNEL
    assert channels.allows(row, "payments") and not channels.allows(row, "orders") and not channels.allows(row, "pay")
    for wrong in ("", TOKEN[:-1], TOKEN + "t", TOKEN[:-1] + "u", "x" * 10_000):
        assert store.read(channels.authenticate, NOW_S, wrong) is None


def test_the_token_itself_is_not_stored(store: Store) -> None:
    assert TOKEN not in repr(dump(store))


def test_tokens_are_fresh_and_accepted() -> None:
    drawn = iter(range(10))
    token = channels.new_token(lambda length: bytes([next(drawn)]) * length)
    assert token.startswith("op_") and len(token) == 46 and token.isprintable()
    assert token != channels.new_token(lambda length: bytes([next(drawn)]) * length)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"name": CHANNEL}, "channel: 'pos-1' given, a name that is not taken"),
        ({"name": ""}, "channel: ''"),
        ({"name": "a:b"}, "channel: 'a:b'"),
        ({"name": "Pos"}, "channel: 'Pos'"),
        ({"name": "a\n"}, "channel: "),
        ({"name": "x" * 41}, "channel: "),
        ({"token": "short"}, "token: '5 characters' given"),
        ({"token": "x" * 201}, "token: '201 characters' given"),
        ({"scopes": ("payments", "root")}, "scope: 'root' given, one of payments, refunds, orders"),
        ({"max_payment_uc": -1}, "max_payment_uc: -1 given"),
        ({"max_payment_uc": 2**63}, "max_payment_uc: "),
    ],
)
def test_a_channel_that_does_not_fit_is_refused(store: Store, fields: dict[str, Any], sentence: str) -> None:
    whole = {"name": "bank-1", "token": "x" * 40, "scopes": ("payments",), "max_payment_uc": 1, **fields}
    before = dump(store)
    with pytest.raises(Refused, match=sentence):
        store.write(channels.add_channel, NOW_S, *whole.values()).result()
    assert dump(store) == before


# --- identity ---------------------------------------------------------------------------------------------------------


def test_a_database_is_established_once(store: Store) -> None:
    standing = store.write(identity.establish, NOW_S + 1, 2, 3, CURRENCY).result()
    assert (standing.signing_epoch, standing.source, standing.created_s) == (1, 1, NOW_S)
    with pytest.raises(Refused, match="currency: 978 given, 156"):
        store.write(identity.establish, NOW_S, 1, 1, 978).result()


@pytest.mark.parametrize("values", [(0, 1, 156), (1, 65536, 156), (1, 1, 0)])
def test_an_identity_that_does_not_fit_is_refused(store: Store, values: tuple[int, int, int]) -> None:
    with pytest.raises(Refused):
        store.write(identity.establish, NOW_S, *values).result()
