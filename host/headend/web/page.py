"""The status page: the board, rendered here, in English or Chinese; no script, nothing fetched from elsewhere."""

import math
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Annotated, Any
from urllib.parse import urlencode

import msgspec
from msgspec import Meta
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response

from headend import language as texts
from headend.access.areas import EVERYWHERE
from headend.access.caller import Caller
from headend.access.permissions import READ
from headend.orders.facts import Facts
from headend.web import board, health, wire, words
from headend.web.board import Board
from headend.web.desk import Desk
from headend.web.problems import Problem
from headend.web.rendering import Rendering
from meterlink import names, states, tariff
from meterlink.reports import Report

REFRESH_S = 10
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
# Concerns that mean that something is wrong now; the others want a look.
_WORST = ("drawing", "not_open", "paid_off", "unknown", "conflict", "difference", "finding")
_AGES = (("ago_d", 86_400), ("ago_h", 3600), ("ago_min", 60), ("ago_s", 1))

_PORT = re.compile(r":[0-9]{1,5}\Z")


class PageQuery(msgspec.Struct, forbid_unknown_fields=True):
    """What of the board, and how."""

    lang: str = ""
    after: Annotated[int, Meta(ge=0, le=10**15)] = 0
    refresh: str = ""


class Renderer:
    """The board's page."""

    def __init__(self) -> None:
        self._pages = Rendering()
        self.headers = self._pages.headers

    def render(self, shown: Board, language: str, query: PageQuery, currency: int) -> str:
        refresh_s = 0 if query.refresh == "off" else REFRESH_S
        return self._pages.render(
            "board.html",
            board=shown,
            labels={line.facts.number: line.facts.meter.label for line in shown.lines},
            language=language,
            after=query.after,
            given_lang=query.lang,
            refresh_s=refresh_s,
            paged=bool(query.after or shown.next_after),
            version=health.version(),
            currency=words.currency(currency),
            w=SimpleNamespace(
                **{key: texts.say(text, language) for key, text in words.PAGE.items() if "{" not in text[0]}
            ),
            say=lambda key, **fields: texts.say(words.PAGE[key], language, **fields),
            link=_links(query),
            **_tools(shown, language),
        )


def serve(desk: Desk, admit: Callable[[Any], None]) -> Callable[[Request, Any], Awaitable[Response]]:
    """The route's function."""
    renderer = Renderer()

    async def page(request: Request, visitor: Any) -> Response:
        areas = (await let_in(desk, admit, request, visitor)).areas
        query = wire.read_query(request.scope["query_string"], PageQuery)
        language = query.lang if query.lang in texts.LANGUAGES else ""
        language = language or words.choose(request.headers.get("accept-language", ""))
        html = await desk.read(_read, renderer, desk, language, query, areas)
        return Response(html, 200, renderer.headers(language), media_type="text/html; charset=utf-8")

    return page


def _read(
    conn: Connection, renderer: Renderer, desk: Desk, language: str, query: PageQuery, areas: tuple[str, ...]
) -> str:
    """The whole page, made in a thread of the desk: a large board takes longer than the loop may wait."""
    shown = board.read(conn, desk.clock.now_s(), desk.report_every_s, query.after, areas)
    return renderer.render(shown, language, query, desk.currency)


async def let_in(desk: Desk, admit: Callable[[Any], None], request: Request, visitor: Any) -> Caller:
    """The reader, with the areas that he may look at.

    By a token that may read; or everywhere by nothing, where the operator opened the page, for a browser on this
    machine.

    The name by which the browser calls tells the latter: a page of another site that had its own name point here
    (DNS rebinding) calls by that name.
    """
    host = request.headers.get("host", "")
    if desk.page_without_token and _PORT.sub("", host) in LOOPBACK_NAMES:
        return Caller("", {READ: (EVERYWHERE,)}).at(READ)
    try:
        caller: Caller = await visitor.callers.of_page(request, visitor.address)
    except Problem:
        admit(visitor)
        raise
    visitor.is_known(caller)
    admit(visitor)
    return caller.at(READ)


def tone(code: str) -> str:
    """How loud a concern is shown."""
    return "bad" if code in _WORST else "warn"


def _links(query: PageQuery) -> Callable[..., str]:
    given = {"lang": query.lang, "after": query.after, "refresh": query.refresh}

    def link(**changes: Any) -> str:
        kept = {key: value for key, value in {**given, **changes}.items() if value}
        return "?" + urlencode(kept) if kept else "/"

    return link


def _tools(shown: Board, language: str) -> dict[str, Any]:
    """What the template calls to put codes, times and amounts into words."""

    def named(table: Any, codes: Any) -> Callable[[int], str]:
        return lambda code: texts.name(table, names.of(codes, code), language)

    hold = named(words.HOLDS, names.HOLD)
    return {
        "utc": wire.utc,
        "plain_utc": lambda at_s: wire.utc(at_s).rstrip("Z").replace("T", " "),
        "money": board.money,
        "exact": wire.amount,
        "meter_name": wire.meter_name,
        "amperes": lambda load_ma: f"{load_ma / 1000:.2f}",
        "local": _local,
        "ago": lambda at_s: _ago(shown.now_s - at_s, language),
        "tone": tone,
        "subject": lambda row: board.subject(row, language),
        "state_name": lambda state: texts.name(words.STATES, state, language),
        "alarm_name": lambda alarm: texts.name(words.ALARMS, alarm, language),
        "control_name": named(words.CONTROLS, names.CONTROL),
        "contact_name": named(words.CONTACTS, names.CONTACT),
        "diagnosis_name": named(words.DIAGNOSES, names.DIAGNOSIS),
        "hold_name": lambda row: hold(row.selector),
        "meter_holds": lambda report: [hold(bit) for bit in range(32) if report.holds >> bit & 1],
        "causes": lambda report: [
            texts.name(words.CAUSES, cause, language) for cause in names.of_bits(names.CAUSE, report.causes)
        ],
        "pending": lambda report: _pending(report, language),
    }


def _local(one: Facts, at_s: int) -> str:
    """The meter's own wall clock, with its distance from UTC."""
    offset = timedelta(seconds=tariff.decode(one.meter.tariff).offset_s(at_s))
    shown = datetime.fromtimestamp(at_s, UTC).astimezone(timezone(offset))
    return shown.strftime("%Y-%m-%d %H:%M:%S ") + (shown.strftime("%z")[:3] + ":" + shown.strftime("%z")[3:])


def _ago(age_s: int, language: str) -> str:
    key, unit_s = next((age for age in _AGES if age_s >= 2 * age[1]), _AGES[-1])
    return texts.say(words.PAGE[key], language, n=max(0, math.floor(age_s / unit_s)))


def _pending(report: Report, language: str) -> str:
    key = {states.PENDING_TRIP: "trip_due", states.PENDING_CLOSE: "close_due"}.get(report.pending)
    return texts.say(words.PAGE[key], language, time=wire.utc(report.due_s)) if key else ""
