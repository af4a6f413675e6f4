"""The books against the meters, shadow bills, signed heads and the reports of days."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from sqlalchemy import Connection, Row

from headend.access.permissions import BOOKS, READ
from headend.books import day as days
from headend.books import heads, sweep, words
from headend.language import LANGUAGES, say
from headend.ledger import reconcile
from headend.reads import shadow_days
from headend.web import wire
from headend.web.operations import Answer, Call, Nothing, Operation
from headend.web.problems import Problem
from headend.web.wire import Amount, MeterNumber, Moment

MAX_PAGE = 200

Day = Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\d$", examples=["2026-11-22"])]
Titles = Annotated[dict[str, str], Meta(description="In words, by language (`en`, `zh`).")]


class ReconciliationLine(msgspec.Struct):
    """One part of the explanation."""

    what: str
    title: Titles
    amount: Amount


class Reconciliation(msgspec.Struct):
    """ledger - meter = sum of the lines + difference. A difference of 0.00 means that all is explained, to the unit."""

    meter: MeterNumber
    ledger: Annotated[Amount, Meta(description="The customer's account in the books.")]
    on_meter: Annotated[Amount, Meta(description="The balance that the meter reported; 0.00 before the first report.")]
    lines: list[ReconciliationLine]
    difference: Amount
    explained: bool
    report_time: Annotated[Moment | None, Meta(description="The meter's own time of the report used.")]
    source_shown: Annotated[
        bool,
        Meta(
            description="Whether that report was asked about our credit source. If not, credit that has just arrived "
            "may show as a difference until the next report that is."
        ),
    ]


class Compared(msgspec.Struct):
    """How a meter stood when it was compared last."""

    meter: MeterNumber
    area: str
    account_epoch: int
    ledger: Amount
    on_meter: Amount
    difference: Annotated[Amount, Meta(description="What nothing explains.")]
    since: Annotated[Moment, Meta(description="Since when this very difference stands.")]
    compared: Moment


class ComparedPage(msgspec.Struct):
    """Meters by number, and what all differences in those areas come to."""

    meters: list[Compared]
    total_meters: int
    total_difference: Annotated[Amount, Meta(description="Each counted as positive.")]
    next_after: Annotated[MeterNumber | None, Meta(description="`after` of the next page; null on the last one.")]


class ComparedQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Which meters, in the areas of whoever asks."""

    differing: Annotated[bool, Meta(description="Only those that differ.")] = True
    after: MeterNumber | None = None
    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE)] = 50


class DifferenceChange(msgspec.Struct):
    """A difference came, changed or went."""

    at: Moment
    before: Amount
    difference: Amount


class DifferenceHistory(msgspec.Struct):
    """How a meter's difference changed, newest first."""

    changes: list[DifferenceChange]


class LimitQuery(msgspec.Struct, forbid_unknown_fields=True):
    """How many."""

    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE)] = 50


class ShadowDay(msgspec.Struct):
    """What a meter charged from one report to another, and what its intervals say that it must have charged."""

    meter: MeterNumber
    area: str
    account_epoch: int
    day: Annotated[Day, Meta(description="The meter's local day in which it begins.")]
    begins: Annotated[Moment, Meta(description="Meter time of the report that it begins with.")]
    ends: Moment
    used_wh: int
    missing_wh: Annotated[int, Meta(description="Of it in no stored interval.")]
    shadow: Amount
    standing: Annotated[Amount, Meta(description="Of the shadow bill, charges for time.")]
    charged: Annotated[Amount, Meta(description="By the meter, debts included.")]
    collected: Annotated[Amount, Meta(description="Of that, debts.")]
    difference: Amount
    whole: bool
    sure: bool
    verdict: Literal["agrees", "not_whole", "not_sure", "differs"]
    meaning: Titles


class ShadowPage(msgspec.Struct):
    """Days by date and meter, and what all differences in those areas come to."""

    days: list[ShadowDay]
    total_days: int
    total_difference: Annotated[Amount, Meta(description="Each counted as positive.")]
    next_after: Annotated[str | None, Meta(description="`after` of the next page; null on the last one.")]


class ShadowQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Which days, of meters in the areas of whoever asks."""

    differing: Annotated[bool, Meta(description="Only those that differ.")] = True
    after: Annotated[str, Meta(pattern=r"^(\d{4}-\d\d-\d\d/\d{1,14})?$")] = ""
    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE)] = 50


class Head(msgspec.Struct):
    """The signed heads of both chains at the end of a day. `head` and `proof`, each with a line feed behind it, are the
    head file that the verifier takes.
    """

    day: Day
    made: Moment
    entries: Annotated[int, Meta(description="How many entries are sealed.")]
    audit: int
    head: Annotated[str, Meta(description="The line that is signed.")]
    proof: Annotated[str, Meta(description="The line with key and signature.")]


class HeadPage(msgspec.Struct):
    """Heads, newest first."""

    heads: list[Head]
    next_before: Annotated[Day | None, Meta(description="`before` of the next page; null on the last one.")]


class HeadsQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Which heads."""

    before: Day | None = None
    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE)] = 50


class DayReport(msgspec.Struct):
    """What a day came to. The SHA-256 of `report` stands in that day's head."""

    day: Day
    text: Annotated[list[str], Meta(description="For people, line by line.")]
    report: Annotated[str, Meta(description="The same as JSON, byte for byte; amounts in micro-currency.")]


class DayQuery(msgspec.Struct, forbid_unknown_fields=True):
    """In which language."""

    language: Literal["en", "zh"] = "en"


async def get_reconciliation(call: Call[Nothing, Nothing]) -> Answer:
    """The books against the meter, explained line by line."""
    found = await call.desk.read(reconcile.explain, call.meter)
    answer = Reconciliation(
        meter=wire.meter_name(found.meter),
        ledger=wire.amount(found.ledger_uc),
        on_meter=wire.amount(found.meter_uc),
        lines=[
            ReconciliationLine(what, _titles(words.LINES[what]), wire.amount(amount_uc))
            for what, amount_uc in found.lines
        ],
        difference=wire.amount(found.difference_uc),
        explained=found.difference_uc == 0,
        report_time=wire.moment_or_none(found.report_time_s),
        source_shown=found.source_shown,
    )
    return Answer(200, answer)


async def list_reconciliation(call: Call[Nothing, ComparedQuery]) -> Answer:
    """Meters whose account differs from the books, by number."""
    query = call.query
    behind = wire.read_meter(query.after, "after") if query.after is not None else 0
    rows, total = await call.desk.read(_compared, behind, query, call.caller.areas)
    more = wire.meter_name(rows[-1].meter) if len(rows) == query.limit else None
    found = [
        Compared(
            meter=wire.meter_name(row.meter),
            area=row.area,
            account_epoch=row.account_epoch,
            ledger=wire.amount(row.ledger_uc),
            on_meter=wire.amount(row.meter_uc),
            difference=wire.amount(row.difference_uc),
            since=wire.moment(row.since_s),
            compared=wire.moment(row.checked_s),
        )
        for row in rows
    ]
    return Answer(200, ComparedPage(found, total.meters, wire.amount(total.amount_uc), more))


async def list_difference_changes(call: Call[Nothing, LimitQuery]) -> Answer:
    """How the difference between the books and this meter changed, newest first."""
    rows = await call.desk.read(_history, call.meter, call.query.limit)
    changes = [
        DifferenceChange(wire.moment(row.at_s), wire.amount(row.before_uc), wire.amount(row.difference_uc))
        for row in rows
    ]
    return Answer(200, DifferenceHistory(changes))


async def list_shadow(call: Call[Nothing, ShadowQuery]) -> Answer:
    """Days whose shadow bill differs from what the meter charged, by date and meter.

    A difference of a day that is whole and sure is a finding; elsewhere the books follow the meter.
    """
    query = call.query
    day, _, number = query.after.partition("/")
    rows, total = await call.desk.read(_shadow, (day, int(number or 0)), query, call.caller.areas)
    more = f"{rows[-1].day}/{rows[-1].meter}" if len(rows) == query.limit else None
    found = [_shadow_day(row) for row in rows]
    return Answer(200, ShadowPage(found, total.days, wire.amount(total.amount_uc), more))


