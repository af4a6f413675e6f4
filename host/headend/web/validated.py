"""Validated readings over HTTP: the series, the verdicts behind it, and estimates that the truth has replaced."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from sqlalchemy import Connection, Row, select

from headend import audit
from headend.access import areas
from headend.access.permissions import BOOKS, READ
from headend.fleet.meters import get_meter
from headend.ledger import zone
from headend.refusals import Refused
from headend.store.schema import meter
from headend.store.schema_quality import quality_replaced
from headend.validation import reviewing, series, verdicts, words
from headend.validation.rules import RULES
from headend.validation.series import Value
from headend.web import wire
from headend.web.operations import Answer, Call, Nothing, Operation
from headend.web.validation import MAX_ID, MAX_PAGE, Day, RuleName, Texts, texts
from headend.web.wire import MeterNumber, Moment
from meterlink import names

MAX_SPAN_S = 31 * 86_400


class ValueShown(msgspec.Struct):
    """What a period came to."""

    start: Moment
    length_s: int
    import_wh: int
    export_wh: int
    quality: Literal["measured", "estimated"]
    flags: Annotated[list[str], Meta(description="Of its record.", examples=[["power_failed", "short"]])]
    doubts: Annotated[list[str], Meta(description="The rules that name it.", examples=[["spike"]])]
    held: Annotated[bool, Meta(description="It waits for review.")]
    method: Annotated[str | None, Meta(description="Of an estimate.")]
    total: Annotated[str | None, Meta(description="`registers`: the estimates of the gap sum up to them.")]
    version: Annotated[int, Meta(description="Of the verdict on its day; 0: nothing was found.")]


class Values(msgspec.Struct):
    """Validated readings."""

    meter: MeterNumber
    values: list[ValueShown]


class ValuesQuery(msgspec.Struct, forbid_unknown_fields=True):
    """From when, and up to when (not in it): at most 31 days."""

    from_s: Annotated[int, Meta(ge=0, le=2**32)]
    to_s: Annotated[int, Meta(ge=0, le=2**32)]


class FindingShown(msgspec.Struct):
    """What a rule found in a day."""

    rule: RuleName
    severity: str
    sentence: Texts
    periods: list[Moment]
    value: int
    expected: int


class VerdictShown(msgspec.Struct):
    """One version of the verdict on a day."""

    version: int
    policy_version: int
    judged: Moment
    expected: Annotated[int, Meta(description="Periods of the day.")]
    measured: int
    estimated: int
    findings: list[FindingShown]


class Verdicts(msgspec.Struct):
    """All versions of a day, oldest first; none where nothing was ever found."""

    meter: MeterNumber
    day: Day
    versions: list[VerdictShown]


class JudgeRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Which local days."""

    first_day: Day
    last_day: Day


class Judged(msgspec.Struct):
    """How many days got another verdict."""

    changed: int


class ReplacedShown(msgspec.Struct):
    """Estimates of a meter's day that measured readings took the place of."""

    id: int
    meter: MeterNumber
    day: Day
    version: Annotated[int, Meta(description="Whose estimates these were.")]
    at: Moment
    periods: int
    estimated_import_wh: int
    measured_import_wh: int
    difference_import_wh: Annotated[int, Meta(description="Measured less estimated.")]
    estimated_export_wh: int
    measured_export_wh: int
    difference_export_wh: int


class ReplacedPage(msgspec.Struct):
    """By rising id."""

    replaced: list[ReplacedShown]
    next_after: int | None


class ReplacedQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Which part of the list, in the areas of whoever asks."""

    meter: MeterNumber | None = None
    after: Annotated[int, Meta(ge=0, le=MAX_ID)] = 0
    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE)] = 50


async def list_values(call: Call[Nothing, ValuesQuery]) -> Answer:
    """Validated readings: measured, or estimated where they are missing or were rejected.

    They tell how people live: that a person looked at them is audited.
    """
    query, now_s = call.query, call.desk.clock.now_s()
    if not 0 <= query.to_s - query.from_s <= MAX_SPAN_S:
        raise Refused("to_s", query.to_s, f"{query.from_s}..{query.from_s + MAX_SPAN_S}")
    if call.caller.is_person:
        await call.desk.write(_audited, now_s, call.caller.actor, call.meter, query.from_s)
    found = await call.desk.read(_values, call.meter, query)
    return Answer(200, Values(wire.meter_name(call.meter), [_value(one) for one in found]))


async def get_verdicts(call: Call[Nothing, Nothing]) -> Answer:
    """All versions of the verdict on a meter's local day."""
    day = zone.read_day("day", call.path["day"])
    rows = await call.desk.read(_history, call.meter, day)
    return Answer(200, Verdicts(wire.meter_name(call.meter), zone.day_text(day), [_verdict(row) for row in rows]))


