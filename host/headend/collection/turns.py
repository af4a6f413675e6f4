"""Who is asked next, and for what: the turns of all meters, in `collect_turn` and `meter_state.next_ask_s`.

Lanes, the most urgent first: orders (`orders.outbox`), what somebody waits for (`requests`), reports, the daily look,
missing records. A turn is taken by moving it on, in the transaction that writes the question down: of two engines one
takes it. A question without an answer is put again within minutes, ever more slowly; whatever is heard of the meter
makes the waits short again. An answer leads to the next question at once, so that a log is filled at the line's speed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from sqlalchemy import BigInteger, Column, Connection, Integer, Row, bindparam, select, update

from headend.collection import days, pauses, policy, requests
from headend.collection.enrolment import enrol
from headend.collection.policy import DAILY, PUSH, Policy, Rule
from headend.epochs import readback
from headend.fleet.lifecycle import RETIRED
from headend.ledger import zone
from headend.orders.policy import Entropy, spread
from headend.reads import cursors, logs
from headend.store import lock_meter
from headend.store.next_report import ask_by
from headend.store.prepared import Prepared, prepared
from headend.store.schema import meter, meter_state
from headend.store.schema_collection import collect_turn
from headend.store.schema_fleet import meter_life
from headend.workers import mine
from meterlink.batches import KIND_EVENTS, KIND_INTERVALS, KIND_REPORT, MAX_RECORDS
from meterlink.reports import Report

ON_DEMAND, REPORT, LOOK, BACKFILL = range(1, 5)

RETRY_S = 30  # before a report is asked for again; doubles each time, up to the pace of the rule
FILL_MAX_S = 3600  # the longest between two questions for missing records
SPREAD_S = 600  # over which meters come back after a pause
CLOCK_S = 3600  # a meter's clock that is further off says nothing about days
DAY_S = 86_400
KINDS = (KIND_INTERVALS, KIND_EVENTS)
MQTT = "mqtt"


@dataclass(frozen=True, slots=True)
class Due:
    """A question to be put. first, count: of records · lane: how urgent it is."""

    meter: int
    kind: int  # meterlink.batches.KIND_*
    first: int
    count: int
    lane: int


class _Round(NamedTuple):
    """What all decisions of one call share."""

    now_s: int
    entropy: Entropy
    rules: Policy
    pauses: list[pauses.Standing]
    zone: ZoneInfo
    held: dict[str, object]  # by what a worker's meters are known; empty: all are


_turn, _state = collect_turn.c, meter_state.c
_NOW = bindparam("now", type_=BigInteger)
_AT_MOST = bindparam("n", type_=Integer)
_OF = bindparam("of", type_=BigInteger)
_WITH_ALL = (
    collect_turn.join(meter, meter.c.meter == _turn.meter)
    .join(meter_state, _state.meter == _turn.meter)
    .outerjoin(meter_life, meter_life.c.meter == _turn.meter)
)


_ONE = prepared(
    select(
        collect_turn,
        meter.c.area,
        meter.c.carrier,
        meter_life.c.type.label("meter_type"),
        meter_life.c.state.label("life"),
        _state.online,
        _state.report_taken_s,
        _state.next_ask_s,
    )
    .select_from(_WITH_ALL)
    .where(_turn.meter == _OF)
)


_Come = tuple[Prepared, Prepared]


def _first_of(number: Column[Any], at_s: Column[Any]) -> _Come:
    """Whose turn has come, longest waiting first: of all meters, and of those that one worker holds."""
    every = select(number).where(at_s <= _NOW).order_by(at_s).limit(_AT_MOST)  # an index gives them in this order
    return prepared(every), prepared(mine.alone(every, number))


_REPORTS = _first_of(_state.meter, _state.next_ask_s)
_LOOKS = _first_of(_turn.meter, _turn.daily_s)
_FILLS = _first_of(_turn.meter, _turn.fill_s)
_ASK_AT = prepared(update(meter_state).where(_state.meter == _OF).values(next_ask_s=bindparam("at_s")))
_MINE = update(collect_turn).where(_turn.meter == _OF)
_TRIED = prepared(_MINE.values(report_tries=bindparam("tries")))
_TAKE_LOOK = prepared(
    _MINE.where(_turn.daily_s == bindparam("seen", type_=BigInteger)).values(
        daily_s=bindparam("at_s"), daily_tries=bindparam("tries")
    )
)
_TAKE_FILL = prepared(
    _MINE.where(_turn.fill_s == bindparam("seen", type_=BigInteger)).values(
        fill_s=bindparam("at_s"), fill_tries=bindparam("tries"), filled_s=bindparam("asked_s")
    )
)
_CHANGE = prepared(
    _MINE.values({name: bindparam(name) for name in collect_turn.c.keys() if name not in ("meter", "whole_day")})
)
_EARLIEST = tuple(
    (prepared(one), prepared(mine.alone(one, number)))
    for one, number in (
        (select(_state.next_ask_s).order_by(_state.next_ask_s).limit(1), _state.meter),
        (select(_turn.daily_s).order_by(_turn.daily_s).limit(1), _turn.meter),
        (select(_turn.fill_s).where(_turn.fill_s.is_not(None)).order_by(_turn.fill_s).limit(1), _turn.meter),
    )
)
_FAR = bindparam("far", type_=BigInteger)
_ASK_TOO_FAR = update(meter_state).where(_state.next_ask_s > _FAR).values(next_ask_s=_NOW)
_FILL_TOO_FAR = update(collect_turn).where(_turn.fill_s > _FAR).values(fill_s=_NOW)
_LOOK_TOO_FAR = update(collect_turn).where(_turn.daily_s > _FAR).values(daily_s=_NOW)


def next_s(conn: Connection, holder: str = "") -> int | None:
    """When a turn of this table comes at the earliest (of the meters of a worker); None where there is none."""
    held = mine.values(conn, holder) if holder else {}
    wishes = [one[bool(holder)](conn, held).scalar_one_or_none() for one in _EARLIEST]
    return min((at_s for at_s in (*wishes, requests.next_s(conn, held)) if at_s is not None), default=None)


def clock_went_back(conn: Connection, now_s: int, base: Rule) -> None:
    """The clock says less than before: nothing waits for what is far ahead."""
    longest_s = max(rule.report_s for rule in policy.standing(conn, base).rules)
    for statement, far_s in (
        (_ASK_TOO_FAR, 2 * longest_s),
        (_FILL_TOO_FAR, 2 * FILL_MAX_S),
        (_LOOK_TOO_FAR, 2 * DAY_S),
    ):
        conn.execute(statement, {"now": now_s, "far": now_s + far_s})
    requests.clock_went_back(conn, now_s)


# --- what is due ------------------------------------------------------------------------------------------------------


def due(conn: Connection, now_s: int, entropy: Entropy, base: Rule, limit: int, holder: str = "") -> list[Due]:
    """Take at most `limit` turns that have come, the most urgent lanes first, and return what to ask.

    `base`: the rule where nobody has set any · `holder`: of meters that this worker holds alone. Each question is to be
    written down in the same transaction.
    """
    held = mine.values(conn, holder) if holder else {}
    now = _round(conn, now_s, entropy, base, pauses.standing(conn, now_s), held)
    found: list[Due] = []
    for take in (_requested, _reports, _looks, _fills):
        if len(found) < limit:
            found += take(conn, now, limit - len(found))
    return found


def _requested(conn: Connection, now: _Round, limit: int) -> list[Due]:
    found = []
    for row in requests.due(conn, now.now_s, limit, now.held):
        whole = requests.is_whole(conn, row)
        if requests.take(conn, now.now_s, now.entropy, row, whole) and not whole:
            found += _records(conn, row.meter, ON_DEMAND) if row.seq is not None else [_report(row.meter, ON_DEMAND)]
    return found


def _reports(conn: Connection, now: _Round, limit: int) -> list[Due]:
    found = []
    for seen in _whose(conn, now, _REPORTS, limit):
        if lock_meter(conn, seen.meter).next_ask_s > now.now_s:
            continue  # another worker was quicker
        later_s = _held_until_s(now, seen)
        if later_s is not None:
            _ASK_AT(conn, {"of": seen.meter, "at_s": later_s})
            continue
        pace_s = _report_s(conn, now, seen)
        wait_s = pace_s if _away(seen) else min(RETRY_S << min(seen.report_tries, 16), pace_s)
        _ASK_AT(conn, {"of": seen.meter, "at_s": now.now_s + spread(wait_s, now.entropy)})
        _TRIED(conn, {"of": seen.meter, "tries": seen.report_tries + 1})
        found.append(_report(seen.meter, REPORT))
    return found


def _looks(conn: Connection, now: _Round, limit: int) -> list[Due]:
    """The daily look: whoever has said nothing since the day began is asked for a report, until one comes."""
    found = []
    today_s = zone.start_s(now.zone, zone.day_of(now.zone, now.now_s))
    for seen in _whose(conn, now, _LOOKS, limit):
        rule, later_s = _rule(now, seen), _held_until_s(now, seen)
        tries = 0
        if later_s is None and rule.profile != DAILY and (seen.report_taken_s or 0) >= today_s:
            later_s = days.next_moment_s(now.zone, now.now_s, seen.meter, rule)
        elif later_s is None and _away(seen):  # it stays open: what it says first when it comes is taken for the answer
            later_s, tries = days.next_moment_s(now.zone, now.now_s, seen.meter, rule), 1
        at_s = later_s
        if at_s is None:
            wait_s = min(RETRY_S << min(seen.daily_tries, 16), FILL_MAX_S)
            at_s, tries = now.now_s + spread(wait_s, now.entropy), seen.daily_tries + 1
        change = {"of": seen.meter, "seen": seen.daily_s, "at_s": at_s, "tries": tries}
        if _TAKE_LOOK(conn, change).rowcount and later_s is None:
            found.append(_report(seen.meter, LOOK))
    return found


def _fills(conn: Connection, now: _Round, limit: int) -> list[Due]:
    found: list[Due] = []
    for seen in _whose(conn, now, _FILLS, limit):
        if len(found) >= limit:
            break
        later_s = _held_until_s(now, seen)
        if later_s is None and _away(seen):
            later_s = now.now_s + spread(FILL_MAX_S, now.entropy)
        wanted = _records(conn, seen.meter, BACKFILL) if later_s is None else []
        tries, asked_s = seen.fill_tries, seen.filled_s
        if wanted:
            wait_s = min(_rule(now, seen).gap_s << min(tries, 16), FILL_MAX_S)
            later_s, tries, asked_s = now.now_s + spread(wait_s, now.entropy), tries + 1, now.now_s
        change = {"of": seen.meter, "seen": seen.fill_s, "at_s": later_s, "tries": tries, "asked_s": asked_s}
        if _TAKE_FILL(conn, change).rowcount:
            found += wanted
    return found


# --- what comes -------------------------------------------------------------------------------------------------------


def reported(
    conn: Connection, now_s: int, entropy: Entropy, base: Rule, report: Report, settles_s: int | None = None
) -> list[Due]:
    """A genuine report, the newest of its meter, was taken: what to ask for at once, and when to ask again: by its
    pace, or in `settles_s` seconds, where supply is about to change (`orders.confirm.settles_s`).

    The caller holds the meter's row, and `reads.logs.seen` has taken from the report what the meter holds.
    """
    seen = _ONE(conn, {"of": report.meter}).one_or_none()
    if seen is None:
        enrol(conn, now_s, report.meter)
        seen = _ONE(conn, {"of": report.meter}).one()
    now = _round(conn, now_s, entropy, base)
    rule = _rule(now, seen)
    change: dict[str, int | None] = {}
    if seen.report_tries:
        change["report_tries"] = 0
        _ASK_AT(conn, {"of": report.meter, "at_s": now_s + spread(_report_s(conn, now, seen), entropy)})
    if settles_s is not None:
        ask_by(conn, report.meter, now_s + settles_s)
    if seen.daily_tries:
        change |= {"daily_tries": 0, "daily_s": days.next_moment_s(now.zone, now_s, report.meter, rule)}
    change |= _mark(now, seen, report)
    asked_for = requests.reported(conn, now_s, report)
    wanted: list[Due] = []
    kinds: tuple[int, ...] = KINDS
    if rule.profile == DAILY and not (seen.daily_tries or seen.fill_s is not None or asked_for):
        kinds = (KIND_EVENTS,)  # intervals wait for the daily look
    if now_s - seen.filled_s >= rule.gap_s:
        wanted = _records(conn, report.meter, ON_DEMAND if asked_for else BACKFILL, kinds)
    if wanted:
        change |= {"fill_tries": 1, "fill_s": now_s + spread(rule.gap_s, entropy), "filled_s": now_s}
        if rule.profile == PUSH and not asked_for:  # the meter is about to bring them
            change |= {"fill_tries": 0, "filled_s": seen.filled_s}
            wanted = []
    _change(conn, seen, change)
    return wanted


def _mark(now: _Round, seen: Row[Any], report: Report) -> dict[str, int | None]:
    """By which record the days before the report's are whole."""
    if abs(report.time_s - now.now_s) > CLOCK_S:
        return {}
    day = zone.day_of(now.zone, report.time_s) - 1
    if (seen.mark_day, seen.mark_log) == (day, report.log_id):
        return {}
    return {"mark_day": day, "mark_log": report.log_id, "mark_seq": report.interval_newest}


