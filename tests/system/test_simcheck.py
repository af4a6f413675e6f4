"""The whole system on seeds; the same seed gives the same run; and a system that is broken is noticed.

`make soak` runs it on 5 000 seeds from OPENPREPAY_SEED on, each for half as long again.
"""

import os
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Connection

from headend import registry
from headend.gate import checks
from headend.ledger import payments
from headend.ledger.refunds import stating
from headend.orders import confirm, outbox
from headend.orders.confirm import CONFIRMED, Verdict
from meter import apply, credit, energy, pricing, supply
from meter.core import Meter
from meterlink import billing, reasons
from meterlink.tariff import Tariff
from openprepay.simcheck import cli
from openprepay.simcheck.invariants import Broken
from openprepay.simcheck.system import LONG, SHORT
from openprepay.simcheck.themes import THEMES, Office, Returns, Theme

FIRST_SEED = int(os.environ.get("OPENPREPAY_SEED", "0"))
SEEDS = int(os.environ.get("OPENPREPAY_SIM_RUNS", "50"))
SHAPE = SHORT if "OPENPREPAY_SIM_RUNS" in os.environ else replace(SHORT, rounds=160, settle_rounds=160)
BRIEF = replace(SHORT, rounds=60, settle_rounds=60)


@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + SEEDS))
def test_a_seed_holds(seed: int) -> None:
    system, invariants = cli.run(seed, meters=2 + (seed % 5 == 0), shape=SHAPE)
    assert system.network.lost > 0
    assert system.network.repeated > 0
    assert invariants.checks > 2_000


def test_a_long_run_with_the_waits_of_a_real_head_end_holds() -> None:
    cli.run(1, shape=LONG)


def test_a_seed_gives_the_same_run_again() -> None:
    stories = [cli.run(77, meters=2, shape=BRIEF)[0].log for _ in range(2)]
    assert stories[0] == stories[1]


def double_credit(patch: pytest.MonkeyPatch) -> None:
    take = credit.Account.take

    def twice(self: credit.Account, source: int, credited_uc: int, refunded_uc: int, closed: bool = False) -> None:
        take(self, source, credited_uc, refunded_uc, closed)
        self.credited_uc += credited_uc

    patch.setattr(credit.Account, "take", twice)


def never_trip(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(supply.Supply, "_first", lambda self: -1)


def always_friendly(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Meter, "friendly", lambda self: True)


def forget_the_sales_that_wait(patch: pytest.MonkeyPatch) -> None:
    level = credit.Account.level

    def generous(self: credit.Account, limit_uc: int, brought_uc: int = 0) -> int:
        moved_uc = level(self, limit_uc, brought_uc)
        self.credited_uc += max(0, moved_uc)  # it waits, and is there already
        return moved_uc

    patch.setattr(credit.Account, "level", generous)


def believe_everything(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(confirm, "confirms", lambda order, report: Verdict(CONFIRMED, "", held=True))


def ignore_expiry(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(apply, "_expiry", lambda meter, stated, takes: 0)


def lose_the_remainder(patch: pytest.MonkeyPatch) -> None:
    charge = credit.Account.charge

    def rounded(self: credit.Account, *arguments: int) -> None:
        charge(self, *arguments)
        self.remainder = 0

    patch.setattr(credit.Account, "charge", rounded)


def charge_days_twice(patch: pytest.MonkeyPatch) -> None:
    turn = billing.Running.turn

    def forgetful(self: billing.Running, plan: Tariff, unix_s: int) -> int:
        self.day = min(self.day, plan.day(unix_s) - 1) if self.day else 0
        return turn(self, plan, unix_s)

    patch.setattr(pricing.Pricing, "turn", forgetful)


def count_twice(patch: pytest.MonkeyPatch) -> None:
    add = energy.Energy.add

    def twice(self: energy.Energy, imported: int, exported: int, rate: int = 0) -> tuple[int, int]:
        return add(self, 2 * imported, exported, rate)

    patch.setattr(energy.Energy, "add", twice)


def bar_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(registry, "bars", lambda *_: [])


def forget_what_is_for_safety(patch: pytest.MonkeyPatch) -> None:
    step = supply.Supply.step

    def careless(self: supply.Supply, *arguments: Any) -> None:
        self.holds &= ~(1 << reasons.HOLD_SAFETY)
        step(self, *arguments)

    patch.setattr(supply.Supply, "step", careless)


def send_past_the_gate(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(outbox, "_passes", lambda *_: True)


def send_in_spite_of_a_freeze(patch: pytest.MonkeyPatch) -> None:
    for looks in (checks, outbox):
        patch.setattr(looks, "freeze", SimpleNamespace(standing=lambda _conn: None))


def answer_before_the_books(patch: pytest.MonkeyPatch) -> None:
    take = payments.take

    def hasty(conn: Connection, now_s: int, channel: str, payment_id: str, *rest: Any, **options: Any) -> Any:
        return None if payment_id == "p5" else take(conn, now_s, channel, payment_id, *rest, **options)

    patch.setattr(payments, "take", hasty)


def pay_out_unproved(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(stating, "proves", lambda row, _report: row is not None)


@pytest.mark.parametrize(
    ("sabotage", "number", "themes"),
    [
        (double_credit, 2, THEMES),
        (never_trip, 3, THEMES),
        (always_friendly, 3, THEMES),
        (forget_the_sales_that_wait, "2|14", THEMES),
        (believe_everything, 4, THEMES),
        (ignore_expiry, 5, THEMES),
        (lose_the_remainder, 7, THEMES),
        (charge_days_twice, 7, THEMES),
        (count_twice, 9, THEMES),
        (bar_nothing, 10, (Office,)),
        (forget_what_is_for_safety, 11, THEMES),
        (send_past_the_gate, 12, (Office,)),
        (send_in_spite_of_a_freeze, 12, (Office,)),
        (answer_before_the_books, 13, THEMES),
        (pay_out_unproved, 14, (Returns,)),
    ],
)
def test_a_broken_system_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
    sabotage: Callable[[pytest.MonkeyPatch], None],
    number: int | str,
    themes: tuple[type[Theme], ...],
) -> None:
    """In runs whose theme is about what is broken."""
    seeds = [seed for seed in range(100, 160) if THEMES[seed % len(THEMES)] in themes]
    sabotage(monkeypatch)
    with pytest.raises(Broken, match=f"^invariant ({number}):"):
        for seed in seeds[:12]:
            cli.run(seed, meters=2)


def test_the_command_names_the_seed_that_replays_a_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    never_trip(monkeypatch)
    assert cli.main(["--seed", "100", "--runs", "4", "--meters", "2"]) == 1
    told = capsys.readouterr().err
    assert "BROKEN invariant 3" in told
    assert "openprepay sim check --seed 1" in told


@pytest.mark.parametrize("arguments", [["--meters", "0"], ["--meters", "101"], ["--runs", "0"]])
def test_wrong_arguments_are_named(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(arguments) == 2
    assert "expected" in capsys.readouterr().err
