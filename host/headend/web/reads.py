"""Interval reads, and how complete they are."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta
from sqlalchemy import Connection

from headend import audit
from headend.access.permissions import READ
from headend.fleet.meters import get_meter
from headend.people import words  # noqa: F401 - what the audit calls it
from headend.reads import completeness, cursors, series
from headend.reads.completeness import Completeness
from headend.reads.series import Reading
from headend.web import wire
from headend.web.operations import Answer, Call, Nothing, Operation
from headend.web.wire import MeterNumber, Moment
from meterlink import names

MAX_INTERVALS = 2000


class Interval(msgspec.Struct):
    """One record of the meter's interval log."""

    seq: int
    start: Moment
    minutes: int
    import_wh: Annotated[int, Meta(description="Imported in the period; 65535 means that or more.")]
    export_wh: int
    import_reg_wh: Annotated[int, Meta(description="Register at the end of the period, modulo 2^32.")]
    export_reg_wh: int
    flags: Annotated[list[str], Meta(examples=[["power_failed", "short"]])]


class IntervalCounts(msgspec.Struct):
    """Of the whole log, counted from the stored records: expected = stored + lost + missing."""

    expected: Annotated[int, Meta(description="Records that the meter said it made.")]
    stored: int
    lost: Annotated[int, Meta(description="The meter itself no longer held them.")]
    missing: Annotated[int, Meta(description="Still to be fetched.")]
    doubled: Annotated[int, Meta(description="Periods that stand twice on this page, a changed clock aside.")]
    unchained: Annotated[
        int, Meta(description="Neighbours on this page, and the one before it, whose registers and energy do not fit.")
    ]
    whole: Annotated[bool, Meta(description="All are stored, and nothing on this page is doubled or unchained.")]


class IntervalPage(msgspec.Struct):
    """Records by rising sequence number."""

    meter: MeterNumber
    log_id: Annotated[int | None, Meta(description="Names the life of the log; null before the first report.")]
    counts: IntervalCounts
    intervals: list[Interval]
    next_after: Annotated[int | None, Meta(description="`after` of the next page; null when there is no more yet.")]


class IntervalsQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Which records of the present log."""

    after: Annotated[int, Meta(ge=0, le=0xFFFFFFFF, description="Only records with a higher number.")] = 0
    limit: Annotated[int, Meta(ge=1, le=MAX_INTERVALS)] = 500


async def list_intervals(call: Call[Nothing, IntervalsQuery]) -> Answer:
    """Interval records by sequence number, with what is missing counted.

    They tell how people live: that a person looked at them is audited.
    """
    if call.caller.is_person:
        await call.desk.write(_audited, call.desk.clock.now_s(), call.caller.actor, call.meter, call.query.after)
    counts, rows = await call.desk.read(_intervals, call.meter, call.query)
    page = IntervalPage(
        meter=wire.meter_name(call.meter),
        log_id=counts.log_id,
        counts=IntervalCounts(
            expected=counts.expected,
            stored=counts.stored,
            lost=counts.lost,
            missing=counts.missing,
            doubled=counts.doubled,
            unchained=counts.unchained,
            whole=counts.whole,
        ),
        intervals=[interval_of(row) for row in rows],
        next_after=rows[-1].seq if len(rows) == call.query.limit else None,
    )
    return Answer(200, page)


def _audited(conn: Connection, now_s: int, actor: str, meter: int, after: int) -> None:
    get_meter(conn, meter)
    audit.record(conn, now_s, actor, "reads.read", f"meter:{meter}", {"after": after})


def _intervals(conn: Connection, meter: int, query: IntervalsQuery) -> tuple[Completeness, list[Reading]]:
    log_id = cursors.of(conn, meter).log_id
    if log_id is None:
        return completeness.of_some(conn, meter, []), []
    rows = series.following(conn, meter, log_id, query.after, query.limit)
    before = series.numbered(conn, meter, log_id, query.after, query.after)
    return completeness.of_some(conn, meter, before + rows), rows


def interval_of(row: Reading) -> Interval:
    """A record as JSON has it."""
    return Interval(
        seq=row.seq,
        start=wire.moment(row.start_s),
        minutes=row.minutes,
        import_wh=row.import_wh,
        export_wh=row.export_wh,
        import_reg_wh=row.import_reg_wh,
        export_reg_wh=row.export_reg_wh,
        flags=names.of_flags(names.FLAG, row.flags),
    )


OPERATIONS: tuple[Operation[Any, Any], ...] = (
    Operation(
        "GET",
        "/meters/{meter}/intervals",
        list_intervals,
        scope=READ,
        answers={200: IntervalPage},
        body=Nothing,
        query=IntervalsQuery,
        problems=("unknown_meter",),
    ),
)
