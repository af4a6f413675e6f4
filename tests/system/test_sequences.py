"""Sequences in which money is easily lost or doubled, each with the real firmware, books, engine and signer.

In each, at the end: the books sum to zero, every meter is explained to the unit, and what customers paid is on the
meters once (`World.check`). The table in docs/sequences.md names these tests.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, update

from headend.epochs import life, recover
from headend.keys.holder import KeyName
from headend.ledger import accounts, reconcile
from headend.orders import credit, rollout, statements
from headend.refusals import Refused
from headend.store import lock_meter
from headend.store.schema import meter_state
from meterlink import bodies, reasons, results
from meterlink.orders import (
    ASPECT_CREDIT,
    ASPECT_EPOCH,
    ASPECT_LIMITS,
    ASPECT_RECOVER,
    ASPECT_SUPPLY,
    ROLE_CREDIT,
    Order,
    Statement,
    digest,
    seal,
)
from tests.system.world import AGENT, LIMITS, METER, POS, YUAN, World, credit_total


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


def test_a_restored_database_posts_a_payment_again(world: World) -> None:
    world.pay("a", 10 * YUAN)
    world.settle()
    copy = world.backup()
    world.pay("b", 20 * YUAN)
    world.pay("c", 30 * YUAN)
    world.settle()
    assert world.points[METER].account.credited_uc == 60 * YUAN
    world.restore(copy)
    # The channel posts what it has no answer for, before the meter was read back and after.
    waits = world.pay("b", 20 * YUAN)
    assert (waits.order_id, waits.repeated) == (None, False)
    world.settle()
    assert world.points[METER].account.credited_uc == 60 * YUAN
    assert world.balance(accounts.RECOVERED) == -30 * YUAN  # c: on the meter, and nobody has brought the money yet
    world.check()
    again = world.pay("c", 30 * YUAN)
    assert again.order_id is None
    world.pay("d", 5 * YUAN)
    world.settle()
    assert world.balance(accounts.RECOVERED) == 0
    assert world.balance(accounts.of_channel(POS)) == -65 * YUAN
    assert world.points[METER].account.credited_uc == 65 * YUAN
    assert world.points[METER].account.totals(2) == (5 * YUAN, 0)
    assert world.findings() == []
    world.check()


def test_money_that_waited_for_the_read_back_reaches_the_meter_from_the_new_source(world: World) -> None:
    world.pay("a", 10 * YUAN)
    world.settle()
    copy = world.backup()
    world.points[METER].deaf = True
    world.restore(copy)
    world.pay("b", 7 * YUAN)
    world.pay("c", 8 * YUAN)
    world.run(120)
    assert world.points[METER].account.credited_uc == 10 * YUAN  # nothing was stated while nothing was proved
    assert world.customer() == 25 * YUAN - sum(world.entries("consumption"))
    world.check()
    world.points[METER].deaf = False
    world.settle()
    assert [world.points[METER].account.totals(source)[0] for source in (1, 2)] == [10 * YUAN, 15 * YUAN]
    assert world.on_meter() == {"a", "b", "c"}
    world.check()


@pytest.mark.parametrize("when", ["before the read-back", "between read-back and closing", "after the closing"])
def test_an_old_laptop_order_after_a_restore(world: World, when: str) -> None:
    """A field engineer's laptop holds an order of the lost database that nobody else knows of."""
    world.pay("a", 10 * YUAN)
    world.settle()
    copy = world.backup()
    point = world.points[METER]
    point.deaf = True
    world.pay("b", 20 * YUAN)
    world.run(30)
    laptop = [raw for what, raw in point.lost if credit_total(raw) == 30 * YUAN][-1]
    point.lost.clear()
    world.restore(copy)
    if when == "before the read-back":
        point.hear("order", laptop)
    point.deaf = False
    if when == "between read-back and closing":
        world.ask(METER)
        world.until(lambda: "closed" in {row.wants for row in world.orders(METER, ASPECT_CREDIT)})
        point.before = ("order", laptop)
    world.settle()
    if when == "after the closing":
        point.hear("order", laptop)
    counted = when != "after the closing"
    assert point.account.totals(1)[0] == (30 if counted else 10) * YUAN
    # The channel has had no answer, so it posts the payment again: the customer has paid once, and gets it once.
    world.pay("b", 20 * YUAN)
    world.settle()
    assert point.account.credited_uc == 30 * YUAN
    assert world.balance(accounts.of_channel(POS)) == -30 * YUAN
    assert world.balance(accounts.RECOVERED) == 0
    world.check()


