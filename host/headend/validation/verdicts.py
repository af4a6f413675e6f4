"""Verdicts on days of meters, as they are kept: each a version, never changed; the newest of a day counts.

`keep` writes what `judging` found, where it differs from the version that stands: findings, estimates, what is held for
review, and which estimates the truth has replaced. The row of `quality_meter` is the lock of all that.
"""

import json
import struct
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, bindparam, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from headend.store.prepared import prepared
from headend.store.schema_quality import quality_day, quality_meter, quality_replaced
from headend.validation import cases
from headend.validation.estimating import METHODS, TOTALS, Estimate
from headend.validation.rules import Finding

_SLOT = struct.Struct(">IHIIBB")  # start_s, length_s, import_wh, export_wh, method, total
_METHODS, _TOTALS = tuple(METHODS), tuple(TOTALS)
NEVER = -1  # no day was judged


class Replaced(NamedTuple):
    """Estimates of a version that measured readings take the place of."""

    version: int
    periods: int
    estimated_import_wh: int
    measured_import_wh: int
    estimated_export_wh: int
    measured_export_wh: int


class Verdict(NamedTuple):
    """On a local day. `base`: the version that it follows, 0 = none."""

    day: int
    base: int
    policy_version: int
    expected: int
    measured: int
    findings: tuple[Finding, ...]
    estimates: tuple[Estimate, ...]
    replaced: Replaced | None


class Cursor(NamedTuple):
    """How far a meter was judged, and what was there of its log."""

    day_to: int
    log_id: int | None
    newest: int
    absent: int
    open: int


class Outcome(NamedTuple):
    """Of judging days of a meter: verdicts that differ from those that stand · `open`: the last of these days has not
    come to its end."""

    meter: int
    verdicts: list[Verdict]
    open: bool


_LOCK = prepared(
    update(quality_meter)
    .where(quality_meter.c.meter == bindparam("of"))
    .values(touched=quality_meter.c.touched + 1)
    .returning(quality_meter.c.meter)
)
_BEGIN = insert(quality_meter)
_MOVE = prepared(
    update(quality_meter)
    .where(quality_meter.c.meter == bindparam("of"))
    .values({name: bindparam(f"new_{name}") for name in Cursor._fields})
)
_ROW = insert(quality_day)
_REPLACED = insert(quality_replaced)
_top = (
    select(quality_day.c.day, func.max(quality_day.c.version).label("version"))
    .where(quality_day.c.meter == bindparam("of"), quality_day.c.day.between(bindparam("first"), bindparam("last")))
    .group_by(quality_day.c.day)
    .subquery()
)
_STANDING = prepared(
    select(quality_day)
    .join(_top, (quality_day.c.day == _top.c.day) & (quality_day.c.version == _top.c.version))
    .where(quality_day.c.meter == bindparam("of"))
    .order_by(quality_day.c.day)
)
_ESTIMATED = prepared(
    select(quality_day.c.day)
    .join(_top, (quality_day.c.day == _top.c.day) & (quality_day.c.version == _top.c.version))
    .where(quality_day.c.meter == bindparam("of"), quality_day.c.estimated > 0)
)
_HISTORY = (
    select(quality_day)
    .where(quality_day.c.meter == bindparam("of"), quality_day.c.day == bindparam("on"))
    .order_by(quality_day.c.version)
)


def lock(conn: Connection, meter: int) -> None:
    """Hold the verdicts of a meter until the transaction ends."""
    if _LOCK(conn, {"of": meter}).all():
        return
    try:
        with conn.begin_nested():
            conn.execute(_BEGIN, {"meter": meter, "day_to": NEVER})
    except IntegrityError:  # somebody else was first
        _LOCK(conn, {"of": meter})


def standing(conn: Connection, meter: int, first: int, last: int) -> dict[int, Any]:
    """Day -> the newest row of `quality_day`, of the days that have one."""
    return {row.day: row for row in _STANDING(conn, {"of": meter, "first": first, "last": last})}


def estimated(conn: Connection, meter: int, first: int, last: int) -> set[int]:
    """Of these days, those in which an estimate stands in for something."""
    return {row.day for row in _ESTIMATED(conn, {"of": meter, "first": first, "last": last})}


def history(conn: Connection, meter: int, day: int) -> list[Row[Any]]:
    """All versions of a day, oldest first."""
    return list(conn.execute(_HISTORY, {"of": meter, "on": day}))


def keep(conn: Connection, now_s: int, outcome: Outcome, cursor: Cursor | None = None) -> bool:
    """Write what differs, and how far the meter was judged; False where somebody judged it meanwhile."""
    lock(conn, outcome.meter)
    if outcome.verdicts:
        days = [one.day for one in outcome.verdicts]
        there = standing(conn, outcome.meter, min(days), max(days))
        if any((there[one.day].version if one.day in there else 0) != one.base for one in outcome.verdicts):
            return False
    for verdict in outcome.verdicts:
        _write(conn, now_s, outcome.meter, verdict)
        cases.follow(conn, now_s, outcome.meter, verdict.day, verdict.findings)
    if cursor is not None:
        move(conn, outcome.meter, cursor)
    return True


def move(conn: Connection, meter: int, cursor: Cursor) -> None:
    """Write how far a meter was judged; it is locked."""
    new = {f"new_{name}": value for name, value in cursor._asdict().items()}
    _MOVE(conn, {"of": meter, **new})


def _write(conn: Connection, now_s: int, meter: int, verdict: Verdict) -> None:
    row = {
        "meter": meter,
        "day": verdict.day,
        "version": verdict.base + 1,
        "policy_version": verdict.policy_version,
        "judged_s": now_s,
        "expected": verdict.expected,
        "measured": verdict.measured,
        "estimated": len(verdict.estimates),
        "findings": write_findings(verdict.findings),
        "estimates": write_estimates(verdict.estimates),
    }
    conn.execute(_ROW, row)
    if verdict.replaced is not None:
        there = {"meter": meter, "day": verdict.day, "at_s": now_s, **verdict.replaced._asdict()}
        conn.execute(_REPLACED, there)


def write_findings(findings: Iterable[Finding]) -> str:
    return json.dumps([list(one) for one in findings], separators=(",", ":"))


def read_findings(text: str) -> tuple[Finding, ...]:
    return tuple(
        Finding(rule, severity, tuple(starts), *figures) for rule, severity, starts, *figures in json.loads(text)
    )


def write_estimates(estimates: Sequence[Estimate]) -> bytes:
    return b"".join([_SLOT.pack(*one[:4], _METHODS.index(one.method), _TOTALS.index(one.total)) for one in estimates])


def read_estimates(packed: bytes) -> tuple[Estimate, ...]:
    return tuple(
        Estimate(start_s, length_s, into, out, _METHODS[method], _TOTALS[total])
        for start_s, length_s, into, out, method, total in _SLOT.iter_unpack(packed)
    )