async def list_heads(call: Call[Nothing, HeadsQuery]) -> Answer:
    """The signed heads of days, newest first."""
    query = call.query
    rows = await call.desk.read(_heads, query.before or "9999", query.limit)
    more = rows[-1].day if len(rows) == query.limit else None
    found = [Head(row.day, wire.moment(row.made_s), row.entry_seq, row.audit_seq, row.head, row.proof) for row in rows]
    return Answer(200, HeadPage(found, more))


async def get_day(call: Call[Nothing, DayQuery]) -> Answer:
    """The report of a day that was closed: by kind, channel and area, the zero sum, what differs."""
    row = await call.desk.read(heads.of_day, call.path["day"])
    if row is None:
        given = call.path["day"]
        raise Problem("unknown_day", f"day: {given[:20]!r} given, a day that was closed expected.", field="day")
    return Answer(200, DayReport(row.day, list(days.lines(row.report, call.query.language)), row.report))


def _titles(text: tuple[str, str], **fields: object) -> dict[str, str]:
    return {language: say(text, language, **fields) for language in LANGUAGES}


def _compared(
    conn: Connection, behind: int, query: ComparedQuery, within: tuple[str, ...]
) -> tuple[list[Row[Any]], sweep.Total]:
    options: dict[str, Any] = {"differing": query.differing, "within": within, "limit": query.limit}
    return sweep.listed(conn, behind, **options), sweep.total_difference(conn, within)


def _history(conn: Connection, number: int, limit: int) -> list[Row[Any]]:
    return sweep.history(conn, number, limit=limit)


def _heads(conn: Connection, than: str, limit: int) -> list[heads.HeadRow]:
    return heads.before(conn, than, limit=limit)


def _shadow(
    conn: Connection, after: tuple[str, int], query: ShadowQuery, within: tuple[str, ...]
) -> tuple[list[Row[Any]], shadow_days.Total]:
    options: dict[str, Any] = {"differing": query.differing, "within": within, "limit": query.limit}
    return shadow_days.listed(conn, after, **options), shadow_days.total_difference(conn, within)


def _shadow_day(row: Any) -> ShadowDay:
    verdict = shadow_days.verdict(row)
    return ShadowDay(
        meter=wire.meter_name(row.meter),
        area=row.area,
        account_epoch=row.account_epoch,
        day=row.day,
        begins=wire.moment(row.from_s),
        ends=wire.moment(row.to_s),
        used_wh=row.used_wh,
        missing_wh=row.missing_wh,
        shadow=wire.amount(row.shadow_uc),
        standing=wire.amount(row.standing_uc),
        charged=wire.amount(row.meter_uc),
        collected=wire.amount(row.collected_uc),
        difference=wire.amount(row.difference_uc),
        whole=bool(row.whole),
        sure=bool(row.sure),
        verdict=verdict,
        meaning=_titles(words.SHADOW[verdict], missing_wh=row.missing_wh),
    )


_LIST: dict[str, Any] = {"scope": READ, "body": Nothing, "by_area": True}
_BOOKS: dict[str, Any] = {"scope": BOOKS, "body": Nothing}

OPERATIONS: tuple[Operation[Any, Any], ...] = (
    Operation(
        "GET",
        "/meters/{meter}/reconciliation",
        get_reconciliation,
        scope=READ,
        answers={200: Reconciliation},
        body=Nothing,
        query=Nothing,
        problems=("unknown_meter",),
    ),
    Operation(
        "GET",
        "/books/reconciliation",
        list_reconciliation,
        answers={200: ComparedPage},
        query=ComparedQuery,
        **_LIST,
    ),
    Operation(
        "GET",
        "/meters/{meter}/reconciliation/history",
        list_difference_changes,
        scope=READ,
        answers={200: DifferenceHistory},
        body=Nothing,
        query=LimitQuery,
        problems=("unknown_meter",),
    ),
    Operation("GET", "/books/shadow", list_shadow, answers={200: ShadowPage}, query=ShadowQuery, **_LIST),
    Operation("GET", "/books/heads", list_heads, answers={200: HeadPage}, query=HeadsQuery, **_BOOKS),
    Operation(
        "GET",
        "/books/days/{day}",
        get_day,
        answers={200: DayReport},
        query=DayQuery,
        problems=("unknown_day",),
        **_BOOKS,
    ),
)
