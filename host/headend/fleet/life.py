"""Commissioning, moving, exchange, removal, retirement: what a fitter does, with the accounts that follow.

Each function is one transaction, with the meter's row locked first. A meter comes to its place with an account that
nobody used: a fresh one, or the next one, which is opened where the last was closed.
"""

from sqlalchemy import Connection, bindparam, select, update

from headend import audit
from headend.epochs import life as accounts
from headend.fleet import identities, lifecycle, placement, types
from headend.fleet.placement import UNREAD, Place, Readings
from headend.refusals import Refused
from headend.store import lock_meter
from headend.store.prepared import prepared
from headend.store.schema import closing, meter
from headend.store.schema_fleet import meter_life

_STANDS = prepared(
    select(meter.c.account_epoch, meter.c.carrier, meter.c.interval_minutes).where(meter.c.meter == bindparam("of"))
)
_CLOSED = prepared(
    select(closing.c.meter).where(closing.c.meter == bindparam("of"), closing.c.account_epoch == bindparam("epoch"))
)
_DESCRIBE = prepared(update(meter_life).where(meter_life.c.meter == bindparam("of")))


def commission(
    conn: Connection,
    now_s: int,
    number: int,
    place: Place,
    actor: str,
    *,
    since_s: int | None = None,
    read: Readings = UNREAD,
    note: str = "",
) -> int | None:
    """Put a meter in its place; returns the id of the order that opens its next account, where one is needed.

    since_s: when it came there, now at the latest; None: now. Raises Refused, UnknownMeter, UnknownPoint, UnknownNode.
    """
    lock_meter(conn, number)
    row = _STANDS(conn, {"of": number}).one()
    lifecycle.move(conn, now_s, number, "commission", actor, note)
    order_id = None
    if _CLOSED(conn, {"of": number, "epoch": row.account_epoch}).one_or_none() is not None:
        order_id = accounts.open_epoch(conn, now_s, number, accounts.COMMISSIONED, actor, reason_text=note)
    placement.begin(conn, now_s, number, place, actor, since_s=now_s if since_s is None else since_s, read=read)
    return order_id


def relocate(
    conn: Connection,
    now_s: int,
    number: int,
    place: Place,
    actor: str,
    *,
    end: Readings = UNREAD,
    read: Readings = UNREAD,
    note: str = "",
) -> None:
    """A meter moves to another place with its account, as when a supply point is laid anew. Raises Refused."""
    lock_meter(conn, number)
    lifecycle.move(conn, now_s, number, "relocate", actor, note)
    row = placement.standing(conn, number)
    if row is None:
        raise Refused("meter", number, "a meter that stands somewhere")
    placement.end(conn, row, "relocate", until_s=now_s, read=end)
    placement.begin(conn, now_s, number, place, actor, since_s=now_s, read=read)


def exchange(
    conn: Connection,
    now_s: int,
    old: int,
    new: int,
    actor: str,
    *,
    end: Readings = UNREAD,
    read: Readings = UNREAD,
    reason_text: str = "",
) -> int:
    """Put another meter in the place of one: account, exclusions and place go on there; the old one's closing statement
    corrects to the unit what was moved. `end`, `read`: registers of the old and of the new one, as they were read.

    Returns the id of the order that retires the old one's account. Raises Refused.
    """
    return accounts.exchange(conn, now_s, old, new, actor, reason_text=reason_text, old_read=end, new_read=read)


def remove(conn: Connection, now_s: int, number: int, actor: str, *, end: Readings = UNREAD, note: str = "") -> int:
    """Take a meter away and close its account: what is left goes to its former customer. Returns the order's id."""
    return accounts.retire(conn, now_s, number, actor, cause=accounts.TENANT, reason_text=note, read=end)


def retire(conn: Connection, now_s: int, number: int, actor: str, *, note: str = "") -> None:
    """Take a meter that stands nowhere out of the fleet for good. Raises Refused."""
    lock_meter(conn, number)
    lifecycle.move(conn, now_s, number, "retire", actor, note)


def describe(conn: Connection, now_s: int, number: int, actor: str, *, kind: str | None, serial: str) -> bool:
    """Say of which type a meter is (None: unknown), and its maker's serial number; whether anything changed."""
    lock_meter(conn, number)
    row = lifecycle.at(conn, number)
    if (row.type, row.serial) == (kind, serial):
        return False
    stands = _STANDS(conn, {"of": number}).one()
    if kind is not None:
        found = types.get(conn, kind)
        types.fits_meter(found, stands.carrier, stands.interval_minutes)
        placement.check_fit(conn, number, found)
    identities.put(conn, number, identities.SERIAL, identities.check_serial(serial))
    _DESCRIBE(conn, {"of": number, "type": kind, "serial": serial, "changed_s": now_s})
    audit.record(conn, now_s, actor, "meter.describe", f"meter:{number}", {"type": kind, "serial": serial})
    return True
