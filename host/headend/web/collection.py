"""Collection over HTTP: schedules, pauses, what is to be read now, what was read by when, and how good lines are."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from sqlalchemy import Connection, Row

from headend.access import areas
from headend.access.permissions import ADMIN, ORDERS, READ
from headend.collection import lines, pauses, policy, requests, table
from headend.collection.line_counts import COUNTS, Counts
from headend.fleet import address
from headend.ledger import zone
from headend.store import UnknownMeter
from headend.web import wire
from headend.web.operations import Answer, Call, Nothing, Operation
from headend.web.wire import MeterNumber, Moment

MAX_LISTED = 700  # meters of one request
MAX_PAGE = 200
MAX_LINES = 1000
DAY_S = 86_400

Day = Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$", description="A local day of the utility.")]
Area = Annotated[str, Meta(max_length=areas.MAX_LENGTH, description="As that of meters; nothing: everywhere.")]
Why = Annotated[str, Meta(max_length=200, description="For the record; no personal data.")]
Ppm = Annotated[int | None, Meta(description="In a million of what was expected; null where nothing was.")]


class ScheduleShown(msgspec.Struct):
    """The rules in force, the narrowest first; the last one is for all meters. The ETag is for If-Match."""

    version: Annotated[int, Meta(description="0: nobody has set any yet.")]
    rules: list[dict[str, Any]]


class ScheduleRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Other rules, all of them."""

    rules: Annotated[
        list[dict[str, Any]],
        Meta(
            max_length=policy.MAX_RULES,
            description="Each with `area`, `carrier` and `meter_type` that it is for, and of `profile` (follow, push, "
            "daily), `report_s`, `gap_s`, `from_minute`, `spread_minutes` and `deadline_minute` what is not as by "
            "default.",
            examples=[[{"profile": "push", "report_s": 21_600}, {"carrier": "modbus", "profile": "daily"}]],
        ),
    ]
    why: Annotated[str, Meta(min_length=1, max_length=200)]


class PauseRequest(msgspec.Struct, forbid_unknown_fields=True):
    """From when until when nobody is read there; 30 days at most."""

    area: Area
    until_s: Annotated[int, Meta(ge=0, le=2**32)]
    from_s: Annotated[int, Meta(ge=0, le=2**32, description="0: from now on.")] = 0
    why: Why = ""


class PauseShown(msgspec.Struct):
    """A pause."""

    pause: int
    area: str
    begins: Moment
    ends: Moment
    actor: str
    why: str


class Pauses(msgspec.Struct):
    """Those in force and to come, in the areas of whoever asks."""

    pauses: list[PauseShown]


class Ended(msgspec.Struct):
    """A pause that was ended."""

    pause: int


class ReadRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Which meters, and what of them: a `report`, or all `records` up to now."""

    meters: Annotated[list[MeterNumber], Meta(min_length=1, max_length=MAX_LISTED)]
    kind: Literal["report", "records"] = "report"
    within_s: Annotated[int, Meta(ge=60, le=requests.MAX_S, description="What is not read by then is given up.")] = 900
    why: Why = ""


class ReadShown(msgspec.Struct):
    """How far a request is."""

    read: int
    kind: Literal["report", "records"]
    actor: str
    why: str
    asked: Moment
    until: Moment
    meters: int
    waiting: int
    done: int
    given_up: int
    missing: Annotated[list[MeterNumber], Meta(description="The first of those given up, or else still waiting.")]


class SuccessShown(msgspec.Struct):
    """Of one local day, an area and a carrier. All but `meters` and `whole` are records."""

    day: Day
    area: str
    carrier: str
    meters: int
    expected: int
    in_time: Annotated[int, Meta(description="Came before the deadline.")]
    late: Annotated[int, Meta(description="Came after it.")]
    lost: Annotated[int, Meta(description="Declared lost on that day: no meter holds them.")]
    repeated: Annotated[int, Meta(description="Came on that day and were there already.")]
    whole: Annotated[int, Meta(description="Meters whose log is whole up to the end of the day.")]
    whole_in_time: Annotated[int, Meta(description="Of them, at the deadline.")]
    in_time_ppm: Ppm
    read_ppm: Ppm


class SuccessTable(msgspec.Struct):
    """Newest day first. Arrivals are counted when the hour in which they came is over."""

    days: list[SuccessShown]


class SuccessQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Which days, where, and how finely."""

    to: Annotated[Day | None, Meta(description="The last day; nothing: today.")] = None
    days: Annotated[int, Meta(ge=1, le=table.MAX_DAYS)] = 7
    area: Area = ""
    level: Annotated[int, Meta(ge=0, le=areas.MAX_PARTS, description="So many parts of an area; 0: all together.")] = 0
    by_carrier: bool = False


