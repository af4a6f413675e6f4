"""Meters that come into the fleet get their turns."""

from sqlalchemy import Connection, Integer, bindparam, insert, select

from headend.collection import days, policy
from headend.ledger import zone
from headend.store.prepared import prepared
from headend.store.schema import meter
from headend.store.schema_collection import collect_turn

_ENROL = prepared(insert(collect_turn))
_WITHOUT = (
    select(meter.c.meter)
    .outerjoin(collect_turn, collect_turn.c.meter == meter.c.meter)
    .where(collect_turn.c.meter.is_(None))
    .order_by(meter.c.meter)
    .limit(bindparam("n", type_=Integer))
)


def enrol(conn: Connection, now_s: int, number: int) -> None:
    """A meter came into the fleet: it is looked at daily from now on. The caller holds its row, or has just made it."""
    at_s = days.next_moment_s(zone.of(conn), now_s, number, policy.standing(conn).of("", ""))
    _ENROL(conn, {"meter": number, "daily_s": at_s})


def enrol_missing(conn: Connection, now_s: int, limit: int = 1000) -> int:
    """Meters that came otherwise than through `fleet`: give them turns; returns how many there were."""
    found = conn.execute(_WITHOUT, {"n": limit}).scalars().all()
    for number in found:
        enrol(conn, now_s, number)
    return len(found)
