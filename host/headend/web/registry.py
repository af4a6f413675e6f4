"""The calendar of stops, the holds on a meter, and where a meter stands in the utility."""

from datetime import date
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from sqlalchemy import Connection, Row

from headend.access.areas import MAX_LENGTH
from headend.access.permissions import ADMIN, READ, REGISTRY, SAFETY
from headend.fleet.meters import get_meter
from headend.registry import areas, calendar, holds, rules
from headend.registry.rules import Rule
from headend.web import orders, wire
from headend.web.exclusions import Document, Reference, read_evidence
from headend.web.operations import Answer, Call, Nothing, Operation
from headend.web.orders import MAX_ID, MAX_PAGE, Note, OrderBrief, OrderState, state_order, text_of
from headend.web.wire import MeterNumber, Moment, TitleBody
from meterlink import bodies, names

Barred = Literal["arrears", "customer_request", "move_out", "tamper", "load_control", "legal"]
_CLOSE = {"permit": bodies.CLOSE_PERMIT, "direct": bodies.CLOSE_DIRECT}
Quarter = Annotated[int, Meta(ge=0, le=rules.QUARTERS, description="Quarters of an hour since local midnight.")]


class CalendarRule(msgspec.Struct, forbid_unknown_fields=True):
    """When nobody in an area is stopped: where day, hour and area all fit. A night over midnight is two rules."""

    name: TitleBody
    area: Annotated[str, Meta(max_length=MAX_LENGTH, description="It and all below it; empty: everywhere.")] = ""
    reasons: Annotated[list[Barred], Meta(min_length=1, max_length=6)] = msgspec.field(
        default_factory=lambda: ["arrears"]
    )
    weekdays: Annotated[
        list[Annotated[int, Meta(ge=1, le=7)]],
        Meta(min_length=1, max_length=7, description="1 (Monday) to 7 (Sunday), by ISO 8601."),
    ] = msgspec.field(default_factory=lambda: [1, 2, 3, 4, 5, 6, 7])
    from_quarter: Quarter = 0
    until_quarter: Quarter = rules.QUARTERS
    first_day: Annotated[date | None, Meta(description="First local day; null: from ever.")] = None
    last_day: Annotated[date | None, Meta(description="Last local day; null: for ever.")] = None


class CalendarRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The whole calendar."""

    time_zone: Annotated[str, Meta(max_length=64, description="Of the tz database.", examples=["Asia/Shanghai"])]
    rules: Annotated[list[CalendarRule], Meta(max_length=rules.MAX_RULES)]
    why: Annotated[str, Meta(min_length=1, max_length=calendar.MAX_WHY)]


class StopCalendar(msgspec.Struct):
    """The calendar in force; version 0: none was set, and every hour is allowed."""

    version: int
    time_zone: str
    rules: list[CalendarRule]
    at: Moment | None
    actor: str | None
    why: str | None


class HoldEvidence(msgspec.Struct):
    """What stands behind an order on a hold."""

    reference: str
    document: Annotated[str | None, Meta(description="SHA-256, hexadecimal.")]
    at: Moment
    actor: str


class StandingHold(msgspec.Struct):
    """A hold that is wanted on the meter or shown by it."""

    reason: str
    order: Annotated[OrderBrief | None, Meta(description="The newest that sets it; null: only the meter shows it.")]
    proved: Annotated[bool, Meta(description="Whether a report that answered our question showed what it wants.")]
    on_meter: Annotated[bool | None, Meta(description="As the newest report shows it; null: none has come.")]
    evidence: list[HoldEvidence]


class MeterHolds(msgspec.Struct):
    """The holds on a meter, by reason."""

    meter: MeterNumber
    holds: list[StandingHold]


class HoldOrder(msgspec.Struct):
    """An order that set or released a hold."""

    order: OrderBrief
    evidence: list[HoldEvidence]


class HoldHistory(msgspec.Struct):
    """Orders on holds, newest first."""

    orders: list[HoldOrder]
    next_before: Annotated[int | None, Meta(description="`before` of the next page; null on the last one.")]


class HoldHistoryQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Which of them."""

    before: Annotated[int, Meta(ge=1, le=MAX_ID)] = MAX_ID
    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE)] = 50


class SafetyRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The danger, and the evidence of it."""

    reference: Reference
    document: Document | None = None
    note: Note = ""


class SafetyRelease(msgspec.Struct, forbid_unknown_fields=True):
    """The evidence that the cause is removed."""

    reference: Reference
    document: Document | None = None
    close: Annotated[Literal["permit", "direct"], Meta(description="`permit`: the customer closes at the meter.")] = (
        "permit"
    )
    note: Note = ""


class AreaRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Where the meter stands."""

    area: Annotated[
        str,
        Meta(
            max_length=MAX_LENGTH,
            description="1..6 parts of a-z 0-9 _ . - from the whole to the part; empty: nowhere in particular.",
            examples=["north/feeder-3/t-17"],
        ),
    ]


class MeterArea(msgspec.Struct):
    """Where a meter stands."""

    meter: MeterNumber
    area: str


async def get_calendar(call: Call[Nothing, Nothing]) -> Answer:
    """The calendar in force. The answer's ETag is what a change names in If-Match."""
    return _calendar(await call.desk.read(calendar.current))


async def put_calendar(call: Call[CalendarRequest, Nothing]) -> Answer:
    """Replace the calendar. Wants If-Match.

    It counts for every stop that is sent from now on, also for those that wait. No rule forbids a hold for safety.
    """
    return await call.desk.act(_put_calendar, call.desk.clock.now_s(), call, answer=_calendar)


async def list_holds(call: Call[Nothing, Nothing]) -> Answer:
    """The holds that stand on a meter: ordered, proved, and shown by it, with their evidence."""
    found = await call.desk.read(_standing, call.meter)
    return Answer(200, MeterHolds(wire.meter_name(call.meter), [_hold(one) for one in found]))


async def list_hold_orders(call: Call[Nothing, HoldHistoryQuery]) -> Answer:
    """Orders that set or released holds on a meter, newest first, with their evidence."""
    query = call.query
    rows, proofs = await call.desk.read(_history, call.meter, query.before, query.limit)
    more = rows[-1].id if len(rows) == query.limit else None
    return Answer(
        200, HoldHistory([HoldOrder(orders.brief(row), _proofs(proofs.get(row.id, ()))) for row in rows], more)
    )


async def set_safety_hold(call: Call[SafetyRequest, Nothing]) -> Answer:
    """Set the hold for safety. Supply goes off without delay, and no exclusion or protection stands against it."""
    evidence = read_evidence(call.body.reference, call.body.document)
    return await state_order(call, holds.set_safety, evidence, note=text_of(call.body.note))


async def release_safety_hold(call: Call[SafetyRelease, Nothing]) -> Answer:
    """Release the hold for safety, with the evidence that its cause is removed. Nothing else releases it."""
    body = call.body
    evidence = read_evidence(body.reference, body.document)
    return await state_order(call, holds.release_safety, evidence, close=_CLOSE[body.close], note=text_of(body.note))


async def put_area(call: Call[AreaRequest, Nothing]) -> Answer:
    """Say where a meter stands in the utility: who may act on it, and which budgets and calendar it counts for."""
    call.caller.need(ADMIN, call.body.area)
    stands = MeterArea(wire.meter_name(call.meter), call.body.area)
    arguments = (call.desk.clock.now_s(), call.meter, call.body.area, call.caller.actor)
    return await call.desk.act(areas.place, *arguments, answer=lambda _: Answer(200, stands))


def _put_calendar(conn: Connection, now_s: int, call: Call[CalendarRequest, Nothing]) -> Row[Any] | None:
    body, stands = call.body, calendar.current(conn)
    call.expect(_etag(stands))
    version = 0 if stands is None else stands.version
    given = tuple(_read_rule(rule) for rule in body.rules)
    calendar.put(conn, now_s, version, body.time_zone, given, call.caller.actor, body.why)
    return calendar.current(conn)


