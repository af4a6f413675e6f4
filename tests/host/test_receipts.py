"""Receipts: numbered without a gap, adding up, never changed."""

import hashlib
import json
import threading
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select, update

from headend.fleet.meters import add_meter
from headend.ledger import channels, floats, payments, receipts, tax
from headend.refusals import Refused
from headend.store import MONEY, Store
from headend.store.schema_audit import audit
from headend.store.schema_money import receipt
from tests.host.books import CHANNEL, LIMIT_UC, NOW_S, dump, open_books, record
from tests.host.money_rig import BOOKKEEPER, DAY, YUAN, bill, pay


@pytest.fixture
def store(any_store_url: str) -> Iterator[Store]:
    with open_books(any_store_url, inline=True) as opened:
        yield opened


def issue(store: Store, payment_id: str, at_s: int = NOW_S, channel: str = CHANNEL) -> str:
    return receipts.name_of(store.write(receipts.issue, at_s, channel, payment_id).result())


def test_numbers_have_no_gap_by_channel_and_day(store: Store) -> None:
    store.write(channels.add_channel, NOW_S, "pos-2", "op_" + "2" * 43, ("payments",), LIMIT_UC).result()
    for number in range(3):
        pay(store, f"p{number}", YUAN)
    pay(store, "other", YUAN, channel="pos-2")
    assert issue(store, "p1") == "pos-1/20270115/000001"
    with pytest.raises(payments.UnknownPayment):
        issue(store, "none")
    assert issue(store, "p0") == "pos-1/20270115/000002"
    assert issue(store, "other", channel="pos-2") == "pos-2/20270115/000001"
    assert issue(store, "p1", at_s=NOW_S + DAY) == "pos-1/20270115/000001", "made once"
    assert issue(store, "p2", at_s=NOW_S + DAY) == "pos-1/20270116/000001"


def test_receipts_made_at_once_have_no_gap_either(any_store_url: str) -> None:
    with open_books(any_store_url) as store:
        for number in range(20):
            pay(store, f"p{number}", YUAN)
        names: list[str] = []

        def make(first: int) -> None:
            for number in range(first, 20, 4):
                row = store.write(receipts.issue, NOW_S, CHANNEL, f"p{number}", lane=MONEY).result()
                names.append(receipts.name_of(row))

        desks = [threading.Thread(target=make, args=(first,)) for first in range(4)]
        for desk in desks:
            desk.start()
        for desk in desks:
            desk.join()
        assert sorted(names) == [f"pos-1/20270115/{number:06d}" for number in range(1, 21)]


def test_a_receipt_says_what_was_paid_in_both_languages(store: Store) -> None:
    bill(store, "2026-12/17", 50 * YUAN, due_days=-20, period="2026-12")
    store.write(tax.set_rate, NOW_S, "vat", 130_000, tax.ADDED, BOOKKEEPER).result()
    store.write(tax.set_rate, NOW_S, "city", 60_000, tax.INCLUDED, BOOKKEEPER).result()
    pay(store, "p1", 164 * YUAN)
    row = store.write(receipts.issue, NOW_S, CHANNEL, "p1").result()
    said = receipts.lines_of(row)
    assert [(line["kind"], line["amount_uc"]) for line in said["lines"]] == [
        ("late_fee", YUAN),
        ("bill", 50 * YUAN),
        ("tax", 13 * YUAN),
        ("credit", 100 * YUAN),
    ]
    english, chinese = receipts.text(row, "en", " CNY"), receipts.text(row, "zh", "元")
    assert english.splitlines()[:-1] == [
        "Receipt pos-1/20270115/000001",
        "Meter 000000000017",
        "Late fee on bill 2026-12/17: 1.00 CNY",
        "Bill 2026-12/17 2026-12: 50.00 CNY",
        "Tax vat 13 %: 13.00 CNY",
        "Credit for the meter: 100.00 CNY",
        "  of it city 6 %: 5.660378 CNY",
        "Paid: 164.00 CNY",
    ]
    assert "违约金: 1.00元" in chinese and "实收：164.00元" in chinese
    assert hashlib.sha256(row.content.encode()).digest() == row.digest
    assert receipts.text(row, "en", taken_back=True).splitlines()[1] == "This payment was taken back"


@pytest.mark.parametrize(("purpose", "kind"), [("", "credit"), ("advance", "advance"), ("deposit", "deposit")])
def test_what_is_for_no_bill_is_told_by_its_purpose(store: Store, purpose: str, kind: str) -> None:
    pay(store, "p1", YUAN, purpose=purpose)
    row = store.write(receipts.issue, NOW_S, CHANNEL, "p1").result()
    assert [line["kind"] for line in receipts.lines_of(row)["lines"]] == [kind]


