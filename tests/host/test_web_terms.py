"""Debts and load control over HTTP: stated as totals, confirmed by a report, gone with their account."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from headend.store.schema import order
from meterlink import bodies
from meterlink.orders import ASPECT_DEBT, ASPECT_LOAD, ROLE_CONTROL, ROLE_CREDIT, Order
from tests.host.books import NOW_S
from tests.host.site import API, Site

ME = f"{API}/meters/17"
DEBT = {"placed": "100", "share": 1000, "cap": "5", "period": "week", "priority": 2}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with Site(tmp_path) as made:
        yield made


def bodies_of(site: Site, aspect: int) -> list[tuple[int, bytes, str]]:
    rows = select(order.c.selector, order.c.body, order.c.state).where(order.c.aspect == aspect).order_by(order.c.id)
    return [tuple(row) for row in site.store.read(lambda conn: conn.execute(rows).all())]


def test_a_debt_is_stated_and_confirmed_like_any_version(site: Site) -> None:
    client = site.client()
    site.born()
    made = client.put(f"{ME}/debts/2", json=DEBT)
    assert made.status_code == 202
    shown = made.json()
    assert (shown["aspect"], shown["state"], shown["wants"]) == ("debt", "queued", "version")
    ((number, body, _),) = bodies_of(site, ASPECT_DEBT)
    terms = bodies.decode_debt(body)
    assert (number, terms.placed_uc, terms.share, terms.cap_uc) == (2, 100_000_000, 1000, 5_000_000)
    assert (terms.kind, terms.period, terms.priority) == (bodies.DEBT_SHARED, bodies.PERIOD_WEEK, 2)
    site.run(1)
    signed = site.store.read(lambda conn: conn.execute(select(order.c.signed)).scalar_one())
    assert Order(signed).stated.role == ROLE_CREDIT, "who places a debt takes money"


def test_totals_of_a_debt_never_fall(site: Site) -> None:
    client = site.client()
    assert client.put(f"{ME}/debts/1", json={**DEBT, "withdrawn": "20"}).status_code == 202
    for changed, field in (
        ({"placed": "99"}, "placed"),
        ({"withdrawn": "19"}, "withdrawn"),
        ({"withdrawn": "101"}, "withdrawn"),
    ):
        answer = client.put(f"{ME}/debts/1", json={**DEBT, "withdrawn": "20", **changed})
        assert (answer.status_code, answer.json()["field"]) == (422, field)
    assert client.put(f"{ME}/debts/1", json={"placed": "120", "withdrawn": "20", "amount": "1"}).status_code == 202
    assert client.put(f"{ME}/debts/3", json={"placed": "1", "amount": "1"}).status_code == 202
    assert [state for _, _, state in bodies_of(site, ASPECT_DEBT)] == ["superseded", "queued", "queued"]


def test_what_is_no_debt_is_refused(site: Site) -> None:
    client = site.client()
    for number, body in (
        ("0", DEBT),
        ("4", DEBT),
        ("x", DEBT),
        ("1", {**DEBT, "amount": "1"}),  # by time or by share
        ("1", {**DEBT, "share": 10_001}),
        ("1", {"share": 1}),
    ):
        assert client.put(f"{ME}/debts/{number}", json=body).status_code == 422, (number, body)
    assert bodies_of(site, ASPECT_DEBT) == []


def test_load_is_limited_by_steps(site: Site) -> None:
    client = site.client()
    steps = [{"from_s": NOW_S, "power_w": 2000}, {"from_s": NOW_S + 3600, "power_w": 0}]
    assert client.put(f"{ME}/load", json={"steps": steps}).status_code == 202
    ((_, body, _),) = bodies_of(site, ASPECT_LOAD)
    assert bodies.decode_load(body) == ((NOW_S, 2000), (NOW_S + 3600, 0))
    site.born()
    site.run(1)
    signed = site.store.read(lambda conn: conn.execute(select(order.c.signed)).scalar_one())
    assert Order(signed).stated.role == ROLE_CONTROL
    assert client.put(f"{ME}/load", json={"steps": steps[::-1]}).status_code == 422
    assert client.put(f"{ME}/load", json={"steps": []}).status_code == 202


def test_a_debt_that_was_not_sent_ends_with_its_account_and_load_control_goes_on(site: Site) -> None:
    client = site.client()
    client.put(f"{ME}/debts/1", json=DEBT)
    client.put(f"{ME}/load", json={"steps": []})
    assert client.post(f"{ME}/account", json={"cause": "tenant"}).status_code == 202
    assert [state for _, _, state in bodies_of(site, ASPECT_DEBT)] == ["superseded"]
    assert [state for _, _, state in bodies_of(site, ASPECT_LOAD)] == ["queued"]
    assert client.put(f"{ME}/debts/1", json={"placed": "1", "amount": "1"}).status_code == 202, "totals begin anew"
