"""The daily run: each meter's day is judged once it is over, and again when records of it come late.

A chore: it looks at some meters at a time, by rising number, and goes on where it stopped. What it finds is worked out
without a lock and written where nobody judged the meter meanwhile.
"""

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Connection, Integer, and_, bindparam, case, cast, func, or_, select

from headend.ledger import zone
from headend.store import READS, Store
from headend.store.prepared import prepared
from headend.store.schema import lost_range, meter
from headend.store.schema_quality import quality_meter
from headend.store.schema_readings import meter_reads, reading_island
from headend.validation import judging, verdicts
from headend.validation.judging import REACH_DAYS
from headend.validation.verdicts import NEVER, Cursor, Outcome
from meterlink.batches import KIND_INTERVALS

READ_BY_S = 6 * 3600  # after midnight, the day before is read as far as it can be
LISTED = 100  # meters that are looked up at once
TOGETHER = 10  # … judged and written together: a tenth of a second
LONGEST_S = 0.5  # of one call

_mine, _there = quality_meter.c, meter_reads.c
_islands = (
    select(
        reading_island.c.meter,
        reading_island.c.log_id,
        func.sum(reading_island.c.last - reading_island.c.first + 1).label("records"),
    )
    .group_by(reading_island.c.meter, reading_island.c.log_id)
    .subquery()
)
_lost = (
    select(
        lost_range.c.meter, lost_range.c.log_id, func.sum(lost_range.c.last - lost_range.c.first + 1).label("records")
    )
    .where(lost_range.c.kind == KIND_INTERVALS)
    .group_by(lost_range.c.meter, lost_range.c.log_id)
    .subquery()
)
# Numbers that no stored record has, and those that are lost. Where the figure falls, a record came late.
_ABSENT = (
    _there.interval_newest
    - _there.interval_whole_to
    - cast(func.coalesce(_islands.c.records, 0), BigInteger)
    + cast(func.coalesce(_lost.c.records, 0), BigInteger)
)
_CHANGED = or_(
    _mine.log_id.is_distinct_from(_there.log_id),
    _mine.absent != _ABSENT,
    and_(_mine.open == 1, _mine.newest != _there.interval_newest),
)
_DUE = prepared(
    select(
        _there.meter,
        _mine.day_to,
        _there.log_id,
        _there.interval_newest,
        _ABSENT.label("absent"),
        case((_CHANGED, 1), else_=0).label("changed"),
    )
    .join_from(meter_reads, meter, meter.c.meter == _there.meter)
    .outerjoin(quality_meter, _mine.meter == _there.meter)
    .outerjoin(_islands, and_(_islands.c.meter == _there.meter, _islands.c.log_id == _there.log_id))
    .outerjoin(_lost, and_(_lost.c.meter == _there.meter, _lost.c.log_id == _there.log_id))
    .where(
        _there.meter > bindparam("behind", type_=BigInteger),
        _there.log_id.is_not(None),
        or_(_mine.meter.is_(None), _mine.day_to < bindparam("due", type_=Integer), _CHANGED),
    )
    .order_by(_there.meter)
    .limit(bindparam("most", type_=Integer))
)


class Step(NamedTuple):
    """What is to be written of a meter."""

    outcome: Outcome
    cursor: Cursor


class Follower:
    """Goes over the meters of a store, some at a time."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._behind = 0

    def follow(self, now_s: int) -> bool:
        """Judge what is due of the next meters; whether there is more to do at once."""
        ends = time.monotonic() + LONGEST_S
        while True:
            due, rows = self._store.read(due_after, now_s, self._behind)
            for at in range(0, len(rows), TOGETHER):
                steps = self._store.read(_steps, now_s, rows[at : at + TOGETHER], due)
                self._store.write(_keep, now_s, steps, lane=READS).result()
                self._behind = steps[-1].outcome.meter
                if time.monotonic() > ends:
                    return True
            if len(rows) < LISTED:
                self._behind = 0
                return False


def due_after(conn: Connection, now_s: int, behind: int) -> tuple[int, Sequence[Any]]:
    """The last day that can be judged, and the next meters above `behind` that are due."""
    due = zone.day_of(zone.of(conn), now_s - READ_BY_S) - 1
    return due, _DUE(conn, {"behind": behind, "due": due, "most": LISTED}).all()


def _steps(conn: Connection, now_s: int, rows: Sequence[Any], due: int) -> list[Step]:
    return [_step(conn, now_s, row, due) for row in rows]


def _step(conn: Connection, now_s: int, row: Any, due: int) -> Step:
    judged = NEVER if row.day_to is None else row.day_to
    days: set[int] = set()
    if judged < due:
        days = {due} if judged == NEVER else {max(judged + 1, due - REACH_DAYS), due}
    if row.changed and judged != NEVER:  # it changes what had to be estimated, and nothing else
        days |= verdicts.estimated(conn, row.meter, judged - REACH_DAYS, judged)
    outcome = Outcome(row.meter, [], False)
    if days:
        outcome = judging.judge(conn, now_s, row.meter, min(days), max(days))
    cursor = Cursor(max(judged, due), row.log_id, row.interval_newest, row.absent, int(outcome.open))
    return Step(outcome, cursor)


def _keep(conn: Connection, now_s: int, steps: Sequence[Step]) -> None:
    for step in steps:
        verdicts.keep(conn, now_s, step.outcome, step.cursor)
