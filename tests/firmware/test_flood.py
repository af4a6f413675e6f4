"""Floods of forged orders: what they cost the meter, counted in field multiplications, and what they keep from it."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import pytest

from meter import inbox
from meter.core import Meter
from meterlink import bodies, ecdsa, orders, p256, reasons, results
from tests.firmware.test_orders_hypothesis import SignedRig

BUS, TCP, MQTT, LOCAL = Meter.CARRIER_BUS, Meter.CARRIER_TCP, Meter.CARRIER_MQTT, Meter.CARRIER_LOCAL
RICH_UC = 1_000_000_000
MOST_PRODUCTS = 3200  # of one verification
SLICES = 480  # of one verification at most; a slow processor does so many in a second
# An order of 240 bytes takes 0.3 s of a line with 9 600 baud, its answer and the silences included.
PER_S_9600 = 3
PER_S_19200 = 6


class Counted(int):
    """An integer that counts the products of two large factors; what it makes is one again."""

    products = 0

    def __mul__(self, other: int) -> "Counted":
        Counted.products += min(abs(int(self)), abs(int(other))) >> 130 > 0
        return Counted(int(self) * int(other))

    __rmul__ = __mul__

    def __mod__(self, other: int) -> "Counted":
        return Counted(int(self) % int(other))

    def __sub__(self, other: int) -> "Counted":
        return Counted(int(self) - int(other))

    def __add__(self, other: int) -> "Counted":
        return Counted(int(self) + int(other))


@contextmanager
def counting() -> Iterator[None]:
    """Count the field multiplications of what runs within, in `Counted.products`."""
    Counted.products = 0
    with patch.object(p256, "int", Counted, create=True), patch.object(ecdsa, "int", Counted, create=True):
        yield


class Flood:
    """Forged orders under a genuine tag, each another one, all newer than whatever is genuine."""

    def __init__(self, rig: SignedRig, seed: int) -> None:
        self.rig = rig
        self.random = random.Random(seed)
        self.rig.board.random = seed * 1_000_003  # the meter's own choices differ from run to run

    def one(self) -> bytes:
        body = bodies.encode_credit(self.random.randrange(RICH_UC, 1 << 60), 0, [])
        statement = self.rig.statement(orders.ASPECT_CREDIT, body, 1, issued_s=0xFFFFFFF0)
        return self.rig.seal(statement, self.random.randbytes(32) + bytes(4) + self.random.randbytes(28))

    def second(self, carrier: int, count: int, slices: int, genuine: bytes | None = None) -> None:
        """`count` forged orders, and the genuine one somewhere among them; `slices` of work spread over the second."""
        raws = [self.one() for _ in range(count)]
        if genuine is not None:
            raws.insert(self.random.randrange(count + 1), genuine)
        done = 0
        for place, raw in enumerate(raws, 1):
            self.rig.meter.submit(carrier, raw)
            while done < slices * place // len(raws) and self.rig.meter.verify_slice():
                done += 1
        self.rig.run(1)


def rig_with_credit() -> SignedRig:
    rig = SignedRig(credit_uc=RICH_UC)
    rig.run(2)
    return rig


def test_a_flood_without_the_per_meter_key_costs_no_multiplication() -> None:
    """OP-ORD-11"""
    rig = rig_with_credit()
    flood = Flood(rig, 1)
    with counting():
        for carrier in range(inbox.CARRIERS):
            for _ in range(500):
                raw = flood.one()
                assert rig.meter.submit(carrier, raw[:-1] + bytes((raw[-1] ^ 1,))) == results.BAD_TAG
                assert not rig.meter.verify_slice()
    assert Counted.products == 0
    assert rig.give(rig.credit(2 * RICH_UC)) == results.APPLIED


def test_a_flood_of_genuine_orders_played_again_costs_no_multiplication() -> None:
    """OP-ORD-11"""
    rig = rig_with_credit()
    old = [rig.credit(RICH_UC - n) for n in range(50)] + [rig.meter.held_order(orders.ASPECT_CREDIT, 1)]
    with counting():
        for raw in old * 10:
            assert rig.meter.submit(TCP, raw) == results.ALREADY
    assert Counted.products == 0


@pytest.mark.parametrize("carriers", [(TCP,), (BUS, TCP, MQTT, LOCAL)])
def test_a_flood_under_the_per_meter_key_costs_a_bounded_number(carriers: tuple[int, ...]) -> None:
    """OP-ORD-29: a processor that would verify all it is given: in any 10 s at most 10 in vain for each carrier."""
    rig = rig_with_credit()
    flood = Flood(rig, 2)
    spent = []
    with counting():
        for _ in range(25):
            before = Counted.products
            for _ in range(30):
                for carrier in carriers:
                    rig.meter.submit(carrier, flood.one())
                    while rig.meter.verify_slice():
                        pass
            rig.run(1)
            spent.append(Counted.products - before)
    windows = [sum(spent[at : at + inbox.FAILED_S]) for at in range(len(spent) - inbox.FAILED_S + 1)]
    bound = len(carriers) * inbox.MAX_FAILED * MOST_PRODUCTS
    print(f"{len(carriers)} carriers: at most {max(windows)} field multiplications in 10 s, bound {bound}")
    assert len(carriers) * inbox.MAX_FAILED * 2000 < max(windows) <= bound


def applied_after_s(seed: int, per_s: int, slices: int, longest_s: int = 30) -> int:
    """Seconds until a genuine release, sent each second amid a flood on its own carrier, is applied; or longer."""
    rig = rig_with_credit()
    assert rig.give(rig.hold(reasons.HOLD_LEGAL)) == results.APPLIED
    flood = Flood(rig, seed)
    for _ in range(5):
        flood.second(BUS, per_s, slices)
    genuine = rig.release(reasons.HOLD_LEGAL)
    for second in range(longest_s):
        flood.second(BUS, per_s, slices, genuine)
        if not rig.meter.supply.holds:
            return second + 1
    return longest_s + 1


@pytest.mark.parametrize("slices", [SLICES, 20 * SLICES])
def test_a_genuine_order_on_the_line_that_is_flooded_applies_within_30_s(slices: int) -> None:
    """OP-ORD-29: at the rate of a line with 9 600 baud, on a processor that verifies one order a second, and on a
    faster one."""
    waits_s = [applied_after_s(seed, PER_S_9600, slices) for seed in range(40)]
    print(
        f"9 600 baud, {slices // SLICES} verifications a second: longest {max(waits_s)} s, mean {sum(waits_s) / 40} s"
    )
    assert max(waits_s) <= 30


def test_a_faster_line_leaves_few_that_wait_longer() -> None:
    waits_s = [applied_after_s(1000 + seed, PER_S_19200, SLICES) for seed in range(40)]
    share = sum(wait_s <= 30 for wait_s in waits_s) / len(waits_s)
    print(f"19 200 baud: {share:.0%} within 30 s, mean {sum(waits_s) / 40} s")
    assert share >= 0.95


def test_a_flood_on_one_carrier_does_not_hold_up_another() -> None:
    rig = rig_with_credit()
    flood = Flood(rig, 5)
    for _ in range(3):
        flood.second(TCP, 1000, SLICES)
    assert rig.meter.submit(BUS, rig.credit(2 * RICH_UC)) == results.PENDING
    for _ in range(2 * SLICES):
        rig.meter.submit(TCP, flood.one())
        rig.meter.verify_slice()
    assert rig.meter.result(BUS).code == results.APPLIED, "after the one that was being verified"


def test_after_the_flood_the_newest_order_wins_again() -> None:
    rig = rig_with_credit()
    flood = Flood(rig, 6)
    for _ in range(3):
        flood.second(BUS, 3, SLICES)
    while rig.meter.verify_slice():
        pass
    rig.run(inbox.ATTACK_S)
    while rig.meter.verify_slice():
        pass
    rig.run(inbox.ATTACK_S)
    first, newer, old = (rig.credit(RICH_UC + n, issued_s=at) for n, at in ((1, 100), (3, 300), (2, 200)))
    codes = [rig.meter.submit(BUS, raw) for raw in (first, newer, old)]
    assert codes == [results.PENDING, results.PENDING, results.BUSY]
    while rig.meter.verify_slice():
        pass
    assert rig.meter.account.credited_uc == RICH_UC + 3


def test_a_flood_leaves_few_events_and_no_receipt_of_a_genuine_order_behind() -> None:
    rig = rig_with_credit()
    while rig.meter.take_receipt():
        pass
    genuine = [rig.credit(RICH_UC + total) for total in range(1, 4)]
    for raw in genuine:
        assert rig.give(raw, MQTT) == results.APPLIED
    events_before = rig.meter.log.newest
    flood = Flood(rig, 7)
    for _ in range(30):
        flood.second(MQTT, 10, 20 * SLICES)
    assert rig.meter.log.newest <= events_before + 3
    named = set()
    while (raw_receipt := rig.meter.take_receipt()) is not None:
        named.add(raw_receipt[181:189])
    assert {orders.Order(raw).digest[:8] for raw in genuine} <= named