def _change(conn: Connection, seen: Row[Any], change: dict[str, int | None]) -> None:
    before = {name: getattr(seen, name) for name in collect_turn.c.keys() if name not in ("meter", "whole_day")}
    if any(before[name] != value for name, value in change.items()):
        _CHANGE(conn, {"of": seen.meter, **before, **change})


# --- shared -----------------------------------------------------------------------------------------------------------


def _round(
    conn: Connection,
    now_s: int,
    entropy: Entropy,
    base: Rule,
    paused: list[pauses.Standing] | None = None,
    held: dict[str, object] | None = None,
) -> _Round:
    return _Round(now_s, entropy, policy.standing(conn, base), paused or [], zone.of(conn), held or {})


def _whose(conn: Connection, now: _Round, come: _Come, limit: int) -> Iterator[Row[Any]]:
    """Meters whose turn has come, by number, so that workers on one database cannot wait for each other in a circle."""
    values = {"now": now.now_s, "n": limit, **now.held}
    for number in sorted(row[0] for row in come[bool(now.held)](conn, values)):
        row = _ONE(conn, {"of": number}).one_or_none()
        if row is None:
            enrol(conn, now.now_s, number)
            row = _ONE(conn, {"of": number}).one()
        yield row


def _rule(now: _Round, seen: Row[Any]) -> Rule:
    return now.rules.of(seen.area, seen.carrier, seen.meter_type or "")


