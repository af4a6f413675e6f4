"""Images on their way to meters: what is to be carried now, and what became of it. All of it is in the database, so a
worker that dies, and one that comes after it, cost nothing but the time until they are looked at again.

A row's events go by `lifecycle.TABLE`; one that its state does not know changes nothing.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import BigInteger, Connection, Integer, Row, bindparam, func, insert, select, update

from headend.campaigns import lifecycle as campaigns
from headend.firmware.lifecycle import BRINGING, HERE, TABLE, UNDER_WAY, WAITING
from headend.store.schema import meter, order
from headend.store.schema_campaign import campaign
from headend.store.schema_firmware import firmware_delivery, firmware_image
from headend.store.schema_gate import proposal_item
from headend.workers import mine
from headend.workers.homes import HOME
from meterlink import results

LEASE_S = 60  # a delivery that is under way is left to whoever carries it for so long after its last sign of life
RETRY_S = 30  # before a link is tried again that brought nothing; doubles each time, up to …
RETRY_MAX_S = 900
BUSY_S = 1_800  # … or where the meter sees to another image first
QUIET_S = 900  # without a record before a delivery counts as late
LOOK_S = 15  # between two looks at a meter on a bus that has its image and its order: its self-test waits for them
LOOKED_S = 2 * 86_400
GOING = (campaigns.RUNNING, campaigns.HELD, campaigns.SETTLING)
MAX_NOTE = 200

Key = tuple[int, int]  # campaign, meter

_d = firmware_delivery.c
_NOW = bindparam("now", type_=BigInteger)
_MINE = update(firmware_delivery).where(
    _d.campaign == bindparam("of", type_=BigInteger), _d.meter == bindparam("at", type_=BigInteger)
)
_ALL_OF = update(firmware_delivery).where(_d.campaign == bindparam("of", type_=BigInteger), _d.state.in_(UNDER_WAY))
_BEGIN = insert(firmware_delivery)
_RECORDED = _MINE.where(_d.state == BRINGING).values(
    record=bindparam("here", type_=Integer), moved_s=_NOW, next_s=_NOW + LEASE_S, tries=0
)
_STILL = _MINE.where(_d.state == BRINGING).values(next_s=_NOW + LEASE_S)
_LOOKED = _MINE.where(_d.state == HERE)
_LATE = _ALL_OF.where(
    _d.tried_s < bindparam("before", type_=BigInteger), _d.moved_s < bindparam("quiet", type_=BigInteger)
)
_WHERE = (_d.campaign, _d.meter, _d.image, _d.state, _d.tries, _d.record, _d.begun_s)
_OF_METER = (meter.c.carrier, meter.c.address, HOME.label("home"))
_ON_ITS_WAY = (
    select(*_WHERE)
    .select_from(firmware_delivery)
    .join(campaign, campaign.c.id == _d.campaign)
    .join(firmware_image, firmware_image.c.id == _d.image)
    .where(_d.state.in_(UNDER_WAY), campaign.c.state.in_(GOING), firmware_image.c.withdrawn_s.is_(None))
)
_SOME = bindparam("most", type_=Integer)
_DUE = _ON_ITS_WAY.where(_d.next_s <= _NOW).order_by(_d.next_s, _d.campaign, _d.meter).limit(_SOME)
# Meters on buses that hold their image and were sent its order.
_TRYING = (
    select(*_WHERE)
    .select_from(firmware_delivery)
    .join(campaign, campaign.c.id == _d.campaign)
    .join(proposal_item, (proposal_item.c.proposal == campaign.c.proposal) & (proposal_item.c.meter == _d.meter))
    .join(order, order.c.id == proposal_item.c.order_id)
    .where(_d.state == HERE, _d.next_s <= _NOW, order.c.sent_s > _NOW - LOOKED_S)
    .order_by(_d.next_s, _d.campaign, _d.meter)
    .limit(_SOME)
)


def _of_all(statement: Any) -> tuple[Any, Any]:
    """For whoever is alone, and for one of several workers."""
    alone = statement.join(meter, meter.c.meter == _d.meter)
    return alone.add_columns(*_OF_METER), mine.alone(statement, _d.meter).add_columns(*_OF_METER)


_DUE_OF, _TRYING_OF = _of_all(_DUE), _of_all(_TRYING)
_STILL_WANTED = _ON_ITS_WAY.where(_d.meter.in_(bindparam("some", expanding=True)))


def _moving(event: str) -> Any:
    before = [state for state, known in TABLE if known == event]
    (after,) = {TABLE[state, event] for state in before}
    return _MINE.where(_d.state.in_(before)).values(state=after, moved_s=_NOW)


_MOVE = {event: _moving(event) for _, event in TABLE}
_CARRY = _MOVE["begin"].values(next_s=_NOW + LEASE_S, tried_s=func.coalesce(_d.tried_s, _NOW))


def move(conn: Connection, now_s: int, of: Key, event: str, **columns: Any) -> bool:
    """Carry out an event; whether the state knew it."""
    if "note" in columns:
        columns["note"] = str(columns["note"])[:MAX_NOTE]
    found: int = conn.execute(_MOVE[event], {"of": of[0], "at": of[1], "now": now_s, **columns}).rowcount
    return found == 1


# --- for a campaign ---------------------------------------------------------------------------------------------------


def begin(conn: Connection, now_s: int, campaign_id: int, meter_id: int, image_id: int) -> None:
    """It is the meter's turn: bring the image there."""
    row = {"campaign": campaign_id, "meter": meter_id, "image": image_id, "state": WAITING}
    conn.execute(_BEGIN, {**row, "begun_s": now_s, "moved_s": now_s, "next_s": now_s})


