"""The lock-out for wrong tokens: what guessing costs, that power does not help, and that no network leads to it."""

from meter import lockout, typed
from meter.core import Meter
from meter.registers import MeterRegisters
from meterlink import events, modbus, orders, registers, states
from meterlink.sts import issue, results
from meterlink.sts.token import CLEAR_TAMPER, MANAGE
from tests.firmware.tokens import KWH_UC, TID, TypedRig, sections, token, wrong_digits

SCHEDULE_S = (0, 0, 10, 20, 40, 80, 160, 320, 640, 1280, 1280, 1280)
DISPLAY = "56493153725450313471"


def locked(wrong):
    """A meter after so many wrong entries, each as soon as it was looked at."""
    rig = TypedRig()
    for number in range(wrong):
        rig.run(rig.meter.typed.lockout.left_s, 1280)
        assert rig.wrong(number) == results.REJECTED
    return rig


def mail(address, content):
    """(count, bytes) of a write to a mailbox."""
    head = len(content).to_bytes(2, "big") + modbus.crc16(content).to_bytes(2, "big")
    padded = head + content + bytes(len(content) % 2)
    return address, len(padded) // 2, memoryview(padded)


def test_three_are_free_then_each_wait_is_twice_the_last():
    rig = TypedRig()
    for number, wait_s in enumerate(SCHEDULE_S):
        assert rig.wrong(number) == results.REJECTED
        assert rig.meter.typed.lockout.left_s == wait_s
        if wait_s:
            assert rig.enter(token()) == results.LOCKED, "a good one is not looked at either"
            rig.run(wait_s - 1, 100)
            assert rig.enter(token()) == results.LOCKED
            rig.run(1)
    assert lockout.LONGEST_S >= 1280
    assert rig.enter(token()) == results.ACCEPTED
    assert rig.wrong(99) == results.REJECTED and not rig.meter.typed.lockout.left_s, "an accepted one ends it"


def test_what_is_typed_while_locked_costs_nothing_more():
    rig = locked(5)
    sequence = rig.meter.store.journal.sequence
    for number in range(100):
        assert rig.wrong(1000 + number) == results.LOCKED
    assert rig.meter.typed.lockout.left_s == 40 and rig.meter.typed.lockout.wrong == 5
    assert rig.meter.store.journal.sequence == sequence


def test_only_a_token_that_is_used_once_ends_it():
    """What anybody can make, or can type again and again, must not buy guesses."""
    rig = locked(4)
    assert rig.enter(token(TID, 1)) == results.LOCKED
    rig.run(20)
    made = sections()
    for digits in (DISPLAY, made[0], made[0], token(subclass=1), issue.display(1, 5, 0)):
        assert rig.enter(digits) != results.REJECTED
        assert rig.meter.typed.lockout.wrong == 4
    assert rig.enter(token(TID, 1)) == results.ACCEPTED and rig.meter.typed.lockout.wrong == 0
    for number in range(4):
        rig.run(10)
        rig.wrong(number)
    rig.run(20)
    assert rig.enter(token(TID, 1)) == results.USED and rig.meter.typed.lockout.wrong == 4


def test_no_power_cycle_shortens_it():
    for wrong in (2, 3, 6, 10):
        rig = locked(wrong)
        left_s = rig.meter.typed.lockout.left_s
        for _ in range(5):
            rig.outage(10_000)
            assert rig.meter.typed.lockout.left_s == left_s and rig.meter.typed.lockout.wrong == wrong
        powered_s = 0
        while rig.meter.typed.lockout.left_s:
            assert rig.enter(token()) == results.LOCKED
            rig.run(7)
            powered_s += 7
            rig.outage(3600)
            assert powered_s + rig.meter.typed.lockout.left_s >= left_s
            if powered_s % 5 == 0:
                rig.run(60)  # long enough for a checkpoint
                powered_s += 60
        assert rig.enter(token()) == results.ACCEPTED


def test_a_lock_out_that_is_over_stays_over():
    rig = locked(6)
    rig.run(80)
    rig.run(61)  # a checkpoint
    rig.outage()
    assert rig.enter(token()) == results.ACCEPTED


