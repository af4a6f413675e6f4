"""What wants a person, for programs and for the page of exceptions."""

from typing import Annotated

import msgspec
from msgspec import Meta
from sqlalchemy import Connection

from headend.access.permissions import READ
from headend.language import CHINESE, ENGLISH, LANGUAGES
from headend.refusals import Refused
from headend.web import exceptions, wire
from headend.web.exceptions import MAX_LIMIT, Page
from headend.web.operations import Answer, Call, Nothing, Operation
from headend.web.wire import MeterNumber
from headend.web.words import CONCERNS

_KINDS = tuple(exceptions.kinds())


class Title(msgspec.Struct):
    """A text in both languages."""

    en: str
    zh: str


class ExceptionKind(msgspec.Struct):
    """A kind of exception, the worst kinds first."""

    kind: str
    title: Title
    standing: Annotated[bool, Meta(description="Whether at least one stands now, in the areas that the caller sees.")]


class ExceptionKinds(msgspec.Struct):
    """All kinds."""

    kinds: list[ExceptionKind]


class ExceptionItem(msgspec.Struct):
    """One meter that wants a person."""

    kind: str
    meter: MeterNumber
    label: str
    area: str
    sentence: Title


class ExceptionPage(msgspec.Struct):
    """Exceptions of one kind by rising meter number."""

    exceptions: list[ExceptionItem]
    next_after: Annotated[MeterNumber | None, Meta(description="`after` of the next page; null on the last one.")]


class ExceptionsQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Which part of the list."""

    after: Annotated[MeterNumber, Meta(description="Only meters with a higher number.")] = "0"
    limit: Annotated[int, Meta(ge=1, le=MAX_LIMIT)] = 50


async def list_kinds(call: Call[Nothing, Nothing]) -> Answer:
    """Kinds of exceptions, and which of them stand now."""
    standing = await call.desk.read(_standing, call.desk.clock.now_s(), call.desk.report_every_s, call.caller.areas)
    return Answer(200, ExceptionKinds([ExceptionKind(kind, _title(kind), kind in standing) for kind in _KINDS]))


async def list_exceptions(call: Call[Nothing, ExceptionsQuery]) -> Answer:
    """What wants a person, of one kind.

    The board shows the same of each meter; here it is found over the whole fleet.
    """
    query, kind = call.query, call.path["exception"]
    if kind not in _KINDS:
        raise Refused("exception", kind, f"one of {', '.join(_KINDS)}")
    after = 0 if not query.after.strip("0") else wire.read_meter(query.after, "after")
    desk = call.desk
    page = await desk.read(_page, desk.clock.now_s(), kind, desk.report_every_s, call.caller.areas, after, query.limit)
    return Answer(200, _body(page))


def _page(
    conn: Connection, now_s: int, kind: str, every_s: int, areas: tuple[str, ...], after: int, limit: int
) -> Page:
    return exceptions.of_kind(conn, now_s, kind, every_s, areas=areas, after=after, limit=limit)


def _standing(conn: Connection, now_s: int, every_s: int, areas: tuple[str, ...]) -> set[str]:
    found = ((kind, exceptions.of_kind(conn, now_s, kind, every_s, areas=areas, limit=1)) for kind in _KINDS)
    return {kind for kind, page in found if page.found}


def _title(kind: str) -> Title:
    return Title(*CONCERNS[kind][0])


def _body(page: Page) -> ExceptionPage:
    items = [
        ExceptionItem(
            kind=one.concern.code,
            meter=wire.meter_name(one.concern.number),
            label=one.meter.label,
            area=one.meter.area,
            sentence=Title(*(one.concern.sentence(language) for language in LANGUAGES)),
        )
        for one in page.found
    ]
    return ExceptionPage(items, None if page.next_after is None else wire.meter_name(page.next_after))


assert LANGUAGES == (ENGLISH, CHINESE), "Title has them in this order"

OPERATIONS = (
    Operation(
        "GET",
        "/exceptions",
        list_kinds,
        scope=READ,
        answers={200: ExceptionKinds},
        body=Nothing,
        query=Nothing,
        by_area=True,
    ),
    Operation(
        "GET",
        "/exceptions/{exception}",
        list_exceptions,
        scope=READ,
        answers={200: ExceptionPage},
        body=Nothing,
        query=ExceptionsQuery,
        by_area=True,
    ),
)