def test_what_the_books_sold_and_the_meter_never_got_goes_on_with_the_new_source(world: World) -> None:
    """The copy has a payment whose order was never signed; another copy of it may or may not be under way."""
    world.pay("a", 10 * YUAN)
    world.settle()
    world.points[METER].deaf = True
    world.pay("b", 20 * YUAN)
    copy = world.backup()
    world.restore(copy)
    world.points[METER].deaf = False
    world.settle()
    assert world.points[METER].account.credited_uc == 30 * YUAN
    assert world.on_meter() == {"a", "b"}
    world.check()


def test_a_second_restore_before_the_first_was_settled(world: World) -> None:
    world.pay("a", 10 * YUAN)
    world.settle()
    copy = world.backup()
    world.pay("b", 20 * YUAN)
    world.settle()
    world.points[METER].deaf = True
    world.restore(copy)
    world.pay("c", 5 * YUAN)
    second = world.backup()
    world.points[METER].deaf = False
    world.settle()
    world.pay("d", 6 * YUAN)
    world.settle()
    assert world.points[METER].account.credited_uc == 41 * YUAN
    world.restore(second)  # knows a, and c as one that waits; the meter has folded source 1 and holds source 2
    world.settle()
    for payment_id, yuan in (("b", 20), ("d", 6)):
        world.pay(payment_id, yuan * YUAN, again=True)
    world.settle()
    assert world.points[METER].account.credited_uc == 41 * YUAN
    assert world.balance(accounts.of_channel(POS)) == -41 * YUAN
    assert world.balance(accounts.RECOVERED) == 0
    world.check()


# --- change of tenant -------------------------------------------------------------------------------------------------


def test_a_change_of_tenant_settles_the_old_account_to_the_unit(world: World) -> None:
    world.pay("a", 50 * YUAN)
    world.run(600)
    world.write(life.open_epoch, METER, life.TENANT, "operator:ann")
    former = accounts.former_of(METER, 1)
    provisional_uc = world.balance(former)
    world.run(200)
    world.settle()
    point, closed = world.points[METER], world.closing(METER, 1)
    assert (point.unit.meter.account_epoch, point.account.balance_uc()) == (2, -point.account.charged_uc)
    assert closed.provisional == 0 and closed.balance_uc == 50 * YUAN - closed.charged_uc
    assert world.balance(former) == closed.balance_uc != provisional_uc  # what it used until the end, to the unit
    assert world.balance(accounts.of_meter(METER, 1)) == 0
    world.pay("b", 30 * YUAN)
    world.settle()
    assert point.account.credited_uc == 30 * YUAN
    assert world.on_meter() == {"a", "b"}
    world.check()


def test_the_old_tenants_late_order_and_late_payment_do_nothing_for_the_new_one(world: World) -> None:
    point = world.points[METER]
    point.deaf = True
    world.pay("a", 50 * YUAN)
    world.run(60)
    late = next(one for one in point.lost if credit_total(one[1]) == 50 * YUAN)
    world.write(life.open_epoch, METER, life.TENANT, "operator:ann")
    point.deaf = False
    world.settle()
    point.hear(*late)
    assert point.account.credited_uc == 0
    world.settle()
    former = accounts.former_of(METER, 1)
    assert world.balance(former) == 50 * YUAN - world.closing(METER, 1).charged_uc
    assert {row.state for row in world.orders(METER, ASPECT_CREDIT)} <= {"settled", "superseded", "refused"}
    before_uc = world.balance(former)
    world.pay("b", 3 * YUAN, account_epoch=1)  # with the old tenant's bill in hand
    assert world.balance(former) == before_uc + 3 * YUAN
    with pytest.raises(Refused, match="account_epoch: 3 given, 2, the account in force"):
        world.pay("c", 3 * YUAN, account_epoch=3)
    world.settle()
    assert point.account.credited_uc == 0
    world.check()


