"""Proposals, freeze and budgets over the API: a channel proposes, people decide."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headend.gate import policy
from tests.host.books import NOW_S
from tests.host.people_rig import add_person, session_of
from tests.host.site import API, Site, problem

METERS = (17, 18, 19)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with Site(tmp_path, METERS) as made:
        made.store.write(policy.put, NOW_S, "system", policy.Policy().rules(), "as by default").result()
        yield made


def listed(site: Site, **others: Any) -> dict[str, Any]:
    body = {"kind": "stop", "meters": ["17", "18"], "reason": "arrears", "why": "bills of May"}
    answer = site.client().post(f"{API}/proposals", json={**body, **others})
    assert answer.status_code == 202, answer.text
    found: dict[str, Any] = answer.json()
    assert answer.headers["etag"] == f'"{found["digest"]}"'
    return found


def test_the_second_stop_waits_and_says_what_for(site: Site) -> None:
    client = site.client()
    first = client.post(f"{API}/meters/17/disconnect", json={"reason": "arrears"}).json()
    assert (first["state"], first["proposal"]) == ("queued", None)
    second = client.post(f"{API}/meters/18/disconnect", json={"reason": "arrears"})
    assert second.status_code == 202 and second.json()["state"] == "awaiting_approval"
    proposal = client.get(f"{API}/proposals/{second.json()['proposal']}").json()
    assert (proposal["kind"], proposal["state"], proposal["author"]) == ("order", "open", "channel:all")
    assert str(second.json()["order"]) in proposal["says"]["zh"]
    problem(client.post(f"{API}/proposals/{proposal['proposal']}/approve", json={}), 403, "out_of_scope")
    cancelled = client.post(f"{API}/orders/{second.json()['order']}/cancel", json={"note": "wrong house"}).json()
    assert cancelled["state"] == "cancelled"
    assert client.get(f"{API}/proposals/{proposal['proposal']}").json()["state"] == "withdrawn"


def test_a_list_has_its_ticket_and_its_meters(site: Site) -> None:
    made = listed(site)
    assert (
        made["items"] == {"waiting": 2}
        and "停电操作票" in made["ticket"]["zh"]
        and made["digest"] in made["ticket"]["en"]
    )
    assert made["says"] == {"en": "Disconnect 2 meters for arrears", "zh": "停电 2 户，原因：欠费"}
    assert "Task: set supply off at 2 meters for arrears: bills of May" in made["ticket"]["en"]
    client = site.client()
    page = client.get(f"{API}/proposals", params={"state": "open", "limit": 1}).json()
    assert [one["proposal"] for one in page["proposals"]] == [made["proposal"]]
    items = client.get(f"{API}/proposals/{made['proposal']}/items", params={"limit": 1}).json()
    assert items["items"][0]["meter"] == "000000000017" and items["next_after"] == "000000000017"
    withdrawn = client.post(f"{API}/proposals/{made['proposal']}/withdraw", json={"note": "no"}).json()
    assert (withdrawn["state"], withdrawn["items"]) == ("withdrawn", {"dropped": 2})


def test_a_list_of_one_meter_says_so(site: Site) -> None:
    made = listed(site, meters=["17"])
    assert made["says"] == {"en": "Disconnect 1 meter for arrears", "zh": "停电 1 户，原因：欠费"}


def test_what_does_not_fit_a_list_is_refused(site: Site) -> None:
    client = site.client()
    for others in ({"reason": None}, {"meters": ["999"]}, {"kind": "tariff"}, {"reason": "safety"}):
        body = {"kind": "stop", "meters": ["17"], "reason": "arrears", "why": "x", **others}
        problem(client.post(f"{API}/proposals", json=body), 422, "refused")
    problem(client.get(f"{API}/proposals/77"), 404, "unknown_proposal")


def test_freeze_and_why(site: Site) -> None:
    client = site.client()
    assert client.get(f"{API}/freeze").json()["frozen"] is False
    assert client.get(f"{API}/meters/17/why").json()["off"] is True, "it was never heard of"
    site.born()
    answer = client.get(f"{API}/meters/17/can-disconnect", params={"reason": "arrears"}).json()
    assert (answer["yes"], answer["rule"]) == (True, "gate.free")
    frozen = client.put(f"{API}/freeze", json={"why": "look first"}).json()
    assert (frozen["frozen"], frozen["by"], frozen["why"]) == (True, "channel:all", "look first")
    answer = client.get(f"{API}/meters/17/can-disconnect").json()
    assert (answer["yes"], answer["rule"]) == (False, "gate.frozen") and "冻结" in answer["sentence"]["zh"]
    problem(client.post(f"{API}/freeze/lift", json={}), 403, "out_of_scope")


def test_another_policy_is_proposed_whole(site: Site) -> None:
    client = site.client()
    standing = client.get(f"{API}/gate/policy").json()
    made = client.post(f"{API}/gate/policy", json={"rules": {"proposal_s": 3600}, "why": "shorter"}).json()
    assert (made["kind"], made["state"]) == ("gate_policy", "open")
    assert client.get(f"{API}/gate/policy").json() == standing, "nothing changes before it is approved"
    body = {"rules": {"limits": {"alone": {"nobody": {}}}}, "why": "x"}
    problem(client.post(f"{API}/gate/policy", json=body), 422, "refused")


def test_an_order_that_was_sent_is_not_withdrawn(site: Site) -> None:
    client = site.client()
    site.born()
    order = client.post(f"{API}/meters/17/disconnect", json={"reason": "arrears"}).json()["order"]
    site.run(5, 17)
    problem(client.post(f"{API}/orders/{order}/cancel", json={}), 422, "refused")


def test_two_people_approve_and_lift_and_neither_alone(site: Site) -> None:
    for name in ("li.wei", "wang.fang"):
        add_person(site.store, name, ("approver", ""), ("dispatcher", ""))
    li, wang = (site.client(session_of(site.store, name)) for name in ("li.wei", "wang.fang"))
    made = li.post(
        f"{API}/proposals", json={"kind": "stop", "meters": ["17"], "reason": "legal", "why": "a court"}
    ).json()
    path = f"{API}/proposals/{made['proposal']}"
    tag = {"If-Match": f'"{made["digest"]}"'}
    problem(li.post(f"{path}/approve", json={}, headers=tag), 422, "refused")
    problem(wang.post(f"{path}/approve", json={}), 428, "no_condition")
    problem(wang.post(f"{path}/approve", json={}, headers={"If-Match": '"0"'}), 412, "changed_meanwhile")
    approved = wang.post(f"{path}/approve", json={}, headers=tag).json()
    assert (approved["state"], approved["approver"]) == ("approved", "user:wang.fang")
    site.born()
    site.run(5)
    assert wang.get(path).json()["items"] == {"queued": 1}
    recalled = wang.post(f"{path}/recall", json={"note": "the court changed its mind"}).json()
    assert recalled["state"] == "recalling"
    site.run(5)
    assert wang.get(path).json()["state"] == "recalled"
    site.client().put(f"{API}/freeze", json={"why": "look first"})
    assert li.post(f"{API}/freeze/lift", json={}).json()["frozen"] is True
    problem(li.post(f"{API}/freeze/lift", json={}), 422, "refused")
    assert wang.post(f"{API}/freeze/lift", json={}).json()["frozen"] is False
