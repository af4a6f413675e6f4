"""Validation and visits over HTTP: the table of rules, the queue, the series, the file for the field, the page."""

import csv
import io
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from sqlalchemy import select, update

from headend.access import service_tokens
from headend.access.roles import ROLES
from headend.access.service_tokens import Terms
from headend.ledger import channels
from headend.reads import series as raw_series
from headend.store.schema import meter
from headend.store.schema_audit import audit
from headend.validation import visits
from headend.validation.follow import Follower
from headend.validation.rules import RULES
from headend.web.visits import cell
from tests.host.books import METER, NOW_S
from tests.host.people_rig import add_person, session_of
from tests.host.quality_rig import DAY_S, MONDAY_S, ORDINARY, PERIOD_S, House
from tests.host.site import API, ONE, Site, problem
from tests.host.test_web_page import EVIL, Page

OTHER, SILENT = 18, 19
NORTH = "op_" + "n" * 43
MORNING_S = MONDAY_S + DAY_S + 6 * 3600
DAY = "2027-01-18"
AT = f"{API}/meters/{METER}"


@pytest.fixture
def site(tmp_path: Any) -> Iterator[Site]:
    """A peak of 5 kWh on a Monday, three records missing, and a meter elsewhere that nobody hears."""
    with Site(tmp_path, (METER, OTHER, SILENT)) as made:

        def place(conn: Any) -> None:
            for number, area in ((METER, "north/f-1"), (OTHER, "south/f-1"), (SILENT, "south/f-1")):
                conn.execute(update(meter).where(meter.c.meter == number).values(area=area))
            conn.execute(update(meter).where(meter.c.meter == SILENT).values(label=f"={EVIL}"))

        made.store.write(place).result()
        house = House()
        house.weeks(MONDAY_S)
        house.live(MONDAY_S - DAY_S, ORDINARY)
        numbers = house.live(MONDAY_S, [*ORDINARY[:50], 5_000, *ORDINARY[51:]])
        lost = set(numbers[10:13])
        house.arrive(made.store, MORNING_S, [seq for seq in house.records if seq not in lost])
        Follower(made.store).follow(MORNING_S)
        made.clock.advance(MORNING_S - NOW_S)
        made.store.write(visits.open_some, MORNING_S).result()
        terms = Terms(channels.SCOPES, 1, "north")
        made.store.write(service_tokens.add, NOW_S, "user:chief", "north", NORTH, terms).result()
        made.late = lambda: house.arrive(made.store, MORNING_S + 60, sorted(lost))  # type: ignore[attr-defined]
        yield made


@pytest.fixture
def client(site: Site) -> httpx.Client:
    return site.client()


def span() -> dict[str, int]:
    return {"from_s": MONDAY_S, "to_s": MONDAY_S + DAY_S}


def actions(site: Site) -> list[str]:
    return list(site.store.read(lambda conn: conn.execute(select(audit.c.action).order_by(audit.c.id)).scalars().all()))


