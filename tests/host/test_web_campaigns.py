"""Campaigns and the audit of configuration over HTTP, and their pages in both languages."""

from collections.abc import Iterator
from typing import Any

import pytest

from headend.campaigns import following, making
from headend.configuration import auditing
from headend.gate import pace
from headend.orders import trust
from meterlink import states
from tests.host.books import NOW_S
from tests.host.people_rig import add_person, session_of
from tests.host.site import API, ONE, Site
from tests.host.test_web_page import Page

READER = ("read-only", ONE["read"])
METERS = tuple(range(17, 29))
STOP: dict[str, Any] = {"kind": "stop", "why": "bills of May", "area": "", "reason": "arrears"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("site"), meters=METERS) as made:
        for number in METERS[:-1]:
            made.born(number)
        for name, area in (("boss", ""), ("second", ""), ("norther", "north")):
            add_person(made.store, name, *((role, area) for role in ("dispatcher", "approver", "engineer")))
        yield made


def person(site: Site, name: str = "boss") -> Any:
    return site.client(session_of(site.store, name, site.clock.now_s()))


def prepared(site: Site, answer: Any) -> dict[str, Any]:
    """The campaign of an answer, once its dry run is whole."""
    assert answer.status_code == 202, answer.text
    while making.follow(site.store, site.clock.now_s()):
        pass
    state: dict[str, Any] = person(site).get(answer.headers["location"]).json()
    return state


def approved(site: Site, made: dict[str, Any]) -> str:
    """The path of a campaign that was proposed, approved by another person, and has begun."""
    client, path = person(site), f"{API}/campaigns/{made['campaign']}"
    proposed = client.post(f"{path}/propose", json={}).json()
    assert proposed["state"] == "proposed"
    listed = client.get(f"{API}/proposals/{proposed['proposal']}")
    assert made["digest"] in listed.json()["payload"]
    answer = person(site, "second").post(
        f"{API}/proposals/{proposed['proposal']}/approve", json={}, headers={"If-Match": listed.headers["etag"]}
    )
    assert answer.status_code == 200
    for _ in range(4):
        following.follow(site.store, site.clock.now_s())
        site.store.write(pace.tick, site.clock.now_s()).result()
        site.clock.advance(2)
    return path


def test_a_campaign_from_its_dry_run_to_its_end(site: Site) -> None:
    client = person(site)
    made = prepared(site, client.post(f"{API}/campaigns", json={**STOP, "plan": {"groups": ["3", "rest"]}}))
    assert (made["state"], made["groups"]) == ("drafted", [3, 8])
    barred = {(one["verdict"], one["rule"]): one["meters"] for one in made["dry_run"]}
    assert barred == {("in", ""): 11, ("barred", "gate.never_heard"): 1}
    path = f"{API}/campaigns/{made['campaign']}"
    (never,) = client.get(f"{path}/meters", params={"verdict": "barred"}).json()["meters"]
    assert never["says"]["en"] and never["says"]["zh"] and never["order"] is None
    assert approved(site, made) == path
    running = client.get(path).json()
    assert running["state"] == "running" and running["by_group"][0]["queued"] == 3
    for act, state in (("pause", "paused"), ("resume", "running"), ("abort", "aborted")):
        answer = client.post(f"{path}/{act}", json={"why": "a test"})
        assert (answer.status_code, answer.json()["state"]) == (200, state), answer.text
    refused = client.post(f"{path}/resume", json={"why": "no"})
    assert refused.status_code == 422 and "aborted" in refused.json()["detail"]
    assert [line["event"] for line in client.get(path).json()["history"]][-3:] == ["pause", "resume", "abort"]
    assert client.get(f"{path}/meters", params={"sent": True}).json()["meters"] == []


def test_meters_by_csv_and_what_is_said_of_each(site: Site) -> None:
    text = "meter;name\n000000000017;a\n000000000018;b\n999999;c\n"
    made = prepared(site, person(site).post(f"{API}/campaigns", json={**STOP, "area": None, "csv": text}))
    rules = {one["rule"]: one["meters"] for one in made["dry_run"]}
    assert rules["campaign.unknown"] == 1 and sum(rules.values()) == 3
    wrong = person(site).post(f"{API}/campaigns", json={**STOP, "area": None, "csv": "meter\n17\nx\n"})
    assert wrong.status_code == 422 and "line 3" in wrong.json()["detail"]


