"""The page of the audit of configuration, and what stands as a file."""

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
from headend.configuration import words as told
from headend.refusals import Refused
from headend.web import configuration, health, page, wire, words
from headend.web.desk import Desk
from headend.web.rendering import Rendering

PATH, FILE_PATH = "/configuration", "/configuration.csv"
MANY = 100

Serve = Callable[[Request, Any], Awaitable[Response]]


class ConfigurationPageQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Which findings, and in which language."""

    lang: str = ""
    aspect: str = ""
    before: Annotated[int, Meta(ge=1, le=configuration.MAX_ID)] = configuration.MAX_ID


def serve(desk: Desk, admit: Callable[[Any], None]) -> Serve:
    """The page's function."""
    pages = Rendering()

    async def answer(request: Request, visitor: Any) -> Response:
        caller = await page.let_in(desk, admit, request, visitor)
        query = wire.read_query(request.scope["query_string"], ConfigurationPageQuery)
        if query.aspect and query.aspect not in told.ASPECTS:
            raise Refused("aspect", query.aspect, f"one of {', '.join(told.ASPECTS)}")
        language = _language(request, query.lang)
        html = await desk.read(_read, pages, desk, language, query, caller.areas)
        return Response(html, 200, pages.headers(language), media_type="text/html; charset=utf-8")

    return answer


def serve_file(desk: Desk, admit: Callable[[Any], None]) -> Serve:
    """The file's function."""
    pages = Rendering()

    async def answer(request: Request, visitor: Any) -> Response:
        caller = await page.let_in(desk, admit, request, visitor)
        language = _language(request, wire.read_query(request.scope["query_string"], ConfigurationPageQuery).lang)
        text = await desk.read(configuration.file, caller.areas, language)
        headers = {**pages.headers(language), "Content-Disposition": 'attachment; filename="configuration.csv"'}
        return Response("\ufeff" + text, 200, headers, media_type="text/csv; charset=utf-8")

    return answer


def _language(request: Request, given: str) -> str:
    return given if given in texts.LANGUAGES else words.choose(request.headers.get("accept-language", ""))


def _read(
    conn: Connection,
    pages: Rendering,
    desk: Desk,
    language: str,
    query: ConfigurationPageQuery,
    areas: tuple[str, ...],
) -> str:
    """The whole page, made in a thread of the desk."""
    now_s = desk.clock.now_s()
    rows = configuration.listed(conn, areas, query.aspect, False, query.before, MANY)
    return pages.render(
        "configuration.html",
        summary=configuration.summary(conn, areas),
        findings=[configuration.shown(row, now_s) for row in rows],
        more=_link(query, before=rows[-1].id) if len(rows) == MANY else "",
        link=lambda **changes: _link(query, **changes),
        aspect=lambda code: texts.name(told.ASPECTS, code, language),
        chosen=query.aspect,
        file=FILE_PATH + ("?" + urlencode({"lang": query.lang}) if query.lang else ""),
        language=language,
        given_lang=query.lang,
        now_s=now_s,
        version=health.version(),
        utc=wire.utc,
        plain=lambda moment: moment.utc.rstrip("Z").replace("T", " "),
        w=SimpleNamespace(**{key: texts.say(text, language) for key, text in told.PAGE.items()}),
    )


def _link(query: ConfigurationPageQuery, **changes: Any) -> str:
    given = {"lang": query.lang, "aspect": query.aspect}
    kept = {key: value for key, value in {**given, **changes}.items() if value}
    return PATH + ("?" + urlencode(kept) if kept else "")


PAGES = {PATH: serve, FILE_PATH: serve_file}
