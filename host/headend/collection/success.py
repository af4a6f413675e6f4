"""What was read by when: for each local day, area and carrier, how many records there should be and how many came.

Records are counted from where they arrive (`reading_recent`), hour by hour of UTC once an hour is over, each exactly
once: `read_counted` says how far, in the transaction that adds them up. So taking records costs nothing more, and late
ones join their day whenever they come. A record is in time where the hour in which it came ends by the deadline of its
day (06:00 of the next, by default); where that is no full hour of UTC, the hour before it counts.

A day of a meter is whole when its log is, up to the record that the meter named in its first report of a later day:
that is known by counting, without a look at the records.
"""

import struct
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from sqlalchemy import BigInteger, Connection, Integer, Row, bindparam, case, func, insert, or_, select, update

from headend.collection import days, policy
from headend.fleet.lifecycle import REMOVED, RETIRED
from headend.ledger import zone
from headend.reads import counted
from headend.reads.recent import HOUR_S
from headend.store.prepared import prepared
from headend.store.schema import lost_range, meter
from headend.store.schema_collection import collect_turn, read_counted, read_success
from headend.store.schema_fleet import meter_life
from headend.store.schema_readings import meter_reads, reading_hour, reading_recent
from meterlink.batches import KIND_INTERVALS
from meterlink.records import RECORD_LENGTH

SETTLE_S = 600  # behind the end of an hour, until all that came in it is committed
ROWS = 1000  # of arrivals counted in a transaction: twenty milliseconds where each is a day
PART = 1000  # meters or areas written in a transaction
OLDEST_DAYS = 400  # a record of an earlier day, or of one to come, has a clock that is wrong, and is not counted
DAY_S = 86_400

Key = tuple[int, str, str]  # day, area, carrier

_START = struct.Struct(f">4xI{RECORD_LENGTH - 8}x")  # of an interval record, the second in which its period began

_of, _recent, _hour, _turn = read_success.c, reading_recent.c, reading_hour.c, collect_turn.c
_HOLD = prepared(update(read_counted).where(read_counted.c.one == 1).values(one=1).returning(*read_counted.c))
_BEGIN = prepared(insert(read_counted))
_MOVE = prepared(
    update(read_counted).where(read_counted.c.one == 1).values(hour=bindparam("to_hour"), meter=bindparam("to_meter"))
)
_FIRST_HOUR = prepared(select(func.min(_hour.hour)))
_NEXT_HOUR = prepared(select(func.min(_hour.hour)).where(_hour.hour > bindparam("behind")))
_UNCOUNTED = select(func.min(_hour.hour)).where(_hour.hour >= counted.hour())
_CAME = prepared(
    select(_recent.meter, _recent.records, meter.c.area, meter.c.carrier)
    .join(meter, meter.c.meter == _recent.meter)
    .where(_recent.hour == bindparam("at"), _recent.meter > bindparam("behind"))
    .order_by(_recent.meter)
    .limit(bindparam("n", type_=Integer))
)
_MINE = (_of.day == bindparam("on"), _of.area == bindparam("at"), _of.carrier == bindparam("by"))
_ROW = prepared(insert(read_success))
_THERE = prepared(select(_of.day).where(*_MINE))
_ADD = prepared(
    update(read_success)
    .where(*_MINE)
    .values(
        in_time=_of.in_time + bindparam("more_in_time"),
        late=_of.late + bindparam("more_late"),
        repeated=_of.repeated + bindparam("more_repeated"),
    )
)


class Came(NamedTuple):
    """Records that came, of one day, area and carrier."""

    in_time: int = 0
    late: int = 0
    repeated: int = 0


def hold(conn: Connection) -> Row[Any] | None:
    """Hold the counts until the transaction ends; the row of `read_counted`, None before the first time."""
    row: Row[Any] | None = _HOLD(conn).one_or_none()
    return row


