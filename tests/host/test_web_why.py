"""Why supply is off, as a sentence; and what of a meter wants a person. Through real orders, reports and the store."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from headend.epochs import life
from headend.ledger import payments
from headend.orders import facts, statements
from headend.orders.why import sentence
from headend.web import board
from meterlink import bodies, reasons, states, topics
from tests.host.books import CHANNEL, METER, NOW_S
from tests.host.peer import CLOSED, OPEN, READY
from tests.host.site import Site

ARREARS = 1 << reasons.HOLD_ARREARS
OUT = 1 << reasons.CAUSE_OUT_OF_CREDIT
DUE_S = NOW_S + 900
DUE = "2027-01-15T08:15:00Z"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.close()


def state(site: Site, fn: Callable[..., Any], *args: Any, **options: Any) -> Any:
    return site.store.write(lambda conn: fn(conn, site.clock.now_s(), METER, *args, **options)).result()


def pay(site: Site, amount_uc: int, payment_id: str = "1") -> None:
    site.store.write(payments.take, site.clock.now_s(), CHANNEL, payment_id, METER, amount_uc).result()


def why(site: Site, language: str = "en") -> str | None:
    return sentence(site.store.read(facts.of_meter, METER), language)


@pytest.mark.parametrize(
    ("reported", "english", "chinese"),
    [
        (CLOSED, None, None),
        (CLOSED | {"holds": 1 << reasons.HOLD_PROTECTION | ARREARS}, None, None),
        (OPEN | {"holds": ARREARS}, "Off: held for arrears.", "停电：因欠费停电。"),
        (
            OPEN | {"causes": OUT, "balance_uc": -120_000},
            "Off: out of credit, balance -0.12.",
            "停电：余额不足，余额 -0.12。",
        ),
        (
            OPEN | {"causes": OUT, "holds": ARREARS | 1 << reasons.HOLD_SAFETY},
            "Off: held for arrears; held for safety; out of credit, balance 0.00.",
            "停电：因欠费停电；因安全停电；余额不足，余额 0.00。",
        ),
        (
            OPEN | {"holds": 1 << reasons.HOLD_PROTECTION, "causes": 1 << reasons.CAUSE_OVERLOAD},
            "Off: overload.",
            "停电：过负荷。",
        ),
        (READY, "Off: the meter waits for the customer's key.", "停电：等待用户在表上按键合闸。"),
        (
            READY | {"causes": OUT, "balance_uc": 20_000_000},  # it closes by itself, within the next second
            "Off: out of credit, balance 20.00.",
            "停电：余额不足，余额 20.00。",
        ),
        (
            READY | {"causes": 1 << reasons.CAUSE_REMINDER},
            "Off: reminder at the second alarm; the meter waits for the customer's key.",
            "停电：余额预警提示跳闸；等待用户在表上按键合闸。",
        ),
        (
            READY | {"pending": states.PENDING_CLOSE, "due_s": DUE_S},
            f"Off: it closes at {DUE}.",
            f"停电：将于 {DUE} 合闸。",
        ),
        (
            OPEN | {"pending": states.PENDING_CLOSE, "due_s": DUE_S},
            f"Off: it closes at {DUE}.",
            f"停电：将于 {DUE} 合闸。",
        ),
        (OPEN, "Off: the meter has not closed yet.", "停电：电表尚未合闸。"),
        (
            OPEN | {"diagnosis": states.DIAGNOSIS_FAILED_TO_CLOSE},
            "Off: the contact did not close.",
            "停电：合闸失败，触点未闭合。",
        ),
        (
            OPEN | {"holds": ARREARS, "diagnosis": states.DIAGNOSIS_BYPASSED, "load_ma": 4210},
            "Off: held for arrears; 4210 mA flow behind the open contact.",
            "停电：因欠费停电；触点断开但仍有 4210 mA 电流。",
        ),
        (
            CLOSED | {"control": 0, "holds": ARREARS, "diagnosis": states.DIAGNOSIS_WELDED},
            "Should be off, and the contact is closed: held for arrears; the contact is welded.",
            "应断而未断，触点仍闭合：因欠费停电；触点粘连。",
        ),
        (
            CLOSED | {"pending": states.PENDING_TRIP, "due_s": DUE_S, "causes": OUT},
            f"On; goes off at {DUE}: out of credit, balance 0.00.",
            f"供电中，将于 {DUE} 断开：余额不足，余额 0.00。",
        ),
        (
            OPEN | {"contact": states.CONTACT_UNKNOWN, "holds": ARREARS},
            "Should be off; the meter cannot sense its contact: held for arrears.",
            "应断电，触点状态未知：因欠费停电。",
        ),
        (OPEN | {"holds": 1 << 20}, "Off: held for code_20.", "停电：因code_20停电。"),
    ],
)
def test_the_meters_own_account(site: Site, reported: dict[str, int], english: str | None, chinese: str | None) -> None:
    site.peer().be(**reported)
    site.born()
    assert why(site) == english
    assert why(site, "zh") == chinese


def test_without_a_report_nothing_is_known(site: Site) -> None:
    assert why(site) == "Not known: the meter has not reported yet."


def test_what_is_under_way_to_change_it_is_told(site: Site) -> None:
    peer = site.born()
    order = state(site, statements.stop, reasons.HOLD_ARREARS, "channel:erp", reason_text="bill 7")
    peer.be(**(OPEN | {"holds": ARREARS}))
    site.run(60)
    assert why(site) == f"Off: held for arrears (order {order} by channel:erp: “bill 7”)."
    pay(site, 5_000_000)
    release = order + 2
    under_way = f"the release of arrears is queued (order {release}); 5.00 paid are not on the meter yet"
    assert why(site) == f"Off: held for arrears; {under_way}."


# --- what wants a person ----------------------------------------------------------------------------------------------


def concerns(site: Site) -> dict[str, str]:
    read = site.store.read(board.read, site.clock.now_s(), 900, 0)
    for one in read.concerns:
        assert one.sentence("zh") and one.title("zh") and one.title("en")
    assert [code for code in board.CONCERNS if code in {one.code for one in read.concerns}] == [
        group.code for group in read.groups
    ]
    return {one.code: one.sentence("en") for one in read.concerns}


@pytest.mark.parametrize(
    ("reported", "code", "sentence"),
    [
        (OPEN | {"load_ma": 4210}, "drawing", "The contact is open and 4210 mA flow behind it."),
        (
            CLOSED | {"control": 0, "load_ma": 9},
            "not_open",
            "The meter means to be off, and its contact is closed; 9 mA flow.",
        ),
        (OPEN | {"balance_uc": 5}, "paid_off", "Supply is off with 0.00 paid, and no hold of ours stands."),
        (
            OPEN | {"diagnosis": states.DIAGNOSIS_FAILED_TO_CLOSE},
            "not_closed",
            "The contact did not close when told to.",
        ),
        (
            CLOSED | {"alarms": 1 << states.ALARM_STORAGE},
            "storage",
            "The meter reports damaged storage or lost history.",
        ),
        (CLOSED | {"interval_newest": 9}, "reads_behind", "9 records of the interval log are not whole yet."),
    ],
)
def test_a_report_can_want_a_person(site: Site, reported: dict[str, int], code: str, sentence: str) -> None:
    site.peer().be(**reported)
    site.up(topics.UP_STATE, site.peer().report(3))
    assert concerns(site) == {code: sentence}


@pytest.mark.parametrize(
    "reported",
    [
        CLOSED,
        CLOSED | {"balance_uc": -5, "alarms": 3},
        OPEN | {"causes": OUT, "balance_uc": -1},
        READY | {"balance_uc": 5_000_000},
        OPEN | {"pending": states.PENDING_CLOSE, "balance_uc": 5_000_000},
        CLOSED | {"interval_newest": 8},
    ],
)
def test_what_is_as_it_should_be_wants_nobody(site: Site, reported: dict[str, int]) -> None:
    site.peer().be(**reported)
    site.up(topics.UP_STATE, site.peer().report(3))
    assert concerns(site) == {}


def test_off_by_our_own_order_wants_nobody(site: Site) -> None:
    peer = site.born()
    state(site, statements.stop, reasons.HOLD_LEGAL, "channel:court")
    peer.be(**(OPEN | {"holds": 1 << reasons.HOLD_LEGAL, "balance_uc": 5_000_000}))
    site.run(60)
    assert concerns(site) == {}


def test_a_payment_that_does_not_bring_supply_back_wants_a_person(site: Site) -> None:
    site.peer().be(**(OPEN | {"causes": OUT, "balance_uc": -1}))
    site.born()
    pay(site, 5_000_000)
    site.run(290, METER)
    assert concerns(site) == {}, "it is given a moment"
    site.run(1000, METER)
    found = concerns(site)
    assert found["paid_off"] == "Supply is off with 5.00 paid, and no hold of ours stands."
    assert found["late_credit"] == "5.00 are not on the meter yet, the oldest since 2027-01-15 08:00 UTC."
    assert list(found) == ["paid_off", "unknown", "late_credit"]
    site.run(900)
    site.peer().be(**CLOSED, causes=0, credited_uc=5_000_000, balance_uc=4_999_999, charged_uc=1)
    site.run(1400)  # the longest that the head end may be without a question of its own
    assert concerns(site) == {}


def test_an_order_held_but_not_done_wants_a_person(site: Site) -> None:
    site.born()
    order = state(site, statements.stop, reasons.HOLD_TAMPER, "channel:ops", delay_s=bodies.DEFAULT)
    site.run(1900)
    expected = f"The meter holds order {order}, stated 2027-01-15 08:00 UTC; what it wants is not proved."
    assert concerns(site) == {"not_done": expected}


def test_an_order_that_nobody_signs_wants_a_person(site: Site) -> None:
    site.born()
    opened = state(site, life.open_epoch, life.TENANT, "channel:ops")
    stop = state(site, statements.stop, reasons.HOLD_TAMPER, "channel:ops", valid_s=900)
    site.clock.advance(board.LATE_SIGNATURE_S)
    assert "unsigned" not in concerns(site)
    site.clock.advance(1)
    read = site.store.read(board.read, site.clock.now_s(), 900, 0)
    assert [one.sentence("en") for one in read.concerns if one.code == "unsigned"] == [
        f"Order {opened}, stated 2027-01-15 08:00 UTC, waits for the root key.",
        f"Order {stop}, stated 2027-01-15 08:00 UTC, waits for the signer.",
    ]


def test_a_silent_meter_wants_a_person(site: Site) -> None:
    site.run(1801, METER)
    assert concerns(site) == {"never": "No report has come since the meter was added at 2027-01-15 08:00 UTC."}
    site.born()
    assert concerns(site) == {}
    site.run(1801, METER)
    assert list(concerns(site)) == ["silent"]


def test_a_difference_between_books_and_meter_wants_a_person(site: Site) -> None:
    site.peer().be(credited_uc=7_000_001, balance_uc=7_000_001)
    site.born()
    assert concerns(site) == {}, "the first report was not asked about our source"
    site.run(1400)
    assert concerns(site) == {"difference": "-7.000001 are not explained between books and meter."}


def test_one_kind_of_concern_does_not_hide_the_others(tmp_path: Path) -> None:
    site = Site(tmp_path, meters=tuple(range(1, 21)))
    site.peer(20).be(**(OPEN | {"load_ma": 1000}))
    site.run(1801, *range(1, 21))
    site.up(topics.UP_STATE, site.peer(20).report(3), 20)
    read = site.store.read(board.read, site.clock.now_s(), 900, 0)
    assert [(group.code, len(group.shown), len(group.others)) for group in read.groups] == [
        ("drawing", 1, 0),
        ("never", board.SHOWN, 19 - board.SHOWN),
    ]
    assert read.lines[0].facts.number == 20
    site.close()
