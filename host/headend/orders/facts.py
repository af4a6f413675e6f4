"""What is known of meters, with the three facts apart: wanted (our orders), intended and physical (the newest report).

Reads alone, a few statements for a whole page of meters. A stored report was verified when it was taken.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sqlalchemy import Connection, Row, func, select

from headend.access.areas import EVERYWHERE
from headend.fleet.meters import get_meter, list_meters
from headend.orders import lifecycle
from headend.store.schema import meter, meter_state, order, payment
from headend.store.schema_readings import meter_reads
from meterlink import bodies, reasons, reports, states
from meterlink.orders import ASPECT_SUPPLY
from meterlink.reports import Report

# A supply order rules while nothing has ended it without effect.
RULING = (lifecycle.QUEUED, *lifecycle.ON_THE_WAY, lifecycle.CONFIRMED)
UNDER_WAY = (lifecycle.QUEUED, *lifecycle.ON_THE_WAY)

_HELD = reasons.HOLD_PROTECTION

_newer = order.alias("newer")
_OUTRANKS = (
    _newer.c.meter == order.c.meter,
    _newer.c.aspect == order.c.aspect,
    _newer.c.selector == order.c.selector,
    _newer.c.id > order.c.id,
)


@dataclass(frozen=True)
class Facts:
    """One meter: its rows of `meter`, `meter_state`, `meter_reads`, its newest report, the orders that matter now."""

    meter: Row[Any]
    state: Row[Any]
    reads: Row[Any]
    report: Report | None
    supply: tuple[Row[Any], ...]  # the ruling supply order of each reason, by reason
    under_way: tuple[Row[Any], ...]  # orders that have not ended, unknown ones first
    failed: tuple[Row[Any], ...]  # orders that cannot be carried out, with no newer one on their subject
    unpaid_since_s: int | None  # when the oldest payment was taken that no report has shown yet

    @property
    def number(self) -> int:
        return int(self.meter.meter)

    @cached_property
    def wanted_holds(self) -> tuple[Row[Any], ...]:
        """The orders that keep supply off, as far as we want it."""
        return tuple(row for row in self.supply if row.selector != _HELD and _holds(row))

    @cached_property
    def wanted_protection(self) -> bool:
        return any(row.selector == _HELD and _holds(row) for row in self.supply)

    @property
    def wanted_off(self) -> bool:
        if self.wanted_protection:
            return any(row.selector == reasons.HOLD_SAFETY for row in self.wanted_holds)
        return bool(self.wanted_holds)

    @property
    def open(self) -> bool | None:
        """Whether the contact is open; None where no report tells."""
        if self.report is None or self.report.contact == states.CONTACT_UNKNOWN:
            return None
        return self.report.contact == states.CONTACT_OPEN

    @property
    def in_flight_uc(self) -> int:
        """Sold, and not shown on the meter yet."""
        return int(self.state.sold_uc - self.state.on_meter_uc)

    @property
    def report_time_s(self) -> int | None:
        """The meter's own time of its newest report."""
        return None if self.report is None else self.report.time_s


def of_meter(conn: Connection, number: int) -> Facts:
    """Raises UnknownMeter."""
    return _gather(conn, [get_meter(conn, number)])[0]


def of_meters(conn: Connection, numbers: Sequence[int]) -> list[Facts]:
    """Those of these meters that are in the fleet, in rising order."""
    chosen = select(meter).where(meter.c.meter.in_(numbers)).order_by(meter.c.meter)
    return _gather(conn, conn.execute(chosen).all())


def of_fleet(conn: Connection, after: int, limit: int, within: Sequence[str] = (EVERYWHERE,)) -> list[Facts]:
    """Up to `limit` meters with numbers above `after`, in rising order; those in the areas `within` alone."""
    return _gather(conn, list_meters(conn, after=after, limit=limit, within=within))


def stored_report(raw: bytes) -> Report:
    """Read a report again that was verified when it was stored."""
    report = Report.__new__(Report)
    values = struct.unpack(reports.STRUCT, raw[: reports.PAYLOAD_LENGTH])
    for (name, _), value in zip(reports.FIELDS, values, strict=True):
        setattr(report, name, value)
    report.meter = report.meter_high << 32 | report.meter_low
    report.raw = raw
    return report


def _holds(row: Row[Any]) -> bool:
    return bodies.decode_supply(row.body)[0] == bodies.HOLD


def _gather(conn: Connection, meters: Sequence[Row[Any]]) -> list[Facts]:
    numbers = [row.meter for row in meters]
    states_of = {
        row.meter: row for row in conn.execute(select(meter_state).where(meter_state.c.meter.in_(numbers))).all()
    }
    reads_of = {
        row.meter: row for row in conn.execute(select(meter_reads).where(meter_reads.c.meter.in_(numbers))).all()
    }
    newest = (
        select(func.max(order.c.id))
        .where(order.c.meter.in_(numbers), order.c.aspect == ASPECT_SUPPLY, order.c.state.in_(RULING))
        .group_by(order.c.meter, order.c.selector)
    )
    supply = _by_meter(conn.execute(select(order).where(order.c.id.in_(newest)).order_by(order.c.selector)).all())
    under_way = _by_meter(
        conn.execute(
            select(order)
            .where(order.c.meter.in_(numbers), order.c.state.in_(UNDER_WAY))
            .order_by(order.c.state != lifecycle.UNKNOWN, order.c.id)
        ).all()
    )
    failed = _by_meter(
        conn.execute(
            select(order)
            .where(order.c.meter.in_(numbers), order.c.state == lifecycle.FAILED)
            .where(~select(_newer.c.id).where(*_OUTRANKS).exists())
            .order_by(order.c.id)
        ).all()
    )
    oldest = (
        select(payment.c.meter, func.min(payment.c.taken_s))
        .where(payment.c.meter.in_(numbers), payment.c.on_meter_s.is_(None), payment.c.source != 0)
        .group_by(payment.c.meter)
    )
    unpaid: dict[int, int] = dict(conn.execute(oldest).all())
    return [
        Facts(
            meter=row,
            state=states_of[row.meter],
            reads=reads_of[row.meter],
            report=stored_report(raw) if (raw := states_of[row.meter].report) is not None else None,
            supply=tuple(supply.get(row.meter, ())),
            under_way=tuple(under_way.get(row.meter, ())),
            failed=tuple(failed.get(row.meter, ())),
            unpaid_since_s=unpaid.get(row.meter),
        )
        for row in meters
    ]


def _by_meter(rows: Sequence[Row[Any]]) -> dict[int, list[Row[Any]]]:
    found: dict[int, list[Row[Any]]] = {}
    for row in rows:
        found.setdefault(row.meter, []).append(row)
    return found
