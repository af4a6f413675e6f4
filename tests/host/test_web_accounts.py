"""Accounts over HTTP: another tenant, another meter, the end, who prices, and what a person has to look at."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from headend.epochs import findings
from headend.fleet.meters import add_meter
from headend.ledger import accounts, balances, payments
from headend.store.schema import order
from headend.tokens import usage
from headend.web import words
from meterlink import bodies, bodies_root, names, states
from meterlink.orders import Order
from tests.host.books import CHANNEL, METER, NOW_S, record
from tests.host.site import ALL, API, Site, problem

ME = f"{API}/meters/17"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with Site(tmp_path) as made:
        yield made


def post(site: Site, what: str, **body: Any) -> httpx.Response:
    return site.client().post(f"{ME}/{what}", json=body)


def stated(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == f"{API}/orders/{answer.json()['order']}"
    body: dict[str, Any] = answer.json()
    return body


def signed(site: Site, order_id: int) -> bytes:
    """What was sent to the meter."""
    query = select(order.c.signed).where(order.c.id == order_id)
    return bytes(site.store.read(lambda conn: conn.execute(query).scalar_one()))


def pay(site: Site, payment_id: str, amount: str, **more: Any) -> httpx.Response:
    body = {"payment_id": payment_id, "meter": "17", "amount": amount, **more}
    return site.client().post(f"{API}/payments", json=body)


def test_a_change_of_tenant_is_an_order_and_closes_the_books(site: Site) -> None:
    assert pay(site, "a", "25.00").status_code == 201
    made = stated(post(site, "account", cause="tenant", kept_holds=["tamper", "legal"], note="moved out"))
    assert (made["aspect"], made["state"]) == ("epoch", "queued")
    former = site.store.read(balances.balance_uc, accounts.former_of(METER, 1))
    assert former == 25_000_000
    row = site.store.read(payments.get, CHANNEL, "a") or site.store.read(payments.of_meter, METER)[0]
    assert row.account_epoch == 1
    late = pay(site, "b", "3.00", account_epoch=1)
    assert (late.status_code, late.json()["order"]) == (201, None)
    assert site.store.read(balances.balance_uc, accounts.former_of(METER, 1)) == 28_000_000
    problem(pay(site, "c", "3.00", account_epoch=7), 422, "refused")


def test_the_holds_that_stay_are_in_the_order(site: Site) -> None:
    made = stated(post(site, "account", cause="repaired", kept_holds=["tamper", "legal"]))
    site.born()
    site.run(5)
    raw = signed(site, made["order"])
    cause, kept = bodies_root.decode_epoch(Order(raw).stated.body)
    assert (cause, kept) == (bodies_root.EPOCH_REPAIRED, 1 << 4 | 1 << 6)


def test_another_meter_takes_the_place(site: Site) -> None:
    pay(site, "a", "25.00")
    site.store.write(add_meter, NOW_S, record(18)).result()
    made = stated(post(site, "exchange", new_meter="18"))
    assert made["aspect"] == "retire"
    assert site.store.read(balances.balance_uc, accounts.of_meter(18, 1)) == 25_000_000
    problem(pay(site, "b", "1.00"), 422, "refused")
    problem(post(site, "exchange", new_meter="18"), 422, "refused")
    problem(post(site, "exchange", new_meter="99"), 404, "unknown_meter")


def test_a_meter_is_retired_once(site: Site) -> None:
    assert stated(post(site, "retire"))["aspect"] == "retire"
    problem(post(site, "retire"), 422, "refused")
    problem(post(site, "mode", mode="local"), 422, "refused")


def test_only_a_meter_that_lost_its_history_is_recovered(site: Site) -> None:
    problem(post(site, "recover"), 422, "refused")
    peer = site.born()
    peer.be(alarms=1 << states.ALARM_HISTORY_LOST, fresh=b"freshone")
    site.run(2000)
    (one,) = site.client().get(f"{API}/findings").json()["findings"]
    assert (one["kind"], one["meter"]) == ("history_lost", "000000000017")
    assert stated(post(site, "recover", note="flash exchanged"))["aspect"] == "recover"


def test_a_charge_is_booked_with_the_order_that_states_it(site: Site) -> None:
    pay(site, "a", "25.00")
    stated(post(site, "mode", mode="local", charge="4.50", note="reconnection fee"))
    made = stated(post(site, "mode", mode="remote", charge="0.50", until_wh=5000, balance="-1.25", grace_wh=100))
    assert made["aspect"] == "mode"
    assert site.store.read(balances.balance_uc, accounts.of_meter(METER, 1)) == 20_000_000
    assert site.store.read(balances.balance_uc, accounts.INCOME_ENERGY) == 5_000_000
    site.born()
    site.run(5)
    raw = signed(site, made["order"])
    assert bodies.decode_mode(Order(raw).stated.body) == (states.MODE_REMOTE, 5_000_000, 5000, -1_250_000, 100, 0)
    problem(post(site, "mode", mode="local", until_wh=1), 422, "refused")


def test_latches_are_cleared_by_name(site: Site) -> None:
    site.born()
    made = stated(post(site, "clear", latches=["bypassed", "wrong_tokens"]))
    site.run(5)
    raw = signed(site, made["order"])
    wanted = sum(1 << names.code(names.LATCH, latch) for latch in ("bypassed", "wrong_tokens"))
    assert bodies.decode_clear(Order(raw).stated.body)[0] == wanted
    problem(post(site, "clear", latches=[]), 422, "refused")


def test_findings_stand_on_the_page_in_both_languages(site: Site) -> None:
    site.store.write(findings.note, NOW_S, METER, findings.UNLOGGED, "Source 1 has stated 5.", 5).result()
    for language, text in (("en", "credit that the signer has no record of"), ("zh", "签名日志中没有的充值")):
        page = site.client().get("/", auth=("all", ALL), headers={"Accept-Language": language}).text
        assert text in page and "Source 1 has stated 5." in page


def test_every_finding_has_its_words() -> None:
    assert set(findings.KINDS) == set(words.FINDINGS) | set(usage.KINDS)


def test_a_payment_that_is_posted_again_says_so(site: Site) -> None:
    first = pay(site, "a", "25.00", posted_again=True)
    assert (first.status_code, pay(site, "a", "25.00").status_code) == (201, 200), "it is the same payment either way"
    problem(pay(site, "b", "1.00", posted_again="yes"), 422, "refused")
