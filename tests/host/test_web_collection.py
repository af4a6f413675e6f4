"""Collection over HTTP, and its page: within the areas of whoever asks, in both languages."""

from collections.abc import Iterator

import pytest
from sqlalchemy import insert, update

from headend.access import service_tokens
from headend.access.service_tokens import Terms
from headend.collection import lines, words
from headend.collection.line_counts import Counts
from headend.ledger.channels import SCOPES
from headend.store.schema import meter
from headend.store.schema_collection import read_success
from tests.host.books import NOW_S
from tests.host.site import API, ONE, Site
from tests.host.test_web_page import EVIL, Page

DAY = NOW_S // 86_400
NORTH = "op_" + "n" * 43
FIGURES = {
    "meters": 10,
    "expected": 960,
    "in_time": 900,
    "late": 30,
    "lost": 5,
    "repeated": 7,
    "whole": 8,
    "whole_in_time": 6,
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("site"), meters=(17, 18, 19)) as made:

        def fill(conn: object) -> None:
            for number, area, unit in ((17, "north/f-1/t-1", 1), (18, "north/f-2", 2), (19, "south", 3)):
                where = {"area": area, "carrier": "modbus", "address": f"tcp://10.0.0.{unit}:502?unit={unit}"}
                conn.execute(update(meter).where(meter.c.meter == number).values(where))  # type: ignore[attr-defined]
            for area, carrier in (
                ("north/f-1/t-1", "mqtt"),
                ("north/f-1/t-2", "modbus"),
                ("north/f-2", "mqtt"),
                ("south", "mqtt"),
            ):
                for day in (DAY - 1, DAY):
                    row = {"day": day, "area": area, "carrier": carrier, **FIGURES}
                    conn.execute(insert(read_success).values(row))  # type: ignore[attr-defined]

        made.store.write(fill).result()
        one = Counts(sent=10, answered=9, silent=1)
        one.times.add(20_000)
        counted = {(f"tcp://10.0.0.{unit}:502", unit): one for unit in (1, 2, 3)}
        made.store.write(lines.store, NOW_S, counted).result()
        made.store.write(service_tokens.add, NOW_S, "system", "north", NORTH, Terms(SCOPES, 10**9, "north")).result()
        yield made


def test_success_is_put_together_as_it_is_asked_for(site: Site) -> None:
    client = site.client()
    days = client.get(f"{API}/collection/success?days=2").json()["days"]
    assert [(one["day"], one["expected"], one["whole"]) for one in days] == [
        ("2027-01-15", 3840, 32),
        ("2027-01-14", 3840, 32),
    ]
    assert (days[0]["in_time_ppm"], days[0]["read_ppm"]) == (937_500, 968_750)
    by_area = client.get(f"{API}/collection/success?days=1&level=2").json()["days"]
    assert [(one["area"], one["meters"]) for one in by_area] == [("north/f-1", 20), ("north/f-2", 10), ("south", 10)]
    by_both = client.get(f"{API}/collection/success?days=1&level=1&by_carrier=true&area=north").json()["days"]
    assert [(one["area"], one["carrier"], one["meters"]) for one in by_both] == [
        ("north", "modbus", 10),
        ("north", "mqtt", 20),
    ]


def test_who_acts_in_an_area_sees_that_area(site: Site) -> None:
    client = site.client(NORTH)
    assert client.get(f"{API}/collection/success?days=1").json()["days"][0]["meters"] == 30
    assert client.get(f"{API}/collection/success?days=1&area=south").json()["days"] == []
    assert [one["link"] for one in client.get(f"{API}/collection/lines").json()["lines"]] == [
        "tcp://10.0.0.1:502",
        "tcp://10.0.0.2:502",
    ]
    assert client.get(f"{API}/collection/lines?link=tcp://10.0.0.3:502").json()["lines"] == []
    request = site.client().post(f"{API}/collection/reads", json={"meters": ["19"]}).json()["read"]
    assert client.get(f"{API}/collection/reads/{request}").json()["code"] == "unknown_read"
    assert client.post(f"{API}/collection/reads", json={"meters": ["19"]}).json()["code"] == "unknown_meter"


def test_a_line_is_shown_with_its_units(site: Site) -> None:
    (one,) = site.client().get(f"{API}/collection/lines?link=tcp://10.0.0.1:502").json()["lines"]
    assert (one["unit"], one["counts"]["sent"], one["counts"]["silent"], one["half_ms"]) == (1, 10, 1, 23)


def test_a_read_on_demand_tells_how_far_it_is(site: Site) -> None:
    client = site.client()
    answer = client.post(
        f"{API}/collection/reads", json={"meters": ["17", "18"], "kind": "records", "why": "a complaint"}
    )
    assert answer.status_code == 202
    shown = client.get(f"{API}/collection/reads/{answer.json()['read']}").json()
    assert (shown["meters"], shown["waiting"], shown["done"], shown["missing"]) == (
        2,
        2,
        0,
        ["000000000017", "000000000018"],
    )
    assert client.get(f"{API}/collection/reads/9999").json()["code"] == "unknown_read"


def test_a_schedule_is_changed_by_who_has_seen_it(site: Site) -> None:
    client = site.client()
    before = client.get(f"{API}/collection/schedule")
    assert before.json()["rules"][-1]["profile"] == "follow"
    body = {"rules": [{"carrier": "modbus", "profile": "daily"}], "why": "slow lines"}
    tag = {"If-Match": before.headers["etag"]}
    after = client.put(f"{API}/collection/schedule", json=body, headers=tag)
    assert [one["profile"] for one in after.json()["rules"]] == ["daily", "follow"]
    assert client.put(f"{API}/collection/schedule", json=body, headers=tag).json()["code"] == "changed_meanwhile"
    bad = client.put(
        f"{API}/collection/schedule", json={"rules": [{"gap_s": 1}], "why": "x"}, headers={"If-Match": "*"}
    )
    assert (bad.status_code, bad.json()["field"]) == (422, "rules[0].gap_s")


def test_a_pause_is_set_shown_and_ended(site: Site) -> None:
    client = site.client()
    made = client.post(
        f"{API}/collection/pauses", json={"area": "south", "until_s": NOW_S + 3600, "why": "pole"}
    ).json()
    assert [one["pause"] for one in client.get(f"{API}/collection/pauses").json()["pauses"]] == [made["pause"]]
    assert site.client(NORTH).get(f"{API}/collection/pauses").json()["pauses"] == []
    assert client.post(f"{API}/collection/pauses/{made['pause']}/end").status_code == 200
    assert client.post(f"{API}/collection/pauses/{made['pause']}/end").json()["code"] == "unknown_pause"


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("by", ["day", "area", "carrier"])
def test_the_page_draws_and_tells_the_same(site: Site, language: str, by: str) -> None:
    site.client().post(f"{API}/collection/pauses", json={"area": "south", "until_s": NOW_S + 3600, "why": EVIL})
    answer = site.client(None, auth=("read-only", ONE["read"])).get(f"/collection?lang={language}&by={by}")
    assert (answer.status_code, "<script>alert" in answer.text) == (200, False), answer.text
    text = "\n".join(Page(answer.text).words)
    at = ("en", "zh").index(language)
    for key in ("title", "success", "in_time", "lines", "pauses"):
        assert words.PAGE[key][at] in text
    assert "93.75 %" in text and 'width="937"' in answer.text and "tcp://10.0.0.1:502" in text


def test_every_text_of_the_page_is_in_both_languages() -> None:
    for english, chinese in words.PAGE.values():
        assert english and chinese and english != chinese