def _report_s(conn: Connection, now: _Round, seen: Row[Any]) -> int:
    """The pace of reports; a meter whose money waits to be read back has no patience."""
    rule = _rule(now, seen)
    return rule.gap_s if readback.holds_money(conn, seen.meter) else rule.report_s


def _away(seen: Row[Any]) -> bool:
    """Whether it said that it is not there; when it comes, it says so."""
    return bool(seen.carrier == MQTT and not seen.online and seen.report_taken_s is not None)


def _held_until_s(now: _Round, seen: Row[Any]) -> int | None:
    """Until when the meter is not asked at all; None: it is."""
    if seen.life == RETIRED:
        return now.now_s + DAY_S
    until_s = pauses.over_s(now.pauses, seen.area)
    return None if until_s is None else until_s + days.share(seen.meter, SPREAD_S)


def _report(number: int, lane: int) -> Due:
    return Due(number, KIND_REPORT, 0, 0, lane)


def _records(conn: Connection, number: int, lane: int, kinds: tuple[int, ...] = KINDS) -> list[Due]:
    """What each log lacks, from the record behind its cursor on: as many as fit, those that are there included."""
    state = cursors.of(conn, number)
    found = []
    for kind in kinds:
        whole_to, newest = logs.reach(state, logs.LOGS[kind])
        if whole_to < newest:
            found.append(Due(number, kind, whole_to + 1, min(MAX_RECORDS, newest - whole_to), lane))
    return found
