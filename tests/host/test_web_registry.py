"""Exclusions, the calendar, holds, areas and persons over HTTP, as people and programs meet them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select, update

from headend.access import people, service_tokens, sessions
from headend.ledger import channels
from headend.people.keyring import RingFile
from headend.store.schema_access import login
from headend.store.schema_audit import audit
from meterlink import topics
from tests.host.books import METER, NOW_S
from tests.host.site import API, ONE, Site, problem

NORTH = "op_" + "n" * 43
OTHER = 18
FILE = {"reference": "file 7/2026", "document": "ab" * 32}
AT = f"{API}/meters/{METER}"
LI = {"name": "Li Wei", "phone": "138 0013 8000"}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    file = RingFile(tmp_path / "persons")
    file.make(bytes)
    with Site(tmp_path, (METER, OTHER), persons=file) as served:
        yield served


@pytest.fixture
def client(site: Site) -> httpx.Client:
    return site.client()


def north(site: Site, client: httpx.Client) -> httpx.Client:
    """A program that may do everything in the north, where the meter stands, and nothing elsewhere."""
    assert client.put(f"{AT}/area", json={"area": "north/f-1"}).status_code == 200
    terms = service_tokens.Terms(channels.SCOPES, 1, "north", None, ())
    site.store.write(service_tokens.add, NOW_S, "user:chief", "north", NORTH, terms).result()
    return site.client(NORTH)


def acts(site: Site) -> list[str]:
    return list(site.store.read(lambda conn: conn.execute(select(audit.c.action).order_by(audit.c.id)).scalars().all()))


def put(client: httpx.Client, kind: str = "vip", **others: Any) -> httpx.Response:
    answer = client.post(f"{AT}/exclusions", json={"kind": kind, **FILE, **others})
    assert answer.status_code == 201, answer.text
    return answer


def test_an_exclusion_from_its_beginning_to_its_end(site: Site, client: httpx.Client) -> None:
    made = put(client, "direct_debit", until_s=NOW_S + 100)
    at, tag = made.headers["Location"], made.headers["ETag"]
    assert (made.json()["bars"], made.json()["title"]["zh"], made.json()["standing"]) == (
        ["arrears"],
        "银行储蓄户",
        True,
    )
    problem(client.post(f"{at}/extend", json={"until_s": NOW_S + 200}), 428, "no_condition")
    changed = client.post(f"{at}/extend", json={"until_s": NOW_S + 200}, headers={"If-Match": tag})
    assert changed.json()["until"]["s"] == NOW_S + 200
    problem(client.post(f"{at}/end", json={}, headers={"If-Match": tag}), 412, "changed_meanwhile")
    tag = client.get(at).headers["ETag"]
    ended = client.post(f"{at}/end", json={"note": "mandate ended"}, headers={"If-Match": tag})
    assert (ended.status_code, ended.json()["standing"]) == (200, False)
    assert [one["event"] for one in ended.json()["history"]] == ["set", "extended", "ended"]
    assert acts(site)[-3:] == ["exclusion.set", "exclusion.extend", "exclusion.end"]
    problem(client.get(f"{API}/exclusions/99"), 404, "unknown_exclusion")


def test_the_end_of_what_protects_life_is_a_proposal(client: httpx.Client) -> None:
    made = put(client, "life_support")
    answer = client.post(f"{made.headers['Location']}/end", json={"note": "moved"}, headers={"If-Match": "*"})
    assert answer.status_code == 202 and answer.json()["proposal"]
    assert client.get(made.headers["Location"]).json()["standing"]


def test_evidence_is_added(client: httpx.Client) -> None:
    at = put(client, "many_households").headers["Location"]
    body = {"evidence": "site_notice", "dated_s": NOW_S - 5, **FILE}
    answer = client.post(f"{at}/evidence", json=body, headers={"If-Match": "*"})
    assert answer.json()["history"][-1]["dated"]["s"] == NOW_S - 5
    late = client.post(f"{at}/evidence", json={**body, "dated_s": NOW_S + 5}, headers={"If-Match": "*"})
    assert problem(late, 422, "refused")["field"] == "dated_s"


def test_lists_keep_to_the_area_and_to_pages(site: Site, client: httpx.Client) -> None:
    here = put(client).json()["exclusion"]
    there = client.post(f"{API}/meters/{OTHER}/exclusions", json={"kind": "vip", **FILE}).json()["exclusion"]
    assert [one["exclusion"] for one in client.get(f"{API}/exclusions").json()["exclusions"]] == [here, there]
    page = client.get(f"{API}/exclusions", params={"limit": 1}).json()
    assert page["next_after"] == here
    assert client.get(f"{API}/exclusions", params={"meter": str(OTHER)}).json()["exclusions"][0]["exclusion"] == there
    mine = north(site, client)
    assert [one["exclusion"] for one in mine.get(f"{API}/exclusions").json()["exclusions"]] == [here]
    problem(mine.get(f"{API}/exclusions/{there}"), 404, "unknown_exclusion")
    problem(mine.post(f"{API}/exclusions/{there}/end", json={}, headers={"If-Match": "*"}), 404, "unknown_exclusion")
    site.clock.advance(1)
    client.post(f"{API}/exclusions/{here}/end", json={}, headers={"If-Match": "*"})
    assert mine.get(f"{API}/exclusions").json()["exclusions"] == []
    assert len(mine.get(f"{API}/exclusions", params={"standing": "false"}).json()["exclusions"]) == 1


def test_the_calendar_is_replaced_by_who_saw_it(site: Site, client: httpx.Client) -> None:
    seen = client.get(f"{API}/calendar")
    assert seen.json()["version"] == 0
    rule = {"name": {"en": "Spring Festival", "zh": "春节"}, "first_day": "2027-02-05", "last_day": "2027-02-11"}
    body = {"time_zone": "Asia/Shanghai", "rules": [rule], "why": "2027"}
    headers = {"If-Match": seen.headers["ETag"]}
    stands = client.put(f"{API}/calendar", json=body, headers=headers)
    assert stands.json()["version"] == 1
    assert stands.json()["rules"][0]["reasons"] == ["arrears"] and stands.json()["rules"][0]["last_day"] == "2027-02-11"
    problem(client.put(f"{API}/calendar", json=body, headers=headers), 412, "changed_meanwhile")
    assert client.get(f"{API}/calendar").json() == stands.json()
    for wrong in ({"name": {"en": "x"}}, {**rule, "reasons": ["safety"]}, {**rule, "from_quarter": 96}):
        problem(
            client.put(f"{API}/calendar", json={**body, "rules": [wrong]}, headers={"If-Match": "*"}), 422, "refused"
        )
    north(site, client)
    problem(site.client(NORTH).put(f"{API}/calendar", json=body, headers={"If-Match": "*"}), 403, "out_of_scope")
    assert site.client(NORTH).get(f"{API}/calendar").status_code == 200


def test_a_hold_for_safety_has_evidence_and_its_own_permission(site: Site, client: httpx.Client) -> None:
    for token in (ONE["orders"], ONE["registry"]):
        problem(site.client(token).post(f"{AT}/holds/safety", json=FILE), 403, "out_of_scope")
    officer = site.client(ONE["safety"])
    set_ = officer.post(f"{AT}/holds/safety", json={**FILE, "note": "burnt terminal"})
    assert set_.status_code == 202 and set_.json()["reason"] == "safety"
    (hold,) = client.get(f"{AT}/holds").json()["holds"]
    assert (hold["reason"], hold["on_meter"], hold["evidence"][0]["reference"]) == ("safety", None, FILE["reference"])
    problem(officer.post(f"{AT}/holds/safety/release", json={"reference": " "}), 422, "refused")
    assert officer.post(f"{AT}/holds/safety/release", json={"reference": "replaced"}).status_code == 202
    assert client.get(f"{AT}/holds").json()["holds"] == []
    told = client.get(f"{AT}/holds/history").json()["orders"]
    assert [one["evidence"][0]["reference"] for one in told] == ["replaced", FILE["reference"]]


def test_a_meter_is_placed_only_within_ones_own_areas(site: Site, client: httpx.Client) -> None:
    mine = north(site, client)
    assert mine.put(f"{AT}/area", json={"area": "north/f-2"}).json()["area"] == "north/f-2"
    problem(mine.put(f"{AT}/area", json={"area": "south"}), 403, "out_of_scope")
    problem(client.put(f"{AT}/area", json={"area": "No"}), 422, "refused")


def test_meters_are_listed_by_area(site: Site, client: httpx.Client) -> None:
    mine = north(site, client)
    client.put(f"{API}/meters/{OTHER}/area", json={"area": "northern"})

    def listed(who: httpx.Client, area: str) -> list[int]:
        return [int(one["meter"]) for one in who.get(f"{API}/meters", params={"area": area}).json()["meters"]]

    for area, found in (("", [METER, OTHER]), ("north", [METER]), ("north/f-1", [METER]), ("northern", [OTHER])):
        assert listed(client, area) == found
        assert listed(mine, area) == [number for number in found if number == METER]
    problem(client.get(f"{API}/meters", params={"area": "/"}), 422, "refused")


# --- persons ----------------------------------------------------------------------------------------------------------


def test_a_person_from_the_first_day_to_erasure(site: Site, client: httpx.Client) -> None:
    made = client.post(f"{API}/persons", json=LI)
    assert made.status_code == 201 and made.json()["fields"]["name"] == LI["name"]
    at, whose = made.headers["Location"], made.json()["person"]
    assert client.put(f"{AT}/holder", json={"person": whose}).json()["accounts"][0]["person"] == whose
    found = client.post(f"{API}/persons/search", json={"field": "phone", "value": "13800138000"})
    assert found.json()["persons"] == [whose]
    seen = client.get(at)
    assert seen.json() == made.json() and acts(site)[-1] == "person.read"
    headers = {"If-Match": seen.headers["ETag"]}
    problem(client.delete(at, headers=headers), 422, "refused")  # holds an account
    changed = client.put(at, json={"name": "Li Wei", "email": "li@example.org"}, headers=headers)
    assert changed.json()["fields"]["phone"] is None
    problem(client.put(at, json=LI, headers=headers), 412, "changed_meanwhile")
    assert client.delete(f"{AT}/holder").json()["accounts"][0]["until"]["s"] == NOW_S
    assert client.delete(at, headers={"If-Match": changed.headers["ETag"]}).json() == {"person": whose}
    problem(client.get(at), 410, "person_erased")
    assert client.get(f"{at}/accounts").json()["accounts"][0]["meter"] == topics.meter_name(METER)
    problem(client.get(f"{API}/persons/{'a' * 26}"), 404, "unknown_person")
    assert acts(site)[-1] == "person.erase"


def test_persons_are_seen_where_their_accounts_are(site: Site, client: httpx.Client) -> None:
    mine = north(site, client)
    whose = mine.post(f"{API}/persons", json=LI).json()["person"]
    assert mine.get(f"{API}/persons/{whose}").status_code == 200  # whoever added it gives it an account next
    client.put(f"{API}/meters/{OTHER}/holder", json={"person": whose})
    problem(mine.get(f"{API}/persons/{whose}"), 404, "unknown_person")
    assert mine.post(f"{API}/persons/search", json={"field": "name", "value": "li wei"}).json()["persons"] == []
    mine.put(f"{AT}/holder", json={"person": whose})
    assert mine.get(f"{API}/persons/{whose}").status_code == 200
    problem(mine.get(f"{API}/meters/{OTHER}/holders"), 404, "unknown_meter")


def test_who_may_read_meters_may_not_read_persons(site: Site, client: httpx.Client) -> None:
    whose = client.post(f"{API}/persons", json=LI).json()["person"]
    for scope in ("read", "registry", "payments", "orders"):
        problem(site.client(ONE[scope]).get(f"{API}/persons/{whose}"), 403, "out_of_scope")
    assert "person.read" not in acts(site)


def test_an_answer_with_personal_data_is_not_kept(site: Site, client: httpx.Client) -> None:
    key = {"Idempotency-Key": "once"}
    assert client.post(f"{API}/persons", json=LI, headers=key).status_code == 201
    assert client.post(f"{API}/persons", json=LI, headers=key).status_code == 409
    assert LI["name"].encode() not in site.stored()


def test_without_its_key_nothing_is_kept(tmp_path: Path) -> None:
    with Site(tmp_path, persons=RingFile(tmp_path / "nothing")) as site:
        problem(site.client().post(f"{API}/persons", json=LI), 503, "no_person_key")
        site.desk.persons = None
        problem(site.client().post(f"{API}/persons", json=LI), 503, "no_person_key")


def test_that_a_person_looked_at_a_load_profile_is_audited(site: Site, client: httpx.Client) -> None:
    assert client.get(f"{AT}/intervals").status_code == 200
    assert "reads.read" not in acts(site)  # a program reads them all, all day
    token = sessions.new_token(bytes)
    site.store.write(people.add, NOW_S, "user:chief", "li.wei", "no password").result()
    site.store.write(lambda conn: conn.execute(update(login).values(must_change=0))).result()
    site.store.write(people.grant, NOW_S, "user:chief", "li.wei", "viewer", "").result()
    site.store.write(sessions.begin, NOW_S, "li.wei", token, "127.0.0.1").result()
    viewer = site.client(token)
    assert viewer.get(f"{AT}/intervals", params={"after": 7}).status_code == 200
    newest = site.store.read(lambda conn: conn.execute(select(audit).order_by(audit.c.id.desc())).first())
    assert newest is not None
    told = (newest.action, newest.actor, newest.subject, newest.detail)
    assert told == ("reads.read", "user:li.wei", f"meter:{METER}", '{"after":7}')
    problem(viewer.get(f"{API}/meters/{OTHER + 1}/intervals"), 404, "unknown_meter")
    assert viewer.get(f"{AT}/readings", params={"day": "2027-01-15"}).status_code == 200
    newest = site.store.read(lambda conn: conn.execute(select(audit).order_by(audit.c.id.desc())).first())
    assert newest is not None
    told = (newest.action, newest.actor, newest.subject, newest.detail)
    assert told == ("reads.read", "user:li.wei", f"meter:{METER}", '{"from_s":1799971200,"to_s":1800057600}')