def _etag(row: Row[Any] | None) -> str:
    return wire.etag("calendar", 0 if row is None else row.version)


def _calendar(row: Row[Any] | None) -> Answer:
    shown = StopCalendar(0, "UTC", [], None, None, None)
    if row is not None:
        told = [_shown_rule(rule) for rule in rules.decode(row.rules).rules]
        shown = StopCalendar(row.version, row.time_zone, told, wire.moment(row.at_s), row.actor, row.why)
    return Answer(200, shown, {"ETag": _etag(row)})


def _read_rule(given: CalendarRule) -> Rule:
    return Rule(
        name_en=given.name.en,
        name_zh=given.name.zh,
        area=given.area,
        reasons=tuple(names.code(names.HOLD, reason) for reason in dict.fromkeys(given.reasons)),
        weekdays=tuple(sorted(set(given.weekdays))),
        from_quarter=given.from_quarter,
        until_quarter=given.until_quarter,
        first_day=given.first_day,
        last_day=given.last_day,
    )


def _shown_rule(rule: Rule) -> CalendarRule:
    shown: Any = [names.of(names.HOLD, reason) for reason in rule.reasons]
    return CalendarRule(
        name=TitleBody(rule.name_en, rule.name_zh),
        area=rule.area,
        reasons=shown,
        weekdays=list(rule.weekdays),
        from_quarter=rule.from_quarter,
        until_quarter=rule.until_quarter,
        first_day=rule.first_day,
        last_day=rule.last_day,
    )


def _standing(conn: Connection, meter: int) -> list[holds.Hold]:
    get_meter(conn, meter)
    return holds.standing(conn, meter)


def _history(
    conn: Connection, meter: int, before: int, limit: int
) -> tuple[list[Row[Any]], dict[int, tuple[Row[Any], ...]]]:
    get_meter(conn, meter)
    rows = holds.history(conn, meter, before, limit)
    return rows, holds.evidence_of(conn, [row.id for row in rows])


def _hold(one: holds.Hold) -> StandingHold:
    return StandingHold(
        reason=names.of(names.HOLD, one.reason),
        order=None if one.order is None else orders.brief(one.order),
        proved=one.proved,
        on_meter=one.on_meter,
        evidence=_proofs(one.evidence),
    )


def _proofs(rows: tuple[Row[Any], ...]) -> list[HoldEvidence]:
    return [
        HoldEvidence(row.reference, row.document.hex() if row.document else None, wire.moment(row.at_s), row.actor)
        for row in rows
    ]


_METER: dict[str, Any] = {"query": Nothing, "problems": ("unknown_meter",)}
_STATED: dict[str, Any] = {**_METER, "scope": SAFETY, "answers": {202: OrderState}}

OPERATIONS: tuple[Operation[Any, Any], ...] = (
    Operation(
        "GET",
        "/calendar",
        get_calendar,
        scope=READ,
        answers={200: StopCalendar},
        body=Nothing,
        query=Nothing,
        by_area=True,
    ),
    Operation(
        "PUT",
        "/calendar",
        put_calendar,
        scope=REGISTRY,
        answers={200: StopCalendar},
        body=CalendarRequest,
        query=Nothing,
        edits=True,
        most_bytes=262_144,
    ),
    Operation(
        "GET", "/meters/{meter}/holds", list_holds, scope=READ, answers={200: MeterHolds}, body=Nothing, **_METER
    ),
    Operation(
        "GET",
        "/meters/{meter}/holds/history",
        list_hold_orders,
        scope=READ,
        answers={200: HoldHistory},
        body=Nothing,
        query=HoldHistoryQuery,
        problems=("unknown_meter",),
    ),
    Operation("POST", "/meters/{meter}/holds/safety", set_safety_hold, body=SafetyRequest, **_STATED),
    Operation("POST", "/meters/{meter}/holds/safety/release", release_safety_hold, body=SafetyRelease, **_STATED),
    Operation(
        "PUT", "/meters/{meter}/area", put_area, scope=ADMIN, answers={200: MeterArea}, body=AreaRequest, **_METER
    ),
)