def test_what_is_held_is_listed_and_decided(site: Site, client: httpx.Client) -> None:
    (one,) = client.get(f"{API}/validation/cases").json()["cases"]
    assert (one["rule"], one["meter"], one["day"], one["area"]) == ("spike", "000000000017", DAY, "north/f-1")
    assert one["sentence"]["en"] == "5000 Wh in a period; the most of the weeks before was 156 Wh."
    assert one["title"]["zh"] == "突增" and [at["s"] for at in one["periods"]] == [MONDAY_S + 50 * PERIOD_S]
    assert client.get(f"{API}/validation/cases", params={"rule": "zero"}).json()["cases"] == []
    values = client.get(f"{AT}/validated", params=span()).json()["values"]
    assert [at for at, value in enumerate(values) if value["held"]] == [50]
    assert [at for at, value in enumerate(values) if value["quality"] == "estimated"] == [10, 11, 12]
    assert (values[50]["doubts"], values[10]["doubts"], values[9]["doubts"]) == (["spike"], ["missing"], [])
    assert values[10]["method"] == "linear" and values[10]["total"] == "registers"
    before = site.store.read(raw_series.between, METER, MONDAY_S, MONDAY_S + DAY_S)
    at = f"{API}/validation/cases/{one['case']}"
    problem(client.post(f"{at}/reject", json={"reason": ""}), 422, "refused")
    decided = client.post(f"{at}/reject", json={"reason": "a broken input"}).json()
    assert (decided["state"], decided["actor"], decided["reason"]) == ("rejected", "channel:all", "a broken input")
    value = client.get(f"{AT}/validated", params=span()).json()["values"][50]
    assert value["quality"] == "estimated" and value["import_wh"] < 200 and not value["held"]
    assert site.store.read(raw_series.between, METER, MONDAY_S, MONDAY_S + DAY_S) == before
    problem(client.post(f"{at}/accept", json={"reason": "or not"}), 422, "refused")
    problem(client.post(f"{API}/validation/cases/999/accept", json={"reason": "x"}), 404, "unknown_case")
    assert client.get(f"{API}/validation/cases").json()["cases"] == []
    assert len(client.get(f"{API}/validation/cases", params={"state": "rejected"}).json()["cases"]) == 1
    assert actions(site)[-1] == "quality.rejected"


def test_versions_of_a_day_and_what_the_truth_replaced(site: Site, client: httpx.Client) -> None:
    (first,) = client.get(f"{AT}/validation/{DAY}").json()["versions"]
    assert [one["rule"] for one in first["findings"]] == ["missing", "spike"]
    assert (first["expected"], first["measured"], first["estimated"]) == (96, 93, 3)
    site.late()  # type: ignore[attr-defined]
    days = {"first_day": DAY, "last_day": DAY}
    assert client.post(f"{AT}/validation", json=days).json() == {"changed": 1}
    assert client.post(f"{AT}/validation", json=days).json() == {"changed": 0}
    versions = client.get(f"{AT}/validation/{DAY}").json()["versions"]
    assert [(one["version"], one["estimated"]) for one in versions] == [(1, 3), (2, 0)]
    (replaced,) = client.get(f"{API}/validation/replaced").json()["replaced"]
    assert (replaced["periods"], replaced["measured_import_wh"]) == (3, sum(ORDINARY[10:13]))
    assert replaced["difference_import_wh"] == 0, "the registers told it to the unit"
    assert actions(site)[-1] == "quality.judged_again"
    for wrong in ({"first_day": DAY, "last_day": "2027-01-17"}, {"first_day": "2020-01-01", "last_day": DAY}):
        problem(client.post(f"{AT}/validation", json=wrong), 422, "refused")
    problem(client.get(f"{AT}/validated", params={"from_s": 0, "to_s": 32 * DAY_S}), 422, "refused")


def test_the_policy_is_set_whole_and_on_what_one_has_seen(site: Site, client: httpx.Client) -> None:
    seen = client.get(f"{API}/validation/policy")
    assert [one["rule"] for one in seen.json()["rules"]] == list(RULES) and seen.json()["version"] == 0
    body = {"scopes": [{"area": "north", "rules": {"spike": {"severity": "note"}}}], "why": "too many"}
    problem(client.put(f"{API}/validation/policy", json=body), 428, "no_condition")
    named = {"If-Match": seen.headers["ETag"]}
    made = client.put(f"{API}/validation/policy", json=body, headers=named)
    assert made.json()["version"] == 1 and made.json()["scopes"][0]["area"] == "north"
    problem(client.put(f"{API}/validation/policy", json=body, headers=named), 412, "changed_meanwhile")
    body["scopes"][0]["rules"] = {"spike": {"percent": 1}}  # type: ignore[index]
    wrong = client.put(f"{API}/validation/policy", json=body, headers={"If-Match": "*"})
    assert problem(wrong, 422, "refused")["field"] == "scopes[0].rules.spike.percent"
    assert client.post(f"{AT}/validation", json={"first_day": DAY, "last_day": DAY}).json() == {"changed": 1}
    assert client.get(f"{API}/validation/cases").json()["cases"] == [], "it is noted now, and held no more"


