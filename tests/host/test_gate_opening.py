"""What may open a relay, by the table: compared with what it means, not with how it is written."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headend.gate import opens
from headend.gate.opening import OPENING, fields_of_limits
from meterlink import bodies, names, reasons, states, stating
from meterlink.bodies import DebtTerms, Limits
from meterlink.orders import (
    ASPECT_CREDIT,
    ASPECT_DEBT,
    ASPECT_LIMITS,
    ASPECT_LOAD,
    ASPECT_MODE,
    ASPECT_RETIRE,
    ASPECT_SUPPLY,
    ASPECT_TARIFF,
)
from meterlink.tariff import PER_DAY, PER_MONTH, Tariff
from tests.host.books import NOW_S

HOLD, RELEASE = bodies.encode_supply(bodies.HOLD), bodies.encode_supply(bodies.RELEASE)


@pytest.mark.parametrize("reason", range(reasons.HOLD_ARREARS, reasons.HOLD_SAFETY + 1))
def test_a_hold_opens_and_its_release_does_not(reason: int) -> None:
    assert opens(ASPECT_SUPPLY, reason, HOLD) and not opens(ASPECT_SUPPLY, reason, RELEASE)


def test_protection_gives_and_its_end_takes() -> None:
    assert not opens(ASPECT_SUPPLY, reasons.HOLD_PROTECTION, HOLD)
    assert opens(ASPECT_SUPPLY, reasons.HOLD_PROTECTION, RELEASE)


def test_every_aspect_is_in_the_table_or_named_as_one_that_takes_nothing() -> None:
    takes_nothing = {"clock", "clear", "keys", "firmware", "epoch", "recover"}
    assert {names.of(names.ASPECT, aspect) for aspect in OPENING} | takes_nothing == set(names.ASPECT.values())
    assert opens(ASPECT_RETIRE, 0, stating.retire(2))


@pytest.mark.parametrize(
    ("credited", "refunded", "before", "expected"),
    [
        (100, 0, None, False),
        (100, 40, (100, 0), True),
        (100, 40, None, True),
        (140, 40, (100, 0), False),  # a payment that is as large as the refund
        (139, 40, (100, 0), True),
        (150, 40, (100, 40), False),  # a payment after the refund
    ],
)
def test_credit_opens_where_it_takes_more_than_it_gives(
    credited: int, refunded: int, before: tuple[int, int] | None, expected: bool
) -> None:
    earlier = None if before is None else bodies.encode_credit(*before, [])
    assert opens(ASPECT_CREDIT, 1, bodies.encode_credit(credited, refunded, []), earlier) is expected


PRICES = st.lists(st.integers(0, 5), min_size=2, max_size=2).map(tuple)
TARIFFS = st.builds(
    lambda prices, noon, charge, per: Tariff(prices, ((0, 0), (noon, 1)), charges=((per, charge),) if charge else ()),
    PRICES,
    st.sampled_from((40, 48)),
    st.integers(0, 3),
    st.sampled_from((PER_DAY, PER_MONTH)),
)


@settings(max_examples=300)
@given(old=TARIFFS, new=TARIFFS)
def test_a_tariff_that_passes_freely_is_dearer_at_no_time(old: Tariff, new: Tariff) -> None:
    if opens(ASPECT_TARIFF, 0, new.encode(), old.encode()):
        return
    for quarter in range(0, 96, 4):
        at_s = NOW_S - NOW_S % 86_400 + quarter * 900
        assert new.price_uc_per_kwh(new.rate_at(at_s)) <= old.price_uc_per_kwh(old.rate_at(at_s))
    for days in (1, 31, 365):
        first = NOW_S // 86_400
        assert new.standing_uc(first, first + days) <= old.standing_uc(first, first + days)


@given(plan=TARIFFS)
def test_the_same_tariff_and_a_cheaper_one_pass_freely(plan: Tariff) -> None:
    assert not opens(ASPECT_TARIFF, 0, plan.encode(), plan.encode())
    cheaper = Tariff(tuple(max(price - 1, 0) for price in plan.prices_uc_per_kwh), plan.slots, charges=plan.charges)
    assert not opens(ASPECT_TARIFF, 0, cheaper.encode(), plan.encode())
    assert opens(ASPECT_TARIFF, 0, plan.encode(), None), "what is not known may be anything"


def test_export_that_earns_less_opens() -> None:
    old = Tariff((10,), export_prices_uc_per_kwh=(5,))
    assert opens(ASPECT_TARIFF, 0, Tariff((10,)).encode(), old.encode())
    assert opens(ASPECT_TARIFF, 0, Tariff((10,), export_prices_uc_per_kwh=(4,)).encode(), old.encode())
    assert not opens(ASPECT_TARIFF, 0, Tariff((9,), export_prices_uc_per_kwh=(6,)).encode(), old.encode())


def wide(**others: object) -> bytes:
    """Limits in the middle of their ranges."""
    fields = {
        "alarm_uc": 50, "alarm2_uc": 20, "trip_delay_s": 600, "dwell_s": 60, "spread_s": 60, "stable_s": 10,
        "max_current_ma": 60_000, "credit_limit_uc": 10**9, "typed_cap_uc": 10**9, "emergency_uc": 500,
        "emergency_from_uc": 500, "overdraft_uc": 300, "min_close_uc": 200, "voltage_s": 10, "over_voltage_dv": 2600,
        "under_voltage_dv": 1800, "max_temperature_dc": 900, "overload_rest_s": 60, "overload_closes": 3,
    }  # fmt: skip
    return Limits(**{**fields, **others}).encode()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("field", "tighter", "looser"),
    [
        ("trip_delay_s", 0, 900),
        ("max_current_ma", 40_000, 0),
        ("emergency_uc", 0, 900),
        ("overdraft_uc", 0, 900),
        ("min_close_uc", 300, 0),
        ("over_voltage_dv", 2500, 0),
        ("under_voltage_dv", 1900, 0),
        ("max_temperature_dc", 800, 0),
        ("credit_limit_uc", 10, 10**10),
        ("overload_closes", 1, 9),
    ],
)
def test_tighter_limits_open_and_looser_ones_do_not(field: str, tighter: int, looser: int) -> None:
    assert opens(ASPECT_LIMITS, 0, wide(**{field: tighter}), wide())
    assert not opens(ASPECT_LIMITS, 0, wide(**{field: looser}), wide())


def test_what_only_tells_passes_freely_and_a_reminder_trips() -> None:
    assert not opens(ASPECT_LIMITS, 0, wide(alarm_uc=90), wide())
    assert opens(ASPECT_LIMITS, 0, wide(rules=bodies.RULE_REMINDER), wide())
    reminding = wide(rules=bodies.RULE_REMINDER)
    assert opens(ASPECT_LIMITS, 0, wide(rules=bodies.RULE_REMINDER, alarm2_uc=40), reminding)
    assert not opens(ASPECT_LIMITS, 0, wide(), reminding)


def test_every_field_of_limits_is_looked_at_or_only_tells() -> None:
    only_tell = {"alarm_uc", "alarm2_uc", "dwell_s", "spread_s", "stable_s", "rules", "friendly_jitter_s"}
    assert set(fields_of_limits()) | only_tell == set(vars(Limits(0, 0, 0, 0, 0, 0, 0)))


def test_modes() -> None:
    local, charged = stating.mode(states.MODE_LOCAL, 0, 0, 0, 0, 0), stating.mode(states.MODE_LOCAL, 9, 0, 0, 0, 0)
    covered = stating.mode(states.MODE_REMOTE, 9, 1_000, 5, 10, 60)
    less = stating.mode(states.MODE_REMOTE, 9, 999, 5, 10, 60)
    postpaid = stating.mode(states.MODE_POSTPAID, 9, 0, 0, 0, 0)
    for new, old, expected in (
        (local, None, True),
        (local, local, False),
        (charged, local, True),
        (covered, local, True),
        (covered, covered, False),
        (less, covered, True),
        (covered, less, False),
        (postpaid, local, False),
        (local, postpaid, True),
    ):
        assert opens(ASPECT_MODE, 0, new, old) is expected


def test_load_and_debts() -> None:
    none, limited = bodies.encode_load(()), bodies.encode_load(((NOW_S, 2_000), (NOW_S + 60, 0)))
    assert opens(ASPECT_LOAD, 0, limited) and not opens(ASPECT_LOAD, 0, none, limited)

    def debt(placed: int, withdrawn: int = 0, amount: int = 5, cap: int = 0) -> bytes:
        terms = DebtTerms(placed, withdrawn, bodies.DEBT_TIMED, 0, amount, bodies.PERIOD_DAY, 0, cap)
        return terms.encode()

    assert opens(ASPECT_DEBT, 1, debt(100)) and opens(ASPECT_DEBT, 1, debt(200), debt(100))
    assert opens(ASPECT_DEBT, 1, debt(100, amount=6), debt(100))
    assert not opens(ASPECT_DEBT, 1, debt(100, 50), debt(100)) and not opens(ASPECT_DEBT, 1, debt(100, 100), debt(100))
