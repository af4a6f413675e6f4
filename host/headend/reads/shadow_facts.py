"""What is known of a meter between two of its reports: intervals, tariffs that took over, debts that it collected."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, func, select

from headend.orders.stored import stored_report
from headend.reads import series
from headend.reads.series import Reading
from headend.store.prepared import prepared
from headend.store.schema import closing, meter, meter_event, order, order_body
from meterlink import events, records, states
from meterlink.orders import ASPECT_TARIFF
from meterlink.reports import Report
from meterlink.tariff import decode

_UNSURE = records.FLAG_CLOCK_UNKNOWN | records.FLAG_CLOCK_CHANGED
_EMERGENCY = (events.EMERGENCY_TAKEN, events.EMERGENCY_USED_UP, events.EMERGENCY_PAID_BACK)
_STANDING_BIT = 8  # in the detail of DEBT_COLLECTED: charges for time that had been put off
_UNIT_UC = 1000  # of the argument of DEBT_COLLECTED


_EVENTS = prepared(
    select(meter_event)
    .where(meter_event.c.meter == bindparam("of"), meter_event.c.log_id == bindparam("log"))
    .where(meter_event.c.seq > bindparam("above"), meter_event.c.seq <= bindparam("up_to"))
    .order_by(meter_event.c.seq)
)
_BODY = prepared(
    select(func.coalesce(order_body.c.body, order.c.body).label("body"))
    .select_from(order.outerjoin(order_body, order_body.c.order_id == order.c.id))
    .where(order.c.meter == bindparam("of"), order.c.aspect == ASPECT_TARIFF, order.c.version == bindparam("named"))
    .order_by(order.c.id.desc())
    .limit(1)
)
_SWITCHED = prepared(
    select(meter_event.c.argument)
    .where(
        meter_event.c.meter == bindparam("of"),
        meter_event.c.log_id == bindparam("log"),
        meter_event.c.seq <= bindparam("up_to"),
        meter_event.c.code == events.TARIFF_SWITCHED,
    )
    .order_by(meter_event.c.seq.desc())
    .limit(1)
)
_ORDERED = prepared(
    select(order.c.id).where(order.c.meter == bindparam("of"), order.c.aspect == ASPECT_TARIFF).limit(1)
)
_MADE_WITH = prepared(select(meter.c.tariff).where(meter.c.meter == bindparam("of")))
_CLOSED = select(closing.c.statement).where(
    closing.c.meter == bindparam("of"), closing.c.account_epoch == bindparam("epoch")
)


class Switch(NamedTuple):
    """A tariff took over."""

    at_s: int
    body: bytes


@dataclass(frozen=True)
class Facts:
    """`intervals`: as the meter wrote them · `unknown_tariff`: one took over that is in no order here · `other_mode`:
    for some time the meter did not price · `collected`: amounts in thousandths, as events tell them.
    """

    intervals: list[Reading]
    tariffs: list[Switch]
    unknown_tariff: bool
    other_mode: bool
    sure: bool
    collected: tuple[int, ...]

    def collected_uc(self, beyond_uc: int) -> int:
        """What debts came to. Events tell thousandths; what is below one is read off `beyond_uc`, what the meter
        charged beyond the bill.
        """
        least_uc = sum(self.collected) * _UNIT_UC
        most_uc = least_uc + len(self.collected) * (_UNIT_UC - 1)
        return min(max(beyond_uc, least_uc), most_uc)


def between(conn: Connection, start: Report, end: Report) -> Facts:
    """What is known between two reports of one account."""
    found = _behind(conn, _intervals, start, start.interval_newest, end, end.interval_newest + 1)
    told = _behind(conn, _events, start, start.event_newest, end, end.event_newest)
    tariffs = [_switch(conn, start.meter, row) for row in told if row.code == events.TARIFF_SWITCHED]
    debts = [row for row in told if row.code == events.DEBT_COLLECTED]
    sure = not (
        any(row.flags & _UNSURE or (row.import_wh and row.flags & records.FLAG_RATE_CHANGED) for row in found)
        or any(row.detail & _STANDING_BIT for row in debts)
        or any(row.code in _EMERGENCY for row in told)
        or (start.alarms | end.alarms) >> states.ALARM_EMERGENCY & 1
    )
    return Facts(
        intervals=found,
        tariffs=[switch for switch in tariffs if switch is not None],
        unknown_tariff=None in tariffs,
        other_mode=any(row.code == events.MODE_CHANGED for row in told),
        sure=sure and start.log_id == end.log_id,
        collected=tuple(row.argument for row in debts),
    )


def _behind(
    conn: Connection, records: Callable[..., list[Any]], start: Report, above: int, end: Report, up_to: int
) -> list[Any]:
    """Records behind the first report and up to the second; where flash was formatted between them, of both logs."""
    if start.log_id == end.log_id:
        return records(conn, start.meter, start.log_id, above, up_to)
    first = records(conn, start.meter, start.log_id, above, series.LAST_SEQ)
    return first + records(conn, start.meter, end.log_id, 0, up_to)


def _intervals(conn: Connection, number: int, log_id: int, above: int, up_to: int) -> list[Reading]:
    return series.numbered(conn, number, log_id, above + 1, up_to)


def _events(conn: Connection, number: int, log_id: int, above: int, up_to: int) -> list[Any]:
    return _EVENTS(conn, {"of": number, "log": log_id, "above": above, "up_to": up_to}).all()


def is_untimed(row: Any) -> bool:
    """Whether an interval was priced without the time."""
    return bool(row.flags & records.FLAG_CLOCK_UNKNOWN)


def tariff_at(conn: Connection, report: Report) -> bytes | None:
    """The body in force at the meter's newest report; None where the database cannot know it."""
    of = {"of": report.meter}
    version = _SWITCHED(conn, {**of, "log": report.log_id, "up_to": report.event_newest}).scalar_one_or_none()
    if version is not None:
        body: bytes | None = _BODY(conn, {**of, "named": version}).scalar_one_or_none()
        return body
    if _ORDERED(conn, of).all():  # the one that it was made with was written over
        return None
    made_with: bytes = _MADE_WITH(conn, of).scalar_one()
    return made_with


def closing_statement(conn: Connection, start: Report) -> Report | None:
    """What the account of a report stood at when it was closed, by the meter's own statement."""
    raw = conn.execute(_CLOSED, {"of": start.meter, "epoch": start.account_epoch}).scalar_one_or_none()
    return stored_report(raw)


def _switch(conn: Connection, number: int, event: Any) -> Switch | None:
    """The tariff that took over by an event. One that waited charged from its own time on, also where the meter was
    without power then.
    """
    body = _BODY(conn, {"of": number, "named": event.argument}).scalar_one_or_none()
    if body is None:
        return None
    activate_s = decode(body).activate_s
    return Switch(min(activate_s, event.time_s) if activate_s else event.time_s, body)
