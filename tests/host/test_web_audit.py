"""The audit is read by whoever may, page by page, and that it was read stands in it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from headend import audit
from headend.ledger import channels
from tests.host.books import NOW_S
from tests.host.site import API, ONE, Site

AUDITOR = "op_" + "u" * 43


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with Site(tmp_path) as made:
        made.store.write(channels.add_channel, NOW_S, "auditor", AUDITOR, ("audit",), 0).result()
        for number in range(5):
            actor, subject = f"user:{'ab'[number % 2]}", f"freeze:{number}"
            made.store.write(audit.record, NOW_S + number, actor, "freeze.set", subject, {"why": "storm"}).result()
        yield made


def acts(site: Site, **query: str | int) -> list[dict[str, object]]:
    answer = site.client(AUDITOR).get(f"{API}/audit", params=query)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, object]] = answer.json()["acts"]
    return found


def test_the_newest_first_page_by_page(site: Site) -> None:
    whole = [one["id"] for one in acts(site)]
    assert whole == sorted(whole, reverse=True)
    first = site.client(AUDITOR).get(f"{API}/audit", params={"limit": 2, "actor": "user:a"}).json()
    rest = (
        site.client(AUDITOR)
        .get(f"{API}/audit", params={"limit": 2, "actor": "user:a", "before": first["next_before"]})
        .json()
    )
    told = [one["subject"] for one in first["acts"] + rest["acts"]]
    assert told == ["freeze:4", "freeze:2", "freeze:0"] and rest["next_before"] is None
    assert first["acts"][0]["title"]["zh"] and first["acts"][0]["detail"] == {"why": "storm"}


def test_by_subject(site: Site) -> None:
    assert [one["actor"] for one in acts(site, subject="freeze:3")] == ["user:b"]


def test_reading_is_an_act(site: Site) -> None:
    acts(site, actor="user:a")
    newest = acts(site)[0]
    assert (newest["action"], newest["actor"]) == ("audit.read", "channel:auditor")
    assert newest["detail"] == {"actor": "user:a", "subject": ""}


def test_nobody_else_reads_it(site: Site) -> None:
    for token in (token for permission, token in ONE.items() if permission != "audit"):
        assert site.client(token).get(f"{API}/audit").status_code == 403
