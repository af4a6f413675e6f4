"""The fleet over the API and on its page: what is placed, moved and found, and where its reader may look."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import select

from headend.fleet import grid, words
from headend.language import LANGUAGES
from headend.ledger import payments
from headend.registry import bars
from headend.store.schema import meter
from meterlink import reasons
from tests.host.books import CHANNEL, NOW_S
from tests.host.people_rig import add_person, session_of
from tests.host.site import ALL, API, ONE, Site
from tests.host.test_web_page import EVIL, Page

READER = ("read-only", ONE["read"])
OLD, NEW, OTHER, STOCK = 17, 18, 19, 20


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Three feeders; a meter stands at P-1 below the first."""
    with Site(tmp_path_factory.mktemp("site"), meters=(OLD, NEW, OTHER, STOCK)) as made:
        for number in (OLD, NEW):
            made.born(number)
        north = post(made, "/grid", kind="substation", code="north", title={"en": EVIL, "zh": "城北"})
        for code in ("f-1", "f-2", "f-3"):
            feeder = post(made, "/grid", kind="feeder", code=code, parent=north["node"])
            post(made, "/grid", kind="transformer", code="t-1", parent=feeder["node"])
        put(made, "/supply-points/P-1", transformer=node_at(made, "north/f-1/t-1"), households=60)
        post(made, f"/meters/{OLD}/commission", supply_point="P-1", start={"import_wh": 5, "export_wh": 0})
        yield made


def node_at(site: Site, path: str) -> int:
    row = site.store.read(grid.at, path)
    assert row is not None
    return int(row.id)


def post(site: Site, path: str, **body: Any) -> dict[str, Any]:
    answer = site.client(ALL).post(API + path, json=body)
    assert answer.is_success, answer.text
    told: dict[str, Any] = answer.json()
    return told


def put(site: Site, path: str, **body: Any) -> dict[str, Any]:
    answer = site.client(ALL).put(API + path, json=body)
    assert answer.is_success, answer.text
    told: dict[str, Any] = answer.json()
    return told


def get(site: Site, path: str, token: str = ALL, **query: Any) -> dict[str, Any]:
    answer = site.client(token).get(API + path, params=query)
    assert answer.is_success, answer.text
    told: dict[str, Any] = answer.json()
    return told


def page(site: Site, query: str = "") -> Page:
    answer = site.client(None, auth=READER).get(f"/fleet{query}")
    assert answer.status_code == 200 and "<script>alert" not in answer.text
    return Page(answer.text)


def test_an_exchange_over_the_api_takes_the_place_along(site: Site) -> None:
    site.store.write(payments.take, NOW_S, CHANNEL, "p-1", OLD, 3_000_000).result()
    answer = site.client(ALL).post(
        f"{API}/meters/{OLD}/exchange",
        json={"new_meter": str(NEW), "end": {"import_wh": 900, "export_wh": 0}, "start": {"import_wh": 7}},
    )
    assert answer.status_code == 202
    old, new = get(site, f"/meters/{OLD}/life"), get(site, f"/meters/{NEW}/life")
    assert (old["state"], new["state"]) == ("removed", "commissioned")
    assert (old["placements"][0]["end"]["import_wh"], old["placements"][0]["ended_by"]) == (900, "exchange_out")
    assert old["placements"][0]["closing"] is not None and not old["placements"][0]["closing_final"]
    assert (new["placements"][0]["supply_point"], new["placements"][0]["start"]["import_wh"]) == ("P-1", 7)
    assert new["area"] == "north/f-1/t-1" and [one["event"] for one in new["history"]] == ["exchange_in"]
    at_s = old["placements"][0]["since"]["s"]
    assert get(site, "/supply-points/P-1")["meter"] == f"{NEW:012d}"
    assert [one["meter"] for one in get(site, "/supply-points/P-1/meters")["placements"]] == [f"{NEW:012d}"]
    assert get(site, "/supply-points/P-1/meters", at_s=at_s - 1)["placements"] == []
    # More than 50 households behind it: the exclusion that the place gave went to the new meter.
    barred = site.store.read(bars, NOW_S, NEW, reasons.HOLD_ARREARS)
    assert {bar.rule for bar in barred} == {"evidence.authority", "evidence.site_notice"}
    refused = site.client(ALL).put(f"{API}/meters/{NEW}/area", json={"area": "south"})
    assert refused.status_code == 422 and "move it there" in refused.text