def test_money_paid_before_the_meter_knows_its_new_account_waits_for_it(world: World) -> None:
    point = world.points[METER]
    point.deaf = True
    world.write(life.open_epoch, METER, life.TENANT, "operator:ann")
    world.pay("b", 30 * YUAN)
    world.run(600)
    assert all(Order(raw).stated.aspect == ASPECT_EPOCH for what, raw in point.lost if what == "order")
    point.deaf = False
    world.until(lambda: point.account.credited_uc == 30 * YUAN)
    world.settle()
    world.check()


# --- exchange and repair ----------------------------------------------------------------------------------------------


def test_an_exchange_moves_the_account_and_a_late_closing_statement_corrects_it(world: World) -> None:
    world.pay("a", 50 * YUAN)
    world.settle()
    world.points[METER].deaf = world.points[METER].dumb = True
    world.run(3600)  # it goes on charging, and nobody hears of it
    new = world.add(18)
    world.write(life.exchange, METER, 18, "operator:ann")
    world.settle(18)
    moved_uc = new.account.credited_uc
    assert 0 < moved_uc < 50 * YUAN
    assert world.closing(METER, 1).provisional == 1
    with pytest.raises(Refused, match="a meter in service"):
        world.pay("b", 1 * YUAN)
    with pytest.raises(Refused, match="meter 18, account epoch 1"):
        world.pay("b", 1 * YUAN, account_epoch=1)
    world.points[METER].deaf = world.points[METER].dumb = False
    world.until(lambda: not world.closing(METER, 1).provisional)  # the order that retires it comes again in its time
    world.settle()
    old = world.points[METER].account
    closed = world.closing(METER, 1)
    assert closed.provisional == 0 and closed.charged_uc == old.charged_uc > 1_000_000
    world.until(lambda: new.account.credited_uc - new.account.adjusted_uc == 50 * YUAN - old.charged_uc, 60)
    world.settle()
    assert world.balance(accounts.of_meter(METER, 1)) == 0
    assert world.customer(18) == 50 * YUAN - old.charged_uc - sum(world.entries("consumption", 18))
    world.check()


def test_a_repaired_meter_is_refitted_at_another_place(world: World) -> None:
    """The old meter comes back from the workshop to another customer, with its old orders still about."""
    world.pay("a", 50 * YUAN)
    world.run(300)
    world.settle()
    old = world.points[METER]
    kept = [raw for raw in old.orders if credit_total(raw) >= 0]
    world.add(18)
    world.write(life.exchange, METER, 18, "operator:ann")
    world.settle()
    assert old.unit.meter.supply.retired and world.points[18].account.credited_uc > 0
    before_uc = old.account.charged_uc
    world.run(600)
    assert old.account.charged_uc == before_uc
    world.write(life.open_epoch, METER, life.COMMISSIONED, "operator:ann")
    world.settle()
    assert (old.unit.meter.account_epoch, old.account.credited_uc) == (2, 0)
    for raw in kept:
        old.hear("order", raw)
    assert old.account.credited_uc == 0
    world.pay("b", 5 * YUAN)
    world.settle()
    assert old.account.credited_uc == 5 * YUAN
    paid_uc, used_uc = 55 * YUAN, sum(world.entries("consumption"))
    assert world.customer(METER) + world.customer(18) == paid_uc - used_uc
    world.check()


def test_a_repair_on_the_same_meter_keeps_what_the_customer_has(world: World) -> None:
    world.pay("a", 50 * YUAN)
    world.run(300)
    world.write(life.open_epoch, METER, life.REPAIRED, "operator:ann")
    world.run(100)
    world.settle()
    assert world.customer() == 50 * YUAN - sum(world.entries("consumption"))
    account = world.points[METER].account
    assert account.credited_uc - account.adjusted_uc == 50 * YUAN - world.closing(METER, 1).charged_uc
    world.check()


# --- lost history -----------------------------------------------------------------------------------------------------


