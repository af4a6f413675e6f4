"""What all pages share: one look at the database in one thread, in the language of the reader, put into a template.

A page is a row of `pages.PAGES`: where it is, what it reads, its words and its template. It only shows; nothing on it
runs in the browser, and nothing is fetched from elsewhere.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Generic, TypeVar
from urllib.parse import urlencode

import msgspec
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response

from headend import language as texts
from headend.access.areas import EVERYWHERE
from headend.access.caller import Caller
from headend.access.permissions import READ
from headend.web import health, wire, words
from headend.web.desk import Desk
from headend.web.problems import Problem
from headend.web.rendering import Rendering
from meterlink.labels import Text

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
SIGN_IN_PATH = "/sign-in"
_PORT = re.compile(r":[0-9]{1,5}\Z")

Serve = Callable[[Request, Any], Awaitable[Response]]
Admit = Callable[[Any], None]


class PageQuery(msgspec.Struct, forbid_unknown_fields=True):
    """In which language, where not in the one that the browser asks for; "off": a page does not renew itself."""

    lang: str = ""
    refresh: str = ""


Q = TypeVar("Q", bound=PageQuery)


@dataclass(frozen=True)
class View(Generic[Q]):
    """One look at a page: who looks, at what, and what its links and words are made with."""

    desk: Desk
    caller: Caller
    query: Q
    language: str
    now_s: int
    path: str

    @property
    def areas(self) -> tuple[str, ...]:
        """Where the reader may look."""
        return self.caller.areas

    def link(self, **changes: Any) -> str:
        """This page as it is asked for, with changes; None takes a part of the query away."""
        usual = {one.name: one.default for one in msgspec.structs.fields(type(self.query))}
        given = {**msgspec.structs.asdict(self.query), **changes}
        kept = {key: value for key, value in given.items() if value is not None and value != usual[key]}
        return "?" + urlencode(kept) if kept else self.path

    def to(self, path: str, **query: Any) -> str:
        """Another page in the same language."""
        kept = {key: value for key, value in {"lang": self.query.lang, **query}.items() if value}
        return path + ("?" + urlencode(kept) if kept else "")

    def named(self, table: Mapping[str, Text]) -> Callable[[str], str]:
        """What puts a code of this table into words."""
        return lambda code: texts.name(table, code, self.language)


@dataclass(frozen=True)
class Page(Generic[Q]):
    """A page: `read(conn, view)` gives what its template needs besides what every page has (`_shared`).

    `label`: in the navigation · `refresh_s`: it renews itself so often, unless `read` gives another value of that
    name · `forms`: it sends one to us.
    """

    path: str
    label: Text
    template: str
    query: type[Q]
    read: Callable[[Connection, View[Q]], dict[str, Any]]
    words: Mapping[str, Text]
    refresh_s: int = 0
    forms: bool = False
    permission: str = READ


@dataclass(frozen=True)
class File:
    """A page's table as a file in CSV: `read(conn, areas, language)` gives its text."""

    path: str
    read: Callable[[Connection, tuple[str, ...], str], str]
    permission: str = READ