def test_a_copy_is_counted_and_in_the_audit(store: Store) -> None:
    pay(store, "p1", YUAN)
    made = store.write(receipts.issue, NOW_S, CHANNEL, "p1").result()
    for copy in (1, 2):
        row = store.write(receipts.reprint, NOW_S, made.id, "user:clerk").result()
        assert (row.copies, row.content) == (copy, made.content)
        assert f"Copy {copy}" in receipts.text(row, "en")
    acts = store.read(
        lambda conn: conn.execute(
            select(audit.c.actor, audit.c.detail).where(audit.c.action == "receipt.reprinted")
        ).all()
    )
    assert [(actor, json.loads(detail)) for actor, detail in acts] == [
        ("user:clerk", {"copy": 1}),
        ("user:clerk", {"copy": 2}),
    ]
    with pytest.raises(receipts.UnknownReceipt):
        store.write(receipts.reprint, NOW_S, made.id + 1, "user:clerk").result()


def test_an_invoice_is_noted_once(store: Store) -> None:
    pay(store, "p1", YUAN)
    made = store.write(receipts.issue, NOW_S, CHANNEL, "p1").result()
    for _ in range(2):
        row = store.write(receipts.set_invoice, NOW_S, made.id, "24112000000012345678", BOOKKEEPER).result()
        assert "Invoice 24112000000012345678" in receipts.text(row, "en")
    with pytest.raises(Refused, match="which this receipt has"):
        store.write(receipts.set_invoice, NOW_S, made.id, "other", BOOKKEEPER).result()


def test_the_database_keeps_what_a_receipt_says(store: Store) -> None:
    pay(store, "p1", YUAN)
    issue(store, "p1")
    before = dump(store)
    for wrong in (update(receipt).values(content="{}"), update(receipt).values(number=7), delete(receipt)):
        with pytest.raises(Exception, match="receipt"):
            store.write(lambda conn, wrong=wrong: conn.execute(wrong)).result()
    assert dump(store) == before


_METERS = count(1_000)


@pytest.fixture(scope="module")
def books() -> Iterator[Store]:
    with open_books() as opened:
        yield opened


@settings(max_examples=30, deadline=None)
@given(
    owed=st.lists(st.tuples(st.integers(1, 10 * YUAN), st.integers(-400, 20)), max_size=3),
    amount_uc=st.integers(1, 40 * YUAN),
    ppm=st.integers(0, 1_000_000),
    included=st.integers(0, 1_000_000),
)
def test_lines_add_up_to_what_was_paid(
    books: Store, owed: list[tuple[int, int]], amount_uc: int, ppm: int, included: int
) -> None:
    meter = number = next(_METERS)
    books.write(add_meter, NOW_S, record(meter)).result()
    for place, (owed_uc, due_days) in enumerate(owed):
        bill(books, f"b{number}/{place}", owed_uc, due_days, meter=meter)
    books.write(tax.set_rate, NOW_S, "vat", ppm, tax.ADDED, BOOKKEEPER).result()
    books.write(tax.set_rate, NOW_S, "city", included, tax.INCLUDED, BOOKKEEPER).result()
    pay(books, f"p{number}", amount_uc, meter=meter)
    said = receipts.lines_of(books.write(receipts.issue, NOW_S, CHANNEL, f"p{number}").result())
    assert sum(line["amount_uc"] for line in said["lines"]) == amount_uc
    credit_uc = sum(line["amount_uc"] for line in said["lines"] if line["kind"] == "credit")
    assert sum(line["amount_uc"] for line in said["included"]) <= credit_uc
    assert int(said["meter"]) == meter


def test_sales_with_their_receipts_never_wait_for_each_other_in_a_circle(any_store_url: str) -> None:
    """Payments of one channel with limits, each with its receipt, while money is handed over."""
    meters = tuple(range(1, 7))
    with open_books(any_store_url, meters=meters) as store:
        store.write(
            lambda conn: floats.set_limits(conn, NOW_S, CHANNEL, floats.AGENT, BOOKKEEPER, overdraft_uc=LIMIT_UC)
        ).result()

        def sell(conn: Any, payment_id: str, meter: int) -> None:
            payments.take(conn, NOW_S, CHANNEL, payment_id, meter, YUAN)
            receipts.issue(conn, NOW_S, CHANNEL, payment_id)

        started = [store.write(sell, f"{meter}-{number}", meter, lane=MONEY) for number in range(8) for meter in meters]
        started += [
            store.write(floats.hand_over, NOW_S, CHANNEL, f"h{number}", YUAN, BOOKKEEPER, lane=MONEY)
            for number in range(8)
        ]
        for one in started:
            one.result()
        numbers = store.read(lambda conn: conn.execute(select(receipt.c.number)).scalars().all())
        assert sorted(numbers) == list(range(1, 49))
        assert store.read(floats.drift_uc, CHANNEL) == 0
