"""Whether readings are true, over HTTP: the rules, what they found, what is held for review, validated readings."""

import json
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from sqlalchemy import Connection, Row, select

from headend import audit
from headend.access import areas
from headend.access.permissions import ADMIN, BOOKS, READ
from headend.fleet.meters import get_meter
from headend.language import LANGUAGES, say
from headend.ledger import zone
from headend.refusals import Refused
from headend.store.schema import meter
from headend.store.schema_quality import quality_replaced
from headend.validation import cases, policy, reviewing, series, verdicts, words
from headend.validation.rules import RULES, SEVERITIES
from headend.validation.series import Value
from headend.web import wire
from headend.web.operations import Answer, Call, Nothing, Operation
from headend.web.wire import MeterNumber, Moment
from meterlink import names

MAX_ID = 2**53
MAX_PAGE = 200
MAX_SPAN_S = 31 * 86_400

Day = Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$", description="A local day of the utility.")]
RuleName = Annotated[str, Meta(examples=list(RULES))]
StateName = Literal["open", "accepted", "rejected", "gone"]
Texts = Annotated[dict[str, str], Meta(description="By language (`en`, `zh`).")]


class RuleShown(msgspec.Struct):
    """One rule of the table."""

    rule: RuleName
    title: Texts
    looks_at: Texts
    severity: Annotated[str, Meta(description="By default.", examples=list(SEVERITIES))]
    params: Annotated[dict[str, list[int]], Meta(description="Name -> default, lowest, highest.")]


class PolicyShown(msgspec.Struct):
    """The policy in force, and the rules that it can set. The answer's ETag is what a change names in If-Match."""

    version: Annotated[int, Meta(description="0: nobody has set one yet.")]
    scopes: list[dict[str, Any]]
    rules: list[RuleShown]


class PolicyRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Another policy, whole."""

    scopes: Annotated[
        list[dict[str, Any]],
        Meta(
            description="Each with `area`, `meter_type`, `rules` (name -> severity and figures) and `silent_s` "
            "(carrier -> seconds); what a narrower one says overrides a wider one.",
            examples=[[{"area": "north", "rules": {"spike": {"severity": "note", "percent": 800}}}]],
            max_length=policy.MAX_SCOPES,
        ),
    ]
    why: Annotated[str, Meta(min_length=1, max_length=200)]


class CaseShown(msgspec.Struct):
    """What is held for review, or was."""

    case: int
    meter: MeterNumber
    label: str
    area: str
    day: Day
    rule: RuleName
    title: Texts
    sentence: Texts
    periods: Annotated[list[Moment], Meta(description="Starts of the periods that it is about.")]
    value: int
    expected: int
    state: StateName
    opened: Moment
    ended: Moment | None
    actor: str
    reason: str


class CasePage(msgspec.Struct):
    """Cases by rising id."""

    cases: list[CaseShown]
    next_after: Annotated[int | None, Meta(description="`after` of the next page; null on the last one.")]


class CasesQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Which cases, in the areas of whoever asks."""

    state: StateName | None = "open"
    rule: RuleName | None = None
    meter: MeterNumber | None = None
    after: Annotated[int, Meta(ge=0, le=MAX_ID)] = 0
    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE)] = 50


class DecisionRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Why it is accepted, or rejected."""

    reason: Annotated[str, Meta(min_length=1, max_length=cases.MAX_REASON, description="No personal data.")]


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


async def get_validation_policy(call: Call[Nothing, Nothing]) -> Answer:
    """The rules of validation, and the policy in force."""
    return _policy_answer(await call.desk.read(policy.get))


async def put_validation_policy(call: Call[PolicyRequest, Nothing]) -> Answer:
    """Set another policy of validation. Wants If-Match.

    Days that were judged stay as they are, until records of them come or somebody has them judged again.
    """
    return await call.desk.act(_put_policy, call.desk.clock.now_s(), call, answer=_policy_answer)


async def list_cases(call: Call[Nothing, CasesQuery]) -> Answer:
    """What is held for review, by rising id."""
    rows = await call.desk.read(_listed, call.caller.areas, call.query)
    more = rows[-1].id if len(rows) == call.query.limit else None
    return Answer(200, CasePage([case_shown(row) for row in rows], more))


async def accept_case(call: Call[DecisionRequest, Nothing]) -> Answer:
    """Accept what is held: the reading stands as it was measured."""
    return await _decided(call, words.ACCEPTED)


async def reject_case(call: Call[DecisionRequest, Nothing]) -> Answer:
    """Reject what is held: an estimate stands in for the reading. Its record stays as it is."""
    return await _decided(call, words.REJECTED)


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


# --- reading and writing ----------------------------------------------------------------------------------------------


def _put_policy(conn: Connection, now_s: int, call: Call[PolicyRequest, Nothing]) -> policy.Policy:
    call.expect(_etag(policy.get(conn).version))
    policy.put(conn, now_s, call.body.scopes, call.caller.actor, call.body.why)
    return policy.get(conn)


def _listed(conn: Connection, within: tuple[str, ...], query: CasesQuery) -> list[Row[Any]]:
    number = None if query.meter is None else wire.read_meter(query.meter)
    chosen: dict[str, Any] = {"state": query.state, "rule": query.rule, "number": number}
    return cases.listed(conn, within, **chosen, after=query.after, limit=query.limit)


async def _decided(call: Call[DecisionRequest, Nothing], state: str) -> Answer:
    case = wire.read_id(call.path["case"])
    if case is None:
        raise cases.UnknownCase(call.path["case"])
    given = call.desk.clock.now_s(), case, state, call.caller.actor, call.body.reason
    return await call.desk.act(_decide, *given, answer=lambda row: Answer(200, case_shown(row)))


def _decide(conn: Connection, now_s: int, case: int, state: str, actor: str, reason: str) -> Row[Any]:
    row = reviewing.decide(conn, now_s, case, state, actor, reason)
    return cases.listed(conn, state=None, number=row.meter, after=case - 1, limit=1)[0]


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


# --- what is shown ----------------------------------------------------------------------------------------------------


def texts(text: tuple[str, str], **fields: object) -> dict[str, str]:
    """A text by language."""
    return {language: say(text, language, **fields) for language in LANGUAGES}


def case_shown(row: Any) -> CaseShown:
    """A row of `cases.listed`."""
    rule, starts = RULES[row.rule], json.loads(row.starts)
    return CaseShown(
        case=row.id,
        meter=wire.meter_name(row.meter),
        label=row.label,
        area=row.area,
        day=zone.day_text(row.day),
        rule=row.rule,
        title=texts(rule.title),
        sentence=texts(rule.text, value=row.value, expected=row.expected, count=len(starts)),
        periods=[wire.moment(start) for start in starts],
        value=row.value,
        expected=row.expected,
        state=row.state,
        opened=wire.moment(row.opened_s),
        ended=wire.moment_or_none(row.ended_s),
        actor=row.actor,
        reason=row.reason,
    )


def _etag(version: int) -> str:
    return wire.etag("validation", version)


def _policy_answer(found: policy.Policy) -> Answer:
    rules = [
        RuleShown(
            code, texts(rule.title), texts(rule.looks_at), rule.severity, {k: list(v) for k, v in rule.params.items()}
        )
        for code, rule in RULES.items()
    ]
    shown = PolicyShown(found.version, [dict(one) for one in found.scopes], rules)
    return Answer(200, shown, {"ETag": _etag(found.version)})


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
_DECIDE: dict[str, Any] = {"scope": BOOKS, "body": DecisionRequest, "query": Nothing, "problems": ("unknown_case",)}

OPERATIONS: tuple[Operation[Any, Any], ...] = (
    Operation(
        "GET", "/validation/policy", get_validation_policy, scope=READ, answers={200: PolicyShown}, body=Nothing,
        query=Nothing, by_area=True,
    ),
    Operation(
        "PUT", "/validation/policy", put_validation_policy, scope=ADMIN, answers={200: PolicyShown}, body=PolicyRequest,
        query=Nothing, edits=True, most_bytes=262_144,
    ),
    Operation(
        "GET", "/validation/cases", list_cases, scope=READ, answers={200: CasePage}, body=Nothing, query=CasesQuery,
        by_area=True,
    ),
    Operation("POST", "/validation/cases/{case}/accept", accept_case, answers={200: CaseShown}, **_DECIDE),
    Operation("POST", "/validation/cases/{case}/reject", reject_case, answers={200: CaseShown}, **_DECIDE),
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
