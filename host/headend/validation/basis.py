"""What estimates of a meter rest on: its own weeks before, and in their place other meters of the same area."""

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Connection, Integer, bindparam, select

from headend.reads import series
from headend.store.prepared import prepared
from headend.store.schema import meter
from headend.validation.day import Day, Gap
from headend.validation.estimating import SHORT_PERIODS, Basis

NEIGHBOURS = 8  # meters of the area that are asked
NEAR = 2  # periods on either side that tell what a period usually has

_PEERS = prepared(
    select(meter.c.meter)
    .where(meter.c.area == bindparam("within"), meter.c.meter != bindparam("of"))
    .order_by(meter.c.meter)
    .limit(bindparam("most", type_=Integer))
)


def basis_of(conn: Connection, number: int, area: str, days: Sequence[Day], gaps: Sequence[Gap]) -> Basis:
    """For these gaps of a meter. Other meters are asked for the gaps that its own history does not cover."""
    own = basis_of_days(days)
    wanted = [slot for gap in gaps if len(gap.slots) > SHORT_PERIODS and not gap.made_none for slot in gap.slots]
    lacking = [start for start, _ in wanted if start not in own.usual]
    if not lacking or not area:
        return own
    into, out = _of_area(conn, number, area, lacking, days[0].period_s)
    return replace(own, area=into, area_out=out)


def basis_of_days(days: Sequence[Day]) -> Basis:
    """What a meter's own history gives."""
    usual, usual_out = _usual(days)
    return Basis(usual, usual_out, {}, {}, _level(days, usual))


def _usual(days: Sequence[Day]) -> tuple[dict[int, int], dict[int, int]]:
    """Start of a period -> mean of the weeks before over it and its neighbours, Wh: import, export.

    Four values are few for one period: with two neighbours on either side estimates come closer to a measured household
    (docs/validation.md).
    """
    into: dict[int, list[int]] = {}
    out: dict[int, list[int]] = {}
    for day in days:
        for past in day.history:
            for one in past.readings:
                start_s = day.start_s + one.start_s - past.start_s
                if day.within(start_s):
                    into.setdefault(start_s, []).append(one.import_wh)
                    out.setdefault(start_s, []).append(one.export_wh)
    period_s = days[0].period_s
    return _means(_smoothed(into, period_s)), _means(_smoothed(out, period_s))


def _smoothed(found: dict[int, list[int]], period_s: int) -> dict[int, list[int]]:
    near = range(-NEAR * period_s, NEAR * period_s + 1, period_s)
    return {start: [wh for away in near for wh in found.get(start + away, ())] for start in found}


def _level(days: Sequence[Day], usual: dict[int, int]) -> tuple[int, int]:
    """(measured, usual) Wh of the periods that have both."""
    both = [(one.import_wh, usual[one.start_s]) for day in days for one in day.readings if one.start_s in usual]
    return (sum(wh for wh, _ in both), sum(wh for _, wh in both)) if both else (1, 1)


def _of_area(
    conn: Connection, number: int, area: str, starts: Sequence[int], period_s: int
) -> tuple[dict[int, int], dict[int, int]]:
    """Start of a period -> mean of what other meters of the area had in it, Wh: import, export."""
    into: dict[int, list[int]] = {}
    out: dict[int, list[int]] = {}
    asked = set(starts)
    for row in _PEERS(conn, {"within": area, "of": number, "most": NEIGHBOURS}):
        for one in series.between(conn, row.meter, min(starts), max(starts) + period_s):
            if one.start_s in asked and one.minutes * 60 == period_s:
                into.setdefault(one.start_s, []).append(one.import_wh)
                out.setdefault(one.start_s, []).append(one.export_wh)
    return _means(into), _means(out)


def _means(found: dict[int, list[int]]) -> dict[int, int]:
    return {start: sum(some) // len(some) for start, some in found.items()}
