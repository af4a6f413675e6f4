"""Bodies that travel apart: pieces over Modbus and over a broker, and what a neighbour can do to them."""

import hashlib

from meter.core import Meter
from meter.exchange import Exchange
from meter.parcel import Parcels
from meterlink import modbus, orders, parcels, registers, results, tariff, topics
from meterlink.parcels import ParcelError
from tests.firmware import ramboard, stated
from tests.firmware.ramboard import Rig
from tests.firmware.test_both_orders import refused
from tests.firmware.test_both_registers import Master

BUS, TCP, MQTT = Meter.CARRIER_BUS, Meter.CARRIER_TCP, Meter.CARRIER_MQTT
KEYS_BODY = stated.signing_keys([(role, 1, ramboard.KEYS[role]) for role in (1, 2, 3)] + [(3, 2, ramboard.KEYS[3])])


def pieces_of(body, length=200):
    digest = hashlib.sha256(body).digest()
    return [parcels.pack(digest, at, len(body), body[at : at + length]) for at in range(0, len(body), length)]


def named(body):
    return stated.struct.pack(">I32s", len(body), hashlib.sha256(body).digest())


def not_taken(held, carrier, raw):
    try:
        held.take(carrier, raw)
    except ParcelError:
        return True
    raise AssertionError("taken")


def test_an_order_without_its_body_is_told_so_and_applies_when_it_came():
    """OP-ORD-34"""
    rig = Rig()
    raw, pieces = rig.apart(orders.ASPECT_KEYS, KEYS_BODY)
    refused(rig, raw, results.BODY_MISSING)
    for piece in pieces[:-1]:
        rig.meter.parcels.take(BUS, piece)
    refused(rig, raw, results.BODY_MISSING)
    rig.meter.parcels.take(BUS, pieces[-1])
    assert rig.give(raw) == results.APPLIED
    assert len(rig.meter.signing_keys) == 4
    refused(rig, raw, results.ALREADY)


def test_only_whoever_holds_the_per_meter_key_learns_whether_a_body_is_there():
    rig = Rig()
    raw, _ = rig.apart(orders.ASPECT_KEYS, KEYS_BODY)
    refused(rig, raw[:-1] + bytes((raw[-1] ^ 1,)), results.BAD_TAG)


def test_pieces_over_modbus():
    rig = Rig()
    master = Master(rig)
    raw, pieces = rig.apart(orders.ASPECT_KEYS, KEYS_BODY)
    for piece in pieces:
        assert not isinstance(master.mail(registers.PARCEL_MAILBOX, piece), int)
    assert master.mail(registers.PARCEL_MAILBOX, pieces[0][:13]) == -modbus.ILLEGAL_VALUE
    assert master.mail(registers.PARCEL_MAILBOX, bytes(250 - 13)) == -modbus.ILLEGAL_VALUE
    assert not isinstance(master.mail(registers.ORDER_MAILBOX, raw), int)
    while rig.meter.verify_slice():
        pass
    assert master.block(registers.RESULT)["result"] == results.APPLIED


def test_pieces_over_a_broker():
    rig = Rig()
    exchange = Exchange(rig.meter, 1000)
    raw, pieces = rig.apart(orders.ASPECT_KEYS, KEYS_BODY)
    exchange.hear(topics.DN_PARCEL, pieces[1])
    assert exchange.refused == 1
    for piece in pieces:
        exchange.hear(topics.DN_PARCEL, piece)
    assert exchange.refused == 1
    exchange.hear(topics.DN_ORDER, raw)
    while rig.meter.verify_slice():
        pass
    assert rig.meter.result(MQTT).code == results.APPLIED


def test_pieces_come_in_order_a_repeated_one_is_taken_and_the_first_begins_anew():
    held = Parcels(4)
    body = bytes(range(256)) * 3
    pieces = pieces_of(body)
    not_taken(held, 0, pieces[1])
    for piece in (pieces[0], pieces[0], pieces[1]):
        held.take(0, piece)
    not_taken(held, 0, pieces[3])
    not_taken(held, 0, pieces[1][:-1] + b"x")
    held.take(0, pieces[1])
    held.take(0, pieces[2])
    held.take(0, pieces[0])
    assert held.find(named(body)) is None
    for piece in pieces[1:]:
        held.take(0, piece)
    assert held.find(named(body)) == body
    assert held.find(named(body[:-1])) is None and held.find(named(body[:-1] + b"x")) is None
    held.clear()
    assert held.find(named(body)) is None


def test_the_largest_body_and_one_byte_more():
    """OP-ORD-34"""
    held = Parcels(4)
    body = bytes(orders.MAX_APART)
    for piece in pieces_of(body):
        held.take(1, piece)
    assert held.find(named(body)) == body
    for piece in pieces_of(bytes(orders.MAX_APART + 1))[:1]:
        not_taken(held, 1, piece)
    not_taken(held, 1, b"\2" + pieces_of(body)[0][1:])


def test_a_neighbour_on_another_carrier_cannot_take_a_body_away():
    rig = Rig()
    raw, pieces = rig.apart(orders.ASPECT_KEYS, KEYS_BODY)
    for piece in pieces:
        rig.meter.parcels.take(BUS, piece)
    for piece in pieces_of(bytes(600)):
        rig.meter.parcels.take(TCP, piece)
    assert rig.give(raw) == results.APPLIED


def test_nor_one_on_the_same_carrier_once_the_order_has_come():
    rig = Rig()
    raw, pieces = rig.apart(orders.ASPECT_KEYS, KEYS_BODY)
    for piece in pieces:
        rig.meter.parcels.take(BUS, piece)
    assert rig.meter.submit(BUS, raw) == results.PENDING
    rig.meter.parcels.take(BUS, pieces_of(bytes(600))[0])
    while rig.meter.verify_slice():
        pass
    assert rig.meter.result(BUS).code == results.APPLIED


def test_any_versioned_aspect_may_send_its_body_apart():
    rig = Rig()
    plan = tariff.Tariff((7_000_000,))
    assert rig.give_apart(orders.ASPECT_TARIFF, plan.encode()) == results.APPLIED
    assert rig.meter.pricing.active.prices_uc_per_kwh == (7_000_000,)
    nonce = rig.meter.clock.nonce
    body = stated.struct.pack(">8sI", nonce, rig.board.unix_s + 5000)
    assert rig.give_apart(orders.ASPECT_CLOCK, body) == results.APPLIED
    rig.run(2)
    assert rig.meter.now_s() == rig.board.unix_s > ramboard.START_S + 5000
    assert rig.give_apart(orders.ASPECT_LIMITS, rig.limits.encode()) == results.APPLIED
    rig.outage()
    assert rig.meter.supply.limits.encode() == rig.limits.encode()


def test_a_body_apart_that_is_none_of_its_aspect_is_refused():
    rig = Rig()
    raw, pieces = rig.apart(orders.ASPECT_TARIFF, bytes(300))
    for piece in pieces:
        rig.meter.parcels.take(BUS, piece)
    refused(rig, raw, results.BAD_BODY)


def test_what_expires_is_judged_as_with_a_body_inside():
    rig = Rig()
    from meterlink import bodies, reasons

    body = bodies.encode_supply(bodies.HOLD)
    for not_after_s, code in ((0, results.EXPIRY_REQUIRED), (rig.board.unix_s - 1, results.EXPIRED)):
        raw, pieces = rig.apart(orders.ASPECT_SUPPLY, body, reasons.HOLD_LEGAL, not_after_s=not_after_s)
        for piece in pieces:
            rig.meter.parcels.take(BUS, piece)
        refused(rig, raw, code)
