"""Where a meter stands and stood: at a supply point, or at a node of the grid whose whole flow it measures.

The area of a meter that stands somewhere is the path of its transformer, or of its node. Placements never overlap:
neither a meter's nor a supply point's. Whoever places a meter holds the meter, then the supply point, then the node.

`exchanged` and `taken_away` are called by `epochs.life`, so that an account never moves without its place.
"""

from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Connection, Row, bindparam, func, insert, or_, select, update

from headend.fleet import grid, lifecycle, points, types
from headend.refusals import Refused
from headend.store import UnknownMeter
from headend.store.prepared import prepared
from headend.store.schema import closing, meter
from headend.store.schema_fleet import grid_node, meter_life, placement, supply_point
from meterlink.bodies import MAX_UC

MAX_WH = MAX_UC  # of a register, as a person states it


class Placement(NamedTuple):
    """Where a meter stands. `substation`, `feeder`, `transformer`: paths, as far as its area has so many parts; None
    beyond. `supply_point`, `since_s`: None where nobody told. `meter_type`: "" where nobody told."""

    supply_point: str | None
    transformer: str | None
    feeder: str | None
    substation: str | None
    since_s: int | None
    meter_type: str


class Readings(NamedTuple):
    """What somebody read on the registers, in watt-hours; None: nobody did."""

    import_wh: int | None = None
    export_wh: int | None = None

    def check(self, which: str) -> None:
        """Raise Refused for what no register shows."""
        for name, value in zip(self._fields, self, strict=True):
            if value is not None and not 0 <= value <= MAX_WH:
                raise Refused(f"{which}_{name}", value, f"0..{MAX_WH}")


class Place(NamedTuple):
    """Where to: a supply point by its code, or a node of the grid by its id."""

    supply_point: str | None = None
    node: int | None = None


UNREAD = Readings()

_OPEN = prepared(select(placement).where(placement.c.meter == bindparam("of"), placement.c.until_s.is_(None)))
_AT_POINT = prepared(
    select(placement).where(placement.c.supply_point == bindparam("of"), placement.c.until_s.is_(None))
)
_OF = (
    select(meter.c.area, meter_life.c.type, placement.c.supply_point, placement.c.since_s)
    .outerjoin(meter_life, meter_life.c.meter == meter.c.meter)
    .outerjoin(placement, (placement.c.meter == meter.c.meter) & placement.c.until_s.is_(None))
    .where(meter.c.meter == bindparam("of"))
)
_EPOCH = prepared(
    select(meter.c.account_epoch, meter.c.carrier, meter.c.interval_minutes).where(meter.c.meter == bindparam("of"))
)
_NEW = prepared(insert(placement))
_END = prepared(update(placement).where(placement.c.id == bindparam("of")))
_AREA = prepared(update(meter).where(meter.c.meter == bindparam("of")))
_LAST = prepared(
    select(func.max(placement.c.until_s)).where(
        or_(placement.c.meter == bindparam("of"), placement.c.supply_point == bindparam("at"))
    )
)
_HISTORY = (
    select(
        placement,
        grid_node.c.path,
        closing.c.import_wh.label("closed_import_wh"),
        closing.c.export_wh.label("closed_export_wh"),
        closing.c.provisional,
    )
    .outerjoin(supply_point, supply_point.c.code == placement.c.supply_point)
    .join(grid_node, grid_node.c.id == func.coalesce(placement.c.node, supply_point.c.transformer))
    .outerjoin(
        closing,
        (closing.c.meter == placement.c.meter)
        & (closing.c.account_epoch == placement.c.account_epoch)
        & (placement.c.ended_by != "relocate"),
    )
)
_OF_METER = _HISTORY.where(placement.c.meter == bindparam("of")).order_by(placement.c.id)
_OF_POINT = (
    _HISTORY.where(placement.c.supply_point == bindparam("of"))
    .where(placement.c.since_s <= bindparam("at", type_=BigInteger))
    .where(or_(placement.c.until_s.is_(None), placement.c.until_s > bindparam("at", type_=BigInteger)))
    .order_by(placement.c.id)
)


def of(conn: Connection, number: int) -> Placement:
    """Where a meter of the fleet stands now. Raises Refused (UnknownMeter) for another."""
    row = conn.execute(_OF, {"of": number}).one_or_none()
    if row is None:
        raise UnknownMeter(number)
    parts = row.area.split("/") if row.area else []
    paths = ["/".join(parts[: level + 1]) if len(parts) > level else None for level in range(3)]
    return Placement(row.supply_point, paths[2], paths[1], paths[0], row.since_s, row.type or "")


def standing(conn: Connection, number: int) -> Row[Any] | None:
    """The `placement` row of a meter that stands somewhere."""
    row: Row[Any] | None = _OPEN(conn, {"of": number}).one_or_none()
    return row


def at_point(conn: Connection, code: str) -> Row[Any] | None:
    """The `placement` row of the meter that stands at a supply point."""
    row: Row[Any] | None = _AT_POINT(conn, {"of": code}).one_or_none()
    return row


