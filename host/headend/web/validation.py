"""Validation over HTTP: rules, their policy, what is held for review. (Validated readings: `validated.py`.)"""

import json
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from sqlalchemy import Connection, Row

from headend.access.permissions import ADMIN, BOOKS, READ
from headend.language import LANGUAGES, say
from headend.ledger import zone
from headend.validation import cases, policy, reviewing, words
from headend.validation.rules import RULES, SEVERITIES
from headend.web import wire
from headend.web.operations import Answer, Call, Nothing, Operation
from headend.web.wire import MeterNumber, Moment

MAX_ID = 2**53
MAX_PAGE = 200

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


class CaseDecisionRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Why it is accepted, or rejected."""

    reason: Annotated[str, Meta(min_length=1, max_length=cases.MAX_REASON, description="No personal data.")]


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


async def accept_case(call: Call[CaseDecisionRequest, Nothing]) -> Answer:
    """Accept what is held: the reading stands as it was measured."""
    return await _decided(call, words.ACCEPTED)


async def reject_case(call: Call[CaseDecisionRequest, Nothing]) -> Answer:
    """Reject what is held: an estimate stands in for the reading. Its record stays as it is."""
    return await _decided(call, words.REJECTED)


# --- reading and writing ----------------------------------------------------------------------------------------------


def _put_policy(conn: Connection, now_s: int, call: Call[PolicyRequest, Nothing]) -> policy.Policy:
    call.expect(_etag(policy.get(conn).version))
    policy.put(conn, now_s, call.body.scopes, call.caller.actor, call.body.why)
    return policy.get(conn)


def _listed(conn: Connection, within: tuple[str, ...], query: CasesQuery) -> list[Row[Any]]:
    number = None if query.meter is None else wire.read_meter(query.meter)
    chosen: dict[str, Any] = {"state": query.state, "rule": query.rule, "number": number}
    return cases.listed(conn, within, **chosen, after=query.after, limit=query.limit)


async def _decided(call: Call[CaseDecisionRequest, Nothing], state: str) -> Answer:
    case = call.number("case", cases.UnknownCase)
    given = call.desk.clock.now_s(), case, state, call.caller.actor, call.body.reason
    return await call.desk.act(_decide, *given, answer=lambda row: Answer(200, case_shown(row)))


def _decide(conn: Connection, now_s: int, case: int, state: str, actor: str, reason: str) -> Row[Any]:
    row = reviewing.decide(conn, now_s, case, state, actor, reason)
    return cases.listed(conn, state=None, number=row.meter, after=case - 1, limit=1)[0]


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


_DECIDE: dict[str, Any] = {"scope": BOOKS, "body": CaseDecisionRequest, "query": Nothing, "problems": ("unknown_case",)}

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
)  # fmt: skip