async def judge_days(call: Call[JudgeRequest, Nothing]) -> Answer:
    """Have local days of a meter judged again, by the policy in force: at most 62."""
    days = zone.read_day("first_day", call.body.first_day), zone.read_day("last_day", call.body.last_day)
    given = call.desk.clock.now_s(), call.meter, *days, call.caller.actor
    return await call.desk.act(reviewing.judge_again, *given, answer=lambda changed: Answer(200, Judged(changed)))


async def list_replaced(call: Call[Nothing, ReplacedQuery]) -> Answer:
    """Estimates that the truth has replaced, with the difference, by rising id."""
    rows = await call.desk.read(_replaced, call.caller.areas, call.query)
    more = rows[-1].id if len(rows) == call.query.limit else None
    return Answer(200, ReplacedPage([_replaced_shown(row) for row in rows], more))


def _audited(conn: Connection, now_s: int, actor: str, number: int, from_s: int) -> None:
    audit.record(conn, now_s, actor, words.SERIES_READ, f"meter:{number}", {"from_s": from_s})


def _values(conn: Connection, number: int, query: ValuesQuery) -> list[Value]:
    get_meter(conn, number)
    return series.validated(conn, number, query.from_s, query.to_s)


def _history(conn: Connection, number: int, day: int) -> list[Row[Any]]:
    get_meter(conn, number)
    return verdicts.history(conn, number, day)


_REPLACED = (
    select(quality_replaced).join(meter, meter.c.meter == quality_replaced.c.meter).order_by(quality_replaced.c.id)
)


def _replaced(conn: Connection, within: tuple[str, ...], query: ReplacedQuery) -> list[Row[Any]]:
    chosen = _REPLACED.where(quality_replaced.c.id > query.after, areas.within(meter.c.area, within))
    if query.meter is not None:
        chosen = chosen.where(quality_replaced.c.meter == wire.read_meter(query.meter))
    return list(conn.execute(chosen.limit(query.limit)))


def _value(one: Value) -> ValueShown:
    quality: Any = one.quality
    return ValueShown(
        start=wire.moment(one.start_s),
        length_s=one.length_s,
        import_wh=one.import_wh,
        export_wh=one.export_wh,
        quality=quality,
        flags=names.of_flags(names.FLAG, one.flags),
        doubts=list(one.doubts),
        held=one.held,
        method=one.method or None,
        total=one.total or None,
        version=one.version,
    )


def _verdict(row: Any) -> VerdictShown:
    findings = [
        FindingShown(
            rule=one.rule,
            severity=one.severity,
            sentence=texts(RULES[one.rule].text, value=one.value, expected=one.expected, count=len(one.starts)),
            periods=[wire.moment(start) for start in one.starts],
            value=one.value,
            expected=one.expected,
        )
        for one in verdicts.read_findings(row.findings)
    ]
    counts = row.expected, row.measured, row.estimated
    return VerdictShown(row.version, row.policy_version, wire.moment(row.judged_s), *counts, findings)


def _replaced_shown(row: Any) -> ReplacedShown:
    return ReplacedShown(
        id=row.id,
        meter=wire.meter_name(row.meter),
        day=zone.day_text(row.day),
        version=row.version,
        at=wire.moment(row.at_s),
        periods=row.periods,
        estimated_import_wh=row.estimated_import_wh,
        measured_import_wh=row.measured_import_wh,
        difference_import_wh=row.measured_import_wh - row.estimated_import_wh,
        estimated_export_wh=row.estimated_export_wh,
        measured_export_wh=row.measured_export_wh,
        difference_export_wh=row.measured_export_wh - row.estimated_export_wh,
    )


_METER: dict[str, Any] = {"problems": ("unknown_meter",)}

OPERATIONS: tuple[Operation[Any, Any], ...] = (
    Operation(
        "GET", "/validation/replaced", list_replaced, scope=READ, answers={200: ReplacedPage}, body=Nothing,
        query=ReplacedQuery, by_area=True,
    ),
    Operation(
        "GET", "/meters/{meter}/validated", list_values, scope=READ, answers={200: Values}, body=Nothing,
        query=ValuesQuery, **_METER,
    ),
    Operation(
        "GET", "/meters/{meter}/validation/{day}", get_verdicts, scope=READ, answers={200: Verdicts}, body=Nothing,
        query=Nothing, **_METER,
    ),
    Operation(
        "POST", "/meters/{meter}/validation", judge_days, scope=BOOKS, answers={200: Judged}, body=JudgeRequest,
        query=Nothing, **_METER,
    ),
)  # fmt: skip
