"""Openings: what customers had before they came to these books; and the change from postpaid to prepaid."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.gate import pace, proposals
from headend.ledger import accounts, balances, bills, charges, entries
from headend.ledger.openings import checking, files, running
from headend.orders import lifecycle, statements
from headend.refusals import Refused
from headend.registry import bars
from meterlink import reasons, states
from meterlink.orders import ASPECT_CREDIT
from tests.host.refund_rig import CASHIER, MANAGER, small_world
from tests.system.world import METER, YUAN, World

NEXT = 18
HEAD = "meter,account_epoch,balance,class,reference,person,as_of\n"
GOOD = HEAD + "17,1,25.50,resident,old-1,,2025-12-31\n18,1,-12.00,other,old-2,,2025-12-31\ncontrol,2,25.50,12.00\n"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = small_world(tmp_path, METER, NEXT)
    yield made
    made.close()


def dry_run(world: World, text: str, name: str = "north", kind: str = files.CSV) -> checking.Report:
    report: checking.Report = world.read(checking.check, name, files.read(text, kind))
    return report


def propose(world: World, text: str = GOOD, name: str = "north") -> Any:
    report = dry_run(world, text, name)
    return world.write(running.propose, name, files.read(text, files.CSV), report.digest(), CASHIER)


def carry_out(world: World, text: str = GOOD, name: str = "north") -> None:
    made = world.read(proposals.get, propose(world, text, name).proposal)
    world.write(proposals.approve, made.id, made.digest, MANAGER)
    while world.write(pace.tick):
        pass


def test_both_sides_agree_and_credit_is_on_the_meters(world: World) -> None:
    report = dry_run(world, GOOD)
    assert report.clean and report.found == report.control == (2, 25_500_000, 12 * YUAN)
    assert (report.before_uc, report.after_uc) == (0, 13_500_000)
    carry_out(world)
    world.settle()
    assert world.points[METER].account.balance_uc() == world.customer(METER) == 25_500_000
    (bill,) = world.read(bills.open_of, NEXT, 1)
    assert (bill.kind, bill.principal_uc, bill._mapping["class"]) == ("opening", 12 * YUAN, "other")
    assert world.balance(accounts.of_opening("north")) == -13_500_000
    assert world.read(running.get, "north").state == "done" and world.read(running.progress, "north") == (2, 2)
    assert dry_run(world, GOOD).before_uc == report.after_uc
    world.check()


def test_a_dry_run_tells_of_each_line_and_writes_nothing(world: World) -> None:
    text = HEAD + (
        "99,1,1,resident,a,,2025-12-31\n17,2,1,resident,b,,2025-12-31\n18,1,1,nobility,c,,2025-12-31\n"
        "18,1,1,resident,c,,2025-12-31\n17,1,1.2.3,resident,d,,2025-12-31\n17,1,1,resident,e,ghost,31.12.2025\n"
        "control,6,6,0\n"
    )
    report = dry_run(world, text)
    assert not report.clean and sorted(report.problems) == [1, 2, 3, 4, 5, 6]
    words = ("not in the fleet", "1 is in force", "nobility", "already", "1.2.3", "as_of")
    assert all(word in report.problems[line] for line, word in enumerate(words, 1))
    assert world.read(balances.trial_balance) and world.entries(entries.OPENING) == []


@pytest.mark.parametrize(
    ("control", "field"), [("3,25.50,12.00", ""), ("2,25.50,12.01", ""), ("2,25.51,12.00", ""), ("", "control")]
)
def test_sums_that_do_not_agree_stop_it(world: World, control: str, field: str) -> None:
    text = GOOD.replace("control,2,25.50,12.00\n", f"control,{control}\n" if control else "")
    if field:
        with pytest.raises(Refused, match=field):
            dry_run(world, text)
        return
    assert not dry_run(world, text).clean
    with pytest.raises(Refused, match="dry run is clean"):
        propose(world, text)


def test_what_is_approved_is_what_was_reported(world: World) -> None:
    with pytest.raises(Refused, match="digest"):
        world.write(running.propose, "north", files.read(GOOD, files.CSV), bytes(32), CASHIER)
    first = propose(world)
    assert propose(world) == first, "proposed twice is proposed once"
    with pytest.raises(Refused, match="another import"):
        propose(world, GOOD.replace("old-1", "old-9"))
    made = world.read(proposals.get, first.proposal)
    with pytest.raises(Refused):
        world.write(proposals.approve, made.id, made.digest, CASHIER)
    assert "25.50" in proposals.sentence(made, "en") and "12.00" in proposals.sentence(made, "zh")
    world.write(proposals.refuse, made.id, MANAGER, "the wrong district")
    assert world.read(running.get, "north").state == "withdrawn" and world.entries(entries.OPENING) == []
    carry_out(world, name="north-again")
    assert dry_run(world, GOOD, "third").problems, "an account opens once"


def test_it_goes_on_where_it_was_stopped_and_books_each_line_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "AT_A_TIME", 1)
    monkeypatch.setattr(running, "_WAITING", running._WAITING.limit(1))
    made = world.read(proposals.get, propose(world).proposal)
    world.write(proposals.approve, made.id, made.digest, MANAGER)
    assert world.read(running.progress, "north") == (2, 0)
    world.write(pace.tick)
    assert world.read(running.progress, "north") == (2, 1)
    booked = running._book

    def fails(*given: Any) -> Any:
        booked(*given)
        raise LookupError("the power fails")

    monkeypatch.setattr(running, "_book", fails)
    with pytest.raises(LookupError):
        world.write(pace.tick)
    monkeypatch.setattr(running, "_book", booked)
    assert world.read(running.progress, "north") == (2, 1)
    while world.write(pace.tick):
        pass
    assert world.read(running.progress, "north") == (2, 2)
    assert sorted(world.entries(entries.OPENING)) == [12 * YUAN, 25_500_000]


def test_from_postpaid_to_prepaid_nobody_is_cut_off_before_notice_and_credit(world: World) -> None:
    """Bihar, 2022: credit was not carried over at the change, and customers were cut off three days later."""
    world.points[METER].deaf_to = {ASPECT_CREDIT}
    world.write(charges.set_mode, METER, states.MODE_POSTPAID, CASHIER)
    carry_out(world)
    world.run(60)
    for number in (METER, NEXT):
        rules = {bar.rule for bar in world.store.read(bars, world.clock.now_s(), number, reasons.HOLD_ARREARS)}
        assert "opening.notice" in rules and ("opening.not_shown" in rules) == (number == METER)
    assert not world.store.read(bars, world.clock.now_s(), METER, reasons.HOLD_SAFETY)
    with pytest.raises(Refused, match="the credit that the account came with"):
        world.write(charges.set_mode, METER, states.MODE_LOCAL, CASHIER)
    stop = world.write(statements.stop, METER, reasons.HOLD_ARREARS, CASHIER)
    world.run(60)
    assert world.state(stop) not in lifecycle.ON_THE_WAY
    assert world.points[METER].board.contact() == states.CONTACT_CLOSED
    world.points[METER].deaf_to = set()
    world.until(lambda: world.points[METER].account.balance_uc() == 25_500_000)
    world.settle()
    world.write(charges.set_mode, METER, states.MODE_LOCAL, CASHIER)
    later_s = world.clock.now_s() + 15 * 86_400
    assert world.store.read(bars, later_s, METER, reasons.HOLD_ARREARS) == []
    world.check()


def test_lines_as_json() -> None:
    text = '{"meter": "17", "account_epoch": 1, "balance": "-0.000001", "class": "resident", "reference": "r", '
    text += '"as_of": "2025-12-31"}\n{"control": {"lines": 1, "credit": "0", "debt": "0.000001"}}\n'
    read = files.read(text, files.JSONL)
    assert not read.problems and files.sums_of(read.openings) == read.control == (1, 0, 1)
    with pytest.raises(Refused, match="a JSON object"):
        files.read("[1]\n", files.JSONL)


@given(st.integers(-(2**63) + 1, 2**63 - 1))
def test_amounts_are_exact(amount_uc: int) -> None:
    text = files.amount(amount_uc)
    line = f"17,1,{text},resident,r,,2025-12-31\ncontrol,1,0,0\n"
    (one,) = files.read(HEAD + line, files.CSV).openings
    assert one.balance_uc == amount_uc


@given(st.text(max_size=200), st.sampled_from(files.FORMATS))
def test_whatever_a_file_says_it_is_read_or_refused(text: str, kind: str) -> None:
    for whole in (text, GOOD + text, HEAD + text):
        try:
            files.read(whole, kind)
        except Refused:
            pass
