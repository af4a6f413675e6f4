"""Visits to meters that nobody hears, over HTTP; and as a file for whoever goes there."""

import csv
import io
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from sqlalchemy import Connection, Row

from headend.access.permissions import ORDERS, READ
from headend.language import say
from headend.validation import visits
from headend.validation.words import COLUMNS
from headend.web import wire
from headend.web.operations import Answer, Call, Nothing, Operation
from headend.web.wire import Amount, MeterNumber, Moment

MAX_ID = 2**53
MAX_PAGE = 200
MAX_LINES = 50_000  # of a file
_FORMULA = tuple("=+-@\t\r")  # a spreadsheet would run what begins like this


class VisitShown(msgspec.Struct):
    """Somebody has to go and look, or had to."""

    visit: int
    meter: MeterNumber
    label: str
    area: str
    supply_point: str | None
    carrier: Literal["mqtt", "modbus"]
    address: Annotated[str, Meta(description="Of a meter on Modbus.")]
    heard: Annotated[Moment | None, Meta(description="When it spoke last, as it was opened; null: never.")]
    balance: Annotated[Amount | None, Meta(description="Of its newest report.")]
    opened: Moment
    standing: bool
    closed: Moment | None
    how: Annotated[str, Meta(description="How it ended.", examples=["", "spoke", "person", "away"])]
    actor: str
    note: str


class VisitPage(msgspec.Struct):
    """Visits by rising id."""

    visits: list[VisitShown]
    next_after: Annotated[int | None, Meta(description="`after` of the next page; null on the last one.")]


class VisitsQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Which visits, in the areas of whoever asks."""

    area: Annotated[str, Meta(max_length=120, description="This area and what lies in it.")] = ""
    standing: Annotated[bool, Meta(description="Only those that are open.")] = True
    after: Annotated[int, Meta(ge=0, le=MAX_ID)] = 0
    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE)] = 50


class CloseRequest(msgspec.Struct, forbid_unknown_fields=True):
    """What was found."""

    note: Annotated[str, Meta(min_length=1, max_length=visits.MAX_NOTE, description="No personal data.")]


async def list_visits(call: Call[Nothing, VisitsQuery]) -> Answer:
    """Visits by rising id, with what whoever goes there wants to know."""
    rows = await call.desk.read(_listed, call.caller.areas, call.query)
    more = rows[-1].id if len(rows) == call.query.limit else None
    return Answer(200, VisitPage([shown(row) for row in rows], more))


async def close_visit(call: Call[CloseRequest, Nothing]) -> Answer:
    """Close a visit with a note. One of a meter that speaks again closes by itself."""
    number = call.number("visit", visits.UnknownVisit)
    given = call.desk.clock.now_s(), number, call.caller.actor, call.body.note
    return await call.desk.act(_close, *given, answer=lambda row: Answer(200, shown(row)))


def _listed(conn: Connection, within: tuple[str, ...], query: VisitsQuery) -> list[Row[Any]]:
    options: dict[str, Any] = {"standing": query.standing, "after": query.after, "limit": query.limit}
    return visits.listed(conn, within, area=query.area, **options)


def _close(conn: Connection, now_s: int, number: int, actor: str, note: str) -> Row[Any]:
    visits.close(conn, now_s, number, actor, note)
    return visits.listed(conn, standing=False, after=number - 1, limit=1)[0]


def shown(row: Any) -> VisitShown:
    """A row of `visits.listed`."""
    return VisitShown(
        visit=row.id,
        meter=wire.meter_name(row.meter),
        label=row.label,
        area=row.area,
        supply_point=row.supply_point,
        carrier=row.carrier,
        address=row.address,
        heard=wire.moment_or_none(row.heard_s),
        balance=None if row.balance_uc is None else wire.amount(row.balance_uc),
        opened=wire.moment(row.opened_s),
        standing=row.standing is not None,
        closed=wire.moment_or_none(row.closed_s),
        how=row.how,
        actor=row.actor,
        note=row.note,
    )


def file(conn: Connection, within: tuple[str, ...], language: str) -> str:
    """The open visits as CSV (RFC 4180) with a head in this language; no cell that a spreadsheet would run."""
    out = io.StringIO()
    lines = csv.writer(out, lineterminator="\r\n")
    lines.writerow([say(COLUMNS[name], language) for name in COLUMNS])
    for row in visits.listed(conn, within, limit=MAX_LINES):
        one = shown(row)
        heard = one.heard.utc if one.heard else ""
        place = one.meter, one.label, one.area, one.supply_point or "", one.carrier, one.address
        lines.writerow([cell(text) for text in (*place, heard, one.balance or "", one.opened.utc)])
    return out.getvalue()


def cell(text: str) -> str:
    """Text for a spreadsheet: what it would take for a formula is quoted. A number stays one."""
    if not text.startswith(_FORMULA) or text.removeprefix("-").replace(".", "", 1).isdecimal():
        return text
    return "'" + text


OPERATIONS: tuple[Operation[Any, Any], ...] = (
    Operation(
        "GET", "/visits", list_visits, scope=READ, answers={200: VisitPage}, body=Nothing, query=VisitsQuery,
        by_area=True,
    ),
    Operation(
        "POST", "/visits/{visit}/close", close_visit, scope=ORDERS, answers={200: VisitShown}, body=CloseRequest,
        query=Nothing, problems=("unknown_visit",),
    ),
)  # fmt: skip
