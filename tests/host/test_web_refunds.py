"""Refunds over HTTP: who may ask, what is answered, and that asking twice is asking once."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from headend.access import permissions
from headend.gate import proposals
from headend.ledger import channels
from headend.store.schema_refunds import refund
from tests.host.books import LIMIT_UC, NOW_S
from tests.host.site import API, Site, problem

AGENT = "op_" + "g" * 43
RIGHT = 18


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with Site(tmp_path, meters=(17, RIGHT)) as made:
        scopes = (permissions.PAYMENTS, permissions.REFUNDS, permissions.READ)
        made.store.write(channels.add_channel, NOW_S, "agent-9", AGENT, scopes, LIMIT_UC).result()
        made.born()
        yield made


@pytest.fixture
def agent(site: Site) -> httpx.Client:
    client = site.client(AGENT)
    paid = client.post(f"{API}/payments", json={"payment_id": "a", "meter": "17", "amount": "50"})
    assert paid.status_code == 201
    return client


def test_a_channel_takes_its_own_payment_back(site: Site, agent: httpx.Client) -> None:
    wanted = {"request_id": "v-1", "payment_id": "a", "why": "typed the wrong amount"}
    made = agent.post(f"{API}/reversals", json=wanted)
    again = agent.post(f"{API}/reversals", json=wanted)
    assert (made.status_code, again.status_code) == (201, 200) and again.json() == made.json()
    shown = made.json()
    assert (shown["state"], shown["kind"], shown["amount"], shown["channel"]) == (
        "stated",
        "reversal",
        "50.00",
        "agent-9",
    )
    assert [one["event"] for one in shown["history"]] == ["propose", "approve", "state"]
    assert agent.get(made.headers["location"]).json() == shown
    problem(agent.post(f"{API}/reversals", json={**wanted, "payment_id": "b"}), 404, "unknown_payment")
    problem(agent.post(f"{API}/reversals", json={**wanted, "request_id": "v-2"}), 422, "refused")
    assert agent.get(f"{API}/refunds", params={"meter": "17", "state": "stated"}).json()["refunds"][0] == {
        name: value for name, value in shown.items() if name not in ("history", "proved_at", "evidence")
    }


def test_no_channel_touches_anothers_payment(site: Site, agent: httpx.Client) -> None:
    other = site.client()
    wanted: dict[str, Any] = {"request_id": "v-1", "payment_id": "a", "why": "mine"}
    problem(other.post(f"{API}/reversals", json=wanted), 404, "unknown_payment")
    problem(other.post(f"{API}/reversals", json={**wanted, "channel": "agent-9"}), 422, "refused")


def test_a_refund_and_a_transfer_wait_for_a_second_person(site: Site, agent: httpx.Client) -> None:
    moved = agent.post(
        f"{API}/transfers", json={"request_id": "t", "payment_id": "a", "to_meter": "18", "why": "next door"}
    )
    assert moved.status_code == 201 and moved.json()["state"] == "proposed"
    paid_out = agent.post(f"{API}/meters/17/refunds", json={"request_id": "r", "amount": "20", "why": "moves out"})
    assert (paid_out.json()["state"], paid_out.json()["kind"]) == ("proposed", "refund")
    for shown in (moved.json(), paid_out.json()):
        row = site.store.read(lambda conn, of=shown["proposal"]: proposals.get(conn, of))
        sentence = {language: proposals.sentence(row, language) for language in ("en", "zh")}
        assert shown["amount"] in sentence["en"] and shown["amount"] in sentence["zh"]
        assert "000000000017" in sentence["en"]
    early = agent.post(f"{API}/refunds/{moved.json()['refund']}/withdraw", json={})
    problem(early, 422, "refused")
    problem(agent.post(f"{API}/refunds/{moved.json()['refund']}/write-off", json={"evidence": "gone"}), 422, "refused")
    problem(agent.get(f"{API}/refunds/999"), 404, "unknown_refund")
    problem(agent.get(f"{API}/refunds/x"), 404, "unknown_refund")
    page = agent.get(f"{API}/refunds", params={"limit": 1}).json()
    assert [one["request_id"] for one in page["refunds"]] == ["r"]
    rest = agent.get(f"{API}/refunds", params={"before": page["next_before"]}).json()
    assert [one["request_id"] for one in rest["refunds"]] == ["t"] and rest["next_before"] is None


def test_what_does_not_fit_is_refused_and_leaves_nothing(site: Site, agent: httpx.Client) -> None:
    for path, body, field in (
        ("meters/17/refunds", {"request_id": "r", "amount": "50.01", "why": "w"}, "amount_uc"),
        ("meters/17/refunds", {"request_id": "r", "amount": "0", "why": "w"}, "amount_uc"),
        ("meters/17/refunds", {"request_id": "r", "amount": "1", "why": " "}, "why"),
        ("transfers", {"request_id": "t", "payment_id": "a", "to_meter": "17", "why": "w"}, "to_meter"),
    ):
        answer = problem(agent.post(f"{API}/{path}", json=body), 422, "refused")
        assert answer["field"] == field
    problem(
        agent.post(f"{API}/transfers", json={"request_id": "t", "payment_id": "a", "to_meter": "99", "why": "w"}),
        404,
        "unknown_meter",
    )
    assert site.store.read(lambda conn: conn.execute(refund.select()).all()) == []


def test_the_policy_is_data_with_its_history(site: Site, agent: httpx.Client) -> None:
    client = site.client()
    rule = client.get(f"{API}/refund-policy").json()
    strict = {**rule, "alone": "49.99", "spent": "channel"}
    assert client.put(f"{API}/refund-policy", json=strict).json() == strict
    assert client.get(f"{API}/refund-policy").json() == strict
    problem(agent.put(f"{API}/refund-policy", json=rule), 403, "out_of_scope")
    made = agent.post(f"{API}/reversals", json={"request_id": "v", "payment_id": "a", "why": "w"}).json()
    assert made["state"] == "proposed"