def erase(world: World, number: int = METER) -> None:
    """Somebody erases the meter's flash; it comes back as from the factory, and is provisioned again."""
    point = world.points[number]
    flash = point.board.flash
    for sector in range(flash.ioctl(4, 0)):
        flash.ioctl(6, sector)
    point.boot(world.provision(number))
    world.up(point, "state", point.exchange.birth())


def test_the_flash_is_erased_and_the_last_order_replayed(world: World) -> None:
    world.pay("a", 50 * YUAN)
    world.run(300)
    world.settle()
    point = world.points[METER]
    kept = [raw for raw in point.orders if credit_total(raw) >= 0]
    charged_uc = sum(world.entries("consumption"))
    assert charged_uc > 0
    erase(world)
    assert point.unit.meter.history_lost
    for raw in kept:
        point.hear("order", raw)
    assert point.account.credited_uc == 0
    world.settle()
    assert "history_lost" in world.findings()
    world.pay("b", 7 * YUAN)  # money is taken all the same
    world.settle()
    assert point.account.credited_uc == 0
    world.write(recover.recover, METER, "operator:ann")
    world.until(lambda: point.account.credited_uc == 57 * YUAN)
    world.settle()
    assert not point.unit.meter.history_lost
    assert point.account.charged_uc >= charged_uc
    assert "history_lost" not in world.findings()
    assert {row.state for row in world.orders(METER, ASPECT_RECOVER)} == {"confirmed"}
    for raw in kept:
        point.hear("order", raw)
    assert point.account.credited_uc == 57 * YUAN
    assert point.unit.meter.supply.limits.alarm_uc == 3 * YUAN
    world.check()


def test_a_recover_order_is_good_once(world: World) -> None:
    world.pay("a", 50 * YUAN)
    world.settle()
    with pytest.raises(Refused, match="a meter whose newest report says that its history is lost"):
        world.write(recover.recover, METER, "operator:ann")
    erase(world)
    world.settle()
    world.write(recover.recover, METER, "operator:ann")
    point = world.points[METER]
    world.until(lambda: not point.unit.meter.history_lost)
    world.settle()
    (stated,) = [row.signed for row in world.orders(METER, ASPECT_RECOVER)]
    world.run(600)
    world.settle()
    charged_uc = sum(world.entries("consumption"))
    erase(world)
    point.hear("order", stated)
    assert point.unit.meter.history_lost  # it answers a nonce of another day
    world.settle()
    world.write(recover.recover, METER, "operator:ann")
    world.until(lambda: not point.unit.meter.history_lost)
    assert point.account.charged_uc >= charged_uc
    world.settle()
    world.check()


# --- the plain days ---------------------------------------------------------------------------------------------------


def test_two_vendors_at_once(world: World) -> None:
    """Their orders overtake each other on the way: the meter keeps the higher total, whatever comes last."""
    point = world.points[METER]
    point.deaf = True
    world.pay("a", 10 * YUAN, channel=POS)
    world.run(2)
    world.pay("a", 20 * YUAN, channel=AGENT)  # the same id, of another channel
    world.run(2)
    world.pay("b", 30 * YUAN, channel=POS)
    world.run(120)
    arrived = [raw for what, raw in point.lost if credit_total(raw) > 0]
    assert {credit_total(raw) for raw in arrived} == {10 * YUAN, 30 * YUAN, 60 * YUAN}
    point.deaf = False
    for raw in sorted(arrived, key=credit_total, reverse=True):
        point.hear("order", raw)
    assert point.account.credited_uc == 60 * YUAN
    world.settle()
    assert (world.balance(accounts.of_channel(POS)), world.balance(accounts.of_channel(AGENT))) == (
        -40 * YUAN,
        -20 * YUAN,
    )
    world.check()


def test_a_refund_that_overtakes_its_credit(world: World) -> None:
    world.pay("a", 10 * YUAN)
    world.settle()
    point = world.points[METER]
    point.deaf = True
    world.pay("b", 20 * YUAN)
    world.run(10)
    world.write(give_back, METER, 25 * YUAN)
    world.run(60)
    orders = [raw for what, raw in point.lost if credit_total(raw) > 0]
    point.deaf = False
    for raw in reversed(orders):
        point.hear("order", raw)
    world.settle()
    assert (point.account.credited_uc, point.account.refunded_uc) == (30 * YUAN, 25 * YUAN)
    world.check()