def count_some(conn: Connection, now_s: int, rows: int = ROWS) -> bool:
    """Count some of what came and was not counted, about so many rows; whether more can be counted now."""
    row = hold(conn)
    if row is None:
        first: int | None = _FIRST_HOUR(conn).scalar_one()
        if first is not None:
            _BEGIN(conn, {"one": 1, "hour": first, "meter": 0})
        return first is not None
    if (row.hour + 1) * HOUR_S + SETTLE_S > now_s:
        return False
    came = _CAME(conn, {"at": row.hour, "behind": row.meter, "n": rows}).all()
    if not came:
        following: int | None = _NEXT_HOUR(conn, {"behind": row.hour}).scalar_one()
        at = min(following, now_s // HOUR_S) if following is not None else now_s // HOUR_S
        _MOVE(conn, {"to_hour": max(at, row.hour + 1), "to_meter": 0})
        return True
    whole = came
    if len(came) == rows:  # the rest of the last meter comes next time
        whole = [one for one in came if one.meter != came[-1].meter] or _of_one(conn, row.hour, came[-1].meter)
    add(conn, _counted(conn, now_s, row.hour, whole))
    _MOVE(conn, {"to_hour": row.hour, "to_meter": whole[-1].meter})
    return True


def behind_s(conn: Connection, now_s: int) -> int:
    """How long the first hour of arrivals that is not counted whole could have been, 0 where there is none."""
    hour: int | None = conn.execute(_UNCOUNTED).scalar_one()
    return 0 if hour is None else max(0, now_s - (hour + 1) * HOUR_S - SETTLE_S)


def _of_one(conn: Connection, hour: int, number: int) -> list[Row[Any]]:
    found = _CAME(conn, {"at": hour, "behind": number - 1, "n": 1_000_000})
    return [one for one in found if one.meter == number]


def _counted(conn: Connection, now_s: int, hour: int, came: Iterable[Row[Any]]) -> dict[Key, Came]:
    where, minute = zone.of(conn), policy.standing(conn).deadline_minute
    calendar = _Calendar(where, minute, now_s)
    in_time: Counter[Key] = Counter()
    late: Counter[Key] = Counter()
    for row in came:
        for (start_s,) in _START.iter_unpack(row.records):
            day, deadline_hour = calendar.of(start_s)
            if day is not None:
                (in_time if hour < deadline_hour else late)[day, row.area, row.carrier] += 1
    return {key: Came(in_time[key], late[key]) for key in in_time.keys() | late.keys()}


class _Calendar:
    """Local days of seconds, and the hour of UTC by which a day is to be read; remembers the day asked for last."""

    def __init__(self, where: ZoneInfo, deadline_minute: int, now_s: int) -> None:
        self._where = where
        self._minute = deadline_minute
        self._from_s, self._to_s = now_s - OLDEST_DAYS * DAY_S, now_s + DAY_S
        self._last = (0, 0, 0, 0)  # first second, end, day, hour of the deadline

    def of(self, start_s: int) -> tuple[int | None, int]:
        """(day, hour); (None, 0) for a second that cannot be right."""
        first_s, end_s, day, hour = self._last
        if not first_s <= start_s < end_s:
            if not self._from_s <= start_s < self._to_s:
                return None, 0
            day = zone.day_of(self._where, start_s)
            hour = days.deadline_s(self._where, day, self._minute) // HOUR_S
            self._last = zone.start_s(self._where, day), zone.start_s(self._where, day + 1), day, hour
        return day, hour


def add(conn: Connection, counts: dict[Key, Came]) -> None:
    """Add up what came. The caller holds the counts."""
    for (day, area, carrier), came in sorted(counts.items()):
        mine = {"on": day, "at": area, "by": carrier}
        more = {f"more_{name}": value for name, value in came._asdict().items()}
        if not _ADD(conn, {**mine, **more}).rowcount:
            _ROW(conn, {"day": day, "area": area, "carrier": carrier, **came._asdict()})


# --- what there should be, and what is whole --------------------------------------------------------------------------

_BEGIN_S, _END_S = bindparam("start_s", type_=BigInteger), bindparam("end_s", type_=BigInteger)
_SINCE = case((meter.c.added_s > _BEGIN_S, meter.c.added_s), else_=_BEGIN_S)
_IN_USE = or_(meter_life.c.state.is_(None), meter_life.c.state.not_in((REMOVED, RETIRED)))
_WHOLE = func.sum(case((_turn.whole_day >= bindparam("on", type_=Integer), 1), else_=0))
_EXPECTED = (
    select(
        meter.c.area,
        meter.c.carrier,
        func.count().label("meters"),
        func.sum((_END_S - _SINCE) // (60 * meter.c.interval_minutes)).label("expected"),
        _WHOLE.label("whole"),
    )
    .select_from(
        meter.outerjoin(meter_life, meter_life.c.meter == meter.c.meter).outerjoin(
            collect_turn, _turn.meter == meter.c.meter
        )
    )
    .where(meter.c.added_s < _END_S, _IN_USE)
    .group_by(meter.c.area, meter.c.carrier)
)
_LOST = (
    select(meter.c.area, meter.c.carrier, func.sum(lost_range.c.last - lost_range.c.first + 1).label("lost"))
    .join(meter, meter.c.meter == lost_range.c.meter)
    .where(lost_range.c.kind == KIND_INTERVALS, lost_range.c.declared_s >= _BEGIN_S, lost_range.c.declared_s < _END_S)
    .group_by(meter.c.area, meter.c.carrier)
)
_OF_DAY = select(read_success).where(_of.day == bindparam("on", type_=Integer))
_PUT = prepared(
    update(read_success)
    .where(*_MINE)
    .values({name: bindparam(f"to_{name}") for name in ("meters", "expected", "lost", "whole", "whole_in_time")})
)
_BECAME_WHOLE = (
    select(_turn.meter, _turn.mark_day)
    .join(meter_reads, meter_reads.c.meter == _turn.meter)
    .where(
        _turn.whole_day < _turn.mark_day,
        meter_reads.c.log_id == _turn.mark_log,
        meter_reads.c.interval_whole_to >= _turn.mark_seq,
    )
    .limit(bindparam("n", type_=Integer))
)
_SET_WHOLE = prepared(
    update(collect_turn)
    .where(_turn.meter == bindparam("of"), _turn.whole_day < bindparam("up_to"))
    .values(whole_day=bindparam("up_to"))
)


def became_whole(conn: Connection) -> list[tuple[int, int]]:
    """(meter, day) of some meters whose log has become whole up to that day's end."""
    return [tuple(row) for row in conn.execute(_BECAME_WHOLE, {"n": PART})]


def set_whole(conn: Connection, found: Sequence[tuple[int, int]]) -> None:
    """Write that down."""
    for number, day in sorted(found):
        _SET_WHOLE(conn, {"of": number, "up_to": day})


def look(conn: Connection, now_s: int, day: int) -> list[dict[str, Any]]:
    """What of a day's rows has changed in what there should be, what is lost and what is whole, ready for `put`."""
    where = zone.of(conn)
    span = {"start_s": zone.start_s(where, day), "end_s": zone.start_s(where, day + 1)}
    in_time = now_s < days.deadline_s(where, day, policy.standing(conn).deadline_minute)
    before = {(row.area, row.carrier): row for row in conn.execute(_OF_DAY, {"on": day})}
    lost = {(row.area, row.carrier): int(row.lost) for row in conn.execute(_LOST, span)}
    now = {(row.area, row.carrier): row for row in conn.execute(_EXPECTED, {**span, "on": day})}
    changed = []
    for key in sorted(before.keys() | lost.keys() | now.keys()):
        old, new = before.get(key), now.get(key)
        values = {
            "meters": new.meters if new is not None else 0,
            "expected": int(new.expected) if new is not None else 0,
            "whole": int(new.whole) if new is not None else 0,
            "lost": lost.get(key, 0),
        }
        known = old.whole_in_time if old is not None else None
        values["whole_in_time"] = values["whole"] if in_time or known is None else known
        if old is None or any(getattr(old, name) != value for name, value in values.items()):
            changed.append({"day": day, "area": key[0], "carrier": key[1], **values})
    return changed


def put(conn: Connection, changed: Sequence[dict[str, Any]]) -> None:
    """Write rows of `look` down. The caller holds the counts."""
    for row in changed:
        mine = {"on": row["day"], "at": row["area"], "by": row["carrier"]}
        values = {f"to_{name}": value for name, value in row.items() if name not in ("day", "area", "carrier")}
        if not _PUT(conn, {**mine, **values}).rowcount:
            _ROW(conn, row)
