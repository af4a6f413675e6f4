"""Taking payments: one commit, idempotent, and a refusal changes nothing."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import select, update

from headend.ledger import accounts, balances, payments
from headend.orders import statements
from headend.refusals import Refused
from headend.store import Store, UnknownMeter
from headend.store.schema import entry, meter_state, order, outbox
from meterlink import bodies, reasons
from tests.host.books import CHANNEL, LIMIT_UC, METER, NOW_S, SOURCE, dump, open_books


@pytest.fixture
def store(any_store_url: str) -> Iterator[Store]:
    with open_books(any_store_url, (METER, 18), inline=True) as opened:
        yield opened


def take(
    store: Store, payment_id: str = "p1", meter: int = METER, amount_uc: int = 5_000_000, at_s: int = NOW_S
) -> Any:
    return store.write(payments.take, at_s, CHANNEL, payment_id, meter, amount_uc).result()


def test_a_payment_is_money_entry_statement_and_outbox_row(store: Store) -> None:
    answer = take(store)
    assert answer == payments.PaymentAnswer(CHANNEL, "p1", METER, 5_000_000, 5_000_000, answer.order_id, NOW_S, False)
    (booked,) = store.read(lambda conn: conn.execute(select(entry)).all())
    assert (booked.kind, booked.debit, booked.credit) == ("payment", "channel:pos-1", "meter:000000000017")
    assert (booked.amount_uc, booked.cause) == (5_000_000, "payment:pos-1:p1")
    (stated,) = store.read(lambda conn: conn.execute(select(order)).all())
    assert (stated.id, stated.state, stated.signed, stated.selector) == (answer.order_id, "queued", None, SOURCE)
    assert bodies.decode_credit(stated.body) == (5_000_000, 0, [(5_000_000, 5_000_000)])
    assert store.read(lambda conn: conn.execute(select(outbox.c.order_id)).scalars().all()) == [answer.order_id]
    assert store.read(balances.balance_uc, accounts.of_meter(METER, 1)) == 5_000_000
    assert store.read(balances.balance_uc, accounts.of_channel(CHANNEL)) == -5_000_000


def test_totals_grow_and_the_unsent_statement_gives_way(store: Store) -> None:
    answers = [take(store, f"p{n}", amount_uc=1_000 + n) for n in range(6)]
    assert [answer.total_uc for answer in answers] == [1_000, 2_001, 3_003, 4_006, 5_010, 6_015]
    (stated,) = store.read(lambda conn: conn.execute(select(order).where(order.c.state == "queued")).all())
    assert stated.total_uc == 6_015
    last_four = [(answer.total_uc, answer.amount_uc) for answer in answers[-4:]]
    assert bodies.decode_credit(stated.body) == (6_015, 0, last_four)
    assert store.read(lambda conn: conn.execute(select(outbox.c.order_id)).scalars().all()) == [stated.id]


def test_the_same_request_gets_the_same_answer_and_changes_nothing(store: Store) -> None:
    first = take(store)
    take(store, "p2")
    before = dump(store)
    again = take(store, at_s=NOW_S + 1_000)
    assert again.repeated and not first.repeated
    assert vars(again) | {"repeated": False} == vars(first)
    assert dump(store) == before


def test_an_accepted_payment_is_repeated_even_when_the_limit_has_come_down(store: Store) -> None:
    first = take(store)
    store.write(lambda conn: conn.exec_driver_sql("UPDATE channel SET max_payment_uc = 1")).result()
    assert take(store).total_uc == first.total_uc


@pytest.mark.parametrize("other", [{"amount_uc": 5_000_001}, {"meter": 18}, {"meter": 99}])
def test_the_same_id_with_other_content_is_a_conflict(store: Store, other: dict[str, int]) -> None:
    take(store)
    before = dump(store)
    with pytest.raises(payments.PaymentConflict, match="payment_id: 'p1' given, a new id"):
        take(store, **other)
    assert dump(store) == before


@pytest.mark.parametrize(
    ("change", "kind", "sentence"),
    [
        ({"channel": "nobody"}, payments.UnknownChannel, "channel: 'nobody' given"),
        ({"meter": 99}, UnknownMeter, "meter: 99 given"),
        ({"meter": 0}, Refused, "meter: 0 given"),
        ({"meter": True}, Refused, "meter: True given"),
        ({"meter": "17"}, Refused, "meter: '17' given"),
        ({"amount_uc": 0}, Refused, "amount_uc: 0 given"),
        ({"amount_uc": -5}, Refused, "amount_uc: -5 given"),
        ({"amount_uc": 1.5}, Refused, r"amount_uc: 1\.5 given"),
        ({"amount_uc": 2**63}, Refused, "amount_uc: 9223372036854775808 given"),
        ({"amount_uc": LIMIT_UC + 1}, Refused, f"amount_uc: {LIMIT_UC + 1} given, 1..{LIMIT_UC}"),
        ({"payment_id": ""}, Refused, "payment_id: '' given"),
        ({"payment_id": "x" * 65}, Refused, "payment_id: 'x"),
        ({"payment_id": " p"}, Refused, "payment_id: ' p' given"),
        ({"payment_id": "p\n"}, Refused, r"payment_id: 'p\\n' given"),
        ({"payment_id": "支付"}, Refused, "payment_id: '支付' given"),
    ],
)
def test_a_refusal_names_what_is_wrong_and_changes_nothing(
    store: Store, change: dict[str, Any], kind: type[Refused], sentence: str
) -> None:
    before = dump(store)
    asked = {"channel": CHANNEL, "payment_id": "p1", "meter": METER, "amount_uc": 1_000, **change}
    with pytest.raises(kind, match=sentence):
        store.write(payments.take, NOW_S, *asked.values()).result()
    assert dump(store) == before


def test_the_limit_itself_is_taken(store: Store) -> None:
    assert take(store, "x" * 64, amount_uc=LIMIT_UC).total_uc == LIMIT_UC


def test_a_total_that_the_meter_cannot_count_is_refused(store: Store) -> None:
    nearly = update(meter_state).where(meter_state.c.meter == METER).values(sold_uc=bodies.MAX_UC - 5)
    store.write(lambda conn: conn.execute(nearly)).result()
    before = dump(store)
    with pytest.raises(Refused, match="amount_uc: 6 given, at most 5"):
        take(store, amount_uc=6)
    assert dump(store) == before


def test_what_a_report_shows_is_marked_once_and_never_taken_back(store: Store) -> None:
    for number in range(3):
        take(store, f"p{number}", amount_uc=1_000)
    assert store.write(payments.shown, METER, 2_000, NOW_S + 7).result() == 2
    assert store.write(payments.shown, METER, 1_500, NOW_S + 8).result() == 0
    assert store.write(payments.shown, METER, 2_000, NOW_S + 9).result() == 0
    newest_first = store.read(payments.of_meter, METER)
    assert [row.on_meter_s for row in newest_first] == [None, NOW_S + 7, NOW_S + 7]
    state = store.read(lambda conn: conn.execute(select(meter_state).where(meter_state.c.meter == METER)).one())
    assert state.on_meter_uc == 2_000


def test_a_payment_releases_arrears_in_its_own_commit_and_nothing_else(store: Store) -> None:
    for reason in (reasons.HOLD_ARREARS, reasons.HOLD_SAFETY):
        store.write(statements.stop, NOW_S, METER, reason, "clerk").result()
    take(store)
    stated = store.read(lambda conn: conn.execute(select(order).where(order.c.state == "queued")).all())
    wanted = {(row.selector, bodies.decode_supply(row.body)[0]) for row in stated if row.wants != "credit"}
    assert wanted == {(reasons.HOLD_ARREARS, bodies.RELEASE), (reasons.HOLD_SAFETY, bodies.HOLD)}
