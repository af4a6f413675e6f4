"""The page of campaigns: all of them with how far they are, or one by group and feeder, counted now."""

from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Annotated, Any
from urllib.parse import urlencode

import msgspec
from msgspec import Meta
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response

from headend import language as texts
from headend.access.areas import covered
from headend.campaigns import lifecycle, progress
from headend.campaigns import words as told
from headend.campaigns.progress import Counts
from headend.web import health, page, wire, words
from headend.web.campaign_views import brief, page_of, whole
from headend.web.campaigns import MAX_ID
from headend.web.desk import Desk
from headend.web.rendering import Rendering

PATH = "/campaigns"
REFRESH_S = 5
MANY = 50


class CampaignsPageQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Which campaign, and how."""

    lang: str = ""
    campaign: Annotated[int, Meta(ge=0, le=MAX_ID)] = 0
    before: Annotated[int, Meta(ge=1, le=MAX_ID)] = MAX_ID


def serve(desk: Desk, admit: Callable[[Any], None]) -> Callable[[Request, Any], Awaitable[Response]]:
    """The route's function."""
    pages = Rendering()

    async def answer(request: Request, visitor: Any) -> Response:
        caller = await page.let_in(desk, admit, request, visitor)
        query = wire.read_query(request.scope["query_string"], CampaignsPageQuery)
        language = query.lang if query.lang in texts.LANGUAGES else ""
        language = language or words.choose(request.headers.get("accept-language", ""))
        html = await desk.read(_read, pages, desk, language, query, caller.areas)
        return Response(html, 200, pages.headers(language), media_type="text/html; charset=utf-8")

    return answer


def _read(
    conn: Connection, pages: Rendering, desk: Desk, language: str, query: CampaignsPageQuery, areas: tuple[str, ...]
) -> str:
    """The whole page, made in a thread of the desk."""
    now_s = desk.clock.now_s()
    one, rows = None, []
    if query.campaign:
        one = whole(conn, now_s, query.campaign)
        if not covered(areas, one.area):
            raise lifecycle.UnknownCampaign(query.campaign)
    else:
        rows = page_of(conn, areas, None, query.before, MANY)
    return pages.render(
        "campaigns.html",
        one=one,
        campaigns=[brief(row) for row in rows],
        older=_link(query, before=rows[-1].id) if len(rows) == MANY else "",
        link=lambda **changes: _link(query, **changes),
        bar=_bar,
        failing=progress.failing,
        total=progress.added,
        kind=lambda code: texts.name(told.KINDS, code, language),
        stands=lambda code: texts.name(progress.STANDS, code, language),
        verdict=lambda code: texts.name(told.VERDICTS, code, language),
        event=lambda code: texts.name(lifecycle.EVENTS, code, language),
        state=lambda code: texts.name(lifecycle.STATES, code, language),
        order=tuple(progress.STANDS),
        refresh_s=REFRESH_S,
        language=language,
        given_lang=query.lang,
        now_s=now_s,
        version=health.version(),
        utc=wire.utc,
        plain=lambda moment: moment.utc.rstrip("Z").replace("T", " "),
        w=SimpleNamespace(**{key: texts.say(text, language) for key, text in told.PAGE.items()}),
    )


def _bar(counts: Counts) -> tuple[int, int, int, int]:
    """(confirmed, failed or overdue, sent, all) of what is drawn as a bar."""
    everyone = sum(counts[code] for code in progress.STANDS)
    return counts["confirmed"], progress.failing(counts), progress.sent(counts), everyone


def _link(query: CampaignsPageQuery, **changes: Any) -> str:
    given = {"lang": query.lang, "campaign": query.campaign}
    kept = {key: value for key, value in {**given, **changes}.items() if value}
    return PATH + ("?" + urlencode(kept) if kept else "")
