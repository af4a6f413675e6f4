"""Caps of the signer: what credit orders may add for a meter, a channel and in all, by the day, whatever restarts."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headend.clock import ManualClock
from headend.keys.signer import Signer
from headend.keys.signer_books import DAY_S, Caps
from headend.keys.signer_log import SignerLog
from headend.refusals import Refused
from meterlink import stating
from meterlink.bodies_root import Recovered
from meterlink.orders import ASPECT_RECOVER, FLAG_BODY_APART, SOURCE_TYPED
from tests.host.books import NOW_S
from tests.host.signer_rig import KEYS, credit

CAPS = Caps(increase_uc=100, meter_day_uc=250, channel_day_uc=400, day_uc=500)
MIDNIGHT_S = NOW_S // DAY_S * DAY_S + DAY_S


class Office:
    """A signer whose log can be opened anew, as a restart does, and whose clock can be set."""

    def __init__(self, log: SignerLog, path: Path) -> None:
        self.clock, self.log, self.path = ManualClock(NOW_S), log, path
        self.signer = Signer(KEYS, log, self.clock, CAPS)

    def restart(self) -> None:
        self.log.close()
        self.log = SignerLog(self.path)
        self.signer = Signer(KEYS, self.log, self.clock, CAPS)

    def refusal(self, meter: int, total_uc: int, actor: str = "a") -> str:
        """Why it is not signed; "" where it is."""
        (made,) = self.signer.sign([credit(meter, total_uc, actor=actor)])
        return str(made) if isinstance(made, Refused) else ""


@pytest.fixture
def office(tmp_path: Path) -> Office:
    path = tmp_path / "log"
    return Office(SignerLog(path), path)


def test_a_meter_has_a_cap_of_its_own(office: Office) -> None:
    assert [office.refusal(1, total_uc) for total_uc in (100, 200, 250)] == [""] * 3
    assert office.refusal(1, 251) == "total_uc: 251 given, at most 250 (cap of one meter and day) expected"
    office.restart()
    assert office.refusal(1, 251) == "total_uc: 251 given, at most 250 (cap of one meter and day) expected"
    assert office.refusal(2, 100) == ""


def test_a_channel_has_one_and_so_has_the_day(office: Office) -> None:
    assert [office.refusal(meter, 100) for meter in (1, 2, 3, 4)] == [""] * 4
    assert office.refusal(5, 1) == "total_uc: 1 given, at most 0 (cap of one channel and day) expected"
    office.restart()
    assert office.refusal(5, 60, "b") == ""
    assert office.refusal(6, 41, "b") == "total_uc: 41 given, at most 40 (cap of one day) expected"
    assert office.refusal(6, 40, "b") == ""


def test_a_day_ends_at_midnight_utc(office: Office) -> None:
    assert [office.refusal(1, total_uc) for total_uc in (100, 200)] == ["", ""]
    office.clock.advance(MIDNIGHT_S - 1 - NOW_S)
    assert office.refusal(1, 300) != ""
    office.restart()
    assert office.refusal(1, 300) != ""
    office.clock.advance(1)
    assert office.refusal(1, 300) == ""
    office.restart()
    assert [office.refusal(1, total_uc) for total_uc in (400, 450)] == ["", ""]
    assert office.refusal(1, 451) != ""


def test_a_clock_that_is_set_back_gives_nobody_a_second_day(office: Office) -> None:
    office.clock.advance(DAY_S)
    assert [office.refusal(1, total_uc) for total_uc in (100, 200)] == ["", ""]
    office.clock = ManualClock(NOW_S)
    office.restart()
    assert office.refusal(1, 300) == "total_uc: 300 given, at most 250 (cap of one meter and day) expected"


def test_what_was_signed_before_never_counts_again(office: Office) -> None:
    for _ in range(5):
        assert [office.refusal(1, total_uc) for total_uc in (100, 200)] == ["", ""]
    office.restart()
    assert office.refusal(1, 250) == ""
    assert office.log.books.day_uc == 250


def test_statements_of_one_batch_count_against_each_other(office: Office) -> None:
    made = office.signer.sign([credit(1, total_uc) for total_uc in (100, 200, 300, 250)])
    assert [isinstance(one, bytes) for one in made] == [True, True, False, True]


def test_refunds_are_told_in_the_log_and_are_no_increase(office: Office) -> None:
    office.signer.sign([credit(1, 100), credit(1, 100, refunded_uc=40), credit(1, 100, refunded_uc=30)])
    lines = [json.loads(line) for line in office.path.read_text().splitlines()]
    assert [line["refund_increase_uc"] for line in lines] == [0, 40, 0]
    assert office.log.books.refunded == {(1, 1, 1): 40}
    assert office.log.books.day_uc == 100


@given(
    st.lists(
        st.tuples(st.integers(1, 3), st.integers(1, 130), st.sampled_from("ab"), st.sampled_from((0, 0, 0, 40_000))),
        min_size=1,
        max_size=40,
    )
)
@settings(max_examples=60, deadline=None)
def test_no_day_ever_exceeds_a_cap(steps: list[tuple[int, int, str, int]]) -> None:
    """Whatever is asked for: what was signed, counted by hand, stays below every cap, and a refusal changes nothing."""
    office = Office(SignerLog(None), Path())
    totals: dict[int, int] = {}
    signed: dict[tuple[str, object], int] = {}
    for meter, step_uc, actor, seconds in steps:
        office.clock.advance(seconds)
        day = office.clock.now_s() // DAY_S
        total_uc = totals.get(meter, 0) + step_uc
        keys = [(f"meter {day}", meter), (f"channel {day}", actor), (f"day {day}", None)]
        fits = step_uc <= 100 and all(
            signed.get(key, 0) + step_uc <= cap_uc for key, cap_uc in zip(keys, CAPS[1:4], strict=True)
        )
        assert (office.refusal(meter, total_uc, actor) == "") is fits
        if fits:
            totals[meter] = total_uc
            for key in keys:
                signed[key] = signed.get(key, 0) + step_uc
    assert {account[0]: total_uc for account, total_uc in office.log.totals.items()} == totals


def recover(*sources: tuple[int, int, int], earned_uc: int = 0) -> bytes:
    return stating.recover(Recovered(bytes(8), earned_uc, 0, 0, 0, 0, 0, sources))


def test_a_recover_order_adds_what_the_log_does_not_know(office: Office) -> None:
    """It sets totals under the credit key, so it counts as credit does; what was signed before is free."""

    def ask(body: bytes, **others: Any) -> bytes | Refused:
        return office.signer.sign([credit(1, 0, aspect=ASPECT_RECOVER, selector=0, version=1, body=body, **others)])[0]

    assert office.refusal(1, 100) == ""
    assert isinstance(ask(recover((1, 100, 0))), bytes)
    assert office.log.books.day_uc == 100
    over = ask(recover((1, 150, 0), (SOURCE_TYPED, 30, 0), earned_uc=21))
    assert str(over) == "increase_uc: 101 given, at most 100 (cap of one order) expected"
    assert isinstance(ask(recover((1, 150, 0), (SOURCE_TYPED, 30, 0), earned_uc=20)), bytes)
    assert office.log.books.day_uc == 200
    office.restart()
    assert isinstance(ask(recover((1, 150, 0), (SOURCE_TYPED, 30, 0), earned_uc=20)), bytes)
    assert office.log.books.day_uc == 200
    assert "a recover statement" in str(ask(b"\1"))
    many = recover(*((source, 1, 0) for source in range(1, 9)))
    assert "a recover statement" in str(ask(stating.apart(many), flags=FLAG_BODY_APART))
    assert "a recover statement" in str(ask(stating.apart(many), flags=FLAG_BODY_APART, apart_body=many + b"x"))
    assert isinstance(ask(stating.apart(many), flags=FLAG_BODY_APART, apart_body=many), bytes)
    assert office.log.books.day_uc == 207


@pytest.mark.parametrize("name", Caps._fields)
def test_a_cap_out_of_range_is_refused_by_name(name: str) -> None:
    with pytest.raises(Refused, match=f"max_{name}: -1 given"):
        Signer(KEYS, SignerLog(None), ManualClock(NOW_S), CAPS._replace(**{name: -1}))
