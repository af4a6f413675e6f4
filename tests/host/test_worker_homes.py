"""The home of a meter's traffic, and that a worker is handed what belongs to its homes and nothing else."""

import os

import pytest

from headend.clock import ManualClock
from headend.engine import Engine, Part
from headend.fleet.meters import add_meter
from headend.keys.keystore import KeyStore
from headend.keys.signer import Signer
from headend.keys.signer_books import Caps
from headend.keys.signer_log import SignerLog
from headend.ledger import payments
from headend.orders.actions import Ask, Deliver
from headend.refusals import Refused
from headend.store import sql
from headend.workers import leases, roles
from headend.workers.homes import BUS, BUSES, LINES, NUMBERS, SHARD, bus_of
from tests.host.books import CHANNEL, NOW_S, open_books, record

MODBUS = 40


@pytest.mark.parametrize(
    ("where", "other", "numbers"),
    [
        ("tcp://10.0.0.8:502?unit=1", "tcp://10.0.0.8:502?unit=77", BUSES),
        ("socket://10.0.0.7:4001?unit=1", "socket://10.0.0.7:4001?unit=2", BUSES),
        ("serial:/dev/ttyUSB0?unit=1", "serial:/dev/ttyUSB0?unit=2&baud=19200&parity=N", LINES),
    ],
)
def test_all_meters_of_a_link_have_one_home(where: str, other: str, numbers: range) -> None:
    assert bus_of("modbus", where) == bus_of("modbus", other)
    assert bus_of("modbus", where) in numbers


def test_homes_do_not_overlap_and_a_meter_on_a_broker_has_its_shard() -> None:
    every = [number for numbers in NUMBERS.values() for number in numbers]
    assert len(set(every)) == len(every)
    assert bus_of("mqtt", "") is None


def test_links_spread() -> None:
    homes = {bus_of("modbus", f"tcp://10.0.0.{host}:502?unit=1") for host in range(250)}
    assert len(homes) > len(BUSES) // 2


@pytest.mark.parametrize("text", ["", "collect", "dispatch,sign", "collect,dispatch,cook"])
def test_roles_that_cannot_be_a_workers(text: str) -> None:
    with pytest.raises(Refused):
        roles.of_text(text)


def test_a_worker_is_handed_what_belongs_to_its_homes(any_store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ManualClock(NOW_S)
    monkeypatch.setattr(sql, "now_s", lambda conn: clock.now_s())
    where = "tcp://10.0.0.8:502?unit=1"
    with open_books(any_store_url, (17, 18, 64 + 17), inline=True) as store:
        store.write(add_meter, NOW_S, record(MODBUS, carrier="modbus", address=where)).result()
        keys = KeyStore.generate()
        signer = Signer(keys, SignerLog(None), clock, Caps(10**12))
        for number in (17, 18, 64 + 17, MODBUS):
            store.write(payments.take, NOW_S, CHANNEL, f"p{number}", number, 1_000_000).result()

        def engine(holder: str) -> Engine:
            return Engine(store, keys, clock, os.urandom, signer=signer, part=Part(holder, True, lambda: True))

        home = bus_of("modbus", where)
        assert home is not None
        for holder, kind, number in (("a", SHARD, 17), ("b", SHARD, 18), ("b", BUS, home)):
            assert store.write(leases.take, kind, number, holder, 30).result()
        assert _meters(engine("c"), clock.now_s()) == set(), "who holds nothing is handed nothing"
        assert _meters(engine("a"), clock.now_s()) <= {17, 64 + 17}
        assert MODBUS in _meters(engine("b"), clock.now_s())
        clock.advance(2_000)
        assert _meters(engine("a"), clock.now_s()) == set(), "a lease that has run out is worth nothing"
        assert store.write(leases.take, SHARD, 17, "b", 30).result()
        assert _meters(engine("b"), clock.now_s()) <= {17, 64 + 17}


def _meters(engine: Engine, now_s: int) -> set[int]:
    return {one.meter for one in engine.due(now_s) if isinstance(one, Deliver | Ask)}


def test_nothing_of_an_unheld_home_keeps_a_worker_awake() -> None:
    with open_books("", (17,)) as store:
        engine = Engine(store, KeyStore.generate(), ManualClock(NOW_S), os.urandom, part=Part("c", True, lambda: False))
        assert engine.next_s() > NOW_S
