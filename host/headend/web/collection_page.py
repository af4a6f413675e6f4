"""The page of collection: how much of each day was read in time, drawn and told, and the lines that answer worst."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

import msgspec
from msgspec import Meta
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response

from headend import language as texts
from headend.access.areas import covered
from headend.access.caller import Caller
from headend.collection import pauses, table
from headend.collection.table import Figures
from headend.collection.words import PAGE
from headend.ledger import zone
from headend.web import collection, health, page, wire, words
from headend.web.desk import Desk
from headend.web.rendering import Rendering

PATH = "/collection"
DAYS = 14
AREA_LEVEL = 2
WORST = 20
MANY = 200
PPM_OF_PERCENT = 10_000

Serve = Callable[[Request, Any], Awaitable[Response]]


class CollectionPageQuery(msgspec.Struct, forbid_unknown_fields=True):
    """How the days are put together, and in which language."""

    lang: str = ""
    by: Literal["day", "area", "carrier"] = "day"
    days: Annotated[int, Meta(ge=1, le=table.MAX_DAYS)] = DAYS


@dataclass(frozen=True)
class Bar:
    """A row: its figures, and how wide its parts are drawn, in tenths of a percent of what was expected."""

    day: str
    figures: Figures
    in_time: int
    late: int
    percent: str
    missing: int


def serve(desk: Desk, admit: Callable[[Any], None]) -> Serve:
    """The page's function."""
    pages = Rendering()

    async def answer(request: Request, visitor: Any) -> Response:
        caller = await page.let_in(desk, admit, request, visitor)
        query = wire.read_query(request.scope["query_string"], CollectionPageQuery)
        given = query.lang if query.lang in texts.LANGUAGES else ""
        language = given or words.choose(request.headers.get("accept-language", ""))
        html = await desk.read(_read, pages, desk, language, query, caller)
        return Response(html, 200, pages.headers(language), media_type="text/html; charset=utf-8")

    return answer


def _read(
    conn: Connection, pages: Rendering, desk: Desk, language: str, query: CollectionPageQuery, caller: Caller
) -> str:
    """The whole page, made in a thread of the desk."""
    now_s = desk.clock.now_s()
    today = zone.day_of(zone.of(conn), now_s)
    level = AREA_LEVEL if query.by == "area" else 0
    first = today - query.days + 1
    days = table.of_days(conn, first, today, caller.areas, level, by_carrier=query.by == "carrier")
    return pages.render(
        "collection.html",
        bars=[_bar(one) for one in days][:MANY],
        lines=_worst(conn, now_s, caller),
        pauses=[row for row in pauses.coming(conn, now_s) if covered(caller.areas, row.area)],
        query=query,
        link=_links(query),
        language=language,
        given_lang=query.lang,
        now_s=now_s,
        version=health.version(),
        utc=wire.utc,
        plain_utc=lambda at_s: wire.utc(at_s).rstrip("Z").replace("T", " "),
        w=SimpleNamespace(**{key: texts.say(text, language) for key, text in PAGE.items()}),
    )


def _bar(one: Figures) -> Bar:
    in_time, read = one.in_time_ppm or 0, one.read_ppm or 0
    percent = "–" if one.in_time_ppm is None else f"{in_time // PPM_OF_PERCENT}.{in_time % PPM_OF_PERCENT // 100:02d} %"
    missing = max(0, one.expected - one.in_time - one.late - one.lost)
    return Bar(zone.day_text(one.day), one, in_time // 1000, (read - in_time) // 1000, percent, missing)


def _worst(conn: Connection, now_s: int, caller: Caller) -> list[collection.LineShown]:
    """Lines of today (UTC) by the share of what was asked and not answered."""
    found = collection.lines_shown(conn, now_s, caller.areas, collection.LinesQuery())
    bad = [one for one in found if one.counts["sent"]]
    return sorted(bad, key=lambda one: (one.counts["answered"] * 1_000_000 // one.counts["sent"], one.link))[:WORST]


def _links(query: CollectionPageQuery) -> Callable[..., str]:
    given = {name: getattr(query, name) for name in query.__struct_fields__}
    usual = {"by": "day", "days": DAYS}

    def link(**changes: Any) -> str:
        kept = {key: value for key, value in {**given, **changes}.items() if value and usual.get(key) != value}
        return PATH + ("?" + urlencode(kept) if kept else "")

    return link