def history(conn: Connection, number: int) -> list[Row[Any]]:
    """Where a meter stood, oldest first: placements with the path that the place has now, and what the account's
    closing shows (`closed_import_wh`, `closed_export_wh`; `provisional` until the meter itself has told)."""
    return list(conn.execute(_OF_METER, {"of": number}).all())


def meters_at(conn: Connection, code: str, at_s: int) -> list[Row[Any]]:
    """The meter that stood at a supply point at a time, as in `history`; none or one. Raises UnknownPoint."""
    points.get(conn, code)
    return list(conn.execute(_OF_POINT, {"of": code, "at": at_s}).all())


def begin(
    conn: Connection, now_s: int, number: int, place: Place, actor: str, *, since_s: int, read: Readings = UNREAD
) -> None:
    """A meter, whose row is locked and which stands nowhere, stands at a place from `since_s` on. Raises Refused."""
    read.check("start")
    epoch, carrier, minutes = _EPOCH(conn, {"of": number}).one()
    point = None if place.supply_point is None else points.locked(conn, place.supply_point)
    at_node = place.node if point is None else point.transformer
    if at_node is None or (point is not None and place.node is not None):
        raise Refused("place", place, "a supply point or a node of the grid")
    kind = types.of_meter(conn, number)
    if kind is not None:
        types.fits_meter(kind, carrier, minutes)
        if point is not None:
            types.fits_point(kind, point.phases, point.limit_w)
    if point is not None:
        there = at_point(conn, point.code)
        if there is not None:
            raise Refused("supply_point", point.code, f"one without a meter ({there.meter} stands there): exchange it")
    node = grid.locked(conn, at_node)
    last_s = _LAST(conn, {"of": number, "at": place.supply_point}).scalar_one() or 0
    if not last_s <= since_s <= now_s:
        raise Refused("since_s", since_s, f"{last_s}..{now_s}: not before the placement that ended there, nor later")
    row = {"meter": number, "supply_point": place.supply_point, "node": place.node, "account_epoch": epoch}
    row |= {"since_s": since_s, "start_import_wh": read.import_wh, "start_export_wh": read.export_wh}
    _NEW(conn, row)
    _AREA(conn, {"of": number, "area": node.path})
    if point is not None:
        points.protect_many(conn, now_s, number, point.code, point.households, actor)


def end(conn: Connection, row: Row[Any], by: str, *, until_s: int, read: Readings = UNREAD) -> None:
    """A placement ends at `until_s`; its meter's row is locked. The meter keeps its area. Raises Refused."""
    read.check("end")
    if until_s < row.since_s:
        raise Refused("until_s", until_s, f"{row.since_s} or later, when it came there")
    for name, begun, ended in (
        ("end_import_wh", row.start_import_wh, read.import_wh),
        ("end_export_wh", row.start_export_wh, read.export_wh),
    ):
        if begun is not None and ended is not None and ended < begun:
            raise Refused(name, ended, f"{begun} or more, what was read when it came there")
    told = {"until_s": until_s, "ended_by": by, "end_import_wh": read.import_wh, "end_export_wh": read.export_wh}
    _END(conn, {"of": row.id, **told})


def exchanged(
    conn: Connection,
    now_s: int,
    old: int,
    new: int,
    actor: str,
    *,
    old_read: Readings = UNREAD,
    new_read: Readings = UNREAD,
) -> None:
    """A meter takes the place of another, both locked. Raises Refused."""
    row = standing(conn, old)
    lifecycle.move(conn, now_s, old, "exchange_out", actor, f"for meter {new}")
    lifecycle.move(conn, now_s, new, "exchange_in", actor, f"for meter {old}")
    if standing(conn, new) is not None:
        raise Refused("new_meter", new, "a meter that stands nowhere yet")
    if row is None:
        _check_unread(old, old_read, new_read)
        return
    end(conn, row, "exchange_out", until_s=max(now_s, row.since_s), read=old_read)
    begin(conn, now_s, new, Place(row.supply_point, row.node), actor, since_s=now_s, read=new_read)


def taken_away(conn: Connection, now_s: int, number: int, actor: str, *, read: Readings = UNREAD) -> None:
    """The account of a meter, whose row is locked, is closed for good: it stands nowhere any more."""
    row = standing(conn, number)
    lifecycle.move(conn, now_s, number, "remove", actor)
    if row is not None:
        end(conn, row, "remove", until_s=max(now_s, row.since_s), read=read)
    else:
        _check_unread(number, read)


def check_fit(conn: Connection, number: int, kind: types.MeterType) -> None:
    """Raise Refused where a meter stands at a supply point that a meter of this type does not fit."""
    row = standing(conn, number)
    if row is not None and row.supply_point is not None:
        point = points.get(conn, row.supply_point)
        types.fits_point(kind, point.phases, point.limit_w)


def _check_unread(number: int, *read: Readings) -> None:
    if any(one != UNREAD for one in read):
        raise Refused("registers", number, "none: nobody told where this meter stands")
