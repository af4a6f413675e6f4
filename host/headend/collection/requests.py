"""What somebody wants read now: a report of each meter, or all its records up to now, with how far that is.

A meter of a request is `waiting`, `done`, or `given_up` when the request's time is over. A report has to be taken
after the request was made; records are read when the log is whole up to what such a report says.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import BigInteger, Connection, Integer, Row, bindparam, func, insert, or_, select, update

from headend import audit
from headend.access import areas
from headend.collection.words import READ_NOW
from headend.orders.policy import Entropy, spread
from headend.reads import cursors
from headend.refusals import Refused
from headend.store.prepared import prepared
from headend.store.schema import meter
from headend.store.schema_collection import collect_request, collect_request_meter
from headend.store.schema_readings import meter_reads
from headend.workers import mine
from meterlink.reports import Report

REPORT, RECORDS = "report", "records"
KINDS = (REPORT, RECORDS)
WAITING, DONE, GIVEN_UP = "waiting", "done", "given_up"
STATES = (WAITING, DONE, GIVEN_UP)
RETRY_S = 10  # before a meter is asked again; doubles each time, up to …
RETRY_MAX_S = 300
MAX_METERS = 100_000  # of one request
MAX_S = 7 * 86_400  # a request takes

_of, _about = collect_request_meter.c, collect_request.c
_NOW = bindparam("now", type_=BigInteger)
_ROWS = select(collect_request_meter, _about.kind, _about.until_s, _about.asked_s).join(
    collect_request, _about.id == _of.request
)
_COME = (
    select(_of.request, _of.meter).where(_of.next_s <= _NOW).order_by(_of.next_s).limit(bindparam("n", type_=Integer))
)
_DUE = prepared(_COME), prepared(mine.alone(_COME, _of.meter))
_ROW = prepared(_ROWS.where(_of.request == bindparam("of_request"), _of.meter == bindparam("of_meter")))
_OPEN = prepared(
    _ROWS.where(_of.meter == bindparam("of_meter", type_=BigInteger), _of.next_s.is_not(None)).order_by(_of.request)
)
_EARLIEST = select(_of.next_s).where(_of.next_s.is_not(None)).order_by(_of.next_s).limit(1)
_FIRST = prepared(_EARLIEST), prepared(mine.alone(_EARLIEST, _of.meter))
_MINE = update(collect_request_meter).where(
    _of.request == bindparam("of_request"), _of.meter == bindparam("of_meter", type_=BigInteger)
)
_TAKE = prepared(
    _MINE.where(_of.next_s == bindparam("seen", type_=BigInteger)).values(
        next_s=bindparam("at_s"), tries=_of.tries + 1, state=bindparam("to"), over_s=bindparam("over")
    )
)
_OVER = prepared(_MINE.values(next_s=None, state=DONE, over_s=_NOW))
_TOLD = prepared(_MINE.values(next_s=bindparam("at_s"), log_id=bindparam("log"), seq=bindparam("record")))
_TOO_FAR = update(collect_request_meter).where(_of.next_s > bindparam("far", type_=BigInteger)).values(next_s=_NOW)
_ADD = insert(collect_request_meter)
_WHOLE = (_of.seq.is_not(None)) & (
    select(meter_reads.c.meter)
    .where(
        meter_reads.c.meter == _of.meter,
        or_(meter_reads.c.log_id != _of.log_id, meter_reads.c.interval_whole_to >= _of.seq),
    )
    .exists()
)
_PROGRESS = (
    select(_of.state, func.count(), func.max(_of.over_s))
    .where(_of.request == bindparam("of_request"))
    .group_by(_of.state)
)
_READ_ALREADY = (
    select(func.count())
    .select_from(collect_request_meter)
    .where(_of.request == bindparam("of_request"), _of.state == WAITING, _WHOLE)
)


class UnknownRead(Refused):
    """There is no such request."""

    def __init__(self, number: object) -> None:
        super().__init__("read", number, "the number of a request to read")


def ask(
    conn: Connection, now_s: int, actor: str, kind: str, numbers: Sequence[int], within_s: int, why: str = ""
) -> int:
    """Have these meters read now; returns the number of the request. Raises Refused."""
    wanted = sorted(set(numbers))
    if kind not in KINDS:
        raise Refused("kind", kind, f"one of {', '.join(KINDS)}")
    if not 1 <= len(wanted) <= MAX_METERS:
        raise Refused("meters", len(wanted), f"1..{MAX_METERS} meters")
    if not 60 <= within_s <= MAX_S:
        raise Refused("within_s", within_s, f"60..{MAX_S}")
    found: dict[int, str] = {}
    for at in range(0, len(wanted), 500):
        part = wanted[at : at + 500]
        found |= {
            row.meter: row.area
            for row in conn.execute(select(meter.c.meter, meter.c.area).where(meter.c.meter.in_(part)))
        }
    unknown = next((number for number in wanted if number not in found), None)
    if unknown is not None:
        raise Refused("meters", unknown, "numbers of meters of this fleet")
    row: dict[str, int | str] = {
        "kind": kind,
        "area": _common(list(found.values())),
        "actor": actor[:80],
        "why": why[:200],
    }
    row |= {"asked_s": now_s, "until_s": now_s + within_s, "meters": len(wanted)}
    request = int(conn.execute(insert(collect_request).returning(_about.id), row).scalar_one())
    conn.execute(_ADD, [{"request": request, "meter": one, "state": WAITING, "next_s": now_s} for one in wanted])
    audit.record(
        conn, now_s, actor, READ_NOW, f"read:{request}", {"kind": kind, "meters": len(wanted), "why": why[:200]}
    )
    return request


def _common(found: list[str]) -> str:
    """The narrowest area that all lie in."""
    parts = min(found).split("/")
    while parts and not all(areas.covers("/".join(parts), area) for area in found):
        parts.pop()
    return "/".join(parts)


def get(conn: Connection, request: int) -> tuple[Row[Any], dict[str, int]]:
    """A request and how many of its meters are in which state, as things stand now; raises UnknownRead."""
    row = conn.execute(select(collect_request).where(_about.id == request)).one_or_none()
    if row is None:
        raise UnknownRead(request)
    counts = dict.fromkeys(STATES, 0) | {
        state: count for state, count, _ in conn.execute(_PROGRESS, {"of_request": request})
    }
    whole = conn.execute(_READ_ALREADY, {"of_request": request}).scalar_one() if counts[WAITING] else 0
    return row, counts | {WAITING: counts[WAITING] - whole, DONE: counts[DONE] + whole}


def waiting_for(conn: Connection, request: int, state: str, after: int, limit: int) -> list[int]:
    """Meters of a request in a state, by number."""
    wanted = _of.request == request, _of.state == state, _of.meter > after
    return list(conn.execute(select(_of.meter).where(*wanted).order_by(_of.meter).limit(limit)).scalars())


def due(conn: Connection, now_s: int, limit: int, held: Mapping[str, object]) -> list[Row[Any]]:
    """Meters of requests whose turn has come, in the order of their numbers. `held`: see `workers.mine`."""
    come = _DUE[bool(held)](conn, {"now": now_s, "n": limit, **held})
    by_meter = sorted((number, request) for request, number in come)
    return [_ROW(conn, {"of_request": request, "of_meter": number}).one() for number, request in by_meter]


def is_whole(conn: Connection, row: Row[Any]) -> bool:
    """Whether all that the request wants of this meter is there."""
    if row.seq is None:
        return False
    state = cursors.of(conn, row.meter)
    return bool(state.log_id != row.log_id or state.interval_whole_to >= row.seq)


def take(conn: Connection, now_s: int, entropy: Entropy, row: Row[Any], whole: bool) -> bool:
    """Move a turn on; whether it was still to be had, and is to be used."""
    state = DONE if whole else GIVEN_UP if now_s >= row.until_s else WAITING
    wait_s = min(RETRY_S << min(row.tries, 16), RETRY_MAX_S)
    at_s = min(now_s + spread(wait_s, entropy), row.until_s) if state == WAITING else None
    over_s = None if state == WAITING else now_s
    one = {"of_request": row.request, "of_meter": row.meter, "seen": row.next_s}
    return bool(_TAKE(conn, {**one, "at_s": at_s, "to": state, "over": over_s}).rowcount) and state == WAITING


def reported(conn: Connection, now_s: int, report: Report) -> bool:
    """A report was taken: it answers requests for one, and tells the others up to where to read. Whether any wants
    records still."""
    wants = False
    for row in _OPEN(conn, {"of_meter": report.meter}):
        one = {"of_request": row.request, "of_meter": row.meter}
        if row.kind == REPORT:
            _OVER(conn, {**one, "now": now_s})
            continue
        if row.seq is None:
            told = {"log": report.log_id, "record": report.interval_newest}
            _TOLD(conn, {**one, **told, "at_s": min(now_s + RETRY_S, row.until_s)})
        wants = True
    return wants


def next_s(conn: Connection, held: Mapping[str, object]) -> int | None:
    """When a turn comes at the earliest."""
    first: int | None = _FIRST[bool(held)](conn, held).scalar_one_or_none()
    return first


def clock_went_back(conn: Connection, now_s: int) -> None:
    """The clock says less than before."""
    conn.execute(_TOO_FAR, {"now": now_s, "far": now_s + 2 * RETRY_MAX_S})
