"""Visits: nothing authenticated came from a meter for longer than the policy says, so somebody goes and looks.

One visit stands for a meter at a time. It ends by itself when the meter speaks, or leaves its place; or a person closes
it with a note. A meter that is still not heard then gets another one after as long again.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import BigInteger, Connection, Integer, Row, and_, bindparam, func, insert, or_, select, update

from headend import audit
from headend.access import areas
from headend.access.areas import EVERYWHERE
from headend.fleet.lifecycle import REMOVED, RETIRED
from headend.reads import recent
from headend.refusals import Refused
from headend.store.prepared import prepared
from headend.store.schema import meter, meter_state
from headend.store.schema_fleet import meter_life, placement
from headend.store.schema_quality import visit
from headend.store.schema_readings import reading_recent
from headend.validation import policy, words
from headend.validation.words import AWAY, BY_PERSON, SPOKE

HOUR_S = 3600
MAX_NOTE = 200
BATCH = 100

areas.OF["visit"] = (
    select(meter.c.area).join(visit, visit.c.meter == meter.c.meter).where(visit.c.id == bindparam("id"))
)

_HEARD = func.coalesce(meter_state.c.report_taken_s, meter.c.added_s)
_closed = (
    select(visit.c.meter, func.max(visit.c.closed_s).label("closed_s"))
    .where(visit.c.standing.is_(None))
    .group_by(visit.c.meter)
    .subquery()
)
_SILENT = prepared(
    select(
        meter.c.meter,
        meter.c.carrier,
        meter.c.area,
        meter.c.added_s,
        meter_life.c.type,
        meter_state.c.report_taken_s,
        _closed.c.closed_s,
    )
    .join(meter_state, meter_state.c.meter == meter.c.meter)
    .outerjoin(meter_life, meter_life.c.meter == meter.c.meter)
    .outerjoin(visit, and_(visit.c.meter == meter.c.meter, visit.c.standing == 1))
    .outerjoin(_closed, _closed.c.meter == meter.c.meter)
    .where(
        meter.c.meter > bindparam("behind", type_=BigInteger),
        _HEARD < bindparam("before", type_=BigInteger),
        visit.c.id.is_(None),
        or_(meter_life.c.state.is_(None), meter_life.c.state.not_in((REMOVED, RETIRED))),
    )
    .order_by(meter.c.meter)
    .limit(bindparam("most", type_=Integer))
)
_ARRIVED = prepared(select(func.max(reading_recent.c.hour)).where(recent.of(bindparam("of"))))
_OPEN = prepared(insert(visit))
_STANDING = prepared(
    select(visit.c.id, visit.c.meter, visit.c.opened_s, meter_state.c.report_taken_s, meter_life.c.state)
    .join(meter_state, meter_state.c.meter == visit.c.meter)
    .outerjoin(meter_life, meter_life.c.meter == visit.c.meter)
    .where(visit.c.standing == 1, visit.c.id > bindparam("behind", type_=BigInteger))
    .order_by(visit.c.id)
    .limit(bindparam("most", type_=Integer))
)
_CLOSE = update(visit).where(visit.c.id == bindparam("of"), visit.c.standing == 1)
_ONE = select(visit).where(visit.c.id == bindparam("of"))
_LISTED = (
    select(
        visit,
        meter.c.area,
        meter.c.label,
        meter.c.address,
        meter_state.c.report_taken_s,
        meter_state.c.report_time_s,
        meter_state.c.balance_uc,
        placement.c.supply_point,
    )
    .join(meter, meter.c.meter == visit.c.meter)
    .join(meter_state, meter_state.c.meter == visit.c.meter)
    .outerjoin(placement, and_(placement.c.meter == visit.c.meter, placement.c.until_s.is_(None)))
    .where(visit.c.id > bindparam("after", type_=BigInteger))
    .order_by(visit.c.id)
    .limit(bindparam("most", type_=Integer))
)


class UnknownVisit(Refused):
    """No visit has this id."""

    def __init__(self, found: object) -> None:
        super().__init__("visit", found, "the id of a visit")


def heard_s(conn: Connection, number: int, report_taken_s: int | None) -> int | None:
    """When something authenticated last came from a meter: a report, or records (to the hour); None: never."""
    hour = _ARRIVED(conn, {"of": number}).scalar_one()
    arrived_s = None if hour is None else int(hour) * HOUR_S
    return max((at for at in (report_taken_s, arrived_s) if at is not None), default=None)


def open_some(conn: Connection, now_s: int, behind: int = 0) -> tuple[int, int]:
    """Open visits to silent meters above `behind`; (how many, where to go on: 0 at the end)."""
    rules = policy.get(conn)
    before = {"behind": behind, "before": now_s - rules.least_silent_s, "most": BATCH}
    rows: Sequence[Any] = _SILENT(conn, before).all()
    opened = 0
    for row in rows:
        silent_s = rules.of(row.area, row.type or "").silent_s.get(row.carrier, policy.SILENT_S)
        heard = heard_s(conn, row.meter, row.report_taken_s)
        since_s = max(row.added_s if heard is None else heard, row.closed_s or 0)
        if now_s - since_s > silent_s:
            made = {"meter": row.meter, "carrier": row.carrier, "heard_s": heard, "opened_s": now_s, "standing": 1}
            _OPEN(conn, made)
            opened += 1
    return opened, rows[-1].meter if len(rows) == BATCH else 0


def close_some(conn: Connection, now_s: int, behind: int = 0) -> tuple[int, int]:
    """Close visits to meters that spoke since, or are away; (how many, where to go on: 0 at the end)."""
    rows: Sequence[Any] = _STANDING(conn, {"behind": behind, "most": BATCH}).all()
    closed = 0
    for row in rows:
        how = AWAY if row.state in (REMOVED, RETIRED) else ""
        heard = None if how else heard_s(conn, row.meter, row.report_taken_s)
        if heard is not None and heard > row.opened_s:
            how = SPOKE
        if how:
            conn.execute(_CLOSE, {"of": row.id, "standing": None, "closed_s": now_s, "how": how, "actor": "system"})
            closed += 1
    return closed, rows[-1].id if len(rows) == BATCH else 0


def close(conn: Connection, now_s: int, number: int, actor: str, note: str) -> Row[Any]:
    """A person closes a visit, with what was found; returns its row. Raises UnknownVisit, Refused."""
    row = get(conn, number)
    if not 1 <= len(note) <= MAX_NOTE or not note.isprintable():
        raise Refused("note", note, f"1..{MAX_NOTE} printable characters")
    ended = {"standing": None, "closed_s": now_s, "how": BY_PERSON, "actor": actor[:80], "note": note}
    if not conn.execute(_CLOSE, {"of": number, **ended}).rowcount:
        raise Refused("visit", number, f"one that is open; this one ended: {row.how}")
    audit.record(conn, now_s, actor, words.VISIT_CLOSED, f"meter:{row.meter}", {"visit": number, "note": note})
    return get(conn, number)


def get(conn: Connection, number: int) -> Row[Any]:
    """The `visit` row; raises UnknownVisit."""
    row: Row[Any] | None = conn.execute(_ONE, {"of": number}).one_or_none()
    if row is None:
        raise UnknownVisit(number)
    return row


def listed(
    conn: Connection,
    within: Sequence[str] = (EVERYWHERE,),
    *,
    area: str = EVERYWHERE,
    standing: bool = True,
    after: int = 0,
    limit: int = 50,
) -> list[Row[Any]]:
    """Visits by rising id, in areas and below `area`, with what whoever goes there wants to know."""
    query = _LISTED.where(areas.within(meter.c.area, areas.narrowed(within, area)))
    if standing:
        query = query.where(visit.c.standing == 1)
    return list(conn.execute(query, {"after": after, "most": limit}))
