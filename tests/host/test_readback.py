"""Reading a meter back after a restore: what is believed, and what is only named. (With real meters: tests/system.)"""

from collections.abc import Iterator

import pytest
from sqlalchemy import select

from headend.engine import Engine
from headend.epochs import adopt, findings
from headend.ledger import accounts, balances, payments, recovered
from headend.orders import statements
from headend.orders.actions import Action, Ask, Deliver
from headend.store.schema import meter_trust, order
from meterlink import batches, bodies, results, topics
from meterlink.orders import ASPECT_CREDIT, ROLE_CREDIT, Order, Statement, digest, seal
from tests.host.books import CHANNEL, METER, NOW_S, SOURCE
from tests.host.money_rig import bill
from tests.host.peer import Bench


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.close()


def credit(bench: Bench, total_uc: int, sales: list[tuple[int, int]], *, stranger: bool = False) -> bytes:
    """An order of the lost database, which this one does not have."""
    body = bodies.encode_credit(total_uc, 0, sales)
    statement = Statement(ASPECT_CREDIT, METER, 1, ROLE_CREDIT, 1, 1, SOURCE, 1, 0, NOW_S, 0, body).encode()
    keys = type(bench.keys).generate(bench.noise) if stranger else bench.keys
    signature = keys.sign(keys.newest(ROLE_CREDIT), digest(statement))
    return seal(statement, signature, bench.keys.mac_key(METER, 1))


def restore(bench: Bench) -> None:
    bench.keys.open_epoch()
    numbers = bench.keys.signing_epoch, bench.keys.source, bench.keys.closed_sources
    bench.write(adopt.adopt, *numbers, "restored")


def kinds(actions: list[Action]) -> list[int]:
    return [batches.read_ask(one.raw)[0] for one in actions if isinstance(one, Ask)]


def look(bench: Bench) -> list[Action]:
    """The engine asks about the source, and the meter answers."""
    return bench.answers(bench.ask(ASPECT_CREDIT))


def readback_source(bench: Bench) -> int | None:
    query = select(meter_trust.c.readback_source)
    return bench.store.read(lambda conn: conn.execute(query).scalar_one())


def closing(bench: Bench) -> Deliver:
    """The delivery of the order that closes the source."""
    action: Deliver = bench.until(lambda one: isinstance(one, Deliver) and one.raw[1] == ASPECT_CREDIT)
    bench.sent(action)
    return action


def hold(bench: Bench, raw: bytes) -> None:
    held = bench.peer.hold(raw)
    bench.peer.totals[SOURCE] = bodies.decode_credit(held.stated.body)[0]


def test_the_order_is_asked_for_and_its_sales_are_booked(bench: Bench) -> None:
    raw = credit(bench, 70_000, [(20_000, 20_000), (50_000, 30_000), (70_000, 20_000)])
    hold(bench, raw)
    restore(bench)
    assert batches.KIND_ORDER in kinds(look(bench))
    bench.up(topics.UP_ORDER, raw)
    assert bench.counts["read_back"] == 1
    sales = bench.store.read(recovered.of_meter, METER, 1)
    assert [(row.total_uc, row.amount_uc, row.listed) for row in sales] == [
        (20_000, 20_000, 1),
        (50_000, 30_000, 1),
        (70_000, 20_000, 1),
    ]
    assert bench.store.read(balances.balance_uc, accounts.RECOVERED) == -70_000
    stated = Order(closing(bench).raw).stated
    assert (bodies.decode_credit(stated.body)[0], bodies.credit_extras(stated.body)[0]) == (70_000, True)
    bench.up(topics.UP_ORDER, raw)
    assert bench.counts["not_asked"] == 1


def test_until_the_receipt_nothing_is_stated_by_the_new_source(bench: Bench) -> None:
    hold(bench, credit(bench, 20_000, [(20_000, 20_000)]))
    restore(bench)
    bench.write(payments.take, CHANNEL, "new", METER, 5_000)
    look(bench)
    bench.up(topics.UP_ORDER, bench.peer.held[ASPECT_CREDIT, SOURCE].raw)
    order_of = closing(bench)
    assert (Order(order_of.raw).stated.selector, readback_source(bench)) == (SOURCE, SOURCE)
    del bench.peer.held[ASPECT_CREDIT, SOURCE]  # folded
    bench.answers(bench.ask(ASPECT_CREDIT))
    assert readback_source(bench) == SOURCE, "a report alone does not tell that the source is folded"
    receipt = {"source_credited_uc": 20_000}
    actions = bench.up(topics.UP_RECEIPT, bench.peer.receipt(order_of.raw, results.APPLIED, **receipt))
    assert readback_source(bench) is None
    fresh = next((one for one in actions if isinstance(one, Deliver)), None) or closing(bench)
    stated = Order(fresh.raw).stated
    assert (stated.selector, bodies.decode_credit(stated.body)) == (SOURCE + 1, (5_000, 0, [(5_000, 5_000)]))


