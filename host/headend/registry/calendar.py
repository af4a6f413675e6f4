"""The calendar in force, and its versions: each replaces the one before as a whole, and none is ever changed."""

from typing import Any

from sqlalchemy import Connection, Row, insert, select

from headend import audit
from headend.refusals import Refused
from headend.registry import rules, words  # noqa: F401 - its actions
from headend.registry.rules import Rule
from headend.store.schema_registry import calendar

MAX_WHY = 200

_NEWEST = select(calendar).order_by(calendar.c.version.desc()).limit(1)
_NEW = insert(calendar)


class CalendarChanged(Refused):
    """Somebody else has replaced it since it was read."""


def current(conn: Connection) -> Row[Any] | None:
    """The version in force; None where none was ever set: then every hour is allowed."""
    return conn.execute(_NEWEST).one_or_none()


def put(
    conn: Connection, now_s: int, version: int, time_zone: str, given: tuple[Rule, ...], actor: str, why: str
) -> int:
    """Replace the calendar, of which `version` (0: none) was seen last; returns the new version.

    Counts for what is sent from now on: a stop that waits is judged when its turn comes. Raises Refused,
    CalendarChanged.
    """
    rules.zone(time_zone)
    text = rules.encode(given)
    if not why.strip() or len(why) > MAX_WHY or not why.isprintable():
        raise Refused("why", why, f"1..{MAX_WHY} printable characters")
    newest = current(conn)
    stands = 0 if newest is None else newest.version
    if version != stands:
        raise CalendarChanged("version", version, f"{stands}, as it stands now")
    values = {"version": stands + 1, "at_s": now_s, "actor": actor, "why": why, "time_zone": time_zone, "rules": text}
    conn.execute(_NEW, values)
    audit.record(conn, now_s, actor, "calendar.set", "calendar", {"version": stands + 1, "rules": len(given)})
    return stands + 1


def barred(conn: Connection, now_s: int, area: str, reason: int) -> tuple[Rule, int] | None:
    """The rule that forbids to stop a meter of this area now, and when it is over; None where none does."""
    newest = current(conn)
    if newest is None:
        return None
    return rules.decode(newest.rules).barred(rules.zone(newest.time_zone), now_s, area, reason)


def next_allowed_s(conn: Connection, now_s: int, area: str, reason: int) -> int:
    """From when on the calendar allows a stop: now, where it does already."""
    found = barred(conn, now_s, area, reason)
    return now_s if found is None else found[1]
