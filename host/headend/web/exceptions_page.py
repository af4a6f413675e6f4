"""The page of exceptions: over the whole fleet, what wants a person; first what waits for a second one."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Annotated, Any
from urllib.parse import urlencode

import msgspec
from msgspec import Meta
from sqlalchemy import Connection, Integer, Row, bindparam, select
from starlette.requests import Request
from starlette.responses import Response

from headend import language as texts
from headend.access.areas import covered
from headend.access.caller import Caller
from headend.access.permissions import BOOKS
from headend.gate import freeze, proposals
from headend.gate import words as gate_words
from headend.refusals import Refused
from headend.store.schema_gate import proposal
from headend.web import exceptions, exceptions_channels, health, page, wire, words
from headend.web.desk import Desk
from headend.web.exceptions import Found
from headend.web.rendering import Rendering
from headend.web.words import CONCERNS

PATH = "/exceptions"
REFRESH_S = 30
FEW = 10  # of each kind, where all are shown
FEW_PROPOSALS = 50
MANY = 100  # of the one that was chosen


_WAITING = (
    select(proposal)
    .where(proposal.c.state == proposals.OPEN)
    .order_by(proposal.c.expires_s, proposal.c.id)
    .limit(bindparam("at_most", type_=Integer))
)


class ExceptionsPageQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Which exceptions, and how."""

    lang: str = ""
    kind: str = ""
    after: Annotated[int, Meta(ge=0, le=10**15)] = 0
    refresh: str = ""


@dataclass(frozen=True)
class Group:
    """Exceptions of one kind."""

    kind: str
    title: str
    found: tuple[Found, ...]
    next_after: int | None


def serve(desk: Desk, admit: Callable[[Any], None]) -> Callable[[Request, Any], Awaitable[Response]]:
    """The route's function."""
    pages = Rendering()

    async def answer(request: Request, visitor: Any) -> Response:
        caller = await page.let_in(desk, admit, request, visitor)
        query = wire.read_query(request.scope["query_string"], ExceptionsPageQuery)
        if query.kind and query.kind not in exceptions.CANDIDATES:
            raise Refused("kind", query.kind, f"one of {', '.join(exceptions.kinds())}")
        language = query.lang if query.lang in texts.LANGUAGES else ""
        language = language or words.choose(request.headers.get("accept-language", ""))
        html = await desk.read(_read, pages, desk, language, query, caller)
        return Response(html, 200, pages.headers(language), media_type="text/html; charset=utf-8")

    return answer


def _read(
    conn: Connection, pages: Rendering, desk: Desk, language: str, query: ExceptionsPageQuery, caller: Caller
) -> str:
    """The whole page, made in a thread of the desk."""
    areas, books = caller.areas, caller.may(BOOKS)  # what channels owe is for whoever keeps the books
    now_s = desk.clock.now_s()
    return pages.render(
        "exceptions.html",
        frozen=_frozen(conn, language),
        proposals=_proposals(conn, language, areas) if not query.kind else [],
        channels=exceptions_channels.standing(conn, language, areas) if books and not query.kind else [],
        groups=_groups(conn, now_s, desk.report_every_s, language, query, areas),
        language=language,
        given_lang=query.lang,
        query=query,
        now_s=now_s,
        refresh_s=0 if query.refresh == "off" else REFRESH_S,
        version=health.version(),
        tone=page.tone,
        utc=wire.utc,
        plain_utc=lambda at_s: wire.utc(at_s).rstrip("Z").replace("T", " "),
        meter_name=wire.meter_name,
        link=_links(query),
        say=lambda key, **fields: texts.say(words.PAGE[key], language, **fields),
        w=SimpleNamespace(**{key: texts.say(text, language) for key, text in words.PAGE.items() if "{" not in text[0]}),
    )


def _frozen(conn: Connection, language: str) -> str:
    """That everything which may open a relay is held, and by whom; "" where it is not."""
    row = freeze.standing(conn)
    if row is None:
        return ""
    told = {"since": wire.utc(row.set_s), "actor": row.set_by, "why": row.why, "freeze": row.id}
    return texts.say(gate_words.NO[gate_words.FROZEN], language, **told)


def _proposals(conn: Connection, language: str, areas: tuple[str, ...]) -> list[tuple[Row[Any], str]]:
    """What waits for a second person where the reader may look, with what it is."""
    waiting = conn.execute(_WAITING, {"at_most": FEW_PROPOSALS}).all()
    return [(row, proposals.sentence(row, language)) for row in waiting if covered(areas, row.area)]


def _groups(
    conn: Connection, now_s: int, every_s: int, language: str, query: ExceptionsPageQuery, areas: tuple[str, ...]
) -> list[Group]:
    kinds, limit = ((query.kind,), MANY) if query.kind else (tuple(exceptions.kinds()), FEW)
    groups = []
    for kind in kinds:
        found = exceptions.of_kind(conn, now_s, kind, every_s, areas=areas, after=query.after, limit=limit)
        if found.found:
            groups.append(Group(kind, texts.say(CONCERNS[kind][0], language), found.found, found.next_after))
    return groups


def _links(query: ExceptionsPageQuery) -> Callable[..., str]:
    given = {name: getattr(query, name) for name in query.__struct_fields__}

    def link(**changes: Any) -> str:
        kept = {key: value for key, value in {**given, **changes}.items() if value}
        return PATH + ("?" + urlencode(kept) if kept else "")

    return link