def test_it_is_told_and_latched():
    rig = locked(typed.LATCH_AFTER)
    assert rig.report().alarms >> states.ALARM_TAMPER & 1
    rig.outage()
    assert rig.report().latches == 1 << states.LATCH_WRONG_TOKENS
    told = rig.events()
    assert [event[1:] for event in told if event[0] == events.TOKENS_LOCKED] == [
        (wait_s, 3 + n) for n, wait_s in enumerate(SCHEDULE_S[2 : typed.LATCH_AFTER])
    ]
    assert [event[1:] for event in told if event[0] == events.TOKEN_REFUSED] == [(0, results.REJECTED)] * 2
    rig.run(1280, 1280)
    assert rig.type(TID, 0, MANAGE, CLEAR_TAMPER) == results.ACCEPTED
    assert rig.report().latches == 0


def test_brute_force():
    """As fast as it goes for ten days: what it brings, and what it costs the flash."""
    rig = TypedRig()
    sequence = rig.meter.store.journal.sequence
    guesses = seconds = 0
    days = []
    for day in range(1, 11):
        before = guesses
        while seconds < day * 86_400:
            left_s = rig.meter.typed.lockout.left_s or 1
            rig.run(left_s, left_s)
            seconds += left_s
            rig.wrong(guesses)
            guesses += 1
        days.append(guesses - before)
    # A guess is credit where 16 bits of CRC and 4 of subclass are right.
    print("guesses a day", days, "one in", (1 << 20) // (max(days[1:]) * 365), "meters in a year")
    assert days[0] <= 77 and max(days[1:]) <= 68
    assert rig.meter.typed.lockout.wrong == guesses
    assert rig.meter.store.journal.sequence - sequence <= 3 * guesses, "the lock-out bounds the writes"
    assert rig.meter.account.credited_uc == 0


def test_a_gadget_on_the_bus_cannot_lock_anyone_out():
    """Every carrier but the service port: no mailbox for tokens, and nothing else that counts as an entry."""
    rig = TypedRig()
    for carrier in (Meter.CARRIER_BUS, Meter.CARRIER_TCP, Meter.CARRIER_MQTT):
        space = MeterRegisters(rig.meter, carrier)
        for number in range(50):
            digits = wrong_digits(number).encode()
            assert space.write(*mail(registers.TOKEN_MAILBOX, digits)) == modbus.ILLEGAL_ADDRESS
            for address in (registers.ORDER_MAILBOX, registers.ASK_MAILBOX, registers.ACK_MAILBOX):
                space.write(*mail(address, digits))
            space.write(*mail(registers.PARCEL_MAILBOX, digits))
        assert space.write(*mail(registers.TOKEN_MAILBOX, token().encode())) == modbus.ILLEGAL_ADDRESS
    for number in range(50):
        bad = bytearray(rig.credit(KWH_UC))
        bad[-1 - number] ^= 1
        assert rig.give(bytes(bad), number % 4) != 1
    entered = rig.meter.typed
    assert (entered.count, entered.lockout.wrong, entered.lockout.left_s) == (0, 0, 0)
    assert rig.meter.account.balance_uc() == 0
    assert rig.enter(token()) == results.ACCEPTED


def test_nor_can_anybody_end_it_from_there():
    rig = locked(6)
    assert rig.give(rig.credit(KWH_UC)) == 1
    assert rig.give(rig.order(orders.ASPECT_LIMITS, rig.limits.encode())) == 1
    rig.report()
    assert rig.meter.typed.lockout.left_s == 80 and rig.enter(token()) == results.LOCKED


def test_keypad_and_service_port_share_one():
    rig = TypedRig()
    space = MeterRegisters(rig.meter, Meter.CARRIER_LOCAL)
    assert rig.wrong(0) == results.REJECTED
    for number in (1, 2):
        assert space.write(*mail(registers.TOKEN_MAILBOX, wrong_digits(number).encode())) == 0
    assert rig.meter.typed.count == 3
    assert rig.enter(token()) == results.LOCKED
    rig.run(10)
    assert space.write(*mail(registers.TOKEN_MAILBOX, token().encode())) == 0
    assert rig.meter.typed.last.code == results.ACCEPTED


def test_the_service_port_takes_digits_and_nothing_else():
    rig = TypedRig()
    space = MeterRegisters(rig.meter, Meter.CARRIER_LOCAL)
    for content in (b"", b"1", b"1" * 19, b"1" * 21, b"1234567890123456789x", b"\xb2" * 20, bytes(20)):
        assert space.write(*mail(registers.TOKEN_MAILBOX, content)) == modbus.ILLEGAL_VALUE
    address, count, data = mail(registers.TOKEN_MAILBOX, token().encode())
    data = bytearray(data)
    data[5] ^= 1
    assert space.write(address, count, memoryview(data)) == modbus.ILLEGAL_VALUE
    assert rig.meter.typed.count == 0
