"""Orders, reads, trust and typed tokens with the firmware itself, on PostgreSQL: some of the tests that run on SQLite,
taken from their files. The soak runs all of them (OPENPREPAY_TEST_DATABASE=postgresql).
"""

from collections.abc import Callable
from contextlib import closing

import pytest

from tests.host import books
from tests.host import test_engine_orders as orders
from tests.host import test_engine_reads as reads
from tests.host import test_tokens as tokens
from tests.host.peer import Bench
from tests.host.token_rig import TokenPair

ORDERS = (
    orders.test_a_stop_is_sent_accepted_and_confirmed_by_a_read_back,
    orders.test_a_tariff_is_confirmed_by_its_version,
    orders.test_without_any_answer_an_order_is_unknown_and_only_a_read_back_ends_it,
    orders.test_a_release_pre_empts_the_stop_that_was_not_sent,
    orders.test_a_payment_writes_the_release_of_an_arrears_stop_that_was_sent,
    orders.test_two_payments_before_anything_was_sent_make_one_statement_of_both,
    orders.test_a_forged_report_is_counted_and_changes_nothing,
)
READS = (
    reads.test_a_pushed_batch_is_stored_decoded_and_acknowledged,
    reads.test_the_same_batch_again_stores_nothing_and_is_acknowledged_again,
    reads.test_a_report_that_tells_of_more_leads_to_questions_until_all_is_there,
    reads.test_records_that_the_meter_no_longer_holds_are_listed_as_lost,
    reads.test_other_content_under_a_stored_number_is_left_out_and_counted,
    reads.test_events_are_stored_and_acknowledged_and_wake_what_waits,
)
TOKENS = (
    tokens.test_a_typed_token_reaches_the_books_at_the_next_contact,
    tokens.test_a_void_token_cannot_be_typed_and_its_payment_is_reversed,
    tokens.test_a_typed_key_change_takes_effect_and_is_known_of,
    tokens.test_what_was_made_is_never_changed,
)


@pytest.fixture(autouse=True)
def on_postgresql(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(books, "database", "postgresql")


@pytest.mark.parametrize("scenario", ORDERS, ids=lambda scenario: scenario.__name__)
def test_an_order(scenario: Callable[[Bench], None]) -> None:
    with closing(Bench()) as bench:
        scenario(bench)


@pytest.mark.parametrize("scenario", READS, ids=lambda scenario: scenario.__name__)
def test_reads(scenario: Callable[[Bench], None]) -> None:
    with closing(Bench(policy=reads.FEW)) as bench:
        scenario(bench)


@pytest.mark.parametrize("scenario", TOKENS, ids=lambda scenario: scenario.__name__)
def test_a_token(scenario: Callable[[TokenPair], None]) -> None:
    with TokenPair() as pair:
        scenario(pair)