class LineShown(msgspec.Struct):
    """How a line, or a unit on it, answered."""

    link: str
    unit: Annotated[int | None, Meta(description="null: all of the line.")]
    counts: Annotated[dict[str, int], Meta(description=f"{', '.join(COUNTS)}.")]
    half_ms: Annotated[int | None, Meta(description="Half of the answers came within; the time on the wire left out.")]
    most_ms: Annotated[int | None, Meta(description="99 of a hundred did.")]


class Lines(msgspec.Struct):
    """Lines by name, and units by number."""

    lines: list[LineShown]


class LinesQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Over how many days of UTC, the present one included; one line with its units, or all lines."""

    days: Annotated[int, Meta(ge=1, le=35)] = 1
    link: Annotated[str, Meta(max_length=200)] = ""


async def get_schedule(call: Call[Nothing, Nothing]) -> Answer:
    """When meters are asked for what: the rules in force."""
    return _schedule_answer(await call.desk.read(policy.standing))


async def put_schedule(call: Call[ScheduleRequest, Nothing]) -> Answer:
    """Set other rules. Wants If-Match."""
    return await call.desk.act(_put_schedule, call.desk.clock.now_s(), call, answer=_schedule_answer)


async def list_pauses(call: Call[Nothing, Nothing]) -> Answer:
    """Pauses of reading that are in force or to come."""
    rows = await call.desk.read(pauses.coming, call.desk.clock.now_s())
    return Answer(200, Pauses([_pause(row) for row in rows if areas.covered(call.caller.areas, row.area)]))


async def post_pause(call: Call[PauseRequest, Nothing]) -> Answer:
    """Pause the reading of an area, as somebody works there. Orders go all the same."""
    return await call.desk.act(_pause_put, call.desk.clock.now_s(), call, answer=lambda row: Answer(201, _pause(row)))


async def end_pause(call: Call[Nothing, Nothing]) -> Answer:
    """End a pause now."""
    number = call.number("pause", pauses.UnknownPause)
    given = call.desk.clock.now_s(), call.caller.actor, number
    return await call.desk.act(pauses.end, *given, answer=lambda _: Answer(200, Ended(number)))


async def post_read(call: Call[ReadRequest, Nothing]) -> Answer:
    """Have meters read now: before all that is read by schedule, and behind orders."""
    return await call.desk.act(_read_now, call.desk.clock.now_s(), call, answer=lambda one: Answer(202, one))


async def get_read(call: Call[Nothing, Nothing]) -> Answer:
    """How far a request to read is."""
    number = call.number("read", requests.UnknownRead)
    row, shown = await call.desk.read(_read_shown, number)
    if not areas.covered(call.caller.areas, row.area):
        raise requests.UnknownRead(number)
    return Answer(200, shown)


async def get_success(call: Call[Nothing, SuccessQuery]) -> Answer:
    """Read success: what was read of each day, by when, by area and carrier."""
    found = await call.desk.read(_success, call.desk.clock.now_s(), call.caller.areas, call.query)
    return Answer(200, SuccessTable([success_shown(one) for one in found]))


async def list_lines(call: Call[Nothing, LinesQuery]) -> Answer:
    """How good Modbus lines are: what was asked, how it ended, and how long answers took."""
    return Answer(200, Lines(await call.desk.read(lines_shown, call.desk.clock.now_s(), call.caller.areas, call.query)))


# --- reading and writing ----------------------------------------------------------------------------------------------


def _put_schedule(conn: Connection, now_s: int, call: Call[ScheduleRequest, Nothing]) -> policy.Policy:
    call.expect(_etag(policy.standing(conn).version))
    policy.put(conn, now_s, call.caller.actor, call.body.rules, call.body.why)
    return policy.standing(conn)


def _pause_put(conn: Connection, now_s: int, call: Call[PauseRequest, Nothing]) -> Row[Any]:
    body = call.body
    span = body.from_s or now_s, body.until_s
    number = pauses.put(conn, now_s, call.caller.actor, body.area, *span, body.why)
    return next(row for row in pauses.coming(conn, now_s) if row.id == number)


def _read_now(conn: Connection, now_s: int, call: Call[ReadRequest, Nothing]) -> ReadShown:
    numbers = [wire.read_meter(text, "meters") for text in call.body.meters]
    for number in numbers:
        area = areas.area_of(conn, "meter", number)
        if area is None or not call.caller.sees(area):
            raise UnknownMeter(number)
    body = call.body
    request = requests.ask(conn, now_s, call.caller.actor, body.kind, numbers, body.within_s, body.why)
    return _read_shown(conn, request)[1]


def _read_shown(conn: Connection, number: int) -> tuple[Row[Any], ReadShown]:
    row, counts = requests.get(conn, number)
    state = requests.GIVEN_UP if counts[requests.GIVEN_UP] else requests.WAITING
    missing = requests.waiting_for(conn, number, state, 0, MAX_PAGE) if counts[state] else []
    return row, ReadShown(
        read=row.id,
        kind=row.kind,
        actor=row.actor,
        why=row.why,
        asked=wire.moment(row.asked_s),
        until=wire.moment(row.until_s),
        meters=row.meters,
        missing=[wire.meter_name(one) for one in missing],
        **counts,
    )


def _success(conn: Connection, now_s: int, within: tuple[str, ...], query: SuccessQuery) -> list[table.Figures]:
    areas.check(query.area)
    last = zone.day_of(zone.of(conn), now_s) if query.to is None else zone.read_day("to", query.to)
    where = areas.narrowed(within, query.area) if query.area else within
    return table.of_days(conn, last - query.days + 1, last, where, query.level, query.by_carrier)


def lines_shown(conn: Connection, now_s: int, within: tuple[str, ...], query: LinesQuery) -> list[LineShown]:
    """Lines of these areas, or the units of one."""
    day = now_s // DAY_S
    counted = lines.quality(conn, day - query.days + 1, day, query.link)
    known = lines.seen_by(conn, within)
    if known is not None:
        seen = {(where.link, where.unit) for where in map(address.parse, known)}
        counted = {key: one for key, one in counted.items() if key in seen}
    if query.link:
        return [line_shown(link, unit, one) for (link, unit), one in sorted(counted.items())]
    together = lines.by_line(counted)
    return [line_shown(link, None, one) for link, one in sorted(together.items())][:MAX_LINES]


# --- what is shown ----------------------------------------------------------------------------------------------------


def _etag(version: int) -> str:
    return wire.etag("collection", version)


def _schedule_answer(found: policy.Policy) -> Answer:
    return Answer(200, ScheduleShown(found.version, policy.rules_of(found)), {"ETag": _etag(found.version)})


def _pause(row: Any) -> PauseShown:
    times = wire.moment(row.from_s), wire.moment(row.until_s)
    return PauseShown(row.id, row.area, *times, row.actor, row.why)


def success_shown(one: table.Figures) -> SuccessShown:
    """A row of `table.of_days`."""
    figures = {name: getattr(one, name) for name in table.FIGURES}
    return SuccessShown(
        day=zone.day_text(one.day),
        area=one.area,
        carrier=one.carrier,
        in_time_ppm=one.in_time_ppm,
        read_ppm=one.read_ppm,
        **figures,
    )


def line_shown(link: str, unit: int | None, one: Counts) -> LineShown:
    """Counts of a line, or of a unit on it."""
    counts = {name: getattr(one, name) for name in COUNTS}
    return LineShown(link, unit, counts, one.times.quantile_ms(50), one.times.quantile_ms(99))


def _operation(
    method: str, path: str, handler: Any, scope: str, answers: dict[int, Any], **more: Any
) -> Operation[Any, Any]:
    given: dict[str, Any] = {"body": Nothing, "query": Nothing, **more}
    return Operation(method, path, handler, scope=scope, answers=answers, **given)


OPERATIONS: tuple[Operation[Any, Any], ...] = (
    _operation("GET", "/collection/schedule", get_schedule, READ, {200: ScheduleShown}, by_area=True),
    _operation(
        "PUT",
        "/collection/schedule",
        put_schedule,
        ADMIN,
        {200: ScheduleShown},
        body=ScheduleRequest,
        edits=True,
        most_bytes=262_144,
    ),
    _operation("GET", "/collection/pauses", list_pauses, READ, {200: Pauses}, by_area=True),
    _operation("POST", "/collection/pauses", post_pause, ADMIN, {201: PauseShown}, body=PauseRequest),
    _operation("POST", "/collection/pauses/{pause}/end", end_pause, ADMIN, {200: Ended}, problems=("unknown_pause",)),
    _operation(
        "POST",
        "/collection/reads",
        post_read,
        ORDERS,
        {202: ReadShown},
        body=ReadRequest,
        problems=("unknown_meter",),
        by_area=True,
    ),
    _operation(
        "GET", "/collection/reads/{read}", get_read, READ, {200: ReadShown}, problems=("unknown_read",), by_area=True
    ),
    _operation("GET", "/collection/success", get_success, READ, {200: SuccessTable}, query=SuccessQuery, by_area=True),
    _operation("GET", "/collection/lines", list_lines, READ, {200: Lines}, query=LinesQuery, by_area=True),
)
