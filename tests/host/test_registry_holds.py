"""Holds with their evidence; a hold for safety and what protects a supply point stay through accounts and meters."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import select

from headend.epochs import life
from headend.fleet.meters import add_meter
from headend.keys.keystore import KeyStore
from headend.ledger import payments
from headend.orders import lifecycle, statements
from headend.refusals import Refused
from headend.registry import bars, exclusions, holds
from headend.registry.evidence import Evidence
from headend.store import Store
from headend.store.schema import meter_state, order
from meterlink import bodies, reasons
from meterlink.orders import ASPECT_SUPPLY
from tests.host.books import CHANNEL, METER, NOW_S, open_books, record, report
from tests.host.peer import Noise

OFFICER = "user:safety"
TICKET = Evidence("ticket 12: burnt terminal")
REMOVED = Evidence("ticket 13: terminal replaced", bytes(32))
NEW = 18


@pytest.fixture
def store() -> Iterator[Store]:
    with open_books(meters=(METER, NEW)) as opened:
        yield opened


def set_safety(store: Store, *events: str) -> int:
    made = store.write(holds.set_safety, NOW_S, METER, TICKET, OFFICER).result()
    for event in events:
        store.write(lifecycle.move, NOW_S, made, event).result()
    return made


def supply(store: Store, number: int = METER) -> list[tuple[int, int, str]]:
    """(reason, account epoch, state) of holds that were ordered, newest last."""

    def read(conn: Any) -> list[tuple[int, int, str]]:
        mine = select(order).where(order.c.meter == number, order.c.aspect == ASPECT_SUPPLY).order_by(order.c.id)
        return [
            (row.selector, row.account_epoch, row.state)
            for row in conn.execute(mine)
            if bodies.decode_supply(row.body)[0] == bodies.HOLD
        ]

    return store.read(read)


def test_a_hold_is_listed_with_its_evidence_until_it_is_released(store: Store) -> None:
    made = set_safety(store)
    (hold,) = store.read(holds.standing, METER)
    assert (hold.reason, hold.order.id, hold.on_meter, hold.proved) == (reasons.HOLD_SAFETY, made, None, False)
    assert [row.reference for row in hold.evidence] == [TICKET.reference]
    store.write(lifecycle.move, NOW_S, made, "send").result()
    store.write(lifecycle.move, NOW_S, made, "confirm").result()
    assert store.read(holds.standing, METER)[0].proved
    options = {"close": bodies.CLOSE_PERMIT}
    done = store.write(lambda conn: holds.release_safety(conn, NOW_S, METER, REMOVED, OFFICER, **options)).result()
    assert store.read(holds.standing, METER) == []
    proofs = store.read(holds.evidence_of, [made, done])
    assert [proofs[one][0].reference for one in (made, done)] == [TICKET.reference, REMOVED.reference]
    assert [row.id for row in store.read(holds.history, METER, 2**53, 10)] == [done, made]


def test_a_hold_that_only_the_meter_knows_is_listed(store: Store) -> None:
    shown = report(KeyStore.generate(Noise()), METER, holds=1 << reasons.HOLD_TAMPER)
    store.write(lambda conn: conn.execute(meter_state.update().values(report=shown.raw))).result()
    (hold,) = store.read(holds.standing, METER)
    assert (hold.reason, hold.order, hold.on_meter) == (reasons.HOLD_TAMPER, None, True)


def test_only_what_stands_is_released(store: Store) -> None:
    with pytest.raises(Refused, match="hold for safety"):
        store.write(lambda c: holds.release_safety(c, NOW_S, METER, REMOVED, OFFICER, close=0)).result()


def test_evidence_is_wanted(store: Store) -> None:
    with pytest.raises(Refused, match="reference"):
        store.write(holds.set_safety, NOW_S, METER, Evidence(""), OFFICER).result()
    assert supply(store) == []


@pytest.mark.parametrize(
    ("events", "after"),
    [
        ((), [(7, 2, "queued")]),  # goes on for the new account
        (("send",), [(7, 1, "sent"), (7, 2, "queued")]),  # what is on its way for the old one would be refused
        (("send", "lose"), [(7, 1, "unknown"), (7, 2, "queued")]),
        (("send", "confirm"), [(7, 1, "confirmed")]),  # the meter keeps it by itself
    ],
)
def test_a_hold_for_safety_outlives_the_account(store: Store, events: tuple[str, ...], after: list[Any]) -> None:
    set_safety(store, *events)
    store.write(life.open_epoch, NOW_S + 1, METER, life.TENANT, OFFICER).result()
    assert supply(store) == after


@pytest.mark.parametrize("events", [(), ("send",), ("send", "confirm")])
def test_a_hold_for_safety_goes_to_the_meter_that_takes_the_place(store: Store, events: tuple[str, ...]) -> None:
    set_safety(store, *events)
    store.write(life.exchange, NOW_S + 1, METER, NEW, OFFICER).result()
    assert supply(store, NEW) == [(7, 1, "queued")]
    (hold,) = store.read(holds.standing, NEW)
    assert [row.reference for row in hold.evidence] == [TICKET.reference]


def test_a_release_is_not_undone_by_another_account(store: Store) -> None:
    set_safety(store, "send")
    store.write(lambda c: holds.release_safety(c, NOW_S, METER, REMOVED, OFFICER, close=0)).result()
    store.write(life.open_epoch, NOW_S + 1, METER, life.TENANT, OFFICER).result()
    assert [state for _, _, state in supply(store)] == ["sent"]


def test_a_payment_and_other_releases_leave_it(store: Store) -> None:
    made = set_safety(store)
    store.write(payments.take, NOW_S, CHANNEL, "p1", METER, 1_000).result()
    for reason in range(reasons.HOLD_ARREARS, reasons.HOLD_SAFETY):
        store.write(statements.release, NOW_S, METER, reason, OFFICER).result()
    store.write(exclusions.put, NOW_S, METER, "life_support", OFFICER, TICKET).result()
    assert [hold.order.id for hold in store.read(holds.standing, METER) if hold.reason == reasons.HOLD_SAFETY] == [made]


def test_protection_outlives_the_account(store: Store) -> None:
    store.write(exclusions.put, NOW_S, METER, "protection", OFFICER, TICKET).result()
    store.write(exclusions.put, NOW_S, METER, "vip", OFFICER, TICKET).result()
    store.write(life.open_epoch, NOW_S + 1, METER, life.TENANT, OFFICER).result()
    assert supply(store)[-1] == (reasons.HOLD_PROTECTION, 2, "queued")
    rules = [bar.rule for bar in store.read(bars, NOW_S + 1, METER, reasons.HOLD_ARREARS)]
    assert rules == ["exclusion.protection"]  # the former tenant's is over


@pytest.mark.parametrize(("cause", "kept"), [(life.TENANT, False), (life.REPAIRED, True), (life.IMPORTED, True)])
def test_what_is_of_an_account_goes_with_its_customer(store: Store, cause: str, kept: bool) -> None:
    store.write(exclusions.put, NOW_S, METER, "direct_debit", OFFICER, TICKET).result()
    store.write(life.open_epoch, NOW_S + 1, METER, cause, OFFICER).result()
    assert bool(store.read(bars, NOW_S + 1, METER, reasons.HOLD_ARREARS)) == kept


def test_exclusions_go_to_the_meter_that_takes_the_place(store: Store) -> None:
    for kind in ("protection", "direct_debit", "many_households"):
        store.write(exclusions.put, NOW_S, METER, kind, OFFICER, TICKET).result()
    store.write(add_meter, NOW_S, record(NEW + 1)).result()
    store.write(life.exchange, NOW_S + 1, METER, NEW, OFFICER).result()
    found = store.read(bars, NOW_S + 1, NEW, reasons.HOLD_ARREARS)
    assert [bar.rule for bar in found] == [
        "exclusion.protection",
        "exclusion.direct_debit",
        "evidence.authority",
        "evidence.site_notice",
    ]
    assert supply(store, NEW) == [(reasons.HOLD_PROTECTION, 1, "queued")]
    assert store.read(bars, NOW_S + 1, METER, reasons.HOLD_ARREARS) == []
    store.write(life.open_epoch, NOW_S + 2, NEW + 1, life.COMMISSIONED, OFFICER).result()
    store.write(life.exchange, NOW_S + 3, NEW, NEW + 1, OFFICER).result()
    rules = [bar.rule for bar in store.read(bars, NOW_S + 3, NEW + 1, reasons.HOLD_ARREARS)]
    assert "exclusion.direct_debit" in rules