def test_visits_are_listed_for_whoever_goes_there(site: Site, client: httpx.Client) -> None:
    found = client.get(f"{API}/visits", params={"area": "south"}).json()["visits"]
    assert [(one["meter"], one["heard"], one["balance"]) for one in found] == [
        ("000000000018", None, None),
        ("000000000019", None, None),
    ]
    closed = client.post(f"{API}/visits/{found[0]['visit']}/close", json={"note": "antenna"}).json()
    assert (closed["how"], closed["standing"], closed["note"]) == ("person", False, "antenna")
    problem(client.post(f"{API}/visits/{found[0]['visit']}/close", json={"note": "again"}), 422, "refused")
    problem(client.post(f"{API}/visits/999/close", json={"note": "x"}), 404, "unknown_visit")
    assert len(client.get(f"{API}/visits", params={"area": "south"}).json()["visits"]) == 1
    assert actions(site)[-1] == "visit.closed"


@pytest.mark.parametrize("who", ["person", "channel"])
def test_an_area_is_a_wall(site: Site, who: str) -> None:
    add_person(site.store, "nora", *((role, "north") for role in ROLES))
    north = site.client(session_of(site.store, "nora", site.clock.now_s()) if who == "person" else NORTH)
    assert north.get(f"{API}/visits").json()["visits"] == []
    (case,) = north.get(f"{API}/validation/cases").json()["cases"]
    (visit,) = site.client().get(f"{API}/visits", params={"limit": 1}).json()["visits"]
    problem(north.post(f"{API}/visits/{visit['visit']}/close", json={"note": "x"}), 404, "unknown_visit")
    assert north.post(f"{API}/validation/cases/{case['case']}/accept", json={"reason": "x"}).status_code == 200
    problem(north.get(f"{API}/meters/{OTHER}/validated", params=span()), 404, "unknown_meter")
    assert north.get(f"{AT}/validated", params=span()).status_code == 200
    assert ("quality.series_read" in actions(site)) == (who == "person"), "reading a load profile is audited"


def test_the_file_holds_nothing_that_a_spreadsheet_would_run(site: Site) -> None:
    answer = site.client(None, auth=("read-only", ONE["read"])).get("/visits.csv?lang=zh")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert "attachment" in answer.headers["content-disposition"]
    lines = list(csv.reader(io.StringIO(answer.text.removeprefix("\ufeff"))))
    assert lines[0][:2] == ["电表", "名称"]
    assert [line[0] for line in lines[1:]] == ["000000000018", "000000000019"]
    assert lines[2][1] == f"'={EVIL}"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("=1+1", "'=1+1"),
        ("+86 10", "'+86 10"),
        ("-cmd", "'-cmd"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("-0.12", "-0.12"),
        ("-1.2.3", "'-1.2.3"),
        ("flat 3", "flat 3"),
        ("", ""),
    ],
)
def test_cells(text: str, shown: str) -> None:
    assert cell(text) == shown


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_page_in_both_languages(site: Site, language: str) -> None:
    answer = site.client(None, auth=("read-only", ONE["read"])).get(f"/validation?lang={language}")
    assert answer.status_code == 200 and "<script>alert" not in answer.text
    text = "\n".join(Page(answer.text).words)
    expected = {
        "en": ("Held for review before billing", "Sudden peak", "5000 Wh in a period", "go and look", "never"),
        "zh": ("计费前待复核", "突增", "单时段 5000 Wh", "失联电表", "从未"),
    }
    for words in (*expected[language], "000000000017", "000000000019", DAY):
        assert words in text, words
    assert site.client(None).get("/validation").status_code == 401
