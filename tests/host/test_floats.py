"""Limits and floats of channels, and their daily settlement."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.ledger import accounts, balances, channels, floats, payments, settlements
from headend.ledger.floats import FloatConflict, OverLimit
from headend.refusals import Refused
from headend.store import MONEY, Store
from tests.host.books import CHANNEL, LIMIT_UC, METER, NOW_S, dump, open_books
from tests.host.money_rig import BOOKKEEPER, DAY, YUAN, bill, pay

TODAY = NOW_S // DAY


@pytest.fixture
def store(any_store_url: str) -> Iterator[Store]:
    with open_books(any_store_url, meters=(METER, 18), inline=True) as opened:
        yield opened


def limit(store: Store, kind: str = floats.AGENT, channel: str = CHANNEL, **limits: Any) -> None:
    store.write(lambda conn: floats.set_limits(conn, NOW_S, channel, kind, BOOKKEEPER, **limits)).result()


def held_uc(store: Store) -> int:
    assert store.read(floats.drift_uc, CHANNEL) == 0
    return store.read(balances.balance_uc, accounts.of_channel(CHANNEL))


def hand_over(store: Store, request_id: str, amount_uc: int) -> int:
    return store.write(floats.hand_over, NOW_S, CHANNEL, request_id, amount_uc, BOOKKEEPER).result()


def test_an_agent_sells_out_of_what_it_paid_in(store: Store) -> None:
    limit(store, overdraft_uc=0)
    with pytest.raises(OverLimit, match="at most 0, what is left of the channel's float"):
        pay(store, "p1", 1)
    assert hand_over(store, "h1", 10 * YUAN) == 10 * YUAN
    pay(store, "p1", 6 * YUAN)
    before = dump(store)
    with pytest.raises(OverLimit, match="at most 4000000"):
        pay(store, "p2", 5 * YUAN)
    assert dump(store) == before
    pay(store, "p2", 4 * YUAN)
    assert held_uc(store) == 0


def test_a_retry_credits_an_agent_and_its_customer_once(store: Store) -> None:
    """A retry credited an agent twice."""
    limit(store, overdraft_uc=0)
    for _ in range(3):
        assert hand_over(store, "h1", 10 * YUAN) == 10 * YUAN
    for _ in range(3):
        assert pay(store, "p1", 10 * YUAN).total_uc == 10 * YUAN
    assert held_uc(store) == 0
    assert pay(store, "p1", 10 * YUAN).repeated, "the float is spent, and the answer is the same"
    with pytest.raises(FloatConflict):
        hand_over(store, "h1", 9 * YUAN)


def test_a_payment_that_pays_bills_is_out_of_the_float_too(store: Store) -> None:
    bill(store, "b", 5 * YUAN, due_days=1)
    limit(store, overdraft_uc=7 * YUAN)
    pay(store, "p1", 5 * YUAN)
    with pytest.raises(OverLimit):
        pay(store, "p2", 3 * YUAN)
    assert held_uc(store) == -5 * YUAN


def test_limits_of_a_day_and_of_a_meter_and_day(store: Store) -> None:
    limit(store, floats.CASHIER, max_day_uc=10 * YUAN, max_meter_day_uc=6 * YUAN)
    pay(store, "p1", 5 * YUAN)
    with pytest.raises(OverLimit, match="at most 1000000, its limit for a meter and day"):
        pay(store, "p2", 2 * YUAN)
    pay(store, "p2", 4 * YUAN, meter=18)
    with pytest.raises(OverLimit, match="at most 1000000, the channel's limit for a day"):
        pay(store, "p3", 2 * YUAN, meter=18)
    pay(store, "p4", 6 * YUAN, at_s=NOW_S + DAY)
    with pytest.raises(OverLimit):  # a clock that goes back opens no second day
        pay(store, "p5", 5 * YUAN, at_s=NOW_S)


def test_a_low_float_is_told_until_it_is_filled(store: Store) -> None:
    limit(store, overdraft_uc=10 * YUAN, low_uc=5 * YUAN)
    assert store.read(floats.low) == []
    pay(store, "p1", 6 * YUAN)
    (row,) = store.read(floats.low)
    assert (row.channel, row.low_since_s) == (CHANNEL, NOW_S)
    hand_over(store, "h1", 3 * YUAN)
    assert store.read(floats.low) == []


def test_what_was_sold_before_there_were_limits_counts(store: Store) -> None:
    pay(store, "p1", 6 * YUAN)
    limit(store, overdraft_uc=10 * YUAN)
    assert held_uc(store) == -6 * YUAN
    with pytest.raises(OverLimit):
        pay(store, "p2", 5 * YUAN)


def test_sellers_at_once_never_outrun_a_float(any_store_url: str) -> None:
    with open_books(any_store_url, meters=tuple(range(1, 9))) as store:
        limit(store, overdraft_uc=20 * YUAN)
        taken: list[bool] = []

        def sell(meter: int) -> None:
            for number in range(5):
                arguments = (NOW_S, CHANNEL, f"{meter}-{number}", meter, YUAN)
                try:
                    store.write(payments.take, *arguments, lane=MONEY).result()
                    taken.append(True)
                except OverLimit:
                    taken.append(False)

        sellers = [threading.Thread(target=sell, args=(meter,)) for meter in range(1, 9)]
        for seller in sellers:
            seller.start()
        for seller in sellers:
            seller.join()
        assert (taken.count(True), len(taken), held_uc(store)) == (20, 40, -20 * YUAN)


def test_a_programme_grants_credit_of_its_own_account(store: Store) -> None:
    store.write(channels.add_channel, NOW_S, "winter-help", "op_" + "w" * 43, ("payments",), LIMIT_UC).result()
    limit(store, floats.SUBSIDY, "winter-help", max_meter_day_uc=8 * YUAN)
    bill(store, "b", 5 * YUAN, due_days=-9)
    granted = pay(store, "case 1", 8 * YUAN, channel="winter-help")
    assert (granted.allocated_uc, granted.total_uc) == (0, 8 * YUAN), "free units pay no debt"
    assert pay(store, "case 1", 8 * YUAN, channel="winter-help").repeated
    assert store.read(balances.balance_uc, accounts.of_subsidy("winter-help")) == -8 * YUAN
    assert store.read(balances.balance_uc, accounts.of_channel("winter-help")) == 0
    with pytest.raises(OverLimit):
        pay(store, "case 2", 1, channel="winter-help")
    with pytest.raises(Refused, match="kind"):
        limit(store, floats.BANK, "winter-help")


def settle(store: Store, theirs: dict[str, int], day: int = TODAY, at_s: int = NOW_S + DAY, **wrong: int) -> Any:
    sums = {"count": len(theirs), "sum_uc": sum(theirs.values()), **wrong}
    arguments = (at_s, CHANNEL, day, list(theirs.items()), sums["count"], sums["sum_uc"], "channel:pos-1")
    return store.write(settlements.settle, *arguments).result()


def test_a_day_is_settled_once_and_each_difference_is_dealt_with_once(store: Store) -> None:
    for name in ("both", "other", "ours"):
        pay(store, name, 2 * YUAN)
    pay(store, "tomorrow", YUAN, at_s=NOW_S + DAY)
    theirs = {"both": 2 * YUAN, "other": 3 * YUAN, "theirs": YUAN}
    made = settle(store, theirs)
    assert (made.theirs, made.theirs_uc, made.ours, made.ours_uc) == (3, 6 * YUAN, 3, 6 * YUAN)
    found = [(row.payment_id, row.kind) for row in store.read(settlements.differences_of, made.id)]
    assert found == [("other", "amount"), ("ours", "short"), ("theirs", "long")]
    before = dump(store)
    assert settle(store, theirs, at_s=NOW_S + 2 * DAY) == made and dump(store) == before
    with pytest.raises(settlements.SettlementConflict):
        settle(store, {"both": 2 * YUAN})
    deal = (NOW_S + DAY, CHANNEL, TODAY, "theirs", "posted now", BOOKKEEPER)
    store.write(settlements.deal_with, *deal).result()
    assert [row.payment_id for row in store.read(settlements.standing, 10)] == ["other", "ours"]
    with pytest.raises(Refused, match="that stands"):
        store.write(settlements.deal_with, *deal).result()


@pytest.mark.parametrize(
    ("wrong", "field"), [({"count": 2}, "count"), ({"sum_uc": 9}, "sum_uc"), ({"day": TODAY + 1}, "day")]
)
def test_a_list_that_cannot_be_is_refused(wrong: dict[str, int], field: str) -> None:
    with open_books() as store:
        before = dump(store)
        with pytest.raises(Refused) as refused:
            settle(store, {"a": YUAN}, **wrong)
        assert refused.value.field == field and dump(store) == before


lists = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 3))


@given(theirs=lists, ours=lists)
def test_differences_explain_the_sums(theirs: dict[str, int], ours: dict[str, int]) -> None:
    found = settlements.differences(theirs, ours)
    assert sum(theirs.values()) - sum(ours.values()) == sum(mine - other for _, _, mine, other in found)
    assert len(theirs) - len(ours) == sum((kind == "long") - (kind == "short") for _, kind, _, _ in found)
    assert (not found) == (theirs == ours)
