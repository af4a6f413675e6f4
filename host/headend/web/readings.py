"""Interval records by the time of their periods, of all logs of a meter."""

import re
from datetime import date
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from sqlalchemy import Connection

from headend import audit
from headend.access.permissions import READ
from headend.fleet.meters import get_meter
from headend.reads import series
from headend.refusals import Refused
from headend.web import reads, wire
from headend.web.operations import Answer, Call, Nothing, Operation
from headend.web.reads import MAX_INTERVALS, Interval
from headend.web.wire import MeterNumber

LAST_S = 1 << 32
_EPOCH = date(1970, 1, 1).toordinal()
_AFTER = re.compile(r"([0-9]{1,10})\.([0-9]{1,10})\.([0-9]{1,10})", re.ASCII)

Second = Annotated[int, Meta(ge=0, le=LAST_S)]


class LoggedInterval(Interval, kw_only=True):
    """A record, and the log that it stands in."""

    log_id: Annotated[int, Meta(description="Names the life of the meter's log.")]


class ReadingsPage(msgspec.Struct):
    """Records by the start of their periods."""

    meter: MeterNumber
    intervals: list[LoggedInterval]
    next_after: Annotated[str | None, Meta(description="`after` of the next page; null on the last one.")]


class ReadingsQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Periods that begin in a span of time, or in a day."""

    from_s: Annotated[Second, Meta(description="Seconds since 1970 UTC.")] = 0
    to_s: Annotated[Second, Meta(description="Periods that begin before it.")] = LAST_S
    day: Annotated[
        str, Meta(pattern=r"^(|[0-9]{4}-[0-9]{2}-[0-9]{2})$", description="A day of UTC, in place of both.")
    ] = ""
    after: Annotated[str, Meta(max_length=32, description="`next_after` of the page before.")] = ""
    limit: Annotated[int, Meta(ge=1, le=MAX_INTERVALS)] = 500


async def list_readings(call: Call[Nothing, ReadingsQuery]) -> Answer:
    """Interval records by the start of their periods, those of former logs as well.

    They tell how people live: that a person looked at them is audited.
    """
    query = call.query
    span, after = _span(query), _after(query.after)
    if call.caller.is_person:
        await call.desk.write(_audited, call.desk.clock.now_s(), call.caller.actor, call.meter, span)
    rows = await call.desk.read(_page, call.meter, span, query.limit, after)
    made = [LoggedInterval(log_id=row.log_id, **msgspec.structs.asdict(reads.interval_of(row))) for row in rows]
    last = rows[-1] if len(rows) == query.limit else None
    following = f"{last.start_s}.{last.log_id}.{last.seq}" if last else None
    return Answer(200, ReadingsPage(wire.meter_name(call.meter), made, following))


def _page(
    conn: Connection, meter: int, span: tuple[int, int], limit: int, after: tuple[int, int, int]
) -> list[series.Reading]:
    get_meter(conn, meter)
    return series.page(conn, meter, *span, limit, after)


def _audited(conn: Connection, now_s: int, actor: str, meter: int, span: tuple[int, int]) -> None:
    get_meter(conn, meter)
    audit.record(conn, now_s, actor, "reads.read", f"meter:{meter}", {"from_s": span[0], "to_s": span[1]})


def _span(query: ReadingsQuery) -> tuple[int, int]:
    if not query.day:
        return query.from_s, query.to_s
    try:
        number = date.fromisoformat(query.day).toordinal() - _EPOCH
    except ValueError:
        raise Refused("day", query.day, "a day such as 2026-11-22") from None
    return number * series.DAY_S, (number + 1) * series.DAY_S


def _after(text: str) -> tuple[int, int, int]:
    if not text:
        return series.FIRST
    found = _AFTER.fullmatch(text)
    if found is None:
        raise Refused("after", text, "the `next_after` of a page")
    start_s, log_id, seq = map(int, found.groups())
    return start_s, log_id, seq


OPERATIONS: tuple[Operation[Any, Any], ...] = (
    Operation(
        "GET",
        "/meters/{meter}/readings",
        list_readings,
        scope=READ,
        answers={200: ReadingsPage},
        body=Nothing,
        query=ReadingsQuery,
        problems=("unknown_meter",),
    ),
)