class Pages:
    """Serves pages. `admit` raises Problem while a visitor's budget is spent; `linked`: what the navigation shows."""

    def __init__(self, desk: Desk, admit: Admit, linked: tuple[Page[Any], ...]) -> None:
        self._desk = desk
        self._admit = admit
        self._linked = linked
        self._rendering = Rendering()

    def page(self, page: Page[Any]) -> Serve:
        """What answers for a page."""

        async def answer(request: Request, visitor: Any) -> Response:
            caller = await let_in(self._desk, self._admit, request, visitor, page.permission)
            query, language = spoken(request, page.query)
            view = View(self._desk, caller, query, language, self._desk.clock.now_s(), page.path)
            html = await self._desk.read(self._render, page, view)
            forms = page.forms or caller.session is not None  # which can be ended on each page
            return self.html(html, language, forms=forms)

        return _or_sign_in(answer)

    def file(self, file: File) -> Serve:
        """What answers for a file."""

        async def answer(request: Request, visitor: Any) -> Response:
            caller = await let_in(self._desk, self._admit, request, visitor, file.permission)
            _, language = spoken(request, PageQuery)
            text = await self._desk.read(file.read, caller.areas, language)
            name = file.path.removeprefix("/")
            headers = self._rendering.headers(language) | {"Content-Disposition": f'attachment; filename="{name}"'}
            return Response("\ufeff" + text, 200, headers, media_type="text/csv; charset=utf-8")

        return _or_sign_in(answer)

    def render(self, template: str, language: str, words: Mapping[str, Text], **values: Any) -> str:
        """A page outside of the table, from its words and values."""
        return self._rendering.render(template, **_worded(language, words), language=language, **values)

    def html(self, html: str, language: str, status: int = 200, *, forms: bool) -> Response:
        headers = self._rendering.headers(language, forms=forms)
        return Response(html, status, headers, media_type="text/html; charset=utf-8")

    def _render(self, conn: Connection, page: Page[Any], view: View[Any]) -> str:
        """The whole page, made in a thread of the desk: a large one takes longer than the loop may wait."""
        return self._rendering.render(page.template, **(self._shared(page, view) | page.read(conn, view)))

    def _shared(self, page: Page[Any], view: View[Any]) -> dict[str, Any]:
        """What every page has."""
        at = texts.LANGUAGES.index(view.language)
        return {
            **_worded(view.language, page.words),
            "language": view.language,
            "link": view.link,
            "to": view.to,
            "meter_name": wire.meter_name,
            "now_s": view.now_s,
            "pages": [(one.path, one.label[at]) for one in self._linked if view.caller.allowed.get(one.permission)],
            "path": page.path,
            "person": view.caller.login,
            "plain_utc": plain_utc,
            "query": view.query,
            "refresh_s": 0 if view.query.refresh == "off" else page.refresh_s,
            "renews": bool(page.refresh_s),
            "utc": wire.utc,
            "version": health.version(),
        }


def spoken(request: Request, query: type[Q]) -> tuple[Q, str]:
    """The query, and the language that it asks for, else the best for the browser."""
    asked = wire.read_query(request.scope["query_string"], query)
    if asked.lang not in texts.LANGUAGES:
        asked = msgspec.structs.replace(asked, lang="")
    return asked, asked.lang or words.choose(request.headers.get("accept-language", ""))


def plain_utc(at_s: int) -> str:
    """A time as it is read in a table: 2026-01-31 23:59:00, in UTC."""
    return wire.utc(at_s).rstrip("Z").replace("T", " ")


def go_on(path: str, cookie: str | None = None) -> Response:
    """To another page."""
    headers = {"Location": path, "Cache-Control": "no-store"}
    return Response(status_code=303, headers=headers | ({"Set-Cookie": cookie} if cookie is not None else {}))


_ANYONE = Caller("", {READ: (EVERYWHERE,)})


async def let_in(desk: Desk, admit: Admit, request: Request, visitor: Any, permission: str = READ) -> Caller:
    """The reader, with the areas where this permission is held.

    By a session or a token; without either everywhere, where the operator opened the pages, for a browser on this
    machine.

    The name by which the browser calls tells the latter: a page of another site that had its own name point here
    (DNS rebinding) calls by that name.
    """
    host = request.headers.get("host", "")
    opened = desk.page_without_token and _PORT.sub("", host) in LOOPBACK_NAMES
    if opened and {"authorization", "cookie"}.isdisjoint(request.headers):
        return _ANYONE.at(permission)
    try:
        caller: Caller = await visitor.callers.of_page(request, visitor.address)
    except Problem:
        admit(visitor)
        if opened:
            return _ANYONE.at(permission)
        raise
    visitor.is_known(caller)
    admit(visitor)
    return caller.at(permission)


def _or_sign_in(serve: Serve) -> Serve:
    """Show a browser that has no session the form, instead of its own question for a name and a password."""

    async def page(request: Request, visitor: Any) -> Response:
        try:
            return await serve(request, visitor)
        except Problem as problem:
            browser = "text/html" in request.headers.get("accept", "") and "authorization" not in request.headers
            if problem.code != "unauthorized" or not browser:
                raise
        return go_on(SIGN_IN_PATH)

    return page


def _worded(language: str, own: Mapping[str, Text]) -> dict[str, Any]:
    """`w`: what stands by itself, the page's own words before the shared ones; `say(key, …)`: what is filled in."""
    known = {**words.SHARED, **own}
    plain = {key: texts.say(text, language) for key, text in known.items() if "{" not in text[0]}
    return {"w": SimpleNamespace(**plain), "say": lambda key, **fields: texts.say(known[key], language, **fields)}
