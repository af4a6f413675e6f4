"""Consumption follows the meter, and ledger against meter is explained to the unit."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, select, update
from sqlalchemy.exc import IntegrityError

from headend.keys.keystore import KeyStore
from headend.ledger import accounts, balances, consumption, entries, payments, reconcile
from headend.store import Store, UnknownMeter
from headend.store.schema import entry, meter_state
from meterlink import reports
from meterlink.orders import ASPECT_SUPPLY
from tests.host.books import CHANNEL, METER, NOW_S, SOURCE, dump, open_books, report

KEYS = KeyStore.generate()


@pytest.fixture
def store() -> Iterator[Store]:
    with open_books(meters=(METER, 18)) as opened:
        for number in (1, 2):
            opened.write(payments.take, NOW_S, CHANNEL, f"p{number}", METER, 5_000_000).result()
        yield opened


def arrive(conn: Connection, made: reports.Report, book: bool = True) -> int:
    """What taking a report does to the books: the money side of it."""
    if (made.aspect, made.selector) == (1, SOURCE):
        payments.shown(conn, made.meter, made.source_credited_uc, made.time_s)
    booked_uc = consumption.book(conn, NOW_S, made) if book else 0
    conn.execute(update(meter_state).where(meter_state.c.meter == made.meter).values(report=made.raw))
    return booked_uc


def explain(store: Store, book: bool = True, **fields: Any) -> reconcile.Explanation:
    store.write(arrive, report(KEYS, **fields), book).result()
    return store.read(reconcile.explain, METER)


def lines(explained: reconcile.Explanation) -> dict[str, int]:
    """The lines that are not zero."""
    return {label: amount_uc for label, amount_uc in explained.lines if amount_uc}


def test_before_any_report_all_that_was_sold_is_in_flight(store: Store) -> None:
    explained = store.read(reconcile.explain, METER)
    assert (explained.ledger_uc, explained.meter_uc, explained.report_time_s) == (10_000_000, 0, None)
    assert lines(explained) == {reconcile.IN_FLIGHT: 10_000_000}
    assert explained.difference_uc == 0


def test_all_on_the_meter_and_booked_leaves_no_line(store: Store) -> None:
    explained = explain(store, credited_uc=10_000_000, source_credited_uc=10_000_000, charged_uc=1_234_567)
    assert explained.ledger_uc == explained.meter_uc == 8_765_433
    assert (lines(explained), explained.difference_uc) == ({}, 0)
    assert (explained.report_time_s, explained.source_shown) == (NOW_S, True)


def test_every_line_at_once_still_explains_to_the_unit(store: Store) -> None:
    """7 of 10 arrived, 2 of them wait; 1.5 was charged after the last booking; export, refund and fees on the meter."""
    explain(store, credited_uc=5_000_000, source_credited_uc=5_000_000, charged_uc=250_001)
    explained = explain(
        store,
        book=False,
        counter=2,
        credited_uc=5_000_000,
        waiting_uc=2_000_000,
        source_credited_uc=7_000_000,
        charged_uc=1_750_001,
        earned_uc=30_000,
        refunded_uc=400_000,
        adjusted_uc=50_000,
    )
    assert lines(explained) == {
        reconcile.IN_FLIGHT: 3_000_000,
        reconcile.WAITING: 2_000_000,
        reconcile.UNBOOKED: 1_500_000,
        reconcile.EARNED: -30_000,
        reconcile.REFUNDED: 400_000,
        reconcile.ADJUSTED: 50_000,
    }
    assert explained.ledger_uc - explained.meter_uc == sum(lines(explained).values())
    assert explained.difference_uc == 0


@pytest.mark.parametrize(
    ("fields", "difference_uc"),
    [
        ({"credited_uc": 10_000_001}, -1),  # credit that nobody sold
        ({"credited_uc": 9_999_999}, 1),  # sold credit that went missing on the meter
        ({"credited_uc": 10_000_000, "balance_uc": 9_999_990}, 10),  # the meter's identity is broken
        ({"credited_uc": 10_000_000, "waiting_uc": 5}, -5),  # counted twice
    ],
)
def test_what_no_line_explains_is_the_difference(store: Store, fields: dict[str, int], difference_uc: int) -> None:
    assert explain(store, source_credited_uc=10_000_000, **fields).difference_uc == difference_uc


def test_a_payment_without_a_statement_is_a_difference(store: Store) -> None:
    both = {"credited_uc": 10_000_000, "source_credited_uc": 10_000_000}
    assert explain(store, **both).difference_uc == 0

    def slip(conn: Connection) -> None:
        sides = accounts.of_channel(CHANNEL), accounts.of_meter(METER, 1)
        entries.post(conn, NOW_S, entries.PAYMENT, *sides, 77, METER, "payment:pos-1:slipped")

    store.write(slip).result()
    assert store.read(reconcile.explain, METER).difference_uc == 77


def test_a_report_on_another_subject_uses_the_total_that_was_shown_before(store: Store) -> None:
    explain(store, credited_uc=5_000_000, source_credited_uc=5_000_000)
    other = {"counter": 2, "aspect": ASPECT_SUPPLY, "selector": 1}
    explained = explain(store, credited_uc=5_000_000, **other)
    assert (explained.source_shown, explained.difference_uc) == (False, 0)
    assert lines(explained) == {reconcile.IN_FLIGHT: 5_000_000}
    # Credit has arrived since, and nobody asked about the source: a difference, until somebody does.
    explained = explain(store, credited_uc=10_000_000, **(other | {"counter": 3}))
    assert (explained.source_shown, explained.difference_uc) == (False, -5_000_000)
    assert explain(store, counter=4, credited_uc=10_000_000, source_credited_uc=10_000_000).difference_uc == 0


def test_an_unknown_meter_is_named(store: Store) -> None:
    with pytest.raises(UnknownMeter, match="meter: 99 given"):
        store.read(reconcile.explain, 99)


# --- consumption ------------------------------------------------------------------------------------------------------


def book(store: Store, **fields: Any) -> int:
    return store.write(consumption.book, NOW_S, report(KEYS, **fields)).result()


def test_growth_is_booked_once_whatever_order_reports_come_in(store: Store) -> None:
    assert book(store, counter=1, charged_uc=100) == 100
    assert book(store, counter=1, charged_uc=100) == 0
    assert book(store, counter=3, charged_uc=350) == 250
    assert book(store, counter=2, charged_uc=200) == 0
    assert book(store, boot=2, counter=1, charged_uc=351) == 1
    assert store.read(balances.balance_uc, accounts.INCOME_ENERGY) == 351
    assert store.read(balances.booked_uc, entries.CONSUMPTION, accounts.of_meter(METER, 1)) == 351
    causes = store.read(lambda conn: conn.execute(select(entry.c.cause).where(entry.c.kind == "consumption")).all())
    assert causes[0].cause == "report:000000000017:1:1:100"


def test_meters_do_not_share_causes(store: Store) -> None:
    assert book(store, counter=1, charged_uc=100) == 100
    assert book(store, meter=18, counter=1, charged_uc=100) == 100


def test_another_account_epoch_is_not_booked(store: Store) -> None:
    before = dump(store)["entry"]
    assert book(store, charged_uc=100, account_epoch=2) == 0
    assert dump(store)["entry"] == before


def test_a_report_of_a_meter_that_is_not_ours_is_refused(store: Store) -> None:
    with pytest.raises(UnknownMeter):
        book(store, meter=99, charged_uc=100)


# --- entries ----------------------------------------------------------------------------------------------------------

POS, CUSTOMER = accounts.of_channel(CHANNEL), accounts.of_meter(METER, 1)


@pytest.mark.parametrize(
    ("kind", "debit", "credit", "amount_uc", "cause", "sentence"),
    [
        ("gift", POS, CUSTOMER, 1, "x", "kind: 'gift' given"),
        ("payment", POS, CUSTOMER, 0, "x", "amount_uc: 0 given"),
        ("payment", POS, CUSTOMER, True, "x", "amount_uc: True given"),
        ("payment", POS, CUSTOMER, 2**63, "x", "amount_uc"),
        ("payment", POS, CUSTOMER, 1, "", "cause: 0 characters"),
        ("payment", POS, CUSTOMER, 1, "x" * 121, "cause: 121 characters"),
        ("payment", CUSTOMER, POS, 1, "x", "accounts of kind"),
        ("payment", POS, "nobody", 1, "x", "account: 'nobody' given"),
        ("payment", POS, POS, 1, "x", "accounts of kind"),
        ("consumption", POS, CUSTOMER, 1, "x", "accounts of kind"),
    ],
)
def test_an_entry_that_does_not_fit_is_refused(
    store: Store, kind: str, debit: str, credit: str, amount_uc: int, cause: str, sentence: str
) -> None:
    before = dump(store)
    with pytest.raises(ValueError, match=sentence):
        store.write(entries.post, NOW_S, kind, debit, credit, amount_uc, METER, cause).result()
    assert dump(store) == before


def test_an_account_is_opened_once_and_its_name_tells_its_kind(store: Store) -> None:
    before = dump(store)
    store.write(accounts.open_account, POS).result()
    assert dump(store) == before
    with pytest.raises(ValueError, match="account: 'petty cash' given, a name that begins with one of channel:"):
        store.write(accounts.open_account, "petty cash").result()


def test_an_entry_on_an_account_that_is_not_open_is_refused(store: Store) -> None:
    before = dump(store)
    with pytest.raises(IntegrityError):
        store.write(entries.post, NOW_S, "payment", "channel:closed", CUSTOMER, 1, METER, "x").result()
    assert dump(store) == before


def test_the_trial_balance_shows_books_that_were_tampered_with(tmp_path: Path) -> None:
    """The head end's own connections cannot do this; another program with the file can."""
    url = f"sqlite:///{tmp_path}/store.sqlite"
    with open_books(url, inline=True) as store:
        store.write(payments.take, NOW_S, CHANNEL, "p1", METER, 5_000_000).result()
        assert sum(row.balance_uc for row in store.read(balances.trial_balance)) == 0
    with sqlite3.connect(tmp_path / "store.sqlite") as raw:
        raw.execute("DELETE FROM account WHERE account = ?", (CUSTOMER,))
    with open_books(url, meters=(), inline=True) as store:
        assert sum(row.balance_uc for row in store.read(balances.trial_balance)) == -5_000_000