def test_what_pays_a_bill_is_not_stated_to_the_meter_that_is_read_back(bench: Bench) -> None:
    hold(bench, credit(bench, 20_000, [(20_000, 20_000)]))
    restore(bench)
    bill(bench.store, "b", 3_000, due_days=5, at_s=bench.clock.now_s())
    bench.write(payments.take, CHANNEL, "lost", METER, 23_000, again=True)
    bench.write(payments.take, CHANNEL, "new", METER, 5_000)
    look(bench)
    bench.up(topics.UP_ORDER, bench.peer.held[ASPECT_CREDIT, SOURCE].raw)
    order_of = closing(bench)
    actions = bench.up(topics.UP_RECEIPT, bench.peer.receipt(order_of.raw, results.APPLIED, source_credited_uc=20_000))
    assert readback_source(bench) is None
    lost = bench.store.read(payments.get, CHANNEL, "lost")
    assert (lost.allocated_uc, lost.total_uc, lost.on_meter_s is not None) == (3_000, 20_000, True), "it was that sale"
    fresh = next((one for one in actions if isinstance(one, Deliver)), None) or closing(bench)
    assert bodies.decode_credit(Order(fresh.raw).stated.body) == (5_000, 0, [(5_000, 5_000)])


def test_a_meter_that_refuses_to_close_its_source_is_told_of_and_asked_again(bench: Bench) -> None:
    restore(bench)
    look(bench)
    first = closing(bench)
    bench.up(topics.UP_RECEIPT, bench.peer.receipt(first.raw, results.SOURCES_FULL))
    look(bench)
    assert [row.kind for row in bench.store.read(findings.standing)] == ["source_not_closed"]
    again = closing(bench)
    assert again.order_id != first.order_id
    bench.up(topics.UP_RECEIPT, bench.peer.receipt(again.raw))
    assert bench.store.read(findings.standing) == [] and readback_source(bench) is None


def test_a_signature_that_is_not_ours_settles_nothing_and_is_told(bench: Bench) -> None:
    raw = credit(bench, 70_000, [], stranger=True)
    hold(bench, raw)
    restore(bench)
    look(bench)
    bench.up(topics.UP_ORDER, raw)
    assert bench.counts["foreign_order"] == 1
    (row,) = bench.store.read(findings.standing)
    assert (row.kind, row.amount_uc) == ("foreign_credit", 70_000)
    assert readback_source(bench) == SOURCE
    assert bench.store.read(recovered.of_meter, METER, 1) == []


def test_an_older_order_than_the_meter_proves_to_hold_is_not_taken(bench: Bench) -> None:
    """Somebody on the way answers with an order of before: what was sold after it would count twice."""
    old = credit(bench, 20_000, [(20_000, 20_000)])
    hold(bench, credit(bench, 70_000, [(20_000, 20_000), (70_000, 50_000)]))
    restore(bench)
    look(bench)
    bench.up(topics.UP_ORDER, old)
    assert (bench.counts["not_asked"], bench.store.read(recovered.of_meter, METER, 1)) == (1, [])
    assert batches.KIND_ORDER in kinds(look(bench)), "it is asked for again"


@pytest.mark.parametrize(
    ("raw", "outcome"), [(b"", "nothing_held"), (b"\1\2\3", "malformed"), (bytes(240), "malformed")]
)
def test_what_is_no_order_is_named_and_changes_nothing(bench: Bench, raw: bytes, outcome: str) -> None:
    restore(bench)
    assert bench.up(topics.UP_ORDER, raw) == []
    assert bench.counts[outcome] == 1 and readback_source(bench) == SOURCE


def test_an_order_of_another_meter_or_without_a_signer_is_not_judged(bench: Bench) -> None:
    raw = credit(bench, 70_000, [])
    bench.up(topics.UP_ORDER, raw, meter=18)
    assert bench.counts["wrong_meter"] == 1
    alone = Engine(bench.store, bench.keys, bench.clock, bench.noise)
    alone.up(METER, topics.UP_ORDER, raw, "mqtt")
    assert alone.counts["no_signer"] == 1


def test_a_meter_that_holds_nothing_is_settled_by_its_report(bench: Bench) -> None:
    restore(bench)
    look(bench)
    stated = Order(closing(bench).raw).stated
    assert (stated.selector, bodies.decode_credit(stated.body)[0]) == (SOURCE, 0)
    assert bodies.credit_extras(stated.body) == (True, [])


def test_statements_that_were_never_signed_go_on_under_the_new_epoch(bench: Bench) -> None:
    stop = bench.write(statements.stop, METER, 6, "operator:ann")
    bench.write(payments.take, CHANNEL, "a", METER, 5_000)
    restore(bench)
    rows = bench.store.read(lambda conn: conn.execute(select(order).order_by(order.c.id)).all())
    (kept,) = [row for row in rows if row.id == stop]
    assert (kept.state, kept.signing_epoch, kept.version) == ("queued", 2, 1)
    assert {row.state for row in rows if row.aspect == ASPECT_CREDIT} == {"superseded"}


def test_while_money_waits_the_meter_is_asked_again_soon(bench: Bench) -> None:
    restore(bench)
    bench.write(payments.take, CHANNEL, "new", METER, 5_000)
    bench.ask(ASPECT_CREDIT)
    asked_s = bench.clock.now_s()
    bench.ask(ASPECT_CREDIT)
    assert bench.clock.now_s() - asked_s <= 90