def give_back(conn: Connection, now_s: int, number: int, amount_uc: int) -> None:
    """State that so much of what was sold is given back."""
    mine = meter_state.c.meter == number
    conn.execute(update(meter_state).where(mine).values(refunded_uc=meter_state.c.refunded_uc + amount_uc))
    row = lock_meter(conn, number)
    credit.credit_statement(conn, now_s, row, row.sold_uc, "operator:ann")


def test_a_report_that_was_withheld_and_is_played_later_confirms_nothing(world: World) -> None:
    point = world.points[METER]
    stop = world.write(statements.stop, METER, reasons.HOLD_LEGAL, "operator:ann", delay_s=0)
    point.dumb = True
    world.until(lambda: not point.board.closed)
    world.run(30)  # its receipt and the answers to our questions are kept on the way
    assert world.state(stop) in ("sent", "unknown")
    withheld = list(point.unheard)
    point.unheard.clear()
    world.write(statements.release, METER, reasons.HOLD_LEGAL, "operator:ann", close=bodies.CLOSE_DIRECT)
    world.run(600)
    point.unheard.clear()
    for what, raw in withheld:
        world.up(point, what, raw)
    assert world.state(stop) != "confirmed"
    point.dumb = False
    world.settle()
    assert world.state(stop) != "confirmed"


def test_a_late_genuine_receipt_is_late_or_a_duplicate_and_never_forged(world: World) -> None:
    point = world.points[METER]
    world.pay("a", 10 * YUAN)
    point.dumb = True
    world.until(lambda: point.account.credited_uc == 10 * YUAN)
    world.run(5)
    receipt = next(one for one in point.unheard if one[0] == "receipt")
    point.dumb = False
    world.settle()
    before = world.read(reconcile.explain, METER)
    states = {row.id: row.state for row in world.orders(METER, ASPECT_CREDIT)}
    for _ in range(3):
        world.up(point, *receipt)
    counts = world.engine.counts
    assert counts["forged"] == counts["malformed"] == 0
    assert counts["receipt_unknown"] + counts["duplicate"] + counts["late"] + counts["receipt"] >= 3
    assert world.read(reconcile.explain, METER) == before
    assert {row.id: row.state for row in world.orders(METER, ASPECT_CREDIT)} == states


def test_a_statement_that_was_issued_is_revoked_by_a_higher_one(world: World) -> None:
    point = world.points[METER]
    world.pay("a", 10 * YUAN)
    world.settle()
    point.deaf = True
    stop = world.write(statements.stop, METER, reasons.HOLD_LEGAL, "operator:ann")
    world.run(20)
    (issued,) = {raw for what, raw in point.lost if what == "order"}
    world.write(statements.release, METER, reasons.HOLD_LEGAL, "operator:ann", close=bodies.CLOSE_DIRECT)
    point.deaf = False
    world.settle()
    point.hear("order", issued)
    world.run(300)
    assert point.board.closed
    assert point.unit.meter.inbox.last(ASPECT_SUPPLY, reasons.HOLD_LEGAL) == results.OLD_VERSION
    assert world.state(stop) == "superseded"


# --- keys -------------------------------------------------------------------------------------------------------------


def roll(world: World, *, drop_old: bool = False) -> None:
    """Bring the newest signing keys to every meter, with those before them or alone, and wait until they are there."""
    goal = rollout.goal_of(world.keys, drop_old=drop_old)
    for number in world.points:
        world.write(rollout.roll, number, rollout.SIGNING, goal, world.keys, "operator:ann")
    world.until(
        lambda: {world.read(rollout.stands, number, rollout.SIGNING, goal) for number in world.points} == {"done"}
    )


