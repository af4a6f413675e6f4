"""The page of exceptions: what wants a person, in both languages, where its reader may look."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection

from headend.epochs import findings
from headend.gate import freeze, proposals
from headend.language import LANGUAGES
from headend.ledger import channels, floats, settlements, zone
from headend.web import exceptions_channels
from headend.web.words import CHANNEL_CONCERNS, CONCERNS
from meterlink import reasons
from tests.host.books import NOW_S
from tests.host.peer import OPEN
from tests.host.site import ALL, API, ONE, Site
from tests.host.test_web_page import EVIL, Page

READER = ("read-only", ONE["read"])
METERS = tuple(range(17, 37))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Twenty meters that are off with money on them, one frozen gate, one proposal."""
    with Site(tmp_path_factory.mktemp("site"), meters=METERS) as made:
        for number in METERS:
            made.peer(number).be(**OPEN, balance_uc=1_000_000)
            made.born(number)
        made.store.write(findings.note, NOW_S, 17, "unsold_credit", EVIL, 5).result()
        made.store.write(freeze.set, NOW_S, "user:li.wei", EVIL).result()
        stop = {"meters": [18], "reason": reasons.HOLD_ARREARS}
        made.store.write(proposals.propose, NOW_S, "stop", stop, "user:li.wei", "three months").result()
        yield made


def get(site: Site, query: str = "", auth: tuple[str, str] = READER) -> Page:
    answer = site.client(None, auth=auth).get(f"/exceptions{query}")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8"), answer.text
    assert "<script>alert" not in answer.text
    return Page(answer.text)


def numbers_on(page: Page) -> list[int]:
    """The meters that a page names, in its order."""
    return [int(word) for word in page.words if word.isdecimal() and len(word) == 12]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_it_tells_the_worst_in_the_language_of_its_reader(site: Site, language: str) -> None:
    page = get(site, f"?lang={language}")
    text = "\n".join(page.words)
    at = ("en", "zh").index(language)
    for code in ("paid_off", "finding"):
        assert CONCERNS[code][0][at] in text
    assert ("frozen" if language == "en" else "冻结") in text
    assert ("Waiting for a second person" if language == "en" else "待审批") in text
    assert "three months" in text


@pytest.mark.parametrize("language", LANGUAGES)
def test_channels_stand_there_for_those_who_keep_the_books(site: Site, language: str) -> None:
    day = zone.read_day("day", "2027-01-14")

    def go_wrong(conn: Connection) -> None:
        floats.set_limits(conn, NOW_S, "all", "agent", "user:li.wei", overdraft_uc=0, low_uc=5_000_000)
        if settlements.get(conn, "all", day) is None:
            settlements.settle(conn, NOW_S, "all", day, [(EVIL, 10)], 1, 10, "user:li.wei")

    site.store.write(go_wrong).result()
    words = "\n".join(get(site, f"?lang={language}", ("all", ALL)).words)
    untold = "\n".join(get(site, f"?lang={language}").words)  # who only reads meters
    for title, _ in CHANNEL_CONCERNS.values():
        assert title[LANGUAGES.index(language)] in words
        assert title[LANGUAGES.index(language)] not in untold
    assert site.store.read(exceptions_channels.standing, language, ("north",)) == []  # an area: its meters alone


def test_every_meter_is_found_page_by_page(site: Site) -> None:
    many = get(site, "?kind=paid_off")
    few = get(site)
    assert numbers_on(many) == list(METERS)
    more = [link["href"] for link in few.all("a") if "after=" in (link["href"] or "")]
    assert more, "the short list leads on"
    rest = [
        int(word)
        for word in get(site, str(more[0]).removeprefix("/exceptions")).words
        if len(word) == 12 and word.isdecimal()
    ]
    first = [int(word) for word in few.words if len(word) == 12 and word.isdecimal()]
    assert set(first) | set(rest) >= set(METERS)


def test_an_unknown_kind_is_named(site: Site) -> None:
    answer = site.client(None, auth=READER).get("/exceptions?kind=nothing")
    assert answer.status_code == 422 and "paid_off" in answer.text


def test_the_api_lists_the_same(site: Site) -> None:
    kinds = site.client(ONE["read"]).get(f"{API}/exceptions").json()["kinds"]
    standing = [one["kind"] for one in kinds if one["standing"]]
    assert "paid_off" in standing and "welded" not in standing
    found: list[str] = []
    after = "0"
    while after is not None:
        page = site.client(ONE["read"]).get(f"{API}/exceptions/paid_off", params={"after": after, "limit": 7}).json()
        found += [one["meter"] for one in page["exceptions"]]
        after = page["next_after"]
    assert [int(one) for one in found] == list(METERS)
    assert site.client(ONE["read"]).get(f"{API}/exceptions/nothing").status_code == 422


def test_the_board_leads_there(site: Site) -> None:
    board = Page(site.client(None, auth=READER).get("/").text)
    assert any((link["href"] or "").startswith("/exceptions") for link in board.all("a"))


def test_nobody_without_the_right_sees_it(site: Site) -> None:
    assert site.client(None).get("/exceptions").status_code == 401
    token = "op_" + "n" * 43
    site.store.write(channels.add_channel, NOW_S, "till", token, ("payments",), 10).result()
    assert site.client(None, auth=("till", token)).get("/exceptions").status_code == 403