@pytest.mark.parametrize(
    "change",
    [
        {"reason": None},
        {"kind": "tariff"},
        {"close": "direct"},
        {"area": None},
        {"plan": {"groups": ["10"]}},
        {"area": "NORTH"},
        {"kind": "firmware", "reason": None},
    ],
)
def test_what_does_not_fit_is_refused(site: Site, change: dict[str, Any]) -> None:
    answer = person(site).post(f"{API}/campaigns", json={**STOP, **change})
    assert answer.status_code == 422, answer.text


def test_an_area_is_a_wall(site: Site) -> None:
    made = prepared(site, person(site, "norther").post(f"{API}/campaigns", json=STOP))
    assert made["dry_run"] == [] and made["area"] == "north"
    everywhere = prepared(site, person(site).post(f"{API}/campaigns", json=STOP))
    hidden = person(site, "norther").get(f"{API}/campaigns/{everywhere['campaign']}")
    assert hidden.status_code == 404 and hidden.json()["code"] == "unknown_campaign"
    seen = person(site, "norther").get(f"{API}/campaigns").json()["campaigns"]
    assert {one["area"] for one in seen} == {"north"}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_pages_say_it_in_the_language_of_their_reader(site: Site, language: str) -> None:
    made = prepared(site, person(site).post(f"{API}/campaigns", json={**STOP, "plan": {"groups": ["3", "rest"]}}))
    person(site).post(f"{approved(site, made)}/abort", json={"why": "a test"})
    client = site.client(None, auth=READER)
    all_of_them = client.get(f"/campaigns?lang={language}")
    assert all_of_them.status_code == 200, all_of_them.text
    text = "\n".join(Page(all_of_them.text).words)
    assert ("stopped before its end" if language == "en" else "已中止") in text
    one = client.get(f"/campaigns?lang={language}&campaign={made['campaign']}")
    assert one.status_code == 200 and "<progress" in one.text and "gate.never_heard" in one.text
    assert client.get("/campaigns?campaign=999999").status_code == 404
    configured = client.get(f"/configuration?lang={language}")
    assert configured.status_code == 200, configured.text
    title = "Configuration of meters" if language == "en" else "参数稽核"
    assert title in configured.text
    assert client.get("/configuration?aspect=nothing").status_code == 422


def test_a_campaign_that_is_over_does_not_renew_its_page(site: Site) -> None:
    made = prepared(site, person(site).post(f"{API}/campaigns", json=STOP))
    page = f"/campaigns?campaign={made['campaign']}"
    client = site.client(None, auth=READER)
    assert 'http-equiv="refresh"' in client.get(page).text
    dropped = person(site).post(f"{API}/campaigns/{made['campaign']}/drop", json={"why": "a test"})
    assert dropped.json()["state"] == "dropped", dropped.text
    told = client.get(page)
    assert told.status_code == 200 and 'http-equiv="refresh"' not in told.text and "refresh=" not in told.text


def test_the_audit_of_configuration_for_programs_and_as_a_file(site: Site) -> None:
    site.store.write(trust.set_mode, NOW_S - 8_000, 17, states.MODE_LOCAL, "user:boss").result()
    site.peer(17).be(mode=states.MODE_POSTPAID)
    site.born(17)
    while auditing.follow(site.store, site.clock.now_s()):
        pass
    client = person(site)
    standing = client.get(f"{API}/configuration").json()
    assert standing["standing"]["mode"] == 1 and standing["done"] is not None
    (found,) = client.get(f"{API}/configuration/findings", params={"aspect": "mode"}).json()["findings"]
    assert "prepayment" in found["says"]["en"] and "卡表未设置为预付费" in found["says"]["zh"]
    file = site.client(None, auth=READER).get("/configuration.csv?lang=zh")
    assert file.status_code == 200 and "卡表未设置为预付费" in file.text
    assert person(site, "norther").get(f"{API}/configuration").json()["standing"]["mode"] == 0
    changed = client.put(f"{API}/configuration/policy", json={"drift_s": 60, "fresh_s": 7200})
    assert changed.json()["policy"] == {"drift_s": 60, "fresh_s": 7200}
    assert client.post(f"{API}/configuration/repair").json() == {"proposals": []}, "it is on its way"