def test_orders_that_are_issued_and_unused_stay_good_while_keys_overlap(world: World) -> None:
    point = world.points[METER]
    point.deaf = True
    world.pay("a", 10 * YUAN)
    world.run(10)
    issued = next(raw for what, raw in point.lost if credit_total(raw) == 10 * YUAN)
    point.deaf = False
    point.before = None
    world.keys.make_signing_key(ROLE_CREDIT)
    roll(world)
    point.hear("order", issued)
    assert point.account.credited_uc == 10 * YUAN
    world.pay("b", 20 * YUAN)
    world.settle()
    (newest,) = [row.signed for row in world.orders(METER, ASPECT_CREDIT) if row.total_uc == 30 * YUAN]
    assert Order(newest).stated.key_version == 2
    assert point.account.credited_uc == 30 * YUAN
    world.check()


def test_the_credit_key_is_stolen(world: World) -> None:
    """The drill: rotate, drop the old key, state anew what waits. The thief's orders are refused, customers lose
    nothing."""
    world.pay("a", 10 * YUAN)
    world.settle()
    point = world.points[METER]
    forged = thiefs_order(world, 1_000 * YUAN)
    point.deaf_to = {ASPECT_CREDIT}
    world.pay("b", 20 * YUAN)
    world.run(10)
    world.keys.make_signing_key(ROLE_CREDIT)
    roll(world)
    world.keys.retire(KeyName(ROLE_CREDIT, 1))
    roll(world, drop_old=True)
    point.hear("order", forged)
    assert point.unit.meter.inbox.last(ASPECT_CREDIT, 1) == results.UNKNOWN_KEY
    assert point.account.credited_uc == 10 * YUAN
    point.deaf_to = set()
    world.until(lambda: point.account.credited_uc == 30 * YUAN)
    world.settle()
    assert world.on_meter() == {"a", "b"}
    assert Order(point.orders[-1]).stated.key_version == 2
    world.check()


def thiefs_order(world: World, total_uc: int) -> bytes:
    """A credit order that somebody makes who has the credit key and the meter's key."""
    body = bodies.encode_credit(total_uc, 0, [])
    statement = Statement(ASPECT_CREDIT, METER, 1, ROLE_CREDIT, 1, 1, 1, 1, 0, world.clock.now_s(), 0, body).encode()
    signature = world.keys.sign(KeyName(ROLE_CREDIT, 1), digest(statement))
    return seal(statement, signature, world.keys.mac_key(METER, 1))


# --- what a person is told --------------------------------------------------------------------------------------------


def test_credit_that_the_signers_log_does_not_know_is_told(world: World) -> None:
    """Somebody with the key, and not this signer, has credited the meter; a restore is when it is seen."""
    world.pay("a", 10 * YUAN)
    world.settle()
    copy = world.backup()
    world.points[METER].hear("order", thiefs_order(world, 40 * YUAN))
    world.restore(copy)
    world.settle()
    assert set(world.findings()) == {"unlogged_credit", "unlisted_sales"}
    assert world.balance(accounts.RECOVERED) == -30 * YUAN  # it is on the meter, and nobody has brought the money
    world.check()


def test_a_meter_that_is_ahead_of_the_books_is_told_and_not_credited(world: World) -> None:
    """The lost database had opened an account that the copy does not know."""
    copy = world.backup()
    world.write(life.open_epoch, METER, life.TENANT, "operator:ann")
    world.settle()
    world.restore(copy)
    world.pay("a", 10 * YUAN)
    world.settle()
    assert world.findings() == ["account_ahead"]
    assert world.points[METER].account.credited_uc == 0
    assert world.balance(accounts.of_meter(METER, 1)) == 10 * YUAN


def test_versions_are_not_read_back_because_the_signing_epoch_outranks_them(world: World) -> None:
    for _ in range(3):
        world.write(statements.set_limits, METER, LIMITS, "operator:ann")
        world.settle()
    copy = world.backup()
    for _ in range(3):
        world.write(statements.set_limits, METER, LIMITS, "operator:ann")
        world.settle()
    world.restore(copy)
    order_id = world.write(statements.set_limits, METER, LIMITS, "operator:ann")
    world.settle()
    row = next(row for row in world.orders(METER, ASPECT_LIMITS) if row.id == order_id)
    assert (row.signing_epoch, row.version, row.state) == (2, 1, "confirmed")
