"""The page of readings to review and meters to visit; and the visits as a file for whoever goes there."""

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
from headend.validation import cases, visits
from headend.validation.words import PAGE
from headend.web import health, page, validation, wire, words
from headend.web import visits as visits_api
from headend.web.desk import Desk
from headend.web.rendering import Rendering

PATH, FILE_PATH = "/validation", "/visits.csv"
MANY = 100

Serve = Callable[[Request, Any], Awaitable[Response]]


class ValidationPageQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Which part, and in which language."""

    lang: str = ""
    after_case: Annotated[int, Meta(ge=0, le=2**53)] = 0
    after_visit: Annotated[int, Meta(ge=0, le=2**53)] = 0


class FileQuery(msgspec.Struct, forbid_unknown_fields=True):
    """In which language."""

    lang: str = ""


def serve(desk: Desk, admit: Callable[[Any], None]) -> Serve:
    """The page's function."""
    pages = Rendering()

    async def answer(request: Request, visitor: Any) -> Response:
        caller = await page.let_in(desk, admit, request, visitor)
        query = wire.read_query(request.scope["query_string"], ValidationPageQuery)
        language = _language(request, query.lang)
        html = await desk.read(_read, pages, desk, language, query, caller.areas)
        return Response(html, 200, pages.headers(language), media_type="text/html; charset=utf-8")

    return answer


def serve_file(desk: Desk, admit: Callable[[Any], None]) -> Serve:
    """The file's function."""
    pages = Rendering()

    async def answer(request: Request, visitor: Any) -> Response:
        caller = await page.let_in(desk, admit, request, visitor)
        language = _language(request, wire.read_query(request.scope["query_string"], FileQuery).lang)
        text = await desk.read(visits_api.file, caller.areas, language)
        headers = {**pages.headers(language), "Content-Disposition": 'attachment; filename="visits.csv"'}
        return Response("\ufeff" + text, 200, headers, media_type="text/csv; charset=utf-8")

    return answer


def _language(request: Request, given: str) -> str:
    return given if given in texts.LANGUAGES else words.choose(request.headers.get("accept-language", ""))


def _read(
    conn: Connection, pages: Rendering, desk: Desk, language: str, query: ValidationPageQuery, areas: tuple[str, ...]
) -> str:
    """The whole page, made in a thread of the desk."""
    now_s = desk.clock.now_s()
    held = cases.listed(conn, areas, after=query.after_case, limit=MANY)
    silent = visits.listed(conn, areas, after=query.after_visit, limit=MANY)
    return pages.render(
        "validation.html",
        cases=[validation.case_shown(row) for row in held],
        visits=[visits_api.shown(row) for row in silent],
        more_cases=_link(query, after_case=held[-1].id) if len(held) == MANY else "",
        more_visits=_link(query, after_visit=silent[-1].id) if len(silent) == MANY else "",
        english=_link(query, lang="en"),
        chinese=_link(query, lang="zh"),
        file=FILE_PATH + ("?" + urlencode({"lang": query.lang}) if query.lang else ""),
        language=language,
        given_lang=query.lang,
        now_s=now_s,
        version=health.version(),
        utc=wire.utc,
        plain=lambda moment: moment.utc.rstrip("Z").replace("T", " "),
        w=SimpleNamespace(**{key: texts.say(text, language) for key, text in PAGE.items()}),
    )


def _link(query: ValidationPageQuery, **changes: Any) -> str:
    given = {name: getattr(query, name) for name in query.__struct_fields__}
    kept = {key: value for key, value in {**given, **changes}.items() if value}
    return PATH + ("?" + urlencode(kept) if kept else "")