def late(conn: Connection, now_s: int, campaign_id: int, deliver_s: int) -> None:
    """Give up what was tried for longer than so many seconds, and does not move."""
    values = {"of": campaign_id, "before": now_s - deliver_s, "quiet": now_s - min(QUIET_S, deliver_s)}
    conn.execute(_LATE, {**values, "state": TABLE[WAITING, "late"], "next_s": None})


def stop(conn: Connection, now_s: int, campaign_id: int) -> None:
    """Its campaign was stopped. What is whole on a meter stays there, and runs only where it was ordered."""
    values = {"of": campaign_id, "state": TABLE[WAITING, "stop"], "moved_s": now_s, "next_s": None}
    conn.execute(_ALL_OF, values)


def resume(conn: Connection, now_s: int, campaign_id: int) -> None:
    """Its campaign goes on after a pause, which costs no meter its time."""
    conn.execute(_ALL_OF, {"of": campaign_id, "tried_s": None, "next_s": now_s, "tries": 0})


# --- for those who carry ----------------------------------------------------------------------------------------------


def due(conn: Connection, now_s: int, most: int, holder: str = "") -> list[Row[Any]]:
    """What is to be carried now, longest waiting first; `holder`: over links that this worker holds."""
    return _some(conn, _DUE_OF, now_s, most, holder)


def trying(conn: Connection, now_s: int, most: int, holder: str = "") -> list[Row[Any]]:
    """Meters that have their image and its order, and are to be looked at: their self-test waits for an answer on the
    kind of link that brought the image, and on a bus nobody speaks unasked."""
    return [row for row in _some(conn, _TRYING_OF, now_s, most, holder) if row.carrier == "modbus"]


def _some(conn: Connection, statements: tuple[Any, Any], now_s: int, most: int, holder: str) -> list[Row[Any]]:
    values = {"now": now_s, "most": most}
    if holder:
        return list(conn.execute(statements[1], {**values, **mine.values(conn, holder)}))
    return list(conn.execute(statements[0], values))


def still_wanted(conn: Connection, keys: Sequence[Key]) -> set[Key]:
    """Those of these that are to go on."""
    if not keys:
        return set()
    found = conn.execute(_STILL_WANTED, {"some": sorted({number for _, number in keys})})
    return {(row.campaign, row.meter) for row in found} & set(keys)


def carry(conn: Connection, now_s: int, of: Key) -> bool:
    """A link begins to carry it; whether it is still to be carried."""
    found: int = conn.execute(_CARRY, {"of": of[0], "at": of[1], "now": now_s}).rowcount
    return found == 1


def recorded(conn: Connection, now_s: int, moved: Iterable[tuple[Key, int]], still: Iterable[Key]) -> None:
    """How far these are, by record, and that the others are not given up."""
    for (campaign_id, number), record in moved:
        conn.execute(_RECORDED, {"of": campaign_id, "at": number, "now": now_s, "here": record})
    for campaign_id, number in still:
        conn.execute(_STILL, {"of": campaign_id, "at": number, "now": now_s})


def halted(conn: Connection, now_s: int, of: Key, tries: int, why: str, wait_s: int | None = None) -> None:
    """It has to be tried again. `tries`: in a row that brought nothing, with this one."""
    if wait_s is None:
        wait_s = min(RETRY_S << min(max(tries - 1, 0), 8), RETRY_MAX_S)
    move(conn, now_s, of, "halt", tries=tries, next_s=now_s + wait_s, note=why)


def refused(conn: Connection, now_s: int, of: Key, result: int, why: str = "") -> None:
    """The meter does not take it. `result`: results.*"""
    move(conn, now_s, of, "refuse", result=result or results.BAD_IMAGE, note=why, next_s=None)


def looked(conn: Connection, now_s: int, of: Key) -> None:
    """It is looked at again in a while."""
    conn.execute(_LOOKED, {"of": of[0], "at": of[1], "next_s": now_s + LOOK_S})
