"""The status page: in two languages, self-contained, safe against what others wrote, and right about what it shows."""

import base64
import hashlib
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from headend.fleet.meters import add_meter
from headend.language import LANGUAGES
from headend.orders import statements
from headend.web import board
from headend.web.page import Page as PageRow
from headend.web.pages import PAGES
from meterlink import reasons
from meterlink.tariff import Tariff
from tests.host.books import NOW_S, record
from tests.host.peer import OPEN
from tests.host.site import API, ONE, Site

READER = ("read-only", ONE["read"])
EVIL = "<script>alert('&\"')</script>"
CHINA = Tariff((530_000,), utc_offset_quarters=32).encode()


class Page(HTMLParser):
    """What a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.style = ""
        self.feed(text)
        assert not self.open, f"left open: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "style":
            self.style += data
        elif data.strip():
            self.words.append(" ".join(data.split()))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for found, attributes in self.tags if found == tag]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("site")) as made:
        made.store.write(add_meter, NOW_S, record(18, label=EVIL, tariff=CHINA)).result()
        made.peer(18).be(
            **(OPEN | {"load_ma": 4210, "no_load_s": 0, "holds": 1 << reasons.HOLD_TAMPER, "balance_uc": -120_001})
        )
        order = made.store.write(
            lambda conn: statements.stop(conn, NOW_S, 18, reasons.HOLD_TAMPER, "channel:ops", reason_text=EVIL)
        )
        order.result()
        made.born(18)
        made.run(60, 17)
        made.client().post(f"{API}/payments", json={"payment_id": "1", "meter": "18", "amount": "999.999999"})
        yield made


def get(site: Site, query: str = "", accept: str = "") -> tuple[Page, str]:
    answer = site.client(None, auth=READER).get(f"/{query}", headers={"Accept-Language": accept})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    return Page(answer.text), answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("query", "accept", "language", "words"),
    [
        ("", "", "en", ["Board of meters", "Off, but still drawing", "Intended", "no report yet", "on the way"]),
        ("", "zh-CN,zh;q=0.9", "zh-CN", ["电表总览", "已停电仍在用电", "电表意图", "窃电嫌疑", "在途"]),
        ("?lang=zh", "en", "zh-CN", ["电表总览"]),
        ("?lang=en", "zh", "en", ["Board of meters"]),
        ("?lang=xx", "zh", "zh-CN", ["电表总览"]),
    ],
)
def test_it_speaks_the_language_of_its_reader(
    site: Site, query: str, accept: str, language: str, words: list[str]
) -> None:
    page, _ = get(site, query, accept)
    assert page.all("html")[0]["lang"] == language
    text = "\n".join(page.words)
    for word in words:
        assert word in text
    if language == "zh-CN":
        left = re.findall(
            r"[A-Za-z]{3,}", re.sub(r"channel:\w+|<script>.*?</script>|openprepay|English|UTC|CNY|dev", "", text)
        )
        assert left == [], "nothing is left in English"


def test_nothing_is_fetched_and_nothing_runs(site: Site) -> None:
    page, policy = get(site)
    assert "default-src 'none'" in policy and "unsafe" not in policy
    digest = base64.b64encode(hashlib.sha256(page.style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in policy, "the policy lets exactly this style in"
    assert page.all("script") == page.all("img") == page.all("form") == page.all("iframe") == []
    assert [link["href"] for link in page.all("link") if not (link["href"] or "").startswith("data:")] == []
    for _, attributes in page.tags:
        assert "style" not in attributes, "an inline style would be blocked"
        assert not [name for name in attributes if name.startswith("on")]
        assert not re.match(r"https?:|//", attributes.get("href") or attributes.get("src") or "")
    assert "url(" not in page.style and "@import" not in page.style


def test_what_others_wrote_stays_text(site: Site) -> None:
    page, _ = get(site)
    assert EVIL in page.words
    assert any(EVIL in words for words in page.words if words.startswith("Off: held for tampering"))


def test_the_three_facts_and_the_meters_time_are_shown(site: Site) -> None:
    page, _ = get(site)
    at = page.words.index("000000000018", page.words.index("Last report, meter's time"))
    row = " ".join(page.words[at : at + 30])
    assert "off tampering · accepted" in row, "wanted, and how far the order is"
    assert "open 4.21 A" in row
    assert "−0.13" in row, "never more than there is"
    assert "999.99 on the way" in row
    shown = site.store.read(board.read, site.clock.now_s(), 900, 0)
    report = next(line.facts.report for line in shown.lines if line.facts.number == 18)
    assert report is not None
    times = [one["datetime"] for one in page.all("time")]
    assert any(one and one.endswith("Z") for one in times)
    assert re.search(r"2027-01-15 16:\d\d:\d\d \+08:00", row), "the meter's own wall clock"


def test_tables_are_tables_also_on_a_phone(site: Site) -> None:
    page, _ = get(site)
    assert len(page.all("table")) == 3
    assert all(table["role"] == "table" for table in page.all("table"))
    assert all(cell.get("scope") in ("col", "row") for cell in page.all("th"))
    assert all(cell["role"] == "cell" for cell in page.all("td"))
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in page.all("meta")
    headings = [section["aria-labelledby"] for section in page.all("section")]
    assert headings == [one["id"] for one in page.all("h2")]
    targets = {attributes.get("id") for _, attributes in page.tags}
    for link in page.all("a"):
        if (link["href"] or "").startswith("#"):
            assert (link["href"] or "")[1:] in targets


def _luminance(colour: str) -> float:
    full = colour if len(colour) == 6 else "".join(2 * one for one in colour)
    parts = [int(full[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_every_colour_can_be_read_in_light_and_dark(site: Site) -> None:
    """Contrast of 4.5 : 1 or more (WCAG 2.2, 1.4.3)."""
    page, _ = get(site)
    themes = [
        dict(re.findall(r"--([\w-]+):#([0-9a-f]+)", block)) for block in re.findall(r":root\{([^}]*)\}", page.style)
    ]
    assert len(themes) == 2
    for theme in themes:
        pairs = [(ink, back) for ink in ("ink", "soft", "link", "bad") for back in ("bg", "card")]
        pairs += [(name, f"{name}-bg") for name in ("on", "off", "bad", "warn")]
        for ink, back in pairs:
            light, dark = sorted((_luminance(theme[ink]), _luminance(theme[back])), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, f"{ink} on {back}"


def test_it_renews_itself_unless_told_not_to(site: Site) -> None:
    def refresh(page: Page) -> list[str | None]:
        return [meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "refresh"]

    page, _ = get(site, "?lang=zh")
    assert refresh(page) == ["10"]
    assert "?lang=zh&refresh=off" in [link["href"] for link in page.all("a")]
    stopped, _ = get(site, "?lang=zh&refresh=off")
    assert refresh(stopped) == []
    assert "?lang=zh" in [link["href"] for link in stopped.all("a")]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("one", PAGES, ids=lambda one: one.path)
def test_every_page_leads_to_the_others_in_its_language(site: Site, one: PageRow[Any], language: str) -> None:
    answer = site.client(None, auth=READER).get(one.path, params={"lang": language})
    page = Page(answer.text)
    assert answer.status_code == 200 and len(page.all("h1")) == len(page.all("main")) == 1
    (nav,) = (attributes for attributes in page.all("nav") if attributes.get("class") == "pages")
    assert nav["aria-label"]
    led = {link["href"]: link.get("aria-current") for link in page.all("a")}
    for other in PAGES:
        assert led[f"{other.path}?lang={language}"] == ("page" if other is one else None)
        assert other.label[LANGUAGES.index(language)] in page.words
    assert f"?lang={'en' if language == 'zh' else 'zh'}" in led
    assert ("?lang=" + language + "&refresh=off" in led) == bool(one.refresh_s), "what renews itself can be stopped"
    titles = {heading["id"] for heading in page.all("h2")}
    assert all(table["aria-labelledby"] in titles for table in page.all("table"))
    assert page.all("a")[0]["href"] == f"#{page.all('main')[0]['id']}"


def test_a_query_that_does_not_fit_is_refused(site: Site) -> None:
    for query in ("?after=x", "?after=-1", "?colour=red"):
        assert site.client(None, auth=READER).get(f"/{query}").status_code == 422


def test_an_empty_fleet_has_a_page(tmp_path: Path) -> None:
    with Site(tmp_path, meters=()) as site:
        page, _ = get(site)
        assert "No meter is in the fleet yet." in page.words
        assert "Nothing does." in page.words


def test_a_large_fleet_has_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board, "METERS", 3)
    with Site(tmp_path, meters=tuple(range(1, 8))) as site:
        seen: list[str] = []
        query = "?refresh=off"
        for _ in range(3):
            page, _ = get(site, query)
            seen += [words for words in page.words if re.fullmatch(r"0{11}\d", words)]
            query = next((link["href"] or "" for link in page.all("a") if link.get("rel") == "next"), "")
        assert seen == [f"{number:012d}" for number in range(1, 8)]