def test_a_moved_feeder_takes_its_meters_along(site: Site) -> None:
    post(site, f"/meters/{OTHER}/commission", node=node_at(site, "north/f-2"))
    moved = post(site, f"/grid/{node_at(site, 'north/f-2')}/move", code="f-9", parent=node_at(site, "north"))
    assert moved["node"]["path"] == "north/f-9" and not moved["whole"]
    assert get(site, "/grid")["moving"] == "north/f-2"
    again = site.client(ALL).post(f"{API}/grid/{node_at(site, 'north/f-1')}/move", json={"code": "x"})
    assert again.status_code == 422
    while site.store.write(grid.go_on, NOW_S).result():
        pass
    assert site.store.read(grid.misplaced) == [] and get(site, "/grid")["moving"] is None
    assert get(site, f"/meters/{OTHER}/life")["area"] == "north/f-9"
    tree = {one["node"]["path"]: one for one in get(site, "/grid", below=node_at(site, "north"))["branches"]}
    assert tree["north/f-9"]["counts"]["meters"] == 1 and "north/f-9/t-1" not in tree
    events = get(site, f"/grid/{node_at(site, 'north/f-9')}")["history"]
    assert [(one["event"], one["path"]) for one in events] == [("add", "north/f-2"), ("move", "north/f-9")]
    assert site.client(ALL).delete(f"{API}/grid/{node_at(site, 'north/f-9')}").status_code == 422


def test_who_acts_in_an_area_acts_there_alone(site: Site) -> None:
    add_person(site.store, "fitter", ("engineer", "north/f-1"))
    token = session_of(site.store, "fitter", site.clock.now_s())
    client = site.client(token)
    north, f1 = node_at(site, "north"), node_at(site, "north/f-1")
    assert client.post(f"{API}/grid", json={"kind": "transformer", "code": "t-8", "parent": f1}).status_code == 201
    assert client.post(f"{API}/grid", json={"kind": "feeder", "code": "f-8", "parent": north}).status_code == 404
    assert client.post(f"{API}/grid", json={"kind": "substation", "code": "mine"}).status_code == 403
    assert client.get(f"{API}/grid/{north}").status_code == 404
    put(site, "/supply-points/Q-1", transformer=node_at(site, "north/f-3/t-1"))
    assert client.get(f"{API}/supply-points/Q-1").status_code == 404
    assert client.get(f"{API}/supply-points/P-1").status_code == 200
    codes = [one["supply_point"] for one in client.get(f"{API}/supply-points").json()["supply_points"]]
    assert codes == ["P-1"] and client.get(f"{API}/search", params={"q": "Q-1"}).json()["hits"] == []
    assert client.post(f"{API}/meters/{STOCK}/commission", json={"supply_point": "Q-1"}).status_code in (403, 404)
    lines = client.get(f"{API}/fleet/exports", params={"file": "points"}).json()["text"]
    assert "P-1" in lines and "Q-1" not in lines


def test_a_file_over_the_api(site: Site) -> None:
    text = "path,kind\nwest,substation\nwest/f,cable\n"
    tried = post(site, "/fleet/imports", file="grid", text=text, dry_run=False)
    assert tried["counts"] == {"new": 1, "changed": 0, "same": 0, "problem": 1} and not tried["stored"]
    assert tried["problems"] == [
        {"line": 3, "field": "kind", "value": "'cable'", "expected": "one of substation, feeder, transformer"}
    ]
    assert site.store.read(grid.at, "west") is None
    assert post(site, "/fleet/imports", file="grid", text=text, dry_run=False, skip_bad=True)["stored"]
    assert site.store.read(grid.at, "west") is not None
    wrong = site.client(ALL).get(f"{API}/fleet/exports", params={"file": "meters", "after": "P-1"})
    assert wrong.status_code == 422 and "after" in wrong.text
    pages, after = "", ""
    while after is not None:
        told = get(site, "/fleet/exports", file="meters", after=after, limit=2)
        pages, after = pages + told["text"], told["next_after"]
    numbers = site.store.read(lambda conn: list(conn.execute(select(meter.c.meter)).scalars()))
    assert len(pages.splitlines()) == 1 + len(numbers)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_shows_the_tree_and_finds(site: Site, language: str) -> None:
    at = LANGUAGES.index(language)
    top = page(site, f"?lang={language}")
    text = "\n".join(top.words)
    assert words.PAGE["elsewhere"][at] in text and words.KINDS["substation"][at] in text
    assert ("城北" in text) == (language == "zh")
    below = page(site, f"?lang={language}&below={node_at(site, 'north/f-1/t-1')}")
    assert "P-1" in below.words
    found = page(site, f"?lang={language}&q=P-1")
    assert words.IDENTITIES["supply_point"][at] in "\n".join(found.words)
    assert words.PAGE["nothing"][at] in page(site, f"?lang={language}&q=no+such+thing").words


def test_the_page_is_for_readers(site: Site) -> None:
    assert site.client(None).get("/fleet").status_code == 401
    assert site.client(None, auth=READER).get("/fleet?below=99999").status_code == 404
