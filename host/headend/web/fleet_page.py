"""The page of the fleet: the grid as a tree with counts, what stands below a transformer, and a box that finds."""

from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Annotated, Any
from urllib.parse import urlencode

import msgspec
from msgspec import Meta
from sqlalchemy import Connection, Row
from starlette.requests import Request
from starlette.responses import Response

from headend import language as texts
from headend.access import areas
from headend.access.caller import Caller
from headend.fleet import grid, points, search, tree
from headend.fleet import words as fleet_words
from headend.web import health, page, wire, words
from headend.web.desk import Desk
from headend.web.rendering import Rendering

PATH = "/fleet"
MANY = 200  # supply points on a page


class FleetPageQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Which part of the grid, or what is sought."""

    lang: str = ""
    below: Annotated[int, Meta(ge=0, le=10**15)] = 0
    after: Annotated[str, Meta(max_length=40)] = ""
    q: Annotated[str, Meta(max_length=search.MAX_TEXT)] = ""


def serve(desk: Desk, admit: Callable[[Any], None]) -> Callable[[Request, Any], Awaitable[Response]]:
    """The route's function."""
    pages = Rendering()

    async def answer(request: Request, visitor: Any) -> Response:
        caller = await page.let_in(desk, admit, request, visitor)
        query = wire.read_query(request.scope["query_string"], FleetPageQuery)
        language = query.lang if query.lang in texts.LANGUAGES else ""
        language = language or words.choose(request.headers.get("accept-language", ""))
        html = await desk.read(_read, pages, desk, language, query, caller)
        return Response(html, 200, pages.headers(language, forms=True), media_type="text/html; charset=utf-8")

    return answer


def _read(conn: Connection, pages: Rendering, desk: Desk, language: str, query: FleetPageQuery, caller: Caller) -> str:
    """The whole page, made in a thread of the desk."""
    now_s, within = desk.clock.now_s(), caller.areas
    chain = grid.chain(conn, query.below) if query.below else []
    if chain and not areas.narrowed(within, chain[-1].path):
        raise grid.UnknownNode(query.below)
    found = search.find(conn, query.q, within) if query.q.strip() else None
    transformer = bool(chain) and chain[-1].kind == grid.TRANSFORMER
    whole, branches = (
        (tree.Counts(), []) if found else tree.read(conn, query.below or None, tree.yesterday(conn, now_s), within)
    )
    listed = points.page(conn, query.after, MANY, within, chain[-1].id) if transformer and not found else []
    text = fleet_words.PAGE
    return pages.render(
        "fleet.html",
        chain=chain,
        found=found,
        counts=whole,
        branches=branches,
        points=listed,
        next_after=listed[-1].code if len(listed) == MANY else "",
        moving=grid.moving(conn),
        language=language,
        query=query,
        now_s=now_s,
        version=health.version(),
        utc=wire.utc,
        plain_utc=lambda at_s: wire.utc(at_s).rstrip("Z").replace("T", " "),
        meter_name=wire.meter_name,
        title_of=lambda node: _title(node, language),
        kind_of=lambda kind: texts.name(fleet_words.KINDS, kind, language),
        state_of=lambda state: texts.name(fleet_words.STATES, state, language),
        by=lambda kind: texts.name(fleet_words.IDENTITIES, kind, language),
        link=_links(query),
        say=lambda key, **fields: texts.say(text[key], language, **fields),
        w=SimpleNamespace(**{key: texts.say(one, language) for key, one in text.items() if "{" not in one[0]}),
    )


def _title(node: Row[Any], language: str) -> str:
    own = node.title_zh if language == texts.CHINESE else node.title_en
    return str(own or node.title_en or node.title_zh or node.code)


def _links(query: FleetPageQuery) -> Callable[..., str]:
    def link(**changes: Any) -> str:
        kept = {key: value for key, value in {"lang": query.lang, **changes}.items() if value}
        return PATH + ("?" + urlencode(kept) if kept else "")

    return link
