"""Scalars on the wire: exact amounts, meter numbers, times; and the language of a browser."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.refusals import Refused
from headend.web import board, pages, wire, words
from meterlink import names
from meterlink.bodies import MAX_UC
from meterlink.orders import MAX_METER


@given(st.integers(0, MAX_UC))
def test_an_amount_survives_both_ways(amount_uc: int) -> None:
    text = wire.amount(amount_uc)
    assert wire.read_amount("amount", text) == amount_uc
    assert len(text.partition(".")[2]) >= 2
    if amount_uc:
        assert wire.amount(-amount_uc) == "-" + text


@given(st.text(max_size=20))
def test_what_is_no_amount_is_refused(text: str) -> None:
    """Whatever is taken is ASCII digits with at most one point and six decimals, and is worth what it says."""
    try:
        amount_uc = wire.read_amount("amount", text)
    except Refused as refused:
        assert refused.field == "amount"
        return
    whole, _, decimals = text.partition(".")
    assert whole.isascii() and whole.isdigit() and len(decimals) <= 6
    assert amount_uc == int(whole) * wire.UC + int(decimals.ljust(6, "0") or 0)


@pytest.mark.parametrize(
    ("amount_uc", "shown"),
    [
        (0, "0.00"),
        (1, "0.00"),
        (-1, "−0.01"),
        (9_999, "0.00"),
        (10_000, "0.01"),
        (1_234_567_890_000, "1\u202f234\u202f567.89"),
        (-120_000, "−0.12"),
    ],
)
def test_a_screen_never_shows_more_than_there_is(amount_uc: int, shown: str) -> None:
    assert board.money(amount_uc) == shown


@given(st.integers(1, MAX_METER))
def test_a_meter_number_survives_both_ways(number: int) -> None:
    assert wire.read_meter(wire.meter_name(number)) == number
    assert wire.read_meter(str(number)) == number


def test_a_time_has_both_forms() -> None:
    assert wire.moment(0) == wire.Moment("1970-01-01T00:00:00Z", 0)
    assert wire.moment(0xFFFFFFFF).utc == "2106-02-07T06:28:15Z"


@pytest.mark.parametrize(
    ("accept", "language"),
    [
        ("", "en"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("en-GB,en;q=0.9,zh;q=0.8", "en"),
        ("de-DE,de;q=0.9", "en"),
        ("fr;q=0.9,zh-TW;q=0.4,en;q=0.3", "zh"),
        ("en;q=0,zh;q=0", "en"),
        ("zh;q=nonsense,en;q=0.1", "en"),
        (";;;,,", "en"),
        ("zh" * 5000, "en"),
    ],
)
def test_a_browser_gets_the_language_it_wants_most(accept: str, language: str) -> None:
    assert words.choose(accept) == language


def test_every_text_stands_in_both_languages_with_the_same_fields() -> None:
    """A field that one language lacks would be lost, one that it invents would break the page."""
    import string

    pairs = [*words.WHY.values(), *words.SHARED.values(), *words.HOLDS.values(), *words.CAUSES.values()]
    pairs += [text for page in pages.PAGES for text in (page.label, *page.words.values())]
    pairs += [text for two in words.CONCERNS.values() for text in two]
    for english, chinese in pairs:
        fields = [{name for _, name, _, _ in string.Formatter().parse(text) if name} for text in (english, chinese)]
        assert fields[0] == fields[1], english
        assert english and chinese


def test_every_code_of_the_protocol_has_a_word() -> None:
    for table, codes in (
        (words.HOLDS, names.HOLD),
        (words.CAUSES, names.CAUSE),
        (words.ALARMS, names.ALARM),
        (words.CONTROLS, names.CONTROL),
        (words.CONTACTS, names.CONTACT),
        (words.DIAGNOSES, names.DIAGNOSIS),
    ):
        assert set(codes.values()) <= set(table)
